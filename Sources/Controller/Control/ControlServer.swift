internal import Glibc
import JSONC
import NIOCore
import NIOPosix
import QMP
import QMPTransport

/// The control socket of a running attempt. It speaks QMP's own grammar, so that every QMP client can steer a migration:
/// a greeting with the capability `godwit-attempt`, `qmp_capabilities`, then commands, with events in between. Confined to
/// the event loop.
///
/// Only the user who runs the attempt, and root, are heard. A client that sends rubbish or does not read is put out; the
/// attempt does not notice.
final class ControlServer {
    /// Where it listens.
    let path: String
    /// Clients at once.
    static let maximumClients = 16

    private let channel: any Channel
    private let identity: UnixSocket.FileIdentity?
    private let clients: Clients

    /// Those who are connected.
    final class Clients {
        var all: [ObjectIdentifier: ControlClient] = [:]
    }

    private init(path: String, channel: any Channel, clients: Clients) {
        self.path = path
        self.channel = channel
        self.clients = clients
        identity = UnixSocket.identity(of: path)
    }

    /// Listens at `path`.
    ///
    /// - Parameter execute: Carries a command out; called on the event loop, and answers once, at once or later.
    static func listen(
        at path: String, on eventLoop: any EventLoop, execute: @escaping ControlClient.Execute
    ) -> EventLoopFuture<ControlServer>.Isolated {
        let clients = Clients()
        let bound = NIOLoopBound((clients, execute), eventLoop: eventLoop)
        let descriptor: CInt
        do throws(QMPError) {
            descriptor = try UnixSocket.listen(at: .unix(path: path), backlog: 16)
        } catch {
            return eventLoop.makeFailedFuture(error).assumeIsolated()
        }
        let future = ServerBootstrap(group: eventLoop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (clients, execute) = bound.value
                    let peer =
                        try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                            of: NIOBSDSocket.Handle.self
                        ) { QMPPeer(socket: $0) } ?? nil
                    guard let peer, peer.uid == geteuid() || peer.uid == 0, clients.all.count < maximumClients else {
                        throw QMPError(.closed, "\(path): the connection was turned away")
                    }
                    let client = ControlClient(channel: channel, execute: execute) { [weak clients] client in
                        clients?.all[ObjectIdentifier(client)] = nil
                    }
                    clients.all[ObjectIdentifier(client)] = client
                    try channel.pipeline.syncOperations.addHandler(client)
                }
            }
            .withBoundSocket(descriptor)
        return future.assumeIsolated().map { ControlServer(path: path, channel: $0, clients: clients) }
    }

    /// Tells every client.
    func broadcast(_ event: AttemptEvent) {
        guard !clients.all.isEmpty else { return }
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let message: JSONValue = [
            "event": .string(event.name.uppercased()), "data": .object(event.json),
            "timestamp": [
                "seconds": .integer(Int64(time.tv_sec)), "microseconds": .integer(Int64(time.tv_nsec) / 1000),
            ],
        ]
        let bytes = message.serialized()
        // A number less is no loss to somebody who does not keep up; a word less would be.
        let isDispensable = if case .sample = event { true } else { false }
        for client in clients.all.values { client.tell(bytes, isDispensable: isDispensable) }
    }

    /// Stops listening and removes the socket; what was said to the clients still gets to them.
    func close() {
        if let identity, UnixSocket.identity(of: path) == identity { unlink(path) }
        channel.close(promise: nil)
        clients.all.values.forEach { $0.close() }
    }
}
