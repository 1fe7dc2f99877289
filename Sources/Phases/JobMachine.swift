public import Migration

/// What the owner of a migration job learns when it begins to talk to QEMU.
public struct NestedJob: Hashable, Sendable {
    /// What may run before and after it, and change what the owner knew: whoever waits looks again after each command.
    public var mayIntervene: JobMask
    /// What did run since the owner's last nested job.
    public var intervened: JobMask

    /// What may run in between, and what did.
    public init(mayIntervene: JobMask, intervened: JobMask) {
        self.mayIntervene = mayIntervene
        self.intervened = intervened
    }
}

/// The migration job of one domain, with libvirt's rules for starting, continuing and finishing it.
///
/// The first call of a protocol is `start`, `setPhase`, work, `continue`; the ones in between are `isActive`,
/// `startPhase`, work, `continue`; the last is `isActive`, `startPhase`, work, `finish`. Between calls nobody owns the
/// job and it stays active, which is what keeps a second migration out.
///
/// Beside it there is one slot for whoever talks to QEMU: a normal job of another call, if the migration lets it in, or
/// a nested job of the owner.
public struct JobMachine: Hashable, Sendable {
    struct Active: Hashable {
        var job: Job
        var phase: Phase
        var owner: String?
        var allowed: JobMask
        var nets: SafetyNet
        var intervened: JobMask
    }

    /// Whoever talks to QEMU.
    struct Slot: Hashable {
        /// `nil` for a nested job.
        var kind: NormalJob?
        var owner: String
    }

    /// Whose domain.
    public let side: Side
    var active: Active?
    var slot: Slot?

    /// No job.
    public init(side: Side) { self.side = side }

    /// The job as a restart finds it: nobody is inside, the guest must not be suspended, no net is set up yet.
    public init(side: Side, restoring phase: Phase) {
        self.side = side
        let job = side == .source ? Job.out : .in
        active = Active(
            job: job, phase: phase, owner: nil, allowed: .allowed(during: job, isRestored: true), nets: [],
            intervened: [])
    }

    /// The phase; `none` without a job.
    public var phase: Phase { active?.phase ?? .none }

    /// Who is inside a call for this job right now; `nil` between calls, and when a migration goes on unattended.
    public var owner: String? { active?.owner }

    /// The active job.
    public var job: Job? { active?.job }

    /// The job is active and nobody is inside.
    public var isDisowned: Bool { active.map { $0.owner == nil } ?? false }

    /// Post-copy broke and nobody watches: when QEMU ends it after all, a helper has to finish the job.
    public var isUnattended: Bool { isDisowned && phase == .postcopyFailed }

    /// The nets that are set up while nobody is inside.
    public var nets: SafetyNet { active?.nets ?? [] }

    /// What other calls may do now.
    public var allowedJobs: JobMask { active?.allowed ?? .all }

    /// Whether this job is active.
    public func isActive(_ job: Job) -> Bool { self.job == job }

    // MARK: The migration job

    /// Starts the job with the caller as its owner. A second migration is refused at once, it does not wait.
    public mutating func start(_ job: Job, owner: String) throws(JobError) {
        if let active {
            throw JobError(
                code: .alreadyActive,
                description: "another migration job is already running (\(active.job.rawValue), phase "
                    + "\(active.phase.rawValue), \(holder(active)))")
        }
        try checkSlot(for: "a migration")
        active = Active(
            job: job, phase: .none, owner: owner, allowed: .allowed(during: job), nets: [], intervened: [])
    }

    /// Moves the phase; only between `start` or `startPhase` and `continue` or `finish`.
    public mutating func setPhase(_ phase: Phase) throws(JobError) -> PhaseMove {
        guard let active else {
            throw JobError(code: .notActive, description: "phase \(phase.rawValue) without a migration job")
        }
        guard let owner = active.owner else {
            throw JobError(
                code: .notOwner,
                description: "phase \(phase.rawValue) outside of a call (after \(active.phase.rawValue))")
        }
        try check(phase, after: active.phase)
        self.active?.phase = phase
        return PhaseMove(side: side, from: active.phase, to: phase, owner: owner)
    }

    /// Enters the job for a later call and moves the phase. The nets of the call before are taken down.
    public mutating func startPhase(_ phase: Phase, owner: String) throws(JobError) -> PhaseMove {
        guard let active else {
            throw JobError(
                code: .notActive,
                description: side == .source
                    ? "the domain is not being migrated (\(phase.rawValue))"
                    : "the domain is not processing an incoming migration (\(phase.rawValue))")
        }
        if let holder = active.owner {
            throw JobError(
                code: .notOwner,
                description: "\(owner) cannot enter the job: \(holder) is still inside (\(active.phase.rawValue))")
        }
        try check(phase, after: active.phase)
        self.active?.phase = phase
        self.active?.owner = owner
        self.active?.nets = []
        return PhaseMove(side: side, from: active.phase, to: phase, owner: owner)
    }

    /// Leaves the call; the job stays active with nobody inside, above the nets that its phase asks for.
    public mutating func `continue`() throws(JobError) {
        let active = try owned("continue")
        self.active?.owner = nil
        self.active?.nets = SafetyNet(after: active.phase, on: side)
    }

    /// A restart has decided that the job is kept with nobody inside: the nets of its phase are set up as after
    /// `continue`.
    public mutating func setNets() {
        guard let active, active.owner == nil else { return }
        self.active?.nets = SafetyNet(after: active.phase, on: side)
    }

    /// Ends the job.
    public mutating func finish() throws(JobError) {
        _ = try owned("finish")
        active = nil
    }

    /// Drops the job, whoever holds it: the domain died. A nested job goes with it, another call's normal job ends by
    /// itself.
    public mutating func discard() {
        active = nil
        if slot?.kind == nil { slot = nil }
    }

    /// Whoever was inside is gone without a word: the job stays, with no net below it.
    public mutating func disown() {
        active?.owner = nil
        if slot?.kind == nil { slot = nil }
    }

    private func owned(_ call: String) throws(JobError) -> Active {
        guard let active else {
            throw JobError(code: .notActive, description: "\(call) without a migration job")
        }
        guard active.owner != nil else {
            throw JobError(code: .notOwner, description: "\(call) outside of a call (\(active.phase.rawValue))")
        }
        if let slot, slot.kind == nil {
            throw JobError(code: .busy, description: "\(call) with a nested job of \(slot.owner) still open")
        }
        return active
    }

    private func holder(_ active: Active) -> String { active.owner.map { "held by \($0)" } ?? "between calls" }

    private func check(_ phase: Phase, after current: Phase) throws(JobError) {
        guard phase.belongs(to: side) else {
            throw JobError(
                code: .wrongSide, description: "phase \(phase.rawValue) does not belong to the \(side.rawValue)")
        }
        // Phases from postcopy_failed on may follow any: that is how a recovery starts over.
        if phase < .postcopyFailed, phase < current {
            throw JobError(
                code: .backwards,
                description: "migration protocol going backwards \(current.rawValue) => \(phase.rawValue)")
        }
        guard PhaseMoves.isLegal(side, from: current, to: phase) else {
            throw JobError(
                code: .illegal,
                description: "no migration protocol moves from \(current.rawValue) to \(phase.rawValue)")
        }
    }

    // MARK: Other calls' jobs

    /// Begins another call's normal job, or says why it has to wait: a pure machine does not wait, its caller may.
    public mutating func begin(_ kind: NormalJob, owner: String) throws(JobError) {
        if let active, !active.allowed.permits(kind) {
            throw JobError(
                code: .masked,
                description:
                    "\(owner) must wait with \(kind.rawValue): \(active.job == .out ? "outgoing" : "incoming") "
                    + "migration (phase \(active.phase.rawValue), \(holder(active))) allows only \(active.allowed)")
        }
        try checkSlot(for: kind.rawValue)
        slot = Slot(kind: kind, owner: owner)
        active?.intervened.insert(JobMask(kind))
    }

    /// Ends the normal job of another call.
    public mutating func end(_ kind: NormalJob, owner: String) throws(JobError) {
        guard slot == Slot(kind: kind, owner: owner) else {
            throw JobError(code: .notOwner, description: "\(owner) is not inside \(kind.rawValue)")
        }
        slot = nil
    }

    /// Begins a nested job: the owner is about to talk to QEMU. Only the owner may, and only once at a time.
    ///
    /// - Returns: What may run, and what did run, in between: the owner has to look again at all that it knew.
    public mutating func beginNested(owner: String) throws(JobError) -> NestedJob {
        guard let active else {
            throw JobError(code: .notActive, description: "a nested job of \(owner) without a migration job")
        }
        guard active.owner == owner else {
            throw JobError(
                code: .notOwner,
                description: "\(owner) is not inside the migration job (\(active.phase.rawValue), \(holder(active)))")
        }
        try checkSlot(for: "a nested job")
        slot = Slot(kind: nil, owner: owner)
        self.active?.intervened = []
        return NestedJob(mayIntervene: active.allowed, intervened: active.intervened)
    }

    /// Ends the nested job.
    public mutating func endNested(owner: String) throws(JobError) {
        guard slot == Slot(kind: nil, owner: owner) else {
            throw JobError(code: .notOwner, description: "\(owner) has no nested job open")
        }
        slot = nil
    }

    private func checkSlot(for what: String) throws(JobError) {
        guard let slot else { return }
        throw JobError(
            code: .busy,
            description:
                "\(what) must wait: QEMU is busy with \(slot.kind?.rawValue ?? "a nested job") of \(slot.owner)")
    }
}
