/// A proxy without sockets, for whoever feeds it anything.
package struct ProxyRehearsal: ~Copyable {
    private var proxy: MonitorProxy
    /// How much was passed on to anybody.
    package private(set) var bytesOut = 0

    /// A proxy that nobody has spoken to.
    package init(maximumClients: Int, maximumBytes: Int) {
        proxy = MonitorProxy(maximumClients: maximumClients, maximumBytes: maximumBytes)
    }

    private mutating func count(_ actions: [ProxyAction]) {
        for action in actions {
            switch action {
            case .toQEMU(let bytes, _), .toClient(_, let bytes, _): bytesOut += bytes.count
            case .closeClient, .discard, .record: break
            }
        }
    }

    /// Bytes from QEMU.
    package mutating func qemuSays(_ bytes: [UInt8]) {
        var passed = 0
        let actions = bytes.withUnsafeBytes { proxy.fromQEMU($0) { _, part, _ in passed += part.count } }
        bytesOut += passed
        count(actions)
    }

    /// Bytes from a client.
    package mutating func clientSays(_ number: Int, _ bytes: [UInt8]) {
        let actions = bytes.withUnsafeBytes { proxy.fromClient(number, $0, descriptors: []) }
        count(actions)
    }

    /// A client connects.
    package mutating func clientComes(_ number: Int) { count(proxy.clientCame(number)) }

    /// A client's connection ends.
    package mutating func clientLeaves(_ number: Int) { count(proxy.clientLeft(number)) }

    /// QEMU's connection ends.
    package mutating func qemuLeaves() { count(proxy.qemuLeft()) }
}
