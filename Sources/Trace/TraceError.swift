/// Why a trace cannot be read or written, with the place.
public struct TraceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file's path or name.
    public var file: String
    /// The line, from 1; 0 if the error concerns the file as a whole.
    public var line: Int
    /// The byte in the line, from 1; 0 if the error concerns the file or the line as a whole.
    public var column: Int
    /// What is wrong.
    public var message: String
    /// What kind of trouble it is.
    public var cause: Cause

    /// What kind of trouble it is.
    public enum Cause: Hashable, Sendable {
        /// What is in the file, or is not in it.
        case content
        /// The file is not there, or cannot be opened, read or written.
        case access
    }

    /// Describes a failure.
    public init(file: String, line: Int = 0, column: Int = 0, message: String, cause: Cause = .content) {
        self.file = file
        self.line = line
        self.column = column
        self.message = message
        self.cause = cause
    }

    /// A system call that failed with this errno.
    package init(file: String, number: Int32) {
        self.init(file: file, message: systemMessage(number), cause: .access)
    }

    /// A file that could not be read.
    package init(file: String, _ error: ByteSource.ReadError) {
        self.init(file: file, message: error.message, cause: error.cause)
    }

    /// `file:line:column: message`, as editors and compilers have it.
    public var description: String {
        if line == 0 { return "\(file): \(message)" }
        if column == 0 { return "\(file):\(line): \(message)" }
        return "\(file):\(line):\(column): \(message)"
    }
}

/// Something that was left out while reading a trace.
public struct TraceWarning: Hashable, Sendable, CustomStringConvertible {
    /// Why a line was left out.
    public enum Kind: Hashable, Sendable {
        /// The last line has no line feed: its write was cut short.
        case torn
        /// A line cannot be understood and the reader is lenient.
        case skipped
    }

    /// Why the line was left out.
    public var kind: Kind
    /// The place and the reason.
    public var error: TraceError

    /// A line that was left out.
    public init(kind: Kind, error: TraceError) {
        self.kind = kind
        self.error = error
    }

    /// The place and the reason.
    public var description: String { error.description }
}
