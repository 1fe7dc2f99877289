import Glibc
import QMP
import QMPTransport
import Synchronization

/// A system call that failed while a fake was set up.
public struct FakeServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// In words.
    public var description: String

    init(_ error: QMPError) { description = error.message }

    init(_ what: String, _ code: CInt) { description = "\(what): \(String(cString: strerror(code)))" }
}

/// Puts fakes on Unix sockets, served by one thread. As with QEMU, one client is served at a time: a second one can connect but gets no greeting
/// until the first leaves. The peer of these sockets is the process that runs the server.
public final class FakeQEMUServer: Sendable {
    /// The fakes' sockets, by number.
    public let paths: [String]

    private struct Port {
        var listener: CInt
        var client: CInt = -1
        var output: [UInt8] = []
        var written = 0
        /// Whether the client is read from: like QEMU, not while it does not read itself.
        var isRead: Bool { output.count - written < FakeQEMUServer.maximumLag }
        /// The client is closed once everything is written.
        var isClosing = false
        /// The process has ended.
        var isGone = false
        /// Its end is told once its client has heard everything.
        var isEndTold = false
    }

    private struct State: ~Copyable {
        var network: FakeNetwork
        var ports: [Port]
        var isStopped = false
        let watch: @Sendable (FakeNetwork.Effect) -> Void
        let ended: @Sendable (_ number: Int, _ fake: FakeQEMU) -> Void
    }

    /// So much may wait for a client.
    private static let maximumLag = 1 << 20

    private let state: Mutex<State>
    private let wake: Wakeup
    private let stopped: Wakeup
    private let start: ContinuousClock.Instant

    /// Listens at `paths`, one for each fake of the network; socket files that nobody listens on any more are replaced. `watch` hears of
    /// effects as they happen, `ended` of a fake's end once its client was told everything and cut off; neither must block or call back.
    public init(
        _ network: FakeNetwork, paths: [String], watch: @escaping @Sendable (FakeNetwork.Effect) -> Void = { _ in },
        ended: @escaping @Sendable (_ number: Int, _ fake: FakeQEMU) -> Void = { _, _ in }
    ) throws(FakeServerError) {
        guard paths.count == network.fakes.count else { throw FakeServerError("one path for each fake", EINVAL) }
        var ports: [Port] = []
        do throws(FakeServerError) {
            for path in paths { ports.append(Port(listener: try Self.listen(path))) }
        } catch {
            for port in ports { Glibc.close(port.listener) }
            throw error
        }
        self.paths = paths
        do throws(WakeupFailure) {
            (wake, stopped) = (try Wakeup(), try Wakeup())
        } catch {
            throw FakeServerError("a pipe", error.code)
        }
        start = ContinuousClock.now
        state = Mutex(State(network: network, ports: ports, watch: watch, ended: ended))
        let code = spawnThread { [self] in run() }
        guard code == 0 else { throw FakeServerError("a thread for the fakes", code) }
    }

    /// Ends all fakes and removes their sockets. Returns when that is done.
    public func close() {
        let wasStopped = state.withLock { state in
            defer { state.isStopped = true }
            return state.isStopped
        }
        guard !wasStopped else { return }
        wake.notify()
        stopped.wait()
    }

    /// Looks at the network.
    public func inspect<R: Sendable>(_ body: (FakeNetwork) -> R) -> R {
        state.withLock { state in body(state.network) }
    }

    /// The fake of this number, as it is now.
    public func fake(_ number: Int) -> FakeQEMU { inspect { $0.fakes[number] } }

    /// Does something to a fake from outside: kills it, freezes it, lets it go on, changes its faults.
    public func change(_ number: Int, _ body: (inout FakeQEMU, _ now: Int64) -> [FakeAction]) {
        let now = now
        state.withLock { state in
            let effects = state.network.apply(number, now) { body(&$0, now) }
            Self.note(effects, &state)
        }
        wake.notify()
    }

    // MARK: The thread

    private var now: Int64 { start.microsecondsSince }

    private func run() {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            var (descriptors, deadline, isStopped) = state.withLock { state in
                (Self.interests(state), state.network.nextDeadline, state.isStopped)
            }
            if isStopped { break }
            descriptors.append(pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0))
            let wait = deadline.map { CInt(Swift.max(0, Swift.min(60_000_000, $0 - self.now) + 999) / 1000) } ?? -1
            _ = poll(&descriptors, nfds_t(descriptors.count), wait)
            wake.drain()
            let now = self.now
            state.withLock { state in
                Self.note(state.network.advance(to: now), &state)
                for number in state.ports.indices {
                    Self.serve(number, &state, descriptors, &buffer, now)
                }
                for number in state.ports.indices where state.ports[number].isGone {
                    guard state.ports[number].client < 0, !state.ports[number].isEndTold else { continue }
                    state.ports[number].isEndTold = true
                    state.ended(number, state.network.fakes[number])
                }
            }
        }
        state.withLock { state in
            for (number, port) in state.ports.enumerated() {
                if port.client >= 0 { Glibc.close(port.client) }
                if !port.isGone { Glibc.close(port.listener) }
                unlink(self.paths[number])
            }
            state.ports = []
        }
        stopped.notify()
    }

    private static func interests(_ state: borrowing State) -> [pollfd] {
        var descriptors: [pollfd] = []
        for port in state.ports {
            if port.client >= 0 {
                var events = Int16(port.isRead ? POLLIN : 0)
                if port.written < port.output.count { events |= Int16(POLLOUT) }
                descriptors.append(pollfd(fd: port.client, events: events, revents: 0))
            } else if !port.isGone {
                descriptors.append(pollfd(fd: port.listener, events: Int16(POLLIN), revents: 0))
            }
        }
        return descriptors
    }

    private static func isReady(_ descriptor: CInt, _ descriptors: [pollfd]) -> Bool {
        descriptors.contains { $0.fd == descriptor && $0.revents != 0 }
    }

    private static func serve(
        _ number: Int, _ state: inout State, _ descriptors: [pollfd], _ buffer: inout [UInt8], _ now: Int64
    ) {
        flush(number, &state, now)
        guard !state.ports[number].isGone else { return }
        let client = state.ports[number].client
        if client < 0 {
            guard isReady(state.ports[number].listener, descriptors) else { return }
            let accepted = accept(state.ports[number].listener, nil, nil)
            guard accepted >= 0 else { return }
            makeNonBlocking(accepted)
            state.ports[number].client = accepted
            note(state.network.connected(number, at: now), &state)
        } else if isReady(client, descriptors), !state.ports[number].isClosing, state.ports[number].isRead {
            let count = recv(client, &buffer, buffer.count, 0)
            if count > 0 {
                note(state.network.received(Array(buffer[..<count]), by: number, at: now), &state)
            } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
                drop(number, &state)
                note(state.network.disconnected(number, at: now), &state)
            }
        }
        for number in state.ports.indices { flush(number, &state, now) }
    }

    private static func note(_ effects: [FakeNetwork.Effect], _ state: inout State) {
        for effect in effects where state.ports.indices.contains(effect.fake) {
            if case .write = effect.action {} else { state.watch(effect) }
            switch effect.action {
            case .write(let bytes):
                if state.ports[effect.fake].client >= 0, !state.ports[effect.fake].isClosing {
                    state.ports[effect.fake].output += bytes
                }
            case .close: state.ports[effect.fake].isClosing = true
            case .exit:
                state.ports[effect.fake].isClosing = true
                if !state.ports[effect.fake].isGone {
                    state.ports[effect.fake].isGone = true
                    // A child that is just being started may hold it too.
                    shutdown(state.ports[effect.fake].listener, CInt(SHUT_RDWR))
                    Glibc.close(state.ports[effect.fake].listener)
                }
            case .connectStream, .stream, .progressed, .meet: break
            }
        }
    }

    private static func flush(_ number: Int, _ state: inout State, _ now: Int64) {
        let client = state.ports[number].client
        guard client >= 0 else { return }
        while state.ports[number].written < state.ports[number].output.count {
            let written = state.ports[number].written
            let count = state.ports[number].output.withUnsafeBytes { bytes in
                send(
                    client, bytes.baseAddress?.advanced(by: written), bytes.count - written, CInt(MSG_NOSIGNAL)
                )
            }
            if count < 0 {
                if errno == EINTR { continue }
                if errno != EAGAIN {
                    drop(number, &state)
                    note(state.network.disconnected(number, at: now), &state)
                }
                return
            }
            state.ports[number].written += count
        }
        state.ports[number].output.removeAll(keepingCapacity: true)
        state.ports[number].written = 0
        if state.ports[number].isClosing { drop(number, &state) }
    }

    private static func drop(_ number: Int, _ state: inout State) {
        Glibc.close(state.ports[number].client)
        state.ports[number].client = -1
        state.ports[number].output = []
        state.ports[number].written = 0
        state.ports[number].isClosing = false
    }

    // MARK: Sockets

    private static func listen(_ path: String) throws(FakeServerError) -> CInt {
        do throws(QMPError) {
            return try UnixSocket.listen(at: .unix(path: path), backlog: 4)
        } catch {
            throw FakeServerError(error)
        }
    }
}
