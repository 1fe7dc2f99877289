public import Migration
public import MigrationQMP
public import Phases
public import Policy

/// Something that happened in an attempt, for whoever watches. Times are on the recording's clock.
public enum AttemptEvent: Sendable {
    /// The attempt began; the journal is at this path.
    case started(attempt: String, journal: String)
    /// The published status changed.
    case status(PublishedStatus, reasons: [Reason], at: Instant)
    /// A phase moved.
    case phase(PhaseMove, at: Instant)
    /// QEMU gave numbers about the migration.
    case sample(MigrationSample, at: Instant)
    /// How far the copies of the disks are, all together.
    case disks(StorageProgress, at: Instant)
    /// Where the destination listens.
    case listening(uri: String, at: Instant)
    /// The convergence policy decided something.
    case policy(PolicyDecision, PolicyOutcome, at: Instant)
    /// The last numbers of the attempt, however it ends; told right before the end.
    case statistics(JobStatistics, at: Instant)
    /// Something odd that changes nothing.
    case notice(String, at: Instant)
    /// The end.
    case finished(AttemptResult, at: Instant)
}
