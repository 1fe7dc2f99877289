import Migration

/// A coordinator that takes an attempt up again: after a restart, or when what could not be proven can be asked again.
///
/// The ledger tells which steps were called and how they were answered; both sides are asked where they stand; then the
/// attempt goes on with the step that is due. What was called and not answered is called again: a step that was done
/// answers the same.
extension CoordinatorParty {
    /// A party from what a crash left. It does nothing before it is told `restarted`.
    ///
    /// - Parameters:
    ///   - ledger: The fold of the coordinator's records.
    ///   - options: What was wanted of the attempt.
    public init(restarting ledger: CoordinatorLedger, options: MigrateOptions) {
        self.init(options: options)
        self.ledger = ledger
        isSourceConnected = false
        isDestinationConnected = false
    }

    /// A new process has taken up the ledger.
    mutating func restarted(_ work: inout Work) {
        guard ledger.hasRequest(.migrate) else { return }
        askBothSides(&work)
    }

    /// Asks both sides where they stand; what they say is waited for within bounds.
    mutating func askBothSides(_ work: inout Work) {
        awaited = Side.allCases
        result = nil
        work.effects += Side.allCases.map { .message(to: $0, .inquire) }
        work.effects.append(.arm(.restart, milliseconds: options.deadlines[.restart]))
    }

    /// A side has said where it stands.
    mutating func heard(of side: Side, _ work: inout Work) {
        guard !awaited.isEmpty else { return }
        awaited.removeAll { $0 == side }
        if awaited.isEmpty { takeUp(&work) }
    }

    /// Not everybody answered in time: with what is known nothing can be proven.
    mutating func gaveUpAsking(_ work: inout Work) {
        guard !awaited.isEmpty else { return }
        let silent = awaited.map(\.rawValue).joined(separator: " and the ")
        let isSourceKnown = !awaited.contains(.source)
        awaited = []
        rebuild()
        if isSourceKnown, let step = statementStep(&work) { return work.actions.append(step) }
        coordinator.error = coordinator.error ?? StepError(.unproven, "the \(silent)'s side cannot be asked")
        work.actions += coordinator.undecided(
            .sideSilent,
            "the \(silent)'s side cannot be asked where it stands: \(whatToFindOut)", sourceReport, destinationReport)
    }

    /// What a person has to find out, for want of anybody to ask.
    var whatToFindOut: String {
        if ledger.hasCalled(.finish) {
            return "find out whether the guest runs or ever ran on the destination, and say so with `resolve`"
        }
        if ledger.hasCalled(.perform) {
            return "find out whether the source still runs the guest; the destination was never told to run it"
        }
        return "nothing was moved yet; the guest is where it was"
    }

    // MARK: Going on

    private mutating func takeUp(_ work: inout Work) {
        work.effects.append(.disarm(.restart))
        rebuild()
        if let step = statementStep(&work) { return work.actions.append(step) }
        work.actions += due()
        if let timeout = options.timeoutMilliseconds, coordinator.isPerforming {
            work.effects.append(.arm(.migration, milliseconds: timeout))
        }
        for side in Side.allCases { sayAgain(to: side, &work) }
    }

    /// The coordinator's state as the ledger proves it. What the sides show now is judged afterwards.
    private mutating func rebuild() {
        var new = Coordinator(options: options)
        new.cancelOrigin = ledger.origin(of: .cancel)
        new.wasPausedOnTheWay = source?.wasPausedOnTheWay ?? false
        new.prepared = ledger.prepared
        new.performed = ledger.performed
        new.statistics = ledger.performed?.statistics ?? CookieStatistics()
        for step in [Step.dumpXML, .begin, .prepare, .perform, .finish] {
            if case .failed(let why)? = ledger.answers[step] { new.error = new.error ?? why }
        }
        if ledger.hasCalled(.abandon) {
            switch ledger.answers[.abandon] {
            case nil: new.abandonment = .called
            case .done?: new.abandonment = .done
            case .failed(let why)?: new.abandonment = .failed(why)
            }
            if case .done? = ledger.answers[.abandon], ledger.performed != nil, let error = new.error {
                // What was not proven then is now.
                new.error = StepError(error.kind == .unproven ? .failed : error.kind, error.description)
            }
            if new.error == nil, new.cancelOrigin == nil {
                new.isFailureFirst = true
                new.error = StepError(.failed, destinationReport.errorDescription ?? "the destination could not go on")
            }
        }
        new.isPerforming = ledger.isOutstanding(.perform)
        new.isFinishing = ledger.isOutstanding(.finish)
        new.postcopy.isEntered = ledger.recoveries > 0 || isInterrupted
        new.postcopy.isResume = ledger.recoveries > 0 && !isInterrupted && ledger.answers[.finish] == nil
        new.state = state(new)
        new.isResumeTried = new.state == .resuming
        coordinator = new
        asked = []
        guard new.isPerforming else { return }
        if let origin = new.cancelOrigin { asked.append(.ask(.cancel, origin)) }
        if new.abandonment != .notCalled, new.cancelOrigin == nil { asked.append(.abort) }
    }

    /// Which of the five steps the attempt stands at.
    private func state(_ new: Coordinator) -> Coordinator.State {
        if let confirm = ledger.cookie(of: .confirm) { return confirm.isSuccess ?? false ? .confirming : .resuming }
        if ledger.hasCalled(.abandon), !new.isPerforming { return .unwinding }
        if isInterrupted { return .interrupted }
        if ledger.hasCalled(.finish) { return .finishing }
        if ledger.hasCalled(.perform) { return .performing }
        if ledger.hasCalled(.prepare) { return .preparing }
        return ledger.calls.isEmpty ? .idle : .beginning
    }

    /// The last step that was answered told of an interrupted post-copy, or of a recovery that failed.
    private var isInterrupted: Bool {
        ledger.calls.contains { call in
            guard case .failed(let why)? = ledger.answers[call.step] else { return false }
            return why.kind == .interrupted || ledger.recoveries > 0 && call.step != .confirm
        }
    }

    /// What follows from the last answer and was not called yet.
    private mutating func due() -> [CoordinatorAction] {
        guard let origin = ledger.origin(of: .migrate) else { return [] }
        guard let last = ledger.calls.last?.step else { return coordinator.request(.migrate, origin: origin) }
        // The destination answered for itself in the meantime, and nobody can take that back.
        if isOnDestination, coordinator.state == .finishing || coordinator.state == .unwinding,
            !ledger.hasCalled(.confirm)
        {
            coordinator.state = .finishing
            return coordinator.answered(
                .finish, .done(Cookie(attempt: options.attempt)), source: sourceReport, destination: destinationReport)
        }
        if coordinator.state == .interrupted { return [] }
        if coordinator.state == .unwinding, last != .confirm {
            return coordinator.settle(sourceReport, destinationReport)
        }
        guard let answer = ledger.answers[last] else { return [] }
        return coordinator.answered(last, answer, source: sourceReport, destination: destinationReport)
    }

    /// The guest was given away and is seen running where it was to go, with all of its memory: in post-copy that comes later than its run.
    private var isOnDestination: Bool {
        guard let source, let destination else { return false }
        let isSplit =
            (source.report.hasLeftInPostcopy || destination.report.hasLeftInPostcopy)
            && (source.report.completed == nil || destination.report.completed == nil)
        return source.isSurrendered && source.report.isRunning != true && destination.isRunRecorded
            && destination.report.isRunningNow == true && !isSplit
    }

    // MARK: A person's statement

    /// What a person's recorded statement leads to: the last resort of rule 6, for want of anybody to ask.
    private mutating func statementStep(_ work: inout Work) -> CoordinatorAction? {
        guard !ledger.hasCalled(.confirm), ledger.hasCalled(.perform) else { return nil }
        if ledger.hasRequest(.destinationRan) {
            coordinator.state = .confirming
            return .call(.confirm, Cookie(attempt: options.attempt))
        }
        guard let origin = ledger.origin(of: .destinationNeverRan), destination?.report.isRunningNow != true else {
            return nil
        }
        coordinator.error = StepError(
            .failed, coordinator.error?.description ?? "a person stated that it never arrived")
        guard isDestinationConnected, let destination, destination.report.gone == nil else {
            coordinator.state = .resuming
            coordinator.isResumeTried = true
            return .call(.confirm, Cookie(attempt: options.attempt))
        }
        // It can be reached: then it shall never run either.
        coordinator.state = .unwinding
        coordinator.abandonment = .called
        work.effects.append(.message(to: .destination, .ask(.destinationNeverRan, origin)))
        return .call(.abandon, Cookie(attempt: options.attempt))
    }

    /// A person says where the guest is. It is recorded, and the attempt is taken up with it.
    mutating func state(_ request: Request, _ origin: Origin, _ work: inout Work) {
        guard result?.word == .undecided, !ledger.hasCalled(.confirm) else {
            let why = "the attempt is not undecided"
            return work.effects.append(.refused(request, why))
        }
        guard isSourceConnected else {
            return work.effects.append(
                .refused(request, "the source's side, which has to act on it, cannot be reached"))
        }
        persist(.requested(request, origin), &work)
        askBothSides(&work)
    }
}
