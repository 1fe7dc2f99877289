public import Migration

/// How a step was answered, for a verdict.
public struct VerdictAnswer: Hashable, Sendable, CustomStringConvertible {
    /// Which step.
    public var step: Step
    /// The kinds of failure that it was answered with; empty if it was done.
    public var failures: [StepError.Kind]

    /// Whether a step that was answered like this fits.
    public func fits(_ step: Step, _ result: StepResult) -> Bool {
        guard step == self.step else { return false }
        return switch result {
        case .done: failures.isEmpty
        case .failed(let error): failures.contains(error.kind)
        }
    }

    /// A few words for a table.
    public var description: String {
        if failures.isEmpty { return "\(step.rawValue) done" }
        if failures.count == StepError.Kind.allCases.count { return "\(step.rawValue) failed" }
        return "\(step.rawValue) \(failures.map(\.rawValue).joined(separator: " or "))"
    }

    static func done(_ step: Step) -> VerdictAnswer { VerdictAnswer(step: step, failures: []) }

    static func failed(_ step: Step, _ kinds: StepError.Kind...) -> VerdictAnswer {
        VerdictAnswer(step: step, failures: kinds.isEmpty ? StepError.Kind.allCases : kinds)
    }
}

/// What a verdict rests on.
public struct VerdictRow: Hashable, Sendable {
    /// What is known then, for the table's readers.
    public var name: String
    /// The step whose answer came last: one of these. Empty where a restart or a person's word comes before any.
    public var answers: [VerdictAnswer]
    /// The rows of both sides' evidence that it is about.
    public var because: [JointBasis]
    /// Other ends that the rules of publication may name for what both QEMUs show at that moment.
    public var overrules: [PublishedWord]
    /// Why the verdict counts and not the rules; empty where they never name another end.
    public var reason: String

    init(
        _ name: String, _ answers: [VerdictAnswer], _ because: [JointBasis] = [], over overrules: [PublishedWord] = [],
        _ reason: String = ""
    ) {
        self.name = name
        self.answers = answers
        self.because = because
        self.overrules = overrules
        self.reason = reason
    }
}

extension Verdict {
    /// What it rests on.
    public var row: VerdictRow {
        switch self {
        case .arrived, .arrivedWithoutSource, .arrivedWithLeftover, .arrivedUnattended, .sentUnwatched,
            .definitionMoved, .saved, .restored:
            arrival
        case .excluded, .notBegun, .stayed, .continued, .runsUnconfirmed, .runsUnrefused, .neverLeft, .notRestored:
            stay
        case .notBegunByCancel, .stayedByCancel, .continuedByCancel, .runsUnconfirmedByCancel,
            .runsUnrefusedByCancel, .neverLeftByCancel, .notRestoredByCancel:
            cancel
        case .sourceGone, .guestShutDown, .endedThere, .lostInPostcopy: loss
        default: doubt
        }
    }

    private var arrival: VerdictRow {
        switch self {
        case .arrivedWithoutSource:
            VerdictRow(
                "the guest is on the destination as intended, and the source's QEMU has ended before (protocol 2 "
                    + "ends it in Perform)",
                [.done(.finish)], [.destination(.completed), .source(.processEnded)])
        case .arrivedWithLeftover:
            VerdictRow(
                "the guest is on the destination as intended, and the source's QEMU was not ended or not put back",
                [.failed(.confirm)], [.source(.completed), .destination(.completed)])
        case .arrivedUnattended:
            VerdictRow(
                "a post-copy that was interrupted came to its end by itself, and the guest is whole on the destination",
                [.done(.finish), .done(.confirm)], [.destination(.completed)])
        case .sentUnwatched:
            VerdictRow(
                "the source has sent everything to a destination that nobody watches",
                [.done(.confirm), .failed(.confirm)],
                [.source(.completed)])
        case .definitionMoved:
            VerdictRow("the definition of a guest that does not run is on the destination", [.done(.confirm)])
        case .saved:
            VerdictRow(
                "the guest is in a file that is safe on the disk; the source's QEMU was ended or kept, or could not be "
                    + "ended",
                [.done(.confirm), .failed(.confirm)], [.source(.completed)])
        case .restored:
            VerdictRow(
                "the guest came out of a file and is on the destination as intended", [.done(.finish)],
                [.destination(.completed)])
        default:
            VerdictRow(
                "the guest is on the destination as intended, and the source's QEMU was ended, or put back and kept",
                [.done(.confirm)], [.source(.completed), .destination(.completed)])
        }
    }

    private var stay: VerdictRow {
        switch self {
        case .excluded: VerdictRow("what was asked for excludes itself, and nobody was asked anything", [])
        case .notBegun:
            VerdictRow(
                "a first step was refused or failed, before anything was sent",
                [.failed(.dumpXML), .failed(.begin), .failed(.prepare)])
        case .continued:
            VerdictRow(
                "the destination is refused for ever and its QEMU dead, and Confirm has seen the guest go on at the "
                    + "source",
                [.done(.confirm)], [.source(.resumed), .source(.runState)], over: [.undecided],
                "the destination has ended, and a person has stated that the guest never ran there")
        case .runsUnconfirmed:
            VerdictRow(
                "the destination is refused for ever and its QEMU dead, and the guest was seen running on the source; "
                    + "the rest of Confirm failed", [.failed(.confirm)], [.source(.resumed)])
        case .runsUnrefused:
            VerdictRow(
                "QEMU continued the guest on the source by itself; the destination was never told to run it and was "
                    + "not seen to end",
                [.failed(.abandon), .failed(.perform)], [.source(.resumed), .source(.failed), .source(.cancelled)])
        case .notRestored:
            VerdictRow(
                "the destination could not load the guest from its file, or was not asked to, and is refused for ever",
                [.failed(.prepare), .done(.abandon)], [.destination(.failed), .destination(.processEnded)])
        case .neverLeft:
            VerdictRow(
                "without anybody at the destination: the guest runs on the source, or was not running before",
                [.failed(.perform)], [.source(.failed), .source(.cancelled), .source(.runState)])
        default:
            VerdictRow(
                "the destination is refused for ever and its QEMU dead or untouched; the guest is on the source as "
                    + "QEMU left it",
                [.done(.abandon), .failed(.perform)],
                [
                    .source(.failed), .source(.cancelled), .source(.monitorLost), .destination(.failed),
                    .destination(.processEnded), .destination(.monitorLost),
                ], over: [.undecided],
                "the rules miss that a guest that was paused before is not continued after a post-copy that came to "
                    + "nothing"
            )
        }
    }

    private var cancel: VerdictRow {
        switch self {
        case .notBegunByCancel:
            VerdictRow(
                "somebody cancelled before anything was sent",
                [.done(.dumpXML), .done(.begin), .failed(.dumpXML), .failed(.begin), .failed(.prepare)])
        case .continuedByCancel: Verdict.continued.row.byCancel
        case .runsUnconfirmedByCancel: Verdict.runsUnconfirmed.row.byCancel
        case .runsUnrefusedByCancel: Verdict.runsUnrefused.row.byCancel
        case .neverLeftByCancel: Verdict.neverLeft.row.byCancel
        case .notRestoredByCancel: Verdict.notRestored.row.byCancel
        default: Verdict.stayed.row.byCancel
        }
    }

    private var loss: VerdictRow {
        switch self {
        case .guestShutDown:
            VerdictRow(
                "the guest shut itself down on the source, whose QEMU is gone, and had not arrived",
                [
                    .failed(.dumpXML), .failed(.begin), .failed(.prepare), .failed(.perform), .done(.abandon),
                    .failed(.abandon), .failed(.confirm),
                ],
                [.source(.guestShutdown), .source(.processEnded)], over: [.failed, .cancelled],
                "how the attempt ended at the source before matters no more: the guest has ended by itself")
        case .endedThere:
            VerdictRow(
                "the guest ran on the destination and ended with it",
                [.done(.finish), .done(.perform), .failed(.finish), .failed(.abandon)],
                [.destination(.ran), .destination(.processEnded)], over: [.completed],
                "both were done and it was seen running; but it has ended since, and until the last step is answered "
                    + "that counts"
            )
        case .lostInPostcopy:
            VerdictRow(
                "one side of a post-copy is gone before both were done, and the guest ran on the destination or the "
                    + "source is gone",
                [.done(.perform), .failed(.perform), .failed(.finish), .failed(.begin), .failed(.prepare)],
                [.source(.processEnded), .destination(.processEnded)])
        default:
            VerdictRow(
                "the source's QEMU is gone, or ended by protocol 2, and the guest had not arrived",
                [
                    .failed(.dumpXML), .failed(.begin), .failed(.prepare), .failed(.perform), .done(.abandon),
                    .failed(.abandon), .failed(.confirm),
                ],
                [.source(.processEnded), .source(.completed)], over: [.failed, .cancelled],
                "how the attempt ended at the source before matters no more: its QEMU is gone, and the guest with it")
        }
    }

    private var doubt: VerdictRow {
        switch self {
        case .finishUnproven:
            VerdictRow(
                "the destination was told to run the guest and was not seen to, or cannot be reached",
                [.failed(.finish, .unproven)],
                [.destination(.completed), .destination(.monitorLost), .destination(.runState)], over: [.completed],
                "it was seen running before it could not be reached any more: whether it does now nobody can say")
        case .onlyCopyWaits:
            VerdictRow(
                "Finish failed, the destination has all of the guest, and the source's QEMU is gone",
                [.failed(.finish)], [.destination(.completed), .source(.processEnded)])
        case .endedUnseen:
            VerdictRow(
                "the destination ended after Finish and was never seen to run the guest; the source still holds it",
                [.done(.finish)], [.destination(.processEnded)], over: [.failed],
                "the rules see that no `cont` was sent; Finish was done all the same, as the guest was to stay "
                    + "paused, and it may have been touched there since"
            )
        case .abandonUnproven:
            VerdictRow(
                "the destination was told to run the guest, or was not seen to end", [.failed(.abandon)],
                over: [.failed, .lost],
                "the rules see no `cont`; but the record that it may run was written, and the `cont` may have left; and "
                    + "without the source all of the guest may have come to the destination unseen")
        case .performUnproven:
            VerdictRow(
                "the source's migration was not seen to end, and the guest was not seen running there",
                [.failed(.perform, .unproven), .done(.abandon)], over: [.lost, .failed, .cancelled],
                "what a side last told before it could not be reached is no proof; and in post-copy, from where the "
                    + "rules know no way back, all of the guest may still be on the source")
        case .confirmUnproven:
            VerdictRow(
                "the source was to go on with the guest and was not seen to", [.failed(.confirm)],
                over: [.failed, .cancelled],
                "the attempt is over as the rules say, but nobody can vouch for the guest: it may stand still")
        case .stepRefused:
            VerdictRow(
                "in post-copy a step was refused before it changed anything: both QEMUs go on as they are",
                [.failed(.perform, .refused), .failed(.finish, .refused)],
                [.source(.postcopyActive), .destination(.postcopyActive)], over: [.completed],
                "the guest may have come whole by itself; the steps that say so were not done")
        case .sideSilent:
            VerdictRow(
                "after a restart a side cannot be asked where it stands", [],
                over: [.completed, .failed, .cancelled, .lost, .ended],
                "what the other side shows, or what was known before, does not prove what this one has done since")
        case .runsTwice:
            VerdictRow(
                "the source runs the guest after it was given away, and it may run on the destination too",
                [.done(.perform)], [.source(.resumed)], over: [.failed],
                "the rules see that the source runs again; whether the destination does as well is what nobody knows")
        case .wholeOnSource:
            VerdictRow(
                "a post-copy broke for good before the guest was seen running on the destination: the source holds all "
                    + "of it and refuses to continue it",
                [.done(.perform), .failed(.perform), .failed(.finish), .failed(.confirm)],
                [.source(.postcopyActive), .destination(.failed), .destination(.processEnded)], over: [.lost],
                "the rules know no way back from post-copy; all of the guest is still there, out of QEMU's reach but "
                    + "not of a person's"
            )
        case .sourceUnreachable:
            VerdictRow(
                "in post-copy the source, which has memory that the destination still needs, cannot be reached",
                [.done(.perform)], [.source(.monitorLost), .source(.postcopyActive)])
        default:
            VerdictRow(
                "without anybody at the destination: the source was not seen to go on with the guest, which may have "
                    + "left",
                [.failed(.perform)], over: [.lost],
                "the rules see the source alone; the guest may run where nobody looks")
        }
    }
}

extension VerdictRow {
    /// The same of an attempt that somebody cancelled.
    fileprivate var byCancel: VerdictRow {
        var row = self
        row.name = "the same, and somebody had cancelled: " + name
        row.because = [JointBasis(.source, .trigger(.cancel))] + because
        return row
    }
}

extension JointBasis {
    fileprivate static func source(_ kind: EventKind) -> JointBasis { JointBasis(.source, .event(kind)) }

    fileprivate static func destination(_ kind: EventKind) -> JointBasis { JointBasis(.destination, .event(kind)) }
}
