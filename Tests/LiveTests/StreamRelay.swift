import Glibc
import Synchronization

/// Stands between a source and the Unix socket that its destination listens on, passes everything on and keeps what it saw.
final class StreamRelay: Sendable {
    /// What went through, by connection.
    struct Connection: Sendable {
        var fromSource: [UInt8] = []
        var fromDestination: [UInt8] = []
    }

    /// Where the source connects.
    let path: String
    private let listener: Int32
    private let state = Mutex<[Connection]>([])

    /// Everything that went through, once both ends of each connection are gone.
    var connections: [Connection] { state.withLock { $0 } }

    /// Listens on `path`; whoever comes is connected to `target`.
    init(listeningOn path: String, forwardingTo target: String) throws {
        self.path = path
        listener = try UnixSocket.listen(on: path)
        startThread {
            while true {
                let source = accept(self.listener, nil, nil)
                guard source >= 0 else { return }
                guard let destination = try? UnixSocket.connect(to: target) else {
                    close(source)
                    continue
                }
                let index = self.state.withLock { connections in
                    connections.append(Connection())
                    return connections.count - 1
                }
                startThread { self.pass(from: source, to: destination) { $0[index].fromSource += $1 } }
                startThread { self.pass(from: destination, to: source) { $0[index].fromDestination += $1 } }
            }
        }
    }

    /// Takes nobody any more.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        unlink(path)
    }

    private func pass(
        from one: Int32, to other: Int32, _ keep: @Sendable (inout [Connection], [UInt8]) -> Void
    ) {
        while let bytes = UnixSocket.receive(from: one) {
            state.withLock { keep(&$0, bytes) }
            guard UnixSocket.send(bytes, to: other) else { break }
        }
        shutdown(one, Int32(SHUT_RDWR))
        shutdown(other, Int32(SHUT_RDWR))
    }
}

/// Whether these bytes are TLS records from the first to the last one, if there are any; the last may be cut off.
func isTLS(_ bytes: [UInt8]) -> Bool {
    var index = 0
    while index + 5 <= bytes.count {
        // Change of cipher, alert, handshake, data; version 3.x.
        guard (20...23).contains(bytes[index]), bytes[index + 1] == 3, bytes[index + 2] <= 4 else { return false }
        index += 5 + (Int(bytes[index + 3]) << 8) + Int(bytes[index + 4])
    }
    return true
}
