public import Migration

/// What the coordinator wants done.
public enum CoordinatorAction: Hashable, Sendable {
    /// A step is to be entered on its side.
    case call(Step, Cookie)
    /// The source shall cancel.
    case cancel(Origin)
    /// The source shall give up, as an error.
    case abort
    /// The source shall stop the guest.
    case hold(Origin)
    /// A side shall give its job back without having migrated, or go back to an interrupted post-copy.
    case release(Side)
    /// The source shall let the guest go before its memory.
    case postcopy(Origin)
    /// The source shall prove that the guest may run on the destination: that one is in post-copy, or done.
    case allowHandOver
    /// A side shall interrupt its post-copy.
    case pausePostcopy(Side, Origin)
    /// The source shall let a guest go that QEMU holds.
    case continueSwitchover
    /// The source runs a guest that may run on the destination: it shall stop it at once.
    case stopSource
    /// Something for the driver.
    case effect(Effect)
}

/// The one who sees both sides: which of the five steps is due, what to make of each answer, and when to give up.
///
/// It does not know whether a side lives in this process or behind a socket, reads no clock and trusts no silence. It
/// continues the source only on the destination's Abandon answer, which is given after its QEMU was seen dead.
public struct Coordinator: Hashable, Sendable {
    enum State: Hashable {
        case idle, hooking, beginning, preparing, performing, finishing, completing, storing, confirming, resuming,
            unwinding, done
        /// A post-copy was interrupted, or is left alone: what comes next is somebody's request, or its end by itself.
        case interrupted
    }

    enum Abandon: Hashable {
        case notCalled, called, done
        case failed(StepError)
    }

    var state = State.idle
    let options: MigrateOptions
    var abandonment = Abandon.notCalled
    var isPerforming = false
    var isFinishing = false
    var isResumeTried = false
    var cancelOrigin: Origin?
    /// Why a policy cancelled.
    var cancelReason: String?
    /// An error was seen before anybody wanted to cancel.
    var isFailureFirst = false
    var performed: Cookie?
    var prepared: Cookie?
    var error: StepError?
    var problems: [String] = []
    var statistics = CookieStatistics()
    /// What post-copy adds.
    var postcopy = PostcopyCourse()

    /// The coordinator of an attempt.
    public init(options: MigrateOptions) { self.options = options }

    /// Whether the attempt is over.
    public var isDone: Bool { state == .done }

    // MARK: Requests

    /// Somebody asks.
    public mutating func request(_ request: Request, origin: Origin) -> [CoordinatorAction] {
        switch request {
        case .migrate:
            guard state == .idle else { return [] }
            if let end = excluded() { return end }
            if options.isPostcopyResume {
                state = .interrupted
                return recover()
            }
            guard options.hasHook else { return begin() }
            state = .hooking
            return [.effect(.hook(.begin))]
        case .cancel:
            if state == .interrupted || postcopy.isResume || postcopy.isEntered && performed != nil {
                return refuse(.cancel, "the guest has left in post-copy: recover it, there is no way back")
            }
            cancelOrigin = cancelOrigin ?? origin
            if options.mode == .restore, state == .finishing { return stopRestoring() }
            if state == .hooking {
                return end(unbegun(isCancel: true), Evidence(side: .source).report, Evidence(side: .destination).report)
            }
            return isPerforming ? [.cancel(origin)] : []
        case .pauseGuest:
            return state == .performing ? [.hold(origin)] : refuse(.pauseGuest, "no memory is being copied")
        case .postcopy:
            guard state == .performing, !postcopy.isResume else {
                return refuse(.postcopy, "no memory is being copied")
            }
            return [.postcopy(origin)]
        case .pausePostcopy:
            guard postcopy.isEntered else { return refuse(.pausePostcopy, "the migration is not in post-copy") }
            if !postcopy.isLoaded, !postcopy.isResume, state == .performing || state == .finishing {
                return refuse(
                    .pausePostcopy,
                    "the destination still loads the guest's devices: its QEMU would end if it were interrupted now")
            }
            switch state {
            case .performing, .finishing, .completing, .interrupted:
                return [.pausePostcopy(.source, origin), .pausePostcopy(.destination, origin)]
            default: return refuse(.pausePostcopy, "the migration is not in post-copy")
            }
        case .recover:
            guard state == .interrupted else {
                let why =
                    state == .done
                    ? "the attempt is over"
                    : postcopy.lagging == nil
                        ? "no post-copy is interrupted that could go on"
                        : "only one side has noticed the interruption; the other one is being told, ask again then"
                return refuse(.recover, why)
            }
            return recover()
        case .continue:
            guard state == .performing else { return refuse(.continue, "QEMU does not hold the guest") }
            return [.continueSwitchover]
        case .destinationNeverRan, .destinationRan, .set: return []
        }
    }

    /// Whether a post-copy is interrupted and a recovery may be asked for.
    var isInterrupted: Bool { state == .interrupted }

    /// The hook program has ended. At the beginning it may say that the guest stays.
    mutating func hooked(
        _ point: HookPoint, _ failure: String?, source: SideReport, destination: SideReport
    ) -> [CoordinatorAction] {
        if point == .store { return stored(failure) }
        guard point == .begin, state == .hooking else { return [] }
        guard let failure else { return begin() }
        error = StepError(.refused, "the hook at the beginning failed: \(failure)")
        return end(unbegun(isCancel: false), source, destination)
    }

    /// Wishes that exclude one another end the attempt before anything is asked of anybody.
    private mutating func excluded() -> [CoordinatorAction]? {
        let broken = Exclusions.broken(by: MigrationWish(options))
        guard !broken.isEmpty else { return nil }
        error = StepError(.refused, broken.map(\.message).joined(separator: "; "))
        return end(.excluded, Evidence(side: .source).report, Evidence(side: .destination).report)
    }

    private mutating func begin() -> [CoordinatorAction] {
        state = .beginning
        var cookie = Cookie(attempt: options.attempt)
        cookie.hostName = options.hostName
        cookie.hostUUID = options.hostUUID
        let first: Step = options.protocolVersion == .v2 ? .dumpXML : .begin
        // Without a QEMU that runs there is nothing to describe, and without a destination side nobody to ask.
        if options.isOffline { return [.call(first, cookie)] }
        if options.mode == .restore { return restore(cookie) }
        if !options.mode.sides.contains(.destination) { return [.effect(.survey(.source)), .call(first, cookie)] }
        // Both at once: the comparison in Prepare should not have to wait for the slower one.
        return [.effect(.survey(.source)), .effect(.survey(.destination)), .call(first, cookie)]
    }

    func refuse(_ request: Request, _ why: String) -> [CoordinatorAction] { [.effect(.refused(request, why))] }

    /// A wait of the coordinator's ran out.
    public mutating func timedOut(_ deadline: Deadline) -> [CoordinatorAction] {
        switch deadline {
        case .migration where state == .performing && !postcopy.isEntered:
            return options.timeoutAction == .cancel
                ? request(.cancel, origin: .policy) : request(.pauseGuest, origin: .policy)
        case .postcopy where state == .performing && !postcopy.isEntered && !postcopy.isResume:
            return request(.postcopy, origin: .policy)
        case .yank where state == .performing && !postcopy.isEntered: return abandon()
        case .destinationMonitor where state == .performing && options.mode.sides.contains(.destination):
            // Nobody could let the guest run over there: better not to arrive at all.
            return giveUp("the destination's monitor is lost")
        case .sourceMonitor where state == .finishing && postcopy.isEntered:
            postcopy.isSourceLost = true
            return []
        case .halfPaused: return halfPausedTimedOut()
        case .recovery: return recoveryTimedOut()
        case .completion where state == .completing: return confirm()
        default: return []
        }
    }

    // MARK: Answers

    /// A step was answered.
    public mutating func answered(
        _ step: Step, _ result: StepResult, source: SideReport, destination: SideReport
    ) -> [CoordinatorAction] {
        switch (step, result) {
        case (.begin, .done(let cookie)), (.dumpXML, .done(let cookie)):
            if cancelOrigin != nil, !postcopy.isResume {
                return [.release(.source)] + end(.notBegunByCancel, source, destination)
            }
            if !options.mode.sides.contains(.destination) { return performDirectly(cookie) }
            state = .preparing
            return [call(.prepare, cookie)]
        case (.prepare, .done(let cookie)):
            if postcopy.isResume {
                state = .performing
                return [call(.perform, cookie)]
            }
            prepared = cookie
            if options.mode == .restore { return arrive(cookie) }
            if options.isOffline { return finishOffline(cookie) }
            if cancelOrigin != nil {
                state = .unwinding
                error = StepError(.cancelled, "cancelled")
                return abandon()
            }
            state = .performing
            isPerforming = true
            let wait: [CoordinatorAction] =
                options.timeoutMilliseconds.map { [.effect(.arm(.migration, milliseconds: $0))] } ?? []
            let postcopy: [CoordinatorAction] =
                options.postcopy?.afterMilliseconds.map { [.effect(.arm(.postcopy, milliseconds: $0))] } ?? []
            return wait + postcopy + [call(.perform, cookie)]
        case (.dumpXML, .failed(let why)), (.begin, .failed(let why)), (.prepare, .failed(let why)):
            if postcopy.isResume { return recoveryFailed(why) + judge(source: source, destination: destination) }
            error = why
            if options.mode == .restore { return end(unbegun(isCancel: cancelOrigin != nil), source, destination) }
            if source.gone != nil { return [.release(.source)] + end(nowhere(source), source, destination) }
            return [.release(.source)] + end(cancelOrigin == nil ? .notBegun : .notBegunByCancel, source, destination)
        case (.perform, .done(let cookie)):
            isPerforming = false
            performed = cookie
            statistics = cookie.statistics ?? statistics
            if options.mode == .direct { return performedDirectly() }
            if options.mode == .save { return store() }
            guard abandonment == .notCalled else {
                error = error ?? StepError(.failed, destination.errorDescription ?? Self.destinationFailed)
                state = .unwinding
                return settle(source, destination)
            }
            return [.effect(.disarm(.migration))] + finish(source, carrying: cookie)
        case (.perform, .failed(let why)):
            isPerforming = false
            if why.kind == .interrupted { return interrupted(why) + judge(source: source, destination: destination) }
            if options.mode == .direct { return unperformedDirectly(why, source, destination) }
            if options.mode == .save { return unsaved(why, source, destination) }
            if postcopy.isEntered, why.kind == .refused {
                // Nothing was changed, and ending the destination would destroy what is nowhere else.
                if postcopy.isResume {
                    return recoveryFailed(why) + judge(source: source, destination: destination)
                }
                return undecided(.stepRefused, why.description, source, destination)
            }
            if options.protocolVersion == .v2, source.completed != nil {
                // The guest has left; only what is left of it could not be ended.
                problems.append(why.description)
                return [.effect(.disarm(.migration))] + finish(source, carrying: Cookie(attempt: options.attempt))
            }
            // What was seen first is the reason; what QEMU says after having been stopped for it is a consequence.
            error = isFailureFirst && why.kind == .cancelled ? error : sharpen(why, with: destination)
            noteHandshake(source, destination)
            if why.kind == .gone { return [.effect(.disarm(.migration))] + sourceGone(source, destination) }
            state = .unwinding
            return [.effect(.disarm(.migration))] + abandon() + settle(source, destination)
        case (.finish, .done):
            isFinishing = false
            if options.mode == .restore { return end(.restored, source, destination) }
            if state == .interrupted { return unattendedFinished(source, destination) }
            guard source.gone == nil, options.protocolVersion == .v3 else {
                return end(.arrivedWithoutSource, source, destination)
            }
            if postcopy.isEntered, source.completed == nil {
                state = .completing
                return [.effect(.arm(.completion, milliseconds: options.deadlines[.completion]))]
            }
            return confirm()
        case (.finish, .failed(let why)):
            isFinishing = false
            if why.kind == .interrupted { return interrupted(why) + judge(source: source, destination: destination) }
            if options.mode == .restore { return unrestored(why, source, destination) }
            // The source's end is the reason, what the destination makes of it a consequence.
            if let first = error, first.kind == .gone {
                error = StepError(.gone, "\(first.description) (the destination: \(why.description))")
            } else {
                error = why
            }
            if postcopy.isEntered, why.kind == .refused, destination.gone == nil, destination.ended == nil,
                abandonment == .notCalled
            {
                return undecided(
                    .stepRefused,
                    "\(why.description); find out whether the guest runs on the destination: both QEMUs were left as they are",
                    source, destination)
            }
            if postcopy.isEntered, why.kind != .unproven { return postcopyEnded(why, source, destination) }
            if why.kind == .unproven { return undecided(.finishUnproven, why.description, source, destination) }
            let isWholeHere = destination.completed != nil || source.completed != nil && destination.ended == nil
            // Protocol 2 has ended the source by now, seen or not.
            if source.gone != nil || options.protocolVersion == .v2, isWholeHere, destination.gone == nil {
                return undecided(
                    .onlyCopyWaits,
                    "\(why.description); the source's QEMU is gone, the destination holds the only copy of the guest",
                    source, destination)
            }
            state = .unwinding
            return abandon() + settle(source, destination)
        case (.confirm, .done) where state == .interrupted: return unattendedConfirmed(source, destination)
        case (.confirm, .done(let cookie)):
            let merged = cookie.statistics ?? statistics
            statistics = merged
            if options.mode == .direct { problems.append(Self.unverified) }
            return end(state == .resuming ? stays(.continued) : confirmedVerdict, source, destination)
        case (.confirm, .failed(let why)):
            if state == .confirming {
                problems.append(why.description)
                if options.mode == .direct { problems.append(Self.unverified) }
                return end(leftover, source, destination)
            }
            if source.gone != nil { return end(nowhere(source), source, destination) }
            if source.isRunning == true {
                problems.append(why.description)
                return end(stays(.runsUnconfirmed), source, destination)
            }
            if postcopy.isEntered, state == .resuming, abandonment == .done, isWholeOnSource(source, destination) {
                return lost(error?.description ?? why.description, source, destination)
            }
            return undecided(.confirmUnproven, why.description, source, destination)
        case (.abandon, .done):
            abandonment = .done
            return settle(source, destination)
        case (.abandon, .failed(let why)):
            abandonment = .failed(why)
            return settle(source, destination)
        }
    }

    /// Looks at what both QEMUs show, between the steps.
    public mutating func judge(source: SideReport, destination: SideReport) -> [CoordinatorAction] {
        if let actions = judgePostcopy(source, destination) { return actions }
        switch state {
        case .performing:
            guard options.mode.sides.count == 2 else { return [] }
            if case .ended = source.stage {
                // QEMU goes on with the guest by itself: the destination is refused at once, whatever else there is to
                // tidy up.
                return abandon()
            }
            if source.completed == nil, source.gone == nil, destination.gone != nil || destination.ended != nil {
                return giveUp(
                    destination.errorDescription
                        ?? (destination.gone != nil ? "the destination's QEMU is gone" : Self.destinationFailed))
            }
            return []
        case .finishing:
            guard options.mode != .restore, let completed = source.completed, let resumed = source.resumed,
                resumed > completed,
                source.isRunning == true
            else { return [] }
            guard destination.ran == nil, destination.runSent == nil else { return runsTwice(source, destination) }
            error = StepError(.failed, "somebody continued the source after the guest had left it")
            state = .unwinding
            return abandon() + settle(source, destination)
        case .confirming:
            guard options.mode.sides.count == 2, !options.isOffline else { return [] }
            guard destination.gone != nil else { return [] }
            // The source is not ended any more if it was not told to yet.
            guard destination.ran != nil || source.gone != nil else {
                return undecided(
                    .endedUnseen,
                    "the destination's QEMU is gone and was never seen to run the guest; if the source's QEMU still exists "
                        + "it holds all of it, and `cont` there goes on with it", source, destination)
            }
            problems.append(Self.backToTheSource)
            return end(.endedThere, source, destination)
        case .unwinding: return settle(source, destination)
        default: return []
        }
    }

    /// What a person can still do when the guest ended with the destination.
    static let backToTheSource =
        "the guest ran on the destination and ended with it; if the source's QEMU still exists it holds the guest as it was "
        + "before, `cont` there goes back to that moment, its disks may not"

    /// As long as its QEMU has not told why.
    static let destinationFailed = "the destination failed"

    // MARK: Ways to an end

    /// A step with what it takes of a cookie: the rest is not echoed.
    func call(_ step: Step, _ cookie: Cookie) -> CoordinatorAction { .call(step, cookie.sparing(step)) }

    mutating func confirm() -> [CoordinatorAction] {
        state = .confirming
        return [.effect(.disarm(.completion)), .call(.confirm, Cookie(attempt: options.attempt))]
    }

    mutating func finish(_ source: SideReport, carrying cookie: Cookie) -> [CoordinatorAction] {
        state = .finishing
        isFinishing = true
        var finish = cookie
        if let prepared { finish = finish.carrying(prepared) }
        let ran = source.wasRunning ?? prepared?.isRunIntended ?? true
        // A guest that powered itself off arrives like that, and QEMU refuses to run it.
        finish.isRunIntended =
            ran && !options.isPausedIntended && !wasPausedOnTheWay && source.guestShutdown == nil
        return [call(.finish, finish)]
    }

    /// Whether somebody paused the guest while it was copied; then it arrives paused.
    public var wasPausedOnTheWay = false

    mutating func sourceGone(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        // A destination that has, or may still get, everything can run the guest: nothing else can any more.
        if destination.completed != nil || (destination.stage == .copying && source.guestShutdown == nil) {
            return finish(source, carrying: Cookie(attempt: options.attempt))
        }
        state = .unwinding
        return abandon() + settle(source, destination)
    }

    /// The destination cannot go on: it is refused and the source is stopped, as an error.
    mutating func giveUp(_ why: String) -> [CoordinatorAction] {
        guard abandonment == .notCalled else { return [] }
        if cancelOrigin == nil {
            isFailureFirst = true
            error = StepError(.failed, why)
        }
        return abandon() + [.abort]
    }

    func nowhere(_ source: SideReport) -> Verdict { source.guestShutdown == nil ? .sourceGone : .guestShutDown }

    mutating func abandon() -> [CoordinatorAction] {
        guard abandonment == .notCalled else { return [] }
        abandonment = .called
        return [.call(.abandon, Cookie(attempt: options.attempt))]
    }

    /// Perform is going to fail: the destination, which is ended then, is ended at once.
    mutating func refuseDestination() -> [CoordinatorAction] { state == .performing ? abandon() : [] }

    /// Decides, once both sides have had their say.
    mutating func settle(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        guard state == .unwinding, !isPerforming, abandonment != .notCalled, abandonment != .called else { return [] }
        if options.mode == .restore { return settleRestoring(source, destination) }
        // Protocol 2 ends the source as soon as the guest has left it: there is nowhere to go back to.
        if source.gone != nil || options.protocolVersion == .v2 && performed != nil {
            if case .failed(let why) = abandonment {
                // What nobody can ask about may have come whole before.
                if why.kind == .unproven, destination.gone == nil, source.guestShutdown == nil {
                    return undecided(.abandonUnproven, why.description, source, destination)
                }
                problems.append(why.description)
            }
            return end(nowhere(source), source, destination)
        }
        if case .failed(let why) = abandonment {
            // The source runs by QEMU's own doing and the destination was never told to: one copy runs.
            if source.isRunning == true, destination.ran == nil, destination.runSent == nil {
                problems.append(why.description)
                return end(stays(.runsUnrefused), source, destination)
            }
            if destination.gone != nil, destination.ran != nil, source.isRunning != true {
                problems.append(Self.backToTheSource)
                return end(.endedThere, source, destination)
            }
            return undecided(.abandonUnproven, why.description, source, destination)
        }
        if error?.kind == .unproven, source.isRunning != true {
            return undecided(.performUnproven, error?.description ?? "", source, destination)
        }
        if needsConfirm, !isResumeTried {
            isResumeTried = true
            state = .resuming
            return [.call(.confirm, Cookie(attempt: options.attempt))]
        }
        let ranBefore = (source.wasRunning ?? prepared?.isRunIntended ?? false) && !wasPausedOnTheWay
        if ranBefore || source.completed != nil, source.isRunning != true, !isResumeTried, source.opened != nil,
            source.guestShutdown == nil
        {
            isResumeTried = true
            state = .resuming
            return [.call(.confirm, Cookie(attempt: options.attempt))]
        }
        return [.release(.source)] + end(stays(.stayed), source, destination)
    }

    /// Whether the Confirm that was called last is one of a success.
    public var isConfirmOfSuccess: Bool { state == .confirming }

    /// A verdict about a guest that is on the source: because of the error, or because of the cancel.
    func stays(_ verdict: Verdict) -> Verdict {
        switch error?.kind {
        case .cancelled: verdict.byCancel
        // Neither came first as far as anybody can tell.
        case .unproven where cancelOrigin != nil && !isFailureFirst: verdict.byCancel
        default: verdict
        }
    }

    /// What a Confirm of a success ends with.
    private var confirmedVerdict: Verdict {
        if options.isOffline { return .definitionMoved }
        return leftover == .arrivedWithLeftover ? .arrived : leftover
    }

    /// What a success ends with whose source could not be ended.
    private var leftover: Verdict {
        switch options.mode {
        case .direct: .sentUnwatched
        case .save: .saved
        case .managed, .peerToPeer, .tunnelled, .restore: .arrivedWithLeftover
        }
    }

    /// The destination knows better why it could not load than the source, which only sees a broken pipe; and its end
    /// comes before both.
    func sharpen(_ why: StepError, with destination: SideReport) -> StepError {
        if why.kind == .failed, let first = error, first.kind == .failed, destination.gone != nil {
            return StepError(.failed, "\(first.description) (the source: \(why.description))")
        }
        guard why.kind == .failed, let text = destination.errorDescription, !why.description.contains(text) else {
            return why
        }
        return StepError(.failed, "\(why.description) (the destination: \(text))")
    }

    /// Where nothing of an encrypted stream has arrived, whoever gives no reason was refused by the other side, which
    /// tells it nobody but its standard error: TLS gives none away.
    private mutating func noteHandshake(_ source: SideReport, _ destination: SideReport) {
        guard options.tls != nil, let error, error.kind == .failed, source.completed == nil, source.ended != nil,
            destination.word == nil || destination.word == .setup
        else { return }
        self.error = StepError(
            .failed,
            "no TLS connection was made: \(error.description) (so the source; what the destination has against its "
                + "credentials it says on its own standard error)")
    }

    /// - Parameter why: What a person has to find out.
    mutating func undecided(
        _ verdict: Verdict, _ why: String, _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction] {
        problems.append(why)
        return end(verdict, source, destination)
    }

    /// The one way to an end.
    mutating func end(_ verdict: Verdict, _ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        state = .done
        let word = verdict.word
        if word == .cancelled, let cancelReason {
            error = StepError(.cancelled, "the policy cancelled: \(cancelReason)")
        }
        var isRunning: Bool?
        switch verdict.place {
        case .destination: isRunning = options.isOffline ? false : destination.isRunning
        // What was last seen of it before its monitor was lost is nothing to vouch for.
        case .source: isRunning = error?.kind == .unproven ? nil : source.isRunningNow
        case .file, .nowhere, .unknown: break
        }
        var cancel = CancelOutcome.none
        if cancelOrigin != nil {
            switch word {
            case .cancelled: cancel = .honoured
            case .completed: cancel = .tooLate
            case _ where performed != nil: cancel = .tooLate
            case .failed: cancel = source.cancel == .refused ? .refused : .late
            default: cancel = source.cancel == .none ? .late : source.cancel
            }
        }
        return [
            .effect(.disarm(.migration)),
            .effect(
                .finished(
                    AttemptResult(
                        verdict: verdict, isRunning: isRunning,
                        error: word == .completed ? nil : error?.description, problems: problems, cancel: cancel,
                        statistics: statistics, ownGapMicroseconds: nil, pauseMicroseconds: nil))),
        ]
    }
}
