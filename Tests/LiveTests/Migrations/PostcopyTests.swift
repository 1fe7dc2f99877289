import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// The guest goes before its memory. Only root may use userfaultfd by default, which the destination needs.
    @Suite(.enabled(if: geteuid() == 0, "post-copy needs userfaultfd")) struct Postcopy {
        /// So slow that the guest is on the destination for a while before its memory is.
        private static let slow = ["--bandwidth", "4MiB", "--max-postcopy-bandwidth", "4MiB"]

        /// A migration that has gone over to post-copy, with most of the guest's noise still to be sent.
        private func inPostcopy(_ lab: MigrationLab, _ arguments: [String] = []) throws -> Godwit {
            let run = try lab.migrate(Self.slow + ["--postcopy"] + arguments)
            try lab.waitUntilCopying()
            #expect(try lab.steer("postcopy").code == 0)
            try eventually("post-copy") { try lab.steer("status").output.contains("  postcopy, ") }
            let last = try #require(lab.source.heartbeats().last?.number)
            try lab.destination.waitForHeartbeat(after: last)
            return run
        }

        /// It arrived, runs, and left nothing.
        private func expectArrival(_ lab: MigrationLab, _ outcome: Godwit.Outcome) throws {
            #expect(outcome.code == 0, "\(outcome)")
            #expect(
                outcome.lines.first?.hasPrefix("completed: the guest runs on the destination") == true, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            #expect(lab.source.waitForExit(timeout: .seconds(5)) == .exited(0))
            let left = try MigrationLab.settings(lab.destinationMonitor)
            #expect(left == lab.settings)
            #expect(!names(in: lab.directory.path).contains { $0.contains(".sock") })
            #expect(names(in: lab.directory.file("state")).isEmpty)
        }

        private func drive(_ lab: MigrationLab, _ path: String) throws {
            let replay = try lab.godwit("replay", "--drive", path).finish()
            #expect(replay.code == 0, "\(replay)")
        }

        /// A guest that would never converge goes over after the first pass.
        @Test func afterTheFirstPass() throws {
            let lab = try MigrationLab(rate: GuestImage.unlimitedRate, dirtyMiB: 32)
            let path = lab.directory.file("postcopy.qmptrace")
            let outcome = try lab.migrate([
                "--bandwidth", "64MiB", "--downtime-limit", "1ms", "--postcopy-after", "1", "--postcopy-blocktime",
                "--trace", path,
            ]).finish()
            try expectArrival(lab, outcome)
            #expect(outcome.errors.contains("postcopy, QEMU says postcopy-active"), "\(outcome)")
            #expect(outcome.output.contains(" ms for pages in post-copy"), "\(outcome)")
            try drive(lab, path)
        }

        @Test func afterATime() throws {
            let lab = try MigrationLab(rate: GuestImage.unlimitedRate, dirtyMiB: 32)
            let outcome = try lab.migrate(["--bandwidth", "8MiB", "--postcopy-after", "500ms"]).finish()
            try expectArrival(lab, outcome)
            #expect(outcome.errors.contains("postcopy, QEMU says postcopy-active"), "\(outcome)")
        }

        /// The guest is on the destination while memory follows; there is no way back from there.
        @Test func byHand() throws {
            let lab = try MigrationLab()
            let run = try inPostcopy(lab)
            let information = try lab.sourceMonitor.execute("query-migrate")
            #expect(information["status"] == "postcopy-active", "the guest runs before its memory is there")
            let cancel = try lab.steer("cancel")
            #expect(cancel.code == 18, "\(cancel)")
            #expect(cancel.errors.contains("there is no way back"), "\(cancel)")
            run.interrupt()
            try run.waitForNote("cancel is not carried out")
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            try expectArrival(lab, try run.finish())
        }

        @Test func onlyWhereItWasAllowed() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            let refused = try lab.steer("postcopy")
            #expect(refused.code == 18, "\(refused)")
            #expect(refused.errors.contains("post-copy was not allowed"), "\(refused)")
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        @Test func urgentPagesOnAConnectionOfTheirOwn() throws {
            let lab = try MigrationLab(rate: GuestImage.unlimitedRate, dirtyMiB: 32)
            let isKnown = lab.settings.capabilities["postcopy-preempt"] != nil
            let run = try lab.migrate([
                "--bandwidth", "16MiB", "--downtime-limit", "1ms", "--postcopy-after", "1", "--postcopy-preempt",
            ])
            guard isKnown else {
                let outcome = try run.finish()
                #expect(outcome.output.contains("postcopy-preempt"), "\(outcome)")
                return try lab.expect(outcome, code: 10, says: "failed:")
            }
            try lab.waitUntilCopying()
            for monitor in [lab.sourceMonitor, lab.destinationMonitor] {
                #expect(try MigrationLab.settings(monitor).capabilities["postcopy-preempt"] == true)
            }
            try expectArrival(lab, try run.finish())
        }

        /// The guest powers on where it arrives only once both sides are in post-copy, and the source has said so once
        /// more: QEMU 7.2 says it before the package is on its way.
        @Test func runOnlyWhenItIsProven() throws {
            let lab = try MigrationLab()
            let path = lab.directory.file("postcopy.qmptrace")
            let run = try inPostcopy(lab, ["--trace", path])
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            try expectArrival(lab, try run.finish())
            let lines = fileText(path).split(separator: "\n").map(String.init)
            func first(_ side: String, _ texts: String..., after start: Int = 0) throws -> Int {
                try #require(
                    lines.indices.first { index in
                        index > start && lines[index].contains("\"side\":\"\(side)\"")
                            && texts.allSatisfy { lines[index].contains($0) }
                    }, "\(side) \(texts)")
            }
            let there = try first("destination", #""event": "MIGRATION""#, "postcopy-active")
            let here = try first("source", #""event": "MIGRATION""#, "postcopy-active")
            var proven = max(there, here)
            if !(try lab.knowsStatus("postcopy-device")) {
                let asked = try first("source", #""execute":"query-migrate""#, after: proven)
                proven = try first("source", "recv", #""status": "postcopy-active""#, after: asked)
            }
            let surrendered = try first("source", "surrendered", after: proven)
            let ran = try first("destination", #""execute":"cont""#, after: surrendered)
            #expect(try first("destination", #""event": "RESUME""#) > ran)
            try drive(lab, path)
        }

        // MARK: Interrupted

        /// Twice interrupted, by hand and by a cut of the sockets; it goes on over the same kind of address and over
        /// another.
        @Test func interruptedAndRecovered() throws {
            let lab = try MigrationLab()
            let path = lab.directory.file("postcopy.qmptrace")
            let run = try inPostcopy(lab, ["--trace", path])
            #expect(try lab.steer("pause-postcopy").code == 0)
            try run.waitForNote("postcopy-paused")
            try run.waitForNote("`godwit recover` goes on with it")
            #expect(try lab.steer("cancel").code == 18)
            try eventually("a recovery is taken up") { try lab.steer("recover").code == 0 }
            try run.waitForNote("recovering, ")
            try eventually("post-copy again") { try lab.steer("status").output.contains("  postcopy, ") }
            // Cut, where QEMU has a command for that.
            _ =
                try lab.hasCommand("yank")
                ? lab.sourceMonitor.execute("yank", ["instances": [["type": "migration"]]])
                : lab.sourceMonitor.execute("migrate-pause")
            try eventually("a second pause") { try lab.steer("status").output.contains("  postcopy-paused") }
            // The other side notices a moment later.
            try eventually("a recovery is taken up") {
                try lab.steer("recover", "--uri", "tcp:127.0.0.1:0").code == 0
            }
            try eventually("post-copy once more") { try lab.steer("status").output.contains("  postcopy, ") }
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            try expectArrival(lab, try run.finish())
            try drive(lab, path)
        }

        /// While the destination loads the guest's devices an interruption would end it: QEMU 7.2 fails then.
        @Test func notInterruptedTooEarly() throws {
            let lab = try MigrationLab()
            let relay = try lab.relayDestination()
            relay.setRule { direction, line in
                direction == .toQEMU && line.contains(#""execute":"cont""#) ? .holdFromHere : .pass
            }
            let run = try lab.migrate(Self.slow + ["--postcopy"])
            try lab.waitUntilCopying()
            #expect(try lab.steer("postcopy").code == 0)
            try relay.awaitHeld()
            let refused = try lab.steer("pause-postcopy")
            #expect(refused.code == 18, "\(refused)")
            #expect(refused.errors.contains("still loads the guest's devices"), "\(refused)")
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            relay.release()
            try expectArrival(lab, try run.finish())
        }

        /// With its memory cut off a destination may hear nothing but out-of-band commands, until it is recovered. (A QEMU does that when its main
        /// loop meets a page that is missing; here the relay keeps from it what its main loop would have to answer.)
        @Test func recoveredOutOfBand() throws {
            let lab = try MigrationLab()
            let path = lab.directory.file("postcopy.qmptrace")
            let relay = try lab.relayDestination()
            let run = try inPostcopy(lab, ["--trace", path])
            #expect(try lab.steer("pause-postcopy").code == 0)
            try run.waitForNote("`godwit recover` goes on with it")
            relay.setRule { $0 == .toQEMU && $1.contains(#""execute":"#) ? .hold : .pass }
            try relay.awaitHeld()
            try eventually("a recovery is taken up") { try lab.steer("recover").code == 0 }
            try relay.awaitLine(.toClient, containing: #""status": "postcopy-recover""#)
            #expect(
                relay.lines.contains { $0.direction == .toQEMU && $0.line.contains(#""exec-oob":"migrate-recover""#) })
            relay.release()
            try eventually("post-copy again") { try lab.steer("status").output.contains("  postcopy, ") }
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            try drive(lab, path)
        }

        /// The same, and only QEMU knows the port: that is said, and an address with a port will do.
        @Test(Live.wide) func aPortThatNobodyTells() throws {
            let lab = try MigrationLab()
            // QEMU 5.2 takes `migrate-recover` once for each interruption, and refuses it for ever when that failed.
            guard try lab.hasCommand("yank") else { return QEMUPair.current.leavesOut("a second `migrate-recover`") }
            let relay = try lab.relayDestination()
            let run = try inPostcopy(lab)
            #expect(try lab.steer("pause-postcopy").code == 0)
            try run.waitForNote("`godwit recover` goes on with it")
            relay.setRule { $0 == .toQEMU && $1.contains(#""execute":"#) ? .hold : .pass }
            try relay.awaitHeld()
            try eventually("a recovery is taken up") {
                try lab.steer("recover", "--uri", "tcp:127.0.0.1:0").code == 0
            }
            try run.waitForNote("recover over an address with its port, or over a Unix socket", timeout: .seconds(40))
            try eventually("a recovery is taken up") { try lab.steer("recover").code == 0 }
            try relay.awaitLine(.toClient, containing: #""status": "postcopy-recover""#)
            relay.release()
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        /// A recovery that finds no address can be tried again.
        @Test func aRecoveryThatCannotListen() throws {
            let lab = try MigrationLab()
            // QEMU 5.2 takes `migrate-recover` once for each interruption, and refuses it for ever when that failed.
            guard try lab.hasCommand("yank") else { return QEMUPair.current.leavesOut("a second `migrate-recover`") }
            let run = try inPostcopy(lab)
            #expect(try lab.steer("pause-postcopy").code == 0)
            try run.waitForNote("postcopy-paused")
            // Perhaps only one side has noticed yet.
            try eventually("a recovery is taken up") {
                try lab.steer("recover", "--uri", "unix:/no/such/directory/socket").code == 0
            }
            try run.waitForNote("recover is not carried out: the destination cannot listen on unix:/no/such/")
            try eventually("paused again") { try lab.steer("status").output.contains("  postcopy-paused") }
            #expect(try lab.steer("recover").code == 0)
            try eventually("post-copy again") { try lab.steer("status").output.contains("  postcopy, ") }
            #expect(try lab.steer("set", "--max-postcopy-bandwidth", "0").code == 0)
            try expectArrival(lab, try run.finish())
        }

        /// Either process has memory that is nowhere else.
        @Test(arguments: [MigrationLab.Place.source, .destination]) func aQEMUEnds(place: MigrationLab.Place) throws {
            let lab = try MigrationLab()
            let run = try inPostcopy(lab)
            (place == .source ? lab.source : lab.destination).kill()
            let outcome = try run.finish()
            #expect(outcome.code == 15, "\(outcome)")
            #expect(outcome.lines.first == "lost: the guest is gone", "\(outcome)")
        }

        // MARK: Refusals

        @Test(arguments: [
            (["--postcopy", "--paused"], "it cannot stay paused there"),
            (
                ["--postcopy", "--uri", "exec:cat", "--connect-uri", "exec:cat"],
                "post-copy needs a stream with a way back"
            ),
            (["--postcopy", "--postcopy-preempt", "--uri", "fd:stream"], "urgent pages needs an address"),
        ]) func excluded(arguments: [String], why: String) throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(arguments).finish()
            #expect(outcome.output.contains(why), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:", runs: false)
        }
    }
}
