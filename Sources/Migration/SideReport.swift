/// What became of somebody's cancel.
public enum CancelOutcome: String, Hashable, Sendable {
    /// Nobody cancelled.
    case none
    /// The attempt ended by it.
    case honoured
    /// It came after the first sign of an error.
    case late
    /// The guest had left, or the attempt went on to its end.
    case tooLate = "too-late"
    /// QEMU said no.
    case refused
}

/// One QEMU's part in an attempt, as handed up to whoever sees both sides. Numbers are record sequence numbers: they
/// tell what came first.
public struct SideReport: Hashable, Sendable {
    /// Which end.
    public var side: Side
    /// The stage.
    public var stage: Stage
    /// QEMU's last status word.
    public var word: StatusWord?
    /// The last run state a query showed.
    public var runState: RunState?
    /// Whether the guest runs here, by the last sign.
    public var isRunning: Bool?
    /// The same, `nil` if the connection was lost after that sign.
    public var isRunningNow: Bool?
    /// Whether the guest ran here when the attempt opened.
    public var wasRunning: Bool?
    /// Whether our own `stop` (a deadline's) stopped the guest.
    public var isHeldByPolicy: Bool
    /// When the attempt was opened here.
    public var opened: Int?
    /// When QEMU said completed.
    public var completed: Int?
    /// The first sign of an error or a cancel's end.
    public var ended: Int?
    /// Which of the two it was.
    public var ending: Ending?
    /// When the process was seen gone.
    public var gone: Int?
    /// When the guest's own shutdown was seen.
    public var guestShutdown: Int?
    /// When the guest was first seen running on a destination.
    public var ran: Int?
    /// When `cont` was first sent.
    public var runSent: Int?
    /// Whether QEMU refused that `cont`.
    public var isRunRefused: Bool
    /// Whether vCPUs stopped in the attempt.
    public var stopped: Int?
    /// Whether they ran again after that.
    public var resumed: Int?
    /// What became of a cancel.
    public var cancel: CancelOutcome
    /// What is being carried out, if anything.
    public var stopping: Ending?
    /// Where this side is in post-copy.
    public var postcopy: PostcopyState
    /// Whether post-copy came so far that the guest's memory was in two places.
    public var hasLeftInPostcopy: Bool
    /// Whether nothing of the attempt is left in this QEMU.
    public var isCleaned: Bool
    /// The monitor's condition.
    public var monitor: MonitorState?
    /// QEMU's error text.
    public var errorDescription: String?
}

extension Evidence {
    /// The report for whoever sees both sides.
    public var report: SideReport {
        let stage = self.stage
        var ended: Int?
        var stopping: Ending?
        var ending: Ending?
        switch stage {
        case .ended(let how):
            ending = how
            ended = events.earliest(.failed, .cancelled)?.firstSequence ?? firstFailureSequence
        case .gone:
            ended = events.earliest(.failed, .cancelled)?.firstSequence
            if ended != nil {
                let isCancel = events.has(.cancelled) || isCancelFirst
                ending = isCancel && !isFailureFirst ? .cancelled : .failed
            }
        case .stopping(let ending): stopping = ending
        default: break
        }
        return SideReport(
            side: side,
            stage: stage,
            word: words.last?.word,
            runState: runState,
            isRunning: isRunning,
            isRunningNow: isRunningInDoubt ? nil : isRunning,
            wasRunning: wasRunning,
            isHeldByPolicy: triggers[.hold].map { $0.origin == .policy && $0.wasSent } ?? false,
            opened: openedSequence,
            completed: events[.completed]?.firstSequence,
            ended: ended,
            ending: ending,
            gone: events[.processEnded]?.firstSequence,
            guestShutdown: events[.guestShutdown]?.firstSequence,
            ran: events[.ran]?.firstSequence,
            runSent: triggers[.run]?.sentSequence,
            isRunRefused: triggers[.run]?.refusal != nil,
            stopped: events[.stopped]?.firstSequence,
            resumed: events[.resumed]?.lastSequence,
            cancel: cancelOutcome,
            stopping: stopping,
            postcopy: postcopy,
            hasLeftInPostcopy: hasLeftInPostcopy,
            isCleaned: isCleaned,
            monitor: monitor,
            errorDescription: errorDescription ?? triggers[opener]?.refusal)
    }

    private var cancelOutcome: CancelOutcome {
        guard let row = triggers[.cancel], let sent = row.sentSequence, let opened = openedSequence else {
            return .none
        }
        // A cancel of something that never began is no cancel of this attempt.
        guard row.lastSequence > opened || sent > opened else { return .none }
        if events.has(.completed) { return .tooLate }
        if row.refusal != nil { return .refused }
        // Where neither can be told to be first, QEMU's last word says whether the cancel did it.
        let isOvertaken = events.has(.failed) && !isCancelFirst
        return isFailureFirst || isOvertaken ? .late : .honoured
    }
}
