/// How an attempt ended on one side, other than by arriving.
public enum Ending: String, Hashable, Sendable {
    /// By somebody's wish.
    case cancelled
    /// By an error.
    case failed
}

/// Where one side of a post-copy migration is.
public enum PostcopyStage: String, Hashable, Sendable {
    /// The package of device state is on its way.
    case device
    /// Memory follows the guest.
    case active
    /// The channel broke.
    case paused
    /// A recovery connects or shakes hands.
    case recovering
}

/// Our internal position on one side, computed from the evidence and from nothing else.
public enum Stage: Hashable, Sendable {
    /// Nothing was started.
    case idle
    /// `migrate` or `migrate-incoming` left, nothing else is known.
    case starting
    /// The guest must release a device first.
    case waiting
    /// Memory is being copied, or, for a word nobody knows, the attempt is under way.
    case copying
    /// The guest is stopped and `migrate-continue` is awaited.
    case held
    /// The guest is stopped and its last state is being sent.
    case switchover
    /// Post-copy.
    case postcopy(PostcopyStage)
    /// A cancel or an error is being carried out.
    case stopping(Ending)
    /// Over, without the guest having left.
    case ended(Ending)
    /// This side has done all its work.
    case completed
    /// The process is gone.
    case gone
}

/// A piece of evidence that a rule rests on.
public enum Basis: Hashable, Sendable {
    /// Somebody asked.
    case trigger(TriggerKind)
    /// Something was seen.
    case event(EventKind)
}

/// A reason: a record and what it shows.
public struct Reason: Hashable, Sendable {
    /// The record's sequence number.
    public var sequence: Int
    /// Which QEMU it concerns.
    public var side: Side
    /// What it shows, for a person.
    public var what: String

    /// A reason.
    public init(sequence: Int, side: Side, what: String) {
        self.sequence = sequence
        self.side = side
        self.what = what
    }
}

/// A rule of the advance table: the first one that applies decides.
public struct AdvanceRule: Sendable {
    /// What the rule says, for the table's readers.
    public var name: String
    /// Whether the evidence satisfies it.
    public var applies: @Sendable (Evidence) -> Bool
    /// The stage that follows.
    public var stage: @Sendable (Evidence) -> Stage
    /// The kinds of stages that can follow, for the table's readers.
    public var stages: [StageKind]
    /// The rows that are its reasons, if they exist.
    public var because: [Basis]

    init(
        _ name: String, _ stage: Stage, because: [Basis], when applies: @escaping @Sendable (Evidence) -> Bool
    ) {
        self.name = name
        self.applies = applies
        self.stage = { _ in stage }
        self.stages = [StageKind(stage)]
        self.because = because
    }

    init(
        _ name: String, _ stages: [StageKind], because: [Basis],
        when applies: @escaping @Sendable (Evidence) -> Bool,
        stage: @escaping @Sendable (Evidence) -> Stage
    ) {
        self.name = name
        self.applies = applies
        self.stage = stage
        self.stages = stages
        self.because = because
    }
}
