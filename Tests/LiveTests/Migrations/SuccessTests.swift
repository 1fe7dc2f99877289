import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationTests {
    @Suite struct Success {
        private func expectArrival(_ lab: MigrationLab, _ outcome: Godwit.Outcome) throws {
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.lines.first == "completed: the guest runs on the destination (\(lab.destination.qmpPath))")
            #expect(outcome.output.contains("total "))
            #expect(outcome.output.contains("downtime "))
            #expect(outcome.output.contains(" of it ours"))
            try lab.expectGuest(runsOn: .destination)
            #expect(lab.source.waitForExit(timeout: .seconds(5)) == .exited(0))
        }

        @Test(arguments: [nil, "tcp:127.0.0.1:0", "unix:/tmp"]) func theGuestGoesOn(uri: String?) throws {
            let lab = try MigrationLab(rate: 20)
            let before = try MigrationLab.settings(lab.destinationMonitor)
            let arguments: [String] =
                switch uri {
                case nil: []
                case "unix:/tmp": ["--uri", "unix:\(lab.directory.file("stream"))"]
                case let uri?: ["--uri", uri]
                }
            try expectArrival(lab, try lab.migrate(arguments).finish())
            #expect(try MigrationLab.settings(lab.destinationMonitor) == before)
            #expect(names(in: lab.directory.file("state")).isEmpty, "a journal of nothing left to find out")
            #expect(!names(in: lab.directory.path).contains { $0.hasSuffix(".sock") })
        }

        /// A missing `-S` cannot be seen from outside; QEMU would run the guest by itself, before anybody has decided that it may.
        @Test func aDestinationStartedWithoutS() throws {
            let lab = try MigrationLab { $0.paused = false }
            let relay = try lab.relaySource()
            relay.hold(from: #""status": "completed""#)
            let run = try lab.migrate()
            try relay.awaitHeld()
            try lab.destinationMonitor.waitForMigration("completed")
            #expect(try lab.destinationMonitor.runState() == "paused")
            #expect(lab.destination.heartbeatLog().bytes.isEmpty)
            relay.release()
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        @Test func aPausedGuestArrivesPaused() throws {
            let lab = try MigrationLab()
            try lab.sourceMonitor.execute("stop")
            let outcome = try lab.migrate().finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("completed: the guest is paused on the destination") == true)
            try lab.expectGuest(pausedOn: .destination)
        }

        @Test func onRequestARunningGuestArrivesPaused() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(["--paused"]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("completed: the guest is paused on the destination") == true)
            try lab.expectGuest(pausedOn: .destination)
        }

        /// Somebody else's pause on the way is the guest's state, and arrives with it.
        @Test(Live.wide) func aGuestPausedOnTheWayArrivesPaused() throws {
            let lab = try MigrationLab()
            let run = try lab.migrate(["--bandwidth", "16MiB"])
            try lab.waitUntilCopying()
            try lab.sourceMonitor.execute("stop")
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(pausedOn: .destination)
        }

        @Test func theSourceCanBeKept() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(["--keep-source"]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.output.contains("kept in postmigrate: `cont` there would run the guest twice"))
            #expect(lab.source.status == nil)
            #expect(try lab.sourceMonitor.runState() == "postmigrate")
            try lab.expectSettingsRestored()
            try lab.expectGuest(runsOn: .destination)
        }

        /// The stop is the deadline's, not the user's: the guest is told to run when it has arrived.
        @Test func aGuestThatNeverConvergesIsPausedInTime() throws {
            let lab = try MigrationLab(rate: GuestImage.unlimitedRate, dirtyMiB: 32)
            let limits = ["--bandwidth", "64MiB", "--downtime-limit", "10ms"]
            let outcome = try lab.migrate(limits + ["--timeout", "1500ms", "--timeout-action", "pause-guest"]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("completed: the guest runs on the destination") == true)
            try lab.expectGuest(runsOn: .destination)
        }

        /// There and on: a destination of one migration is the source of the next.
        @Test(Live.wide) func aGuestThatArrivedCanMoveOn() throws {
            let lab = try MigrationLab()
            #expect(try lab.migrate().finish().code == 0)
            try lab.expectGuest(runsOn: .destination)
            let third = try QEMUProcess.start(lab.options.destination(label: "third"), in: lab.directory)
            let outcome = try lab.godwit("migrate", "--source", lab.destination.qmpPath, "--destination", third.qmpPath)
                .finish()
            #expect(outcome.code == 0, "\(outcome)")
            let last = try #require(lab.destination.heartbeats().last?.number)
            try third.waitForHeartbeat(after: last + 3)
            let found = HeartbeatLog.continuity(
                source: lab.destination.heartbeatLog(), destination: third.heartbeatLog())
            #expect(found.isUnbroken, "\(found)")
        }

        /// A machine with a bit of everything is equal to its like.
        @Test(Live.wide) func aRichMachine() throws {
            let directory = try LabDirectory()
            let image = try GuestImage.build(in: directory.path)
            var options = QEMUProcess.Options(label: "source", image: image)
            options.machine = "q35"
            options.cpu = "qemu64,+ssse3"
            options.processors = 2
            options.uuid = "5f7ad2f6-2cf5-4d43-9a70-3b0b55c0a001"
            options.extraArguments = [
                "-object", "memory-backend-ram,id=ram,size=128M", "-machine", "memory-backend=ram",
                "-device", "pcie-root-port,id=slot1,chassis=1", "-object", "rng-builtin,id=rng",
                "-device", "virtio-rng-pci,bus=slot1,rng=rng", "-device", "virtio-balloon-pci",
                "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,mac=52:54:00:12:34:56",
                "-device", "nec-usb-xhci,id=usb", "-device", "usb-tablet", "-device", "virtio-scsi-pci,id=scsi",
                "-blockdev", "driver=null-co,node-name=nothing,size=1048576", "-device",
                "scsi-hd,drive=nothing,bus=scsi.0",
                "-device", "virtio-serial-pci", "-chardev", "null,id=channel",
                "-device", "virtserialport,chardev=channel,name=org.example.0",
            ]
            let source = try QEMUProcess.start(options, in: directory)
            let destination = try QEMUProcess.start(options.destination(), in: directory)
            try source.waitForHeartbeat(after: 2)
            let arguments = ["migrate", "--source", source.qmpPath, "--destination", destination.qmpPath]
            let outcome = try Godwit(arguments, in: directory, number: 1).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try destination.waitForHeartbeat(after: (source.heartbeats().last?.number ?? 0) + 3)
            let found = HeartbeatLog.continuity(source: source.heartbeatLog(), destination: destination.heartbeatLog())
            #expect(found.isUnbroken, "\(found)")
        }

        /// Monitors that write their messages over several lines.
        @Test(Live.wide) func prettyMonitors() throws {
            let directory = try LabDirectory()
            let image = try GuestImage.build(in: directory.path)
            var options = QEMUProcess.Options(label: "source", image: image)
            options.prettyQMP = true
            let source = try QEMUProcess.start(options, in: directory)
            let destination = try QEMUProcess.start(options.destination(), in: directory)
            try source.waitForHeartbeat(after: 2)
            let trace = directory.file("pretty.qmptrace")
            let arguments = ["migrate", "--source", source.qmpPath, "--destination", destination.qmpPath]
            let outcome = try Godwit(arguments + ["--trace", trace], in: directory, number: 1).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try destination.waitForHeartbeat(after: (source.heartbeats().last?.number ?? 0) + 3)
            #expect(try readTrace(trace).lastStatus == "completed")
        }
    }
}
