import JSONC

/// Hides what must not be written down of a QMP conversation: passwords, keys and what is typed. Only the secret's own
/// bytes are replaced, everything else stays as it is spelt.
public enum MessageMask {
    /// What stands in the place of a secret.
    public static let mask = "***"

    /// Members whose value is a secret wherever they stand in a command.
    private static let names: Set<String> = ["passwd", "data", "key", "secret", "cookie", "arg"]
    private static let endings = ["password", "passphrase"]

    /// Whether a member or property of that name holds a secret.
    public static func isSecret(_ name: String) -> Bool {
        let name = name.lowercased()
        return names.contains(name) || endings.contains { name.hasSuffix($0) }
    }

    /// A command, one valid JSON text, without its secrets; nil if it has none.
    public static func masked(command: [UInt8]) -> [UInt8]? {
        var isValueSecret = false
        // `qom-set` says what it sets in another member.
        if let name = TextWalk.string(of: "execute", in: command), name == "qom-set",
            let property = TextWalk.string(of: "property", in: command)
        {
            isValueSecret = isSecret(property)
        }
        return TextWalk.replacing(in: command) { key, text in
            if isSecret(key) || (isValueSecret && key == "value") { return .string(mask) }
            guard let string = text.string else { return nil }
            if key == "command-line" { return monitorCommand(string).map { .string($0) } }
            return address(string).map { .string($0) }
        }
    }

    /// A message of QEMU's, one valid JSON text, without its secrets; nil if it has none. `isSecret`: what it returns
    /// is one.
    public static func masked(message: [UInt8], isSecret: Bool) -> [UInt8]? {
        // Replies may be large, and all that QEMU shows are addresses of images.
        guard isSecret || message.contains(UInt8(ascii: "@")) else { return nil }
        return TextWalk.replacing(in: message) { key, text in
            if isSecret, key == "return" { return .string(mask) }
            return text.string.flatMap(address).map { .string($0) }
        }
    }

    private static func address(_ text: String) -> String? {
        if let start = text.firstRange(of: "json:{"), holdsSecret(text[start.upperBound...]) {
            return "\(text[..<start.upperBound])\(mask)}"
        }
        guard text.contains("://") else { return nil }
        let masked = Secrets.maskURL(text)
        return masked == text ? nil : masked
    }

    private static func monitorCommand(_ text: String) -> String? {
        guard holdsSecret(text[...]) else { return nil }
        return "\(text.prefix { $0 != " " }) \(mask)"
    }

    private static func holdsSecret(_ text: Substring) -> Bool {
        let text = text.lowercased()
        return ["passw", "passphrase", "secret", "sendkey", "cookie", "://"].contains { text.contains($0) }
    }
}

/// Walks over the scalars of a JSON text that is known to be valid.
private enum TextWalk {
    /// A scalar as it is spelt; it is decoded only if somebody asks.
    struct Scalar {
        var bytes: ArraySlice<UInt8>

        /// Nil if it is no string.
        var string: String? {
            guard bytes.first == UInt8(ascii: "\"") else { return nil }
            let inner = bytes.dropFirst().dropLast()
            if !inner.contains(UInt8(ascii: "\\")) { return String(decoding: inner, as: UTF8.self) }
            return (try? JSONValue(parsing: Array(bytes)))?.string
        }
    }

    /// The text with other scalars where `body` gives some; nil if it gives none. Literals are left alone, and an
    /// element of an array goes by the name of the array.
    static func replacing(in text: [UInt8], _ body: (_ key: String, _ value: Scalar) -> JSONValue?) -> [UInt8]? {
        var result: [UInt8] = []
        var copied = 0
        walk(text) { key, range in
            guard let replacement = body(key, Scalar(bytes: text[range])) else { return }
            result += text[copied..<range.lowerBound]
            result += replacement.serialized()
            copied = range.upperBound
        }
        return copied == 0 ? nil : result + text[copied...]
    }

    /// The last string under that name, on whatever level.
    static func string(of name: String, in text: [UInt8]) -> String? {
        var found: String?
        walk(text) { key, range in
            if key == name { found = Scalar(bytes: text[range]).string ?? found }
        }
        return found
    }

    private static func walk(_ text: [UInt8], _ visit: (String, Range<Int>) -> Void) {
        // The name that the values of each open container go by, and whether it is an object.
        var levels: [(key: String, isObject: Bool)] = []
        var isKeyNext = false
        var index = 0
        while index < text.count {
            let start = index
            switch text[index] {
            case UInt8(ascii: "{"):
                levels.append(("", true))
                isKeyNext = true
            case UInt8(ascii: "["):
                levels.append((levels.last?.key ?? "", false))
                isKeyNext = false
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                _ = levels.popLast()
            case UInt8(ascii: ","):
                isKeyNext = levels.last?.isObject ?? false
            case UInt8(ascii: "\""):
                index += 1
                while index < text.count, text[index] != UInt8(ascii: "\"") {
                    index += text[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                let range = start..<Swift.min(index + 1, text.count)
                if isKeyNext, let last = levels.indices.last {
                    levels[last].key = Scalar(bytes: text[range]).string ?? ""
                    isKeyNext = false
                } else {
                    visit(levels.last?.key ?? "", range)
                }
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                while index + 1 < text.count, isInNumber(text[index + 1]) { index += 1 }
                visit(levels.last?.key ?? "", start..<(index + 1))
            default:
                break
            }
            index += 1
        }
    }

    private static func isInNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }
}
