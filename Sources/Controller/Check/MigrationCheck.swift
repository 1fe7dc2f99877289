import Migration
public import Phases

/// What stands in the way of a migration, before anything is tried: two QEMUs side by side.
///
/// A value without I/O. It judges what was read of both; what only shows in the stream (a device model's own version,
/// say) it cannot know.
public struct MigrationCheck: Sendable {
    /// How bad it is.
    public enum Severity: String, Hashable, Sendable, Comparable {
        /// `godwit migrate` would refuse it, or QEMU would, or the guest would be damaged.
        case error
        /// It may go wrong.
        case warning
        /// Worth knowing.
        case note

        /// The worst first.
        public static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }

        private var rank: Int {
            switch self {
            case .error: 0
            case .warning: 1
            case .note: 2
            }
        }
    }

    /// Something that was found.
    public struct Finding: Hashable, Sendable {
        /// How bad it is.
        public var severity: Severity
        /// What it is about, in a word or two.
        public var subject: String
        /// What it is, in a sentence.
        public var text: String
        /// What can be done about it; `nil` if nothing has to be.
        public var remedy: String?
    }

    /// What was found, the worst first.
    public private(set) var findings: [Finding] = []

    private let source: QEMUFacts
    private let destination: QEMUFacts
    private let options: MigrateOptions

    /// Judges a migration with these options.
    public init(source: QEMUFacts, destination: QEMUFacts, options: MigrateOptions) {
        self.source = source
        self.destination = destination
        self.options = options
        if let process = source.process, process == destination.process {
            add(.error, "monitors", "both belong to one QEMU (process \(process))", "give the monitor of another QEMU")
        } else {
            states()
            wishes()
            descriptions()
            versions()
            media()
            memory()
            postcopy()
            settings()
        }
        findings.sort { $0.severity < $1.severity }
    }

    /// Whether a migration can be tried.
    public var isReady: Bool { !findings.contains { $0.severity == .error } }

    private mutating func add(_ severity: Severity, _ subject: String, _ text: String, _ remedy: String? = nil) {
        findings.append(Finding(severity: severity, subject: subject, text: text, remedy: remedy))
    }

    // MARK: What both are doing

    private mutating func states() {
        for reason in source.migration.blockedReasons {
            add(
                .error, "blocker", "the source cannot be migrated: \(reason)",
                "take away what blocks it, then check again")
        }
        if let word = source.migration.status, ![.none, .completed, .failed, .cancelled].contains(word) {
            add(.error, "source", "a migration runs there already (\(word.rawValue))", "wait for its end or cancel it")
        }
        switch source.runState {
        case .inMigrate: add(.error, "source", "it waits for a guest itself", "are source and destination exchanged?")
        case .postMigrate: add(.error, "source", "its guest has been sent away already")
        case .running, .paused, .prelaunch: break
        case .shutdown:
            add(.warning, "source", "its guest has shut itself down, and will arrive like that", "start it anew there")
        default:
            add(.warning, "source", "it is neither running nor paused (\(source.runState)), and will arrive like that")
        }
        if destination.runState != .inMigrate {
            add(
                .error, "destination", "it does not wait for a guest (\(destination.runState))",
                "start it with -S -incoming defer")
        } else if let word = destination.migration.status, word != .none {
            add(
                .error, "destination", "it listens already, or has received a guest (\(word.rawValue))",
                "start it anew with -S -incoming defer")
        }
        guard let line = destination.survey.description.commandLine else { return }
        if let place = line.firstIndex(where: { $0 == "-incoming" || $0 == "--incoming" }),
            line.indices.contains(place + 1), line[place + 1] != "defer"
        {
            add(
                .error, "destination",
                "it was started with -incoming \(line[place + 1]) and cannot be told where to listen",
                "start it with -incoming defer")
        }
        if !line.contains("-S"), !line.contains("--S") {
            add(
                .warning, "destination",
                "it was started without -S: QEMU would run the guest by itself if Godwit were gone",
                "start it with -S")
        }
    }

    // MARK: What is asked for

    private mutating func wishes() {
        for broken in Exclusions.broken(by: MigrationWish(options)) {
            add(.error, "options", broken.message)
        }
        var wished = options.capabilities + ["events"]
        if options.postcopy != nil { wished.append("postcopy-ram") }
        for capability in wished {
            for (side, facts) in [(Side.source, source), (.destination, destination)]
            where !facts.hasCapability(capability) {
                let scope = SettingScope.capability(capability)
                guard scope == .both || scope == (side == .source ? .source : .destination) else { continue }
                add(
                    .error, "capability \(capability)",
                    "the \(side.rawValue)'s QEMU (\(facts.survey.description.version)) has none",
                    "leave the option out, or take a QEMU that has it")
            }
        }
        for parameter in options.parameters where !source.parameters.contains(where: { $0.name == parameter.name }) {
            add(.error, "parameter \(parameter.name)", "the source's QEMU has none", "leave the option out")
        }
        if !source.hasCapability("pause-before-switchover") {
            add(
                .warning, "capability pause-before-switchover",
                "the source's QEMU has none: there is no moment at which a switchover can still be stopped")
        }
    }

    // MARK: What they are made of

    private mutating func descriptions() {
        let differences = source.survey.description.differences(from: destination.survey.description)
        for difference in differences {
            let remedy =
                switch difference.subject {
                case "machine type": "start the destination with -machine \(source.survey.description.machineType)"
                case "memory", "hot-plugged memory": "start the destination with the source's memory"
                case "CPU model", "CPUs": "start the destination with the source's -cpu and -smp"
                case "UUID": "is it the right destination?"
                default: "give both the same, in the same place"
                }
            add(.error, difference.subject, Self.withoutSubject(difference), remedy)
        }
        for device in source.survey.description.devices where device.type.hasPrefix("vfio-") {
            add(
                .warning, "device \(device.path)", "a host device: it moves only if its driver can",
                "unplug it before, or see whether the driver supports migration")
        }
    }

    private static func withoutSubject(_ difference: DescriptionDifference) -> String {
        let text = difference.description
        let start = "\(difference.subject): "
        return text.hasPrefix(start) ? String(text.dropFirst(start.count)) : text
    }

    private mutating func versions() {
        let (ours, theirs) = (source.survey.description.version, destination.survey.description.version)
        if theirs < ours {
            add(
                .warning, "versions",
                "from QEMU \(ours) back to \(theirs): nobody tests that way, and a device's state may not fit",
                "migrate to the same version or a newer one")
        } else if ours < theirs {
            add(.note, "versions", "from QEMU \(ours) to \(theirs)")
        }
    }

    // MARK: Disks

    private mutating func media() {
        var copied: [String] = []
        if let wish = options.storage {
            do throws(StorageError) {
                copied = try source.survey.description.disks(wish).map(\.node)
            } catch {
                add(.error, "disks", error.description, "`godwit describe` names them")
            }
        }
        for medium in source.media where !medium.isReadOnly {
            guard let other = destination.media.first(where: { $0.name == medium.name }) else { continue }
            let subject = "disk \(medium.name)"
            if copied.contains(medium.name) {
                isCopied(subject, medium, other)
                continue
            }
            if let ours = medium.identity, let theirs = other.identity {
                guard ours == theirs else {
                    notShared(subject, medium, other)
                    continue
                }
            } else if medium.file != other.file {
                add(
                    .warning, subject,
                    "\(medium.file) on the source, \(other.file) on the destination: nothing tells whether that is one medium",
                    "make sure that both see the same bytes")
            }
            guard !medium.isDirect || !other.isDirect, medium.identity != nil else { continue }
            // Two QEMUs of one host see one cache.
            add(
                .note, subject,
                "the host's cache is in use (cache.direct=off) on \(medium.isDirect ? "the destination" : other.isDirect ? "the source" : "both sides")",
                "between two hosts it takes cache.direct=on, or what one host wrote the other may not see")
        }
    }

    private mutating func notShared(_ subject: String, _ medium: QEMUFacts.Medium, _ other: QEMUFacts.Medium) {
        if medium.driver != other.driver {
            add(
                .warning, subject, "\(medium.driver) on the source, \(other.driver) on the destination",
                "the guest does not notice; is it intended?")
        }
        // Nothing else would notice: the guest would go on with another disk's content.
        add(
            .error, subject,
            "\(medium.file) and \(other.file) are two files: the guest's data is only in the source's",
            "share the disk, or have it copied along (--copy-storage-all)")
        room(subject, medium, other)
    }

    /// The disk is to be copied along.
    private mutating func isCopied(_ subject: String, _ medium: QEMUFacts.Medium, _ other: QEMUFacts.Medium) {
        if let identity = medium.identity, identity == other.identity {
            add(.error, subject, "it is one file for both, and would be copied onto itself", "leave it out of the copy")
            return
        }
        if let ours = medium.bytes, let theirs = other.bytes, ours != theirs {
            add(
                .error, subject, "\(Self.size(ours)) on the source, \(Self.size(theirs)) on the destination",
                "make the destination's file anew, in the source's size")
        }
        room(subject, medium, other)
    }

    private mutating func room(_ subject: String, _ medium: QEMUFacts.Medium, _ other: QEMUFacts.Medium) {
        if let free = other.freeBytes, let needed = medium.allocatedBytes,
            free < max(0, needed - (other.allocatedBytes ?? 0))
        {
            add(
                .error, subject,
                "\(Self.size(needed)) are in use on the source, \(Self.size(free)) are free where the destination's file lies",
                "make room there")
        }
    }

    // MARK: The host

    private mutating func memory() {
        let description = destination.survey.description
        let needed = description.memoryBytes.addingReportingOverflow(description.pluggedMemoryBytes).partialValue
        guard let available = destination.availableBytes, needed > 0 else { return }
        let missing = needed - (destination.residentBytes ?? 0)
        if available < missing {
            add(
                .warning, "host memory",
                "the guest may need \(Self.size(missing)), the host has \(Self.size(available)) left",
                "make room, or the host may kill a QEMU")
        }
    }

    private mutating func postcopy() {
        guard options.postcopy != nil, destination.mayFaultInUserspace == false else { return }
        add(
            .error, "post-copy",
            "the destination's QEMU may not watch for missing pages (userfaultfd), and would refuse",
            "run it as root, or set the sysctl vm.unprivileged_userfaultfd=1")
    }

    // MARK: Settings

    private mutating func settings() {
        for (side, facts) in [(Side.source, source), (.destination, destination)] {
            let on = facts.capabilities.filter { $0.isOn && $0.name != "events" }.map(\.name)
            if !on.isEmpty {
                add(
                    .note, "capabilities",
                    "somebody has switched on \(on.joined(separator: ", ")) at the \(side.rawValue)",
                    "Godwit sets what it needs for the attempt and puts this back")
            }
        }
        for (name, ours, theirs) in Self.differing(source.parameters, destination.parameters) {
            guard SettingScope.parameter(name) == .both else { continue }
            add(
                .note, "parameter \(name)", "\(ours) on the source, \(theirs) on the destination",
                "with the options that it belongs to, Godwit sets both alike")
        }
        let (ours, theirs) = (Set(source.capabilities.map(\.name)), Set(destination.capabilities.map(\.name)))
        for (side, names) in [(Side.source, ours.subtracting(theirs)), (.destination, theirs.subtracting(ours))]
        where !names.isEmpty {
            add(.note, "capabilities", "only the \(side.rawValue) knows \(names.sorted().joined(separator: ", "))")
        }
    }

    private static func differing(_ ours: [Setting], _ theirs: [Setting]) -> [(String, SettingValue, SettingValue)] {
        ours.compactMap { setting in
            guard let other = theirs.first(where: { $0.name == setting.name }), other.value != setting.value else {
                return nil
            }
            return (setting.name, setting.value, other.value)
        }
    }

    private static func size(_ bytes: Int64) -> String { bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes) bytes" }
}
