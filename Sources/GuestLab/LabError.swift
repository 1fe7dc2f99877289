/// Why something of the laboratory (guest image, QEMU process, directory) could not be had.
public struct LabError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of the failure.
    public struct Code: Hashable, Sendable {
        private enum Name: Sendable { case programMissing, parameter, file, start, timeout, ended }

        private let name: Name

        private init(_ name: Name) { self.name = name }

        /// A program that is needed is not in PATH.
        public static let programMissing = Code(.programMissing)
        /// A parameter is out of its range; nothing was started.
        public static let parameter = Code(.parameter)
        /// A system call on a file or directory failed.
        public static let file = Code(.file)
        /// A program could not be started, or ended before it was ready.
        public static let start = Code(.start)
        /// What was waited for did not happen in time.
        public static let timeout = Code(.timeout)
        /// The process ended while something was expected from it.
        public static let ended = Code(.ended)
    }

    /// The kind of the failure.
    public var code: Code
    /// What failed, with the file, program or process concerned.
    public var message: String

    /// An error of the given kind.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}
