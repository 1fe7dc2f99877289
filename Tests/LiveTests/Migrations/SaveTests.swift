import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// A guest into a file and out of it; where that does not come to an end, the guest goes on and no file is there.
    @Suite struct Saves {
        private func save(_ lab: MigrationLab, _ arguments: [String] = []) throws -> Godwit {
            try lab.godwit(
                [
                    "save", "--source", lab.source.qmpPath, lab.directory.file("guest"), "--trace",
                    lab.directory.file("save.qmptrace"),
                ]
                    + arguments)
        }

        private func restore(_ lab: MigrationLab, _ arguments: [String] = []) throws -> Godwit {
            try lab.godwit(
                [
                    "restore", "--destination", lab.destination.qmpPath, lab.directory.file("guest"), "--trace",
                    lab.directory.file("restore.qmptrace"), "--destination-log", lab.destination.stderrPath,
                ] + arguments)
        }

        /// What of a file is there.
        private func files(_ lab: MigrationLab) -> [String] {
            names(in: lab.directory.path).filter {
                $0.hasPrefix("guest") && !$0.hasPrefix("guest.s") && !$0.hasPrefix("guest.o") && $0 != "guest.img"
            }
        }

        private func expectDriven(
            _ lab: MigrationLab, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let path = lab.directory.file(name)
            for options in [["--drive"], []] {
                let replay = try lab.godwit(["replay"] + options + [path]).finish()
                #expect(replay.code == 0, "\(replay)", sourceLocation: sourceLocation)
                #expect(replay.output.contains("completed"), "\(replay)", sourceLocation: sourceLocation)
            }
        }

        @Test func intoAFileAndBack() throws {
            let lab = try MigrationLab()
            let saved = try save(lab).finish()
            #expect(saved.code == 0, "\(saved)")
            #expect(saved.lines.first?.hasPrefix("completed: the guest is in the file") == true, "\(saved)")
            #expect(lab.source.waitForExit(timeout: .seconds(5)) == .exited(0))
            try expectDriven(lab, "save.qmptrace")
            let before = try MigrationLab.settings(lab.destinationMonitor)
            let restored = try restore(lab).finish()
            #expect(restored.code == 0, "\(restored)")
            try lab.expectGuest(runsOn: .destination)
            #expect(try MigrationLab.settings(lab.destinationMonitor) == before)
            #expect(try lab.destinationMonitor.execute("query-fdsets") == [])
            try expectDriven(lab, "restore.qmptrace")
        }

        /// A guest that was paused comes back paused.
        @Test(Live.wide) func aPausedGuest() throws {
            let lab = try MigrationLab()
            try lab.sourceMonitor.execute("stop")
            #expect(try save(lab).finish().code == 0)
            let restored = try restore(lab).finish()
            #expect(restored.code == 0, "\(restored)")
            #expect(restored.output.contains("is paused on the destination"), "\(restored)")
            try lab.expectGuest(pausedOn: .destination)
        }

        @Test(Live.wide) func cancelled() throws {
            let lab = try MigrationLab()
            let run = try save(lab, ["--bandwidth", "4MiB"])
            try lab.waitUntilCopying()
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
            #expect(files(lab) == [])
            try lab.expectNextMigrationWorks()
        }

        /// The program is killed: the file never had a name, and nothing of it is left.
        @Test(Live.wide) func killed() throws {
            let lab = try MigrationLab()
            let run = try save(lab, ["--bandwidth", "4MiB"])
            try lab.waitUntilCopying()
            run.child.kill()
            #expect(files(lab) == [])
            try lab.sourceMonitor.execute("migrate_cancel")
            try lab.sourceMonitor.pollMigration { $0["status"] == "cancelled" }
            try lab.sourceMonitor.execute("cont")
            try lab.expectGuest(runsOn: .source)
        }

        /// Somebody puts a file of that name there meanwhile: it is not replaced, and the guest, which has left by then, goes on.
        @Test(Live.wide) func anotherFileComesInBetween() throws {
            let lab = try MigrationLab()
            let run = try save(lab, ["--bandwidth", "16MiB"])
            try lab.waitUntilCopying()
            let other = try #require(fopen(lab.directory.file("guest"), "w"))
            fclose(other)
            let outcome = try run.finish()
            #expect(outcome.output.contains("the file could not be kept"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            var status = stat()
            #expect(stat(lab.directory.file("guest"), &status) == 0 && status.st_size == 0)
            try lab.expectNextMigrationWorks()
        }

        @Test(Live.wide, arguments: [true, false]) func aFileThatIsCutOff(isDescribed: Bool) throws {
            let lab = try MigrationLab()
            #expect(try save(lab).finish().code == 0)
            #expect(truncate(lab.directory.file("guest"), 1 << 20) == 0)
            if !isDescribed { unlink(lab.directory.file("guest.godwit")) }
            let outcome = try restore(lab).finish()
            guard !isDescribed else {
                #expect(outcome.code == 65, "\(outcome)")
                #expect(outcome.errors.contains("this one has 1048576"), "\(outcome)")
                #expect(try lab.destinationMonitor.runState() == "inmigrate")
                return
            }
            #expect(outcome.code == 10, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("failed: the guest is in the file") == true, "\(outcome)")
            #expect(outcome.output.contains("the destination's log ends with"), "\(outcome)")
            try lab.expectDestinationEnded()
        }

        /// Found by the description, before a QEMU is spent on it.
        @Test(Live.wide) func anotherMachine() throws {
            let lab = try MigrationLab { $0.memoryMiB += 32 }
            #expect(try save(lab).finish().code == 0)
            let outcome = try restore(lab).finish()
            #expect(outcome.code == 10, "\(outcome)")
            #expect(outcome.output.contains("the destination is not made like the source"), "\(outcome)")
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
        }

        @Test func noGuestInIt() throws {
            let directory = try LabDirectory()
            let rubbish = try #require(fopen(directory.file("rubbish"), "w"))
            fputs("this is no guest", rubbish)
            fclose(rubbish)
            func run(_ arguments: [String], _ number: Int) throws -> Godwit.Outcome {
                try Godwit(arguments, in: directory, number: number).finish()
            }
            let restored = try run(["restore", "--destination", "/nowhere", directory.file("rubbish")], 1)
            #expect(restored.code == 65, "\(restored)")
            #expect(restored.errors.contains("no guest of QEMU's is in it"), "\(restored)")
            let missing = try run(["restore", "--destination", "/nowhere", directory.file("missing")], 2)
            #expect(missing.code == 66, "\(missing)")
            let saved = try run(["save", "--source", "/nowhere", directory.file("rubbish")], 3)
            #expect(saved.code == 74, "\(saved)")
            #expect(saved.errors.contains("exists; --force replaces it"), "\(saved)")
        }
    }
}
