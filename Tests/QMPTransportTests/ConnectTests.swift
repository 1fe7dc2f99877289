import Glibc
import NIOCore
import QMP
import QMPTransport
import Testing

@Suite(.timeLimit(.minutes(1))) struct ConnectTests {
    private func failure(_ path: String, _ configuration: QMPConfiguration = hasty()) async -> QMPError? {
        do throws(QMPError) {
            let client = try await QMPClient.connect(to: .unix(path: path), configuration: configuration)
            await client.close()
            return nil
        } catch {
            return error
        }
    }

    @Test func noSuchSocket() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("nothing")
        let error = try #require(await self.failure(path))
        #expect(error.code == .noSuchSocket)
        #expect(error.message == "\(path): no such socket")
        #expect(try #require(await self.failure("/dev/null/x")).code == .noSuchSocket)
    }

    @Test func nobodyListens() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("stale")
        Glibc.close(try FakeMonitor.bind(path))
        let error = try #require(await self.failure(path))
        #expect(error.code == .connectionRefused)
        #expect(error.message.hasPrefix("\(path): connection refused"))
    }

    @Test func notASocket() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("file")
        Glibc.close(open(path, O_CREAT | O_WRONLY, 0o600))
        let error = try #require(await self.failure(path))
        #expect(error.code == .notQMP)
        #expect(error.message == "\(path): not a socket")
    }

    @Test(.enabled(if: getuid() != 0, "root may connect to everything"))
    func permissionDenied() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("closed")
        Glibc.close(try FakeMonitor.bind(path))
        chmod(path, 0)
        #expect(try #require(await self.failure(path)).code == .permissionDenied)
    }

    @Test func pathLength() async throws {
        let longest = "/tmp/" + String(repeating: "x", count: 102)
        #expect(try #require(await self.failure(longest)).code == .noSuchSocket)
        let error = try #require(await self.failure(longest + "x"))
        #expect(error.code == .pathTooLong)
        #expect(error.message.contains("108 bytes") && error.message.contains("107"))
        // Bytes count, not characters.
        let wide = "/tmp/" + String(repeating: "é", count: 52)
        #expect(try #require(await self.failure(wide)).code == .pathTooLong)
    }

    @Test(arguments: [
        ("unix:/run/a", "/run/a"), ("/run/a", "/run/a"), ("relative", "relative"), ("unix:unix:x", "unix:x"),
    ])
    func addresses(_ text: String, _ path: String) throws {
        #expect(try QMPAddress(parsing: text) == .unix(path: path))
    }

    @Test(arguments: ["", "unix:", "tcp:host:4444", "a\0b"])
    func badAddresses(_ text: String) {
        #expect { try QMPAddress(parsing: text) } throws: { ($0 as? QMPError)?.code == .address }
    }

    @Test(arguments: ["SSH-2.0-OpenSSH\r\n", "RFB 003.008\n", "\u{0}\u{1}\u{2}", "{\"hello\": 1}\r\n", "{]}\r\n"])
    func notQMP(_ text: String) async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.send(text)
            peer.awaitEnd()
        }
        let error = try #require(await self.failure(monitor.path, hasty(5000)))
        #expect(error.code == .notQMP)
        #expect(error.message.hasPrefix("\(monitor.path): not a QMP monitor"))
        await monitor.wait()
    }

    @Test func silenceIsABusyMonitor() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { $0.awaitEnd() }
        let error = try #require(await self.failure(monitor.path))
        #expect(error.code == .busy)
        #expect(error.message.hasPrefix("\(monitor.path): monitor busy: another client is connected"))
        await monitor.wait()
    }

    @Test func aFullQueueIsABusyMonitor() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("qmp")
        let listener = try FakeMonitor.bind(path)
        defer { Glibc.close(listener) }
        #expect(listen(listener, 0) == 0)
        // The first fills the queue (its greeting never comes), the second does not even get in.
        async let first = self.failure(path, hasty(600))
        async let second = self.failure(path, hasty(300))
        let codes = await [first?.code, second?.code]
        #expect(codes == [.busy, .busy])
    }

    @Test func goneBeforeTheGreeting() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { _ in }
        let error = try #require(await self.failure(monitor.path, hasty(5000)))
        #expect(error.code == .closed)
        #expect(error.message.hasPrefix(monitor.path))
    }

    @Test func negotiationRefusedOrUnanswered() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp"), connections: 2) { peer in
            try peer.send(FakePeer.greeting + "\r\n")
            _ = try peer.line()
            try peer.send("{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": \"not today\"}}\r\n")
            peer.awaitEnd()
        }
        let error = try #require(await self.failure(monitor.path, hasty(5000)))
        #expect(error.code == .negotiation)
        #expect(error.message == "\(monitor.path): qmp_capabilities: not today")
        let silent = try FakeMonitor(at: directory.file("silent")) { peer in
            try peer.send(FakePeer.greeting + "\r\n")
            peer.awaitEnd()
        }
        #expect(try #require(await self.failure(silent.path)).code == .negotiation)
    }

    @Test func waitsForTheSocket() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("qmp")
        var configuration = hasty(5000)
        configuration.waitForSocket = .seconds(10)
        let connection = try await RemoteConnection.connect(to: .unix(path: path), configuration: configuration)
        // First there is nothing, then a file that nobody listens on, then a monitor.
        Glibc.close(try FakeMonitor.bind(path))
        unlink(path)
        let monitor = try FakeMonitor(at: path) { peer in
            try peer.open()
            peer.awaitEnd()
        }
        #expect(await connection.recorder.wait(for: "ready") == "ready 7.2")
        try await connection.with { $0.close() }
        await monitor.wait()
    }

    @Test func waitsNoLongerThanToldTo() async throws {
        let directory = try TemporaryDirectory()
        var configuration = hasty()
        configuration.waitForSocket = .milliseconds(60)
        let start = NIODeadline.now()
        let error = try #require(await self.failure(directory.file("qmp"), configuration))
        #expect(error.code == .noSuchSocket)
        #expect(NIODeadline.now() - start >= .milliseconds(60))
        // What will not change is not waited for.
        configuration.waitForSocket = .seconds(1000)
        #expect(try #require(await self.failure("/etc/passwd", configuration)).code == .notQMP)
    }

    @Test func closingWhileWaiting() async throws {
        let directory = try TemporaryDirectory()
        var configuration = hasty()
        configuration.waitForSocket = .seconds(1000)
        let connection = try await RemoteConnection.connect(
            to: .unix(path: directory.file("qmp")), configuration: configuration)
        async let pending = connection.execute(QMPRequest(QueryStatus()))
        try await connection.with { $0.close() }
        let error = await pending.error
        #expect(error?.code == .closed || error?.code == .timeout)
        await connection.recorder.wait(for: "closed")
        #expect(connection.recorder.log == ["closed by us"])
    }
}
