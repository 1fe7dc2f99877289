import Glibc
import GuestLab
import Synchronization
import Testing

extension MigrationTests {
    /// Monitors that are not what they should be.
    @Suite struct Monitors {
        enum Side: String, CaseIterable { case source, destination }

        @Test(arguments: Side.allCases) func busy(side: Side) throws {
            let lab = try MigrationLab()
            let other = try BlockingQMP(side == .source ? lab.source.qmpPath : lab.destination.qmpPath)
            let outcome = try lab.migrate().finish()
            #expect(outcome.code == 75, "\(outcome)")
            #expect(outcome.errors.contains("\(side)"), "\(outcome)")
            #expect(outcome.errors.contains("busy"), "\(outcome)")
            #expect(outcome.output.isEmpty)
            #expect(try other.runState() == (side == .source ? "running" : "inmigrate"))
            #expect(names(in: lab.directory.file("state")).isEmpty)
        }

        @Test func notThere() throws {
            let lab = try MigrationLab()
            let missing = lab.directory.file("nowhere.qmp")
            let first = try lab.godwit("migrate", "--source", missing, "--destination", lab.destination.qmpPath)
                .finish()
            #expect(first.code == 75, "\(first)")
            #expect(first.errors.contains("source: "), "\(first)")
            #expect(first.errors.contains(missing), "\(first)")
            let second = try lab.godwit("migrate", "--source", lab.source.qmpPath, "--destination", missing).finish()
            #expect(second.code == 75, "\(second)")
            #expect(second.errors.contains("destination: "), "\(second)")
            try lab.expectNextMigrationWorks()
        }

        /// Something else answers on the socket, or nothing does.
        @Test(arguments: [
            "SSH-2.0-OpenSSH_9.2\r\n", "{\"QMP\": 17}\r\n", "{\"hello\": \"world\"}\r\n", "\u{0}\u{1}\u{2}", "",
        ])
        func noQMP(banner: String) throws {
            let lab = try MigrationLab()
            let server = try BannerServer(lab.directory.file("other"), banner: banner)
            let outcome = try lab.godwit("migrate", "--source", server.path, "--destination", lab.destination.qmpPath)
                .finish()
            #expect(outcome.code == 75, "\(outcome)")
            #expect(outcome.errors.contains(server.path), "\(outcome)")
            #expect(!outcome.errors.contains("Fatal error"))
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
        }

        @Test func oneQEMUOnBothEnds() throws {
            let lab = try MigrationLab()
            let same = try lab.godwit("migrate", "--source", lab.source.qmpPath, "--destination", lab.source.qmpPath)
                .finish()
            #expect(same.code == 64, "\(same)")
            #expect(same.errors.contains("same"), "\(same)")
            let link = lab.directory.file("link.qmp")
            symlink(lab.source.qmpPath, link)
            let linked = try lab.godwit("migrate", "--source", lab.source.qmpPath, "--destination", link).finish()
            #expect([64, 75].contains(linked.code), "\(linked)")
            try lab.expectGuest(runsOn: .source)
        }

        @Test func twoMonitorsOfOneQEMU() throws {
            let directory = try LabDirectory()
            var options = QEMUProcess.Options(label: "both")
            options.qmpSockets = 2
            let qemu = try QEMUProcess.start(options, in: directory)
            let outcome = try Godwit(
                ["migrate", "--source", qemu.qmpPath, "--destination", qemu.secondQMPPath], in: directory, number: 1
            ).finish()
            #expect(outcome.code == 64, "\(outcome)")
            #expect(outcome.errors.contains("belong to the same QEMU (process \(qemu.pid))"), "\(outcome)")
        }

        @Test(arguments: Side.allCases) func cutWhileMemoryIsCopied(side: Side) throws {
            let lab = try MigrationLab()
            let relay = try side == .source ? lab.relaySource() : lab.relayDestination()
            let run = try lab.migrate(["--bandwidth", "24MiB"])
            try lab.waitUntilCopying()
            relay.cut()
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(relay.connectionCount == 2)
            try lab.expectGuest(runsOn: .destination)
        }

        /// The word that all wait for is lost with its connection.
        @Test(arguments: Side.allCases) func cutInsteadOfTheLastWord(side: Side) throws {
            let lab = try MigrationLab()
            let relay = try side == .source ? lab.relaySource() : lab.relayDestination()
            let done = Mutex(false)
            relay.setRule { direction, line in
                guard direction == .toClient, line.contains(#""status": "completed""#) else { return .pass }
                return done.withLock { done in
                    defer { done = true }
                    return done ? .pass : .cut
                }
            }
            let outcome = try lab.migrate().finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(relay.connectionCount == 2)
            try lab.expectGuest(runsOn: .destination)
        }

        /// Events are a help, not a need: without any the migration ends the same, a little later.
        @Test(Live.wide, arguments: Side.allCases) func withoutEvents(side: Side) throws {
            let lab = try MigrationLab()
            let relay = try side == .source ? lab.relaySource() : lab.relayDestination()
            relay.setRule { $0 == .toClient && $1.contains(#""event":"#) ? .drop : .pass }
            let outcome = try lab.migrate().finish()
            #expect([0, 12].contains(outcome.code), "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }
    }
}

/// A socket that greets every client with the same bytes, and says nothing more.
final class BannerServer {
    let path: String
    private let listener: Int32

    init(_ path: String, banner: String) throws {
        self.path = path
        let listener = try UnixSocket.listen(on: path)
        self.listener = listener
        startThread {
            var clients: [Int32] = []
            while case let client = accept(listener, nil, nil), client >= 0 {
                _ = UnixSocket.send(Array(banner.utf8), to: client)
                clients.append(client)
            }
            clients.forEach { _ = close($0) }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }
}
