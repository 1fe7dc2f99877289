internal import Glibc
package import QMP

/// The system calls on Unix stream sockets that we make ourselves, so that every failure names the path.
package enum UnixSocket {
    /// Why connect(2) failed.
    package struct ConnectFailure: Error {
        package var error: QMPError
        /// Whether it may work a moment later, when QEMU has come up.
        package var isTransient: Bool
        /// The listener's queue is full.
        package var isQueueFull = false
    }

    /// A connected, non-blocking, close-on-exec socket.
    package static func connect(to address: QMPAddress) throws(ConnectFailure) -> CInt {
        do {
            try address.check()
        } catch {
            throw ConnectFailure(error: error, isTransient: false)
        }
        let path = address.path
        let descriptor = Glibc.socket(AF_UNIX, Self.type, 0)
        guard descriptor >= 0 else {
            throw ConnectFailure(error: Self.error(.input, path, "socket", errno), isTransient: false)
        }
        var result: CInt = -1
        repeat {
            result = Self.withAddress(path) { Glibc.connect(descriptor, $0, $1) }
        } while result != 0 && errno == EINTR
        guard result != 0 else { return descriptor }
        let code = errno
        Glibc.close(descriptor)
        throw Self.connectFailure(path, code)
    }

    /// A bound, listening, non-blocking, close-on-exec socket that only our user may connect to. A socket file that nobody listens
    /// on any more is replaced, anything else at the path is left alone.
    package static func listen(at address: QMPAddress, backlog: CInt) throws(QMPError) -> CInt {
        try address.check()
        let path = address.path
        let descriptor = Glibc.socket(AF_UNIX, Self.type, 0)
        guard descriptor >= 0 else { throw Self.error(.input, path, "socket", errno) }
        var result = Self.withAddress(path) { Glibc.bind(descriptor, $0, $1) }
        if result != 0, errno == EADDRINUSE, Self.isStale(address) {
            unlink(path)
            result = Self.withAddress(path) { Glibc.bind(descriptor, $0, $1) }
        }
        if result == 0 { result = chmod(path, 0o600) }
        if result == 0 { result = Glibc.listen(descriptor, backlog) }
        guard result != 0 else { return descriptor }
        let code = errno
        Glibc.close(descriptor)
        switch code {
        case EADDRINUSE: throw QMPError(.address, "\(path): the path is in use")
        case EACCES, EPERM, EROFS: throw QMPError(.permissionDenied, "\(path): permission denied")
        case ENOENT, ENOTDIR: throw QMPError(.noSuchSocket, "\(path): no such directory")
        default: throw Self.error(.input, path, "listen", code)
        }
    }

    /// What identifies a socket file, so that only our own is removed at the end.
    package static func identity(of path: String) -> FileIdentity? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    package struct FileIdentity: Hashable, Sendable {
        var device: UInt64
        var inode: UInt64
    }

    private static let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)

    private static func isSocket(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }

    private static func isStale(_ address: QMPAddress) -> Bool {
        guard Self.isSocket(address.path) else { return false }
        do {
            Glibc.close(try Self.connect(to: address))
            return false
        } catch {
            return error.error.code == .connectionRefused
        }
    }

    private static func connectFailure(_ path: String, _ code: CInt) -> ConnectFailure {
        switch code {
        case ENOENT, ENOTDIR:
            return ConnectFailure(error: QMPError(.noSuchSocket, "\(path): no such socket"), isTransient: true)
        case EACCES, EPERM:
            return ConnectFailure(
                error: QMPError(.permissionDenied, "\(path): permission denied"), isTransient: false)
        case ECONNREFUSED where !Self.isSocket(path):
            return ConnectFailure(error: QMPError(.notQMP, "\(path): not a socket"), isTransient: false)
        case ECONNREFUSED:
            return ConnectFailure(
                error: QMPError(.connectionRefused, "\(path): connection refused, nobody listens there"),
                isTransient: true)
        case EAGAIN:
            return ConnectFailure(
                error: QMPError(.busy, "\(path): monitor busy: another client is connected (and more are waiting)"),
                isTransient: true,
                isQueueFull: true)
        case EPROTOTYPE:
            return ConnectFailure(error: QMPError(.notQMP, "\(path): not a stream socket"), isTransient: false)
        default:
            return ConnectFailure(error: Self.error(.input, path, "connect", code), isTransient: false)
        }
    }

    private static func error(_ code: QMPError.Code, _ path: String, _ call: String, _ number: CInt) -> QMPError {
        QMPError(code, "\(path): \(call): \(String(cString: strerror(number)))")
    }

    /// The path's length was checked by the caller; a longer one would be cut, never overrun.
    private static func withAddress<R>(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { field in
            for (index, byte) in path.utf8.prefix(field.count - 1).enumerated() { field[index] = byte }
        }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { rebound in
                body(rebound, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
