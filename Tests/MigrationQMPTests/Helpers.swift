import JSONC

/// Runs `body` with a view of a JSON text.
func withView<R>(_ text: String, _ body: (JSONView) -> R) throws -> R {
    try JSONDocument(parsing: text).withRoot { body($0) }
}

/// A JSON text as a value.
func json(_ text: String) throws -> JSONValue { try JSONValue(parsing: text) }

/// The error's text, or nothing if there was none.
func complaint(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch {
        return "\(error)"
    }
}
