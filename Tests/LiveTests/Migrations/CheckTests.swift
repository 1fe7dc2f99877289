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

        /// A destination that is started as the description says takes the guest.
        @Test(Live.wide) func aDestinationAsDescribed() throws {
            let lab = try MigrationLab()
            let described = try lab.godwit("describe", "--qmp", lab.source.qmpPath, "--format", "json").finish()
            #expect(described.code == 0, "\(described)")
            let value = try JSONValue(parsing: described.output)
            #expect(value["machine"] != nil || value["machine-type"] != nil, "\(described)")
            let line = try #require(value["destination-command-line"]?.array).compactMap(\.string)
            #expect(line.suffix(3) == ["-S", "-incoming", "defer"])
            #expect(line.first?.hasSuffix("qemu-system-x86_64") == true)
            let text = try lab.godwit("describe", "--qmp", lab.source.qmpPath).finish()
            #expect(text.output.contains("  memory   96 MiB\n"), "\(text)")
            #expect(text.output.contains("  disk     data"), "\(text)")
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
