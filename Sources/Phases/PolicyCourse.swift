import Migration
public import Policy

/// A convergence policy for an attempt.
public struct PolicyWish: Hashable, Sendable {
    /// The policy.
    public var policy: ConvergencePolicy
    /// The document that it was read from. It goes into the journal, so that the attempt can be driven again; nothing
    /// here reads it.
    public var document: String
    /// Whether it only notes what it would have done.
    public var isObserving: Bool

    /// A policy with its document.
    public init(_ policy: ConvergencePolicy, document: String, isObserving: Bool = false) {
        self.policy = policy
        self.document = document
        self.isObserving = isObserving
    }
}

/// What became of a policy's decision.
public enum PolicyOutcome: String, Hashable, Sendable, CaseIterable {
    /// It is carried out.
    case done
    /// The policy only observes.
    case observed
    /// An operator has changed the same by hand, and keeps it.
    case left
}

/// A policy that looks at a copying.
struct PolicyCourse: Hashable, Sendable {
    private let wish: PolicyWish
    private var engine: PolicyEngine
    private let began: Instant
    /// What an operator has set since: a person's word counts more than a rule.
    private var operated: Set<String> = []

    init(_ wish: PolicyWish, context: PolicyContext, began: Instant) {
        self.wish = wish
        self.began = began
        engine = PolicyEngine(wish.policy, context: context)
    }

    /// What the policy makes of an input at this time.
    mutating func apply(_ input: Input, at time: Instant) -> [PolicyDecision] {
        let elapsed = max(0, time.milliseconds(since: began))
        switch input {
        case .fact(.source, .reply(.queryMigrate, .migration(let sample))):
            // The numbers of the switchover and of post-copy tell nothing about how the guest writes.
            guard sample.status == .active else { return [] }
            return engine.apply(.sample(PolicySample(sample, elapsedMilliseconds: elapsed)))
        case .fact(.source, .event(.migration(let word))):
            return engine.apply(.status(word, elapsedMilliseconds: elapsed))
        case .tick: return engine.apply(.time(elapsedMilliseconds: elapsed))
        default: return []
        }
    }

    /// An operator has set these.
    mutating func operated(_ settings: [Setting]) {
        for setting in settings {
            operated.insert(setting.name)
            guard case .integer(let value) = setting.value else { continue }
            switch setting.name {
            case "downtime-limit": engine.noticed(downtimeMilliseconds: value)
            case "max-bandwidth": engine.noticed(bandwidthLimitBytesPerSecond: value)
            default: break
            }
        }
    }

    func outcome(of decision: PolicyDecision) -> PolicyOutcome {
        if case .note = decision.effect { return .done }
        if wish.isObserving { return .observed }
        return decision.effect.settings.contains { operated.contains($0.name) } ? .left : .done
    }
}

extension PolicyEffect {
    /// The parameters that it sets, by QEMU's names.
    ///
    /// QEMU throttles by itself, from `cpu-throttle-initial` in steps of `cpu-throttle-increment` up to
    /// `max-cpu-throttle`; for it to go to one value at its next step, up or down, all three are set.
    var settings: [Setting] {
        switch self {
        case .setDowntime(let milliseconds): [Setting("downtime-limit", .integer(milliseconds))]
        case .hardSwitchover: [Setting("downtime-limit", .integer(Self.maximumDowntimeMilliseconds))]
        case .setBandwidth(let bytes): [Setting("max-bandwidth", .integer(bytes))]
        case .setThrottle(let percent):
            [
                Setting("cpu-throttle-initial", .integer(percent)), Setting("cpu-throttle-increment", .integer(99)),
                Setting("max-cpu-throttle", .integer(percent)),
            ]
        case .startPostcopy, .pauseGuest, .cancel, .note: []
        }
    }
}

extension AttemptMachine {
    /// Lets the policy look at an input once everything else has been decided about it.
    mutating func followPolicy(_ input: Input, _ work: inout Work) {
        guard let wish = options.policy, !coordinator.isDone, !options.isPostcopyResume else { return }
        if case .change(let settings, .operator) = input, source.isCopying { course?.operated(settings) }
        if course == nil, source.isCopying, let began = source.evidence.triggers[.migrate]?.firstTime {
            course = PolicyCourse(wish, context: policyContext, began: began)
        }
        guard let decisions = course?.apply(input, at: work.time), !decisions.isEmpty else { return }
        for decision in decisions {
            let outcome = course?.outcome(of: decision) ?? .observed
            work.effects.append(.decided(decision, outcome))
            if outcome == .done { carryOut(decision.effect, &work) }
        }
        settle(&work)
    }

    private mutating func carryOut(_ effect: PolicyEffect, _ work: inout Work) {
        switch effect {
        case .setDowntime, .setBandwidth, .setThrottle, .hardSwitchover: work.add(source.change(effect.settings))
        case .startPostcopy: work.add(coordinator.request(.postcopy, origin: .policy))
        case .pauseGuest: work.add(coordinator.request(.pauseGuest, origin: .policy))
        case .cancel(let why):
            coordinator.cancelReason = coordinator.cancelReason ?? why
            work.add(coordinator.request(.cancel, origin: .policy))
        case .note: break
        }
    }

    /// What is known when memory begins to be copied.
    private var policyContext: PolicyContext {
        var context = PolicyContext()
        func number(_ name: String) -> Int64? {
            for settings in [source.parameters, source.core.originalParameters ?? []] {
                if case .integer(let value)? = settings.last(where: { $0.name == name })?.value { return value }
            }
            return nil
        }
        context.downtimeMilliseconds = number("downtime-limit") ?? context.downtimeMilliseconds
        context.bandwidthLimitBytesPerSecond = number("max-bandwidth") ?? context.bandwidthLimitBytesPerSecond
        context.isPostcopyPossible = options.isPostcopyPossible
        context.hasHostDevices = source.description?.devices.contains { $0.type.hasPrefix("vfio-") } ?? false
        return context
    }
}

extension SourceMachine {
    /// Whether QEMU migrates and nobody has stopped it yet.
    var isCopying: Bool {
        guard case .migrating = state else { return false }
        return !stopping.isWanted
    }
}
