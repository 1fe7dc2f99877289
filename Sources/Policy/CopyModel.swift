import Migration

/// A guest that dirties memory while QEMU copies it, as a model.
///
/// QEMU's side is its own rule: a pass ends when no more is left than can be sent within the downtime limit; then what was
/// dirtied meanwhile is added, and if even that can be sent within the limit, it switches over. The guest's side is
/// assumed: it dirties evenly, never more than its working set between two passes, and half as fast when throttled by half.
/// There are no zero pages, no compression, and the bandwidth is what was said.
public struct CopyModel: Hashable, Sendable {
    /// How fast the guest dirties memory from a time on.
    public struct Load: Hashable, Sendable {
        /// Milliseconds since `migrate`.
        public var fromMilliseconds: Int64
        /// Bytes each second.
        public var bytesPerSecond: Double

        /// A load.
        public init(fromMilliseconds: Int64, bytesPerSecond: Double) {
            self.fromMilliseconds = fromMilliseconds
            self.bytesPerSecond = bytesPerSecond
        }
    }

    /// Bytes of guest memory.
    public private(set) var memoryBytes: Double
    /// What the network carries, in bytes each second.
    public var bandwidthBytesPerSecond: Double
    /// Bytes that the guest writes over and over.
    public var workingSetBytes: Double
    /// What the guest does, in the order of the times; before the first it dirties nothing.
    public var loads: [Load]
    /// After which time the loads begin anew, in milliseconds; `nil` if the last one stays.
    public var periodMilliseconds: Int64?
    /// By how much of it the load changes at random ten times a second, up or down.
    public var jitter = 0.0
    /// What the random changes begin with.
    public var seed: UInt64 = 1
    /// What saving and loading the devices adds to every pause, in milliseconds.
    public var deviceMilliseconds = 20.0
    /// When the model gives up looking, in milliseconds.
    public var horizonMilliseconds: Int64 = 3_600_000
    /// What the policy knows beforehand.
    public var context = PolicyContext()

    static let stepMilliseconds: Int64 = 100

    /// A guest that dirties evenly.
    public init(memoryBytes: Double, bandwidthBytesPerSecond: Double, dirtyBytesPerSecond: Double) {
        // Beyond that no whole number tells them.
        self.memoryBytes = min(max(0, memoryBytes), 9e18)
        self.bandwidthBytesPerSecond = bandwidthBytesPerSecond
        workingSetBytes = memoryBytes
        loads = [Load(fromMilliseconds: 0, bytesPerSecond: dirtyBytesPerSecond)]
    }

    /// Bytes dirtied each second at a time, without jitter.
    func load(at milliseconds: Int64) -> Double {
        var time = milliseconds
        if let periodMilliseconds, periodMilliseconds > 0 { time %= periodMilliseconds }
        return loads.last { $0.fromMilliseconds <= time }.map { max(0, $0.bytesPerSecond) } ?? 0
    }

    /// Lets a policy steer it to its end.
    public func run(_ policy: ConvergencePolicy) -> PolicyTrial {
        var run = CopyRun(model: self, policy: policy)
        return run.trial()
    }
}

/// One run of the model.
private struct CopyRun {
    let model: CopyModel
    var engine: PolicyEngine
    var result: PolicyTrial
    let hasAutoConverge: Bool

    /// Milliseconds since `migrate`.
    var time = 0.0
    var pending: Double
    var dirtied = 0.0
    var transferred = 0.0
    var iteration: Int64 = 1
    var throttle: Int64 = 0
    var lastSync = (time: 0.0, transferred: 0.0)
    var measured: Double?
    var dirtySinceMeasure = 0.0
    var expected: Int64?
    /// How many periods in a row more than half of what was sent was dirtied.
    var busyPeriods = 0
    var pausedAt: Double?
    var random: SplitMix

    init(model: CopyModel, policy: ConvergencePolicy) {
        self.model = model
        engine = PolicyEngine(policy, context: model.context)
        result = PolicyTrial(policy: policy.name)
        hasAutoConverge = policy.capabilities.contains { $0.name == "auto-converge" && $0.isOn }
        pending = max(0, model.memoryBytes)
        random = SplitMix(state: model.seed)
    }

    var bandwidth: Double {
        let limit = Double(engine.context.bandwidthLimitBytesPerSecond)
        return max(1, limit > 0 ? min(limit, model.bandwidthBytesPerSecond) : model.bandwidthBytesPerSecond)
    }

    mutating func trial() -> PolicyTrial {
        while Int64(time) < model.horizonMilliseconds {
            guard look() else { return result }
            guard step() else { return result }
        }
        conclude(.unfinished, "still copying at the end of the time given")
        return result
    }

    /// Lets the policy look; returns whether the copying goes on.
    private mutating func look() -> Bool {
        var sample = PolicySample(elapsedMilliseconds: Int64(time))
        sample.memoryBytes = Int64(model.memoryBytes)
        sample.remainingBytes = Int64(pending)
        sample.transferredBytes = Int64(min(transferred, 9e18))
        sample.dirtyBytesPerSecond = measured
        sample.bandwidthBytesPerSecond = time > 0 ? bandwidth : nil
        sample.iteration = iteration
        sample.expectedDowntimeMilliseconds = expected
        sample.throttlePercentage = throttle
        let decisions = engine.apply(.sample(sample))
        result.note(
            PolicyTrial.Point(
                elapsedMilliseconds: Int64(time), remainingBytes: Int64(pending),
                downtimeMilliseconds: engine.context.downtimeMilliseconds))
        for decision in decisions {
            result.note(decision)
            switch decision.effect {
            case .setThrottle(let percent): throttle = percent
            case .pauseGuest: pausedAt = time
            case .cancel(let why):
                conclude(.cancelled, why)
                return false
            case .startPostcopy:
                let rest = pending + dirtied
                result.pauseMilliseconds = Int64(model.deviceMilliseconds.rounded(.up))
                transferred += rest
                time += rest / bandwidth * 1000 + model.deviceMilliseconds
                conclude(.postcopy, "the rest follows while the guest runs on the destination")
                return false
            case .setDowntime, .setBandwidth, .hardSwitchover, .note: break
            }
        }
        result.maximumThrottle = max(result.maximumThrottle, throttle)
        return true
    }

    /// Copies until the next look; returns whether the copying goes on.
    private mutating func step() -> Bool {
        var left = Double(CopyModel.stepMilliseconds)
        let noise = model.jitter > 0 ? 1 + model.jitter * random.signedUnit() : 1
        let load = model.load(at: Int64(time)) * max(0, noise)
        while left > 0 {
            let threshold = bandwidth * Double(engine.context.downtimeMilliseconds) / 1000
            let untilSync = max(1, (pending - threshold) / bandwidth * 1000)
            let span = min(left, untilSync)
            let rate = pausedAt == nil ? load * Double(100 - throttle) / 100 : 0
            let sent = min(pending, bandwidth * span / 1000)
            pending -= sent
            transferred += sent
            let before = dirtied
            dirtied = min(dirtied + rate * span / 1000, model.workingSetBytes)
            dirtySinceMeasure += dirtied - before
            time += span
            left -= span
            if pending <= threshold, !synchronise(threshold) { return false }
        }
        return true
    }

    /// Adds what was dirtied; returns whether the copying goes on.
    private mutating func synchronise(_ threshold: Double) -> Bool {
        iteration += 1
        // What is still to be sent and dirtied again counts once.
        pending = min(pending + dirtied, max(pending, model.workingSetBytes))
        dirtied = 0
        measure()
        if measured != nil { expected = Int64(min(pending / bandwidth * 1000, 9e15)) }
        guard pending <= threshold else { return true }
        let rest = pending / bandwidth * 1000 + model.deviceMilliseconds
        transferred += pending
        time += rest
        result.pauseMilliseconds = Int64((pausedAt.map { time - $0 } ?? rest).rounded(.up))
        if pausedAt != nil {
            conclude(.paused, "the guest was paused, the rest followed")
        } else if engine.isHard {
            conclude(.forced, "QEMU was made to switch over")
        } else {
            conclude(.converged, "what was left fitted the downtime limit")
        }
        return false
    }

    /// As QEMU does it: not more often than once a second, and what auto-converge makes of it.
    private mutating func measure() {
        let period = time - lastSync.time
        guard period >= 1000 else { return }
        measured = dirtySinceMeasure / period * 1000
        if hasAutoConverge {
            busyPeriods = dirtySinceMeasure > (transferred - lastSync.transferred) / 2 ? busyPeriods + 1 : 0
            if busyPeriods >= 2 {
                busyPeriods = 0
                throttle = throttle == 0 ? 20 : min(99, throttle + 10)
            }
        }
        lastSync = (time, transferred)
        dirtySinceMeasure = 0
    }

    private mutating func conclude(_ verdict: PolicyTrial.Verdict, _ basis: String) {
        result.verdict = verdict
        result.basis = basis
        result.elapsedMilliseconds = Int64(min(time, 9e15).rounded(.up))
        result.downtimeMilliseconds = engine.context.downtimeMilliseconds
        result.iterations = iteration
        result.transferredBytes = Int64(min(transferred, 9e18))
        let isArrived = verdict != .cancelled && verdict != .unfinished
        result.note(
            PolicyTrial.Point(
                elapsedMilliseconds: result.elapsedMilliseconds, remainingBytes: isArrived ? 0 : Int64(pending),
                downtimeMilliseconds: result.downtimeMilliseconds))
    }
}

/// Numbers that look random and are the same each time (Steele, Lea, Flood: SplitMix64).
private struct SplitMix {
    var state: UInt64

    /// From -1 to 1.
    mutating func signedUnit() -> Double {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed &>> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed &>> 31
        return Double(mixed &>> 11) / Double(1 << 52) - 1
    }
}
