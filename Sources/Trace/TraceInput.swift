/// The bytes of a trace before they are read, wherever they come from.
public struct TraceInput {
    package let bytes: ByteSource
    /// The file's name, for messages.
    public let name: String
    /// What was left out on the way here.
    public let warnings: [TraceWarning]

    package init(_ bytes: ByteSource, name: String, warnings: [TraceWarning] = []) {
        self.bytes = bytes
        self.name = name
        self.warnings = warnings
    }
}
