public import JSONC
public import Migration
public import QMP

extension QEMUEvent {
    /// The event that a message of QEMU is.
    public init(name: String, message: JSONView) {
        let data = message["data"]
        self.init(
            name: name, status: data?["status"]?.string, pass: data?["pass"]?.int64,
            byGuest: data?["guest"]?.bool, reason: data?["reason"]?.string, device: data?["device-id"]?.string,
            blockJob: BlockJobEvent(
                name: name, device: data?["device"]?.string, error: data?["error"]?.string,
                operation: data?["operation"]?.string))
    }

    /// The event that a message of QEMU is, out of a recording.
    public init(name: String, message: JSONValue) {
        let data = message["data"]
        self.init(
            name: name, status: data?["status"]?.string, pass: data?["pass"]?.int64,
            byGuest: data?["guest"]?.bool, reason: data?["reason"]?.string, device: data?["device-id"]?.string,
            blockJob: BlockJobEvent(
                name: name, device: data?["device"]?.string, error: data?["error"]?.string,
                operation: data?["operation"]?.string))
    }

    private init(
        name: String, status: @autoclosure () -> String?, pass: @autoclosure () -> Int64?,
        byGuest: @autoclosure () -> Bool?, reason: @autoclosure () -> String?,
        device: @autoclosure () -> String?, blockJob: @autoclosure () -> BlockJobEvent?
    ) {
        switch name {
        case "MIGRATION": self = .migration(StatusWord(rawValue: status() ?? "none"))
        case "MIGRATION_PASS": self = .pass(pass() ?? 0)
        case "STOP": self = .stop
        case "RESUME": self = .resume
        case "SHUTDOWN": self = .shutdown(byGuest: byGuest() ?? false, reason: reason() ?? "")
        case "RESET": self = .reset
        case "UNPLUG_PRIMARY": self = .unplugPrimary(device() ?? "")
        case "GUEST_PANICKED", "BLOCK_IO_ERROR", "WATCHDOG", "MEMORY_FAILURE": self = .guestFault(name)
        case _ where name.hasPrefix("BLOCK_JOB_"): self = blockJob().map { .blockJob($0) } ?? .other(name)
        default: self = .other(name)
        }
    }
}

extension QEMUVersion {
    /// The version in a greeting; numbers out of any reason become zero.
    public init(_ greeting: QMPGreeting) {
        self.init(
            Int(clamping: greeting.major), Int(clamping: greeting.minor), Int(clamping: greeting.micro))
    }
}

extension Reply {
    /// The reply that the value of `return` is to a command.
    public init(to command: Command, value view: JSONView) {
        switch command {
        case .queryStatus:
            guard let word = view["status"]?.string else {
                self = .unreadable("query-status without a status")
                return
            }
            self = .status(Migration.RunState(rawValue: word))
        case .queryMigrate:
            guard view.kind == .object else {
                self = .unreadable("query-migrate returned no object")
                return
            }
            self = .migration(MigrationSample(MigrationInfo(view)))
        case .queryCapabilities:
            var settings: [CapabilitySetting] = []
            view.forEachElement { entry in
                guard let name = entry["capability"]?.string, let isOn = entry["state"]?.bool else { return }
                settings.append(CapabilitySetting(name, isOn))
            }
            self = settings.isEmpty ? .unreadable("query-migrate-capabilities returned none") : .capabilities(settings)
        case .queryParameters:
            guard view.kind == .object else {
                self = .unreadable("query-migrate-parameters returned no object")
                return
            }
            var settings: [Setting] = []
            view.forEachMember { name, value in settings.append(Setting(name, SettingValue(value.value()))) }
            self = .parameters(settings)
        case .queryYank:
            var isMigration = false
            view.forEachElement { instance in
                if instance["type"]?.equals("migration") ?? false { isMigration = true }
            }
            self = .yankInstances(migration: isMigration)
        case .storage(.queryJobs):
            guard view.kind == .array else {
                self = .unreadable("query-jobs returned no list")
                return
            }
            var jobs: [JobInformation] = []
            view.forEachElement { job in if let job = JobInformation(job) { jobs.append(job) } }
            self = .jobs(jobs)
        default: self = .done
        }
    }

    /// The reply that the value of `return` is to a command, out of a recording.
    public init(to command: Command, value: JSONValue) {
        switch command {
        case .queryStatus, .queryMigrate, .queryCapabilities, .queryParameters, .queryYank, .storage(.queryJobs):
            do throws(JSONError) {
                self = try JSONDocument(parsing: value.serialized()).withRoot { Reply(to: command, value: $0) }
            } catch {
                self = .unreadable("\(command.name): \(error)")
            }
        default: self = .done
        }
    }

    /// QEMU's refusal, or a reply that could not be read. `nil` for errors that are not QEMU's answer.
    public init?(_ error: QMPError) {
        switch error.code {
        case .refused:
            self = .refused(errorClass: error.errorClass ?? "GenericError", description: error.desc ?? error.message)
        case .invalidReply: self = .unreadable(error.message)
        default: return nil
        }
    }
}

extension MigrationSample {
    /// What of `query-migrate` the migration logic reads.
    public init(_ info: MigrationInfo) {
        self.init(status: info.status.map { StatusWord(rawValue: $0) })
        totalMilliseconds = info.totalTime
        downtimeMilliseconds = info.downtime
        expectedDowntimeMilliseconds = info.expectedDowntime
        errorDescription = info.errorDesc
        blockedReasons = info.blockedReasons
        listeningURIs = info.socketAddresses.compactMap { address in
            switch address.type {
            case "inet": "tcp:\(address.host ?? ""):\(address.port ?? "")"
            case "unix": "unix:\(address.path ?? "")"
            case "vsock": "vsock:\(address.host ?? ""):\(address.port ?? "")"
            default: nil
            }
        }
        postcopyBlocktimeMilliseconds = info.postcopyBlocktime
        guard let ram = info.ram else { return }
        transferredBytes = ram.transferred
        remainingBytes = info.remaining ?? ram.remaining
        totalBytes = ram.total
        dirtyPagesPerSecond = ram.dirtyPagesRate
        pageBytes = ram.pageSize
        megabitsPerSecond = ram.mbps
        iteration = ram.dirtySyncCount
        throttlePercentage = info.cpuThrottlePercentage
    }
}
