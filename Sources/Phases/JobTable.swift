public import Migration

/// A rule about one of the calls by which a migration job is handled.
public struct JobCallRow: Hashable, Sendable {
    /// libvirt's name of the call, without its prefix.
    public var call: String
    /// Ours.
    public var method: String
    /// What must hold before.
    public var requires: String
    /// What holds after it.
    public var effect: String
}

/// What a step does with the job, by its place in the protocol.
public struct JobSequenceRow: Hashable, Sendable {
    /// Whether the step is the first, one in the middle, or the last.
    public var place: String
    /// The calls, in order.
    public var calls: [String]
}

/// Where a migration job begins.
public struct FirstStepRow: Hashable, Sendable {
    /// On which side.
    public var side: Side
    /// In which protocol.
    public var protocolVersion: ProtocolVersion
    /// In which mode.
    public var mode: MigrationMode
    /// Whether the job guards the guest from Begin on.
    public var hasChangeProtection: Bool
    /// The step that starts the job; `nil` where the side has no steps.
    public var step: Step?
}

/// A normal job, and beside which migration jobs it may run.
public struct NormalJobRow: Hashable, Sendable {
    /// The normal job.
    public var job: NormalJob
    /// Beside `MIGRATION_OUT`.
    public var besideOut: Bool
    /// Beside `MIGRATION_IN`.
    public var besideIn: Bool
    /// Beside a migration job taken up again after a restart.
    public var besideRestored: Bool
}

/// The locking rules of a migration as data.
public enum JobTable {
    /// The calls, in the order in which the rules name them, and then those that the rules do not name.
    public static let calls: [JobCallRow] = [
        JobCallRow(
            call: "JobStart", method: "start",
            requires: "no migration job is active (refused at once), nobody talks to QEMU",
            effect: "the job is active, its caller inside; the mask of allowed jobs holds"),
        JobCallRow(
            call: "JobContinue", method: "continue", requires: "the caller is inside, no nested job is open",
            effect: "nobody is inside, the job stays active; the phase's safety nets are set up"),
        JobCallRow(
            call: "JobStartPhase", method: "startPhase",
            requires: "the job is active, nobody is inside, the move is legal",
            effect: "the caller is inside, the phase moves, the safety nets are taken down"),
        JobCallRow(
            call: "JobSetPhase", method: "setPhase", requires: "somebody is inside, the move is legal",
            effect: "the phase moves; who is inside does not change"),
        JobCallRow(
            call: "JobFinish", method: "finish", requires: "the caller is inside, no nested job is open",
            effect: "no job"),
        JobCallRow(
            call: "JobIsActive", method: "isActive", requires: "",
            effect: "tells whether this job is active; a later step may not go on without it"),
        JobCallRow(
            call: "discard", method: "discard", requires: "the domain died",
            effect: "no job, whoever was inside; a nested job goes with it"),
        JobCallRow(
            call: "disown", method: "disown", requires: "whoever was inside is gone",
            effect: "nobody is inside, the job stays active without safety nets"),
    ]

    /// What a step does with the job.
    public static let sequence: [JobSequenceRow] = [
        JobSequenceRow(place: "first", calls: ["start", "setPhase", "work", "continue"]),
        JobSequenceRow(place: "middle", calls: ["isActive, else an error", "startPhase", "work", "continue"]),
        JobSequenceRow(place: "last", calls: ["isActive, else an error", "startPhase", "work", "finish"]),
    ]

    /// Where a job begins, for every combination.
    public static let firstSteps: [FirstStepRow] = Side.allCases.flatMap { side in
        ProtocolVersion.allCases.flatMap { version in
            MigrationMode.allCases.flatMap { mode in
                [true, false].map { hasChangeProtection in
                    FirstStepRow(
                        side: side, protocolVersion: version, mode: mode, hasChangeProtection: hasChangeProtection,
                        step: Step.first(on: side, version, mode, hasChangeProtection: hasChangeProtection))
                }
            }
        }
    }

    /// The normal jobs, in libvirt's order.
    public static let normalJobs: [NormalJobRow] = NormalJob.allCases.map { job in
        NormalJobRow(
            job: job, besideOut: JobMask.out.permits(job), besideIn: JobMask.in.permits(job),
            besideRestored: JobMask.restored.permits(job))
    }
}

extension Step {
    /// The step that starts a side's migration job; `nil` for the destination of a direct migration, which has no
    /// steps.
    ///
    /// On the source that is Begin where it guards the guest against changes, and else Perform: in protocol v2, where
    /// one call holds the job throughout, and where a client does without the protection.
    public static func first(
        on side: Side, _ version: ProtocolVersion, _ mode: MigrationMode, hasChangeProtection: Bool
    ) -> Step? {
        switch side {
        case .destination: mode.sides.contains(side) ? .prepare : nil
        case .source where !mode.sides.contains(side): nil
        case .source: version == .v3 && hasChangeProtection && !mode.isHeldThroughout ? .begin : .perform
        }
    }
}
