import Migration

/// The leases on their way between a machine and its lock manager. Without one nothing is asked and nothing waits.
extension SideCore {
    /// Which wait bounds the lock manager's answers.
    var leaseDeadline: Deadline { side == .source ? .sourceLease : .destinationLease }

    /// What is to be done before a gate is passed; `nil` if it is open. `closed` gets the lock manager's reason.
    mutating func wait(
        _ deadlines: DeadlineTable, at gate: LeaseGate, closed: (String) -> [Effect]?
    ) -> [Effect]? {
        switch gate {
        case .open: nil
        case .wait: []
        case .ask(let action):
            [.lease(side, action), .arm(leaseDeadline, milliseconds: deadlines[leaseDeadline])]
        case .closed(let why): closed(why)
        }
    }
}

extension SideCore {
    /// The lock manager answered. The state of leases that were given back goes on record before anything follows from
    /// it.
    mutating func leaseAnswered(_ result: LeaseResult) -> [Effect] {
        let asked = lease.pending
        lease.answered(result)
        guard asked == .release, case .released(let state) = result else { return [.disarm(leaseDeadline)] }
        return [.disarm(leaseDeadline), .persist(.released(side, state))]
    }
}

extension SourceMachine {
    /// The lock manager answered.
    public mutating func leaseAnswered(_ result: LeaseResult) -> [Effect] {
        core.leaseAnswered(result) + goOnWithLeases()
    }

    /// It did not.
    mutating func leaseTimedOut() -> [Effect] {
        guard core.lease.pending != nil else { return [] }
        core.lease.timedOut()
        return goOnWithLeases()
    }

    private mutating func goOnWithLeases() -> [Effect] {
        switch state {
        case .beginning: return gathered()
        // Meanwhile the guest may have been continued by somebody else.
        case .resuming(.asking): return [core.send(.queryStatus)]
        case .migrating where isSurrenderDue:
            isSurrenderDue = false
            return followLeases() + (evidence.stage.hasLeft ? surrender() : progress())
        default: return followLeases()
        }
    }

    /// Begin: what the leases' state is goes into the cookie.
    mutating func leasesToKnow(isRunning: Bool) -> [Effect]? {
        guard options.lockManager != nil else { return nil }
        let gate = core.lease.begin(isRunning: isRunning)
        guard case .closed(let why) = gate else { return core.wait(options.deadlines, at: gate) { _ in nil } }
        return failBegin("the guest's leases cannot be told: \(why)")
    }

    /// Before Perform is answered the leases are free. What is not given back the destination will not get, and it will
    /// say so.
    mutating func leasesToFree() -> [Effect]? {
        guard options.lockManager != nil else { return nil }
        let gate = core.lease.release()
        let wait = core.wait(options.deadlines, at: gate) { _ in nil }
        isSurrenderDue = wait != nil
        return wait
    }

    /// Before the guest goes on here its leases are taken back.
    mutating func leasesToTakeBack() -> [Effect]? {
        guard options.lockManager != nil else { return nil }
        let gate = core.lease.acquire()
        guard case .closed(let why) = gate else { return core.wait(options.deadlines, at: gate) { _ in nil } }
        return finish(
            .confirm, .failed(StepError(.unproven, "the guest stays stopped here without its leases: \(why)")))
    }

    /// The leases follow the guest: when it stops on the way they are given back, when it was continued, by whomever,
    /// they are taken again.
    mutating func followLeases() -> [Effect] {
        guard options.lockManager != nil, core.lease.standing != .unknown else { return [] }
        let gate: LeaseGate
        switch (state, evidence.isRunning) {
        case (.migrating, false), (.cleaning, false): gate = core.lease.release()
        case (_, true) where !isSurrendered: gate = core.lease.acquire()
        default: return []
        }
        return core.wait(options.deadlines, at: gate) { _ in nil } ?? []
    }
}

extension Stage {
    /// Whether the guest has left, or may run elsewhere before its memory.
    fileprivate var hasLeft: Bool {
        switch self {
        case .completed, .postcopy: true
        default: false
        }
    }
}

extension DestinationMachine {
    /// The lock manager answered.
    public mutating func leaseAnswered(_ result: LeaseResult) -> [Effect] {
        core.leaseAnswered(result) + goOnWithLeases()
    }

    /// It did not.
    mutating func leaseTimedOut() -> [Effect] {
        guard core.lease.pending != nil else { return [] }
        core.lease.timedOut()
        return goOnWithLeases()
    }

    private mutating func goOnWithLeases() -> [Effect] {
        if case .abandoning(.releasing) = state { return answerAbandon(.done(Cookie(attempt: options.attempt))) }
        return progress()
    }

    /// Before the commit point the leases are taken, with the state that came with the guest.
    mutating func leasesToTake(_ cookie: Cookie) -> [Effect]? {
        // A guest that stays paused needs none.
        guard options.lockManager != nil, cookie.isRunIntended ?? true, !isRunRecorded else { return nil }
        let gate = core.lease.acquire()
        guard case .closed(let why) = gate else { return core.wait(options.deadlines, at: gate) { _ in nil } }
        return failFinish(StepError(.failed, "the destination does not get the guest's leases: \(why)"))
    }

    /// Before Abandon is answered, leases that were taken for a guest that then did not run are given back.
    mutating func leasesToGiveBack() -> [Effect]? {
        guard options.lockManager != nil, core.lease.standing == .held || core.lease.pending != nil else { return nil }
        let wait = core.wait(options.deadlines, at: core.lease.release()) { _ in nil }
        guard let wait else { return nil }
        state = .abandoning(.releasing)
        return [.disarm(.abandon), .disarm(.abandonKill)] + wait
    }
}
