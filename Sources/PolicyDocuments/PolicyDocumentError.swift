/// Why a policy document cannot be used.
public struct PolicyDocumentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The document.
    public var file: String
    /// The line, from 1; 0 if it concerns no line.
    public var line: Int
    /// The byte in the line, from 1.
    public var column: Int
    /// The member, such as `rules[2].when`; empty for the document itself.
    public var member: String
    /// What is wrong.
    public var message: String

    /// An error at a place.
    public init(file: String, line: Int = 0, column: Int = 0, member: String = "", message: String) {
        self.file = file
        self.line = line
        self.column = column
        self.member = member
        self.message = message
    }

    /// The place and the message.
    public var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        return member.isEmpty ? "\(place): \(message)" : "\(place): \(member): \(message)"
    }
}
