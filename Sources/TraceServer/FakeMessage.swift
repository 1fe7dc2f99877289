import JSONC

/// A message of a fake's on its way to its client.
struct FakeMessage {
    enum Kind: Hashable {
        case greeting
        case event(String, status: String?)
        case reply(String)
        case other
    }

    var kind: Kind
    var message: JSONValue
    /// The line it was recorded in; 0: none.
    var record = 0

    var bytes: [UInt8] { message.serialized() + [0x0D, 0x0A] }

    var isEvent: Bool { if case .event = kind { true } else { false } }

    /// An answer, as QEMU spells it.
    static func reply(to command: FakeCommand, _ answer: FakeAnswer) -> FakeMessage {
        var message: JSONObject =
            switch answer {
            case .success(let value): ["return": value]
            case .failure(let errorClass, let desc): ["error": error(errorClass, desc)]
            }
        if let id = command.id { message["id"] = id }
        return FakeMessage(kind: .reply(command.name), message: .object(message))
    }

    /// An error that answers no command.
    static func error(_ id: JSONValue?, _ desc: String) -> FakeMessage {
        var message: JSONObject = ["error": error("GenericError", desc)]
        if let id { message["id"] = id }
        return FakeMessage(kind: .other, message: .object(message))
    }

    private static func error(_ errorClass: String, _ desc: String) -> JSONValue {
        ["class": .string(errorClass), "desc": .string(desc)]
    }

    // MARK: What faults make of it

    /// Another status word, or where there is none another name.
    mutating func rename(to word: String) {
        guard var object = message.object else { return }
        if var data = object["data"]?.object, data["status"] != nil {
            data["status"] = .string(word)
            object["data"] = .object(data)
        } else {
            object["event"] = .string(word)
        }
        message = .object(object)
    }

    /// Another id; nil: none.
    mutating func setID(_ id: JSONValue?) {
        guard var object = message.object else { return }
        object["id"] = id
        message = .object(object)
    }

    /// An error instead, to the same command.
    mutating func fail(_ errorClass: String, _ desc: String) {
        var object: JSONObject = ["error": Self.error(errorClass, desc)]
        if let id = message["id"] { object["id"] = id }
        message = .object(object)
    }
}
