internal import Glibc
import Replay
import Synchronization

/// Writing to the terminal, without buffering of our own in between.
enum Console {
    /// Whether standard error is a terminal.
    static var isErrorTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// A line to standard output.
    static func print(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    /// Text as it is to standard output.
    static func write(_ text: String) { write(text, to: STDOUT_FILENO) }

    /// A line to standard error.
    static func note(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Text without a line feed to standard error.
    static func draw(_ text: String) { write(text, to: STDERR_FILENO) }

    /// Text of a peer's with nothing in it that steers a terminal, but line feeds.
    static func safe(_ text: String) -> String { PlainText.lines(text) }

    /// Why standard output did not take everything.
    private static let failure = Mutex<CInt?>(nil)

    /// Runs what a command is there to tell. If standard output does not take all of it, that is how the command ends.
    static func telling(_ body: () throws -> Void) throws {
        let result = Result { try body() }
        if let number = failure.withLock(\.self) { throw OutputError("standard output", number).told() }
        try result.get()
    }

    private static func write(_ text: String, to descriptor: CInt) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                // That is no problem of a migration's; who only tells something looks at it in the end.
                if descriptor == STDOUT_FILENO { failure.withLock { [code = errno] in $0 = $0 ?? code } }
                return
            }
            bytes = bytes.dropFirst(count)
        }
    }
}
