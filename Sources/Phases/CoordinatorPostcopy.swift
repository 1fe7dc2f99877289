import Migration

/// What the coordinator keeps of a post-copy.
struct PostcopyCourse: Hashable, Sendable {
    /// Tries to interrupt the side that did not notice, or a recovery that does not come about.
    static let patience = 3

    /// Either side was seen in post-copy.
    var isEntered = false
    /// The destination has loaded all but memory: the guest runs there, or stays paused as it should.
    var isLoaded = false
    /// The steps under way are those of a recovery.
    var isResume = false
    /// The source was told that it may give the guest away.
    var isHandOverAllowed = false
    /// A recovery is under way and its wait runs.
    var isReconnectingArmed = false
    /// The side that has still to be interrupted.
    var lagging: Side?
    /// How often that, or giving a recovery up, was tried.
    var tries = 0
    /// The source was neither heard nor seen to end for as long as anybody waits.
    var isSourceLost = false
    /// Finish was done by the destination alone.
    var isFinished = false
    /// Confirm was done by the source alone.
    var isConfirmed = false
}

/// The joint view of a post-copy: neither side has all of the guest's memory, so that every decision needs both.
extension Coordinator {
    /// A step that takes long has done what it cannot go back on.
    public mutating func accepted(_ step: Step) -> [CoordinatorAction] {
        if step == .finish { postcopy.isLoaded = true }
        return []
    }

    private func isAway(_ report: SideReport) -> Bool {
        if case .postcopy(let stage) = report.stage { stage != .device } else { false }
    }

    private func isPaused(_ report: SideReport) -> Bool { report.stage == .postcopy(.paused) }

    private func isBackInPostcopy(_ report: SideReport) -> Bool {
        report.stage == .postcopy(.active) || report.completed != nil
    }

    /// Looks at both sides of a post-copy; `nil` where nothing of it concerns the attempt.
    mutating func judgePostcopy(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction]? {
        guard options.mode.sides.count == 2, state != .done, state != .idle else { return nil }
        if case .postcopy = source.stage { postcopy.isEntered = true }
        if destination.ran != nil { postcopy.isLoaded = true }
        if isAway(destination) || options.isPostcopyResume { postcopy.isEntered = true }
        guard postcopy.isEntered else { return nil }
        if let end = judgeLoss(source, destination) { return end }
        switch state {
        case .performing, .finishing, .completing, .interrupted: break
        default: return nil
        }
        if performed != nil, isAway(source), source.isRunning == true { return runsTwice(source, destination) }
        if postcopy.isSourceLost, state == .finishing, destination.completed == nil {
            return undecided(
                .sourceUnreachable,
                "the source's QEMU cannot be reached, and has memory that the guest on the destination still needs; find out "
                    + "whether it lives, and interrupt the post-copy on both sides if it does", source, destination)
        }
        let recovered = judgeRecovery(source, destination)
        // With the guest whole over there, a source that was interrupted has nothing left to send and no way to learn
        // it.
        if state == .completing, source.completed != nil || isPaused(source) { return recovered + confirm() }
        if state == .interrupted, let actions = judgeUnattended(source, destination) { return recovered + actions }
        if state == .performing, !postcopy.isHandOverAllowed, source.stage == .postcopy(.active),
            isBackInPostcopy(destination)
        {
            postcopy.isHandOverAllowed = true
            return recovered + [.allowHandOver]
        }
        let halves = judgeHalves(source, destination)
        let actions = recovered + halves
        // Where post-copy says nothing, what holds for every migration may.
        return actions.isEmpty ? nil : actions
    }

    // MARK: Lost

    /// Either process gone before both were done: what it had of the guest is gone with it.
    private mutating func judgeLoss(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction]? {
        switch state {
        case .finishing, .interrupted, .completing, .performing, .beginning, .preparing: break
        default: return nil
        }
        if source.gone != nil, source.completed == nil, destination.completed == nil {
            // An open Perform is answered by the source itself.
            guard !isPerforming else { return nil }
            return lost("the source's QEMU ended in post-copy", source, destination)
        }
        guard destination.gone != nil, destination.completed == nil, source.completed == nil, !isFinishing else {
            return nil
        }
        // Before the device state was loaded the source may still go on by itself.
        if state == .performing, !isPaused(source), !postcopy.isResume { return nil }
        return lost("the destination's QEMU ended in post-copy", source, destination)
    }

    /// The guest is in post-copy, was never told to run on the destination, and cannot be any more: the source has all of it, as QEMU
    /// takes nothing away there before the end.
    func isWholeOnSource(_ source: SideReport, _ destination: SideReport) -> Bool {
        isAway(source) && source.gone == nil && destination.ran == nil && destination.runSent == nil
            && !options.isPostcopyResume
    }

    mutating func lost(
        _ why: String, _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction] {
        error = error ?? StepError(.gone, why)
        let waits: [CoordinatorAction] = [
            .effect(.disarm(.halfPaused)), .effect(.disarm(.recovery)), .effect(.disarm(.completion)),
        ]
        if source.gone == nil, destination.ran == nil, !options.isPostcopyResume {
            // Whole, and out of reach: what a person can make of that is more than nothing.
            return waits
                + undecided(
                    .wholeOnSource,
                    "\(why) before it was seen to run the guest: the source's QEMU holds all of it as it was before, but "
                        + "refuses to continue it after post-copy; save its memory before it is ended", source,
                    destination)
        }
        if source.gone != nil, destination.gone == nil, destination.ran == nil, destination.runSent == nil {
            state = .unwinding
            return waits + abandon() + settle(source, destination)
        }
        return waits + end(.lostInPostcopy, source, destination)
    }

    /// Finish ended other than by success, after the guest was in post-copy.
    mutating func postcopyEnded(
        _ why: StepError, _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction] {
        if destination.completed != nil, source.completed != nil || source.gone != nil {
            // Both were done: it is as after a pre-copy.
            if source.gone != nil, destination.gone == nil {
                return undecided(
                    .onlyCopyWaits,
                    "\(why.description); the destination holds the only copy of the guest", source, destination)
            }
            state = .unwinding
            return abandon() + settle(source, destination)
        }
        return lost(why.description, source, destination)
    }

    /// The source runs the guest, which may run on the destination too: one of them is stopped before anything else is
    /// thought of.
    mutating func runsTwice(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        let why =
            "the source's QEMU ran the guest again after it was given away; it was stopped at once: find out which copy "
            + "wrote to the disks last"
        error = StepError(.unproven, why)
        return [.stopSource] + undecided(.runsTwice, why, source, destination)
    }

    // MARK: Interrupted

    /// A step was answered with an interruption. Nothing is decided.
    mutating func interrupted(_ why: StepError) -> [CoordinatorAction] {
        state = .interrupted
        postcopy.isEntered = true
        error = why
        var actions: [CoordinatorAction] = [
            .effect(.disarm(.migration)), .effect(.disarm(.recovery)), .effect(.disarm(.completion)),
        ]
        if postcopy.isResume {
            actions += [.release(.source), .release(.destination)]
            postcopy.isResume = false
        }
        return actions
    }

    /// Only one side has noticed: the other finds a dead peer late, and is told.
    private mutating func judgeHalves(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        guard !postcopy.isResume else { return [] }
        var lagging: Side?
        if case .halfPaused(let side) = JointPostcopy(source: source, destination: destination) { lagging = side.other }
        guard lagging != postcopy.lagging else { return [] }
        postcopy.lagging = lagging
        postcopy.tries = 0
        guard lagging != nil else { return [.effect(.disarm(.halfPaused))] }
        return [.effect(.arm(.halfPaused, milliseconds: options.deadlines[.halfPaused]))]
    }

    mutating func halfPausedTimedOut() -> [CoordinatorAction] {
        guard let lagging = postcopy.lagging, state != .done else { return [] }
        postcopy.tries += 1
        // From here on it is a named pause: whoever wants to go on asks for a recovery, and hears what is in its way.
        guard postcopy.tries <= PostcopyCourse.patience else { return [] }
        return [
            .pausePostcopy(lagging, .controller),
            .effect(.arm(.halfPaused, milliseconds: options.deadlines[.halfPaused])),
        ]
    }

    // MARK: Recovery

    /// The steps once more: Begin, Prepare, Perform, Finish, Confirm, each by its resume phase.
    mutating func recover() -> [CoordinatorAction] {
        state = .beginning
        postcopy.isResume = true
        postcopy.isEntered = true
        postcopy.isHandOverAllowed = false
        postcopy.lagging = nil
        postcopy.tries = 0
        postcopy.isReconnectingArmed = false
        error = nil
        return [.effect(.disarm(.halfPaused)), .call(.begin, Cookie(attempt: options.attempt))]
    }

    /// A step of a recovery was refused or failed: what was taken up is given back, and it is as it was before.
    mutating func recoveryFailed(_ why: StepError) -> [CoordinatorAction] {
        interrupted(why) + refuse(.recover, why.description)
    }

    /// Whether the recovery that is under way has come back to post-copy on both sides.
    private mutating func judgeRecovery(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        guard postcopy.isResume, state == .performing || state == .finishing || state == .completing else { return [] }
        let isBack = isBackInPostcopy(source) && isBackInPostcopy(destination)
        if isBack, postcopy.isReconnectingArmed {
            postcopy.isReconnectingArmed = false
            if state != .performing { postcopy.isResume = false }
            return [.effect(.disarm(.recovery))]
        }
        if isBack, state != .performing { postcopy.isResume = false }
        guard !isBack, !postcopy.isReconnectingArmed else { return [] }
        postcopy.isReconnectingArmed = true
        return [.effect(.arm(.recovery, milliseconds: options.deadlines[.recovery]))]
    }

    /// The channel does not come about or the handshake does not end: both are interrupted again.
    mutating func recoveryTimedOut() -> [CoordinatorAction] {
        guard postcopy.isResume, state != .interrupted, state != .done else { return [] }
        postcopy.tries += 1
        guard postcopy.tries <= PostcopyCourse.patience else {
            return interrupted(StepError(.interrupted, "the recovery neither came about nor could be given up"))
        }
        return [
            .pausePostcopy(.source, .controller), .pausePostcopy(.destination, .controller),
            .effect(.arm(.recovery, milliseconds: options.deadlines[.recovery])),
        ]
    }

    // MARK: With nobody inside

    /// Both sides came to the end of it while nobody watched.
    private mutating func judgeUnattended(
        _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction]? {
        guard destination.completed != nil, source.completed != nil || source.gone != nil else { return nil }
        let mayHaveRun = destination.ran != nil || destination.runSent != nil
        if !mayHaveRun, destination.gone != nil { return undecidedOrBack(source, destination) }
        guard !mayHaveRun, !postcopy.isFinished else {
            guard destination.gone != nil else { return nil }
            return end(.endedThere, source, destination)
        }
        if performed == nil, source.gone == nil {
            // The guest was never given away: that comes first.
            postcopy.isResume = false
            state = .performing
            isPerforming = true
            return [call(.perform, prepared ?? Cookie(attempt: options.attempt))]
        }
        return finish(source, carrying: performed ?? Cookie(attempt: options.attempt))
    }

    private mutating func undecidedOrBack(
        _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction] {
        state = .unwinding
        error = error ?? StepError(.gone, "the destination's QEMU is gone")
        return abandon() + settle(source, destination)
    }

    mutating func unattendedFinished(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        postcopy.isFinished = true
        guard source.gone == nil, !postcopy.isConfirmed else { return end(.arrivedUnattended, source, destination) }
        return []
    }

    mutating func unattendedConfirmed(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        postcopy.isConfirmed = true
        return postcopy.isFinished ? end(.arrivedUnattended, source, destination) : []
    }
}
