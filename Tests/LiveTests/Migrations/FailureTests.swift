import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// Failures before the switchover.
    @Suite struct Failure {
        @Test func theDestinationIsKilledWhileMemoryIsCopied() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            lab.destination.kill()
            let outcome = try run.finish()
            #expect(outcome.output.contains("the destination's QEMU is gone"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        /// The guest stands still for the deadline's sake, and is not left so.
        @Test(Live.wide) func theDestinationIsKilledAfterTheDeadlinePausedTheGuest() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly(["--timeout", "700ms", "--timeout-action", "pause-guest"])
            try eventually("the guest is stopped") { try lab.sourceMonitor.runState() != "running" }
            lab.destination.kill()
            let outcome = try run.finish()
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectNextMigrationWorks()
        }

        /// Through a relay the end of a connection proves nothing, and nobody may be killed. The guest never left, so nothing is in doubt.
        @Test(Live.wide) func theDestinationIsKilledBehindARelay() throws {
            let lab = try MigrationLab()
            try lab.relayDestination()
            let run = try lab.migrateSlowly()
            lab.destination.kill()
            let outcome = try run.finish()
            #expect(outcome.code == 10, "\(outcome)")
            try lab.expectSettingsRestored()
            try lab.expectGuest(runsOn: .source)
        }

        /// The destination dies between Prepare and `migrate`: its socket is still there, and nobody listens on it.
        @Test func theConnectionIsRefused() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.setRule { $0 == .toQEMU && $1.contains(#""execute":"migrate","#) ? .hold : .pass }
            let run = try lab.migrate()
            try relay.awaitHeld()
            lab.destination.kill()
            relay.release()
            let outcome = try run.finish()
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectNextMigrationWorks()
        }

        /// QEMU's own words say why, and the destination waits as before.
        @Test(arguments: ["missing directory", "port in use"])
        func theDestinationCannotListen(because: String) throws {
            let lab = try MigrationLab()
            let port = try TCPPort()
            let (uri, words) =
                because == "port in use"
                ? ("tcp:127.0.0.1:\(port.number)", "Address already in use")
                : ("unix:\(lab.directory.file("no/such/directory"))", "No such file or directory")
            let outcome = try lab.migrate(["--uri", uri]).finish()
            #expect(outcome.output.contains(words), "\(outcome)")
            #expect(outcome.output.contains(uri), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            #expect(try lab.sourceMonitor.execute("query-migrate")["status"] == nil)
            #expect(lab.destination.status == nil)
            // From 9.1 on QEMU stays in `setup` then, and listens nowhere any more: that destination was used up.
            if try lab.destinationMonitor.execute("query-migrate")["status"] == "setup" { try lab.replaceDestination() }
            try lab.expectNextMigrationWorks()
        }

        /// A difference that no query shows. QEMU 7.2 ends itself then, and says why only on its standard error.
        @Test func theDestinationCannotLoadTheGuest() throws {
            let lab = try MigrationLab {
                $0.extraArguments += ["-global", "migration.send-section-footer=off"]
            }
            let outcome = try lab.migrate(["--destination-log", lab.destination.stderrPath]).finish()
            // Its words differ with the place in the stream at which it notices, and with the generation.
            let words = ["load of migration failed", "Unknown savevm section type"]
            #expect(words.contains { outcome.output.contains($0) }, "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        @Test func theSourceIsKilled() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            lab.source.kill()
            let outcome = try run.finish()
            #expect(outcome.code == 15, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("lost: the guest is gone") == true)
            try lab.expectDestinationEnded()
        }

        @Test func theGuestPowersItselfOff() throws {
            let lab = try MigrationLab(beat: 50, lastHeartbeat: 25)
            let run = try lab.migrateSlowly()
            let outcome = try run.finish()
            #expect(outcome.code == 16, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("ended: the guest shut itself down") == true)
            #expect(lab.source.waitForExit(timeout: .seconds(5)) == .exited(0))
            #expect(lab.source.heartbeats().last?.number == 25)
            try lab.expectDestinationEnded()
        }

        /// Both QEMUs live on and the journal tells what was under way; the next migration finds everything that it needs.
        @Test func godwitItselfIsKilled() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            run.child.kill()
            #expect(try lab.sourceMonitor.runState() == "running")
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
            // Beside it lies the control socket, at which nobody listens.
            let journals = names(in: lab.directory.file("state")).filter { !$0.hasSuffix(".ctl") }
            #expect(journals.count == 1, "\(journals)")
            let trace = try readTrace(lab.directory.file("state/\(journals.first ?? "")"))
            #expect(trace.steps.contains("perform"))
            try lab.sourceMonitor.execute("migrate_cancel")
            try lab.sourceMonitor.waitForMigration("cancelled")
            try lab.expectGuest(runsOn: .source)
            // Nobody puts back what a killed program had set; the capabilities the next one sees to, the limits are a person's.
            try lab.sourceMonitor.execute("migrate-set-parameters", ["max-bandwidth": 0])
            lab.destination.kill()
            try lab.expectNextMigrationWorks()
        }

        /// An external `migrate_cancel` is somebody's cancel too: the guest stays, nothing is left behind.
        @Test(Live.wide) func somebodyElseCancels() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            try lab.sourceMonitor.execute("migrate_cancel")
            let outcome = try run.finish()
            #expect([10, 11].contains(outcome.code), "\(outcome)")
            try lab.expectSettingsRestored()
            try lab.expectGuest(runsOn: .source)
            try lab.expectNextMigrationWorks()
        }
    }
}

/// A TCP port of the loopback interface that is taken as long as this lives.
final class TCPPort {
    let number: UInt16
    private let descriptor: Int32

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let done = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, $0, &length) == 0
            }
        }
        number = UInt16(bigEndian: address.sin_port)
        guard done else { throw SocketError("a TCP port") }
    }

    deinit { close(descriptor) }
}
