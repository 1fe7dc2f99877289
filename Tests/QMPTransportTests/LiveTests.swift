import Glibc
import JSONC
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import QMP
import QMPTransport
import Testing

@Suite(.timeLimit(.minutes(1)), .enabled(if: LiveQEMU.binary != nil, "needs qemu-system-x86_64"))
struct LiveTests {
    @Test func everyQueryIsUnderstood() async throws {
        let qemu = try LiveQEMU.withMonitor()
        let client = try await QMPClient.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        #expect(client.greeting.major >= 5)
        #expect(client.greeting.offersOutOfBand)
        let version = try await client.execute(QueryVersion())
        #expect(version.major == client.greeting.major && version.minor == client.greeting.minor)
        let status = try await client.execute(QueryStatus())
        #expect(!status.running && ["prelaunch", "paused"].contains(status.status))
        #expect(try await client.execute(QueryName()) == "guest-1")
        #expect(try await client.execute(QueryUUID()) == "00000000-0000-0000-0000-000000000000")
        #expect(try await client.execute(QueryTarget()) == "x86_64")
        #expect(try await client.execute(QueryKVM()).enabled == false)
        #expect(try await client.execute(QueryMemorySizeSummary()).baseMemory == 16 << 20)
        #expect(try await client.execute(QueryMigrate()) == MigrationInfo())
        let capabilities = try await client.execute(QueryMigrateCapabilities())
        #expect(capabilities.contains(MigrationCapability("events", false)))
        try await client.execute(MigrateSetCapabilities([MigrationCapability("events", true)]))
        #expect(try await client.execute(QueryMigrateCapabilities()).contains(MigrationCapability("events", true)))
        try await client.execute(MigrateSetParameters(["downtime-limit": 123]))
        #expect(try await client.execute(QueryMigrateParameters())["downtime-limit"] == 123)
        #expect(try await !client.execute(QueryYank()).contains(.migration))
        #expect(try await !client.execute(QueryYank(), outOfBand: true).contains(.migration))
        #expect(try await client.execute(QueryCommands()).contains("migrate-continue"))
        #expect(try await client.execute(QOMList(path: "/machine")).contains { $0.name == "peripheral" })
        #expect(
            try await client.execute(QOMGet(path: "/machine", property: "type")).string?.contains("machine") == true)
        #expect(try await client.execute(QueryCPUsFast()).array?.count == 1)
        #expect(try await client.execute(QueryPCI()).array?.isEmpty == false)
        #expect(try await client.execute(QueryChardev()).array?.isEmpty == false)
        for raw in [
            QMPRequest(QueryMemdev()), QMPRequest(QueryMemoryDevices()), QMPRequest(QueryBlock()),
            QMPRequest(QueryNamedBlockNodes(flat: true)), QMPRequest(QueryHotpluggableCPUs()),
            QMPRequest(QueryRxFilter()),
        ] {
            #expect(try await client.execute(raw).array != nil)
        }
        #expect(try await client.execute(HumanMonitorCommand("info status")).contains("VM status"))
        let schema = try await client.execute(QueryQMPSchema())
        #expect((schema.array?.count ?? 0) > 500)
        await client.close()
    }

    @Test func refusalsCarryQEMUsWords() async throws {
        let qemu = try LiveQEMU.withMonitor()
        let client = try await QMPClient.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        await #expect {
            try await client.execute(QMPRequest(name: "no-such-command", kind: .query))
        } throws: { error in
            guard let error = error as? QMPError else { return false }
            return error.code == .refused && error.errorClass == "CommandNotFound"
                && error.message == "no-such-command: \(error.desc ?? "-")"
        }
        await #expect {
            try await client.execute(Yank([.chardev("nothing")]), outOfBand: true)
        } throws: {
            ($0 as? QMPError)?.errorClass == "DeviceNotFound"
        }
        await #expect {
            try await client.execute(MigrateContinue())
        } throws: {
            ($0 as? QMPError)?.errorClass == "GenericError"
        }
        await #expect {
            try await client.execute(QueryStatus(), outOfBand: true)
        } throws: {
            ($0 as? QMPError)?.code == .refused
        }
        await client.close()
    }

    @Test func aSecondClientIsToldThatTheMonitorIsBusy() async throws {
        let qemu = try LiveQEMU.withMonitor()
        let first = try await QMPClient.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        await #expect {
            try await QMPClient.connect(to: qemu.qmp, configuration: hasty(200))
        } throws: { error in
            guard let error = error as? QMPError else { return false }
            return error.code == .busy && error.message.contains("monitor busy: another client is connected")
        }
        await first.close()
        let second = try await QMPClient.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        #expect(try await second.execute(QueryName()) == "guest-1")
        await second.close()
    }

    @Test func outOfBandOvertakesSevenSlowCommands() async throws {
        let qemu = try LiveQEMU.withMonitor()
        let connection = try await RemoteConnection.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        await connection.recorder.wait(for: "ready")
        let order = NIOLockedValueBox<[String]>([])
        async let last: Void = withCheckedContinuation { continuation in
            connection.connection.eventLoop.execute {
                let connection = connection.connection.value
                for number in 0..<9 {
                    connection.submit(QMPRequest(QueryQMPSchema())) { result in
                        let isComplete = (try? result.get())?.kind == .array
                        order.withLockedValue { $0.append(isComplete ? "schema \(number)" : "failed") }
                        if number == 8 { continuation.resume() }
                    }
                }
                #expect(connection.inFlightCount == 7)
                #expect(connection.waitingCount == 2)
                connection.submit(QueryYank(), outOfBand: true) { _ in order.withLockedValue { $0.append("yank") } }
            }
        }
        await last
        let result = order.withLockedValue { $0 }
        #expect(result.filter { $0 != "yank" } == (0..<9).map { "schema \($0)" })
        let place = try #require(result.firstIndex(of: "yank"))
        #expect(place < 6, "\(result)")
        try await connection.with { $0.close() }
    }

    @Test func thePeerIsQEMU() async throws {
        let qemu = try LiveQEMU.withMonitor()
        let connection = try await RemoteConnection.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        await connection.recorder.wait(for: "ready")
        let peer = try #require(try await connection.with { $0.peer })
        #expect(peer.pid == qemu.pid)
        #expect(peer.uid == getuid())
        #expect(peer.pidfd != nil)
        #expect(peer.hasExited == false)
        qemu.kill()
        await connection.recorder.wait(for: "closed")
        var poll = pollfd(fd: peer.pidfd ?? -1, events: Int16(POLLIN), revents: 0)
        #expect(Glibc.poll(&poll, 1, 10_000) == 1)
        #expect(peer.hasExited == true)
    }

    @Test func descriptors() async throws {
        let qemu = try LiveQEMU.withMonitor()
        let client = try await QMPClient.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        let pipe = try makePipe()
        defer { pipe.forEach { close($0) } }
        try await client.execute(GetFD(fdname: "channel"), descriptors: [pipe[1]])
        // Many commands around them: each finds its own descriptor.
        try await withThrowingTaskGroup { group in
            for number in 0..<50 {
                group.addTask { _ = try await client.execute(QueryStatus()) }
                let descriptor = pipe[1]
                group.addTask {
                    try await client.execute(GetFD(fdname: "fd\(number)"), descriptors: [descriptor])
                    try await client.execute(CloseFD(fdname: "fd\(number)"))
                }
            }
            try await group.waitForAll()
        }
        try await client.execute(CloseFD(fdname: "channel"))
        await #expect { try await client.execute(CloseFD(fdname: "channel")) } throws: {
            ($0 as? QMPError)?.code == .refused
        }
        let added = try await client.execute(AddFD(fdsetID: 7, opaque: "mine"), descriptors: [pipe[0]])
        #expect(added.fdsetID == 7)
        #expect(
            try await client.execute(QueryFDSets())
                == [FDSet(fdsetID: 7, fds: [FDSet.Member(fd: added.fd, opaque: "mine")])])
        try await client.execute(RemoveFD(fdsetID: 7, fd: added.fd))
        // Without a descriptor QEMU says what it misses; a closed one does not get that far.
        await #expect { try await client.execute(GetFD(fdname: "none")) } throws: {
            ($0 as? QMPError)?.code == .refused
        }
        await #expect { try await client.execute(GetFD(fdname: "none"), descriptors: [12345]) } throws: {
            ($0 as? QMPError)?.code == .descriptors
        }
        #expect(try await client.execute(QueryStatus()).running == false)
        await client.close()
    }

    @Test func eventsAndTheEnd() async throws {
        let qemu = try LiveQEMU.withMonitor()
        let client = try await QMPClient.connect(to: qemu.qmp, configuration: LiveQEMU.configuration)
        let events = client.events
        try await client.execute(Cont())
        try await client.execute(Stop())
        try await client.execute(Quit())
        var names: [String] = []
        var end: QMPError?
        do throws(QMPError) {
            for try await event in events {
                names.append(event.name)
                #expect((event.timestampMicroseconds ?? 0) > 1_600_000_000_000_000)
                if event.name == "SHUTDOWN" { #expect(event.data["reason"] == "host-qmp-quit") }
            }
        } catch {
            end = error
        }
        #expect(names.filter { $0 != "NIC_RX_FILTER_CHANGED" } == ["RESUME", "STOP", "SHUTDOWN"])
        #expect(end?.code == .closed)
        await #expect { try await client.execute(QueryStatus()) } throws: { ($0 as? QMPError)?.code == .closed }
    }

    @Test func qemuDialsOutAndComesBack() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("dial")
        let (arrivals, arrive) = AsyncStream<RemoteConnection>.makeStream()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let listener = try await QMPListener.listen(at: .unix(path: path), on: loop) { connection in
            let recorder = Recorder()
            arrive.yield(
                RemoteConnection(connection: NIOLoopBound(connection, eventLoop: loop), recorder: recorder))
            return recorder
        }.get()
        let qemu = try LiveQEMU([
            "-chardev", "socket,id=m,path=\(path),reconnect=1", "-mon", "chardev=m,mode=control",
        ])
        var iterator = arrivals.makeAsyncIterator()
        for _ in 0..<2 {
            let connection = try #require(await iterator.next())
            await connection.recorder.wait(for: "ready")
            let peer = try #require(try await connection.with { $0.peer })
            #expect(peer.pid == qemu.pid)
            #expect(peer.hasExited == false)
            let status = await connection.execute(QMPRequest(QueryStatus()))
            #expect((try? status.get())?["running"] == false)
            // Descriptors go this way too.
            let zero = open("/dev/null", O_RDWR | O_CLOEXEC)
            #expect(await connection.execute(QMPRequest(GetFD(fdname: "null")), descriptors: [zero]) == .success([:]))
            close(zero)
            try await connection.with { $0.close() }
        }
        try await listener.close().get()
        #expect(access(path, F_OK) != 0)
    }
}
