import Migration
import Phases

/// Where a party lives.
enum Party: String, CaseIterable {
    case source, destination, coordinator

    init(_ side: Side) { self = side == .source ? .source : .destination }

    var side: Side? {
        switch self {
        case .source: .source
        case .destination: .destination
        case .coordinator: nil
        }
    }
}

/// What becomes of messages between the parties.
enum MessageFate: Hashable {
    case lost, doubled
    /// Arrives after this many other inputs.
    case late(Int)
}

/// An attempt whose parties are on hosts of their own, with a scripted pair of QEMUs: messages, crashes and restarts
/// included.
struct Composition {
    /// A message on its way.
    struct Letter {
        var from: Party
        var to: Party
        var message: PartyMessage
    }

    let options: MigrateOptions
    var pair: ScriptedPair
    /// The lock manager of both sides, for attempts that have one.
    var locks = MemoryLockManager(heldBy: .source)
    private(set) var source: SideParty?
    private(set) var destination: SideParty?
    private(set) var coordinator: CoordinatorParty?
    /// What crashes left.
    private(set) var ledgers: [Side: Ledger] = [
        .source: Ledger(side: .source), .destination: Ledger(side: .destination),
    ]
    private(set) var coordinatorLedger = CoordinatorLedger()
    private(set) var letters: [Letter] = []
    private var late: [(at: Int, letter: Letter)] = []
    /// What happened, for a person; made into text only where somebody reads it.
    var history: [String] { moments.map(\.description) }
    private var moments: [Moment] = []
    private(set) var violations: [String] = []
    private(set) var records: [JournalRecord] = []
    private(set) var sends: [(side: Side, command: Command)] = []
    private(set) var published: [PublishedStatus] = []
    private(set) var results: [AttemptResult] = []
    /// What each of them was held against.
    private(set) var verdictChecks: [VerdictCheck] = []
    private(set) var phases: [PhaseMove] = []
    private(set) var inputs = 0
    private var conditions: [(Happening, (Composition) -> Bool)] = []
    private var now: Int64 = 0
    private var armed: [Wait: Int64] = [:]
    /// The fate of the messages, by their number.
    var fates: [Int: MessageFate] = [:]
    /// What becomes of the cookies of a step's calls on their way.
    var spoiling: [Step: (inout Cookie) -> Void] = [:]
    private(set) var messages = 0
    /// What happens before the input of a number.
    var events: [Int: [Happening]] = [:]
    /// An operator's statement was true.
    private var isAsserted = false
    private var isCut: Set<Side> = []
    /// Crash points: the party dies just before, or just after, the effect of this number.
    var crashBefore: (effect: Int, party: Party)?
    private(set) var effects: [Party: Int] = [:]

    private enum Moment: CustomStringConvertible {
        case side(Int, Side, SideInput)
        case coordinator(Int, CoordinatorInput)
        case sideEffect(Side, SideEffect)
        case coordinatorEffect(CoordinatorEffect)
        case happening(Happening)
        case lost(Int)
        case work(StatusWord?, RunState, StatusWord?, RunState)
        case violation(String)

        var description: String {
            switch self {
            case .side(let number, let side, .message(let message)): "\(number) \(side) hears \(message.short)"
            case .side(let number, let side, .fact(.reply(let command, let reply))):
                "\(number) \(side) \(command.name): \("\(reply)".prefix(60))"
            case .side(let number, let side, .sent(let command)): "\(number) \(side) sent \(command.name)"
            case .side(let number, let side, .surveyed): "\(number) \(side) surveyed"
            case .side(let number, let side, let input): "\(number) \(side) \(input)"
            case .coordinator(let number, .message(let from, let message)):
                "\(number) coordinator hears from \(from): \(message.short)"
            case .coordinator(let number, let input): "\(number) coordinator \(input)"
            case .sideEffect(let side, .message(let message)): "    \(side) says \(message.short)"
            case .sideEffect(let side, .send(let command, _)): "    \(side) sends \(command.name)"
            case .sideEffect(let side, .persist(let record)): "    \(side) writes \("\(record)".prefix(100))"
            case .sideEffect(let side, .phase(let move)): "    \(side) phase \(move.from) > \(move.to)"
            case .sideEffect(let side, let effect): "    \(side): \(effect)"
            case .coordinatorEffect(.message(let to, let message)): "    coordinator to \(to): \(message.short)"
            case .coordinatorEffect(.persist(let record)): "    coordinator writes \("\(record)".prefix(100))"
            case .coordinatorEffect(.publish(let status)): "    coordinator publishes \(status.word) \(status.stopping)"
            case .coordinatorEffect(let effect): "    coordinator: \(effect)"
            case .happening(let happening): "-- \(happening)"
            case .lost(let number): "    -- lost \(number)"
            case .work(let source, let sourceState, let destination, let destinationState):
                "-- source \(source?.rawValue ?? "-")/\(sourceState) "
                    + "destination \(destination?.rawValue ?? "-")/\(destinationState)"
            case .violation(let what): "!! \(what)"
            }
        }
    }

    private struct Wait: Hashable {
        var party: Party
        var deadline: Deadline
    }

    /// What happens to the composition from outside.
    enum Happening {
        case crash(Party, returns: Bool)
        case restart(Party)
        case cut(Side)
        case mend(Side)
        case request(Request)
        case die(Side)
        /// A side's program and its QEMU die together and do not come back.
        case hostGone(Side)
        /// The migration's channel breaks.
        case breakStream
    }

    init(_ script: Script = Script(), options: MigrateOptions = ScriptedDriver.options()) {
        self.options = options
        pair = ScriptedPair(script)
        source = SideParty(side: .source, options: options)
        destination = SideParty(side: .destination, options: options)
        coordinator = CoordinatorParty(options: options)
    }

    var result: AttemptResult? { results.last }

    // MARK: Running

    /// Runs until nothing more happens.
    mutating func run(_ first: CoordinatorInput? = .request(.migrate, .operator)) {
        if let first { take(first) }
        var turns = 0
        while step() {
            turns += 1
            if turns > 5_000 { return violate("no end after \(turns) turns") }
        }
        check()
    }

    /// A person states something, and all that follows from it.
    mutating func go(on statement: Request) {
        isAsserted = true
        run(.request(statement, .operator))
    }

    /// Runs until something is so, or nothing more happens.
    mutating func run(until condition: (Composition) -> Bool) {
        take(.request(.migrate, .operator))
        while !condition(self), step() {}
    }

    /// One more turn; false if nothing more happens.
    mutating func advance() -> Bool { step() }

    /// Somebody else stops or continues the source.
    mutating func interfere(isRunning: Bool) { pair.interfere(isRunning) }

    /// Something happens as soon as something is so.
    mutating func befall(_ happening: Happening, when condition: @escaping (Composition) -> Bool) {
        conditions.insert((happening, condition), at: 0)
    }

    /// Something happens as soon as something is so, after what was said to happen before it.
    mutating func befallNext(_ happening: Happening, when condition: @escaping (Composition) -> Bool) {
        conditions.append((happening, condition))
    }

    private mutating func step() -> Bool {
        if let (happening, condition) = conditions.first, condition(self) {
            conditions.removeFirst()
            befall(happening)
        }
        if let next = late.firstIndex(where: { $0.at <= inputs }) { letters.append(late.remove(at: next).letter) }
        if !letters.isEmpty {
            deliver(letters.removeFirst())
            return true
        }
        if let channel = pair.pending.filter({ !$0.value.isEmpty }).keys.min() {
            if let input = pair.pending[channel]?.removeFirst() { read(input) }
            return true
        }
        if pair.work() {
            moments.append(
                .work(pair.source.status, pair.source.runState, pair.destination.status, pair.destination.runState))
            checkTruth()
            return true
        }
        if !late.isEmpty {
            letters.append(late.removeFirst().letter)
            return true
        }
        if timeout() { return true }
        guard let next = events.keys.min() else { return false }
        for happening in events.removeValue(forKey: next) ?? [] { befall(happening) }
        return true
    }

    /// The next wait that runs out. Repeated calls alone change nothing: they go on for ever.
    private mutating func timeout() -> Bool {
        let waits = armed.sorted {
            ($0.value, $0.key.party.rawValue, $0.key.deadline.rawValue)
                < ($1.value, $1.key.party.rawValue, $1.key.deadline.rawValue)
        }
        guard let next = waits.first else { return giveUp() }
        if waits.allSatisfy({ $0.key.deadline == .repeat }) {
            repeats += 1
            if repeats > 3 { return giveUp() }
        } else if next.key.deadline != .repeat {
            repeats = 0
        }
        armed[next.key] = nil
        now = max(now, next.value)
        if let side = next.key.party.side {
            take(side, .timeout(next.key.deadline))
        } else {
            take(.timeout(next.key.deadline))
        }
        return true
    }

    private var repeats = 0
    private var hasGivenUp = false

    /// How often a person has asked for a recovery.
    private var recoveries = 0

    /// A pause that has a name: it stays until somebody asks for a recovery.
    var isInterrupted: Bool {
        pair.source.status == .postcopyPaused || pair.destination.status == .postcopyPaused
    }

    /// A copy may take as long as it likes, nobody bounded it. A person gives up at some time, or asks for a recovery.
    private mutating func giveUp() -> Bool {
        if result == nil, coordinator != nil, isInterrupted, recoveries < pair.script.postcopy.recoveries {
            recoveries += 1
            repeats = 0
            take(.request(.recover, .operator))
            return true
        }
        guard !hasGivenUp, result == nil, coordinator != nil, pair.source.status == .active else { return false }
        hasGivenUp = true
        repeats = 0
        take(.request(.cancel, .operator))
        return true
    }

    private mutating func deliver(_ letter: Letter) {
        if let side = letter.to.side {
            take(side, .message(letter.message))
        } else if let from = letter.from.side {
            take(.message(from: from, letter.message))
        }
    }

    /// An input from a QEMU.
    private mutating func read(_ input: Input) {
        switch input {
        case .fact(let side, let fact): take(side, .fact(fact))
        case .surveyed(let side, let survey): take(side, .surveyed(survey))
        case .surveyFailed(let side, let why): take(side, .surveyFailed(why))
        case .lease(let side, let result): take(side, .lease(result))
        default: violate("a QEMU does not say \(input)")
        }
    }

    private mutating func number(_ moment: Moment) {
        inputs += 1
        now += 100
        moments.append(moment)
    }

    mutating func take(_ side: Side, _ input: SideInput) {
        happen()
        guard side == .source ? source != nil : destination != nil else { return }
        number(.side(inputs + 1, side, input))
        let time = Instant(microseconds: now)
        let effects =
            side == .source
            ? source?.apply(input, sequence: inputs, at: time) : destination?.apply(input, sequence: inputs, at: time)
        for effect in effects ?? [] where carryOut(effect, of: side) == false { break }
        checkTruth()
    }

    mutating func take(_ input: CoordinatorInput) {
        happen()
        guard coordinator != nil else { return }
        number(.coordinator(inputs + 1, input))
        let effects = coordinator?.apply(input, sequence: inputs, at: Instant(microseconds: now))
        for effect in effects ?? [] where carryOut(effect) == false { break }
    }

    // MARK: Effects

    /// Whether the party is still there for the next effect.
    private mutating func survives(_ party: Party) -> Bool {
        effects[party, default: 0] += 1
        guard let crash = crashBefore, crash.party == party, crash.effect == effects[party] else { return true }
        crashBefore = nil
        self.crash(party, returns: true)
        return false
    }

    private mutating func carryOut(_ effect: SideEffect, of side: Side) -> Bool {
        guard survives(Party(side)) else { return false }
        moments.append(.sideEffect(side, effect))
        check(effect, of: side)
        switch effect {
        case .send(let command, let outOfBand):
            sends.append((side, command))
            guard pair[side].isConnected else {
                pair.pending[.init(side: side, kind: 0), default: []].append(.fact(side, .unanswered(command)))
                return true
            }
            take(side, .sent(command))
            pair.receive(side, command, outOfBand: outOfBand)
        case .survey: pair.answerSurvey(side)
        case .persist(let record):
            records.append(record)
            ledgers[side]?.note(record)
        case .phase(let move):
            phases.append(move)
            ledgers[side]?.note(.phase(move))
        case .message(let message): send(Letter(from: Party(side), to: .coordinator, message: message))
        case .arm(let deadline, let milliseconds):
            armed[Wait(party: Party(side), deadline: deadline)] = now + Int64(milliseconds) * 1000
        case .disarm(let deadline): armed[Wait(party: Party(side), deadline: deadline)] = nil
        case .kill: pair.kill(side)
        case .lease(let action):
            let result = locks.perform(action, on: side)
            pair.pending[.init(side: side, kind: 3), default: []].append(.lease(side, result))
        }
        return true
    }

    private mutating func carryOut(_ effect: CoordinatorEffect) -> Bool {
        guard survives(.coordinator) else { return false }
        moments.append(.coordinatorEffect(effect))
        switch effect {
        case .message(let side, let message): send(Letter(from: .coordinator, to: Party(side), message: message))
        case .publish(let status): published.append(status)
        case .persist(let record): coordinatorLedger.note(record)
        case .arm(let deadline, let milliseconds):
            armed[Wait(party: .coordinator, deadline: deadline)] = now + Int64(milliseconds) * 1000
        case .disarm(let deadline): armed[Wait(party: .coordinator, deadline: deadline)] = nil
        case .finished(let result):
            results.append(result)
            checkVerdict(result.verdict)
        case .refused: break
        }
        return true
    }

    /// The verdict does not go past what the rules say without a reason.
    private mutating func checkVerdict(_ verdict: Verdict) {
        guard let coordinator else { return }
        let check = VerdictCheck(
            verdict, source: coordinator.source?.report ?? Evidence(side: .source).report,
            destination: coordinator.destination?.report ?? Evidence(side: .destination).report,
            context: JointContext(
                isPausedIntended: options.isPausedIntended,
                wasPausedOnTheWay: coordinator.source?.wasPausedOnTheWay ?? false),
            last: nil)
        verdictChecks.append(check)
        check.problems.forEach { violate("I9: \($0)") }
    }

    private mutating func send(_ whole: Letter) {
        messages += 1
        var letter = whole
        if case .call(let step, var cookie) = letter.message, let spoil = spoiling[step] {
            spoil(&cookie)
            letter.message = .call(step, cookie)
        }
        let side = letter.from.side ?? letter.to.side
        if let side, isCut.contains(side) { return }
        switch fates[messages] {
        case nil: letters.append(letter)
        case .lost: moments.append(.lost(messages))
        case .doubled: letters += [letter, letter]
        case .late(let after): late.append((inputs + after, letter))
        }
    }

    // MARK: What happens

    private mutating func happen() {
        for moment in events.keys.filter({ $0 <= inputs }).sorted() {
            for happening in events.removeValue(forKey: moment) ?? [] { befall(happening) }
        }
    }

    mutating func befall(_ happening: Happening) {
        moments.append(.happening(happening))
        switch happening {
        case .crash(let party, let returns): crash(party, returns: returns)
        case .restart(let party): restart(party)
        case .cut(let side): cut(side, true)
        case .mend(let side): cut(side, false)
        case .request(let request): take(.request(request, .operator))
        case .die(let side): pair.die(side, .signalled(9))
        case .breakStream: pair.source.isBroken = true
        case .hostGone(let side):
            pair.die(side, .signalled(9))
            crash(Party(side), returns: false)
        }
    }

    private mutating func cut(_ side: Side, _ isCut: Bool) {
        if isCut { self.isCut.insert(side) } else { self.isCut.remove(side) }
        if isCut { letters.removeAll { $0.from.side == side || $0.to.side == side } }
        take(side, .peer(isConnected: !isCut))
        take(.peer(side, isConnected: !isCut))
    }

    /// A crash takes the machine, its waits, its connections and what was on its way to it.
    private mutating func crash(_ party: Party, returns: Bool) {
        moments.append(.happening(.crash(party, returns: returns)))
        armed = armed.filter { $0.key.party != party }
        letters.removeAll { $0.to == party || $0.from == party }
        late.removeAll { $0.letter.to == party || $0.letter.from == party }
        if let side = party.side {
            if side == .source { source = nil } else { destination = nil }
            for kind in 0...2 { pair.pending[.init(side: side, kind: kind)] = nil }
            pair[side].isConnected = false
            take(.peer(side, isConnected: false))
        } else {
            coordinator = nil
            for side in Side.allCases { take(side, .peer(isConnected: false)) }
        }
        if returns { restart(party) }
    }

    private mutating func restart(_ party: Party) {
        moments.append(.happening(.restart(party)))
        if let side = party.side {
            guard let ledger = ledgers[side] else { return }
            let party = SideParty(restarting: ledger, options: options)
            if side == .source { source = party } else { destination = party }
            take(side, .restarted)
            take(side, .peer(isConnected: true))
            take(.peer(side, isConnected: true))
            if pair[side].isAlive {
                pair.reconnect(side)
            } else {
                pair.pending[.init(side: side, kind: 1), default: []].append(.fact(side, .process(.gone)))
            }
        } else {
            coordinator = CoordinatorParty(restarting: coordinatorLedger, options: options)
            take(.restarted)
            for side in Side.allCases { take(side, .peer(isConnected: true)) }
        }
    }

    // MARK: What must hold

    private mutating func violate(_ what: String) {
        violations.append(what)
        moments.append(.violation(what))
    }

    private mutating func checkTruth() {
        if pair.areBothRunning, !pair.script.runsByItself { violate("I1: both QEMUs run the guest") }
    }

    private func has(_ record: JournalRecord) -> Bool { records.contains(record) }

    private mutating func check(_ effect: SideEffect, of side: Side) {
        switch effect {
        case .send(.cont, _) where side == .source:
            if !has(.refused(attempt: options.attempt)), !isAsserted {
                violate("I1: source continued without a tombstone")
            }
            if !pair.destination.isOver, pair.destination.isListening, !isAsserted {
                violate("I1: source continued, destination lives")
            }
        case .send(.cont, _):
            if !has(.run(attempt: options.attempt)) { violate("I2: destination run before the record") }
            if !has(.surrendered(attempt: options.attempt)), pair.source.isAlive {
                violate("I2: destination run before the surrender")
            }
            if has(.refused(attempt: options.attempt)) { violate("I2: destination run after the tombstone") }
        case .send(let command, _) where command.name == "migrate":
            if case .migrate(_, resume: true) = command { break }
            if sends.contains(where: { $0.command.trigger == .migrate }) { violate("migrate was sent twice") }
        case .phase(let move):
            if move.to != .none, !PhaseMoves.isLegal(side, from: move.from, to: move.to) {
                violate("no such move: \(move)")
            }
            if let last = phases.last(where: { $0.side == side }), last.to != move.from {
                violate("\(move) after \(last)")
            }
        default: break
        }
    }

    /// What is told at the end is the truth.
    private mutating func check() {
        guard let result else {
            if coordinator != nil, !isInterrupted { violate("I5: nothing is under way and nothing is told") }
            return
        }
        switch result.word {
        case .completed:
            if pair.source.isRunning { violate("I6: completed, source runs") }
        case .failed, .cancelled:
            if pair.destination.isRunning { violate("I6: \(result.word), destination runs") }
        case .lost, .ended:
            if pair.source.isRunning || pair.destination.isRunning { violate("I6: \(result.word), somebody runs") }
            if result.word == .lost, pair.isWholeOnSource || pair.isWholeOnDestination {
                violate("I6: lost, and somebody has it")
            }
        default: break
        }
    }
}

extension PartyMessage {
    /// The message without what only a machine reads.
    var short: String {
        switch self {
        case .call(let step, let cookie): "call \(step)\(cookie.isSuccess.map { " success \($0)" } ?? "")"
        case .ask(let request, _): "ask \(request)"
        case .abort: "abort"
        case .release: "release"
        case .allowHandOver: "allow hand-over"
        case .stopAtOnce: "stop at once"
        case .inquire: "inquire"
        case .accepted(let step): "accepted \(step)"
        case .answer(let step, .done, let standing): "done \(step) \(standing.short)"
        case .answer(let step, .failed(let error), let standing):
            "failed \(step) (\(error.kind) \(error)) \(standing.short)"
        case .report(let standing): "report \(standing.short)"
        }
    }
}

extension SideStanding {
    /// The standing in a few words.
    var short: String {
        let flags = [
            isSurrendered ? "surrendered" : nil, isRunRecorded ? "run" : nil, isRefused ? "refused" : nil,
            isStuck ? "stuck" : nil, isCatchingUp ? "catching up" : nil, report.isRunning == true ? "running" : nil,
            report.gone != nil ? "gone" : nil,
        ]
        return "[\(serial) \(phase) \(report.stage) \(flags.compactMap(\.self).joined(separator: " "))]"
    }
}
