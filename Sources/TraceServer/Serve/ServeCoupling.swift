import CLinux
import Glibc
import QMP
import QMPTransport
import Synchronization

/// Lets two served sides in two processes wait for each other: they meet at the address of the migration, as their QEMUs did, and tell each other over
/// it how many of their moves are behind them. A side that meets nobody goes on by recorded times alone.
public final class ServeCoupling: Sendable {
    private struct State {
        var socket: CInt = -1
        var progress = 0
        /// Which meeting counts; an earlier one has nothing to say any more.
        var meeting = 0
    }

    private let state = Mutex(State())
    private let server = Mutex<FakeQEMUServer?>(nil)
    private let tell: @Sendable (String) -> Void
    /// What the other side may say at once, and how long it is waited for.
    private static let maximumLine = 64
    private static let patience = Duration.seconds(3)

    /// `tell` hears what a person should know, on any thread.
    public init(tell: @escaping @Sendable (String) -> Void) { self.tell = tell }

    /// The server whose only fake is coupled.
    public func attach(_ server: FakeQEMUServer) { self.server.withLock { $0 = server } }

    /// Something that the server's fake did. Does not block.
    public func noticed(_ effect: FakeNetwork.Effect) {
        switch effect.action {
        case .progressed(ServedSide.gone):
            // That the process is gone, the end of the connection tells.
            break
        case .progressed(let count):
            state.withLock { state in
                state.progress = count
                Self.say(count, to: state.socket)
            }
        case .meet(let uri, let isListening):
            let meeting = state.withLock { state in
                state.meeting += 1
                if state.socket >= 0 { shutdown(state.socket, CInt(SHUT_RDWR)) }
                state.socket = -1
                return state.meeting
            }
            let code = spawnThread { [self] in meet(uri, isListening, meeting) }
            if code != 0 { uncouple(meeting, "no thread for it (\(String(cString: strerror(code))))") }
        default: break
        }
    }

    private static func say(_ progress: Int, to socket: CInt) {
        guard socket >= 0 else { return }
        let line = Array("\(progress)\n".utf8)
        // A few bytes for each event: there is always room for them.
        _ = godwit_send_descriptors(socket, line, line.count, nil, 0)
    }

    // MARK: A meeting, on a thread of its own

    private func meet(_ uri: String, _ isListening: Bool, _ meeting: Int) {
        let socket: CInt
        do throws(QMPError) {
            guard let address = try Self.address(uri) else {
                return uncouple(meeting, "the other side cannot be met at \(uri)")
            }
            socket = isListening ? try accept(at: address, meeting) : try connect(to: address)
        } catch {
            return uncouple(meeting, error.message)
        }
        guard socket >= 0 else { return }
        _ = fcntl(socket, F_SETFL, 0)
        let isCurrent = state.withLock { state in
            guard state.meeting == meeting else { return false }
            state.socket = socket
            Self.say(state.progress, to: socket)
            return true
        }
        if isCurrent {
            listen(to: socket)
            state.withLock { state in
                if state.meeting == meeting { state.socket = -1 }
            }
            uncouple(meeting, nil)
        }
        close(socket)
    }

    /// Nil if it is no address that two processes can meet at.
    private static func address(_ uri: String) throws(QMPError) -> QMPAddress? {
        guard uri.hasPrefix("unix:") else { return nil }
        return try QMPAddress(parsing: uri)
    }

    private func isCurrent(_ meeting: Int) -> Bool { state.withLock { $0.meeting == meeting } }

    private func accept(at address: QMPAddress, _ meeting: Int) throws(QMPError) -> CInt {
        let listener = try UnixSocket.listen(at: address, backlog: 1)
        defer {
            unlink(address.path)
            close(listener)
        }
        while isCurrent(meeting) {
            var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 200) > 0 else { continue }
            let socket = Glibc.accept(listener, nil, nil)
            if socket >= 0 { return socket }
        }
        return -1
    }

    private func connect(to address: QMPAddress) throws(QMPError) -> CInt {
        let deadline = ContinuousClock.now + Self.patience
        while true {
            do throws(UnixSocket.ConnectFailure) {
                return try UnixSocket.connect(to: address)
            } catch {
                guard error.isTransient, ContinuousClock.now < deadline else { throw error.error }
            }
            usleep(5000)
        }
    }

    /// Hears what the other side says until it has nothing more to say.
    private func listen(to socket: CInt) {
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 256)
        while true {
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            for byte in buffer[..<count] {
                guard byte == UInt8(ascii: "\n") else {
                    guard line.count < Self.maximumLine else { return }
                    line.append(byte)
                    continue
                }
                guard let progress = Int(String(decoding: line, as: UTF8.self)), progress >= 0 else { return }
                line = []
                advance(to: progress)
            }
        }
    }

    private func advance(to progress: Int) {
        server.withLock(\.self)?.change(0) { fake, now in fake.otherSideProgressed(to: progress, at: now) }
    }

    private func uncouple(_ meeting: Int, _ why: String?) {
        guard isCurrent(meeting) else { return }
        if let why { tell("\(why): going on by recorded times alone") }
        advance(to: .max)
    }
}
