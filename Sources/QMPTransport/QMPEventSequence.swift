public import JSONC
internal import NIOConcurrencyHelpers
public import QMP

/// An event as a value.
public struct QMPEvent: Hashable, Sendable {
    /// Its name, such as `MIGRATION`.
    public var name: String
    /// The member `data`; null if there is none.
    public var data: JSONValue
    /// QEMU's wall clock in microseconds since 1970; nil when QEMU had no time. Two hosts' clocks must not be compared.
    public var timestampMicroseconds: Int64?

    /// An event by its members.
    public init(name: String, data: JSONValue = .null, timestampMicroseconds: Int64? = nil) {
        self.name = name
        self.data = data
        self.timestampMicroseconds = timestampMicroseconds
    }

    init(name: String, message: JSONView) {
        self.init(name: name, data: message["data"]?.value() ?? .null)
        if let time = message["timestamp"], let seconds = time["seconds"]?.int64, seconds >= 0,
            let microseconds = time["microseconds"]?.int64, microseconds >= 0
        {
            let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
            let (sum, carry) = product.addingReportingOverflow(microseconds)
            if !overflow, !carry { self.timestampMicroseconds = sum }
        }
    }
}

/// The events of a connection from the moment that this value was made, each exactly once, in order. The buffer is bounded by bytes: a
/// subscriber that does not keep up gets what was buffered, then the error `overrun` that names how many events it missed, and the
/// sequence ends; it never skips silently. When the connection ends, what is buffered is still delivered; then the sequence ends,
/// with the connection's error unless we closed it. One iterator at a time.
public struct QMPEventSequence: AsyncSequence, Sendable {
    /// An event.
    public typealias Element = QMPEvent
    /// `overrun`, or what ended the connection.
    public typealias Failure = QMPError

    let subscription: EventSubscription

    /// Takes the events out.
    public func makeAsyncIterator() -> Iterator { Iterator(subscription: self.subscription) }

    /// See the sequence.
    public struct Iterator: AsyncIteratorProtocol {
        let subscription: EventSubscription

        /// The next event; nil at the end. A cancelled task gets nil.
        public mutating func next() async throws(QMPError) -> QMPEvent? {
            try await self.subscription.next()
        }

        /// The next event; nil at the end. A cancelled task gets nil.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(QMPError) -> QMPEvent? {
            try await self.subscription.next()
        }
    }
}

/// The buffer between the loop and one subscriber.
final class EventSubscription: Sendable {
    private enum End {
        case closed(QMPError?)
        case overrun
    }

    private struct State {
        var events: [(event: QMPEvent, bytes: Int)?] = []
        var first = 0
        var bytes = 0
        var missed = 0
        var end: End?
        var waiter: CheckedContinuation<Result<QMPEvent?, QMPError>, Never>?

        mutating func take() -> Result<QMPEvent?, QMPError>? {
            if self.first < self.events.count, let (event, bytes) = self.events[self.first] {
                self.events[self.first] = nil
                self.first += 1
                self.bytes -= bytes
                if self.first == self.events.count {
                    self.events.removeAll(keepingCapacity: self.events.capacity <= 256)
                    self.first = 0
                } else if self.first >= 64, self.first * 2 > self.events.count {
                    self.events.removeFirst(self.first)
                    self.first = 0
                }
                return .success(event)
            }
            switch self.end {
            case nil: return nil
            case .overrun:
                let missed = self.missed
                self.end = .closed(nil)
                return .failure(
                    QMPError(
                        .overrun, "\(missed) events or more were not taken in time and are lost to this subscriber"))
            case .closed(let error):
                self.end = .closed(nil)
                if let error { return .failure(error) }
                return .success(nil)
            }
        }
    }

    private let maximumBytes: Int
    private let state = NIOLockedValueBox(State())

    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// `bytes` is the size of the message on the wire.
    func offer(_ event: QMPEvent, bytes: Int) {
        let waiter = self.state.withLockedValue { state -> CheckedContinuation<Result<QMPEvent?, QMPError>, Never>? in
            switch state.end {
            case .closed: return nil
            case .overrun:
                state.missed += 1
                return nil
            case nil: break
            }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            guard state.bytes + bytes <= self.maximumBytes else {
                state.end = .overrun
                state.missed = 1
                return nil
            }
            state.bytes += bytes
            state.events.append((event, bytes))
            return nil
        }
        waiter?.resume(returning: .success(event))
    }

    func finish(_ error: QMPError?) {
        let waiter = self.state.withLockedValue { state -> CheckedContinuation<Result<QMPEvent?, QMPError>, Never>? in
            guard state.end == nil else { return nil }
            let waiter = state.waiter
            state.waiter = nil
            state.end = .closed(waiter == nil ? error : nil)
            return waiter
        }
        if let waiter {
            if let error { waiter.resume(returning: .failure(error)) } else { waiter.resume(returning: .success(nil)) }
        }
    }

    func next() async throws(QMPError) -> QMPEvent? {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let immediate = self.state.withLockedValue { state -> Result<QMPEvent?, QMPError>? in
                    if let result = state.take() { return result }
                    // A second iterator, or a task cancelled before it came here: it gets the end.
                    if state.waiter != nil || Task.isCancelled { return .success(nil) }
                    state.waiter = continuation
                    return nil
                }
                if let immediate { continuation.resume(returning: immediate) }
            }
        } onCancel: {
            let waiter = self.state.withLockedValue { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume(returning: .success(nil))
        }
        return try result.get()
    }
}
