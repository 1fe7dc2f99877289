import Glibc
import Synchronization

/// Stands in the way of the memory, over Unix sockets, and can slow it down, hold it up or break it off.
final class StreamCutter: Sendable {
    /// One connection; both descriptors are closed when both directions have ended.
    private struct Link {
        var client: Int32
        var server: Int32
        var open = 2
    }

    private struct State {
        var links: [Int: Link] = [:]
        var count = 0
        var isHeld = false
    }

    /// Where the source connects.
    let path: String
    private let target: String
    private let listener: Int32
    private let bytesPerSecond: Int?
    private let state = Mutex(State())

    /// Listens on `path` and connects to `target` for each connection that comes. With a limit the source soon waits in its writes, as hardly
    /// anything is kept here.
    init(listeningOn path: String, forwardingTo target: String, bytesPerSecond: Int? = nil) throws {
        self.path = path
        self.target = target
        self.bytesPerSecond = bytesPerSecond
        listener = try UnixSocket.listen(on: path)
        startThread {
            while case let client = accept(self.listener, nil, nil), client >= 0 { self.serve(client) }
            close(self.listener)
        }
    }

    /// Ends it, and the connections with it. A relay lives until then.
    func stop() {
        cut()
        shutdown(listener, Int32(SHUT_RDWR))
        unlink(path)
    }

    /// From now on nothing is taken from the source, until the connection is cut.
    func hold() { state.withLock { $0.isHeld = true } }

    /// Breaks off the connections that are there.
    func cut() {
        state.withLock { state in
            state.isHeld = false
            for link in state.links.values {
                shutdown(link.client, Int32(SHUT_RDWR))
                shutdown(link.server, Int32(SHUT_RDWR))
            }
        }
    }

    private func serve(_ client: Int32) {
        guard let server = try? UnixSocket.connect(to: target) else {
            close(client)
            return
        }
        var size: Int32 = 4096
        setsockopt(client, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        let number = state.withLock { state in
            state.count += 1
            state.links[state.count] = Link(client: client, server: server)
            return state.count
        }
        startThread { self.pump(from: client, to: server, of: number, isForward: true) }
        startThread { self.pump(from: server, to: client, of: number, isForward: false) }
    }

    private func pump(from: Int32, to: Int32, of number: Int, isForward: Bool) {
        var buffer = [UInt8](repeating: 0, count: 16384)
        while true {
            while isForward, state.withLock({ $0.isHeld }) { usleep(500) }
            let count = recv(from, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            // What came while it began to hold is not passed on either.
            while isForward, state.withLock({ $0.isHeld }) { usleep(500) }
            guard count > 0, UnixSocket.send(Array(buffer[..<count]), to: to) else { break }
            if isForward, let bytesPerSecond { usleep(UInt32(clamping: count * 1_000_000 / max(1, bytesPerSecond))) }
        }
        shutdown(from, Int32(SHUT_RDWR))
        shutdown(to, Int32(SHUT_RDWR))
        state.withLock { state in
            state.links[number]?.open -= 1
            guard state.links[number]?.open == 0 else { return }
            state.links[number] = nil
            close(from)
            close(to)
        }
    }
}
