import GuestLab
import JSONC
import Testing

/// Migrations by hand, with the blocking client alone: what the guest and the two QEMUs do when nothing of ours is in between.
@Suite(.serialized, Live.available) struct ManualMigrationTests {
    private struct Pair: Sendable {
        let directory: LabDirectory
        let source: QEMUProcess
        let destination: QEMUProcess

        init(rate: Int) throws {
            directory = try LabDirectory()
            let image = try GuestImage.build(in: directory.path, dirtyMiBPerSecond: rate, heartbeatMilliseconds: 10)
            let options = QEMUProcess.Options(label: "source", image: image)
            source = try QEMUProcess.start(options, in: directory)
            destination = try QEMUProcess.start(options.destination(), in: directory)
            try source.waitForHeartbeat(after: 5)
        }

        var continuity: HeartbeatContinuity {
            HeartbeatLog.continuity(source: source.heartbeatLog(), destination: destination.heartbeatLog())
        }

        /// Up to the point where the source is in `pre-switchover` (or wherever `status` says).
        func begin(_ source: BlockingQMP, _ destination: BlockingQMP) throws {
            try source.enable("events", "return-path", "pause-before-switchover")
            try destination.enable("events", "return-path", "late-block-activate")
            let uri = "unix:" + directory.file("migration")
            try destination.execute("migrate-incoming", ["uri": .string(uri)])
            try source.execute("migrate", ["uri": .string(uri)])
        }
    }

    @Test(arguments: [0, 20, 100])
    func theGuestGoesOnAndLosesNothing(rate: Int) async throws {
        try await onThread {
            let pair = try Pair(rate: rate)
            let source = try BlockingQMP(pair.source.qmpPath)
            let destination = try BlockingQMP(pair.destination.qmpPath)
            try pair.begin(source, destination)
            try source.waitForMigration("pre-switchover")
            try source.execute("migrate-continue", ["state": "pre-switchover"])
            try source.waitForMigration("completed")
            try destination.waitForMigration("completed")
            try source.waitForRunState("postmigrate")
            try destination.waitForRunState("paused")
            #expect(pair.destination.heartbeats().isEmpty)
            try destination.execute("cont")

            let last = try #require(pair.source.heartbeats().last?.number)
            // Long enough for the guest to pass over its range and to check all that came.
            try pair.destination.waitForHeartbeat(after: last + 200)
            let found = pair.continuity
            #expect(found.isUnbroken, "\(found)")
            #expect(found.firstOnDestination == last + 1)
            let information = try source.execute("query-migrate")
            print("rate \(rate) MiB/s: \(found)")
            print(
                "  total \(information["total-time"] ?? .null) ms, downtime \(information["downtime"] ?? .null) ms,",
                "transferred \(information["ram"]?["transferred"] ?? .null), passes",
                "\(information["ram"]?["dirty-sync-count"] ?? .null), mbps \(information["ram"]?["mbps"] ?? .null)"
            )
            try source.quit()
            #expect(pair.source.waitForExit(timeout: .seconds(10)) == .exited(0))
        }
    }

    @Test func aGuestThatNeverStopsWritingNeverConverges() async throws {
        try await onThread {
            let pair = try Pair(rate: GuestImage.unlimitedRate)
            let source = try BlockingQMP(pair.source.qmpPath)
            let destination = try BlockingQMP(pair.destination.qmpPath)
            try source.execute("migrate-set-parameters", ["max-bandwidth": 209_715_200, "downtime-limit": 20])
            try pair.begin(source, destination)
            let information = try source.pollMigration { ($0["ram"]?["dirty-sync-count"]?.int64 ?? 0) >= 6 }
            #expect(information["status"] == "active")
            try source.execute("migrate_cancel")
            // QEMU 7.2 shuts the return path down before it says `cancelling`; whoever sees that first decides on the last word.
            try source.waitForEvent("MIGRATION") { ["cancelled", "failed"].contains($0["status"]?.string) }
            #expect(try source.runState() == "running")
            let last = try #require(pair.source.heartbeats().last?.number)
            try pair.source.waitForHeartbeat(after: last + 20)
            #expect(pair.continuity.isUnbroken)
            #expect(pair.continuity.firstOnDestination == nil)
            print("never converges: \(information["ram"] ?? .null)")
        }
    }

    /// Two QEMUs that both run are what the heartbeats are there to tell.
    @Test func aGuestThatRunsTwiceIsSeen() async throws {
        try await onThread {
            let pair = try Pair(rate: 0)
            let source = try BlockingQMP(pair.source.qmpPath)
            let destination = try BlockingQMP(pair.destination.qmpPath)
            try pair.begin(source, destination)
            try source.waitForMigration("pre-switchover")
            try source.execute("migrate-continue", ["state": "pre-switchover"])
            try source.waitForMigration("completed")
            try destination.waitForMigration("completed")
            let last = try #require(pair.source.heartbeats().last?.number)
            try destination.execute("cont")
            try source.execute("cont")
            try pair.source.waitForHeartbeat(after: last + 5)
            try pair.destination.waitForHeartbeat(after: last + 5)
            #expect(!pair.continuity.isUnbroken)
            #expect(pair.continuity.repeated.contains(last + 1))
        }
    }
}
