public import Migration

/// What the coordinator ends an attempt with. Every end is one of these and there is no other way to one: the word that
/// is published at the end follows from it.
///
/// The rules of publication (``Migration/PublishedRules``) go by what both QEMUs show. A verdict also rests on what the
/// rules cannot see: how the steps were answered, which is where records and proofs are told of. Where the two name
/// different ends the verdict counts, and ``VerdictRow`` says why.
public enum Verdict: String, Hashable, Sendable, CaseIterable {
    // Completed.
    /// Finish and Confirm were done.
    case arrived
    /// Finish was done, and the source has ended before.
    case arrivedWithoutSource = "arrived-without-source"
    /// Finish was done, and the source could not be ended.
    case arrivedWithLeftover = "arrived-with-leftover"
    /// A post-copy came to its end with nobody inside.
    case arrivedUnattended = "arrived-unattended"
    /// The source sent the guest to a destination that nobody watches.
    case sentUnwatched = "sent-unwatched"
    /// Only the definition of a guest that does not run was to be moved.
    case definitionMoved = "definition-moved"
    /// The guest is in a file that is safe on the disk.
    case saved
    /// The guest came out of a file, and is on the destination as intended.
    case restored

    // Failed and cancelled: the guest is on the source.
    /// What was asked for excludes itself.
    case excluded
    /// Nothing was begun.
    case notBegun = "not-begun"
    /// Cancelled before anything was begun.
    case notBegunByCancel = "not-begun-by-cancel"
    /// The guest stayed, and the destination never runs it.
    case stayed
    /// The same after a cancel.
    case stayedByCancel = "stayed-by-cancel"
    /// The guest was continued on the source.
    case continued
    /// The same after a cancel.
    case continuedByCancel = "continued-by-cancel"
    /// The guest runs on the source, although Confirm could not do all that was its part.
    case runsUnconfirmed = "runs-unconfirmed"
    /// The same after a cancel.
    case runsUnconfirmedByCancel = "runs-unconfirmed-by-cancel"
    /// The guest runs on the source, and the destination, which was never told to run it, was not seen to end.
    case runsUnrefused = "runs-unrefused"
    /// The same after a cancel.
    case runsUnrefusedByCancel = "runs-unrefused-by-cancel"
    /// The guest never left for a destination that nobody watches.
    case neverLeft = "never-left"
    /// The same after a cancel.
    case neverLeftByCancel = "never-left-by-cancel"

    // Failed and cancelled: the guest is in the file it was to come out of.
    /// It could not be loaded, or was not tried to be.
    case notRestored = "not-restored"
    /// The same after a cancel.
    case notRestoredByCancel = "not-restored-by-cancel"

    // The guest is nowhere.
    /// The source is gone and the guest had not arrived.
    case sourceGone = "source-gone"
    /// The guest shut itself down on the way.
    case guestShutDown = "guest-shut-down"
    /// The guest ended with the destination.
    case endedThere = "ended-there"
    /// One side of a post-copy is gone before both were done.
    case lostInPostcopy = "lost-in-post-copy"

    // Undecided.
    /// Finish could not tell whether the guest runs.
    case finishUnproven = "finish-unproven"
    /// The only copy of the guest waits on the destination.
    case onlyCopyWaits = "only-copy-waits"
    /// The destination ended and was never seen to run the guest.
    case endedUnseen = "ended-unseen"
    /// The destination may have run the guest, or could not be ended.
    case abandonUnproven = "abandon-unproven"
    /// The source's migration was not seen to end.
    case performUnproven = "perform-unproven"
    /// The source was not seen to continue.
    case confirmUnproven = "confirm-unproven"
    /// In post-copy a step was refused.
    case stepRefused = "step-refused"
    /// A side cannot be asked after a restart.
    case sideSilent = "side-silent"
    /// The source runs a guest that was given away.
    case runsTwice = "runs-twice"
    /// A post-copy broke for good before the guest was seen running on the destination.
    case wholeOnSource = "whole-on-source"
    /// The source, which still has memory that the destination needs, cannot be reached.
    case sourceUnreachable = "source-unreachable"
    /// The guest may have left for a destination that nobody watches.
    case leftUnwatched = "left-unwatched"

    /// The word that is published at the end.
    public var word: PublishedWord {
        switch self {
        case .arrived, .arrivedWithoutSource, .arrivedWithLeftover, .arrivedUnattended, .sentUnwatched,
            .definitionMoved, .saved, .restored:
            .completed
        case .excluded, .notBegun, .stayed, .continued, .runsUnconfirmed, .runsUnrefused, .neverLeft, .notRestored:
            .failed
        case .notBegunByCancel, .stayedByCancel, .continuedByCancel, .runsUnconfirmedByCancel,
            .runsUnrefusedByCancel, .neverLeftByCancel, .notRestoredByCancel:
            .cancelled
        case .sourceGone, .endedThere, .lostInPostcopy: .lost
        case .guestShutDown: .ended
        case .finishUnproven, .onlyCopyWaits, .endedUnseen, .abandonUnproven, .performUnproven, .confirmUnproven,
            .stepRefused, .sideSilent, .runsTwice, .wholeOnSource, .sourceUnreachable, .leftUnwatched:
            .undecided
        }
    }

    /// Where the guest is, as far as it is proven.
    public var place: GuestPlace {
        switch word {
        case _ where [.saved, .notRestored, .notRestoredByCancel].contains(self): .file
        case .completed: .destination
        case .failed, .cancelled: .source
        case .lost, .ended: .nowhere
        default: .unknown
        }
    }

    /// The verdict that says the same of an attempt that somebody cancelled; itself where a cancel makes no difference.
    var byCancel: Verdict {
        switch self {
        case .notBegun: .notBegunByCancel
        case .stayed: .stayedByCancel
        case .continued: .continuedByCancel
        case .runsUnconfirmed: .runsUnconfirmedByCancel
        case .runsUnrefused: .runsUnrefusedByCancel
        case .neverLeft: .neverLeftByCancel
        case .notRestored: .notRestoredByCancel
        default: self
        }
    }
}
