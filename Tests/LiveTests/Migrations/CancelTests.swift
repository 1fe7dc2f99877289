import Glibc
import GuestLab
import Testing

extension MigrationTests {
    @Suite struct Cancel {
        @Test func whileMemoryIsCopied() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            try run.waitForNote(", pass 1, ")
            run.interrupt()
            let outcome = try run.finish()
            #expect(outcome.errors.contains("cancelling"))
            try lab.expect(outcome, code: 11, says: "cancelled: the guest runs on the source")
            // QEMU itself forgets the numbers of what was cancelled.
            #expect(
                outcome.output.contains("it had sent ") && outcome.output.contains(" in pass 1 after "), "\(outcome)")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        /// The guest stands still already, and QEMU waits for our word to go on, which is on its way or never leaves.
        @Test(arguments: [#""status": "pre-switchover""#, #""execute":"migrate-continue""#])
        func beforeTheSwitchover(held: String) throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.setRule { direction, line in
                guard line.contains(held) else { return .pass }
                return direction == .toClient ? .holdFromHere : .hold
            }
            let run = try lab.migrate()
            try relay.awaitHeld()
            #expect(try lab.sourceMonitor.runState() == "finish-migrate")
            run.interrupt()
            try relay.awaitLine(.toQEMU, containing: #""migrate_cancel""#)
            if held.contains("pre-switchover") { relay.release() }
            let outcome = try run.finish()
            try lab.expect(outcome, code: 11, says: "cancelled: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        @Test func whenTheTimeIsUp() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(MigrationLab.slow + ["--timeout", "700ms"]).finish()
            try lab.expect(outcome, code: 11, says: "cancelled: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        @Test func aPausedGuestStaysPaused() throws {
            let lab = try MigrationLab()
            try lab.sourceMonitor.execute("stop")
            let run = try lab.migrateSlowly()
            run.interrupt()
            let outcome = try run.finish()
            try lab.expect(outcome, code: 11, says: "cancelled: the guest is paused on the source", runs: false)
            try lab.expectGuest(pausedOn: .source)
        }

        /// One that comes when the guest has left is heard and not obeyed.
        @Test func tooLate() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "completed""#)
            let run = try lab.migrate()
            try relay.awaitHeld()
            try lab.destinationMonitor.waitForMigration("completed")
            run.interrupt()
            try run.waitForNote("cancelling")
            relay.release()
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        /// A second Ctrl-C says what leaving now would mean, and does not leave.
        @Test func twice() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            let run = try lab.migrateSlowly()
            relay.setRule { direction, _ in direction == .toClient ? .holdFromHere : .pass }
            run.interrupt()
            try run.waitForNote("cancelling; the attempt ends before this program does")
            run.interrupt()
            try run.waitForNote("Leaving now would leave behind")
            try run.waitForNote(relay.path)
            relay.release()
            let outcome = try run.finish()
            try lab.expect(outcome, code: 11, says: "cancelled: the guest runs on the source")
            try lab.expectNextMigrationWorks()
        }

        /// Before both monitors have greeted there is nothing to undo.
        @Test(Live.wide) func beforeAnythingWasStarted() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.setRule { _, line in line.contains("QMP") ? .hold : .pass }
            let run = try lab.migrate()
            try relay.awaitHeld()
            run.interrupt()
            let outcome = try run.finish()
            #expect(outcome.code == 11, "\(outcome)")
            try lab.expectGuest(runsOn: .source)
            try lab.expectNextMigrationWorks()
        }

        /// A stop for a deadline is no pause of the user's: the guest that stays goes on.
        @Test func afterTheDeadlinePausedTheGuest() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly(["--timeout", "700ms", "--timeout-action", "pause-guest"])
            try eventually("the guest is stopped") { try lab.sourceMonitor.runState() != "running" }
            run.interrupt()
            let outcome = try run.finish()
            try lab.expect(outcome, code: 11, says: "cancelled: the guest runs on the source")
            try lab.expectNextMigrationWorks()
        }

        /// The third leaves, says what it does not know, and touches nothing.
        @Test(Live.wide) func threeTimes() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            let run = try lab.migrateSlowly()
            relay.setRule { _, _ in .hold }
            run.interrupt()
            try run.waitForNote("cancelling")
            run.interrupt()
            try run.waitForNote("Leaving now would leave behind")
            run.interrupt()
            let outcome = try run.finish()
            #expect(outcome.code == 14, "\(outcome)")
            #expect(names(in: lab.directory.file("state")).count == 1)
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
            try lab.expectGuest(runsOn: .source)
        }
    }
}
