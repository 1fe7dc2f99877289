public import Migration

/// The coordinator of an attempt as a party of its own: what it does with what the sides last told it.
///
/// It judges only by standings it was told, takes each answer once, says an unanswered step again until it is answered,
/// and never takes silence for proof: a side that cannot be reached is unproven, and what cannot be proven ends
/// undecided, which is a state from which the attempt can be taken up again.
public struct CoordinatorParty: Hashable, Sendable {
    /// What was asked for.
    public let options: MigrateOptions
    /// What a crash leaves.
    public internal(set) var ledger = CoordinatorLedger()
    /// The one who decides.
    public internal(set) var coordinator: Coordinator
    /// What the source last told of itself.
    public internal(set) var source: SideStanding?
    /// What the destination last told of itself.
    public internal(set) var destination: SideStanding?
    /// The last published status.
    public internal(set) var status = PublishedStatus.idle
    /// The end, once it came.
    public internal(set) var result: AttemptResult?
    /// Wishes that are said again until the source's Perform is answered.
    var asked: [PartyMessage] = []
    var isSourceConnected = true
    var isDestinationConnected = true
    var isRepeating = false
    /// Sides that were asked where they stand, before the attempt is taken up again.
    var awaited: [Side] = []

    /// The coordinator of an attempt before its first input.
    public init(options: MigrateOptions) {
        var options = options
        // A hook is run by the one process that sees the whole attempt.
        options.hasHook = false
        self.options = options
        coordinator = Coordinator(options: options)
    }

    /// Takes one input.
    ///
    /// - Parameters:
    ///   - input: What happened.
    ///   - sequence: The record that holds it.
    ///   - time: When it happened.
    /// - Returns: What to do, in this order.
    public mutating func apply(_ input: CoordinatorInput, sequence: Int, at time: Instant) -> [CoordinatorEffect] {
        var work = Work()
        let wasOver = result != nil
        switch input {
        case .request(let request, let origin): take(request, origin, &work)
        case .message(let side, let message): hear(message, from: side, &work)
        case .peer(let side, let isConnected): peerChanged(side, isConnected, &work)
        case .timeout(let deadline): timedOut(deadline, &work)
        case .restarted: restarted(&work)
        }
        settle(&work)
        watch(&work)
        if !wasOver {
            for side in Side.allCases { sendHome(side, &work) }
        } else if case .message(let side, _) = input {
            sendHome(side, &work)
        }
        return work.effects
    }

    /// Actions that are still to be carried out, and effects for the driver.
    struct Work {
        var actions: [CoordinatorAction] = []
        var effects: [CoordinatorEffect] = []
    }

    var sourceReport: SideReport { source?.report ?? Evidence(side: .source).report }
    var destinationReport: SideReport { destination?.report ?? Evidence(side: .destination).report }

    // MARK: Inputs

    private mutating func take(_ request: Request, _ origin: Origin, _ work: inout Work) {
        switch request {
        case .destinationRan, .destinationNeverRan: return state(request, origin, &work)
        default: break
        }
        guard result == nil else { return }
        persist(.requested(request, origin), &work)
        guard awaited.isEmpty else { return }
        work.actions += coordinator.request(request, origin: origin)
    }

    mutating func persist(_ record: JournalRecord, _ work: inout Work) {
        ledger.note(record)
        work.effects.append(.persist(record))
    }

    private mutating func hear(_ message: PartyMessage, from side: Side, _ work: inout Work) {
        switch message {
        case .report(let standing): note(standing, of: side, &work)
        case .answer(let step, let result, let standing):
            guard step.side == side else { return }
            note(standing, of: side, &work)
            // What a recovery's step was answered tells nothing of the same step in the next one.
            guard standing.recoveries >= ledger.recoveries else { return }
            answered(step, result, &work)
        case .accepted, .call, .ask, .abort, .release, .allowHandOver, .stopAtOnce, .inquire: break
        }
    }

    /// The attempt is over and a side still holds its job, perhaps because it was away when it ended: it is told.
    /// Undecided is not over.
    private mutating func sendHome(_ side: Side, _ work: inout Work) {
        guard let word = result?.word, word != .undecided, let standing = side == .source ? source : destination,
            standing.phase != .none, !standing.isCatchingUp
        else { return }
        switch side {
        case .source: work.effects.append(.message(to: .source, .release))
        case .destination:
            guard word != .completed, !ledger.hasCalled(.abandon) else { return }
            let cookie = Cookie(attempt: options.attempt)
            persist(.called(.abandon, cookie), &work)
            work.effects.append(.message(to: .destination, .call(.abandon, cookie)))
        }
    }

    /// Keeps the newest standing of a side; an older one that comes late tells nothing.
    private mutating func note(_ standing: SideStanding, of side: Side, _ work: inout Work) {
        let last = side == .source ? source : destination
        guard standing.attempt == options.attempt, standing.serial > last?.serial ?? .min else { return }
        // What is empty because the side has only just come back is not news, but what its ledger proves is.
        var standing = standing
        if standing.isCatchingUp, let report = last?.report { standing.report = report }
        if side == .source { source = standing } else { destination = standing }
        coordinator.wasPausedOnTheWay = source?.wasPausedOnTheWay ?? false
        if !standing.isCatchingUp { heard(of: side, &work) }
        if standing.isFinished, result == nil, awaited.isEmpty, coordinator.state == .interrupted {
            // With nobody inside each side finishes by itself; its answer was to nobody, and may be lost.
            work.actions += coordinator.answered(
                side == .source ? .confirm : .finish, .done(Cookie(attempt: options.attempt)), source: sourceReport,
                destination: destinationReport)
        }
        guard result == nil, awaited.isEmpty, standing.isStuck, last?.isStuck != true else { return }
        work.actions += coordinator.timedOut(side == .source ? .yank : .destinationMonitor)
    }

    /// Takes each answer once, and only to what was asked.
    mutating func answered(_ step: Step, _ answer: StepResult, _ work: inout Work) {
        guard ledger.hasCalled(step), ledger.answers[step] == nil else { return }
        persist(.answered(step, answer), &work)
        if step == .perform { asked = [] }
        guard result == nil, awaited.isEmpty else { return }
        if step == .perform, case .done = answer, let error = coordinator.error, error.kind == .unproven {
            // The side that was given up is there after all, and what it says is proof.
            coordinator.error = StepError(.failed, error.description)
        }
        work.actions += coordinator.answered(
            step, answer, source: sourceReport, destination: destinationReport)
    }

    private mutating func timedOut(_ deadline: Deadline, _ work: inout Work) {
        switch deadline {
        case .restart: gaveUpAsking(&work)
        case .repeat:
            isRepeating = false
            for side in Side.allCases { sayAgain(to: side, &work) }
        case .sourcePeer where !isSourceConnected: giveUp(on: .source, &work)
        case .destinationPeer where !isDestinationConnected: giveUp(on: .destination, &work)
        case .sourcePeer, .destinationPeer: break
        default:
            guard result == nil, awaited.isEmpty else { return }
            work.actions += coordinator.timedOut(deadline)
        }
    }

    // MARK: The connections

    private mutating func peerChanged(_ side: Side, _ isConnected: Bool, _ work: inout Work) {
        let deadline: Deadline = side == .source ? .sourcePeer : .destinationPeer
        if side == .source { isSourceConnected = isConnected } else { isDestinationConnected = isConnected }
        if isConnected {
            work.effects.append(.disarm(deadline))
            if result?.word == .undecided {
                // What could not be proven can be asked again.
                askBothSides(&work)
            } else {
                sayAgain(to: side, &work)
            }
        } else if result == nil {
            work.effects.append(.arm(deadline, milliseconds: options.deadlines[deadline]))
        }
    }

    /// What may have been lost on the way is said again: steps answer the same, wishes are heard once.
    func sayAgain(to side: Side, _ work: inout Work) {
        work.effects.append(.message(to: side, .inquire))
        for call in ledger.outstanding where call.step.side == side && (!isOver || call.step == .abandon) {
            work.effects.append(.message(to: side, .call(call.step, call.cookie)))
        }
        if side == .source, !isOver { work.effects += asked.map { .message(to: .source, $0) } }
    }

    /// A side cannot be reached: nothing about it is proven any more. What it does meanwhile follows from its own
    /// ledger.
    private mutating func giveUp(on side: Side, _ work: inout Work) {
        guard result == nil, awaited.isEmpty else { return }
        // What it last told of its guest may have changed since.
        if side == .source { source?.report.isRunning = nil } else { destination?.report.isRunning = nil }
        for call in ledger.outstanding where call.step.side == side && result == nil {
            // Not on record: the step may still answer, and then it counts.
            let why = StepError(
                .unproven,
                "the \(side.rawValue)'s side cannot be reached during \(call.step.rawValue): \(whatToFindOut)")
            work.actions += coordinator.answered(
                call.step, .failed(why), source: sourceReport, destination: destinationReport)
        }
        if side == .destination, result == nil { work.actions += coordinator.timedOut(.destinationMonitor) }
    }

    /// Keeps calling as long as anything is unanswered.
    private mutating func watch(_ work: inout Work) {
        let isOpen = !ledger.outstanding.isEmpty || coordinator.state == .interrupted
        let isWaiting = result == nil && awaited.isEmpty && isOpen || isSomebodyAway
        if isWaiting, !isRepeating {
            isRepeating = true
            work.effects.append(.arm(.repeat, milliseconds: options.deadlines[.repeat]))
        } else if !isWaiting, isRepeating {
            isRepeating = false
            work.effects.append(.disarm(.repeat))
        }
    }

    /// Whether the attempt has an end that stays.
    private var isOver: Bool { result.map { $0.word != .undecided } ?? false }

    /// Whether a side still holds its job although the attempt is over, as far as it told.
    private var isSomebodyAway: Bool {
        guard isOver else { return false }
        return [source, destination].contains { $0.map { $0.phase != .none && !$0.isCatchingUp } ?? false }
    }

    // MARK: Actions

    /// Carries out what the coordinator wants until nothing more follows.
    private mutating func settle(_ work: inout Work) {
        guard result == nil, awaited.isEmpty else { return }
        repeat {
            while !work.actions.isEmpty, result == nil { perform(work.actions.removeFirst(), &work) }
            if coordinator.isDone { break }
            publish(&work)
            work.actions += coordinator.judge(source: sourceReport, destination: destinationReport)
        } while !work.actions.isEmpty
    }

    private mutating func perform(_ action: CoordinatorAction, _ work: inout Work) {
        switch action {
        case .call(let step, let cookie):
            var cookie = cookie
            if step == .confirm { cookie.isSuccess = coordinator.isConfirmOfSuccess }
            let recovery = ledger.recoveries + (step == .begin && ledger.hasCalled(.begin) ? 1 : 0)
            cookie.recovery = recovery > 0 ? recovery : nil
            persist(.called(step, cookie), &work)
            work.effects.append(.message(to: step.side, .call(step, cookie)))
        case .cancel(let origin): ask(.ask(.cancel, origin), &work)
        case .hold(let origin): ask(.ask(.pauseGuest, origin), &work)
        case .abort: ask(.abort, &work)
        case .release(let side): work.effects.append(.message(to: side, .release))
        case .postcopy(let origin): ask(.ask(.postcopy, origin), &work)
        case .allowHandOver: ask(.allowHandOver, &work)
        case .pausePostcopy(let side, let origin):
            work.effects.append(.message(to: side, .ask(.pausePostcopy, origin)))
        case .continueSwitchover: work.effects.append(.message(to: .source, .ask(.continue, .operator)))
        case .stopSource: work.effects.append(.message(to: .source, .stopAtOnce))
        case .effect(.refused(let request, let why)): work.effects.append(.refused(request, why))
        case .effect(.finished(let result)):
            self.result = result
            publish(&work)
            work.effects += [.disarm(.sourcePeer), .disarm(.destinationPeer), .finished(result)]
        case .effect(.arm(let deadline, let milliseconds)):
            work.effects.append(.arm(deadline, milliseconds: milliseconds))
        case .effect(.disarm(let deadline)): work.effects.append(.disarm(deadline))
        case .effect(.persist(let record)): persist(record, &work)
        case .effect: break
        }
    }

    private mutating func ask(_ message: PartyMessage, _ work: inout Work) {
        if !asked.contains(message) { asked.append(message) }
        work.effects.append(.message(to: .source, message))
    }

    private mutating func publish(_ work: inout Work) {
        let context = JointContext(
            isPausedIntended: options.isPausedIntended, wasPausedOnTheWay: coordinator.wasPausedOnTheWay)
        var new = PublishedStatus(
            source: sourceReport, destination: options.mode == .direct ? nil : destinationReport, context: context)
        if let result {
            new.word = result.word
            new.stopping = .none
        } else if new.word.isEnd {
            // An end is told once it is one: until the last step was answered it can still become another.
            if new.word != .completed { new.stopping = new.word == .cancelled ? .cancel : .failure }
            new.word = status.word
        } else if new.word != status.word, !PublishedGrammar.mayFollow(new.word, after: status.word) {
            // A side that was restarted may know less than was told already: what was told stays told.
            new.word = status.word
        }
        guard new != status else { return }
        status = new
        work.effects.append(.publish(new))
    }
}
