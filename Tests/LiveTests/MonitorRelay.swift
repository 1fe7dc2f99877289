import Glibc
import Synchronization

/// Stands between a QMP client and a QEMU and can hold, drop or cut what goes through. It takes one client after the other.
/// It relays bytes only, no descriptors, and the client's SO_PEERCRED shows this process, not QEMU.
final class MonitorRelay: Sendable {
    /// Where a line goes.
    enum Direction: Sendable { case toClient, toQEMU }

    /// What happens to a line.
    enum Verdict: Sendable {
        /// It goes on.
        case pass
        /// It waits for ``release()``; lines after it overtake it.
        case hold
        /// It and all lines after it in its direction wait for ``release()``.
        case holdFromHere
        /// It vanishes.
        case drop
        /// The connection to the client, and that to QEMU, is closed instead.
        case cut
    }

    /// Decides about each line, which comes without its line end, on the relay's thread.
    typealias Rule = @Sendable (Direction, String) -> Verdict

    private struct State {
        var rule: Rule = { _, _ in .pass }
        var holding: Set<Direction> = []
        var held: [(Direction, [UInt8])] = []
        var seen: [(Direction, String)] = []
        var connections = 0
        var cutNow = false
        var releaseNow = false
        var stopped = false
        var closed = false
    }

    /// Where the client connects.
    let path: String

    private let qemuPath: String
    private let listener: Int32
    /// The relay's thread wakes when ``waker`` writes.
    private let wake: Int32
    private let waker: Int32
    private let state = Mutex(State())

    /// Listens on `path`; connects to `qemuPath` whenever a client comes.
    init(listeningOn path: String, forwardingTo qemuPath: String) throws {
        self.path = path
        self.qemuPath = qemuPath
        listener = try UnixSocket.listen(on: path)
        var pair: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw SocketError("socketpair")
        }
        (wake, waker) = (pair[0], pair[1])
        startThread {
            while !self.state.withLock({ $0.stopped }) { self.serveOne() }
            close(self.listener)
            self.state.withLock {
                $0.closed = true
                close(self.wake)
                close(self.waker)
            }
        }
    }

    /// Closes everything, once and for all. A relay lives until it is stopped.
    func stop() {
        state.withLock { $0.stopped = true }
        signal()
        unlink(path)
    }

    /// Sets the rule for lines from now on.
    func setRule(_ rule: @escaping Rule) { state.withLock { $0.rule = rule } }

    /// Holds the first line from QEMU that contains `text`, and all from QEMU after it.
    func hold(from text: String) {
        setRule { direction, line in direction == .toClient && line.contains(text) ? .holdFromHere : .pass }
    }

    /// Delivers all held lines in their order; the rule is gone.
    func release() {
        state.withLock {
            $0.rule = { _, _ in .pass }
            $0.holding = []
            $0.releaseNow = true
        }
        signal()
    }

    /// Closes the present connection; held lines are lost with it. The client may connect again.
    func cut() {
        state.withLock { $0.cutNow = true }
        signal()
    }

    /// Lines that wait.
    var heldLines: [String] { state.withLock { $0.held.map { text($0.1) } } }

    /// All lines up to now, also held and dropped ones.
    var lines: [(direction: Direction, line: String)] {
        state.withLock { $0.seen.map { (direction: $0.0, line: $0.1) } }
    }

    /// How many clients have come.
    var connectionCount: Int { state.withLock { $0.connections } }

    /// Waits until a line is held. False when none was within `timeout`.
    func waitUntilHeld(timeout: Duration = .seconds(20)) async throws -> Bool {
        try await wait(timeout) { !self.heldLines.isEmpty }
    }

    /// Waits until a line that contains `text` has come. False when none did within `timeout`.
    func waitForLine(
        _ direction: Direction, containing text: String, timeout: Duration = .seconds(20)
    ) async throws -> Bool {
        try await wait(timeout) { self.lines.contains { $0.direction == direction && $0.line.contains(text) } }
    }

    private func wait(_ timeout: Duration, until condition: () -> Bool) async throws -> Bool {
        let deadline = ContinuousClock.now + timeout
        while !condition() {
            guard ContinuousClock.now < deadline else { return false }
            try await Task.sleep(for: .milliseconds(1))
        }
        return true
    }

    private func signal() {
        state.withLock { state in
            if !state.closed { send(waker, "w", 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) }
        }
    }

    /// Waits for a client and serves it to its end. Returns also when the relay is stopped.
    private func serveOne() {
        guard wait(for: [listener, wake]).contains(listener) else {
            drainWake()
            state.withLock { $0.cutNow = false }
            return
        }
        let client = accept(listener, nil, nil)
        guard client >= 0 else { return }
        defer { close(client) }
        guard let qemu = try? UnixSocket.connect(to: qemuPath) else { return }
        defer { close(qemu) }
        state.withLock {
            $0.connections += 1
            $0.cutNow = false
            $0.held = []
            $0.holding = []
        }
        var partial: [Direction: [UInt8]] = [:]
        while true {
            let ready = wait(for: [client, qemu, wake])
            if ready.contains(wake) {
                drainWake()
                let (cut, released) = state.withLock { state in
                    defer {
                        if state.releaseNow { state.held = [] }
                        state.releaseNow = false
                    }
                    return (state.cutNow || state.stopped, state.releaseNow ? state.held : [])
                }
                if cut { return }
                for (direction, bytes) in released {
                    guard UnixSocket.send(bytes, to: direction == .toClient ? client : qemu) else { return }
                }
            }
            for (source, direction) in [(qemu, Direction.toClient), (client, .toQEMU)] where ready.contains(source) {
                guard let bytes = UnixSocket.receive(from: source) else { return }
                var rest = partial[direction, default: []] + bytes
                while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    let line = Array(rest[...end])
                    rest.removeSubrange(...end)
                    guard deliver(line, direction, to: direction == .toClient ? client : qemu) else { return }
                }
                partial[direction] = rest
            }
        }
    }

    /// False when the connection is to end.
    private func deliver(_ line: [UInt8], _ direction: Direction, to descriptor: Int32) -> Bool {
        let verdict = state.withLock { state -> Verdict in
            let text = text(line)
            state.seen.append((direction, text))
            let verdict = state.holding.contains(direction) ? .hold : state.rule(direction, text)
            if case .holdFromHere = verdict { state.holding.insert(direction) }
            switch verdict {
            case .hold, .holdFromHere: state.held.append((direction, line))
            case .pass, .drop, .cut: break
            }
            return verdict
        }
        return switch verdict {
        case .pass: UnixSocket.send(line, to: descriptor)
        case .hold, .holdFromHere, .drop: true
        case .cut: false
        }
    }

    /// The descriptors with something to read, or at their end.
    private func wait(for descriptors: [Int32]) -> Set<Int32> {
        var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        while poll(&entries, nfds_t(entries.count), -1) < 0, errno == EINTR {}
        return Set(entries.filter { $0.revents != 0 }.map(\.fd))
    }

    private func drainWake() {
        var buffer = [UInt8](repeating: 0, count: 256)
        recv(wake, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    }

    private func text(_ line: [UInt8]) -> String {
        var line = line[...]
        while line.last == UInt8(ascii: "\n") || line.last == UInt8(ascii: "\r") { line.removeLast() }
        return String(decoding: line, as: UTF8.self)
    }
}
