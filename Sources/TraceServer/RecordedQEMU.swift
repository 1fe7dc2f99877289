import JSONC
import Trace

/// What a recorded QEMU did or was told, as an entry of its script.
enum RecordedStep: Hashable, Sendable {
    case greeting(JSONValue)
    /// A command, by its number among those that the script has.
    case command(Int)
    /// The answer to the command of this number.
    case reply(Int, JSONValue)
    case say(JSONValue)
    case raw([UInt8])
    case lost
    /// The process ended, with this code or, negative, by this signal.
    case ended(Int)

    /// What needs no look at anything before it; nil if that is not all there is to it.
    init?(_ member: TraceMember) {
        switch member {
        case .raw(let bytes): self = .raw(bytes)
        case .monitor("lost"): self = .lost
        case .process(.exited(let code)): self = .ended(code)
        case .process(.signalled(let signal)): self = .ended(-Swift.max(-255, Swift.min(255, signal)))
        case .process(.unknown): self = .ended(0)
        default: return nil
        }
    }

    /// Whether it is something that QEMU said of itself.
    var isSaid: Bool { if case .say = self { true } else { false } }

    /// Whether a session begins with it.
    var isGreeting: Bool { if case .greeting = self { true } else { false } }
}

/// What a recorded QEMU does. `record` is the line it was read from; 0: none.
enum RecordedOutput: Hashable, Sendable {
    case greet(JSONValue, record: Int = 0)
    case reply(FakeCommand, JSONValue, record: Int = 0)
    case answer(FakeCommand, FakeAnswer)
    case say(JSONValue, record: Int = 0)
    case raw([UInt8])
    case close
    case exit(Int)
    /// The other side is met at an address.
    case meets(String, isListening: Bool)
}

/// A side of a recording that speaks.
protocol RecordedQEMU: Sendable {
    /// How many of its commands that move a migration have their place behind us.
    var progress: Int { get }
    /// When `advance` is due.
    var nextDeadline: Int64? { get }
    /// Whether clients have to negotiate.
    var negotiates: Bool { get }

    mutating func connected(at now: Int64) -> [RecordedOutput]
    /// The client has negotiated.
    mutating func opened(at now: Int64) -> [RecordedOutput]
    mutating func disconnected()
    mutating func received(_ command: FakeCommand, at now: Int64) -> [RecordedOutput]
    mutating func otherSideProgressed(to count: Int, at now: Int64) -> [RecordedOutput]
    mutating func advance(to now: Int64) -> [RecordedOutput]
}
