import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// From one generation of QEMU to the next, and back, with a machine type that both know. Each side keeps the words of its own generation.
    @Suite(Live.several, .acrossQEMUs) struct AcrossVersions {
        private func expectArrival(_ lab: MigrationLab, _ outcome: Godwit.Outcome) throws {
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            #expect(lab.source.waitForExit(timeout: .seconds(5)) == .exited(0))
        }

        private func expectDriven(_ lab: MigrationLab, _ path: String) throws {
            let replay = try lab.godwit("replay", "--drive", path).finish()
            #expect(replay.code == 0, "\(replay)")
        }

        @Test func theGuestGoesOn() throws {
            let lab = try MigrationLab(rate: 20)
            let path = lab.directory.file("across.qmptrace")
            try expectArrival(lab, try lab.migrate(["--trace", path]).finish())
            try expectDriven(lab, path)
        }

        @Test func cancelled() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled: the guest runs on the source")
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        @Test func theDestinationIsKilledAfterBothCompleted() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrateAndKillTheDestinationAfterBothCompleted()
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            try lab.expectNextMigrationWorks()
        }

        @Test func postcopyInterruptedAndRecovered() throws {
            let lab = try MigrationLab()
            let path = lab.directory.file("across.qmptrace")
            let run = try lab.migrate(
                MigrationLab.slow + ["--postcopy", "--max-postcopy-bandwidth", "4MiB", "--trace", path])
            try lab.waitUntilCopying()
            #expect(try lab.steer("postcopy").code == 0)
            try eventually("post-copy") { try lab.steer("status").output.contains("  postcopy, ") }
            try lab.destination.waitForHeartbeat(after: lab.source.heartbeats().last?.number ?? 0)
            #expect(try lab.steer("pause-postcopy").code == 0)
            try run.waitForNote("postcopy-paused")
            try eventually("a recovery is taken up") { try lab.steer("recover").code == 0 }
            try eventually("post-copy again") { try lab.steer("status").output.contains("  postcopy, ") }
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            try expectArrival(lab, try run.finish())
            try expectDriven(lab, path)
        }
    }
}
