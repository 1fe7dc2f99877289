public import Migration

/// A copying as it was recorded, to be looked at again by a policy.
///
/// A recording tells what would have been with another downtime limit, as a limit changes nothing before the switchover.
/// It cannot tell what another bandwidth or throttle would have done: from such a decision on the verdict is unknown.
public struct RecordedCopy: Hashable, Sendable {
    /// What was told at one moment.
    public struct Moment: Hashable, Sendable {
        /// What was told.
        public var input: PolicyInput
        /// The downtime limit in force in the recording, in milliseconds.
        public var limitMilliseconds: Int64

        /// A moment.
        public init(input: PolicyInput, limitMilliseconds: Int64) {
            self.input = input
            self.limitMilliseconds = limitMilliseconds
        }
    }

    private static let maximumLoads = 1000

    /// What was told, in order.
    public var moments: [Moment]
    /// When QEMU switched over by its own limit, in milliseconds since `migrate`; `nil` if it did not.
    public var switchoverMilliseconds: Int64?
    /// When it went over to post-copy, in milliseconds since `migrate`; `nil` if it did not.
    public var postcopyMilliseconds: Int64?
    /// The pause as QEMU counted it, in milliseconds.
    public var downtimeMilliseconds: Int64?
    /// When the recorded attempt ended or the recording does, in milliseconds since `migrate`.
    public var endMilliseconds: Int64
    /// What was known beforehand.
    public var context: PolicyContext
    /// What was switched on.
    public var capabilities: [CapabilitySetting]

    /// A recording.
    public init(
        moments: [Moment], switchoverMilliseconds: Int64?, postcopyMilliseconds: Int64? = nil,
        downtimeMilliseconds: Int64? = nil, endMilliseconds: Int64, context: PolicyContext = .init(),
        capabilities: [CapabilitySetting] = []
    ) {
        self.moments = moments
        self.switchoverMilliseconds = switchoverMilliseconds
        self.postcopyMilliseconds = postcopyMilliseconds
        self.downtimeMilliseconds = downtimeMilliseconds
        self.endMilliseconds = endMilliseconds
        self.context = context
        self.capabilities = capabilities
    }

    /// The samples, in order.
    public var samples: [PolicySample] {
        moments.compactMap { if case .sample(let sample) = $0.input { sample } else { nil } }
    }

    /// The middle of the bandwidths that were measured, in bytes each second; `nil` if none was.
    public var medianBandwidthBytesPerSecond: Double? {
        let measured = samples.compactMap(\.bandwidthBytesPerSecond).filter { $0 > 0 }.sorted()
        return measured.isEmpty ? nil : measured[measured.count / 2]
    }

    /// A model with the recording's numbers, which tells what a recording cannot; `nil` if too few were recorded.
    ///
    /// The guest is assumed to go on as it was last seen, the bandwidth to be the middle of what was measured, and the
    /// working set to be the most that was left after the first pass.
    public var model: CopyModel? {
        guard let memory = samples.compactMap(\.memoryBytes).max(), let bandwidth = medianBandwidthBytesPerSecond
        else { return nil }
        var loads: [CopyModel.Load] = []
        for sample in samples {
            // The number is old until the first pass is over.
            guard let dirty = sample.dirtyBytesPerSecond, sample.iteration ?? 0 >= 2 else { continue }
            // A guest that is held back would write at least as it did before.
            let isHeldBack = (sample.throttlePercentage ?? 0) > 0
            let free = isHeldBack ? max(dirty, loads.last?.bytesPerSecond ?? 0) : dirty
            if loads.last?.bytesPerSecond != free, loads.count < Self.maximumLoads {
                loads.append(
                    CopyModel.Load(
                        fromMilliseconds: loads.isEmpty ? 0 : sample.elapsedMilliseconds, bytesPerSecond: free))
            }
        }
        guard !loads.isEmpty else { return nil }
        var model = CopyModel(
            memoryBytes: Double(memory), bandwidthBytesPerSecond: bandwidth, dirtyBytesPerSecond: 0)
        model.loads = loads
        let left = samples.filter { $0.iteration ?? 0 >= 2 }.compactMap(\.remainingBytes).max()
        if let left, left > 0 { model.workingSetBytes = Double(min(left, memory)) }
        model.context = context
        // What the network carries was measured, whatever limit there was.
        model.context.bandwidthLimitBytesPerSecond = 0
        return model
    }

    /// Lets a policy look at what was recorded.
    public func run(_ policy: ConvergencePolicy) -> PolicyTrial {
        var run = RecordedRun(copy: self, policy: policy)
        return run.trial()
    }
}

/// One look at a recording.
private struct RecordedRun {
    let copy: RecordedCopy
    var engine: PolicyEngine
    var result: PolicyTrial

    init(copy: RecordedCopy, policy: ConvergencePolicy) {
        self.copy = copy
        engine = PolicyEngine(policy, context: copy.context)
        result = PolicyTrial(policy: policy.name)
    }

    mutating func trial() -> PolicyTrial {
        for moment in copy.moments {
            if let switchover = copy.switchoverMilliseconds, moment.time >= switchover {
                follow(switchover, moment)
                return result
            }
            if let postcopy = copy.postcopyMilliseconds, moment.time >= postcopy {
                end(.unknown, postcopy, "the recording went over to post-copy here")
                return result
            }
            for decision in engine.apply(moment.input) {
                result.note(decision)
                if conclude(decision, moment) { return result }
            }
            guard case .sample(let sample) = moment.input else { continue }
            note(sample)
            if switchesOver(sample, moment) { return result }
        }
        if let switchover = copy.switchoverMilliseconds, let last = copy.moments.last {
            follow(switchover, last)
        } else {
            end(.unfinished, copy.endMilliseconds, "still copying when the recorded attempt ended")
        }
        return result
    }

    private mutating func note(_ sample: PolicySample) {
        result.iterations = sample.iteration ?? result.iterations
        result.transferredBytes = sample.transferredBytes ?? result.transferredBytes
        result.maximumThrottle = max(result.maximumThrottle, sample.throttlePercentage ?? 0)
        guard let remaining = sample.remainingBytes else { return }
        result.note(
            PolicyTrial.Point(
                elapsedMilliseconds: sample.elapsedMilliseconds, remainingBytes: remaining,
                downtimeMilliseconds: engine.context.downtimeMilliseconds))
    }

    /// The recorded switchover comes: whether it would have come under this policy too.
    private mutating func follow(_ time: Int64, _ moment: RecordedCopy.Moment) {
        if engine.context.downtimeMilliseconds >= moment.limitMilliseconds {
            result.pauseMilliseconds = copy.downtimeMilliseconds
            end(.converged, time, "as recorded: the limit is no lower than the recorded one was")
        } else {
            end(
                .unknown, time,
                "the recording switched over at \(moment.limitMilliseconds) ms, this policy would have gone on")
        }
    }

    /// QEMU would have switched over sooner than recorded because the limit is higher.
    private mutating func switchesOver(_ sample: PolicySample, _ moment: RecordedCopy.Moment) -> Bool {
        let limit = engine.context.downtimeMilliseconds
        guard sample.iteration ?? 0 >= 2, limit > moment.limitMilliseconds, let needed = neededPause(sample),
            needed <= limit
        else { return false }
        result.pauseMilliseconds = needed
        end(
            engine.isHard ? .forced : .converged, sample.elapsedMilliseconds + needed,
            "what was left would have fitted the higher limit")
        return true
    }

    /// QEMU's own expectation, which is of the beginning of the pass, else what is left.
    private func neededPause(_ sample: PolicySample) -> Int64? {
        if let expected = sample.expectedDowntimeMilliseconds { return min(expected, 9_000_000_000_000) }
        return sendingTime(sample)
    }

    private func sendingTime(_ sample: PolicySample) -> Int64? {
        guard let remaining = sample.remainingBytes,
            let bandwidth = sample.bandwidthBytesPerSecond.flatMap({ $0 > 0 ? $0 : nil })
                ?? copy.medianBandwidthBytesPerSecond
        else { return nil }
        return Int64(min(Double(remaining) / bandwidth * 1000, 9e12).rounded(.up))
    }

    /// Whether the decision ends what the recording can tell.
    private mutating func conclude(_ decision: PolicyDecision, _ moment: RecordedCopy.Moment) -> Bool {
        let time = decision.elapsedMilliseconds
        var rest: Int64?
        if case .sample(let sample) = moment.input {
            note(sample)
            rest = sendingTime(sample)
        }
        switch decision.effect {
        case .note, .setDowntime: return false
        case .setBandwidth:
            end(.unknown, time, "a recording cannot tell what another bandwidth would have done")
        case .setThrottle:
            end(.unknown, time, "a recording cannot tell what a throttle would have done")
        case .startPostcopy:
            end(.postcopy, time + (rest ?? 0), "the rest would have followed while the guest ran on the destination")
        case .pauseGuest:
            result.pauseMilliseconds = rest
            end(.paused, time + (rest ?? 0), "the rest at the measured bandwidth, nothing dirtied any more")
        case .hardSwitchover:
            result.pauseMilliseconds = rest
            end(.forced, time + (rest ?? 0), "the rest at the measured bandwidth")
        case .cancel(let why): end(.cancelled, time, why)
        }
        return true
    }

    private mutating func end(_ verdict: PolicyTrial.Verdict, _ time: Int64, _ basis: String) {
        result.verdict = verdict
        result.elapsedMilliseconds = time
        result.basis = basis
        result.downtimeMilliseconds = engine.context.downtimeMilliseconds
    }
}

extension RecordedCopy.Moment {
    /// Milliseconds since `migrate`.
    var time: Int64 {
        switch input {
        case .sample(let sample): sample.elapsedMilliseconds
        case .status(_, let time), .time(let time): time
        }
    }
}
