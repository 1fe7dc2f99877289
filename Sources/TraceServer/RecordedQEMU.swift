import JSONC

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
