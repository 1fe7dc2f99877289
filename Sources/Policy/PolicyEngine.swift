import Migration

/// Follows a policy: samples and words go in, what is to be done comes out.
///
/// A value without a clock and without I/O. The same inputs give the same decisions; an input that is not newer than the
/// last one of its kind gives none, so that records may be told again. It decides nothing twice: a limit that is in force
/// is not set again. Once post-copy was asked for, nothing but its bandwidth is touched, and after a cancel nothing at all.
/// Its state is bounded by the policy, so that it can be explored.
public struct PolicyEngine: Hashable, Sendable {
    /// The policy.
    public let policy: ConvergencePolicy
    /// The limits that are in force as far as the policy knows, and what was known beforehand.
    public private(set) var context: PolicyContext
    /// Whether nothing more is decided.
    public private(set) var isOver = false
    /// Whether post-copy was asked for or runs.
    public private(set) var isPostcopy = false
    /// Whether the policy paused the guest.
    public private(set) var isPaused = false
    /// Whether the policy asked for a switchover at any price.
    public private(set) var isHard = false

    private var stall = StallDetector()
    private var sample: PolicySample?
    private var status: StatusWord?
    private var elapsed: Int64 = 0
    private var lastTick: Int64?
    private var lastIteration: Int64?
    private var isBoundary = false
    private var variables: [Double?]
    private var deadlines: [Double?]
    /// How often rules were followed, of those where it matters.
    private var followed: [Int]

    /// Follows a policy from the beginning of the copying.
    public init(_ policy: ConvergencePolicy, context: PolicyContext = .init()) {
        self.policy = policy
        self.context = context
        variables = Array(repeating: nil, count: policy.variables.count)
        deadlines = Array(repeating: nil, count: policy.deadlines.count)
        followed = Array(repeating: 0, count: policy.rules.count)
    }

    /// The next time at which the policy wants to be asked even if nothing happens, in milliseconds since `migrate`.
    public var nextDeadlineMilliseconds: Int64? {
        deadlines.compactMap(\.self).min().map { Self.whole($0) }
    }

    /// Takes an input.
    ///
    /// - Returns: What is to be done, in this order.
    public mutating func apply(_ input: PolicyInput) -> [PolicyDecision] {
        guard !isOver else { return [] }
        var decisions: [PolicyDecision] = []
        switch input {
        case .sample(let sample):
            guard self.sample.map({ sample.elapsedMilliseconds > $0.elapsedMilliseconds }) ?? true else { return [] }
            elapsed = max(elapsed, sample.elapsedMilliseconds)
            note(sample, &decisions)
            tick(&decisions)
        case .status(let word, let time):
            guard word != status else { return [] }
            status = word
            elapsed = max(elapsed, time)
            if [.postcopyDevice, .postcopyActive, .postcopyPaused].contains(word) { isPostcopy = true }
            fire(.status(word), &decisions)
            if [.completed, .failed, .cancelled].contains(word) { isOver = true }
        case .time(let time):
            guard time > elapsed else { return [] }
            elapsed = time
            if sample != nil { tick(&decisions) }
        }
        passDeadlines(&decisions)
        return decisions
    }

    private mutating func note(_ sample: PolicySample, _ decisions: inout [PolicyDecision]) {
        let isFirst = self.sample == nil
        self.sample = sample
        let isNew = sample.iteration.map { $0 > lastIteration ?? 0 } ?? false
        if isNew {
            lastIteration = sample.iteration
            isBoundary = true
        }
        if isFirst {
            for (place, variable) in policy.variables.enumerated() {
                variables[place] = variable.initial.value(lookUp)
            }
            fire(.start, &decisions)
        }
        if isNew { fire(.iteration, &decisions) }
    }

    private mutating func tick(_ decisions: inout [PolicyDecision]) {
        if let lastTick, let every = policy.every?.value(lookUp) {
            guard Double(elapsed) - Double(lastTick) >= every else { return }
        }
        lastTick = elapsed
        fire(.tick, &decisions)
        isBoundary = false
    }

    private mutating func passDeadlines(_ decisions: inout [PolicyDecision]) {
        for (place, name) in policy.deadlines.enumerated() {
            guard let deadline = deadlines[place], Double(elapsed) >= deadline else { continue }
            deadlines[place] = nil
            fire(.deadline(place, name), &decisions)
        }
    }

    /// Somebody else has set the downtime limit, in milliseconds.
    public mutating func noticed(downtimeMilliseconds: Int64) { context.downtimeMilliseconds = downtimeMilliseconds }

    /// Somebody else has set the bandwidth limit, in bytes each second.
    public mutating func noticed(bandwidthLimitBytesPerSecond: Int64) {
        context.bandwidthLimitBytesPerSecond = bandwidthLimitBytesPerSecond
    }

    // MARK: Rules

    private mutating func fire(_ trigger: ConvergencePolicy.Trigger, _ decisions: inout [PolicyDecision]) {
        for (place, rule) in policy.rules.enumerated() where rule.triggers.contains(trigger) {
            guard !isOver else { return }
            if let times = rule.times, followed[place] >= times { continue }
            guard rule.condition.map({ $0.isTrue(lookUp) }) ?? true else { continue }
            var conditions = [rule.condition].compactMap(\.self)
            var actions = rule.actions
            var step: Int?
            if !rule.steps.isEmpty {
                guard followed[place] < rule.steps.count else { continue }
                let next = rule.steps[followed[place]]
                guard next.condition.map({ $0.isTrue(lookUp) }) ?? true else { continue }
                conditions += [next.condition].compactMap(\.self)
                actions = next.actions
                step = followed[place] + 1
            }
            if rule.times != nil || step != nil { followed[place] += 1 }
            // Actions may change what the conditions looked at.
            let seen = readings(conditions)
            for action in actions {
                guard let (effect, used) = act(action) else { continue }
                var all = seen
                for reading in used where !all.contains(where: { $0.name == reading.name }) { all.append(reading) }
                decisions.append(
                    PolicyDecision(
                        elapsedMilliseconds: elapsed, effect: effect, rule: rule.name, step: step, trigger: trigger,
                        conditions: conditions.map(\.text), readings: all))
                if isOver { return }
            }
            if rule.isLast { return }
        }
    }

    /// Does what concerns only the policy itself, and says what else is to be done.
    private mutating func act(_ action: ConvergencePolicy.Action) -> (PolicyEffect, [PolicyDecision.Reading])? {
        switch action {
        case .set(let place, let expression):
            let value = expression.value(lookUp)
            if variables.indices.contains(place) { variables[place] = value }
            return nil
        case .arm(let place, let expression):
            if deadlines.indices.contains(place) { deadlines[place] = expression.value(lookUp) }
            return nil
        case .disarm(let place):
            if deadlines.indices.contains(place) { deadlines[place] = nil }
            return nil
        case .observeStall:
            guard let remaining = sample?.remainingBytes else { return nil }
            stall.observe(remaining: Double(remaining), elapsed: Double(elapsed), policy.stall)
            return nil
        case .note(let text): return (.note(text), [])
        case .setBandwidth(let expression):
            let seen = readings([expression])
            guard let value = expression.value(lookUp) else { return nil }
            let limit = min(max(0, Self.whole(value)), 1 << 53)
            guard limit != context.bandwidthLimitBytesPerSecond else { return nil }
            context.bandwidthLimitBytesPerSecond = limit
            return (.setBandwidth(limit), seen)
        default:
            // The guest is on its way to the destination: neither limits nor a cancel mean anything to it any more.
            guard !isPostcopy else { return nil }
            return actOnSource(action)
        }
    }

    private mutating func actOnSource(
        _ action: ConvergencePolicy.Action
    ) -> (PolicyEffect, [PolicyDecision.Reading])? {
        switch action {
        case .setDowntime(let expression):
            let seen = readings([expression])
            guard !isHard, let value = expression.value(lookUp) else { return nil }
            let limit = min(max(0, Self.whole(value)), PolicyEffect.maximumDowntimeMilliseconds)
            guard limit != context.downtimeMilliseconds else { return nil }
            context.downtimeMilliseconds = limit
            return (.setDowntime(limit), seen)
        case .setThrottle(let expression):
            let seen = readings([expression])
            guard let value = expression.value(lookUp) else { return nil }
            let percent = min(max(1, Self.whole(value)), 99)
            guard sample?.throttlePercentage != percent else { return nil }
            sample?.throttlePercentage = percent
            return (.setThrottle(percent), seen)
        case .startPostcopy:
            guard context.isPostcopyPossible else { return nil }
            isPostcopy = true
            return (.startPostcopy, [])
        case .pauseGuest:
            guard !isPaused else { return nil }
            isPaused = true
            return (.pauseGuest, [])
        case .hardSwitchover:
            guard !isHard else { return nil }
            isHard = true
            context.downtimeMilliseconds = PolicyEffect.maximumDowntimeMilliseconds
            return (.hardSwitchover, [])
        case .cancel(let why):
            isOver = true
            return (.cancel(why), [])
        default: return nil
        }
    }

    // MARK: Numbers

    private static func whole(_ value: Double) -> Int64 {
        value >= 9e18 ? 9_000_000_000_000_000_000 : value <= -9e18 ? -9_000_000_000_000_000_000 : Int64(value)
    }

    private func lookUp(_ name: Term.Name) -> Double? {
        switch name {
        case .variable(let place): variables.indices.contains(place) ? variables[place] : nil
        case .quantity(let quantity): value(of: quantity)
        }
    }

    private func value(of quantity: Quantity) -> Double? {
        func flag(_ value: Bool) -> Double { value ? 1 : 0 }
        return switch quantity {
        case .elapsed: Double(elapsed)
        case .memory: sample?.memoryBytes.map(Double.init)
        case .remaining: sample?.remainingBytes.map(Double.init)
        case .transferred: sample?.transferredBytes.map(Double.init)
        case .dirty: sample?.dirtyBytesPerSecond
        case .bandwidth: sample?.bandwidthBytesPerSecond
        case .expected: sample?.expectedDowntimeMilliseconds.map(Double.init)
        case .iteration: sample?.iteration.map(Double.init)
        case .throttle: Double(sample?.throttlePercentage ?? 0)
        case .downtime: Double(context.downtimeMilliseconds)
        case .bandwidthLimit: Double(context.bandwidthLimitBytesPerSecond)
        case .boundary: flag(isBoundary)
        case .stalled: flag(stall.isStalled)
        case .best: stall.best
        case .postcopy: flag(isPostcopy)
        case .postcopyPossible: flag(context.isPostcopyPossible)
        case .hostDevices: flag(context.hasHostDevices)
        case .paused: flag(isPaused)
        case .hard: flag(isHard)
        }
    }

    private func readings(_ expressions: [PolicyExpression]) -> [PolicyDecision.Reading] {
        var names: [Term.Name] = []
        for name in expressions.flatMap(\.root.names) where !names.contains(name) { names.append(name) }
        return names.map { name in
            let title =
                switch name {
                case .quantity(let quantity): quantity.rawValue
                case .variable(let place):
                    policy.variables.indices.contains(place) ? policy.variables[place].name : "?"
                }
            return PolicyDecision.Reading(name: title, value: lookUp(name))
        }
    }
}
