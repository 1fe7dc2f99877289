import Glibc
import GuestLab
import JSONC
import QMP
import QMPTransport
import Testing

extension MigrationTests {
    /// Failures while the guest stands still.
    @Suite struct Switchover {
        /// The very reason for the third version of the protocol: both said `completed`, and the guest runs nowhere.
        @Test func theDestinationIsKilledAfterBothCompleted() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrateAndKillTheDestinationAfterBothCompleted()
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        /// The same for a guest that had been paused: it is paused, not started.
        @Test(Live.wide) func aPausedGuestIsPutBackAsItWas() throws {
            let lab = try MigrationLab()
            try lab.sourceMonitor.execute("stop")
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "completed""#)
            let run = try lab.migrate()
            try relay.awaitHeld()
            try lab.destinationMonitor.waitForMigration("completed")
            lab.destination.kill()
            relay.release()
            let outcome = try run.finish()
            #expect(outcome.code == 10, "\(outcome)")
            #expect(outcome.lines.first?.contains("is paused on the source") == true, "\(outcome)")
            #expect(["paused", "postmigrate"].contains(try lab.sourceMonitor.runState()))
        }

        enum Stop: String, CaseIterable { case interrupt, deadline }

        /// The source writes device state to a peer that does not read, with its main loop held: only out-of-band words reach it.
        @Test(arguments: Stop.allCases) func theDestinationStandsStillInDevice(stop: Stop) throws {
            let lab = try MigrationLab()
            let hasYank = try lab.hasCommand("yank")
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "pre-switchover""#)
            let timeout = stop == .deadline ? ["--timeout", "2s"] : []
            let run = try lab.migrate(MigrationLab.early + timeout)
            try relay.awaitHeld()
            lab.destination.signal(SIGSTOP)
            relay.release()
            try relay.awaitLine(.toClient, containing: #""status": "device""#)
            if stop == .interrupt { run.interrupt() }
            let outcome = try run.finish()
            // Without that word (before 6.0) the end of the destination is what sets the source free.
            let isCut = relay.lines.contains { $0.direction == .toQEMU && $0.line.contains(#""exec-oob":"yank""#) }
            #expect(isCut == hasYank)
            try lab.expect(outcome, code: 11, says: "cancelled: the guest runs on the source")
            // Stopped as it was it could not hear `quit`.
            #expect(lab.destination.waitForExit(timeout: .seconds(5)) == .signalled(SIGKILL))
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        @Test(Live.wide) func theDestinationIsKilledBeforeTheSwitchover() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "pre-switchover""#)
            let run = try lab.migrate()
            try relay.awaitHeld()
            lab.destination.kill()
            relay.release()
            let outcome = try run.finish()
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        /// Somebody else let the destination run. What it did there cannot be undone: the source is not continued, whatever follows.
        @Test func aDestinationThatRanIsNeverRolledBack() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "completed""#)
            let run = try lab.migrate()
            try relay.awaitHeld()
            try lab.destinationMonitor.waitForMigration("completed")
            try lab.destinationMonitor.execute("cont")
            let ran = try lab.destination.waitForHeartbeat(after: lab.source.heartbeats().last?.number ?? 0)
            lab.destination.kill()
            relay.release()
            let outcome = try run.finish()
            #expect([14, 15].contains(outcome.code), "\(outcome)")
            #expect(try lab.sourceMonitor.runState() == "postmigrate")
            #expect((lab.source.heartbeats().last?.number ?? 0) < ran.number)
        }

        /// The same without an accident: it runs, and that is what was wanted.
        @Test(Live.wide) func aDestinationThatSomebodyElseRan() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "completed""#)
            let run = try lab.migrate()
            try relay.awaitHeld()
            try lab.destinationMonitor.waitForMigration("completed")
            try lab.destinationMonitor.execute("cont")
            relay.release()
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        /// `cont` was sent and its reply is lost with a QEMU whose end nobody can see: it cannot be proven that the guest did not run.
        @Test(Live.wide) func theDestinationIsLostAfterCont() throws {
            let lab = try MigrationLab()
            let relay = try lab.relayDestination()
            relay.setRule { direction, line in
                direction == .toQEMU && line.contains(#""execute":"cont""#) ? .holdFromHere : .pass
            }
            let run = try lab.migrate()
            try relay.awaitHeld()
            lab.destination.kill()
            let outcome = try run.finish()
            #expect(outcome.code == 14, "\(outcome)")
            #expect(outcome.output.contains("never let both run"), "\(outcome)")
            #expect(try lab.sourceMonitor.runState() == "postmigrate")
            #expect(names(in: lab.directory.file("state")).count == 1, "the journal is kept")
        }

        @Test func theDestinationIsKilledInDevice() throws {
            let lab = try MigrationLab()
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "pre-switchover""#)
            let run = try lab.migrate(MigrationLab.early)
            try relay.awaitHeld()
            lab.destination.signal(SIGSTOP)
            relay.release()
            try relay.awaitLine(.toClient, containing: #""status": "device""#)
            lab.destination.kill()
            let outcome = try run.finish()
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        /// The destination completed while nobody of the source says a word more: it has all of the guest, and is started.
        @Test(Live.wide) func theSourceIsKilledAfterTheDestinationCompleted() throws {
            let lab = try MigrationLab()
            let relay = try lab.relayDestination()
            relay.hold(from: #""status": "completed""#)
            let run = try lab.migrate()
            try relay.awaitHeld()
            try lab.sourceMonitor.waitForMigration("completed")
            lab.source.kill()
            relay.release()
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.destination.waitForHeartbeat(after: (lab.source.heartbeats().last?.number ?? 0) + 3)
            #expect(lab.continuity.isUnbroken, "\(lab.continuity)")
        }

        /// Seven commands that the main loop does not answer leave the way open for one that does not need it.
        @Test func outOfBandGoesPastSevenPendingCommands() async throws {
            let lab = try MigrationLab()
            guard try lab.hasCommand("yank") else { return QEMUPair.current.leavesOut("`yank`") }
            let uri = "unix:" + lab.directory.file("stream")
            try lab.sourceMonitor.enable("events", "return-path", "pause-before-switchover")
            try lab.sourceMonitor.execute(
                "migrate-set-parameters", ["max-bandwidth": 16_777_216, "downtime-limit": 1_000_000])
            try lab.destinationMonitor.enable("events")
            try lab.destinationMonitor.execute("migrate-incoming", ["uri": .string(uri)])
            try lab.sourceMonitor.execute("migrate", ["uri": .string(uri)])
            try lab.sourceMonitor.waitForMigration("pre-switchover")
            lab.destination.signal(SIGSTOP)

            let client = try await QMPClient.connect(to: .unix(path: lab.source.qmpPath))
            try lab.sourceMonitor.send("migrate-continue", ["state": "pre-switchover"])
            try lab.sourceMonitor.waitForMigration("device")
            let answers = try await withThrowingTaskGroup(of: String?.self) { group in
                for _ in 0..<7 { group.addTask { try await client.execute(QueryMigrate()).status } }
                // The eighth would not be read; the bound in the session keeps it back.
                group.addTask { try await client.execute(QueryStatus()).status }
                let begun = ContinuousClock.now
                _ = try await client.execute(Yank([.migration]), outOfBand: true)
                #expect(ContinuousClock.now - begun < .seconds(2))
                var answers: [String?] = []
                for try await answer in group { answers.append(answer) }
                return answers
            }
            #expect(answers.count == 8)
            try lab.sourceMonitor.waitForMigration("failed")
            try eventually("the guest runs again") { try lab.sourceMonitor.runState() == "running" }
            lab.destination.kill()
            await client.close()
        }
    }
}
