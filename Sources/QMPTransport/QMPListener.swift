internal import Glibc
public import NIOCore
internal import NIOPosix
internal import QMP

/// A Unix socket that QEMU dials (`-chardev socket,path=...,reconnect=1 -mon ...`). Each arrival is a new session: it greets and negotiates,
/// and the events in between are lost.
public final class QMPListener: Sendable {
    /// Where it listens.
    public let address: QMPAddress

    private let channel: any Channel
    private let identity: UnixSocket.FileIdentity?

    private init(address: QMPAddress, channel: any Channel, identity: UnixSocket.FileIdentity?) {
        self.address = address
        self.channel = channel
        self.identity = identity
    }

    /// Listens; only our own user may connect. A stale socket file is replaced. `accept` is called on `eventLoop` for each arrival, with
    /// its peer known, before its greeting was read; it returns the observer of the connection, or nil to turn it away.
    public static func listen(
        at address: QMPAddress,
        on eventLoop: any EventLoop,
        configuration: QMPConfiguration = QMPConfiguration(),
        accept: @escaping @Sendable (QMPConnection) -> (any QMPObserver)?
    ) -> EventLoopFuture<QMPListener> {
        let descriptor: CInt
        do throws(QMPError) {
            descriptor = try UnixSocket.listen(at: address, backlog: 16)
        } catch {
            return eventLoop.makeFailedFuture(error)
        }
        let identity = UnixSocket.identity(of: address.path)
        return ServerBootstrap(group: eventLoop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = QMPConnection(
                        name: address.path, on: channel.eventLoop, configuration: configuration, observer: nil)
                    connection.peer =
                        try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                            of: NIOBSDSocket.Handle.self
                        ) { QMPPeer(socket: $0) } ?? nil
                    connection.observer = accept(connection)
                    guard connection.observer != nil else {
                        connection.close()
                        throw QMPError(.closed, "\(address.path): the connection was turned away")
                    }
                    try channel.pipeline.syncOperations.addHandler(QMPChannelHandler(connection))
                }
            }
            .withBoundSocket(descriptor)
            .map { QMPListener(address: address, channel: $0, identity: identity) }
    }

    /// Stops listening and removes the socket file, if it is still ours. Accepted connections stay.
    public func close() -> EventLoopFuture<Void> {
        if let identity, UnixSocket.identity(of: self.address.path) == identity { unlink(self.address.path) }
        let promise = self.channel.eventLoop.makePromise(of: Void.self)
        self.channel.close(promise: promise)
        return promise.futureResult.flatMapError { _ in promise.futureResult.eventLoop.makeSucceededVoidFuture() }
    }
}
