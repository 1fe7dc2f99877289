public import Migration

/// Where a call leaves the migration job.
public enum JobAfter: String, Hashable, Sendable, CaseIterable {
    /// The call goes on, its caller is inside.
    case owned
    /// The call is over and the job stays active with nobody inside.
    case continued = "continue"
    /// The call is over, and with it the job.
    case finished = "finish"
    /// The job is dropped from outside, whoever was inside: the domain is gone.
    case discarded = "discard"
}

/// A move that a phase may make, and what it does to the job.
public struct LegalMove: Hashable, Sendable {
    /// Whose phase.
    public var side: Side
    /// In which protocols.
    public var protocols: [ProtocolVersion]
    /// In which modes; not all of them have both sides.
    public var modes: [MigrationMode]
    /// From.
    public var from: Phase
    /// What makes it move, in a few words.
    public var trigger: String
    /// To; `none` where the job ends.
    public var to: Phase
    /// The job afterwards.
    public var after: JobAfter
    /// What else there is to say; empty if nothing.
    public var note: String
    /// Whether libvirt has no such move.
    public var isOurs: Bool
}

/// All legal moves of the phases: libvirt's, and those few that proofs instead of guesses make necessary.
///
/// ``JobMachine`` refuses every other one. A phase may always be set again to what it is.
public enum PhaseMoves {
    /// The rows, by side and then in the order of the phases they leave.
    public static let rows: [LegalMove] = source + sourceResume + destination + destinationResume

    /// Whether a phase may be followed by another one within one job. The same phase again is no move and always legal.
    public static func isLegal(_ side: Side, from: Phase, to: Phase) -> Bool {
        from == to || masks[(side == .source ? 0 : Phase.allCases.count) + from.order] & (1 << to.order) != 0
    }

    /// The rows that lead from one phase to another.
    public static func rows(_ side: Side, from: Phase, to: Phase) -> [LegalMove] {
        rows.filter { $0.side == side && $0.from == from && $0.to == to }
    }

    /// A bit for each phase that may follow, by side and phase: the question is asked on the way to the guest's
    /// continuation.
    private static let masks: [UInt32] = {
        var masks = [UInt32](repeating: 0, count: 2 * Phase.allCases.count)
        for row in rows where row.to != .none {
            masks[(row.side == .source ? 0 : Phase.allCases.count) + row.from.order] |= 1 << row.to.order
        }
        return masks
    }()

    private static let managed: [MigrationMode] = [.managed, .direct, .save]
    private static let heldThroughout: [MigrationMode] = [.peerToPeer, .tunnelled]
    private static let withDestination: [MigrationMode] = [.managed, .peerToPeer, .tunnelled, .restore]

    /// A row of the table in one line.
    private static func move(
        _ side: Side, _ from: Phase, _ trigger: String, _ to: Phase, _ after: JobAfter, _ note: String = "",
        in protocols: [ProtocolVersion] = [.v3], _ modes: [MigrationMode] = MigrationMode.allCases, isOurs: Bool = false
    ) -> LegalMove {
        LegalMove(
            side: side, protocols: protocols, modes: modes.filter { $0.sides.contains(side) },
            from: from, trigger: trigger, to: to, after: after, note: note, isOurs: isOurs)
    }

    private static let source: [LegalMove] = [
        move(.source, .none, "Perform", .perform2, .owned, "the whole outgoing migration in one call", in: [.v2]),
        move(.source, .perform2, "Perform ended", .none, .finished, "after a success the source is ended", in: [.v2]),
        move(.source, .none, "Begin, with change protection", .begin3, .continued, "", managed),
        move(.source, .none, "Perform", .begin3, .owned, "one call holds the job to its end", heldThroughout),
        move(.source, .none, "Perform without change protection", .perform3, .owned, "Begin left no job", managed),
        move(
            .source, .none, "Confirm (cancelled) after a failed Perform", .confirm3Cancelled, .owned,
            "continuing a stopped guest is a job of its own", isOurs: true),
        move(.source, .begin3, "Begin failed", .none, .finished),
        move(.source, .begin3, "Perform", .perform3, .owned),
        move(.source, .begin3, "Prepare failed, Confirm (cancelled)", .confirm3Cancelled, .finished, "", managed),
        move(
            .source, .begin3, "Prepare failed", .none, .finished, "nothing was begun that needs a Confirm",
            heldThroughout),
        move(.source, .begin3, "the connection closed", .confirm3Cancelled, .finished, "parameters are put back"),
        move(.source, .begin3, "offline: Confirm", .confirm3, .finished, "Perform is skipped, no CPU is touched"),
        move(.source, .perform3, "completed, or post-copy began", .perform3Done, .continued, "", managed),
        move(.source, .perform3, "completed, or post-copy began", .perform3Done, .owned, "", heldThroughout),
        move(
            .source, .perform3, "the migration failed", .none, .finished, "no Confirm follows; parameters are put back",
            managed),
        move(
            .source, .perform3, "the migration failed, Confirm (cancelled)", .confirm3Cancelled, .owned,
            "Finish was told about the failure", heldThroughout),
        move(.source, .perform3, "post-copy failed", .postcopyFailed, .continued, "the job outlives the call"),
        move(.source, .perform3Done, "Confirm (success)", .confirm3, .owned, "the source is ended"),
        move(
            .source, .perform3Done, "Confirm (cancelled), but post-copy completed", .confirm3, .owned,
            "a success whatever the caller thinks"),
        move(
            .source, .perform3Done, "Confirm (cancelled)", .confirm3Cancelled, .owned,
            "the guest goes on here, given the destination's abandon answer"),
        move(.source, .perform3Done, "Confirm (cancelled) in post-copy", .postcopyFailed, .continued),
        move(
            .source, .perform3Done, "the connection closed in post-copy", .postcopyFailed, .continued,
            "the domain is paused (post-copy failed)"),
        move(.source, .confirm3Cancelled, "done", .none, .finished),
        move(
            .source, .confirm3Cancelled, "post-copy was seen to have failed", .postcopyFailed, .continued,
            "noticed only inside of Confirm"),
        move(.source, .confirm3, "done", .none, .finished),
    ]

    private static let sourceResume: [LegalMove] = [
        move(
            .source, .perform3Done, "Begin (resume), post-copy paused", .beginResume, .continued,
            "the domain is in failed post-copy although nobody said so yet"),
        move(
            .source, .confirm3Cancelled, "Begin (resume), post-copy paused", .beginResume, .continued,
            "the domain is in failed post-copy although nobody said so yet"),
        move(.source, .postcopyFailed, "Begin (resume)", .beginResume, .continued, "QEMU must be in postcopy-paused"),
        move(
            .source, .postcopyFailed, "completed with nobody watching", .confirmResume, .owned,
            "the source is ended"),
        move(
            .source, .postcopyFailed, "Perform (resume), post-copy completed", .performResume, .continued,
            "the guest was not given away before, and is now", isOurs: true),
        move(.source, .beginResume, "Perform (resume)", .performResume, .continued, "`migrate` with `resume`"),
        move(.source, .beginResume, "failed, or the connection closed", .postcopyFailed, .continued),
        move(.source, .performResume, "Confirm (resume)", .confirmResume, .owned, "the source is ended"),
        move(.source, .performResume, "failed, or the connection closed", .postcopyFailed, .continued),
        move(.source, .confirmResume, "failed", .postcopyFailed, .continued),
        move(.source, .confirmResume, "done", .none, .finished),
    ]

    private static let destination: [LegalMove] = [
        move(
            .destination, .none, "Prepare", .prepare, .continued, "auto-destroy guards the job", in: [.v2, .v3],
            withDestination),
        move(.destination, .prepare, "Prepare failed", .none, .finished, "", in: [.v2, .v3]),
        move(
            .destination, .prepare, "the connection closed", .none, .discarded,
            "auto-destroy: a QEMU that is not complete is ended", in: [.v2, .v3]),
        move(
            .destination, .prepare, "Abandon", .none, .finished, "the attempt is refused for ever, then QEMU is ended",
            in: [.v2, .v3], isOurs: true),
        move(.destination, .prepare, "Finish", .finish2, .owned, "", in: [.v2]),
        move(.destination, .prepare, "Finish", .finish3, .owned),
        move(.destination, .finish2, "done, or failed", .none, .finished, "", in: [.v2]),
        move(.destination, .finish3, "done", .none, .finished),
        move(
            .destination, .finish3, "failed before `cont`", .none, .finished,
            "the QEMU is ended; ours ends it in Abandon"),
        move(
            .destination, .finish3, "failed after `cont` in post-copy", .postcopyFailed, .continued,
            "auto-destroy is removed"),
    ]

    private static let destinationResume: [LegalMove] = [
        move(
            .destination, .finish3, "Prepare (resume), post-copy paused", .prepareResume, .continued,
            "the domain is in failed post-copy although nobody said so yet"),
        move(
            .destination, .prepare, "post-copy paused before Finish", .postcopyFailed, .continued,
            "the guest was not run yet, and is when the recovery has come to its Finish", isOurs: true),
        move(
            .destination, .postcopyFailed, "Prepare (resume)", .prepareResume, .continued,
            "QEMU must be in postcopy-paused; `migrate-recover`"),
        move(.destination, .postcopyFailed, "completed with nobody watching", .finishResume, .owned),
        move(.destination, .prepareResume, "Finish (resume)", .finishResume, .owned, "waits for completed"),
        move(.destination, .prepareResume, "failed, or the connection closed", .postcopyFailed, .continued),
        move(.destination, .finishResume, "failed", .postcopyFailed, .continued),
        move(.destination, .finishResume, "done", .none, .finished),
    ]
}
