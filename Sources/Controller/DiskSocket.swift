internal import Glibc
import Migration
import NIOCore
import Phases

/// The listening socket of an NBD server on a port that the kernel chose: QEMU chooses one as well, and does not tell
/// which. It is made here and passed. Confined to the event loop.
final class DiskSocket {
    private var descriptor: CInt
    /// The name under which it is passed.
    let name: String

    private init(descriptor: CInt, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    deinit { close() }

    /// Makes the socket if an attempt's options ask for a port to be chosen, and puts it into them.
    ///
    /// - Throws: `MigrationError` if nobody can listen there.
    static func make(for options: inout MigrateOptions) throws(MigrationError) -> DiskSocket? {
        guard var wish = options.storage, case .tcp(let host, port: 0) = wish.server else { return nil }
        let name = StorageWish.socketName(attempt: options.attempt)
        let socket: DiskSocket
        let port: Int
        do {
            let address = try SocketAddress.makeAddressResolvingHost(host, port: 0)
            (socket, port) = try listen(on: address, name: name)
        } catch {
            throw MigrationError(.address, "the disks cannot be exported on tcp:\(host):0: \(error)")
        }
        wish.server = .passed(name: name)
        if case .tcp(let other, port: 0) = wish.client { wish.client = .tcp(host: other, port: port) }
        options.storage = wish
        return socket
    }

    private static func listen(on address: SocketAddress, name: String) throws -> (DiskSocket, Int) {
        let kind = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let made = Glibc.socket(CInt(address.protocol.rawValue), kind, 0)
        guard made >= 0 else { throw IOError(errnoCode: errno, reason: "socket") }
        let socket = DiskSocket(descriptor: made, name: name)
        let bound = address.withSockAddr { pointer, length in Glibc.bind(made, pointer, socklen_t(length)) }
        // QEMU 5.2 does not do this to a socket that it is given.
        guard bound == 0, Glibc.listen(made, 16) == 0 else { throw IOError(errnoCode: errno, reason: "listen") }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(made, $0, &length) }
        }
        guard result == 0 else { throw IOError(errnoCode: errno, reason: "getsockname") }
        // Both families have the port in the same place.
        let port = withUnsafeBytes(of: storage) { $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self) }
        return (socket, Int(UInt16(bigEndian: port)))
    }

    /// The descriptor to be passed; -1, which no process has, once it is closed.
    var end: CInt { descriptor }

    /// QEMU has it, or will not get it any more.
    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }
}
