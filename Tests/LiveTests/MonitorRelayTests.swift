import GuestLab
import JSONC
import Testing

@Suite(.serialized, Live.available) struct MonitorRelayTests {
    private let directory: LabDirectory
    private let qemu: QEMUProcess
    private let relay: MonitorRelay

    init() throws {
        directory = try LabDirectory()
        qemu = try QEMUProcess.start(.init(label: "source"), in: directory)
        relay = try MonitorRelay(listeningOn: directory.file("relay"), forwardingTo: qemu.qmpPath)
    }

    @Test func passesLinesBothWays() async throws {
        try await onThread {
            let monitor = try BlockingQMP(relay.path)
            #expect(monitor.greeting["QMP"]?["version"]?["qemu"]?["major"]?.int64 != nil)
            #expect(try monitor.execute("query-name")["name"] == "godwit-lab")
        }
        #expect(relay.lines.contains { $0.direction == .toQEMU && $0.line.contains("query-name") })
        #expect(relay.connectionCount == 1)
        relay.stop()
    }

    @Test func holdsAnEventAndAllBehindIt() async throws {
        relay.hold(from: "\"STOP\"")
        try await onThread {
            let monitor = try BlockingQMP(relay.path)
            let id = try monitor.send("stop")
            #expect(throws: BlockingQMP.Failure.self) { try monitor.reply(to: id, timeout: .milliseconds(200)) }
            #expect(relay.heldLines.count == 2)
            #expect(monitor.events.isEmpty)
            relay.release()
            _ = try monitor.reply(to: id)
            #expect(monitor.events.count == 1)
            #expect(relay.heldLines.isEmpty)
        }
        relay.stop()
    }

    @Test func dropsLines() async throws {
        relay.setRule { $0 == .toClient && $1.contains("\"STOP\"") ? .drop : .pass }
        try await onThread {
            let monitor = try BlockingQMP(relay.path)
            try monitor.execute("stop")
            #expect(monitor.events.isEmpty)
            #expect(try monitor.runState() == "paused")
        }
        relay.stop()
    }

    @Test func cutsAndLetsConnectAgain() async throws {
        try await onThread {
            let monitor = try BlockingQMP(relay.path)
            relay.cut()
            #expect(throws: BlockingQMP.Failure.self) { try monitor.execute("query-status") }
            #expect(try BlockingQMP(relay.path).runState() == "running")
        }
        #expect(relay.connectionCount == 2)
        relay.stop()
    }

    @Test func theEndOfQEMUIsTheEndOfTheConnection() async throws {
        try await onThread {
            let monitor = try BlockingQMP(relay.path)
            qemu.kill()
            #expect(throws: BlockingQMP.Failure.self) { try monitor.execute("query-status") }
        }
        relay.stop()
    }
}
