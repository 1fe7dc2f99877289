public import Migration

/// What a QEMU's status word means to whoever comes back after a crash.
public enum RecoveryStatus: String, Hashable, Sendable, CaseIterable {
    /// Nothing was ever started.
    case none
    /// Pre-copy is under way, or is being cancelled, or shows a word nobody knows.
    case migrating
    /// Post-copy is under way, recovering included.
    case postcopy
    /// Post-copy is interrupted.
    case postcopyPaused = "postcopy-paused"
    /// Completed.
    case completed
    /// Failed or cancelled.
    case ended
    /// QEMU could not be asked.
    case unread

    /// The class of a word; `nil` is what QEMU says when nothing was started.
    public init(_ word: StatusWord?) {
        switch word {
        case nil, StatusWord.none?: self = .none
        case .completed?: self = .completed
        case .failed?, .cancelled?: self = .ended
        case .postcopyActive?, .postcopyRecover?, .postcopyRecoverSetup?: self = .postcopy
        case .postcopyPaused?: self = .postcopyPaused
        default: self = .migrating
        }
    }
}

/// What the guest does in a QEMU that is looked at after a crash.
public enum RecoveryGuest: String, Hashable, Sendable, CaseIterable {
    /// vCPUs run.
    case running
    /// They do not: paused, postmigrate, finish-migrate, shut down.
    case stopped
    /// QEMU waits for a guest, or loads it.
    case awaited
    /// The process is gone.
    case gone
    /// QEMU could not be asked.
    case unread

    /// The class of a run state.
    public init(_ runState: RunState) {
        switch runState {
        case .running: self = .running
        case .inMigrate: self = .awaited
        default: self = .stopped
        }
    }
}

/// All that a decision after a restart depends on: what QEMU shows now, and what the ledger has kept.
public struct RecoveryEvidence: Hashable, Sendable {
    /// Which end.
    public var side: Side
    /// The phase by the ledger.
    public var phase: Phase
    /// The guest, re-read.
    public var guest: RecoveryGuest
    /// The migration, re-read.
    public var status: RecoveryStatus
    /// `migrate` or `migrate-incoming` may have left.
    public var isOpened = false
    /// The call that entered the phase was answered.
    public var isAnswered = false
    /// The guest was given away (source).
    public var isSurrendered = false
    /// The commit point was recorded, and not taken back by QEMU's refusal (destination).
    public var isRunRecorded = false
    /// The tombstone was recorded (destination).
    public var isRefused = false

    /// Evidence of a side in a phase.
    public init(side: Side, phase: Phase, guest: RecoveryGuest, status: RecoveryStatus) {
        self.side = side
        self.phase = phase
        self.guest = guest
        self.status = status
    }
}

/// What a side does after a restart.
public enum RecoveryDecision: String, Hashable, Sendable, CaseIterable {
    /// Nothing was under way.
    case nothing
    /// The job ends; nothing had been started that has to be undone.
    case forget
    /// The process is gone: the step that was under way is answered so.
    case gone
    /// A migration that did not succeed is tidied up, and Perform is answered so. The guest is not continued by us.
    case tidy
    /// The migration is taken over and watched to its end.
    case adopt
    /// QEMU completed while nobody looked: the guest is given away and Perform is answered.
    case surrender
    /// The guest was given away: it stays stopped until the coordinator, or a person, says how it ended.
    case wait
    /// Confirm of a failure is done again: the guest goes on here.
    case resume
    /// Confirm of a success is done again: this QEMU is ended.
    case end
    /// The destination goes on listening for the guest, and waits for Finish or Abandon.
    case listen
    /// Finish goes on: it waits for the guest and commits.
    case arrive
    /// The commit stands: the guest is seen running, or told to run again.
    case run
    /// The attempt is refused for ever and this QEMU is ended.
    case refuse
    /// Post-copy runs on with nobody inside; when it completes, the job is finished.
    case unattended
    /// Post-copy completed while nobody looked: the job is finished now.
    case complete
    /// Post-copy is broken: the job is kept for a recovery.
    case awaitRecovery = "await-recovery"

    /// Whether this side may tell its QEMU to run the guest because of it.
    public var mayRunGuest: Bool { self == .resume || self == .arrive || self == .run }

    /// Whether this side may end its QEMU because of it.
    public var mayEndQEMU: Bool { self == .end || self == .refuse || self == .complete }
}

/// One row of the recovery table. What is `nil` or empty matches everything.
public struct RecoveryRow: Hashable, Sendable {
    /// Which end.
    public var side: Side
    /// In these phases.
    public var phases: [Phase]
    /// With the guest like this.
    public var guests: [RecoveryGuest]
    /// With the migration like this.
    public var statuses: [RecoveryStatus]
    /// `migrate` or `migrate-incoming` may have left.
    public var isOpened: Bool?
    /// The call that entered the phase was answered.
    public var isAnswered: Bool?
    /// The guest was given away.
    public var isSurrendered: Bool?
    /// The commit point stands.
    public var isRunRecorded: Bool?
    /// The tombstone was recorded.
    public var isRefused: Bool?
    /// What is done.
    public var decision: RecoveryDecision
    /// Why, and where a person is needed what has to be found out.
    public var sentence: String
    /// What libvirt does instead; empty where it does the same.
    public var libvirt: String

    /// Whether the row speaks of this.
    public func matches(_ evidence: RecoveryEvidence) -> Bool {
        side == evidence.side && (phases.isEmpty || phases.contains(evidence.phase))
            && (guests.isEmpty || guests.contains(evidence.guest))
            && (statuses.isEmpty || statuses.contains(evidence.status))
            && (isOpened ?? evidence.isOpened) == evidence.isOpened
            && (isAnswered ?? evidence.isAnswered) == evidence.isAnswered
            && (isSurrendered ?? evidence.isSurrendered) == evidence.isSurrendered
            && (isRunRecorded ?? evidence.isRunRecorded) == evidence.isRunRecorded
            && (isRefused ?? evidence.isRefused) == evidence.isRefused
    }
}

/// What each side does after a restart: a pure function of the phase, of what QEMU shows when it is asked again, and of
/// the ledger.
///
/// The rows follow libvirt's recovery after a restart of its daemon, with three differences: a migration that still
/// runs is taken over and not cancelled; where libvirt leaves a paused guest to "a third party", the peer is asked, and
/// what a person must find out is said; and whoever may run the guest is decided by the records of rule 6 (surrender,
/// run, refusal) and never by what does not run now.
public enum RecoveryTable {
    /// The decision and its row.
    public static func decide(_ evidence: RecoveryEvidence) -> RecoveryRow {
        for row in rows where row.matches(evidence) { return row }
        return evidence.side == .source ? sourceOtherwise : destinationOtherwise
    }

    /// The rows. The first one that matches decides.
    public static let rows: [RecoveryRow] = source + [sourceOtherwise] + destination + [destinationOtherwise]

    /// A row in one line.
    private static func row(
        _ side: Side, _ phases: [Phase], _ decision: RecoveryDecision, _ sentence: String,
        guest guests: [RecoveryGuest] = [], status statuses: [RecoveryStatus] = [], opened isOpened: Bool? = nil,
        answered isAnswered: Bool? = nil, surrendered isSurrendered: Bool? = nil, run isRunRecorded: Bool? = nil,
        refused isRefused: Bool? = nil, libvirt: String = ""
    ) -> RecoveryRow {
        RecoveryRow(
            side: side, phases: phases, guests: guests, statuses: statuses, isOpened: isOpened, isAnswered: isAnswered,
            isSurrendered: isSurrendered, isRunRecorded: isRunRecorded, isRefused: isRefused, decision: decision,
            sentence: sentence, libvirt: libvirt)
    }

    private static let sourceOtherwise = row(
        .source, [], .forget, "the phase is none of a source's: there is no migration to go on with")

    private static let destinationOtherwise = row(
        .destination, [], .forget, "the phase is none of a destination's: there is no migration to go on with")

    private static let resuming: [Phase] = [.postcopyFailed, .beginResume, .performResume, .confirmResume]

    private static let source: [RecoveryRow] = [
        row(.source, [.none], .nothing, "no migration was under way"),
        row(.source, [.begin3], .forget, "nothing was started yet: the job is given back", opened: false),
        row(
            .source, [], .gone,
            "the source's QEMU is gone: if the guest was given away the destination has it, else it ended here",
            guest: [.gone]),
        row(
            .source, [.perform2], .end,
            "protocol 2 ends the source as soon as the guest was given away", surrendered: true),
        row(
            .source, [.perform3, .perform3Done], .wait,
            "somebody continued the guest on the source after it was given away: the coordinator is told, and refuses the "
                + "destination if it can; find out whether the guest runs on the destination as well, and stop one of them",
            guest: [.running], surrendered: true, libvirt: "nothing"),
        row(
            .source, [.perform3, .perform3Done], .wait,
            "the guest was given away and stays stopped here: the coordinator is asked whether the destination runs it; if nobody can "
                + "be asked, find out whether the guest runs or ever ran on the destination, and say so with `resolve`",
            surrendered: true, libvirt: "nothing; the guest stays paused without a job, a third party must check"),
        row(
            .source, [.perform2, .perform3], .tidy, "`migrate` never left: what was configured is put back",
            opened: false, libvirt: "migrate_cancel, then cont if the guest is paused"),
        row(
            .source, [.perform2, .perform3], .tidy,
            "QEMU completed and somebody continued the guest here before it was given away: the destination is refused",
            guest: [.running], status: [.completed], libvirt: "migrate_cancel, which does nothing now"),
        row(
            .source, [.perform2, .perform3], .surrender,
            "QEMU completed while nobody looked: the guest is given away now, and Perform is answered",
            status: [.completed], libvirt: "migrate_cancel, then cont: the guest goes on here"),
        row(
            .source, [.perform2, .perform3], .tidy,
            "the migration ended without the guest having left: QEMU goes on with it by itself, what was configured is put back",
            status: [.ended, .none], libvirt: "cont if the guest is paused"),
        row(
            .source, [.perform2, .perform3], .adopt,
            "the migration still runs: it is taken over and watched to its end",
            status: [.migrating, .postcopy, .postcopyPaused],
            libvirt: "migrate_cancel, then cont if the guest is paused"),
        row(
            .source, [.perform2, .perform3], .adopt,
            "QEMU cannot be asked: the migration may still run, nothing is concluded before it answers or its process ends",
            status: [.unread], libvirt: "the domain is given up"),
        row(
            .source, [.perform3Done], .wait,
            "Perform was answered and the guest stays stopped here: the coordinator is asked; if nobody can be asked, find out whether the "
                + "guest runs or ever ran on the destination, and say so with `resolve`",
            libvirt: "nothing; a third party must check"),
        row(
            .source, [.confirm3Cancelled], .awaitRecovery,
            "the destination holds the guest in post-copy: it must not go on here",
            status: [.postcopy, .postcopyPaused]),
        row(
            .source, [.confirm3Cancelled], .resume,
            "Confirm was called on proof that the destination never ran the guest: it goes on here"),
        row(
            .source, [.confirm3], .end,
            "Confirm was called after the guest was seen on the destination: this QEMU is ended"),
        row(
            .source, resuming, .complete, "post-copy completed while nobody looked: this QEMU is ended",
            status: [.completed]),
        row(
            .source, resuming, .unattended,
            "post-copy still runs: its end finishes the job, whether anybody calls or not",
            status: [.postcopy, .migrating, .unread]),
        row(
            .source, resuming, .awaitRecovery,
            "post-copy is broken: the memory is on both hosts, the job is kept until a recovery is begun"),
    ]

    private static let resumingDestination: [Phase] = [.postcopyFailed, .prepareResume, .finishResume]

    private static let destination: [RecoveryRow] = [
        row(
            .destination, [.prepare, .finish2, .finish3, .none], .refuse,
            "the attempt was refused for ever: the QEMU that waited for it is ended, if it is not yet",
            opened: true, refused: true, libvirt: "there is no such record"),
        row(.destination, [.none], .nothing, "no migration was under way"),
        row(
            .destination, [], .gone,
            "the destination's QEMU is gone: what was recorded tells whether it may have run the guest",
            guest: [.gone]),
        row(
            .destination, [.prepare], .forget, "nothing listens yet: this QEMU waits as it did before", opened: false,
            libvirt: "the QEMU is killed"),
        row(
            .destination, [.prepare], .listen,
            "the guest is on its way in post-copy, and nowhere whole: Finish is awaited, or an interruption that can be recovered from",
            status: [.postcopy, .postcopyPaused], libvirt: "the QEMU is killed, and the guest is lost"),
        row(
            .destination, [.prepare], .refuse,
            "Prepare was interrupted and its caller never learned the address: the attempt is refused, this QEMU is ended",
            answered: false, libvirt: "the QEMU is killed"),
        row(
            .destination, [.prepare], .listen,
            "Prepare was answered: the guest may be arriving, Finish or Abandon decides. With nobody there to call them, a QEMU that is not "
                + "complete is ended; a complete one stays paused: find out whether the source's QEMU is dead or gave the guest away",
            libvirt: "the QEMU is killed"),
        row(
            .destination, [.finish2, .finish3], .run,
            "the commit stands: the guest runs here, Finish is answered", guest: [.running], run: true,
            libvirt: "the guest is kept, the job forgotten"),
        row(
            .destination, [.finish2, .finish3], .run,
            "the commit stands and the guest was not seen running: it is told to run again, unless it is to stay paused",
            run: true, libvirt: "finish3: the QEMU is killed, although the source may be told it runs; finish2: cont"),
        row(
            .destination, [.finish2, .finish3], .listen,
            "Finish failed and was answered so: Abandon is awaited", answered: true),
        row(
            .destination, [.finish2, .finish3], .arrive,
            "Finish was called, which proves that the source gave the guest away: it goes on",
            libvirt: "finish3: the QEMU is killed; finish2: cont"),
        row(
            .destination, resumingDestination, .complete,
            "post-copy completed while nobody looked: the guest is whole here",
            status: [.completed]),
        row(
            .destination, resumingDestination, .unattended,
            "post-copy still runs: its end finishes the job, whether anybody calls or not",
            status: [.postcopy, .migrating, .unread]),
        row(
            .destination, resumingDestination, .awaitRecovery,
            "post-copy is broken: the guest runs here until it misses a page, the job is kept until a recovery is begun"
        ),
    ]
}
