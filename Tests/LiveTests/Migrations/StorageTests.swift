import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// Disks that the two QEMUs do not share. The guest writes to its own all the while.
    @Suite struct Storage {
        private static let all = ["--copy-storage-all", "--migrate-disks", OwnDisk.node]
        /// Slow enough that a test can do something meanwhile.
        private static let slow = all + ["--copy-storage-bandwidth", "1MiB"]

        private func lab(_ change: (inout QEMUProcess.Options) -> Void = { _ in }) throws -> MigrationLab {
            try MigrationLab(rate: 4, beat: 20, ownDiskMiB: 16, change: change)
        }

        private func waitUntilCopying(_ lab: MigrationLab) throws {
            try eventually("the disk is being copied") {
                try lab.sourceMonitor.execute("query-jobs").array?.contains {
                    ($0["current-progress"]?.int64 ?? 0) > 0
                } ?? false
            }
        }

        private func move(_ lab: MigrationLab, _ arguments: [String]) throws -> String {
            let path = lab.directory.file("storage.qmptrace")
            let outcome = try lab.migrate(["--keep-source", "--trace", path] + arguments).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            try lab.expectDiskArrived()
            try lab.expectNoTraceOfCopies(on: .source)
            try lab.expectNoTraceOfCopies(on: .destination)
            try lab.expectSettingsRestored()
            #expect(!names(in: lab.directory.path).contains { $0.hasSuffix(".sock") })
            let replay = try lab.godwit("replay", "--drive", path).finish()
            #expect(replay.code == 0, "\(replay)")
            return fileText(path)
        }

        /// What is left after an attempt that came to nothing: all on the source, and the next attempt works.
        private func expectNothingHappened(
            _ lab: MigrationLab, _ outcome: Godwit.Outcome, code: Int32, says headline: String
        ) throws {
            try lab.expect(outcome, code: code, says: headline)
            try lab.expectNoTraceOfCopies(on: .source)
            if lab.destination.status != nil { try lab.replaceDestination() }
            _ = try move(lab, Self.all)
        }

        @Test func aDiskGoesAlong() throws {
            let trace = try move(try lab(), Self.all)
            #expect(trace.contains(#""sync":"full","copy-mode":"background""#))
            #expect(trace.contains(#""nbd-server-start","arguments":{"addr":{"type":"unix""#))
        }

        @Test(Live.wide) func overTCPWithSynchronousWrites() throws {
            let trace = try move(
                try lab(), Self.all + ["--disks-uri", "tcp:127.0.0.1:0", "--copy-storage-synchronous-writes"])
            #expect(trace.contains(#""copy-mode":"write-blocking""#))
            #expect(trace.contains(#""server":{"type":"inet","host":"127.0.0.1","port":""#))
        }

        @Test(Live.wide, .enabled(if: Certificates.canBeMade, "not in PATH: openssl")) func encrypted() throws {
            // QEMU 5.2 has no name for the certificate of an NBD server, and wants more of a certificate.
            guard QEMUPair.current.source.name != "bullseye" else {
                return QEMUPair.current.leavesOut("`tls-hostname` of an NBD node")
            }
            let lab = try lab()
            let pki = try Certificates(in: lab.directory)
            let trace = try move(
                lab,
                Self.all + [
                    "--uri", "tcp:127.0.0.1:0", "--tls-dir", pki.directory, "--tls-hostname", "host.example",
                    "--tls-authz", "O=Lab,CN=*",
                ])
            #expect(trace.contains(#""server":{"type":"inet""#))
            #expect(trace.contains(#""tls-hostname":"host.example"},"id""#))
        }

        /// What a backup is told of is told of it on the destination as well.
        @Test(Live.wide) func bitmaps() throws {
            let lab = try lab()
            try lab.sourceMonitor.execute(
                "block-dirty-bitmap-add", ["node": .string(OwnDisk.node), "name": "backup", "granularity": 65536])
            _ = try move(lab, Self.all + ["--bitmaps"])
            let disks = try lab.destinationMonitor.execute("query-block").array ?? []
            let bitmaps = disks.flatMap { $0["inserted"]?["dirty-bitmaps"]?.array ?? [] }
            #expect(bitmaps.compactMap { $0["name"]?.string } == ["backup"])
            #expect((bitmaps.first?["count"]?.int64 ?? 0) > 0)
            #expect(bitmaps.first?["recording"]?.bool == true)
        }

        @Test(Live.wide) func besideSeveralConnections() throws {
            _ = try move(try lab(), Self.all + ["--multifd", "--uri", "tcp:127.0.0.1:0"])
        }

        /// The copies end while the guest stands still, before it goes ahead of its memory.
        @Test(Live.wide) func beforePostcopy() throws {
            let trace = try move(try lab(), Self.all + ["--postcopy-after", "1", "--bandwidth", "8MiB"])
            #expect(trace.contains("postcopy-active"))
        }

        /// No event of a job arrives: asking tells the same.
        @Test(Live.wide) func withoutEvents() throws {
            let lab = try lab()
            try lab.relaySource().setRule { $1.contains(#""event": "BLOCK_JOB"#) ? .drop : .pass }
            let outcome = try lab.migrate(Self.all).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectDiskArrived()
            try lab.expectNoTraceOfCopies(on: .destination)
        }

        @Test(Live.wide) func aPausedGuest() throws {
            let lab = try lab()
            try lab.sourceMonitor.execute("stop")
            let outcome = try lab.migrate(Self.all).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(pausedOn: .destination)
            try lab.expectDiskArrived()
        }

        // MARK: What goes wrong

        @Test(Live.wide) func aSmallerDisk() throws {
            let lab = try lab { options in
                #expect(truncate(options.extraArguments.compactMap(Self.file).last ?? "", 8 << 20) == 0)
            }
            let outcome = try lab.migrate(Self.all).finish()
            #expect(outcome.output.contains("16 MiB on the source"), "\(outcome)")
            #expect(outcome.output.contains("8 MiB on the destination"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
            try lab.expectNoTraceOfCopies(on: .destination)
        }

        private static func file(_ argument: String) -> String? {
            guard let range = argument.firstRange(of: "file.filename=") else { return nil }
            return String(argument[range.upperBound...])
        }

        @Test(Live.wide) func cancelledWhileItIsCopied() throws {
            let lab = try lab()
            let run = try lab.migrate(Self.slow)
            try waitUntilCopying(lab)
            run.interrupt()
            try expectNothingHappened(lab, try run.finish(), code: 11, says: "cancelled:")
        }

        @Test(Live.wide, arguments: [false, true]) func theDestinationIsKilled(inTheSwitchover: Bool) throws {
            let lab = try lab()
            let run = try lab.migrate(inTheSwitchover ? Self.all + ["--hold"] : Self.slow)
            if inTheSwitchover {
                try lab.sourceMonitor.pollMigration { $0["status"] == "pre-switchover" }
            } else {
                try waitUntilCopying(lab)
            }
            lab.destination.kill()
            try expectNothingHappened(lab, try run.finish(), code: 10, says: "failed:")
        }

        /// The whole destination stands still, its end of the connection included.
        @Test(Live.wide) func aDestinationThatSaysNothing() throws {
            let lab = try lab()
            let run = try lab.migrate(Self.slow)
            try waitUntilCopying(lab)
            lab.destination.signal(SIGSTOP)
            run.interrupt()
            try expectNothingHappened(lab, try run.finish(), code: 11, says: "cancelled:")
        }

        /// The destination's disk takes nothing more from some place on.
        @Test(Live.wide) func theDestinationsDiskIsFull() throws {
            let lab = try lab { options in
                options.extraArguments = options.extraArguments.map { argument in
                    guard argument.hasPrefix("driver=raw,node-name=\(OwnDisk.node),"), let file = Self.file(argument)
                    else {
                        return argument
                    }
                    return "driver=raw,node-name=\(OwnDisk.node),file.driver=blkdebug,file.image.driver=file,"
                        + "file.image.filename=\(file),file.inject-error.0.event=none,file.inject-error.0.errno=28,"
                        + "file.inject-error.0.iotype=write,file.inject-error.0.sector=20000"
                }
            }
            let outcome = try lab.migrate(Self.all).finish()
            #expect(outcome.output.contains("No space left on device"), "\(outcome)")
            try expectNothingHappened(lab, outcome, code: 10, says: "failed:")
        }

        /// Nobody is left to tidy up; the next attempt does. Which settings there were before nobody knows then.
        @Test(Live.wide) func godwitIsKilled() throws {
            let lab = try lab()
            let run = try lab.migrate(Self.slow)
            try waitUntilCopying(lab)
            run.child.kill()
            lab.destination.kill()
            try lab.replaceDestination()
            let outcome = try lab.migrate(["--keep-source"] + Self.all).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectDiskArrived()
            try lab.expectNoTraceOfCopies(on: .source)
            try lab.expectNoTraceOfCopies(on: .destination)
        }

        @Test(Live.wide) func aServerOfSomebodyElses() throws {
            let lab = try lab()
            let address: JSONValue = ["type": "unix", "data": ["path": .string(lab.directory.file("nbd"))]]
            try lab.destinationMonitor.execute("nbd-server-start", ["addr": address])
            let outcome = try lab.migrate(Self.all).finish()
            #expect(outcome.output.contains("NBD server already running"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            // It is there as before, so a second one is refused.
            #expect(throws: (any Error).self) {
                try lab.destinationMonitor.execute("nbd-server-start", ["addr": address])
            }
        }
    }
}
