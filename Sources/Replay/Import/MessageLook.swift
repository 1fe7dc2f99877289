import JSONC

/// What matters of a QMP message for sorting it: its kind, and which side of a migration it gives away.
struct MessageLook: Hashable {
    enum Kind: Hashable {
        case greeting
        case event(String)
        case reply
        case command(String)
        /// A command and its reply in one object, as the log of qmp-shell has them.
        case exchange(String)
    }

    /// The side that a message belongs to.
    enum Hint: Int, Comparable {
        /// It suggests the side.
        case weakSource, weakDestination
        /// Nothing of the other side looks like it.
        case source, destination

        static func < (left: Hint, right: Hint) -> Bool { left.rawValue < right.rawValue }

        var isStrong: Bool { self >= .source }
        var isSource: Bool { self == .source || self == .weakSource }
    }

    var kind: Kind
    /// Of an event: since 1970.
    var microseconds: Int64?
    var hint: Hint?
    /// The name of the domain, where a message happens to show it: libvirt's path of the monitor socket.
    var domain: String?

    /// Whether it comes from QEMU.
    var isFromQEMU: Bool {
        switch kind {
        case .greeting, .event, .reply: true
        case .command, .exchange: false
        }
    }

    var isMigrationEvent: Bool { kind == .event("MIGRATION") }

    /// Nil if the object is no QMP message.
    init?(_ view: JSONView) {
        guard view.kind == .object else { return nil }
        if let name = view["execute"]?.string ?? view["exec-oob"]?.string {
            let isAnswered = view["return"] != nil || view["error"] != nil
            kind = isAnswered ? .exchange(name) : .command(name)
            hint = Self.hint(ofCommand: name, view["arguments"])
        } else if let name = view["event"]?.string {
            kind = .event(name)
            microseconds = Self.time(view["timestamp"])
            hint = Self.hint(ofEvent: name, view["data"])
        } else if view["QMP"] != nil {
            kind = .greeting
        } else if let value = view["return"] {
            kind = .reply
            hint = Self.hint(ofReply: value)
            domain = Self.domain(in: value)
        } else if view["error"] != nil {
            kind = .reply
        } else {
            return nil
        }
    }

    private static func time(_ view: JSONView?) -> Int64? {
        // QEMU writes -1 where the host could not tell the time.
        guard let seconds = view?["seconds"]?.int64, let micro = view?["microseconds"]?.int64,
            seconds >= 0, seconds < 1 << 40, (0..<1_000_000).contains(micro)
        else { return nil }
        return seconds * 1_000_000 + micro
    }

    private static func hint(ofCommand name: String, _ arguments: JSONView?) -> Hint? {
        switch name {
        case "migrate": .source
        case "migrate-incoming", "migrate-recover": .destination
        case "migrate_cancel", "migrate-start-postcopy", "migrate-continue": .weakSource
        default: nil
        }
    }

    private static func hint(ofEvent name: String, _ data: JSONView?) -> Hint? {
        switch name {
        case "MIGRATION_PASS": return .source
        case "MIGRATION":
            switch data?["status"]?.string {
            case "pre-switchover", "device", "cancelling", "cancelled", "wait-unplug": return .weakSource
            default: return nil
            }
        case "STOP": return .weakSource
        default: return nil
        }
    }

    private static func hint(ofReply value: JSONView) -> Hint? {
        guard let status = value["status"]?.string else { return nil }
        if status == "inmigrate" { return .destination }
        if status == "postmigrate" || status == "finish-migrate" { return .weakSource }
        return value["ram"] != nil ? .weakSource : nil
    }

    /// Libvirt keeps the monitor socket in `…/domain-ID-NAME/monitor.sock`, with a long name cut short.
    private static func domain(in value: JSONView) -> String? {
        guard value.kind == .array else { return nil }
        for index in 0..<min(value.count, 100) {
            guard let file = value.element(at: index)?["filename"]?.string, file.utf8.count < 1000,
                let end = file.firstRange(of: "/monitor.sock")?.lowerBound,
                let start = file[..<end].lastIndex(of: "/")
            else { continue }
            let parts = file[file.index(after: start)..<end].split(separator: "-", maxSplits: 2)
            if parts.count == 3, parts[0] == "domain", Int(parts[1]) != nil { return String(parts[2]) }
        }
        return nil
    }
}

/// Checks and looks at messages with one parser.
final class MessageInspector {
    private var parser = JSONParser(limits: JSONLimits(maximumDepth: 1024, maximumBytes: ImportLimits.messageBytes))

    /// Looks at a message that may lie over several lines.
    ///
    /// - Parameters:
    ///   - line: The line in which it begins.
    ///   - column: The byte in that line, from 1.
    func look(_ bytes: [UInt8], line: Int, column: Int) throws(ImportProblem) -> MessageLook {
        let outcome = bytes.withUnsafeBytes { bytes in
            Result { () throws(JSONError) in
                try parser.parse(bytes).withRoot { MessageLook($0) }
            }
        }
        switch outcome {
        case .success(let look?): return look
        case .success(nil):
            throw ImportProblem(
                line: line, column: column,
                message: "an object that is none of QMP's: it has none of execute, exec-oob, event, return, error, QMP")
        case .failure(let error):
            let before = bytes.prefix(error.offset ?? 0)
            let lines = before.count { $0 == 0x0A }
            let start = before.lastIndex(of: 0x0A).map { before.count - $0 - 1 } ?? (before.count + column - 1)
            throw ImportProblem(
                line: line + lines, column: error.offset == nil ? column : start + 1, message: error.message)
        }
    }
}
