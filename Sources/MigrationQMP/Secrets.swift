import JSONC

/// Hides what must not travel or be written down: passwords and keys that people put on QEMU's command line.
public enum Secrets {
    /// Options whose value is a secret wherever they stand.
    private static let secretKeys: Set<String> = [
        "password", "password-secret", "passwd", "key-secret", "passphrase", "data", "key", "secret",
    ]

    /// A command line with the values of secrets masked.
    public static func masking(_ commandLine: [String]) -> [String] {
        commandLine.enumerated().map { index, argument in
            let option = index > 0 ? commandLine[index - 1] : ""
            return mask(argument, of: option)
        }
    }

    private static func mask(_ argument: String, of option: String) -> String {
        if argument.hasPrefix("{") { return maskJSON(argument) }
        // The guest kernel's own command line has words, not options.
        if option == "-append" { return parts(of: argument, at: " ").map(maskOption).joined(separator: " ") }
        guard argument.contains("=") || argument.contains("://") else { return argument }
        return parts(of: argument, at: ",").map(maskOption).joined(separator: ",")
    }

    /// The options of an argument. A doubled separator belongs to a value, and what follows `json:{` is one value
    /// however many commas it has.
    private static func parts(of argument: String, at separator: Character) -> [String] {
        var parts: [String] = [""]
        var rest = argument[...]
        while let character = rest.first {
            if separator == ",", rest.hasPrefix("json:{") {
                parts[parts.count - 1] += "json:{***}"
                break
            }
            rest.removeFirst()
            if character == separator, separator == ",", rest.first == separator {
                rest.removeFirst()
                parts[parts.count - 1] += ",,"
            } else if character == separator {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts
    }

    private static func maskOption(_ part: String) -> String {
        guard let equals = part.firstIndex(of: "=") else { return maskURL(part) }
        let key = part[..<equals].split(separator: ".").last.map(String.init) ?? ""
        let value = part[part.index(after: equals)...]
        return secretKeys.contains(key.lowercased())
            ? "\(part[..<equals])=***" : "\(part[..<equals])=\(maskURL(String(value)))"
    }

    /// `scheme://user:password@host` without the password, which may have an `@` of its own.
    static func maskURL(_ text: String) -> String {
        guard let scheme = text.firstRange(of: "://") else { return text }
        let authority = text[scheme.upperBound...].prefix { $0 != "/" }
        guard let at = authority.lastIndex(of: "@"), let colon = authority[..<at].firstIndex(of: ":") else {
            return text
        }
        return text[...colon] + "***" + text[at...]
    }

    private static func maskJSON(_ text: String) -> String {
        // What cannot be read cannot be searched for secrets either.
        guard let value = try? JSONValue(parsing: text) else { return "{***}" }
        return mask(value).text()
    }

    private static func mask(_ value: JSONValue) -> JSONValue {
        switch value {
        case .array(let elements): return .array(elements.map(mask))
        case .string(let text): return .string(maskURL(text))
        case .object(let object):
            var masked: JSONObject = [:]
            for (key, member) in object { masked[key] = secretKeys.contains(key.lowercased()) ? "***" : mask(member) }
            return .object(masked)
        default: return value
        }
    }
}
