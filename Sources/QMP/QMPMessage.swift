public import JSONC

/// What a message from a monitor is, without its payload: that stays in the view it was read from.
public enum QMPMessage: Hashable, Sendable {
    /// `{"QMP": ...}`
    case greeting(QMPGreeting)
    /// `{"event": name, "data"?, "timestamp"}`
    case event(name: String)
    /// `{"return": ..., "id"?}`; the payload is the member `return`.
    case `return`(id: JSONValue?)
    /// `{"error": {"class", "desc"}, "id"?}`; errors found before QEMU understood the object carry no id.
    case error(id: JSONValue?, errorClass: String, desc: String)
    /// Anything else.
    case unknown

    /// Classifies one message. Missing words of an error become `GenericError` and an empty text.
    public init(_ view: JSONView) {
        if let name = view["event"]?.string {
            self = .event(name: name)
        } else if view["return"] != nil {
            self = .return(id: Self.identifier(view["id"]))
        } else if let error = view["error"] {
            self = .error(
                id: Self.identifier(view["id"]),
                errorClass: error["class"]?.string ?? "GenericError",
                desc: error["desc"]?.string ?? ""
            )
        } else if let body = view["QMP"], let greeting = QMPGreeting(body) {
            self = .greeting(greeting)
        } else {
            self = .unknown
        }
    }

    /// The numeric id that a reply ends with (`"id": 7}`, as QEMU renders it), found without parsing the rest.
    public static func trailingID(_ line: UnsafeRawBufferPointer) -> UInt64? {
        var end = line.count
        func skipSpaces() {
            while end > 0, [0x20, 0x09, 0x0A, 0x0D].contains(line[end - 1]) { end -= 1 }
        }
        func skip(_ byte: UInt8) -> Bool {
            skipSpaces()
            guard end > 0, line[end - 1] == byte else { return false }
            end -= 1
            return true
        }
        guard skip(UInt8(ascii: "}")) else { return nil }
        skipSpaces()
        let digitsEnd = end
        while end > 0, line[end - 1] >= UInt8(ascii: "0"), line[end - 1] <= UInt8(ascii: "9") { end -= 1 }
        let digits = String(decoding: line[end..<digitsEnd], as: UTF8.self)
        guard skip(UInt8(ascii: ":")) else { return nil }
        for byte in "\"di\"".utf8 where !skip(byte) { return nil }
        return UInt64(digits)
    }

    private static func identifier(_ view: JSONView?) -> JSONValue? {
        guard let view else { return nil }
        if let number = view.int64 { return .integer(number) }
        return view.value()
    }
}
