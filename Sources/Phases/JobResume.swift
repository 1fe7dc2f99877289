public import Migration

/// How a domain stands in post-copy, by libvirt's states and reasons.
public enum PostcopyStanding: String, Hashable, Sendable, CaseIterable {
    /// Not in post-copy.
    case none
    /// Runs, its memory still comes.
    case running = "running/postcopy"
    /// Runs as far as it can; what brings its memory broke.
    case runningFailed = "running/postcopy-failed"
    /// Stopped because it runs on the other side.
    case paused = "paused/postcopy"
    /// Stopped, and what sends its memory broke.
    case pausedFailed = "paused/postcopy-failed"

    /// Whether post-copy broke.
    public var isFailed: Bool { self == .runningFailed || self == .pausedFailed }

    /// Whether a side can be in post-copy like this.
    public func isPostcopy(on side: Side) -> Bool {
        switch self {
        case .none: false
        case .running, .runningFailed: side == .destination
        case .paused: side == .source
        case .pausedFailed: true
        }
    }
}

/// Who wants to resume a post-copy migration, and how.
public struct ResumeCall: Hashable, Sendable {
    /// The step.
    public var step: Step
    /// Who calls it.
    public var caller: String
    /// The migration was started with post-copy allowed, and the call says so again.
    public var allowsPostcopy: Bool
    /// The source's job is held from Begin.
    public var hasChangeProtection: Bool
    /// The source calls the destination's steps by itself.
    public var isPeerToPeer: Bool
    /// How the domain stands.
    public var standing: PostcopyStanding

    /// A call.
    public init(
        step: Step, caller: String, allowsPostcopy: Bool = true, hasChangeProtection: Bool = true,
        isPeerToPeer: Bool = false, standing: PostcopyStanding
    ) {
        self.step = step
        self.caller = caller
        self.allowsPostcopy = allowsPostcopy
        self.hasChangeProtection = hasChangeProtection
        self.isPeerToPeer = isPeerToPeer
        self.standing = standing
    }
}

extension JobMachine {
    /// The last phase from which a step of a recovery may set out; `nil` for steps that have no part in one.
    static func latestPhase(before step: Step) -> Phase? {
        switch step {
        case .begin, .prepare: .postcopyFailed
        case .perform: .beginResume
        case .confirm: .performResume
        case .finish: .prepareResume
        default: nil
        }
    }

    /// Whether a step may resume a broken post-copy migration now. The checks are libvirt's, in its order.
    ///
    /// - Throws: `JobError` with the code `cannotResume`, `notActive` or `notOwner`, and the reason in words.
    public func checkResume(_ call: ResumeCall) throws(JobError) {
        guard call.allowsPostcopy else {
            throw JobError(code: .cannotResume, description: "resuming a post-copy migration needs post-copy allowed")
        }
        if call.step == .begin, !call.hasChangeProtection, !call.isPeerToPeer {
            throw JobError(
                code: .cannotResume,
                description: "resuming a post-copy migration needs change protection or peer to peer")
        }
        guard call.step.side == side, let latest = Self.latestPhase(before: call.step) else {
            throw JobError(
                code: .cannotResume, description: "\(call.step.rawValue) does not resume on the \(side.rawValue)")
        }
        guard let active, active.job == (side == .source ? .out : .in) else {
            throw JobError(
                code: .notActive,
                description: side == .source
                    ? "the domain is not being migrated" : "the domain is not processing an incoming migration")
        }
        if let owner = active.owner, owner != call.caller {
            throw JobError(
                code: .notOwner, description: "the migration is being actively monitored by another call (\(owner))")
        }
        guard call.standing.isPostcopy(on: side) else {
            throw JobError(
                code: .cannotResume, description: "the domain is not in post-copy (\(call.standing.rawValue))")
        }
        guard active.phase >= .postcopyFailed || call.standing.isFailed else {
            throw JobError(
                code: .cannotResume,
                description: "the post-copy migration has not failed (phase \(active.phase.rawValue))")
        }
        guard active.phase <= latest else {
            throw JobError(
                code: .cannotResume,
                description: "resuming the post-copy migration is already in progress (phase \(active.phase.rawValue))")
        }
    }
}
