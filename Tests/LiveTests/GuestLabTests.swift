import Glibc
import GuestLab
import JSONC
import Testing

@Suite(.serialized, Live.available) struct GuestLabTests {
    @Test(arguments: ["pc", "q35"])
    func bootsAndBeats(machine: String) async throws {
        let directory = try LabDirectory()
        let image = try GuestImage.build(in: directory.path, dirtyMiBPerSecond: 0, heartbeatMilliseconds: 20)
        var options = QEMUProcess.Options(label: "source", image: image)
        options.machine = machine
        let settled = options
        let qemu = try await onThread {
            let begun = ContinuousClock.now
            let qemu = try QEMUProcess.start(settled, in: directory)
            let first = try qemu.waitForHeartbeat()
            // Depends on what else the machine does, so it is told and not judged.
            print("\(machine): first heartbeat after \(ContinuousClock.now - begun)")
            #expect(first.number == 1)
            return qemu
        }
        try await qemu.waitForHeartbeat(after: 25)
        let log = qemu.heartbeatLog()
        #expect(log.strayLines.isEmpty)
        #expect(log.badPages.isEmpty)
        #expect(log.heartbeats.map(\.number) == Array(1...log.heartbeats.count))
    }

    /// The guest's time is virtual time, which never runs ahead of ours and stands still while the machine does.
    @Test func beatsInVirtualTime() async throws {
        let directory = try LabDirectory()
        let image = try GuestImage.build(in: directory.path, heartbeatMilliseconds: 20, filledMemoryMiB: 0)
        var options = QEMUProcess.Options(label: "source", image: image)
        options.paused = true
        let qemu = try QEMUProcess.start(options, in: directory)
        try await onThread {
            let monitor = try BlockingQMP(qemu.qmpPath)
            let begun = ContinuousClock.now
            try monitor.execute("cont")
            try qemu.waitForHeartbeat(after: 49)
            #expect(ContinuousClock.now - begun > .milliseconds(999))

            try monitor.execute("stop")
            let stopped = qemu.heartbeatLog()
            usleep(100_000)
            #expect(qemu.heartbeatLog() == stopped)
            try monitor.execute("cont")
            let next = try qemu.waitForHeartbeat(after: stopped.heartbeats.last?.number ?? 0)
            #expect(next.number == (stopped.heartbeats.last?.number ?? 0) + 1)
        }
    }

    /// QEMU, which compares checksums of sampled pages, is the witness. (Its mode `dirty-bitmap` crashes 7.2 under TCG.)
    @Test(arguments: [8, 40])
    func dirtiesMemoryAtTheSetRate(rate: Int) async throws {
        let directory = try LabDirectory()
        let image = try GuestImage.build(
            in: directory.path, dirtyMiBPerSecond: rate, dirtyMemoryMiB: 64, filledMemoryMiB: 0)
        let qemu = try QEMUProcess.start(.init(label: "source", image: image), in: directory)
        try await onThread {
            try qemu.waitForHeartbeat()
            let monitor = try BlockingQMP(qemu.qmpPath)
            try monitor.execute("calc-dirty-rate", ["calc-time": 1, "sample-pages": 16384])
            var measured: JSONValue = .null
            let deadline = ContinuousClock.now + .seconds(20)
            while measured["status"]?.string != "measured", ContinuousClock.now < deadline {
                usleep(50_000)
                measured = try monitor.execute("query-dirty-rate")
            }
            let seen = Int(measured["dirty-rate"]?.int64 ?? -1)
            print("dirty rate: \(rate) MiB/s wanted, \(seen) seen")
            #expect(abs(seen - rate) <= 2 + rate / 4, "\(measured)")
        }
        #expect(qemu.heartbeatLog().badPages.isEmpty)
    }

    @Test func powersItselfOff() async throws {
        let directory = try LabDirectory()
        let image = try GuestImage.build(
            in: directory.path, heartbeatMilliseconds: 10, filledMemoryMiB: 0, lastHeartbeat: 30)
        var options = QEMUProcess.Options(label: "source", image: image)
        options.paused = true
        let qemu = try QEMUProcess.start(options, in: directory)
        let reason = try await onThread {
            let monitor = try BlockingQMP(qemu.qmpPath)
            try monitor.execute("cont")
            return try monitor.waitForEvent("SHUTDOWN")["data"]?["reason"]?.string
        }
        #expect(reason == "guest-shutdown")
        #expect(try await qemu.waitForExit(timeout: .seconds(10)) == .exited(0))
        #expect(qemu.heartbeats().last?.number == 30)
    }

    @Test func aDestinationWaits() async throws {
        let directory = try LabDirectory()
        let image = try GuestImage.build(in: directory.path)
        var options = QEMUProcess.Options(label: "source", image: image).destination()
        options.qmpSockets = 2
        options.name = "second"
        options.uuid = "c0ffee00-0000-4000-8000-000000000001"
        let qemu = try QEMUProcess.start(options, in: directory)
        try await onThread {
            #expect(try BlockingQMP(qemu.qmpPath).runState() == "inmigrate")
            let second = try BlockingQMP(qemu.secondQMPPath)
            #expect(try second.execute("query-name")["name"] == "second")
            #expect(try second.execute("query-uuid")["UUID"] == "c0ffee00-0000-4000-8000-000000000001")
        }
        #expect(qemu.heartbeats().isEmpty)
    }

    @Test func writesTraceEventsWithTimes() async throws {
        let directory = try LabDirectory()
        let image = try GuestImage.build(in: directory.path, filledMemoryMiB: 0)
        var options = QEMUProcess.Options(label: "source", image: image)
        options.traceEvents = ["runstate_set"]
        let qemu = try QEMUProcess.start(options, in: directory)
        try await qemu.waitForHeartbeat()
        try await onThread { try BlockingQMP(qemu.qmpPath).quit() }
        #expect(try await qemu.waitForExit(timeout: .seconds(10)) == .exited(0))
        let trace = try String(contentsOf: qemu.tracePath)
        #expect(trace.contains("\(qemu.pid)@"))
        #expect(trace.contains(":runstate_set "))
    }
}

extension String {
    fileprivate init(contentsOf path: String) throws {
        guard let file = fopen(path, "r") else { throw SocketError(path) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        self = String(decoding: bytes, as: UTF8.self)
    }
}
