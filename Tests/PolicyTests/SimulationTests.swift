import Migration
import Policy
import PolicyDocuments
import Testing

@Suite("The model")
struct CopyModelTests {
    @Test("a guest that writes nothing arrives after one pass, with a pause within the limit")
    func idle() throws {
        let model = CopyModel(memoryBytes: 1e9, bandwidthBytesPerSecond: 1e8, dirtyBytesPerSecond: 0)
        let trial = model.run(try named("none"))
        #expect(trial.verdict == .converged)
        // All but the last 300 ms are sent, then the guest stands still for the rest and 20 ms of devices.
        #expect(trial.pauseMilliseconds == 320)
        #expect((10_020...10_022).contains(trial.elapsedMilliseconds))
        #expect((999_999_990...1_000_000_000).contains(trial.transferredBytes))
        #expect(trial.iterations == 2)
    }

    @Test("half the bandwidth dirtied: the sum is that of the geometric series")
    func geometric() throws {
        var model = CopyModel(memoryBytes: 1e9, bandwidthBytesPerSecond: 1e8, dirtyBytesPerSecond: 5e7)
        model.context.downtimeMilliseconds = 0
        model.deviceMilliseconds = 0
        let trial = model.run(try named("none"))
        // Without an allowed pause it is sent until nothing is left; the model looks each millisecond then.
        #expect(trial.verdict == .unfinished || (19_500...20_100).contains(trial.elapsedMilliseconds))
        model.context.downtimeMilliseconds = 10
        let second = model.run(try named("none"))
        #expect(second.verdict == .converged)
        #expect((19_500...20_100).contains(second.elapsedMilliseconds))
        #expect(second.pauseMilliseconds.map { $0 <= 11 } == true)
    }

    @Test("more dirtied than sent never converges by itself; a pause, a price or post-copy ends it")
    func overloaded() throws {
        var model = CopyModel(memoryBytes: 1e9, bandwidthBytesPerSecond: 1e8, dirtyBytesPerSecond: 2e8)
        model.horizonMilliseconds = 300_000
        #expect(model.run(try named("none")).verdict == .unfinished)
        let paused = model.run(try named("virsh-timeout-suspend"))
        #expect(paused.verdict == .paused)
        let pause = try #require(paused.pauseMilliseconds)
        #expect(paused.elapsedMilliseconds - pause == 60_000)
        // Not more than all of the memory twice: what was left and what had been dirtied since.
        #expect((1_000...20_100).contains(pause))
        model.context.isPostcopyPossible = true
        let postcopy = model.run(try named("virsh-postcopy-after-precopy"))
        #expect(postcopy.verdict == .postcopy)
        #expect(postcopy.pauseMilliseconds == 20)
        #expect(model.run(try named("kubevirt-stall", ["allowDisruption": "1"])).verdict == .forced)
    }

    @Test("the limit is kept to, whatever the policy", arguments: NamedPolicies.all.map(\.name))
    func limits(_ name: String) throws {
        var model = CopyModel(memoryBytes: 4e9, bandwidthBytesPerSecond: 1e9, dirtyBytesPerSecond: 7e8)
        model.jitter = 0.3
        model.horizonMilliseconds = 600_000
        let trial = model.run(try named(name))
        if trial.verdict == .converged {
            let pause = try #require(trial.pauseMilliseconds)
            #expect(pause <= trial.downtimeMilliseconds + 21)
        }
        #expect(trial == model.run(try named(name)), "the same twice")
        #expect(
            zip(trial.curve, trial.curve.dropFirst()).allSatisfy { $0.elapsedMilliseconds <= $1.elapsedMilliseconds })
    }

    @Test("auto-converge holds the guest back until it converges, and only where the policy wants it")
    func autoConverge() throws {
        let model = CopyModel(memoryBytes: 4e9, bandwidthBytesPerSecond: 1e9, dirtyBytesPerSecond: 1.5e9)
        let trial = model.run(try named("proxmox"))
        #expect(trial.verdict == .converged)
        #expect(trial.maximumThrottle >= 20)
        #expect(model.run(try named("kubevirt-stall")).maximumThrottle == 0)
    }

    @Test("a calm time is used, and another seed is another run")
    func loads() throws {
        var model = CopyModel(memoryBytes: 4e9, bandwidthBytesPerSecond: 1e9, dirtyBytesPerSecond: 2e9)
        model.loads.append(.init(fromMilliseconds: 60_000, bytesPerSecond: 0))
        let trial = model.run(try named("none"))
        #expect(trial.verdict == .converged)
        #expect(trial.elapsedMilliseconds > 60_000)
        model.loads = [.init(fromMilliseconds: 0, bytesPerSecond: 9e8)]
        model.jitter = 0.5
        let first = model.run(try named("none"))
        model.seed = 2
        #expect(first.curve != model.run(try named("none")).curve)
    }
}

@Suite("Looking at a recording again")
struct RecordedCopyTests {
    /// A copying that stalls at half a second of pause; the limit of 300 ms is raised to 1 s after 50 s.
    private static func recording(end: Int64 = 60_000) -> RecordedCopy {
        let moments = (0...59).map { second -> RecordedCopy.Moment in
            var sample = PolicySample(elapsedMilliseconds: Int64(second) * 1000)
            sample.memoryBytes = 4_000_000_000
            sample.remainingBytes = second < 4 ? 4_000_000_000 - Int64(second) * 1_000_000_000 : 500_000_000
            sample.transferredBytes = Int64(second) * 1_000_000_000
            sample.bandwidthBytesPerSecond = 1e9
            sample.dirtyBytesPerSecond = second < 4 ? nil : 1e9
            sample.expectedDowntimeMilliseconds = second < 4 ? nil : 500
            sample.iteration = second < 4 ? 1 : Int64(second - 2)
            return .init(input: .sample(sample), limitMilliseconds: 300)
        }
        return RecordedCopy(moments: moments, switchoverMilliseconds: nil, endMilliseconds: end)
    }

    @Test("a higher limit would have converged at the first moment that it allows")
    func higher() throws {
        let policy = try named("kubevirt-legacy", ["tuneDowntime": "1", "initialDowntime": "\"400ms\""])
        let trial = Self.recording().run(policy)
        #expect(trial.verdict == .converged)
        #expect(trial.pauseMilliseconds == 500)
        #expect(trial.downtimeMilliseconds == 542, "400 ms and two steps of 71 ms, ten seconds apart")
        #expect(trial.elapsedMilliseconds == 20_500)
    }

    @Test("no other limit: as recorded, to its end")
    func same() throws {
        var recording = Self.recording()
        #expect(recording.run(try named("none")).verdict == .unfinished)
        #expect(recording.run(try named("none")).elapsedMilliseconds == 60_000)
        recording.switchoverMilliseconds = 55_000
        recording.downtimeMilliseconds = 280
        let trial = recording.run(try named("none"))
        #expect(trial.verdict == .converged)
        #expect(trial.elapsedMilliseconds == 55_000)
        #expect(trial.pauseMilliseconds == 280)
    }

    @Test("what a recording cannot tell is unknown: a lower limit at the end, another bandwidth, a throttle, post-copy")
    func unknown() throws {
        var recording = Self.recording()
        recording.switchoverMilliseconds = 55_000
        #expect(recording.run(try named("ovirt-minimal-downtime")).verdict != .unfinished)
        #expect(recording.run(try named("proxmox")).verdict == .unknown)
        let ganeti = recording.run(try named("ganeti"))
        #expect(ganeti.verdict == .unknown)
        #expect(ganeti.elapsedMilliseconds == 0)
        #expect(ganeti.basis.contains("bandwidth"))
        recording.postcopyMilliseconds = 30_000
        let trial = recording.run(try named("none"))
        #expect(trial.verdict == .unknown)
        #expect(trial.elapsedMilliseconds == 30_000)
    }

    @Test("ends that are asked for: the rest at the measured bandwidth")
    func ends() throws {
        var recording = Self.recording()
        let paused = recording.run(try named("virsh-timeout-suspend", ["timeoutAfter": "\"10s\""]))
        #expect(paused.verdict == .paused)
        #expect(paused.pauseMilliseconds == 500)
        #expect(paused.elapsedMilliseconds == 10_500)
        recording.context.isPostcopyPossible = true
        let postcopy = recording.run(try named("virsh-postcopy-after-precopy"))
        #expect(postcopy.verdict == .postcopy)
        #expect(postcopy.elapsedMilliseconds == 4_500)
    }

    @Test("a model takes its numbers, and only those of later passes")
    func fitted() throws {
        let model = try #require(Self.recording().model)
        #expect(model.memoryBytes == 4e9)
        #expect(model.bandwidthBytesPerSecond == 1e9)
        #expect(model.workingSetBytes == 5e8)
        #expect(model.loads == [.init(fromMilliseconds: 0, bytesPerSecond: 1e9)])
        var heldBack = Self.recording()
        for index in heldBack.moments.indices.dropFirst(10) {
            guard case .sample(var sample) = heldBack.moments[index].input else { continue }
            sample.throttlePercentage = 50
            sample.dirtyBytesPerSecond = 4e8
            heldBack.moments[index].input = .sample(sample)
        }
        #expect(heldBack.model?.loads == model.loads, "it would write as before")
        var short = Self.recording()
        short.moments.removeLast(56)
        #expect(short.model == nil)
    }
}
