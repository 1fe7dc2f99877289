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

    private static func identifier(_ view: JSONView?) -> JSONValue? {
        guard let view else { return nil }
        if let number = view.int64 { return .integer(number) }
        return view.value()
    }
}
