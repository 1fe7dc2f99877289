public import JSONC
internal import NIOConcurrencyHelpers
public import NIOCore
internal import NIOPosix
public import QMP

/// A connection for async code. Every call costs a hop to the event loop and back; code that must be fast lives on the loop
/// and uses `QMPConnection`.
///
/// Dropping the last reference closes the connection.
public final class QMPClient: Sendable {
    /// What the monitor said first.
    public let greeting: QMPGreeting
    /// The process at the other end.
    public let peer: QMPPeer?
    /// The loop that the connection lives on.
    public let eventLoop: any EventLoop

    private let connection: NIOLoopBound<QMPConnection>
    private let hub: EventHub
    private let maximumEventBytes: Int

    private init(
        greeting: QMPGreeting, peer: QMPPeer?, connection: NIOLoopBound<QMPConnection>, hub: EventHub,
        maximumEventBytes: Int
    ) {
        self.greeting = greeting
        self.peer = peer
        self.eventLoop = connection.eventLoop
        self.connection = connection
        self.hub = hub
        self.maximumEventBytes = maximumEventBytes
    }

    deinit {
        let connection = self.connection
        self.eventLoop.execute { connection.value.close() }
    }

    /// Connects, negotiates. Without a loop, one of the process-wide group is taken.
    public static func connect(
        to address: QMPAddress,
        on eventLoop: (any EventLoop)? = nil,
        configuration: QMPConfiguration = QMPConfiguration()
    ) async throws(QMPError) -> QMPClient {
        let loop = eventLoop ?? MultiThreadedEventLoopGroup.singleton.next()
        let hub = EventHub()
        let result: Result<QMPClient, QMPError> = await withCheckedContinuation { continuation in
            loop.execute {
                let connection = QMPConnection.connect(
                    to: address, on: loop, configuration: configuration, observer: EventForwarder(hub))
                connection.ready.assumeIsolated().whenComplete { result in
                    switch result {
                    case .success(let greeting):
                        let client = QMPClient(
                            greeting: greeting,
                            peer: connection.peer,
                            connection: NIOLoopBound(connection, eventLoop: loop),
                            hub: hub,
                            maximumEventBytes: configuration.maximumEventBytes
                        )
                        continuation.resume(returning: .success(client))
                    case .failure(let error):
                        let error = error as? QMPError ?? QMPError(.closed, "\(address): \(error)")
                        continuation.resume(returning: .failure(error))
                    }
                }
            }
        }
        return try result.get()
    }

    /// Executes a command and returns its reply. Cancelling the task does not take the command back, so the call still waits: every
    /// command has a deadline. The descriptors go along with it (SCM_RIGHTS) and must stay open until this returns.
    public func execute<C: QMPCommand>(
        _ command: C, outOfBand: Bool = false, descriptors: [CInt] = []
    ) async throws(QMPError) -> C.Reply {
        let connection = self.connection
        let result: Result<C.Reply, QMPError> = await withCheckedContinuation { continuation in
            self.eventLoop.execute {
                connection.value.submit(command, outOfBand: outOfBand, descriptors: descriptors) { result in
                    continuation.resume(returning: result)
                }
            }
        }
        return try result.get()
    }

    /// Executes a command by name and returns the value of `return`.
    public func execute(_ request: QMPRequest, descriptors: [CInt] = []) async throws(QMPError) -> JSONValue {
        let connection = self.connection
        let result: Result<JSONValue, QMPError> = await withCheckedContinuation { continuation in
            self.eventLoop.execute {
                connection.value.submit(request, descriptors: descriptors) { result in
                    continuation.resume(returning: result.map { $0.value() })
                }
            }
        }
        return try result.get()
    }

    /// A new subscription: the events from now on.
    public var events: QMPEventSequence {
        QMPEventSequence(subscription: self.hub.subscribe(maximumBytes: self.maximumEventBytes))
    }

    /// Closes the connection; pending commands fail. Returns when that is done.
    public func close() async {
        let connection = self.connection
        await withCheckedContinuation { continuation in
            self.eventLoop.execute {
                connection.value.close()
                continuation.resume()
            }
        }
    }
}

/// The subscribers of one client.
final class EventHub: Sendable {
    private struct Subscriber {
        weak var subscription: EventSubscription?
    }

    private struct State {
        var subscribers: [Subscriber] = []
        var end: QMPError??
    }

    private let state = NIOLockedValueBox(State())

    func subscribe(maximumBytes: Int) -> EventSubscription {
        let subscription = EventSubscription(maximumBytes: maximumBytes)
        let end = self.state.withLockedValue { state -> QMPError?? in
            state.subscribers.removeAll { $0.subscription == nil }
            if state.end == nil { state.subscribers.append(Subscriber(subscription: subscription)) }
            return state.end
        }
        if let end { subscription.finish(end) }
        return subscription
    }

    /// Those who still listen.
    var subscriptions: [EventSubscription] {
        self.state.withLockedValue { $0.subscribers.compactMap(\.subscription) }
    }

    func finish(_ error: QMPError?) {
        let subscriptions = self.state.withLockedValue { state -> [EventSubscription] in
            guard state.end == nil else { return [] }
            state.end = .some(error)
            defer { state.subscribers = [] }
            return state.subscribers.compactMap(\.subscription)
        }
        for subscription in subscriptions { subscription.finish(error) }
    }
}

/// Makes values of events, if anybody listens.
private final class EventForwarder: QMPObserver {
    private let hub: EventHub
    private var messageBytes = 0

    init(_ hub: EventHub) {
        self.hub = hub
    }

    func connection(_ connection: QMPConnection, received line: UnsafeRawBufferPointer) {
        self.messageBytes = line.count
    }

    func connection(_ connection: QMPConnection, event name: String, message: JSONView) {
        let subscriptions = self.hub.subscriptions
        guard !subscriptions.isEmpty else { return }
        let event = QMPEvent(name: name, message: message)
        for subscription in subscriptions { subscription.offer(event, bytes: self.messageBytes) }
    }

    func connectionClosed(_ connection: QMPConnection, error: QMPError?) {
        self.hub.finish(error)
    }
}
