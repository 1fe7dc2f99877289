import JSONC
import MigrationQMP
import Trace

/// As much of a QMP message as a proxy needs.
struct MessageHeading {
    struct Command: Hashable {
        var name: String
        var isOutOfBand: Bool
        /// The capabilities that a `qmp_capabilities` asks for.
        var enables: [String] = []
        /// Whether it asks for a property that is a secret.
        var asksForSecret = false
    }

    enum Kind: Hashable {
        case greeting
        case reply(isError: Bool)
        case command(Command)
        /// An event, or what nobody knows.
        case other
    }

    var kind: Kind
    var id: JSONValue?

    /// Nil if it is no JSON object.
    init?(_ bytes: UnsafeRawBufferPointer, _ parser: inout JSONParser) {
        let parsed = try? parser.parse(bytes).withRoot { view -> MessageHeading? in
            guard view.kind == .object else { return nil }
            return MessageHeading(view)
        }
        guard let heading = parsed ?? nil else { return nil }
        self = heading
    }

    private init(_ view: JSONView) {
        id = view["id"]?.value()
        if view["event"] != nil {
            kind = .other
        } else if view["return"] != nil {
            kind = .reply(isError: false)
        } else if view["error"] != nil {
            kind = .reply(isError: true)
        } else if view["QMP"] != nil {
            kind = .greeting
        } else if let name = view["execute"]?.string {
            kind = .command(Self.command(name, isOutOfBand: false, view["arguments"]))
        } else if let name = view["exec-oob"]?.string {
            kind = .command(Self.command(name, isOutOfBand: true, view["arguments"]))
        } else {
            kind = .other
        }
    }

    private static func command(_ name: String, isOutOfBand: Bool, _ arguments: JSONView?) -> Command {
        var command = Command(name: name, isOutOfBand: isOutOfBand)
        switch name {
        case "qmp_capabilities":
            arguments?["enable"]?.forEachElement { element in
                command.enables.append(element.string ?? "")
            }
        case "qom-get": command.asksForSecret = MessageMask.isSecret(arguments?["property"]?.string ?? "")
        default: break
        }
        return command
    }

    /// The message with another id, or with none; all else stays as it is spelt, if the id is spelt as usual.
    func replacingID(of message: [UInt8], _ new: JSONValue?) -> [UInt8] {
        if let new {
            let text = new.serialized()
            if let member = TopLevelMember.named("id", in: message[...]) {
                return Array(message[..<member.value.lowerBound]) + text + message[member.value.upperBound...]
            }
            if id == nil, let brace = message.lastIndex(of: UInt8(ascii: "}")) {
                return Array(message[..<brace]) + Array(", \"id\": ".utf8) + text + message[brace...]
            }
        }
        guard var object = (try? JSONValue(parsing: message))?.object else { return message }
        object["id"] = new
        return JSONValue.object(object).serialized()
    }

    /// An answer as QEMU words it.
    static func error(_ id: JSONValue?, _ description: String, errorClass: String = "GenericError") -> JSONValue {
        var reply: JSONObject = ["error": ["class": .string(errorClass), "desc": .string(description)]]
        if let id { reply["id"] = id }
        return .object(reply)
    }
}
