import JSONC
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import QMP
import QMPTransport
import Testing

/// Writes down what an observer is told, and reacts on the loop if asked to.
final class Recorder: QMPObserver, @unchecked Sendable {
    typealias Reaction = (QMPConnection, String) -> Void

    private let stream: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation
    private let entries = NIOLockedValueBox<[String]>([])
    /// Called on the loop with each entry.
    private let reaction: Reaction?

    init(reaction: Reaction? = nil) {
        (self.stream, self.continuation) = AsyncStream.makeStream()
        self.reaction = reaction
    }

    /// Everything so far.
    var log: [String] { self.entries.withLockedValue { $0 } }

    /// Waits until an entry has this beginning; nil if the connection ended before.
    @discardableResult func wait(for prefix: String) async -> String? {
        if let found = self.log.first(where: { $0.hasPrefix(prefix) }) { return found }
        for await entry in self.stream where entry.hasPrefix(prefix) { return entry }
        return self.log.first(where: { $0.hasPrefix(prefix) })
    }

    private func note(_ connection: QMPConnection, _ entry: String) {
        self.entries.withLockedValue { $0.append(entry) }
        self.continuation.yield(entry)
        self.reaction?(connection, entry)
    }

    func connection(_ connection: QMPConnection, received line: UnsafeRawBufferPointer) {
        self.note(connection, "received " + String(decoding: line.prefix(200), as: UTF8.self))
    }

    func connection(_ connection: QMPConnection, receivedGarbage bytes: UnsafeRawBufferPointer) {
        self.note(connection, "garbage " + String(decoding: bytes, as: UTF8.self))
    }

    func connection(_ connection: QMPConnection, sent line: UnsafeRawBufferPointer, descriptors: Int) {
        let text = String(decoding: line.prefix(200), as: UTF8.self)
        self.note(connection, "sent " + text + (descriptors > 0 ? " with \(descriptors)" : ""))
    }

    func connection(_ connection: QMPConnection, ready greeting: QMPGreeting) {
        self.note(connection, "ready \(greeting.major).\(greeting.minor)")
    }

    func connection(_ connection: QMPConnection, event name: String, message: JSONView) {
        self.note(connection, "event \(name)")
    }

    func connection(_ connection: QMPConnection, problem: QMPError) {
        self.note(connection, "problem \(problem.code): \(problem)")
    }

    func connectionClosed(_ connection: QMPConnection, error: QMPError?) {
        self.note(connection, "closed " + (error.map { "\($0.code): \($0)" } ?? "by us"))
        self.continuation.finish()
    }
}

/// A connection that tests reach from outside of its loop.
struct RemoteConnection: Sendable {
    let connection: NIOLoopBound<QMPConnection>
    let recorder: Recorder

    static func connect(
        to address: QMPAddress,
        configuration: QMPConfiguration = QMPConfiguration(),
        reaction: Recorder.Reaction? = nil
    ) async throws -> RemoteConnection {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let recorder = Recorder(reaction: reaction)
        let connection = try await loop.submit {
            NIOLoopBound(
                QMPConnection.connect(to: address, on: loop, configuration: configuration, observer: recorder),
                eventLoop: loop)
        }.get()
        return RemoteConnection(connection: connection, recorder: recorder)
    }

    func with<R: Sendable>(_ body: @escaping @Sendable (QMPConnection) -> R) async throws -> R {
        let connection = self.connection
        return try await connection.eventLoop.submit { body(connection.value) }.get()
    }

    /// Waits until a condition holds on the loop.
    func wait(until condition: @escaping @Sendable (QMPConnection) -> Bool) async throws {
        let limit = NIODeadline.now() + .seconds(20)
        while try await !self.with(condition) {
            try #require(NIODeadline.now() < limit)
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    /// The reply in JSON, or the error.
    func execute(_ request: QMPRequest, descriptors: [CInt] = []) async -> Result<JSONValue, QMPError> {
        let connection = self.connection
        return await withCheckedContinuation { continuation in
            connection.eventLoop.execute {
                connection.value.submit(request, descriptors: descriptors) { result in
                    continuation.resume(returning: result.map { $0.value() })
                }
            }
        }
    }
}

extension Result where Failure == QMPError {
    var error: QMPError? {
        if case .failure(let error) = self { error } else { nil }
    }
}

/// Times short enough for tests of what never comes.
func hasty(_ milliseconds: Int = 100) -> QMPConfiguration {
    var configuration = QMPConfiguration()
    configuration.timeouts = QMPTimeouts(all: .milliseconds(milliseconds))
    return configuration
}
