public import Migration

/// The two asynchronous jobs that a migration holds on a domain, by libvirt's names.
public enum Job: String, Hashable, Sendable {
    /// `MIGRATION_OUT`: on the source, from Begin to Confirm.
    case out
    /// `MIGRATION_IN`: on the destination, from Prepare to Finish.
    case `in`
}

/// A call that the locking rules forbid.
public struct JobError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Why it is forbidden.
    public struct Code: Hashable, Sendable {
        private enum Value { case alreadyActive, notActive, backwards, notOwner, wrongSide }
        private let value: Value
        /// A migration job is active already.
        public static let alreadyActive = Code(value: .alreadyActive)
        /// The job is not active, or is another one.
        public static let notActive = Code(value: .notActive)
        /// The phase would go backwards.
        public static let backwards = Code(value: .backwards)
        /// Nobody, or somebody else, is inside the job.
        public static let notOwner = Code(value: .notOwner)
        /// The phase belongs to the other end.
        public static let wrongSide = Code(value: .wrongSide)
    }

    /// Why.
    public var code: Code
    /// In words.
    public var description: String
}

/// The migration job of one domain, with libvirt's rules for starting, continuing and finishing it.
///
/// The first call of a protocol is `start`, `setPhase`, work, `continue`; the ones in between are `isActive`, `startPhase`, work, `continue`; the
/// last is `isActive`, `startPhase`, work, `finish`. Between calls nobody owns the job and it stays active, which is what keeps a second migration out.
public struct JobMachine: Hashable, Sendable {
    enum State: Hashable {
        case none
        case active(Job, phase: Phase, owner: String?)
    }

    /// Whose domain.
    public let side: Side
    var state = State.none

    /// No job.
    public init(side: Side) { self.side = side }

    /// The phase; `none` without a job.
    public var phase: Phase { if case .active(_, let phase, _) = state { phase } else { .none } }

    /// Who is inside a call for this job right now.
    public var owner: String? { if case .active(_, _, let owner) = state { owner } else { nil } }

    /// The active job.
    public var job: Job? { if case .active(let job, _, _) = state { job } else { nil } }

    /// Whether this job is active.
    public func isActive(_ job: Job) -> Bool { self.job == job }

    /// Starts the job with the caller as its owner. A second migration is refused at once, it does not wait.
    public mutating func start(_ job: Job, owner: String) throws(JobError) {
        if case .active(let active, let phase, let holder) = state {
            throw JobError(
                code: .alreadyActive,
                description: "another migration job is already running (\(active.rawValue), phase \(phase.rawValue), "
                    + "\(holder.map { "held by \($0)" } ?? "between calls"))")
        }
        state = .active(job, phase: .none, owner: owner)
    }

    /// Moves the phase; only between `start` or `startPhase` and `continue` or `finish`.
    public mutating func setPhase(_ phase: Phase) throws(JobError) -> PhaseMove {
        guard case .active(let job, let current, let owner) = state else {
            throw JobError(code: .notActive, description: "phase \(phase.rawValue) without a migration job")
        }
        guard let owner else {
            throw JobError(
                code: .notOwner, description: "phase \(phase.rawValue) outside of a call (after \(current.rawValue))")
        }
        try check(phase, after: current)
        state = .active(job, phase: phase, owner: owner)
        return PhaseMove(side: side, from: current, to: phase, owner: owner)
    }

    /// Enters the job for a later call and moves the phase.
    public mutating func startPhase(_ phase: Phase, owner: String) throws(JobError) -> PhaseMove {
        guard case .active(let job, let current, let holder) = state else {
            throw JobError(
                code: .notActive,
                description: side == .source
                    ? "the domain is not being migrated (\(phase.rawValue))"
                    : "the domain is not processing an incoming migration (\(phase.rawValue))")
        }
        if let holder {
            throw JobError(
                code: .notOwner,
                description: "\(owner) cannot enter the job: \(holder) is still inside (\(current.rawValue))")
        }
        try check(phase, after: current)
        state = .active(job, phase: phase, owner: owner)
        return PhaseMove(side: side, from: current, to: phase, owner: owner)
    }

    /// Leaves the call; the job stays active with nobody inside.
    public mutating func `continue`() throws(JobError) {
        guard case .active(let job, let phase, let owner) = state else {
            throw JobError(code: .notActive, description: "continue without a migration job")
        }
        guard owner != nil else {
            throw JobError(code: .notOwner, description: "continue outside of a call (\(phase.rawValue))")
        }
        state = .active(job, phase: phase, owner: nil)
    }

    /// Ends the job.
    public mutating func finish() throws(JobError) {
        guard case .active(_, let phase, let owner) = state else {
            throw JobError(code: .notActive, description: "finish without a migration job")
        }
        guard owner != nil else {
            throw JobError(code: .notOwner, description: "finish outside of a call (\(phase.rawValue))")
        }
        state = .none
    }

    /// Drops the job, whoever holds it: the domain died.
    public mutating func discard() { state = .none }

    private func check(_ phase: Phase, after current: Phase) throws(JobError) {
        guard phase.belongs(to: side) else {
            throw JobError(
                code: .wrongSide, description: "phase \(phase.rawValue) does not belong to the \(side.rawValue)")
        }
        // Phases from postcopy_failed on may be set from anything: that is how a recovery starts over.
        if phase < .postcopyFailed, phase < current {
            throw JobError(
                code: .backwards,
                description: "migration protocol going backwards \(current.rawValue) => \(phase.rawValue)")
        }
    }
}
