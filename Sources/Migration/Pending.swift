// What was asked for and is still to come, and whether an attempt left anything behind.
extension Evidence {
    /// Whether something was asked for and its effect was neither seen nor refused.
    public func isPending(_ kind: TriggerKind) -> Bool { triggers[kind]?.isPending ?? false }

    /// Ends the wait for everything whose effect was seen.
    mutating func settle() {
        let pending = triggers.pending
        guard !pending.isEmpty else { return }
        let isOver = isOver || events.has(.processEnded)
        for row in pending where isDone(row, isOver) { triggers.settle(row.kind) }
    }

    /// When a request is over, as the trigger table of the specification tells. A cancel never is before the attempt
    /// is.
    private func isDone(_ row: TriggerRow, _ isOver: Bool) -> Bool {
        guard row.state != .requested else { return false }
        switch row.kind {
        case .configure, .listen: return row.state == .accepted
        case .migrate, .cancel: return isOver
        case .startPostcopy: return postcopy.isSplit || postcopy == .device || isOver
        case .continueSwitchover: return events.has(.device) || postcopy.isSplit || isOver
        case .pausePostcopy: return postcopy == .paused || isOver
        case .recover: return postcopy == .recovering || postcopy == .active || isOver
        case .resume: return postcopy == .recovering || postcopy == .active || isOver
        case .yank: return events.has(.yankGone) || isOver
        case .run: return isRunning == true && !isRunningInDoubt
        case .hold: return isRunning == false && !isRunningInDoubt
        case .kill: return events.has(.processEnded)
        }
    }

    /// Whether the guest is stopped on our side's behalf, or is to be: somebody else's `stop` does not count.
    public var isHoldOurs: Bool { triggers[.hold].map { $0.wasSent || $0.state == .requested } ?? false }

    /// How often the channel broke in post-copy.
    public var channelBreaks: Int { events[.channelBroken]?.count ?? 0 }

    /// Whether post-copy came so far that the guest's memory was in two places.
    public var hasLeftInPostcopy: Bool {
        events.has(.postcopyActive) || events.has(.postcopyPaused) || events.has(.postcopyRecoverSetup)
            || events.has(.postcopyRecover)
    }

    /// Whether a new attempt may begin here and settings may be touched: the old one is over and QEMU has tidied up
    /// after it.
    ///
    /// Up to 11.0 `failed` comes before QEMU has tidied up, and capabilities touched in between can abort it. Tidied up
    /// is seen by `query-yank`, by `failed` after `failing`, by `cancelled`, which comes last, or, where none of them
    /// can be seen, by a wait that ran out after the end. The run state must have been seen too.
    public var isCleaned: Bool {
        switch stage {
        case .idle, .gone: true
        case .completed: (events.has(.yankGone) || isRunStateFresh) && runState != .finishMigrate
        case .ended:
            isRefused || events.has(.neverBegun)
                || isTidy && (isRunStateFresh || isRunning == true) && runState != .finishMigrate
        default: false
        }
    }

    private var isTidy: Bool {
        events.has(.yankGone) || events.has(.cancelled) || events.has(.failing) && events.has(.failed)
            || hasWaitedSinceEnd
    }
}

extension RunState {
    /// The trouble in the guest that a run state tells of.
    var trouble: EventKind? {
        switch rawValue {
        case "guest-panicked": .guestPanic
        case "io-error": .diskError
        case "watchdog": .watchdog
        case "internal-error": .guestFault
        default: nil
        }
    }
}
