public import JSONC

/// Which end of the migration a record concerns.
public enum TraceSide: String, Sendable, Hashable, CaseIterable {
    /// The QEMU that the guest leaves.
    case source
    /// The QEMU that the guest goes to.
    case destination
}

/// Whose journal a trace is; it decides whether `call` and `answer` are inputs or outputs.
public struct TraceRole: RawRepresentable, Sendable, Hashable, ExpressibleByStringLiteral {
    /// The role's name in the header.
    public var rawValue: String

    /// A role by its name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// A role by its name.
    public init(stringLiteral value: String) { rawValue = value }

    /// The party next to the source.
    public static let source = TraceRole(rawValue: "source")
    /// The party next to the destination.
    public static let destination = TraceRole(rawValue: "destination")
    /// One party that drives both ends.
    public static let coordinator = TraceRole(rawValue: "coordinator")
    /// A party that only looks on.
    public static let observer = TraceRole(rawValue: "observer")
}

/// The first line of a trace.
public struct TraceHeader: Sendable, Hashable {
    /// The version of the format; 1.
    public var version: Int
    /// When the recording began: RFC 3339, UTC.
    public var recorded: String?
    /// The program that recorded, with its version.
    public var recorder: String?
    /// Whose journal it is.
    public var role: TraceRole?
    /// What was recorded, for people.
    public var title: String?
    /// Keys that this version does not know.
    public var other: JSONObject

    /// A header of version 1.
    public init(
        recorded: String? = nil, recorder: String? = nil, role: TraceRole? = nil, title: String? = nil,
        other: JSONObject = [:]
    ) {
        self.version = 1
        self.recorded = recorded
        self.recorder = recorder
        self.role = role
        self.title = title
        self.other = other
    }
}

/// One line of a trace after the header.
public struct TraceRecord: Sendable, Hashable {
    /// Since the start of the recording, on the monotonic clock; not negative.
    public var microseconds: Int64
    /// The side; nil if the record concerns both or it is unknown.
    public var side: TraceSide?
    /// The number that other records refer to: `seq`, else the line number. 0 in a record to be written: the line
    /// number.
    public var seq: Int
    /// The line it was read from; 0 if it was not read.
    public var line: Int
    /// A stable name of the QEMU, when the side does not say it.
    public var qemu: String?
    /// 2 and up for later connections to the same QEMU.
    public var connection: Int?
    /// The attempt's id.
    public var attempt: String?
    /// What happened.
    public var member: TraceMember
    /// Further keys that this version does not know.
    public var other: JSONObject

    /// A record.
    public init(
        microseconds: Int64, side: TraceSide? = nil, seq: Int = 0, line: Int = 0, qemu: String? = nil,
        connection: Int? = nil, attempt: String? = nil, member: TraceMember, other: JSONObject = [:]
    ) {
        self.microseconds = microseconds
        self.side = side
        self.seq = seq
        self.line = line
        self.qemu = qemu
        self.connection = connection
        self.attempt = attempt
        self.member = member
        self.other = other
    }
}

/// How a QEMU process ended.
public enum TraceProcessEnd: Sendable, Hashable {
    /// It exited with this code.
    case exited(Int)
    /// This signal ended it.
    case signalled(Int)
    /// It ended, nobody knows how.
    case unknown
}

/// What a record tells. The names are those of the format.
public enum TraceMember: Sendable, Hashable {
    /// A QMP message from QEMU.
    case recv(JSONValue)
    /// A QMP message to QEMU.
    case send(JSONValue)
    /// Bytes from QEMU that were no message.
    case raw([UInt8])
    /// Descriptors passed with the next `send` or `recv`.
    case fds(Int)
    /// The state of the QMP connection: `connected`, `lost`, `busy`.
    case monitor(String)
    /// The end of the QEMU process.
    case process(TraceProcessEnd)
    /// Somebody asked for something.
    case request(JSONValue)
    /// A step was entered.
    case call(JSONValue)
    /// How a step was answered.
    case answer(JSONValue)
    /// The other party of the steps: `connected`, `lost`.
    case peer(String)
    /// A bounded wait ran out.
    case timeout(String)
    /// A deadline was set.
    case arm(JSONValue)
    /// A deadline was taken back.
    case disarm(JSONValue)
    /// A new process took the journal up.
    case restarted(JSONValue)
    /// What was read of a QEMU before anything was asked of it, or `failed` and why.
    case survey(JSONValue)
    /// An effect, written before its bytes leave by whoever decided on it. A recorder and an importer decide nothing: what they saw
    /// sent is a `send`, and an intent of theirs would claim what nobody saw.
    case intent(JSONValue)
    /// What must be put back.
    case saved(JSONValue)
    /// The commit point of an attempt.
    case run(String)
    /// The tombstone of an attempt.
    case refused(String)
    /// The source's surrender in an attempt.
    case surrendered(String)
    /// A QEMU was killed.
    case kill(JSONValue)
    /// A lease was acted on.
    case lease(JSONValue)
    /// The hook program: `{"run":POINT}`, an output, or `{"ended":POINT, "failed"?:WHY}`, an input.
    case hook(JSONValue)
    /// The convergence policy decided something.
    case policy(JSONValue)
    /// The phase machine moved.
    case phase(JSONValue)
    /// The published status changed.
    case status(JSONValue)
    /// How the attempt ended; the last record of one that came to its end.
    case result(JSONValue)
    /// A note for the reader.
    case mark(String)
    /// A member that this version does not know.
    case unknown(String, JSONValue)

    /// The member's name in the line.
    public var name: String {
        switch self {
        case .recv: "recv"
        case .send: "send"
        case .raw: "raw"
        case .fds: "fds"
        case .monitor: "monitor"
        case .process: "process"
        case .request: "request"
        case .call: "call"
        case .answer: "answer"
        case .peer: "peer"
        case .timeout: "timeout"
        case .arm: "arm"
        case .disarm: "disarm"
        case .restarted: "restarted"
        case .survey: "survey"
        case .intent: "intent"
        case .saved: "saved"
        case .run: "run"
        case .refused: "refused"
        case .surrendered: "surrendered"
        case .kill: "kill"
        case .lease: "lease"
        case .hook: "hook"
        case .policy: "policy"
        case .phase: "phase"
        case .status: "status"
        case .result: "result"
        case .mark: "mark"
        case .unknown(let name, _): name
        }
    }

    /// The member's value in the line.
    public var value: JSONValue {
        switch self {
        case .recv(let value), .send(let value), .request(let value), .call(let value), .answer(let value),
            .arm(let value), .disarm(let value), .restarted(let value), .survey(let value), .intent(let value),
            .saved(let value), .kill(let value), .lease(let value), .hook(let value), .policy(let value),
            .phase(let value), .status(let value), .result(let value), .unknown(_, let value):
            value
        case .monitor(let text), .peer(let text), .timeout(let text), .run(let text), .refused(let text),
            .surrendered(let text), .mark(let text):
            .string(text)
        case .raw(let bytes): .string(Base64.encode(bytes))
        case .fds(let count): .integer(Int64(count))
        case .process(.exited(let code)): ["exited": .integer(Int64(code))]
        case .process(.signalled(let signal)): ["signalled": .integer(Int64(signal))]
        case .process(.unknown): [:]
        }
    }
}
