public import Migration

/// One side of an attempt as a party of its own: its machine, its ledger, and the talk with a coordinator that may be
/// anywhere.
///
/// The machine decides what is done; this wrapper makes every step repeatable (called again, a step that was answered
/// is answered the same, one that is being worked on is only accepted), keeps the ledger, and tells the coordinator
/// what changed. A crash leaves the ledger; a party is built from it by `init(restarting:options:)` and takes up the
/// attempt when it is told `restarted`.
public struct SideParty: Hashable, Sendable {
    /// Which end.
    public let side: Side
    /// What was asked for.
    public let options: MigrateOptions
    /// What a crash leaves.
    public internal(set) var ledger: Ledger
    /// The source's machine, on the source.
    public internal(set) var source: SourceMachine?
    /// The destination's machine, on the destination.
    public internal(set) var destination: DestinationMachine?
    /// The steps that were called in this life and are not answered.
    var inWork: [Step] = []
    /// What was asked for in this life and is not to be done twice.
    var heard: [PartyMessage] = []
    var isPeerConnected = true
    var isStuck = false
    /// What was decided after the last restart, with its sentence for a person.
    public internal(set) var recovery: RecoveryRow?
    /// Set from a restart until QEMU was re-read.
    var catchingUp: CatchingUp?
    /// What was last told.
    var told: SideStanding?

    /// A side before its first input.
    ///
    /// - Parameters:
    ///   - side: Which end.
    ///   - options: What is wanted of the attempt.
    ///   - ledger: What earlier attempts left; `nil` for a domain that never migrated.
    public init(side: Side, options: MigrateOptions, ledger: Ledger? = nil) {
        self.side = side
        var options = options
        // A hook is run by the one process that sees the whole attempt.
        options.hasHook = false
        self.options = options
        self.ledger = ledger ?? Ledger(side: side)
        if side == .source {
            source = SourceMachine(options: options)
        } else {
            destination = DestinationMachine(options: options)
        }
    }

    /// What is known of this side's QEMU.
    public var evidence: Evidence { source?.evidence ?? destination?.evidence ?? Evidence(side: side) }

    /// Where this side stands.
    ///
    /// - Parameter serial: The number of the input it follows from.
    public func standing(serial: Int) -> SideStanding {
        SideStanding(
            serial: serial, attempt: options.attempt, phase: ledger.phase, recoveries: ledger.recoveries,
            report: catchingUp == nil ? evidence.report : Evidence(side: side).report,
            isSurrendered: ledger.isSurrendered(options.attempt), isRunRecorded: ledger.isRun(options.attempt),
            isRefused: ledger.isRefused(options.attempt), isFinished: ledger.isFinished,
            wasPausedOnTheWay: source?.wasPausedOnTheWay ?? false,
            isStuck: isStuck, isCatchingUp: catchingUp != nil)
    }

    /// Takes one input.
    ///
    /// - Parameters:
    ///   - input: What happened.
    ///   - sequence: The record that holds it; grows over restarts.
    ///   - time: When it happened.
    /// - Returns: What to do, in this order.
    public mutating func apply(_ input: SideInput, sequence: Int, at time: Instant) -> [SideEffect] {
        var effects: [SideEffect] = []
        switch input {
        case .message(let message): effects = hear(message, sequence: sequence, at: time)
        case .peer(let isConnected): effects = peerChanged(isConnected, sequence: sequence)
        case .restarted: effects = restarted(sequence: sequence, at: time)
        case .timeout(let deadline): effects = timedOut(deadline, sequence: sequence, at: time)
        case .fact(let fact): effects = observed(fact, sequence: sequence, at: time)
        case .sent(let command):
            // What follows from a command is told with what QEMU makes of it.
            sent(command, sequence: sequence, at: time)
            return []
        case .surveyed(let survey):
            effects = take((source?.surveyed(survey) ?? []) + (destination?.surveyed(survey) ?? []), sequence)
        case .surveyFailed(let why):
            effects = take((source?.surveyFailed(why) ?? []) + (destination?.surveyFailed(why) ?? []), sequence)
        case .lease(let result):
            effects = take(
                (source?.leaseAnswered(result) ?? []) + (destination?.leaseAnswered(result) ?? []), sequence)
        case .tick:
            effects = take((source?.tick() ?? []) + (destination?.tick() ?? []), sequence)
        }
        return effects + interference() + news(sequence)
    }

    /// What somebody else did to the guest on the way decides whether it is to run there: that outlives a crash.
    private mutating func interference() -> [SideEffect] {
        guard catchingUp == nil, let source, source.wasPausedOnTheWay != ledger.wasPausedOnTheWay,
            ledger.attempt == options.attempt
        else { return [] }
        let record = JournalRecord.interfered(isPaused: source.wasPausedOnTheWay)
        ledger.note(record)
        return [.persist(record)]
    }

    mutating func observe(_ fact: Fact, sequence: Int, at time: Instant) -> [Effect] {
        (source?.observe(fact, sequence: sequence, at: time) ?? [])
            + (destination?.observe(fact, sequence: sequence, at: time) ?? [])
    }

    private mutating func observed(_ fact: Fact, sequence: Int, at time: Instant) -> [SideEffect] {
        guard catchingUp != nil else { return take(observe(fact, sequence: sequence, at: time), sequence) }
        // The machine is not itself again yet: only the evidence grows.
        source?.core.evidence.note(fact, sequence: sequence, at: time)
        destination?.core.evidence.note(fact, sequence: sequence, at: time)
        return caughtUp(by: fact, sequence: sequence, at: time)
    }

    private mutating func sent(_ command: Command, sequence: Int, at time: Instant) {
        source?.sent(command, origin: .controller, sequence: sequence, at: time)
        destination?.sent(command, origin: .controller, sequence: sequence, at: time)
    }

    // MARK: What the coordinator says

    private mutating func hear(_ message: PartyMessage, sequence: Int, at time: Instant) -> [SideEffect] {
        switch message {
        case .call(let step, let cookie): return called(step, cookie, sequence: sequence, at: time)
        case .inquire:
            told = standing(serial: sequence)
            return [.message(.report(standing(serial: sequence)))]
        // The machine is not itself again yet and could only forget it.
        case _ where catchingUp?.keep(message) != nil: return []
        case .ask(let request, let origin):
            return ask(message, request, origin, sequence: sequence, at: time)
        case .abort: return once(message) ? take(source?.abort(sequence: sequence) ?? [], sequence) : []
        case .release: return take((source?.release() ?? []) + (destination?.release() ?? []), sequence)
        case .allowHandOver: return take(source?.allowHandOver() ?? [], sequence)
        case .stopAtOnce: return take(source?.stopAtOnce() ?? [], sequence)
        case .accepted, .answer, .report: return []
        }
    }

    /// Whether this is said for the first time: the same wish said again, because nobody could know whether it was
    /// heard, is one wish.
    private mutating func once(_ message: PartyMessage) -> Bool {
        guard !heard.contains(message) else { return false }
        heard.append(message)
        return true
    }

    private mutating func ask(
        _ message: PartyMessage, _ request: Request, _ origin: Origin, sequence: Int, at time: Instant
    ) -> [SideEffect] {
        switch request {
        case .cancel:
            guard once(message) else { return [] }
            let record = JournalRecord.requested(request, origin)
            ledger.note(record)
            return [.persist(record)]
                + take(source?.cancel(origin: origin, sequence: sequence, at: time) ?? [], sequence)
        case .pauseGuest:
            guard once(message) else { return [] }
            return take(source?.hold(origin: origin, sequence: sequence, at: time) ?? [], sequence)
        case .postcopy:
            guard once(message) else { return [] }
            return take(source?.startPostcopy(origin: origin, sequence: sequence, at: time) ?? [], sequence)
        case .pausePostcopy:
            return take(
                (source?.pausePostcopy(origin: origin, sequence: sequence, at: time) ?? [])
                    + (destination?.pausePostcopy(origin: origin, sequence: sequence, at: time) ?? []), sequence)
        case .continue: return take(source?.continueSwitchover() ?? [], sequence)
        case .destinationNeverRan: return takeBack(request, origin)
        case .migrate, .recover, .set, .destinationRan: return []
        }
    }

    /// A person vouches that the guest never ran here: the commit is taken back, unless it is seen to have run, so that
    /// Abandon can end this QEMU.
    private mutating func takeBack(_ request: Request, _ origin: Origin) -> [SideEffect] {
        guard destination != nil, !evidence.events.has(.ran), ledger.requests[request] == nil else { return [] }
        let record = JournalRecord.requested(request, origin)
        ledger.note(record)
        destination?.isRunRecorded = false
        return [.persist(record)]
    }

    private mutating func called(
        _ step: Step, _ cookie: Cookie, sequence: Int, at time: Instant
    ) -> [SideEffect] {
        guard step.side == side else { return [] }
        let attempt = options.attempt
        guard cookie.attempt == attempt else {
            return refuse(step, "this is attempt \(attempt), \(step.rawValue) came for \(cookie.attempt)", sequence)
        }
        if cookie.recovery ?? 0 < ledger.recoveries, ledger.attempt == attempt {
            return refuse(step, "\(step.rawValue) belongs to a recovery that is over", sequence)
        }
        let isNewRecovery = cookie.recovery ?? 0 > ledger.recoveries
        if isNewRecovery { inWork = [] }
        if inWork.contains(step) { return [.message(.accepted(step))] }
        // What Prepare was answered before this side gave up by itself is no answer any more.
        if step == .prepare, ledger.isRefused(attempt) {
            return refuse(step, "attempt \(attempt) was refused here for ever", sequence)
        }
        if !isNewRecovery, let answer = ledger.answers[step], ledger.attempt == attempt {
            if step == .confirm, ledger.calls[step]?.isSuccess != cookie.isSuccess {
                return refuse(step, "this attempt was confirmed the other way before", sequence)
            }
            return [.message(.answer(step, answer, standing(serial: sequence)))]
        }
        if ledger.isRefused(attempt), step == .finish {
            return refuse(step, "attempt \(attempt) was refused here for ever", sequence)
        }
        if catchingUp?.keep(.call(step, cookie)) != nil { return [.message(.accepted(step))] }
        if let core = source?.core ?? destination?.core, let error = core.refusal(of: cookie, into: step, options) {
            // Not on record: it says nothing of the step, which can still be called as it should be.
            return refuse(step, error.description, sequence)
        }
        inWork.append(step)
        let record = JournalRecord.called(step, cookie)
        ledger.note(record)
        return [.persist(record)] + (cookie.recovery == nil ? survey(for: step) : [])
            + take(enter(step, cookie), sequence)
    }

    private func survey(for step: Step) -> [SideEffect] {
        switch step {
        case .begin, .prepare, .dumpXML: [.survey]
        case .perform, .confirm, .finish, .abandon: []
        }
    }

    private mutating func enter(_ step: Step, _ cookie: Cookie) -> [Effect] {
        switch step {
        case .begin: source?.begin(cookie) ?? []
        case .perform: source?.perform(cookie) ?? []
        case .confirm: source?.confirm(cookie) ?? []
        case .prepare: destination?.prepare(cookie) ?? []
        case .finish: destination?.finish(cookie) ?? []
        case .abandon: destination?.abandon() ?? []
        case .dumpXML: source?.begin(cookie) ?? []
        }
    }

    /// An answer that follows from what is on record already and changes nothing.
    private func refuse(_ step: Step, _ why: String, _ sequence: Int) -> [SideEffect] {
        [.message(.answer(step, .failed(StepError(.refused, why)), standing(serial: sequence)))]
    }

    // MARK: What the machine wants

    /// Turns what the machine wants into what the driver does, writing the ledger on the way.
    mutating func take(_ effects: [Effect], _ sequence: Int) -> [SideEffect] {
        var result: [SideEffect] = []
        for (index, effect) in effects.enumerated() {
            switch effect {
            case .send(_, let command, let outOfBand):
                result += write(before: command)
                if side == .destination, command == .cont, ledger.isRefused(options.attempt) { continue }
                result.append(.send(command, outOfBand: outOfBand))
            case .survey: result.append(.survey)
            case .persist(let record):
                ledger.note(record)
                result.append(.persist(record))
            case .phase(let move):
                // The end of the job says that its last step is done: that goes on record first, so that no crash falls
                // between the two.
                if move.to == .none { result += record(answerIn: effects[index...]) }
                ledger.note(.phase(move))
                result.append(.phase(move))
            case .answer(let step, let answer):
                result += record(answerIn: effects[index...])
                inWork.removeAll { $0 == step }
                let standing = standing(serial: sequence)
                told = standing
                result.append(.message(.answer(step, answer, standing)))
            case .arm(let deadline, let milliseconds): result.append(.arm(deadline, milliseconds: milliseconds))
            case .disarm(let deadline): result.append(.disarm(deadline))
            case .kill: result.append(.kill)
            case .lease(_, let action): result.append(.lease(action))
            case .accepted(let step): result.append(.message(.accepted(step)))
            case .call, .publish, .finished, .refused, .hook, .decided: break
            }
        }
        return result
    }

    /// Writes how a step went, once.
    private mutating func record(answerIn effects: ArraySlice<Effect>) -> [SideEffect] {
        for case .answer(let step, let answer) in effects {
            guard ledger.answers[step] != answer else { return [] }
            let record = JournalRecord.answered(step, answer)
            var effects: [SideEffect] = []
            if step == source?.firstStep, ledger.recoveries == 0, case .done = answer,
                let runState = source?.firstRunState
            {
                let began = JournalRecord.began(side, attempt: options.attempt, wasRunning: runState == .running)
                ledger.note(began)
                effects.append(.persist(began))
            }
            ledger.note(record)
            return effects + [.persist(record)]
        }
        return []
    }

    /// What must be on record before a command leaves.
    private mutating func write(before command: Command) -> [SideEffect] {
        switch command.trigger {
        case .migrate?, .listen?, .resume?, .recover?:
            guard let kind = command.trigger, !ledger.intents.contains(kind) else { return [] }
            let record = JournalRecord.intent(side, kind)
            ledger.note(record)
            return [.persist(record)]
        default: return []
        }
    }

    // MARK: News

    /// A report, if there is anything new to tell.
    private mutating func news(_ sequence: Int) -> [SideEffect] {
        var now = standing(serial: sequence)
        guard let told else {
            told = now
            return []
        }
        now.serial = told.serial
        guard now != told else { return [] }
        now.serial = sequence
        self.told = now
        return [.message(.report(now))]
    }

    private mutating func timedOut(_ deadline: Deadline, sequence: Int, at time: Instant) -> [SideEffect] {
        switch deadline {
        case .peer: return peerStaysAway(sequence: sequence)
        case .restart: return gaveUpCatchingUp(sequence: sequence, at: time)
        default: break
        }
        source?.note(timeout: deadline, sequence: sequence, at: time)
        let effects = (source?.timedOut(deadline) ?? []) + (destination?.timedOut(deadline) ?? [])
        // The coordinator cannot see these run out, and has to act.
        if deadline == .yank || deadline == .destinationMonitor { isStuck = true }
        return take(effects, sequence)
    }
}
