import Glibc
import JSONC
import QMP
import QMPTransport
import Testing

@Suite(.timeLimit(.minutes(1))) struct DescriptorTests {
    /// Writes one byte into the pipe's end that the fake was given.
    private static func answer(_ descriptors: [CInt], _ byte: UInt8) {
        #expect(descriptors.count == 1)
        for descriptor in descriptors {
            var byte = byte
            #expect(write(descriptor, &byte, 1) == 1)
            close(descriptor)
        }
    }

    @Test func aDescriptorArrivesWithItsMessage() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            let (line, descriptors) = try peer.lineWithDescriptors()
            #expect(line == #"{"execute":"getfd","arguments":{"fdname":"x"},"id":2}"#)
            Self.answer(descriptors, 42)
            try peer.send("{\"return\": {}, \"id\": 2}\r\n")
            peer.awaitEnd()
        }
        let pipe = try makePipe()
        let connection = try await RemoteConnection.connect(to: monitor.address)
        // Submitted before the session is open, and ours is closed before it could be sent: the connection has its own.
        async let reply = connection.execute(QMPRequest(GetFD(fdname: "x")), descriptors: [pipe[1]])
        let recorder = connection.recorder
        try await connection.wait { connection in
            connection.waitingCount > 0 || recorder.log.contains { $0.contains("getfd") }
        }
        close(pipe[1])
        #expect(await reply == .success([:]))
        var byte: UInt8 = 0
        #expect(read(pipe[0], &byte, 1) == 1)
        #expect(byte == 42)
        // Nobody holds the other end any more.
        #expect(read(pipe[0], &byte, 1) == 0)
        close(pipe[0])
        #expect(connection.recorder.log.contains { $0.hasPrefix("sent") && $0.hasSuffix("with 1") })
        try await connection.with { $0.close() }
        await monitor.wait()
    }

    /// More than the socket takes is queued in NIO when the descriptor's turn comes: it must not overtake, nor ride on another message.
    @Test func aDescriptorWaitsForWhatIsQueuedBeforeIt() async throws {
        let directory = try TemporaryDirectory()
        let long = "{\"a\":\"" + String(repeating: "x", count: 400_000) + "\"}"
        let pipe = try makePipe()
        let go = try makePipe()
        defer { (pipe + go).forEach { close($0) } }
        let gate = go[0]
        let monitor = try FakeMonitor(at: directory.file("qmp")) { peer in
            try peer.open()
            var byte: UInt8 = 0
            #expect(read(gate, &byte, 1) == 1)
            for id in 2...5 {
                let (line, descriptors) = try peer.lineWithDescriptors()
                if id == 3 { Self.answer(descriptors, 3) } else { #expect(descriptors.isEmpty) }
                #expect(line.hasSuffix("\"id\":\(id)}"))
                try peer.send("{\"return\": \(id), \"id\": \(id)}\r\n")
            }
            peer.awaitEnd()
        }
        let connection = try await RemoteConnection.connect(to: monitor.address)
        await connection.recorder.wait(for: "ready")
        let descriptor = pipe[1]
        let answers = AsyncStream<String>.makeStream()
        try await connection.with { connection in
            func submit(_ request: QMPRequest, _ descriptors: [CInt] = []) {
                connection.submit(request, descriptors: descriptors) { result in
                    answers.continuation.yield((try? result.get()).flatMap { $0.int64 }.map { String($0) } ?? "failed")
                }
            }
            submit(QMPRequest(name: "long", arguments: Array(long.utf8), kind: .query))
            submit(QMPRequest(GetFD(fdname: "x")), [descriptor])
            submit(QMPRequest(QueryStatus()))
            submit(QMPRequest(QueryName()))
        }
        #expect(!connection.recorder.log.contains { $0.contains("getfd") })
        var byte: UInt8 = 1
        #expect(write(go[1], &byte, 1) == 1)
        var iterator = answers.stream.makeAsyncIterator()
        for id in 2...5 { #expect(await iterator.next() == "\(id)") }
        #expect(read(pipe[0], &byte, 1) == 1)
        #expect(byte == 3)
        try await connection.with { $0.close() }
        await monitor.wait()
    }

    @Test func descriptorsThatWereNeverSentAreClosed() async throws {
        let directory = try TemporaryDirectory()
        let monitor = try FakeMonitor(at: directory.file("qmp")) { $0.awaitEnd() }
        let pipe = try makePipe()
        let connection = try await RemoteConnection.connect(to: monitor.address, configuration: hasty(60_000))
        async let reply = connection.execute(QMPRequest(GetFD(fdname: "x")), descriptors: [pipe[1]])
        try await connection.wait { $0.waitingCount > 0 }
        close(pipe[1])
        try await connection.with { $0.close() }
        #expect(await reply.error?.code == .closed)
        var byte: UInt8 = 0
        #expect(read(pipe[0], &byte, 1) == 0)
        close(pipe[0])
        await monitor.wait()
    }
}
