import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// Guests that do not simply run: never started, suspended, panicked, stopped by their disk.
    @Suite struct GuestStates {
        /// One that was never started is not started by being moved.
        @Test(Live.wide) func neverStarted() throws {
            let directory = try LabDirectory()
            let pair = QEMUPair.current
            var options = QEMUProcess.Options(label: "source")
            options.root = pair.source.root
            options.machine = pair.machine
            options.qmpSockets = 2
            var other = options.destination()
            other.root = pair.destination.root
            options.paused = true
            let source = try QEMUProcess.start(options, in: directory)
            let destination = try QEMUProcess.start(other, in: directory)
            let outcome = try Godwit(
                ["migrate", "--source", source.qmpPath, "--destination", destination.qmpPath], in: directory, number: 1
            ).finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("completed: the guest is paused on the destination") == true)
            #expect(["prelaunch", "paused"].contains(try BlockingQMP(destination.secondQMPPath).runState()))
        }

        /// A guest that sleeps arrives asleep where QEMU can do that (9.0), and else awake; in any case it arrives, and no other copy runs.
        @Test(Live.wide) func suspended() throws {
            let lab = try MigrationLab(lastHeartbeat: 6, lastAct: .suspend)
            try eventually("suspended") { try lab.sourceMonitor.runState() == "suspended" }
            let outcome = try lab.migrate(["--keep-source"]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            let there = try lab.destinationMonitor.runState()
            #expect(["suspended", "running", "paused"].contains(there))
            #expect(try lab.sourceMonitor.runState() == "postmigrate")
        }

        /// A guest that panics ends its QEMU, as a guest does that powers itself off.
        @Test(Live.wide) func panickedOnTheWay() throws {
            let lab = try MigrationLab(beat: 50, lastHeartbeat: 25, lastAct: .panic, extra: ["-device", "pvpanic"])
            let run = try lab.migrateSlowly()
            let outcome = try run.finish()
            #expect(outcome.code == 16, "\(outcome)")
            #expect(lab.source.waitForExit(timeout: .seconds(5)) != nil)
            try lab.expectDestinationEnded()
        }

        /// A disk with an error under its first sector, which stops the guest that reads it.
        private static let badDisk = [
            "-blockdev",
            "driver=raw,node-name=bad,file.driver=blkdebug,file.image.driver=null-co,file.image.size=1048576,"
                + "file.inject-error.0.event=read_aio",
            "-device", "ide-hd,drive=bad,bus=ide.0,rerror=stop,werror=stop",
        ]

        @Test func theDiskFails() throws {
            let lab = try MigrationLab(beat: 50, lastHeartbeat: 25, lastAct: .readDisk, extra: Self.badDisk)
            let path = lab.directory.file("disk.qmptrace")
            let run = try lab.migrateSlowly(["--abort-on-error", "--trace", path])
            try lab.sourceMonitor.waitForEvent("BLOCK_IO_ERROR")
            let outcome = try run.finish()
            #expect(outcome.output.contains("an error of its disk stopped the guest"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest is paused on the source", runs: false)
            #expect(try lab.sourceMonitor.runState() == "io-error")
            try lab.expectDestinationEnded()
            let replay = try lab.godwit("replay", "--drive", path).finish()
            #expect(replay.code == 0, "\(replay)")
        }

        /// Without the option it goes on: where it arrives the disk may be better.
        @Test(Live.wide) func theDiskFailsAndItGoesOn() throws {
            let lab = try MigrationLab(beat: 50, lastHeartbeat: 25, lastAct: .readDisk, extra: Self.badDisk)
            let run = try lab.migrateSlowly(["--keep-source"])
            try lab.sourceMonitor.waitForEvent("BLOCK_IO_ERROR")
            #expect(try lab.steer("set", "--bandwidth", "1GiB").code == 0)
            let outcome = try run.finish()
            #expect([0, 12, 14].contains(outcome.code), "\(outcome)")
            #expect(try lab.sourceMonitor.runState() != "running")
        }
    }
}
