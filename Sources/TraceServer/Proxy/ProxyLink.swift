import CLinux
import Glibc
import QMP
import QMPTransport
import Trace

/// Bytes on their way out of a socket, with the descriptors that go along with the first of them.
struct ProxyOutbox {
    private var parts: [(bytes: [UInt8], descriptors: [CInt])] = []
    private var sent = 0
    /// Bytes that wait.
    private(set) var count = 0

    enum Outcome { case done, full, broken }

    var isEmpty: Bool { parts.isEmpty }

    mutating func append(_ bytes: [UInt8], _ descriptors: [CInt]) {
        parts.append((bytes, descriptors))
        count += bytes.count
    }

    /// Sends what the socket takes. Descriptors are closed here once they were sent.
    mutating func send(to socket: CInt) -> Outcome {
        var done = 0
        defer { parts.removeFirst(done) }
        while done < parts.count {
            let result = parts[done].bytes.withUnsafeBytes { bytes in
                let rest = UnsafeRawBufferPointer(rebasing: bytes[sent...])
                guard !parts[done].descriptors.isEmpty else {
                    return Glibc.send(socket, rest.baseAddress, rest.count, CInt(MSG_NOSIGNAL))
                }
                return godwit_send_descriptors(
                    socket, rest.baseAddress, rest.count, parts[done].descriptors, parts[done].descriptors.count)
            }
            if result < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN ? .full : .broken
            }
            parts[done].descriptors.forEach { Glibc.close($0) }
            parts[done].descriptors = []
            sent += result
            count -= result
            if sent >= parts[done].bytes.count {
                sent = 0
                done += 1
            }
        }
        return .done
    }

    mutating func discard() {
        for part in parts { part.descriptors.forEach { Glibc.close($0) } }
        parts = []
        count = 0
        sent = 0
    }
}

/// The sockets of one recorded QEMU and its clients. Confined to the proxy's thread.
final class ProxyLink {
    struct Client {
        var number: Int
        var socket: CInt
        var outbox = ProxyOutbox()
        /// It is to be closed once everything was sent.
        var isClosing = false
    }

    let monitor: RecordedMonitor
    var proxy: MonitorProxy
    var qemu: CInt
    var qemuOutbox = ProxyOutbox()
    var clients: [Client] = []
    private(set) var listener: CInt
    /// QEMU's process, whose end is a fact too.
    let peer: QMPPeer?
    /// Until when its end is waited for, once the monitor was lost.
    var endDeadline: Int64?
    private var lastNumber = 0
    private let identity: UnixSocket.FileIdentity?

    /// More of what QEMU said than this does not wait for a client.
    static let maximumLag = 64 << 20
    /// With so much waiting, nothing more is read for it.
    static let comfortableLag = 1 << 20

    init(_ monitor: RecordedMonitor, maximumClients: Int) throws(ProxyError) {
        self.monitor = monitor
        do throws(UnixSocket.ConnectFailure) {
            qemu = try UnixSocket.connect(to: monitor.qemu)
        } catch {
            throw ProxyError(error.error, isUnavailable: true)
        }
        peer = QMPPeer(socket: qemu)
        proxy = MonitorProxy(maximumClients: maximumClients, role: InferredRole(start: Self.start(of: peer)))
        do throws(QMPError) {
            listener = try UnixSocket.listen(at: monitor.listen, backlog: 16)
        } catch {
            Glibc.close(qemu)
            throw ProxyError(error, isUnavailable: false)
        }
        identity = UnixSocket.identity(of: monitor.listen.path)
    }

    /// What the process was started as; nil if that cannot be seen.
    private static func start(of peer: QMPPeer?) -> TraceSide? {
        guard let pid = peer?.pid, pid > 0, let source = try? ByteSource.open(path: "/proc/\(pid)/cmdline") else {
            return nil
        }
        var line: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        // More than the kernel lets a command line have.
        while line.count < 8 << 20, let count = try? chunk.withUnsafeMutableBytes({ try source.read(into: $0) }),
            count > 0
        {
            line += chunk[..<count]
        }
        let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        guard let program = words.first?.split(separator: "/").last, program.hasPrefix("qemu") else { return nil }
        return words.contains { $0 == "-incoming" || $0 == "--incoming" } ? .destination : .source
    }

    /// Which end of a migration it is now, as far as that is known.
    var side: TraceSide? { monitor.side ?? (monitor.name == nil ? proxy.role.side : nil) }

    /// Whether QEMU is still there.
    var isOpen: Bool { qemu >= 0 }

    /// Whether a client that wants to come is let in.
    var takesClients: Bool { listener >= 0 && isOpen && proxy.hasRoom }

    /// A client that is waiting.
    func accept() -> (number: Int, description: String)? {
        let socket = Glibc.accept(listener, nil, nil)
        guard socket >= 0 else { return nil }
        makeNonBlocking(socket)
        lastNumber += 1
        clients.append(Client(number: lastNumber, socket: socket))
        let pid = QMPPeer(socket: socket)?.pid ?? 0
        return (lastNumber, pid > 0 ? "process \(pid)" : "")
    }

    func closeClient(at index: Int) {
        clients[index].outbox.discard()
        Glibc.close(clients[index].socket)
        clients.remove(at: index)
    }

    func closeQEMU() {
        guard qemu >= 0 else { return }
        Glibc.close(qemu)
        qemu = -1
        qemuOutbox.discard()
    }

    /// Stops listening. The socket file goes, if it is still ours.
    func closeListener() {
        guard listener >= 0 else { return }
        if let identity, UnixSocket.identity(of: monitor.listen.path) == identity { unlink(monitor.listen.path) }
        Glibc.close(listener)
        listener = -1
    }

    func close() {
        while !clients.isEmpty { closeClient(at: 0) }
        closeQEMU()
        closeListener()
    }
}
