import Migration

/// What a side waits for after a restart, before it decides.
struct CatchingUp: Hashable, Sendable {
    /// What the coordinator said meanwhile, for later: oldest first.
    var messages: [PartyMessage] = []
    var runState: RunState?
    var sample: MigrationSample?
    var capabilities: [CapabilitySetting]?
    var parameters: [Setting]?

    /// Whether QEMU has told all that is needed.
    var isComplete: Bool { runState != nil && sample != nil && capabilities != nil && parameters != nil }

    /// Keeps what the coordinator says for later: the same said again, because nobody answers yet, is said once.
    mutating func keep(_ message: PartyMessage) {
        if messages.contains(message) { return }
        // A coordinator that contradicts itself is believed in what it said last; there is never more to say than this.
        if messages.count == 4 * Step.allCases.count { messages.removeFirst() }
        messages.append(message)
    }

    /// Keeps what QEMU tells.
    mutating func keep(_ reply: Reply) {
        switch reply {
        case .status(let state): runState = state
        case .migration(let sample): self.sample = sample
        case .capabilities(let settings): capabilities = settings
        case .parameters(let settings): parameters = settings
        // A QEMU that refuses to list its settings leaves nothing to compare with; nothing is put back then.
        case .done, .yankInstances, .jobs, .refused, .unreadable: break
        }
    }
}

extension SideParty {
    /// A party from what a crash left. It does nothing before it is told `restarted`.
    ///
    /// - Parameters:
    ///   - ledger: The fold of the journal's records.
    ///   - options: What was wanted of the attempt.
    public init(restarting ledger: Ledger, options: MigrateOptions) {
        self.init(side: ledger.side, options: options, ledger: ledger)
        isPeerConnected = false
        // Also where no job is left to take up: who was told to run the guest can never vouch that it did not.
        destination?.isRunRecorded = ledger.isRun(options.attempt) && !ledger.isRunTakenBack
    }

    private var hasWork: Bool {
        guard ledger.attempt == options.attempt else { return false }
        return ledger.phase != .none || ledger.isRefused(options.attempt) && ledger.intents.contains(.listen)
    }

    /// A new process has taken up the ledger: QEMU is asked where it stands, within bounds, before anything is decided.
    mutating func restarted(sequence: Int, at time: Instant) -> [SideEffect] {
        guard hasWork else { return [] }
        catchingUp = CatchingUp()
        source?.takeOver(ledger, sequence: sequence, at: time)
        destination?.takeOver(ledger, sequence: sequence, at: time)
        // The monitor is connected by the driver; the survey says what this QEMU can do, nothing waits for it.
        return [.survey, .arm(.restart, milliseconds: options.deadlines[.restart])] + askAgain()
    }

    private func askAgain() -> [SideEffect] {
        evidence.monitor == .connected ? SideCore.firstQueries.map { .send($0, outOfBand: false) } : []
    }

    /// A fact that comes before the decision.
    mutating func caughtUp(by fact: Fact, sequence: Int, at time: Instant) -> [SideEffect] {
        switch fact {
        case .monitor(.connected): return askAgain()
        case .reply(_, let reply):
            catchingUp?.keep(reply)
            guard catchingUp?.isComplete ?? false else { return [] }
            return decide(sequence: sequence, at: time)
        case .process: return decide(sequence: sequence, at: time)
        default: return []
        }
    }

    /// QEMU did not tell in time: what the ledger holds has to do, and QEMU counts as lost.
    mutating func gaveUpCatchingUp(sequence: Int, at time: Instant) -> [SideEffect] {
        guard catchingUp != nil else { return [] }
        let effects = decide(sequence: sequence, at: time)
        let lost: Deadline = side == .source ? .sourceMonitor : .destinationMonitor
        isStuck = true
        return effects + take((source?.timedOut(lost) ?? []) + (destination?.timedOut(lost) ?? []), sequence)
    }

    private mutating func decide(sequence: Int, at time: Instant) -> [SideEffect] {
        guard let reread = catchingUp else { return [] }
        catchingUp = nil
        let row = RecoveryTable.decide(recoveryEvidence(reread))
        recovery = row
        inWork = stepsInWork(row.decision)
        source?.core.adopt(ledger, reread)
        destination?.core.adopt(ledger, reread)
        let effects =
            (source?.takeUp(row, ledger, sequence: sequence, at: time) ?? [])
            + (destination?.takeUp(row, ledger) ?? [])
        var result: [SideEffect] = [.disarm(.restart)] + interruptions(row.decision, sequence) + take(effects, sequence)
        if row.decision == .gone {
            let how = StepError(.gone, "the \(side.rawValue)'s QEMU \(evidence.processEnd?.description ?? "is gone")")
            for step in inWork { result += take([.answer(step, .failed(how))], sequence) }
        }
        if !isPeerConnected { result.append(.arm(.peer, milliseconds: options.deadlines[.peer])) }
        if let origin = ledger.requests[.cancel], row.decision == .adopt {
            result += take(source?.cancel(origin: origin, sequence: sequence, at: time) ?? [], sequence)
        }
        for message in reread.messages { result += apply(.message(message), sequence: sequence, at: time) }
        return result
    }

    /// The steps of a recovery that were under way are over: post-copy goes on without them, or waits for others.
    private mutating func interruptions(_ decision: RecoveryDecision, _ sequence: Int) -> [SideEffect] {
        guard [.unattended, .complete, .awaitRecovery].contains(decision) else { return [] }
        let why = StepError(.interrupted, "the \(side.rawValue)'s side was restarted in post-copy")
        var result: [SideEffect] = []
        for step in Step.allCases
        where ledger.calls[step] != nil && ledger.answers[step] == nil && !inWork.contains(step) {
            result += take([.answer(step, .failed(why))], sequence)
        }
        return result
    }

    private func recoveryEvidence(_ reread: CatchingUp) -> RecoveryEvidence {
        let attempt = options.attempt
        var evidence = RecoveryEvidence(
            side: side, phase: ledger.phase, guest: reread.runState.map { RecoveryGuest($0) } ?? .unread,
            status: reread.sample.map { RecoveryStatus($0.status) } ?? .unread)
        if self.evidence.processEnd != nil { evidence.guest = .gone }
        evidence.isOpened = ledger.intents.contains(side == .source ? .migrate : .listen)
        evidence.isAnswered = ledger.phase.entry.map { ledger.answers[$0] != nil } ?? false
        evidence.isSurrendered = ledger.isSurrendered(attempt)
        evidence.isRunRecorded = ledger.isRun(attempt) && !ledger.isRunTakenBack
        evidence.isRefused = ledger.isRefused(attempt)
        return evidence
    }

    /// The steps that are taken up again: called before, not answered, and answered by what is done now.
    private func stepsInWork(_ decision: RecoveryDecision) -> [Step] {
        let steps: [Step] =
            switch decision {
            case .adopt, .surrender, .tidy, .wait: [.perform]
            // In protocol 2 Perform itself ends the source.
            case .end: [.confirm, .perform]
            case .resume, .awaitRecovery: [.confirm]
            case .arrive, .run: [.finish]
            case .refuse: [.abandon]
            case .gone: [.begin, .perform, .confirm, .prepare, .finish]
            case .complete: [.confirm, .finish]
            case .nothing, .forget, .listen, .unattended: []
            }
        return steps.filter { ledger.calls[$0] != nil && ledger.answers[$0] == nil }
    }
}

extension Phase {
    /// The step that enters it.
    var entry: Step? {
        switch self {
        case .none, .postcopyFailed: nil
        case .begin3, .beginResume: .begin
        case .perform2, .perform3, .perform3Done, .performResume: .perform
        case .confirm3, .confirm3Cancelled, .confirmResume: .confirm
        case .prepare, .prepareResume: .prepare
        case .finish2, .finish3, .finishResume: .finish
        }
    }
}

extension SideCore {
    /// What was found before the attempt, from the ledger; what differs now is what has to be put back.
    mutating func adopt(_ ledger: Ledger, _ reread: CatchingUp) {
        originalCapabilities = ledger.isSaved ? ledger.capabilities : reread.capabilities
        originalParameters = ledger.isSaved ? ledger.parameters : reread.parameters
        changedCapabilities = (reread.capabilities ?? []).filter { now in
            now.name != "events" && (originalCapabilities ?? []).contains { $0.name == now.name && $0.isOn != now.isOn }
        }
        changedParameters = (reread.parameters ?? []).filter { now in
            (originalParameters ?? []).contains { $0.name == now.name && $0.value != now.value }
        }
    }
}
