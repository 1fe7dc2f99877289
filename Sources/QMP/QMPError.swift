/// What went wrong between us and a monitor.
///
/// `message` is for people and names the offender (the command, the path, the word); `errorClass` and `desc` are QEMU's
/// own members of an error reply and are never to be parsed, because QEMU rewords them between releases.
public struct QMPError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of error; open, so that new kinds do not break a `switch`.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Name: String {
            case busy, closed, timeout, refused, `protocol`, limit, notQMP, pollOutstanding, outOfBandUnavailable
            case invalidReply, invalidRequest, negotiation
            case noSuchSocket, permissionDenied, connectionRefused, pathTooLong, address, descriptors, input, overrun
        }

        private let name: Name

        /// No greeting in time: QEMU serves one client at a time and parks the others.
        public static let busy = Code(name: .busy)
        /// The connection ended, by either side, before the answer came.
        public static let closed = Code(name: .closed)
        /// The deadline of a command passed. What the command does in QEMU is unknown, unless the message says that it
        /// was not sent.
        public static let timeout = Code(name: .timeout)
        /// QEMU answered with an error; see `errorClass` and `desc`.
        public static let refused = Code(name: .refused)
        /// The peer broke the rules of QMP (reply without id, unknown id, second greeting, garbage, ...).
        public static let `protocol` = Code(name: .protocol)
        /// A message is larger than allowed.
        public static let limit = Code(name: .limit)
        /// What answered on the socket does not speak QMP.
        public static let notQMP = Code(name: .notQMP)
        /// A poll is still outstanding; a second one would only queue behind it.
        public static let pollOutstanding = Code(name: .pollOutstanding)
        /// The monitor did not offer out-of-band execution, so this command cannot overtake others.
        public static let outOfBandUnavailable = Code(name: .outOfBandUnavailable)
        /// A reply lacks what its command promises.
        public static let invalidReply = Code(name: .invalidReply)
        /// The request cannot be put on the wire.
        public static let invalidRequest = Code(name: .invalidRequest)
        /// `qmp_capabilities` was refused or not answered.
        public static let negotiation = Code(name: .negotiation)
        /// Nothing lies at the socket's path.
        public static let noSuchSocket = Code(name: .noSuchSocket)
        /// The socket exists, but we may not connect.
        public static let permissionDenied = Code(name: .permissionDenied)
        /// The socket exists, but nobody listens.
        public static let connectionRefused = Code(name: .connectionRefused)
        /// The path does not fit into a Unix socket address (107 bytes).
        public static let pathTooLong = Code(name: .pathTooLong)
        /// The address cannot be understood or used.
        public static let address = Code(name: .address)
        /// A descriptor could not be passed along.
        public static let descriptors = Code(name: .descriptors)
        /// Reading from or writing to the socket failed.
        public static let input = Code(name: .input)
        /// A subscriber did not keep up and events were dropped.
        public static let overrun = Code(name: .overrun)

        /// The name of the code, as in this source.
        public var description: String { self.name.rawValue }
    }

    /// The kind of error.
    public var code: Code
    /// One sentence for people, naming the offender.
    public var message: String
    /// QEMU's error class (`GenericError`, `CommandNotFound`, ...; unknown words are generic), for `refused` and some
    /// problems.
    public var errorClass: String?
    /// QEMU's own text, for `refused` and some problems.
    public var desc: String?
    /// Whether the command had left for QEMU: if so and there is no answer, what it did is unknown.
    public var wasSent = false

    /// An error of our own making.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// QEMU's refusal of `command`.
    public static func refused(_ command: String, errorClass: String, desc: String) -> QMPError {
        var error = QMPError(.refused, "\(command): \(desc)")
        error.errorClass = errorClass
        error.desc = desc
        error.wasSent = true
        return error
    }

    /// The same error with `prefix` (a path, a command) in front of its message.
    public func prefixed(_ prefix: String) -> QMPError {
        var error = self
        error.message = "\(prefix): \(self.message)"
        return error
    }

    /// The message.
    public var description: String { self.message }
}
