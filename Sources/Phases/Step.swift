public import Migration

/// A step of the protocol.
public enum Step: String, Hashable, Sendable, CaseIterable {
    /// Source, protocol 2: describe the guest, hold nothing.
    case dumpXML = "dumpxml"
    /// Source: describe the guest, hold the job.
    case begin
    /// Destination: compare, listen.
    case prepare
    /// Source: migrate until the guest has left or stays.
    case perform
    /// Destination: run the guest.
    case finish
    /// Source: end the left-over QEMU, or go on here.
    case confirm
    /// Destination: refuse this attempt for ever and end the QEMU that waited for it.
    case abandon

    /// On which side it runs.
    public var side: Side {
        switch self {
        case .dumpXML, .begin, .perform, .confirm: .source
        case .prepare, .finish, .abandon: .destination
        }
    }
}

/// How a step was answered.
public enum StepResult: Hashable, Sendable {
    /// Done, with a cookie for the next one.
    case done(Cookie)
    /// Not done, and why.
    case failed(StepError)
}

/// Why a step was not done.
public struct StepError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of failure; what follows may depend on it.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// The step refused before it changed anything.
        case refused
        /// It was tried and failed.
        case failed
        /// Somebody cancelled.
        case cancelled
        /// QEMU's process is gone.
        case gone
        /// It could not be found out; nothing is proven.
        case unproven
        /// A post-copy was interrupted: nothing is decided, the job is kept and waits for a recovery.
        case interrupted
    }

    /// The kind.
    public var kind: Kind
    /// In words, naming what and where.
    public var description: String

    /// An error.
    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// A record that must be on its way to the disk before the effects that follow it are carried out.
public enum JournalRecord: Hashable, Sendable {
    /// What must be put back on this side.
    case saved(Side, capabilities: [CapabilitySetting], parameters: [Setting])
    /// The source has given the guest away.
    case surrendered(attempt: String)
    /// The destination may run the guest: the commit point.
    case run(attempt: String)
    /// The destination will never run this attempt.
    case refused(attempt: String)
    /// Whether the guest ran on this side before anything was done to it.
    case began(Side, attempt: String, wasRunning: Bool)
    /// A command that cannot be unsaid is about to leave; it may not have arrived.
    case intent(Side, TriggerKind)
    /// The phase moved.
    case phase(PhaseMove)
    /// A step was entered with this cookie.
    case called(Step, Cookie)
    /// A step was answered like this: called again it is answered the same.
    case answered(Step, StepResult)
    /// Somebody asked something of the attempt.
    case requested(Request, Origin)
    /// What the lock manager said when it got the guest's leases back: without it nobody takes them again.
    case released(Side, LeaseState)
    /// Somebody else paused the guest while it was copied, or continued it after that.
    case interfered(isPaused: Bool)
}

/// A bounded wait.
public enum Deadline: String, Hashable, Sendable, CaseIterable {
    /// Begin's queries.
    case begin
    /// Prepare's queries and commands.
    case prepare
    /// Configuring the source and starting the migration.
    case start
    /// The whole migration, as the user said.
    case migration
    /// Guest stopped to completed.
    case switchover
    /// A cancel's way to its end.
    case cancel
    /// A yank's way to its end.
    case yank
    /// Tidying the source after an attempt that did not succeed.
    case cleanup
    /// The next look whether QEMU has tidied up.
    case cleanupPoll = "cleanup-poll"
    /// The time that a source gets to tidy up if it cannot be asked whether it has (QEMU before 6.0).
    case grace
    /// Source completed to destination completed.
    case arrival
    /// Finishing the copies of disks while the guest stands still.
    case storage
    /// `cont` to running on the destination.
    case run
    /// The next look at a destination that should run.
    case runPoll = "run-poll"
    /// `quit` to the process's end, on the destination.
    case abandon
    /// A kill to the process's end, on the destination.
    case abandonKill = "abandon-kill"
    /// Continuing the source.
    case resume
    /// The next try to continue the source.
    case resumePoll = "resume-poll"
    /// `quit` to the process's end, on the source.
    case quit
    /// A kill to the process's end, on the source.
    case quitKill = "quit-kill"
    /// A guest that is held before the switchover to somebody's word.
    case hold
    /// The beginning of Perform to post-copy, where that was wished by time.
    case postcopy
    /// Source in post-copy to the proof that the guest may run on the destination.
    case handOver = "hand-over"
    /// One side of a post-copy interrupted to the other.
    case halfPaused = "half-paused"
    /// A post-copy recovery's way back to post-copy.
    case recovery
    /// Destination completed in post-copy to source completed.
    case completion
    /// What the source's lock manager was asked, to its answer.
    case sourceLease = "source-lease"
    /// What the destination's lock manager was asked, to its answer.
    case destinationLease = "destination-lease"
    /// A lost source monitor.
    case sourceMonitor = "source-monitor"
    /// A lost destination monitor.
    case destinationMonitor = "destination-monitor"
    /// A side without its coordinator.
    case peer
    /// Re-reading a QEMU after a restart.
    case restart
    /// The next time that an unanswered step is called again.
    case `repeat`
    /// A coordinator without its source side.
    case sourcePeer = "source-peer"
    /// A coordinator without its destination side.
    case destinationPeer = "destination-peer"
}

extension Deadline {
    /// Whether an attempt that is under way is given up, as an error, when it runs out.
    public var isGivingUp: Bool {
        switch self {
        case .start, .switchover, .hold, .handOver, .storage, .destinationMonitor: true
        default: false
        }
    }
}

/// How long each wait may take, in milliseconds.
public struct DeadlineTable: Hashable, Sendable {
    /// The waits; a missing one takes ten seconds.
    public var milliseconds: [Deadline: Int] = [
        .begin: 10_000, .prepare: 10_000, .start: 30_000, .switchover: 30_000, .cancel: 3_000, .yank: 5_000,
        .cleanup: 10_000, .cleanupPoll: 10, .grace: 500, .storage: 30_000, .arrival: 30_000, .run: 10_000, .runPoll: 50,
        .abandon: 2_000,
        .abandonKill: 5_000, .resume: 10_000, .resumePoll: 10, .quit: 5_000, .quitKill: 5_000,
        .hold: 300_000, .handOver: 30_000, .halfPaused: 5_000, .recovery: 30_000, .completion: 30_000,
        .sourceMonitor: 10_000,
        .destinationMonitor: 10_000, .sourceLease: 5_000, .destinationLease: 5_000, .peer: 25_000, .restart: 10_000,
        .repeat: 5_000, .sourcePeer: 25_000,
        .destinationPeer: 25_000,
    ]

    /// The usual waits.
    public init() {}

    /// A wait's length.
    public subscript(_ deadline: Deadline) -> Int { milliseconds[deadline] ?? 10_000 }
}
