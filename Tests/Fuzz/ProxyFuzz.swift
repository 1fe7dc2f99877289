import TraceServer

/// The proxy between a QEMU and two clients, all of which say anything.
///
/// The input is a play: a byte says who speaks (its lowest two bits: QEMU, a client, another, or somebody comes or goes), the next how much.
enum ProxyFuzz {
    static func talk(_ bytes: [UInt8]) {
        var proxy = ProxyRehearsal(maximumClients: 2, maximumBytes: 4096)
        var rest = bytes[...]
        while let head = rest.popFirst() {
            let length = Int(rest.popFirst() ?? 0)
            let said = Array(rest.prefix(length))
            rest = rest.dropFirst(length)
            switch head & 3 {
            case 0: proxy.qemuSays(said)
            case 1: proxy.clientSays(1, said)
            case 2: proxy.clientSays(2, said)
            default:
                let number = head & 4 == 0 ? 1 : 2
                if head & 8 == 0 { proxy.clientComes(number) } else { proxy.clientLeaves(number) }
            }
        }
        proxy.qemuLeaves()
        // What is passed on has a bound, however the talk went: each byte that came in goes to two clients at most, with ids anew.
        guard proxy.bytesOut <= 64 * (bytes.count + 64) else {
            fatalError("\(proxy.bytesOut) bytes out of \(bytes.count)")
        }
    }
}
