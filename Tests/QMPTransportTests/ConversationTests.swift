import Dispatch
import Glibc
import JSONC
import NIOConcurrencyHelpers
import QMP
import QMPTransport
import Testing

@Suite(.timeLimit(.minutes(1))) struct ConversationTests {
    private static let stopEvent = #"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#

    @Test func eventsAtAnyMoment() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.send("{\"event\": \"EARLY\"}\r\n" + FakePeer.greeting + "\r\n{\"event\": \"SECOND\"}\r\n")
            _ = try peer.line()
            try peer.send("{\"event\": \"THIRD\"}\r\n{\"return\": {}, \"id\": 1}\r\n")
            #expect(try peer.line() == #"{"execute":"stop","id":2}"#)
            try peer.send(Self.stopEvent + "\r\n{\"return\": {}, \"id\": 2}\r\n")
            peer.awaitEnd()
        }
        let connection = try await RemoteConnection.connect(to: monitor.address)
        await connection.recorder.wait(for: "ready")
        #expect(await connection.execute(QMPRequest(Stop())) == .success([:]))
        try await connection.with { $0.close() }
        await monitor.wait()
        #expect(
            connection.recorder.log.filter { !$0.hasPrefix("received") } == [
                "event EARLY",
                #"sent {"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":1}"#,
                "event SECOND", "event THIRD", "ready 7.2",
                #"sent {"execute":"stop","id":2}"#,
                "event STOP", "closed by us",
            ])
        #expect(connection.recorder.log.contains("received " + Self.stopEvent))
    }

    @Test func aMegabyteInPieces() async throws {
        let directory = try TemporaryDirectory()
        let text = String(repeating: "0123456789abcdef", count: 1 << 16)
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            _ = try peer.line()
            let message = Array("{\"return\": \"\(text)\", \"id\": 2}\r\n".utf8)
            var start = 0
            while start < message.count {
                let end = min(start + 1009, message.count)
                try peer.send(Array(message[start..<end]))
                start = end
            }
            peer.awaitEnd()
        }
        let client = try await QMPClient.connect(to: monitor.address)
        let reply = try await client.execute(QMPRequest(name: "long", kind: .query))
        #expect(reply == .string(text))
        await client.close()
        await monitor.wait()
    }

    @Test func prettyMode() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.send("{\r\n    \"QMP\": {\r\n        \"capabilities\": [\r\n        ]\r\n    }\r\n}\r\n")
            #expect(try peer.line() == #"{"execute":"qmp_capabilities","id":1}"#)
            try peer.send("{\r\n    \"return\": {\r\n    },\r\n    \"id\": 1\r\n}\r\n")
            peer.awaitEnd()
        }
        let client = try await QMPClient.connect(to: monitor.address)
        await #expect { try await client.execute(QueryYank(), outOfBand: true) } throws: {
            ($0 as? QMPError)?.code == .outOfBandUnavailable
        }
        await client.close()
        await monitor.wait()
    }

    @Test func aMessageBeyondTheLimit() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            _ = try peer.line()
            try? peer.send("{\"return\": \"" + String(repeating: "x", count: 100_000))
            peer.awaitEnd()
        }
        var configuration = QMPConfiguration()
        configuration.maximumMessageBytes = 50_000
        let connection = try await RemoteConnection.connect(to: monitor.address, configuration: configuration)
        let error = await connection.execute(QMPRequest(QueryStatus())).error
        #expect(error?.code == .limit)
        #expect(error?.message.contains("larger than 50000 bytes") == true)
        #expect(await connection.recorder.wait(for: "closed limit") != nil)
        await monitor.wait()
    }

    @Test func aLateReplyIsDiscardedAndFreesTheLine() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            #expect(try peer.line() == #"{"execute":"slow","id":2}"#)
            // Out of band passes, in band does not.
            #expect(try peer.line() == #"{"exec-oob":"query-yank","id":4}"#)
            try peer.send("{\"return\": [], \"id\": 4}\r\n{\"return\": {}, \"id\": 2}\r\n")
            #expect(try peer.line() == #"{"execute":"next","id":3}"#)
            try peer.send("{\"return\": 3, \"id\": 3}\r\n")
            peer.awaitEnd()
        }
        var configuration = QMPConfiguration()
        configuration.timeouts.action = .milliseconds(50)
        let connection = try await RemoteConnection.connect(to: monitor.address, configuration: configuration)
        await connection.recorder.wait(for: "ready")
        let error = await connection.execute(QMPRequest(name: "slow", kind: .action)).error
        #expect(error?.code == .timeout)
        #expect(error?.wasSent == true)
        #expect(try await connection.with { $0.isHeldUp })
        async let next = connection.execute(QMPRequest(name: "next", kind: .query))
        try await connection.wait { $0.inFlightCount + $0.waitingCount == 2 }
        #expect(await connection.execute(QMPRequest(QueryYank(), outOfBand: true)) == .success([]))
        #expect(await next == .success(3))
        #expect(connection.recorder.log.contains { $0.hasPrefix("problem timeout") && $0.contains("slow") })
        try await connection.with { $0.close() }
        await monitor.wait()
    }

    @Test func problemsThatDoNotEndIt() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            _ = try peer.line()
            try peer.send(
                """
                {"error": {"class": "GenericError", "desc": "JSON parse error"}}\r
                {"return": {}}\r
                {"return": {}, "id": 77}\r
                \(FakePeer.greeting)\r
                {"return": {"mbps": nan}}\r
                noise\r
                {"x": 1}\r
                {"return": {"ok": true}, "id": 2}\r\n
                """)
            peer.awaitEnd()
        }
        let connection = try await RemoteConnection.connect(to: monitor.address)
        await connection.recorder.wait(for: "ready")
        #expect(await connection.execute(QMPRequest(QueryStatus())) == .success(["ok": true]))
        let problems = connection.recorder.log.filter { $0.hasPrefix("problem protocol") }
        #expect(problems.count == 7)
        #expect(problems.allSatisfy { $0.contains(monitor.path) })
        #expect(connection.recorder.log.contains("garbage noise"))
        try await connection.with { $0.close() }
        await monitor.wait()
    }

    @Test func anUnreadableReplyEndsItsCommand() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            _ = try peer.line()
            try peer.send("{\"return\": {\"mbps\": -nan}, \"id\": 2}\r\n")
            peer.awaitEnd()
        }
        let connection = try await RemoteConnection.connect(to: monitor.address)
        #expect(await connection.execute(QMPRequest(QueryMigrate())).error?.code == .invalidReply)
        try await connection.with { $0.close() }
        await monitor.wait()
    }

    @Test func theEndFailsEverythingOnceAndIsReportedLast() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            for _ in 0..<7 { _ = try peer.line() }
            try peer.send("{\"return\": 0, \"id\": 2}\r\n{\"event\": \"LAST\"}\r\n{\"torn")
        }
        let connection = try await RemoteConnection.connect(to: monitor.address)
        await connection.recorder.wait(for: "ready")
        let results = await withTaskGroup { group in
            for _ in 0..<10 { group.addTask { await connection.execute(QMPRequest(QueryStatus())) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results.count { $0 == .success(0) } == 1)
        #expect(results.count { $0.error?.code == .closed } == 9)
        #expect(results.count { $0.error?.wasSent == true } >= 6)
        await connection.recorder.wait(for: "closed")
        let log = connection.recorder.log
        #expect(log.contains("event LAST"))
        #expect(log.contains("garbage {\"torn"))
        #expect(log.last?.hasPrefix("closed closed: \(monitor.path)") == true)
        #expect(log.count { $0.hasPrefix("closed") } == 1)
        #expect(await connection.execute(QMPRequest(QueryStatus())).error?.code == .closed)
        await monitor.wait()
    }

    /// A dying QEMU's last words are read although we are writing to it at that very moment.
    @Test(arguments: 0..<20)
    func lastWordsAreRead(_ round: Int) async throws {
        let directory = try TemporaryDirectory()
        let count = 500
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            for number in 0..<count { try peer.send("{\"event\": \"E\(number)\"}\r\n") }
        }
        // Writing into the closed socket fails inside the callback, and NIO then drains the socket from there.
        let connection = try await RemoteConnection.connect(to: monitor.address) { connection, entry in
            if entry.hasPrefix("event") { connection.submit(QueryStatus()) { _ in } }
        }
        await connection.recorder.wait(for: "closed")
        let events = connection.recorder.log.filter { $0.hasPrefix("event") }
        #expect(events == (0..<count).map { "event E\($0)" })
        await monitor.wait()
    }

    /// A failing write makes NIO drain the socket at once, in the middle of our handling of an earlier read.
    @Test func whatIsReadWhileHandlingWaitsItsTurn() async throws {
        let directory = try TemporaryDirectory()
        let go = DispatchSemaphore(value: 0)
        let gone = DispatchSemaphore(value: 0)
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            try peer.send("{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n{\"event\":")
            go.wait()
            try peer.send("\"C\"}\r\n{\"event\": \"D\"}\r\n")
            shutdown(peer.socket, CInt(SHUT_RDWR))
            gone.signal()
        }
        let connection = try await RemoteConnection.connect(to: monitor.address) { connection, entry in
            guard entry == "event A" else { return }
            go.signal()
            gone.wait()
            connection.submit(QueryStatus()) { _ in }
        }
        await connection.recorder.wait(for: "closed")
        #expect(
            connection.recorder.log.filter { $0.hasPrefix("event") } == ["event A", "event B", "event C", "event D"])
        #expect(!connection.recorder.log.contains { $0.hasPrefix("garbage") })
        await monitor.wait()
    }

    /// When `submit` returns, the command is in the socket: nothing waits for the next turn of the loop.
    @Test func aCommandFromACallbackLeavesAtOnce() async throws {
        let directory = try TemporaryDirectory()
        let socket = NIOLockedValueBox<CInt>(-1)
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            socket.withLockedValue { $0 = peer.socket }
            try peer.send("{\"event\": \"MIGRATION\"}\r\n{\"event\": \"AFTER\"}\r\n")
            #expect(try peer.line() == #"{"execute":"cont","id":2}"#)
            peer.awaitEnd()
        }
        let seen = NIOLockedValueBox<[String]>([])
        let connection = try await RemoteConnection.connect(to: monitor.address) { connection, entry in
            guard entry == "event MIGRATION" else { return }
            connection.submit(Cont()) { _ in }
            var bytes = [UInt8](repeating: 0, count: 100)
            let flags = CInt(MSG_PEEK) | CInt(MSG_DONTWAIT)
            let count = recv(socket.withLockedValue { $0 }, &bytes, bytes.count, flags)
            // The fake may have taken it already.
            let text = count > 0 ? String(decoding: bytes.prefix(count), as: UTF8.self) : "taken"
            seen.withLockedValue { $0.append(text) }
        }
        await connection.recorder.wait(for: "event AFTER")
        let log = connection.recorder.log
        let sent = try #require(log.firstIndex(of: #"sent {"execute":"cont","id":2}"#))
        let after = try #require(log.firstIndex(of: "event AFTER"))
        #expect(sent < after)
        #expect(seen.withLockedValue { $0.count } == 1)
        try await connection.with { $0.close() }
        await monitor.wait()
    }

    @Test func closingFromACallback() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            try peer.send("{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n")
            peer.awaitEnd()
        }
        let connection = try await RemoteConnection.connect(to: monitor.address) { connection, entry in
            if entry == "event A" { connection.close() }
        }
        await connection.recorder.wait(for: "closed")
        #expect(connection.recorder.log.last == "closed by us")
        #expect(!connection.recorder.log.contains("event B"))
        await monitor.wait()
    }
}
