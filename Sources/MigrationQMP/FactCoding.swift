public import JSONC
public import Migration
public import QMP

extension QEMUEvent {
    /// The event that a message of QEMU is.
    public init(name: String, message: JSONView) {
        let data = message["data"]
        switch name {
        case "MIGRATION": self = .migration(StatusWord(rawValue: data?["status"]?.string ?? "none"))
        case "MIGRATION_PASS": self = .pass(data?["pass"]?.int64 ?? 0)
        case "STOP": self = .stop
        case "RESUME": self = .resume
        case "SHUTDOWN":
            self = .shutdown(byGuest: data?["guest"]?.bool ?? false, reason: data?["reason"]?.string ?? "")
        case "RESET": self = .reset
        case "GUEST_PANICKED", "BLOCK_IO_ERROR", "WATCHDOG", "MEMORY_FAILURE": self = .guestFault(name)
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
