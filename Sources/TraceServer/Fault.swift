public import JSONC

/// A point in the conversation with a fake. `number` counts from 1 over the fake's whole life; nil means every time.
public enum FaultPoint: Hashable, Sendable {
    /// The greeting of a connection.
    case greeting(Int? = 1)
    /// An event, before it is said. `status` is the member of its data, nil matches all.
    case event(String, status: String? = nil, number: Int? = 1)
    /// The answer to a command, before it is said.
    case reply(String, number: Int? = 1)
    /// A command that arrived, before it takes effect. `*` matches all.
    case command(String, number: Int? = 1)
    /// What was recorded in this line, before it is said.
    case record(Int)
    /// The first thing said that was recorded in this line or after it; once.
    case fromRecord(Int)

    /// The event `MIGRATION` with this status word.
    public static func migration(_ status: String, number: Int? = 1) -> FaultPoint {
        .event("MIGRATION", status: status, number: number)
    }

    var number: Int? {
        switch self {
        case .greeting(let number), .event(_, _, let number), .reply(_, let number), .command(_, let number): number
        case .record, .fromRecord: nil
        }
    }
}

/// What goes wrong in a conversation, as data. Faults at one point are applied in the order of the list.
public enum Fault: Hashable, Sendable {
    /// Until when a message is held back.
    public enum Delay: Hashable, Sendable {
        /// Until the next command has arrived; said before it takes effect.
        case nextCommand
        /// Until the next event; said after it.
        case nextEvent
        /// For so long.
        case milliseconds(Int)
    }

    /// Bytes that are no message.
    public enum Noise: Hashable, Sendable {
        /// A line that is no JSON.
        case garbage
        /// The byte 0xFF, with which a parser starts anew.
        case resynchronisation
        /// The first half of an event, cut off by 0xFF.
        case halfMessage
        /// An object that JSON cannot be, though its braces balance.
        case brokenJSON
        /// Valid JSON with a member that has no meaning.
        case strangeObject
        /// An event of about so many bytes.
        case giant(bytes: Int)
        /// These.
        case bytes([UInt8])
    }

    /// The message is never said. The command behind a reply takes effect.
    case drop(FaultPoint)
    /// The message is said later.
    case delay(FaultPoint, Delay)
    /// The message is said twice.
    case duplicate(FaultPoint)
    /// The message and the one that follows it change places.
    case swap(FaultPoint)
    /// The status word of the event, or its name if it has none, becomes another.
    case rename(FaultPoint, to: String)
    /// The reply carries another id.
    case wrongID(FaultPoint)
    /// The reply carries no id.
    case missingID(FaultPoint)
    /// Noise is said before the message.
    case noise(FaultPoint, Noise)
    /// A message is said before this one.
    case say(FaultPoint, JSONValue)
    /// The greeting is said once more before the message.
    case greetAgain(FaultPoint)
    /// The command is refused and takes no effect.
    case refuse(FaultPoint, errorClass: String, desc: String)
    /// The command is answered with an error although it takes effect.
    case answerWithError(FaultPoint, errorClass: String, desc: String)
    /// The command is answered with `{}` although it takes no effect.
    case pretend(FaultPoint)
    /// The command takes no effect and is never answered.
    case ignore(FaultPoint)
    /// From here on nothing is read or said, as by a process that SIGSTOP holds. The guest stands still too.
    case freeze(FaultPoint)
    /// From here on nothing is said, though commands take effect.
    case mute(FaultPoint)
    /// The connection is closed; the fake lives on and takes the next client.
    case close(FaultPoint)
    /// The process ends with this code, as if killed: no further event.
    case exit(FaultPoint, code: Int)
    /// A message is said before the greeting of the connection of this number.
    case beforeGreeting(connection: Int, JSONValue)
    /// The connection of this number (nil: each) gets no greeting, as from a monitor that is busy.
    case noGreeting(connection: Int?)

    /// An event without a time of its own.
    public static func event(_ name: String, _ data: JSONObject? = nil) -> JSONValue {
        var event: JSONObject = ["timestamp": ["seconds": 1_700_000_000, "microseconds": 1], "event": .string(name)]
        if let data { event["data"] = .object(data) }
        return .object(event)
    }

    var point: FaultPoint? {
        switch self {
        case .drop(let point), .delay(let point, _), .duplicate(let point), .swap(let point), .rename(let point, _),
            .wrongID(let point), .missingID(let point), .noise(let point, _), .say(let point, _),
            .greetAgain(let point), .refuse(let point, _, _), .answerWithError(let point, _, _), .pretend(let point),
            .ignore(let point), .freeze(let point), .mute(let point), .close(let point), .exit(let point, _):
            point
        case .beforeGreeting, .noGreeting: nil
        }
    }
}

extension Fault.Noise {
    var bytes: [UInt8] {
        switch self {
        case .garbage: Array("this is not QMP\r\n".utf8)
        case .resynchronisation: [0xFF]
        case .halfMessage: Array("{\"timestamp\": {\"seconds\": 17000".utf8) + [0xFF]
        case .brokenJSON: Array("{\"event\": nonsense}\r\n".utf8)
        case .strangeObject: Array("{\"surprise\": [1, 2, 3]}\r\n".utf8)
        case .giant(let bytes):
            Array("{\"event\": \"GIANT\", \"data\": {\"text\": \"".utf8)
                + [UInt8](repeating: UInt8(ascii: "x"), count: Swift.max(0, bytes)) + Array("\"}}\r\n".utf8)
        case .bytes(let bytes): bytes
        }
    }
}
