public import JSONC
public import Migration
internal import QMP

extension StreamAddress {
    /// The address in the arguments of `migrate` or `migrate-incoming`.
    ///
    /// - Parameter arguments: The value of `arguments`; whatever is neither `uri` nor one channel for the memory of a kind
    ///   that has a text is kept as JSON.
    public init(arguments: JSONValue?) {
        if let uri = arguments?["uri"]?.string {
            self.init(uri)
        } else if let channels = arguments?["channels"] {
            let main = channels.array?.count == 1 ? channels.array?.first?["addr"] : nil
            self.init(main.flatMap(Self.uri) ?? channels.text(), isChannel: true)
        } else {
            self.init("")
        }
    }

    /// The value of `channels`, or the text for `uri`.
    var argument: MigrationAddress {
        guard isChannel else { return .uri(uri) }
        // What was not made of a text is passed on.
        guard let address else { return (try? JSONValue(parsing: uri)).map { .channels($0) } ?? .uri(uri) }
        return .channels([["channel-type": "main", "addr": .object(address)]])
    }

    /// QEMU's `MigrationAddress`; `nil` for a text that is none.
    private var address: JSONObject? {
        guard let colon = uri.firstIndex(of: ":") else { return nil }
        let rest = String(uri[uri.index(after: colon)...])
        switch uri[..<colon] {
        case "unix": return ["transport": "socket", "type": "unix", "path": .string(rest)]
        case "fd": return ["transport": "socket", "type": "fd", "str": .string(rest)]
        // The text goes to a shell, so that this does too.
        case "exec": return ["transport": "exec", "args": ["/bin/sh", "-c", .string(rest)]]
        case "vsock":
            guard let (cid, port) = Self.parts(rest) else { return nil }
            return ["transport": "socket", "type": "vsock", "cid": .string(cid), "port": .string(port)]
        case "tcp":
            guard let (name, port) = Self.parts(rest) else { return nil }
            let host = name.hasPrefix("[") && name.hasSuffix("]") ? String(name.dropFirst().dropLast()) : name
            return ["transport": "socket", "type": "inet", "host": .string(host), "port": .string(port)]
        case "file":
            var object: JSONObject = ["transport": "file"]
            if let range = rest.lastRange(of: ",offset="), let offset = Int64(rest[range.upperBound...]) {
                object["filename"] = .string(String(rest[..<range.lowerBound]))
                object["offset"] = .integer(offset)
            } else {
                object["filename"] = .string(rest)
                object["offset"] = 0
            }
            return object
        default: return nil
        }
    }

    private static func parts(_ text: String) -> (String, String)? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        return (String(text[..<colon]), String(text[text.index(after: colon)...]))
    }

    private static func uri(_ address: JSONValue) -> String? {
        func text(_ key: String) -> String? { address[key]?.string }
        switch (text("transport"), text("type")) {
        case ("socket", "unix"): return text("path").map { "unix:\($0)" }
        case ("socket", "fd"): return text("str").map { "fd:\($0)" }
        case ("socket", "vsock"):
            guard let cid = text("cid"), let port = text("port") else { return nil }
            return "vsock:\(cid):\(port)"
        case ("socket", "inet"):
            guard let host = text("host"), let port = text("port") else { return nil }
            return host.contains(":") ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
        case ("exec", _):
            let words = address["args"]?.array?.compactMap(\.string) ?? []
            return words.count == 3 && words[1] == "-c" ? "exec:\(words[2])" : nil
        case ("file", _):
            guard let name = text("filename") else { return nil }
            let offset = address["offset"]?.int64 ?? 0
            return offset == 0 ? "file:\(name)" : "file:\(name),offset=\(offset)"
        default: return nil
        }
    }
}

extension String {
    /// The last place of a text in this one.
    fileprivate func lastRange(of text: String) -> Range<String.Index>? { ranges(of: text).last }
}
