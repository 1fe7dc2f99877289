import CLinux
import Glibc
import QMP
import QMPTransport
import Trace

/// Why two served sides cannot meet.
struct MeetingError: Error {
    var message: String
}

/// Where two served sides meet: a socket on which one of them listens, and then their connection.
final class ServeMeeting: Sendable {
    /// Makes `run` look again at what it is to tell.
    let wake: Wakeup
    private let address: QMPAddress
    private let isListening: Bool
    private let socket: CInt
    private let identity: UnixSocket.FileIdentity?
    /// What the other side may say at once.
    private static let maximumLine = 64

    /// Listens or connects. Does not block.
    init(at uri: String, isListening: Bool) throws(MeetingError) {
        guard uri.hasPrefix("unix:") else {
            throw MeetingError(
                message:
                    "two processes that serve the sides of a recording meet at unix:PATH, not at \(uri) (one process "
                    + "serves both with a second --side and --listen, whatever the address)")
        }
        self.isListening = isListening
        do throws(WakeupFailure) { wake = try Wakeup() } catch {
            throw MeetingError(message: "a pipe: \(systemMessage(error.code))")
        }
        do throws(QMPError) {
            address = try QMPAddress(parsing: uri)
            socket = try isListening ? UnixSocket.listen(at: address, backlog: 4) : Self.connect(to: address)
        } catch {
            throw MeetingError(message: "the other side is not met: \(error.message)")
        }
        identity = isListening ? UnixSocket.identity(of: address.path) : nil
    }

    deinit { Glibc.close(socket) }

    private static func connect(to address: QMPAddress) throws(QMPError) -> CInt {
        do throws(UnixSocket.ConnectFailure) {
            return try UnixSocket.connect(to: address)
        } catch {
            throw error.error
        }
    }

    /// The socket file goes, if it is still ours.
    func removeSocket() {
        if let identity, UnixSocket.identity(of: address.path) == identity { unlink(address.path) }
    }

    /// Talks with the other side until it has nothing more to say, or until it is over here. Blocks.
    ///
    /// - Parameters:
    ///   - progress: How far the own side is; nil: it is over. Looked at again after each `wake`.
    ///   - hear: Gets how far the other side is.
    /// - Returns: Why the other side was not met or not understood; nil if it just left.
    func run(progress: () -> Int?, hear: (Int) -> Void) -> String? {
        defer { removeSocket() }
        guard isListening else { return talk(on: socket, progress, hear) }
        while progress() != nil {
            guard wait(for: socket, Int16(POLLIN)) else { continue }
            let connection = Glibc.accept(socket, nil, nil)
            guard connection >= 0 else {
                if [EAGAIN, EINTR, ECONNABORTED].contains(errno) { continue }
                return "\(address): accept: \(systemMessage(errno))"
            }
            defer { Glibc.close(connection) }
            makeNonBlocking(connection)
            removeSocket()
            return talk(on: connection, progress, hear)
        }
        return nil
    }

    /// Returns whether the socket is ready; false: it was woken.
    private func wait(for socket: CInt, _ events: Int16) -> Bool {
        var descriptors = [
            pollfd(fd: socket, events: events, revents: 0),
            pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        _ = poll(&descriptors, 2, -1)
        if descriptors[1].revents != 0 { wake.drain() }
        return descriptors[0].revents != 0
    }

    private func talk(on connection: CInt, _ progress: () -> Int?, _ hear: (Int) -> Void) -> String? {
        var (said, output) = (-1, [UInt8]())
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 256)
        while let now = progress() {
            if now != said {
                said = now
                output += Array("\(now)\n".utf8)
            }
            let sent = send(connection, output, output.count, CInt(MSG_NOSIGNAL))
            if sent > 0 { output.removeFirst(sent) }
            guard wait(for: connection, Int16(output.isEmpty ? POLLIN : POLLIN | POLLOUT)) else { continue }
            let count = recv(connection, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { return nil }
            for byte in buffer[..<count] {
                guard byte == UInt8(ascii: "\n") else {
                    guard line.count < Self.maximumLine else { return nonsense }
                    line.append(byte)
                    continue
                }
                guard let other = Int(String(decoding: line, as: UTF8.self)), other >= 0 else { return nonsense }
                line = []
                hear(other)
            }
        }
        return nil
    }

    private var nonsense: String { "\(address): what came is not from the other side of a recording" }
}
