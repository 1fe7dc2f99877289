import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// `godwit check` with real QEMUs.
    @Suite struct Checks {
        private func check(_ lab: MigrationLab, _ arguments: String...) throws -> Godwit.Outcome {
            try lab.godwit(
                ["check", "--source", lab.source.qmpPath, "--destination", lab.destination.qmpPath] + arguments
            ).finish()
        }

        @Test func theEstimateAndNothingChanged() throws {
            let lab = try MigrationLab(rate: 20)
            let before = try (MigrationLab.settings(lab.sourceMonitor), MigrationLab.settings(lab.destinationMonitor))
            let outcome = try check(lab, "--estimate", "1", "--bandwidth", "1GiB", "--format", "json")
            #expect(outcome.code == 0, "\(outcome)")
            let value = try JSONValue(parsing: outcome.output)
            #expect(value["ready"]?.bool == true)
            let estimate = try #require(value["estimate"])
            // It samples pages, and a slow machine lets the guest write less than it was told.
            let rate = try #require(estimate["dirtyBytesPerSecond"]?.int64)
            #expect((4 << 20...60 << 20).contains(rate), "\(rate)")
            #expect(estimate["memoryBytes"]?.int64 == 96 << 20)
            #expect(estimate["lines"]?.array?.first?["full"]?["verdict"]?.string == "converged")
            #expect(try MigrationLab.settings(lab.sourceMonitor) == before.0)
            #expect(try MigrationLab.settings(lab.destinationMonitor) == before.1)
            try lab.expectGuest(runsOn: .source)
            let migrated = try lab.migrate().finish()
            #expect(migrated.code == 0, "\(migrated)")
        }

        @Test(Live.wide) func whatDoesNotFitIsNamed() throws {
            let lab = try MigrationLab()
            try lab.replaceDestination {
                $0.memoryMiB = 64
                $0.paused = false
            }
            let outcome = try check(lab, "--multifd")
            #expect(outcome.code == 1, "\(outcome)")
            #expect(outcome.output.contains("error    memory: 96 MiB on the source, 64 MiB on the destination\n"))
            #expect(outcome.output.contains("warning  destination: it was started without -S"), "\(outcome)")
            #expect(outcome.output.contains("this cannot be migrated: 2 errors, 1 warning, "))
        }

        @Test(Live.wide) func oneQEMUAndNone() throws {
            let lab = try MigrationLab()
            let same = try lab.godwit(
                "check", "--source", lab.source.qmpPath, "--destination", lab.source.qmpPath
            ).finish()
            #expect(same.code == 1, "\(same)")
            #expect(same.output.contains("both belong to one QEMU"), "\(same)")
            let nobody = try lab.godwit(
                "check", "--source", lab.source.qmpPath, "--destination", lab.directory.file("nobody")
            ).finish()
            #expect(nobody.code == 75, "\(nobody)")
            #expect(nobody.errors.contains("nobody"), "\(nobody)")
        }
    }
}
