public import JSONC
public import Migration

/// One piece of evidence, without what differs between any two migrations: times, ids, addresses, numbers of passes.
public struct EvidenceStep: Sendable {
    /// What was looked at.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// A command that asks for something.
        case triggers
        /// Something observed: status words, STOP, RESUME, an end, a refusal.
        case events
        /// What follows from both tables for one side.
        case stages
        /// What the outside was told.
        case published
    }

    /// Whose: a QEMU's, or `nil` for what is told of both.
    public var side: Side?
    /// What kind of thing it is.
    public var kind: Kind
    /// What is compared.
    public var text: String
    /// What is shown beside it.
    public var detail: String?
    /// The record.
    public var record: Int
    /// When, since the start of the recording.
    public var time: Instant

    /// Whether two steps are the same evidence.
    public func isSame(as other: EvidenceStep) -> Bool {
        side == other.side && kind == other.kind && text == other.text
    }

    /// One object for a program.
    public var json: JSONValue {
        var object: JSONObject = ["kind": .string(kind.rawValue), "what": .string(text)]
        if let side { object["side"] = .string(side.rawValue) }
        if let detail { object["detail"] = .string(detail) }
        object["record"] = .integer(Int64(record))
        object["t"] = time.json
        return .object(object)
    }

    /// The evidence in an observation; `nil` for talk and for what depends on when somebody asked.
    init?(_ observation: Observation) {
        func step(_ kind: Kind, _ text: String, _ detail: String? = nil) {
            self.kind = kind
            self.text = text
            self.detail = detail
        }
        side = observation.side
        record = observation.sequence
        time = observation.time
        kind = .events
        text = ""
        switch observation.what {
        case .sent(let command, _):
            guard command.trigger != nil else { return nil }
            step(.triggers, Self.name(of: command), command.argument)
        case .refused(let command, let text):
            guard command.trigger != nil else { return nil }
            step(.events, "\(command.name) refused", text)
        case .word(let word, let source): step(.events, "\(word)", source == .query ? "by query" : nil)
        case .event(.stop): step(.events, "STOP")
        case .event(.resume): step(.events, "RESUME")
        case .event(.reset): step(.events, "RESET")
        case .event(.shutdown(let byGuest, let reason)):
            step(.events, "SHUTDOWN by \(byGuest ? "the guest" : "the host")", reason)
        case .event(.guestFault(let name)): step(.events, name)
        case .event(.unplugPrimary): step(.events, "UNPLUG_PRIMARY")
        case .process(let end): step(.events, "the process \(end)")
        case .monitor(.lost): step(.events, "monitor lost")
        case .status(let status):
            let stopping = status.stopping == .none ? "" : ", stopping: \(status.stopping.rawValue)"
            step(.published, status.word.rawValue + stopping)
        case .event, .attempt, .greeting, .monitor, .poll, .runState, .error, .phase, .note, .anomaly: return nil
        }
    }

    /// The stage of a side, as a step.
    init(stage: Stage, of side: Side, record: Int, time: Instant) {
        self.side = side
        kind = .stages
        self.record = record
        self.time = time
        switch stage {
        case .postcopy(let part): text = "postcopy (\(part.rawValue))"
        case .stopping(let ending): text = "stopping (\(ending.rawValue))"
        case .ended(let ending): text = "ended (\(ending.rawValue))"
        default: text = "\(stage)"
        }
    }

    /// A command with what of its arguments is a decision: settings, but no addresses.
    private static func name(of command: Command) -> String {
        switch command {
        case .migrate(let uri, let resume):
            "migrate\(resume ? " (resume)" : "") over \(scheme(of: uri.uri))"
        case .migrateIncoming(let uri, _): "migrate-incoming on \(scheme(of: uri.uri))"
        case .migrateRecover(let uri): "migrate-recover on \(scheme(of: uri))"
        case .setCapabilities(let settings):
            "migrate-set-capabilities "
                + settings.map { $0.isOn ? $0.name : "no \($0.name)" }.sorted().joined(separator: ", ")
        case .setParameters(let settings):
            "migrate-set-parameters " + settings.map { "\($0.name)=\($0.value)" }.sorted().joined(separator: ", ")
        default: command.name
        }
    }

    private static func scheme(of uri: String) -> String {
        let scheme = uri.prefix { $0 != ":" }
        return scheme.isEmpty || scheme.count > 20 ? "an address" : String(scheme)
    }
}
