import Glibc
import GuestLab
import JSONC
import Testing
import Trace

private let completed =
    #filePath.split(separator: "/").dropLast(4).reduce("") { "\($0)/\($1)" } + "/Fixtures/driven/completed.qmptrace"

/// Clients that nobody here wrote: python's qemu.qmp, installed by `make check-peers`, against what we serve and through what we record.
@Suite(.serialized, .enabled(if: Peer.python != nil, "GODWIT_PEER_PYTHON is not set: make check-peers"))
struct PeerTests {
    /// A library that waits for events and matches answers by its own ids.
    @Test(arguments: ["1", "10", "max"]) func theLibrary(_ speed: String) async throws {
        try await onThread {
            let peer = try Peer(["--speed", speed])
            let told = try JSONValue(parsing: peer.run(Peer.migration, peer.served))
            expectMigration(told)
        }
    }

    /// The same through the recorder, twice: the second client takes part in the first one's session.
    @Test func theLibraryThroughTheRecorder() async throws {
        try await onThread {
            let peer = try Peer(["--speed", "max"])
            let (trace, socket) = (peer.directory.file("peer.qmptrace"), peer.directory.file("peer.qmp"))
            let recorder = try Godwit(
                ["record", "--qmp", peer.served, "--listen", socket, "--output", trace, "--side", "source"],
                in: peer.directory, number: 9)
            try recorder.waitForNote("clients connect to")
            let looked = try JSONValue(parsing: peer.run(Peer.look, socket))
            #expect(looked["status"] == "running")
            expectMigration(try JSONValue(parsing: peer.run(Peer.migration, socket)))
            #expect(try recorder.finish().code == 0)
            var reader = try TraceReader(path: trace)
            var words: [String] = []
            while let record = try reader.next() {
                if case .recv(let message) = record.member, message["event"] == "MIGRATION" {
                    words.append(message["data"]?["status"]?.string ?? "")
                }
            }
            #expect(words == ["setup", "active", "pre-switchover", "device", "completed"])
        }
    }

    /// The shell, as a person uses it.
    @Test func theShell() async throws {
        try await onThread {
            let peer = try Peer(["--speed", "max"])
            let lines = try peer.shell([
                "query-status", "query-nonsense", "migrate uri=unix:/x", "migrate-continue state=pre-switchover",
                "query-migrate",
            ])
            let replies = lines.compactMap { line -> JSONValue? in
                guard let brace = line.firstIndex(of: "{") else { return nil }
                return try? JSONValue(parsing: String(line[brace...]))
            }
            #expect(replies.count == 5, "\(lines)")
            #expect(replies.first?["return"]?["status"] == "running")
            #expect(replies.dropFirst().first?["error"]?["class"] == "GenericError")
            #expect(replies.dropFirst(4).first?["return"]?["status"] == "completed")
        }
    }

    private func expectMigration(_ told: JSONValue) {
        #expect(told["version"] == 7)
        #expect(told["words"] == ["setup", "active", "pre-switchover", "device", "completed"])
        #expect(told["stopped"] == true)
        #expect(told["machine"] == "pc-i440fx-7.2-machine")
        #expect(told["refused"] == "CommandNotFound")
        #expect(told["migration"]?["status"] == "completed")
        #expect((told["migration"]?["total-time"]?.int64 ?? 0) > 0)
        #expect(told["shutdown"] == true)
    }
}

/// A served source and a Python that has qemu.qmp.
private final class Peer {
    /// From the environment; it has qemu.qmp.
    static let python = getenv("GODWIT_PEER_PYTHON").map { String(cString: $0) }

    let directory: LabDirectory
    let served: String
    private let server: Godwit
    private var runs = 0

    init(_ arguments: [String]) throws {
        directory = try LabDirectory()
        served = directory.file("served.qmp")
        server = try Godwit(
            ["serve", completed, "--side", "source", "--listen", served, "--alone"] + arguments, in: directory,
            number: 1)
        try server.waitForNote("listens at")
    }

    func run(_ script: String, _ socket: String) throws -> String {
        runs += 1
        let file = directory.file("script\(runs).py")
        try writeText(script, to: file)
        return try execute([file, socket])
    }

    func shell(_ lines: [String]) throws -> [Substring] {
        let quoted = lines.map { "\($0)\\n" }.joined()
        let shell = (Self.python ?? "").split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } + "/qmp-shell"
        let output = directory.file("shell.out")
        let child = try ChildProcess(
            ["sh", "-c", "printf '\(quoted)' | \(Self.python ?? "") \(shell) \(served)"], output: output, error: output)
        #expect(child.waitForExit(timeout: .seconds(30)) == .exited(0))
        return fileText(output).split(separator: "\n")
    }

    private func execute(_ arguments: [String]) throws -> String {
        let (output, errors) = (directory.file("out\(runs)"), directory.file("err\(runs)"))
        let child = try ChildProcess([Self.python ?? ""] + arguments, output: output, error: errors)
        let status = child.waitForExit(timeout: .seconds(30))
        #expect(status == .exited(0), "\(fileText(errors))")
        return fileText(output)
    }

    static let look = """
        import asyncio, json, sys
        from qemu.qmp import QMPClient

        async def main():
            client = QMPClient('look')
            await client.connect(sys.argv[1])
            print(json.dumps(await client.execute('query-status')))
            await client.disconnect()

        asyncio.run(main())

        """

    static let migration = """
        import asyncio, json, sys
        from qemu.qmp import EventListener, ExecuteError, QMPClient

        async def main():
            told = {'words': []}
            client = QMPClient('peer')
            everything = EventListener()
            client.register_listener(everything)
            await client.connect(sys.argv[1])
            told['version'] = client.greeting.QMP.version['qemu']['major']
            told['machine'] = await client.execute('qom-get', {'path': '/machine', 'property': 'type'})
            try:
                await client.execute('qmp_capabilities')
            except ExecuteError as error:
                told['refused'] = error.error_class

            async def word(wanted):
                while True:
                    event = await asyncio.wait_for(everything.get(), 20)
                    if event['event'] == 'STOP':
                        told['stopped'] = True
                    if event['event'] == 'SHUTDOWN':
                        told['shutdown'] = True
                    if event['event'] == 'MIGRATION':
                        told['words'].append(event['data']['status'])
                    if wanted in (event['event'], event.get('data', {}).get('status')):
                        return

            await client.execute('migrate', {'uri': 'unix:/nowhere'})
            await word('pre-switchover')
            await client.execute('migrate-continue', {'state': 'pre-switchover'})
            await word('completed')
            told['migration'] = await client.execute('query-migrate')
            await client.execute('quit')
            await word('SHUTDOWN')
            try:
                await client.disconnect()
            except EOFError:
                pass  # The server was first, as QEMU may be.
            print(json.dumps(told))

        asyncio.run(main())

        """
}
