public import QMP

/// Where a monitor is.
public enum QMPAddress: Hashable, Sendable, CustomStringConvertible {
    /// A Unix stream socket.
    case unix(path: String)

    /// The longest path that fits into a socket address, in bytes.
    public static let maximumPathBytes = 107

    /// `unix:/path`, or a path alone. Throws `.address` for other schemes and `.pathTooLong`.
    public init(parsing text: String) throws(QMPError) {
        let path: Substring
        if text.hasPrefix("unix:") {
            path = text.dropFirst("unix:".count)
        } else if ["tcp:", "fd:", "vsock:", "inet:"].contains(where: text.hasPrefix) {
            throw QMPError(.address, "\(text): only Unix sockets are supported (unix:PATH)")
        } else {
            path = text[...]
        }
        self = .unix(path: String(path))
        try self.check()
    }

    /// Throws if the path cannot be put into a socket address.
    public func check() throws(QMPError) {
        guard !self.path.isEmpty else { throw QMPError(.address, "the path of a monitor socket is empty") }
        guard !self.path.utf8.contains(0) else {
            throw QMPError(.address, "\(self.path): a socket's path cannot contain a NUL byte")
        }
        let length = self.path.utf8.count
        guard length <= Self.maximumPathBytes else {
            throw QMPError(
                .pathTooLong,
                "\(self.path): the path has \(length) bytes, a Unix socket takes at most \(Self.maximumPathBytes)")
        }
    }

    /// The socket's path.
    public var path: String {
        switch self {
        case .unix(let path): path
        }
    }

    /// The path: it is how people name a monitor.
    public var description: String { self.path }
}
