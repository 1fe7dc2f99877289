import CLinux
import Glibc
import JSONC
import NIOCore
import NIOPosix
import QMP
import QMPTransport
import Synchronization
import Testing
import Trace
import TraceServer

private let fixtures = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/Fixtures/traces"

/// Fakes on sockets in a directory of their own, for as long as the body runs.
private func withServer<R>(
    _ fakes: [FakeQEMU], _ body: (FakeQEMUServer, [QMPAddress]) async throws -> R
) async throws -> R {
    var template = Array("/tmp/fake-XXXXXX".utf8CString)
    let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
    let paths = fakes.indices.map { "\(directory)/\($0).qmp" }
    let server = try FakeQEMUServer(FakeNetwork(fakes), paths: paths)
    defer {
        server.close()
        rmdir(directory)
    }
    return try await body(server, paths.map { .unix(path: $0) })
}

/// The next events up to one with this status word or name.
private func wait(
    for word: String, _ events: inout QMPEventSequence.AsyncIterator
) async throws -> [String] {
    var words: [String] = []
    while let event = try await events.next() {
        words.append(event.data["status"]?.string ?? event.name)
        if words.last == word { return words }
    }
    Issue.record("the connection ended before \(word), after \(words)")
    return words
}

@Suite struct FakeServerTests {
    @Test(.timeLimit(.minutes(1)), arguments: FakeRelease.all)
    func migratesOverSockets(_ release: FakeRelease) async throws {
        try await withServer([FakeQEMU(.source(release)), FakeQEMU(.destination(release))]) { server, addresses in
            let source = try await QMPClient.connect(to: addresses[0])
            let destination = try await QMPClient.connect(to: addresses[1])
            #expect(source.greeting.major == release.major)
            #expect(source.peer?.pid == getpid())
            var here = source.events.makeAsyncIterator()
            var there = destination.events.makeAsyncIterator()
            let capabilities = ["events", "pause-before-switchover", "return-path"].map {
                MigrationCapability($0, true)
            }
            for client in [destination, source] {
                try await client.execute(MigrateSetCapabilities(capabilities))
                #expect(try await client.execute(QueryMigrateCapabilities()).contains(capabilities[0]))
            }
            try await source.execute(MigrateSetParameters(["downtime-limit": 77]))
            #expect(try await source.execute(QueryMigrateParameters())["downtime-limit"] == 77)
            try await destination.execute(MigrateIncoming(uri: "tcp:127.0.0.1:0"))
            let port = try #require(try await destination.execute(QueryMigrate()).socketAddresses.first?.port)
            try await source.execute(Migrate(uri: "tcp:127.0.0.1:\(port)"))
            _ = try await wait(for: "pre-switchover", &here)
            #expect(try await source.execute(QueryMigrate()).ram?.total == 256 << 20)
            try await source.execute(MigrateContinue())
            _ = try await wait(for: "completed", &here)
            _ = try await wait(for: "completed", &there)
            try await destination.execute(Cont())
            #expect(try await wait(for: "RESUME", &there) == ["RESUME"])
            #expect(try await destination.execute(QueryStatus()).status == "running")
            try await source.execute(Quit())
            _ = try await wait(for: "SHUTDOWN", &here)
            do {
                #expect(try await here.next() == nil)
            } catch let error as QMPError { #expect(error.code == .closed) }
            #expect(server.fake(0).exitCode == 0)
            #expect(!server.inspect { $0.ranTwice })
        }
    }

    /// A client that repeats what was sent, each command after the answer to the one before, gets what was answered.
    @Test(.timeLimit(.minutes(1)), arguments: FakeRelease.all)
    func replaysBothSidesOverSockets(_ release: FakeRelease) async throws {
        let path = "\(fixtures)/\(release)/precopy-unix.qmptrace"
        let sides = try TraceReplay.sides(of: path)
        var reader = try TraceReader(path: path)
        var answers: [String: JSONValue] = [:]
        var sent: [(side: TraceSide, message: JSONValue)] = []
        var words: [TraceSide: [String]] = [:]
        while let record = try reader.next() {
            guard let side = record.side else { continue }
            switch record.member {
            case .send(let message): sent.append((side, message))
            case .recv(let message):
                if let id = message["id"]?.string { answers[id] = message["return"] ?? message["error"] }
                if let event = message["event"]?.string {
                    words[side, default: []].append(message["data"]?["status"]?.string ?? event)
                }
            default: break
            }
        }
        try await withServer([FakeQEMU(replaying: sides.source), FakeQEMU(replaying: sides.destination)]) {
            server, addresses in
            let clients = [
                TraceSide.source: try await QMPClient.connect(to: addresses[0]),
                TraceSide.destination: try await QMPClient.connect(to: addresses[1]),
            ]
            let events = clients.mapValues(\.events)
            for (side, message) in sent where message["execute"] != "qmp_capabilities" {
                let name = try #require(message["execute"]?.string)
                let request = QMPRequest(name: name, arguments: message["arguments"]?.serialized(), kind: .query)
                let answer = try await #require(clients[side]).execute(request)
                #expect(answer == answers[try #require(message["id"]?.string)])
            }
            for side in TraceSide.allCases {
                var iterator = try #require(events[side]).makeAsyncIterator()
                let expected = try #require(words[side])
                var heard: [String] = []
                while heard.count < expected.count, let event = try await iterator.next() {
                    heard.append(event.data["status"]?.string ?? event.name)
                }
                #expect(heard == expected)
            }
            #expect(server.inspect { $0.fakes.allSatisfy { $0.replay?.isAtEnd ?? false } })
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func servesOneClientAtATime() async throws {
        try await withServer([FakeQEMU(.source(.v10))]) { _, addresses in
            let first = try await QMPClient.connect(to: addresses[0])
            var configuration = QMPConfiguration()
            configuration.timeouts.greeting = .milliseconds(100)
            do {
                _ = try await QMPClient.connect(to: addresses[0], configuration: configuration)
                Issue.record("a second client was greeted")
            } catch let error as QMPError { #expect(error.code == .busy) }
            await first.close()
            let second = try await QMPClient.connect(to: addresses[0])
            #expect(try await second.execute(QueryStatus()).running)
        }
    }

    @Test(
        .timeLimit(.minutes(1)),
        arguments: [
            Fault.noise(.reply("query-status"), .garbage), .noise(.reply("query-status"), .resynchronisation),
            .noise(.reply("query-status"), .halfMessage), .noise(.reply("query-status"), .brokenJSON),
            .noise(.reply("query-status"), .strangeObject), .noise(.reply("query-status"), .giant(bytes: 3 << 20)),
            .duplicate(.reply("query-name")), .greetAgain(.reply("query-status")),
            .say(.reply("query-status"), Fault.event("NOVEL", ["x": [:]])),
            .say(.reply("query-status"), ["error": ["class": "GenericError", "desc": "JSON parse error"]]),
            .delay(.reply("query-name"), .nextCommand),
        ])
    func aClientSurvives(_ fault: Fault) async throws {
        try await withServer([FakeQEMU(.source(.v10), faults: [fault])]) { _, addresses in
            let client = try await QMPClient.connect(to: addresses[0])
            // It is sent before this goes on: an answer that waits for the next command has one to wait for.
            let name = Task.immediate { try await client.execute(QueryName()) }
            #expect(try await client.execute(QueryStatus()).running)
            #expect(try await client.execute(QueryStatus()).status == "running")
            #expect(try await name.value == "fake")
        }
    }

    @Test(
        .timeLimit(.minutes(1)),
        arguments: [
            Fault.ignore(.command("query-status")), .drop(.reply("query-status")), .mute(.command("query-status")),
            .freeze(.command("query-status")), .wrongID(.reply("query-status")),
        ])
    func aClientNamesTheSilentCommand(_ fault: Fault) async throws {
        try await withServer([FakeQEMU(.source(.v10), faults: [fault])]) { _, addresses in
            var configuration = QMPConfiguration()
            configuration.timeouts.query = .milliseconds(100)
            let client = try await QMPClient.connect(to: addresses[0], configuration: configuration)
            do {
                _ = try await client.execute(QueryStatus())
                Issue.record("an answer came")
            } catch let error as QMPError {
                #expect(error.code == .timeout)
                #expect(error.message.contains("query-status"))
            }
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: [Fault.close(.command("stop")), .exit(.command("stop"), code: 1)])
    func aClientHearsTheEnd(_ fault: Fault) async throws {
        try await withServer([FakeQEMU(.source(.v10), faults: [fault])]) { _, addresses in
            let client = try await QMPClient.connect(to: addresses[0])
            do {
                try await client.execute(Stop())
                Issue.record("an answer came")
            } catch let error as QMPError { #expect(error.code == .closed) }
            if case .close = fault {
                let again = try await QMPClient.connect(to: addresses[0])
                #expect(try await again.execute(QueryStatus()).running)
            } else {
                do {
                    _ = try await QMPClient.connect(to: addresses[0])
                    Issue.record("somebody listens")
                } catch let error as QMPError { #expect(error.code == .connectionRefused) }
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func aMessageBeyondTheLimitIsAClearError() async throws {
        let fault = Fault.noise(.reply("query-status"), .giant(bytes: 3 << 20))
        try await withServer([FakeQEMU(.source(.v10), faults: [fault])]) { _, addresses in
            var configuration = QMPConfiguration()
            configuration.maximumMessageBytes = 1 << 20
            let client = try await QMPClient.connect(to: addresses[0], configuration: configuration)
            do {
                _ = try await client.execute(QueryStatus())
                Issue.record("an answer came")
            } catch let error as QMPError { #expect(error.code == .limit) }
        }
    }

    /// A client that asks and does not listen is not listened to for ever, and gets all its answers once it listens.
    @Test(.timeLimit(.minutes(1)))
    func aClientThatDoesNotReadIsNotRead() async throws {
        try await withServer([FakeQEMU(.source(.v10))]) { server, addresses in
            let socket = try UnixSocket.connect(to: addresses[0])
            defer { close(socket) }
            var sent = 0
            func ask(_ text: String) -> Bool {
                let bytes = Array(text.utf8)
                guard send(socket, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count else { return false }
                sent += 1
                return true
            }
            #expect(ask("{\"execute\":\"qmp_capabilities\"}\n"))
            // The socket takes no more once the server does not either.
            var isFull = false
            while !isFull, sent < 200_000 {
                var entry = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
                isFull = poll(&entry, 1, 2000) == 0
                if !isFull, !ask("{\"execute\":\"query-migrate-capabilities\"}\n") { break }
            }
            #expect(isFull)
            var framer = QMPFramer()
            var answers = 0
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while answers < sent + 1 {
                var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
                guard poll(&entry, 1, 20_000) > 0 else { break }
                let count = recv(socket, &buffer, buffer.count, 0)
                guard count > 0 else { break }
                buffer.withUnsafeBytes { bytes in
                    var offset = 0
                    let part = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                    while let frame = framer.next(in: part, from: &offset) {
                        if case .carriedMessage = frame { _ = framer.takeCarried() }
                        answers += 1
                    }
                }
            }
            #expect(answers == sent + 1, "the greeting too")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func isKilledFromOutside() async throws {
        try await withServer([FakeQEMU(.source(.v10))]) { server, addresses in
            let client = try await QMPClient.connect(to: addresses[0])
            var events = client.events.makeAsyncIterator()
            server.change(0) { $0.kill(at: $1) }
            do {
                while try await events.next() != nil {}
            } catch let error as QMPError { #expect(error.code == .closed) }
            #expect(server.fake(0).exitCode == -9)
        }
    }
}
