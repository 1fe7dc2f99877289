import Glibc
import JSONC
import NIOCore
import NIOPosix
import QMP
import QMPTransport
import Testing

@Suite(.timeLimit(.minutes(1))) struct ClientTests {
    /// Sends `count` events after the first command, then answers it; and again for each further command.
    private func monitor(_ directory: TemporaryDirectory, events count: Int) throws -> FakeMonitor {
        try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            var id = 2
            while (try? peer.line()) != nil {
                for number in 0..<count { try peer.send("{\"event\": \"E\", \"data\": {\"n\": \(number)}}\r\n") }
                try peer.send("{\"return\": {}, \"id\": \(id)}\r\n")
                id += 1
            }
        }
    }

    @Test func everySubscriberGetsEveryEvent() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try self.monitor(directory, events: 500)
        let client = try await QMPClient.connect(to: monitor.address)
        let first = client.events
        let second = client.events
        _ = try await client.execute(QMPRequest(name: "go", kind: .query))
        let late = client.events
        await client.close()
        for events in [first, second] {
            var numbers: [Int64] = []
            for try await event in events { numbers.append(event.data["n"]?.int64 ?? -1) }
            #expect(numbers == Array(0..<500))
        }
        for try await event in late { Issue.record("\(event)") }
        for try await event in client.events { Issue.record("\(event)") }
        await monitor.wait()
    }

    @Test func anOverrunIsReported() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try self.monitor(directory, events: 100)
        var configuration = QMPConfiguration()
        configuration.maximumEventBytes = 1000
        let client = try await QMPClient.connect(to: monitor.address, configuration: configuration)
        let events = client.events
        _ = try await client.execute(QMPRequest(name: "go", kind: .query))
        var numbers: [Int64] = []
        var overrun: QMPError?
        do throws(QMPError) {
            for try await event in events { numbers.append(event.data["n"]?.int64 ?? -1) }
        } catch {
            overrun = error
        }
        #expect(!numbers.isEmpty && numbers.count < 100)
        #expect(numbers == Array(0..<Int64(numbers.count)))
        #expect(overrun?.code == .overrun)
        #expect(overrun?.message.hasPrefix("\(100 - numbers.count) events") == true)
        await client.close()
        await monitor.wait()
    }

    @Test func aWaitingSubscriberIsWokenByEventEndAndCancel() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try self.monitor(directory, events: 1)
        let client = try await QMPClient.connect(to: monitor.address)
        let events = client.events
        let first = Task {
            var iterator = events.makeAsyncIterator()
            return try await iterator.next()?.name
        }
        _ = try await client.execute(QMPRequest(name: "go", kind: .query))
        #expect(try await first.value == "E")
        let other = client.events
        let cancelled = Task {
            var iterator = other.makeAsyncIterator()
            return try await iterator.next()?.name
        }
        cancelled.cancel()
        #expect(try await cancelled.value == nil)
        let waiting = Task {
            var iterator = events.makeAsyncIterator()
            return try await iterator.next()?.name
        }
        await client.close()
        #expect(try await waiting.value == nil)
        await monitor.wait()
    }

    @Test func droppingTheClientClosesTheConnection() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            peer.awaitEnd()
        }
        do {
            let client = try await QMPClient.connect(to: monitor.address)
            #expect(client.greeting.major == 7)
            #expect(client.peer?.pid == getpid())
        }
        await monitor.wait()
    }

    @Test func aHundredCallersAtOnce() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try self.monitor(directory, events: 0)
        let client = try await QMPClient.connect(to: monitor.address)
        try await withThrowingTaskGroup { group in
            for _ in 0..<100 { group.addTask { try await client.execute(QMPRequest(name: "go", kind: .query)) } }
            for try await reply in group { #expect(reply == [:]) }
        }
        await client.close()
        await monitor.wait()
    }

    @Test func aListenerTakesItsPlaceOnlyWhenItIsFree() async throws {
        let directory = try TemporaryDirectory()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let path = directory.file("dial")
        func listen() async throws -> QMPListener {
            try await QMPListener.listen(at: .unix(path: path), on: loop) { _ in Recorder() }.get()
        }
        // A stale socket is replaced, a live one and a file are not.
        Glibc.close(try FakeMonitor.bind(path))
        let listener = try await listen()
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        await #expect { try await listen() } throws: { ($0 as? QMPError)?.code == .address }
        try await listener.close().get()
        #expect(access(path, F_OK) != 0)
        Glibc.close(open(path, O_CREAT | O_WRONLY, 0o600))
        await #expect { try await listen() } throws: { ($0 as? QMPError)?.code == .address }
        #expect(access(path, F_OK) == 0)
        await #expect {
            try await QMPListener.listen(at: .unix(path: "/nowhere/x"), on: loop) { _ in nil }.get()
        } throws: {
            ($0 as? QMPError)?.code == .noSuchSocket
        }
    }

    @Test func aListenerCanTurnAway() async throws {
        let directory = try TemporaryDirectory()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let address = QMPAddress.unix(path: directory.file("dial"))
        let listener = try await QMPListener.listen(at: address, on: loop) { _ in nil }.get()
        // Ours is the client here: it sees the connection end, not a greeting.
        await #expect { try await QMPClient.connect(to: address) } throws: { ($0 as? QMPError)?.code == .closed }
        try await listener.close().get()
    }
}
