import Migration
import Phases

/// What befalls an attempt from outside.
enum Fault: Hashable {
    case die(Side)
    case loseMonitor(Side, returns: Bool)
    case silence(Side)
    case breakStream
    case request(Request)
    case change([Setting])
    case shutDownGuest
    /// Somebody else stops or continues the source.
    case interfere(isRunning: Bool)
}

/// Executes the effects of an attempt against a scripted pair of QEMUs and checks after every input what must always
/// hold.
struct ScriptedDriver {
    private(set) var machine: AttemptMachine
    private(set) var pair: ScriptedPair
    /// The lock manager of both sides, for attempts that have one.
    var locks = MemoryLockManager(heldBy: .source)
    /// The lock manager answers nothing.
    var areLocksSilent = false
    /// Somebody else takes the leases as soon as they are free, and gives them back.
    var hasThief = false
    /// What is wrong with the hook program at these moments.
    var hookFailures: [HookPoint: String] = [:]
    /// Moments at which it does not end.
    var slowHooks: Set<HookPoint> = []
    /// Everything that was to be done, in order.
    private(set) var log: [Effect] = []
    /// What must not be and was.
    private(set) var violations: [String] = []
    private(set) var inputs = 0
    /// What happened, for a person; made into text only where somebody reads it.
    var history: [String] { moments.map(\.description) }
    private var moments: [Moment] = []
    private(set) var published: [PublishedStatus] = []
    let options: MigrateOptions
    private var faults: [Int: [Fault]]
    private var armed: [Deadline: Int64] = [:]
    private var now: Int64 = 0
    private var reconnects: [Side: Int] = [:]
    private var random: SeededRandom?
    private var isCancelledByUs = false
    private var wasRunningSeen = false
    private var idleTicks = 0
    private var isFinished = false
    private var recoveries = 0
    /// The pause of an attempt that has a name: it stays so until somebody asks for a recovery.
    var isPaused: Bool { !isFinished && machine.status.word == .postcopyPaused }

    private enum Moment: CustomStringConvertible {
        case input(Int, Input)
        case effect(Effect)
        case fault(Fault)
        case reconnect(Side)
        case work(StatusWord?, RunState, StatusWord?, RunState)
        case violation(String)

        var description: String {
            switch self {
            case .input(let number, let input): "\(number) \(input)"
            case .effect(let effect): "    \(effect)"
            case .fault(let fault): "-- \(fault)"
            case .reconnect(let side): "-- \(side) reconnects"
            case .work(let source, let sourceState, let destination, let destinationState):
                "-- source \(source?.rawValue ?? "-")/\(sourceState) "
                    + "destination \(destination?.rawValue ?? "-")/\(destinationState)"
            case .violation(let what): "!! \(what)"
            }
        }
    }

    init(_ script: Script, options: MigrateOptions, faults: [(at: Int, fault: Fault)] = [], seed: UInt64? = nil) {
        self.options = options
        machine = AttemptMachine(options: options)
        pair = ScriptedPair(script)
        self.faults = Dictionary(grouping: faults) { $0.at }.mapValues { $0.map(\.fault) }
        random = seed.map { SeededRandom(seed: $0) }
    }

    /// Options with short waits, so that retries do not go on for ever.
    static func options(_ change: (inout MigrateOptions) -> Void = { _ in }) -> MigrateOptions {
        var options = MigrateOptions(attempt: "a1", uri: "unix:/run/m.sock")
        options.deadlines.milliseconds[.cleanup] = 100
        options.deadlines.milliseconds[.resume] = 100
        options.deadlines.milliseconds[.run] = 500
        change(&options)
        return options
    }

    var result: AttemptResult? { machine.result }
    var sends: [(side: Side, command: Command)] {
        log.compactMap { if case .send(let side, let command, _) = $0 { (side, command) } else { nil } }
    }
    var records: [JournalRecord] { log.compactMap { if case .persist(let record) = $0 { record } else { nil } } }

    // MARK: Running

    /// The effects of the last input that had any.
    private(set) var lastEffects: [Effect] = []
    /// The input that ended it.
    private(set) var endedAt = 0
    /// What it was held against.
    private(set) var verdictCheck: VerdictCheck?
    private var tick: Int?
    private var conditions: [(fault: Fault, condition: (ScriptedDriver) -> Bool)] = []

    /// A tick right after an input, whatever else is to be read.
    mutating func tickAfter(_ input: Int) { tick = input }

    /// Something befalls as soon as something is so.
    mutating func befall(_ fault: Fault, when condition: @escaping (ScriptedDriver) -> Bool) {
        conditions.append((fault, condition))
    }

    /// Runs until something is so.
    mutating func run(until condition: (ScriptedDriver) -> Bool) {
        take(.request(.migrate, .operator))
        while !isFinished, !condition(self), step() {}
    }

    /// Something else than the attempt changes the QEMUs.
    mutating func changePair(_ change: (inout ScriptedPair) -> Void) { change(&pair) }

    /// The stream breaks.
    mutating func breakNow() { befall(.breakStream) }

    /// Runs to the end.
    mutating func run() {
        take(.request(.migrate, .operator))
        goOn()
    }

    /// Goes on to the end.
    mutating func goOn() {
        var turns = 0
        while !isFinished {
            turns += 1
            if turns > 20_000 { return violate("no end after \(turns) turns") }
            guard step() else { break }
        }
        // Whatever is told of an end does not hold for a pause.
        if isPaused { return }
        if !isFinished {
            violate("I5: nothing is under way and nothing is armed; stage \(machine.source.evidence.stage)")
        }
        checkResult()
        // Whatever is said afterwards leads to nothing any more.
        for input in pair.pending.sorted(by: { $0.key < $1.key }).flatMap(\.value) { take(input) }
        for deadline in Deadline.allCases { take(.timeout(deadline)) }
        take(.request(.cancel, .operator))
        take(.tick)
    }

    private mutating func step() -> Bool {
        if let at = tick, inputs >= at {
            tick = nil
            take(.tick)
        }
        if let index = conditions.firstIndex(where: { $0.condition(self) }) {
            befall(conditions.remove(at: index).fault)
        }
        for side in reconnects.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            reconnects[side, default: 0] -= 1
            if reconnects[side] == 0 {
                reconnects[side] = nil
                moments.append(.reconnect(side))
                pair.reconnect(side)
            }
        }
        let channels = pair.pending.filter { !$0.value.isEmpty }.keys.sorted()
        if random != nil, random?.chance(40) ?? false, work() { return true }
        if let channel = random.map({ pick($0, channels) }) ?? channels.first {
            let input = pair.pending[channel]?.removeFirst()
            if let input { take(input) }
            return true
        }
        if work() { return true }
        if !reconnects.isEmpty { return true }
        // With nothing to wait for there is time enough to find out that nobody is there any more.
        if idleTicks < (armed.isEmpty ? 130 : 2) {
            idleTicks += 1
            now += 1_000
            take(.tick)
            return true
        }
        idleTicks = 0
        if let next = armed.min(by: { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }) {
            armed[next.key] = nil
            now = max(now, next.value)
            take(.timeout(next.key))
            return true
        }
        if isPaused, recoveries < pair.script.postcopy.recoveries {
            recoveries += 1
            take(.request(.recover, .operator))
            return true
        }
        // A copy may take as long as it likes: nobody bounded it. A person gives up at some time.
        if !isCancelledByUs {
            switch machine.source.evidence.stage {
            case .copying, .waiting:
                isCancelledByUs = true
                take(.request(.cancel, .operator))
                return true
            default: break
            }
        }
        return false
    }

    private mutating func pick(_ generator: SeededRandom, _ channels: [ScriptedPair.Channel]) -> ScriptedPair.Channel? {
        var copy = generator
        let choice = channels.randomElement(using: &copy)
        random = copy
        return choice
    }

    private mutating func work() -> Bool {
        let first: Side = (random?.chance(50) ?? false) ? .destination : .source
        guard pair.work(preferring: first) else { return false }
        idleTicks = 0
        moments.append(
            .work(pair.source.status, pair.source.runState, pair.destination.status, pair.destination.runState))
        checkTruth()
        return true
    }

    /// One input and all that follows from it at once.
    mutating func take(_ input: Input) {
        inputs += 1
        now += 100
        moments.append(.input(inputs, input))
        let wasOver = machine.result != nil
        let effects = machine.apply(input, sequence: inputs, at: Instant(microseconds: now))
        if wasOver, !effects.isEmpty {
            violate("I4: after the end \(input) led to \(effects)")
        }
        if !effects.isEmpty { lastEffects = effects }
        execute(effects)
        for moment in faults.keys.filter({ $0 <= inputs }).sorted() {
            for fault in faults.removeValue(forKey: moment) ?? [] where !isFinished { befall(fault) }
        }
        checkTruth()
    }

    private mutating func befall(_ fault: Fault) {
        moments.append(.fault(fault))
        switch fault {
        case .die(let side): pair.die(side, .signalled(9))
        case .loseMonitor(let side, let returns):
            pair.loseMonitor(side)
            if returns { reconnects[side] = 8 }
        case .silence(let side): pair[side].isSilent = true
        case .breakStream: pair.source.isBroken = true
        case .request(let request): take(.request(request, .operator))
        case .change(let settings): take(.change(settings, .operator))
        case .shutDownGuest: pair.shutDownGuest()
        case .interfere(let isRunning): pair.interfere(isRunning)
        }
    }

    private mutating func execute(_ effects: [Effect]) {
        for effect in effects {
            moments.append(.effect(effect))
            if isFinished { violate("I4: after the end came \(effect)") }
            check(effect)
            log.append(effect)
            switch effect {
            case .send(let side, let command, let outOfBand):
                guard pair[side].isConnected else {
                    if pair.script.tellsUnanswered {
                        pair.pending[.init(side: side, kind: 0), default: []].append(.fact(side, .unanswered(command)))
                    }
                    continue
                }
                inputs += 1
                execute(machine.apply(.sent(side, command), sequence: inputs, at: Instant(microseconds: now)))
                pair.receive(side, command, outOfBand: outOfBand)
            case .survey(let side): pair.answerSurvey(side)
            case .arm(let deadline, let milliseconds): armed[deadline] = now + Int64(milliseconds) * 1000
            case .disarm(let deadline): armed[deadline] = nil
            case .kill(let side): pair.kill(side)
            case .lease(let side, let action):
                if areLocksSilent { continue }
                if hasThief, side == .destination, case .acquire(let state) = action {
                    _ = locks.perform(.acquire(state), on: .source)
                    _ = locks.perform(.release, on: .source)
                }
                let result = locks.perform(action, on: side)
                pair.pending[.init(side: side, kind: 3), default: []].append(.lease(side, result))
            case .hook(let point):
                if slowHooks.contains(point) { continue }
                let end = Input.hooked(point, failure: hookFailures[point])
                pair.pending[.init(side: .source, kind: 3), default: []].append(end)
            case .publish(let status, _): published.append(status)
            case .finished(let result):
                isFinished = true
                endedAt = inputs
                checkVerdict(result.verdict)
            case .call, .accepted, .answer, .refused, .phase, .persist, .decided: break
            }
        }
    }

    // MARK: What must hold

    private mutating func violate(_ what: String) {
        violations.append(what)
        moments.append(.violation(what))
    }

    /// Never two running copies, in truth and not by anybody's word.
    private mutating func checkTruth() {
        pair.wrongs.forEach { violate($0) }
        pair.wrongs = []
        if machine.destination.evidence.isRunning == true { wasRunningSeen = true }
        if pair.areBothRunning, !pair.script.runsByItself { violate("I1: both QEMUs run the guest") }
    }

    /// What the machines send is what the permission table allows.
    private mutating func checkPermission(_ side: Side, _ command: Command) {
        // Protocol 2 ends the source before anything is seen of the guest elsewhere, and of a direct destination
        // nothing ever is.
        if side == .source, command == .quit, options.protocolVersion == .v2 || options.mode == .direct { return }
        let (source, destination) = (machine.source.evidence, machine.destination.evidence)
        let evidence = side == .source ? source : destination
        // The memory that post-copy still needs has all arrived, which the table does not ask; and the script's QEMUs
        // name no release.
        if side == .source, command == .quit, destination.events.has(.completed) { return }
        if command == .migratePause, evidence.version == nil, evidence.postcopy == .recovering { return }
        var context = PermissionContext(other: side == .source ? destination.report : source.report)
        context.isRunRecorded = records.contains(.run(attempt: options.attempt))
        context.isRefused = records.contains(.refused(attempt: options.attempt))
        context.isSurrendered = records.contains(.surrendered(attempt: options.attempt))
        context.isNeverRunProven = log.contains {
            if case .answer(.abandon, .done) = $0 { true } else { false }
        }
        if let refusal = evidence.allowed(command, in: context).refusal { violate("I8: \(refusal)") }
    }

    private mutating func check(_ effect: Effect) {
        if case .send(let side, let command, _) = effect, pair[side].isConnected { checkPermission(side, command) }
        switch effect {
        case .send(.source, .cont, _):
            let wasRefused = machine.destination.evidence.triggers[.run]?.refusal != nil
            if !records.contains(.refused(attempt: options.attempt)) {
                violate("I1: source continued without a tombstone")
            }
            if records.contains(.run(attempt: options.attempt)), !wasRefused {
                violate("I1: source continued after the commit")
            }
            if !pair.destination.isOver, pair.destination.isListening {
                violate("I1: source continued, destination lives")
            }
            if machine.destination.evidence.events.has(.ran) { violate("I1: source continued, the destination ran") }
        case .send(.destination, .cont, _):
            if !records.contains(.run(attempt: options.attempt)) { violate("I2: destination run before the record") }
            if !records.contains(.surrendered(attempt: options.attempt)), pair.source.isAlive {
                violate("I2: destination run before the surrender")
            }
            if records.contains(.refused(attempt: options.attempt)) {
                violate("I2: destination run after the tombstone")
            }
            let isFinal = pair.source.status == .completed || pair.source.isOver || pair.isInPostcopy(pair.source)
            if !isFinal || pair.source.isPackaging || pair.source.status == .postcopyDevice {
                violate("I2: destination run while the source may go on (\(pair.source.status?.rawValue ?? "-"))")
            }
        case .send(.source, .quit, _), .kill(.source):
            if options.keepsSource { violate("I7: the source was to be kept") }
            let isWithoutRun = !pair.destination.isRunning && machine.destination.evidence.runState != nil
            // Protocol 2 ends the source first, which is why there is a protocol 3; a direct destination is never seen.
            guard options.protocolVersion == .v3, options.mode != .direct else { break }
            if !wasRunningSeen, !isWithoutRun { violate("I7: source ended before the destination was seen running") }
            if machine.destination.evidence.processEnd != nil { violate("I7: source ended, destination is dead") }
        case .publish(let status, _):
            if let last = published.last, last.word.isEnd, last.word != status.word {
                violate("I3: \(last.word) became \(status.word)")
            }
        default: break
        }
    }

    /// The verdict rests on what it says.
    private mutating func checkVerdict(_ verdict: Verdict) {
        let (source, destination) = (machine.source.evidence, machine.destination.evidence)
        let last = log.last { if case .answer = $0 { true } else { false } }
        var answer: (Step, StepResult)?
        if case .answer(let step, let result)? = last { answer = (step, result) }
        var check = VerdictCheck(
            verdict, source: source.report, destination: options.mode == .direct ? nil : destination.report,
            context: JointContext(
                isPausedIntended: options.isPausedIntended, wasPausedOnTheWay: machine.source.wasPausedOnTheWay),
            last: answer)
        check.found = verdict.row.because.filter { $0.isFound(source, destination) }
        verdictCheck = check
        check.problems.forEach { violate("I9: \($0)") }
    }

    /// Nothing is left of the copies on a source that hears, or it is told.
    private mutating func checkDisks(_ result: AttemptResult) {
        guard pair.source.isAlive, pair.source.isConnected, !pair.source.isSilent, !pair.disks.isClear else { return }
        let told = ([result.error] + result.problems).compactMap(\.self).contains { $0.contains("may be left") }
        if !told { violate("D4: \(pair.disks) are left on the source") }
    }

    /// What is told at the end is the truth.
    private mutating func checkResult() {
        guard let result else { return }
        if machine.status.word != result.word || machine.status.stopping != .none {
            violate("I3: published \(machine.status), result \(result.word)")
        }
        let source = pair.source
        let destination = pair.destination
        switch result.word {
        case .completed:
            // A process that died after it was last looked at is not this attempt's business.
            if destination.isOver, machine.destination.evidence.processEnd != nil, options.mode != .direct {
                violate("I6: completed, destination dead")
            }
            if source.isRunning { violate("I6: completed, source runs") }
            if result.place != .destination { violate("I6: completed, place \(result.place)") }
            if !destination.isOver, result.isRunning != destination.isRunning, options.mode != .direct {
                violate("I6: completed, wrong run state")
            }
        case .failed, .cancelled:
            checkDisks(result)
            if source.isOver, machine.source.evidence.processEnd != nil { violate("I6: \(result.word), source dead") }
            if destination.isRunning { violate("I6: \(result.word), destination runs") }
            if result.place != .source { violate("I6: \(result.word), place \(result.place)") }
            // What was not read yet cannot be told.
            let isRead = pair.pending.allSatisfy { $0.key.side == .destination || $0.value.isEmpty } && !source.isSilent
            guard isRead, source.isConnected, !source.isExiting, pair.script.droppedEvents.isEmpty,
                pair.script.delayedEvents.isEmpty
            else { break }
            if source.isAlive, let told = result.isRunning, told, !source.isRunning, !source.resumesItself {
                violate("I6: \(result.word), source told to run")
            }
            if source.isAlive, result.isRunning == false, source.isRunning { violate("I6: source told not to run") }
        case .lost, .ended:
            if result.word == .ended || !pair.isInPostcopy(destination), source.isRunning || destination.isRunning {
                violate("I6: \(result.word), somebody runs")
            }
            if result.word == .lost, pair.isWholeOnSource { violate("I8: lost, and all of it is on the source") }
            if result.word == .lost, pair.isWholeOnDestination { violate("I8: lost, and all of it arrived") }
        case .undecided: break
        default: violate("I5: ended with \(result.word)")
        }
    }
}
