internal import Glibc
import JSONC
import Logging
import Migration
import MigrationQMP
import NIOCore
import Phases
import QMP
import QMPTransport
import Trace

/// Runs one attempt: feeds the machine what comes from both QEMUs, the clock and the user, and carries out its effects.
/// Confined to one event loop.
///
/// Inputs are applied one after the other, in the order in which they were recorded, and nothing is decided here.
/// Effects are carried out in their order; only what is told to watchers waits until the commands have left.
final class AttemptDriver {
    let eventLoop: any EventLoop
    let journal: Journal
    let configuration: MigrationConfiguration
    private let features: KnownFeatures
    private(set) var machine: AttemptMachine
    private lazy var source = makeMonitor(.source, configuration.source)
    private lazy var destination = makeMonitor(.destination, configuration.destination)
    private var inputs = CircularBuffer<(input: Input, sequence: Int, time: Instant)>()
    private var isDraining = false
    private var timers: [Deadline: Scheduled<Void>] = [:]
    private var ticker: Scheduled<Void>?
    private var watches: [Side: Scheduled<Void>] = [:]
    var told: [AttemptEvent] = []
    private let tell: @Sendable (AttemptEvent) -> Void
    private let promise: EventLoopPromise<AttemptResult>
    let streamSockets = StreamSockets()
    /// The socket that the destination's NBD server is given, where a port was to be chosen.
    let diskSocket: DiskSocket?
    /// Socket files that were made for this attempt's stream and are removed with it.
    private lazy var temporarySockets = [configuration.temporarySocket, configuration.temporaryDiskSocket].compactMap(
        \.self)
    private let rehearsal = Rehearsal()
    private var hasRehearsed = false
    private var isFlushDue = false
    private var controlServer: ControlServer?
    /// The hook program, while it runs.
    var hookRun: HookRun?
    private var hasRunHook = false
    /// Why the last request was not carried out.
    var refusal: String?
    /// Changes of parameters that QEMU has not answered yet.
    var changes: [Change] = []
    /// All that QEMU has told of the source's migration.
    var statistics = JobStatistics()
    /// The last numbers: QEMU has none for a migration that failed.
    private(set) var lastSample: MigrationSample?
    private var lastProgress: StorageProgress?
    private(set) var hasBegun = false
    private(set) var isOver = false

    init(
        configuration: MigrationConfiguration, journal: Journal, diskSocket: DiskSocket?, eventLoop: any EventLoop,
        promise: EventLoopPromise<AttemptResult>, tell: @escaping @Sendable (AttemptEvent) -> Void
    ) {
        self.configuration = configuration
        self.journal = journal
        self.diskSocket = diskSocket
        self.eventLoop = eventLoop
        self.promise = promise
        self.tell = tell
        features = KnownFeatures(cache: FeatureCache(directory: configuration.cacheDirectory))
        machine = AttemptMachine(options: configuration.options)
    }

    private func makeMonitor(_ side: Side, _ address: QMPAddress?) -> Monitor? {
        address.map { Monitor(side: side, address: $0, configuration: configuration.qmp, driver: self) }
    }

    /// The monitor of a side; `nil` where the attempt does without.
    private func monitor(_ side: Side) -> Monitor? { side == .source ? source : destination }

    /// What goes with a command.
    func descriptors(for command: Command, _ side: Side) -> [CInt] {
        switch command {
        case .getFD: [configuration.file?.descriptor(isDirect: false) ?? streamSockets.end(of: side)]
        case .addFD(_, let isDirect): [configuration.file?.descriptor(isDirect: isDirect) ?? -1]
        default: []
        }
    }

    // MARK: Beginning

    /// Connects both monitors; the attempt begins when both have greeted.
    func start() {
        source?.connect()
        destination?.connect()
        listenForControl()
    }

    private func listenForControl() {
        guard let path = configuration.controlPath else { return }
        let listening = ControlServer.listen(at: path, on: eventLoop) { [weak self] name, arguments, answer in
            guard let self else { return answer(.failure(ControlError(description: "the attempt is over"))) }
            control(name, arguments, answer: answer)
        }
        listening.whenComplete { [weak self] result in
            switch result {
            case .success(let server):
                guard let self, !isOver else { return server.close() }
                controlServer = server
            case .failure(let error):
                guard let self, !isOver else { return }
                let why = (error as? QMPError)?.message ?? "\(error)"
                told.append(.notice("this attempt cannot be steered from outside: \(why)", at: journal.now))
            }
        }
    }

    func becameReady(_ monitor: Monitor, _ greeting: QMPGreeting) {
        let time = journal.now
        let sequence = journal.record("monitor", monitor.side, "connected", at: time)
        enqueue(.fact(monitor.side, .monitor(.connected)), sequence: sequence, at: time)
        enqueue(.fact(monitor.side, .greeting(QEMUVersion(greeting))), sequence: sequence, at: time)
        guard !hasBegun, source?.isReady ?? true, destination?.isReady ?? true else { return }
        hasBegun = true
        if let reason = sameQEMU {
            fail(MigrationError(.sameQEMU, reason))
            return
        }
        told.append(.started(attempt: configuration.options.attempt, journal: journal.path))
        tick(after: 250)
        request(.migrate, origin: .operator)
    }

    /// Both ends must not be one QEMU: it would wait for itself.
    private var sameQEMU: String? {
        guard let here = source?.identity, let there = destination?.identity, here.doubt == nil, there.doubt == nil,
            let pid = here.peer?.pid, pid == there.peer?.pid
        else { return nil }
        return
            "\(configuration.sourceName) and \(configuration.destinationName) belong to the same QEMU (process \(pid))"
    }

    // MARK: Inputs

    /// Somebody asks.
    func request(_ request: Request, origin: Origin) {
        guard !isOver else { return }
        guard hasBegun else {
            if request == .cancel { fail(MigrationError(.cancelledEarly, "cancelled before anything was started")) }
            return
        }
        let time = journal.now
        var value: JSONObject = ["do": .string(request.rawValue), "origin": .string(origin.rawValue)]
        if request == .migrate {
            value["uri"] = .string(configuration.options.uri)
            if configuration.options.isPausedIntended { value["paused"] = true }
        }
        let sequence = journal.record("request", nil, .object(value), at: time)
        enqueue(.request(request, origin), sequence: sequence, at: time)
    }

    private func tick(after milliseconds: Int64) {
        ticker = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in
            guard let self, !isOver else { return }
            tick(after: 500)
            let time = journal.now
            let sequence = journal.record("timeout", nil, .string(Deadline.tickName), at: time)
            enqueue(.tick, sequence: sequence, at: time)
        }
    }

    /// Goes once, in thought, through what the guest will have to wait for later.
    private func rehearse(_ part: Rehearsal.Part) {
        guard !isOver, machine.source.evidence.triggers[.migrate]?.state == .accepted else { return }
        hasRehearsed = true
        rehearsal.run(part, machine, sequence: journal.lastSequence, at: journal.now)
    }

    /// When to do so: whenever QEMU is busy with something that takes longer than the rehearsal and nothing is due from
    /// us.
    private func rehearse(after input: Input) {
        switch input {
        case .fact(.source, .event(.stop)):
            // It waits for its devices and syncs dirty memory now, a millisecond at least.
            if case .copying = machine.source.evidence.stage { rehearse(.toContinue) }
        case .fact(.source, .event(.migration(.device))):
            // It sends the rest of memory and its devices, and the destination loads them.
            rehearse(.toRun)
        default:
            if !hasRehearsed, case .copying = machine.source.evidence.stage, machine.source.evidence.events.has(.active)
            {
                rehearse(.toContinue)
                rehearse(.toRun)
            }
        }
    }

    /// What a QEMU is made of was read, or why it could not be.
    func surveyed(_ side: Side, _ outcome: Result<Survey, SurveyError>) {
        let time = journal.now
        switch outcome {
        case .success(let survey):
            let sequence = journal.record("survey", side, survey.json, at: time)
            enqueue(.surveyed(side, survey), sequence: sequence, at: time)
        case .failure(let error):
            let sequence = journal.record("survey", side, ["failed": .string(error.description)], at: time)
            enqueue(.surveyFailed(side, error.description), sequence: sequence, at: time)
        }
    }

    func unanswered(_ side: Side, _ command: Command, _ error: QMPError) {
        let time = journal.now
        let sequence = journal.record("timeout", side, .string("reply to \(command.name)"), at: time)
        told.append(.notice("\(side.rawValue): \(error.message)", at: time))
        enqueue(.fact(side, .unanswered(command)), sequence: sequence, at: time)
    }

    func problem(_ side: Side, _ error: QMPError) {
        let time = journal.now
        journal.record("mark", side, .string("problem: \(error.message)"), at: time)
        configuration.logger.warning("\(error.message)", metadata: metadata(side))
        told.append(.notice("\(side.rawValue): \(error.message)", at: time))
    }

    /// Puts an input behind those that are being worked on, and works if nobody does.
    func enqueue(_ input: Input, sequence: Int, at time: Instant) {
        guard !isOver else { return }
        inputs.append((input, sequence, time))
        drain()
    }

    private func drain() {
        guard !isDraining else { return }
        isDraining = true
        var last: Input?
        while let next = inputs.popFirst() {
            last = next.input
            if case .fact(_, .reply(.queryMigrate, .migration(let sample))) = next.input, sample.totalBytes != nil {
                lastSample = sample
                told.append(.sample(sample, at: next.time))
            }
            let effects = machine.apply(next.input, sequence: next.sequence, at: next.time)
            if let progress = machine.source.storageProgress, progress != lastProgress {
                lastProgress = progress
                told.append(.disks(progress, at: next.time))
            }
            if !changes.isEmpty { noteChange(next.input) }
            // What QEMU or the journal's promise waits for, in its order; then what is only told.
            for effect in effects where effect.isAct { carryOut(effect) }
            for effect in effects where !effect.isAct { carryOut(effect) }
            if isOver { break }
        }
        isDraining = false
        flush()
        tellAll()
        if let last { rehearse(after: last) }
    }

    private func tellAll() {
        for event in told {
            tell(event)
            controlServer?.broadcast(event)
        }
        told = []
    }

    /// Whoever changed parameters hears what QEMU makes of it.
    private func noteChange(_ input: Input) {
        switch input {
        case .fact(.source, .reply(.setParameters(let settings), .refused(_, let text))):
            answerChange(to: settings, "QEMU refuses: \(text)")
        case .fact(.source, .reply(.setParameters(let settings), _)): answerChange(to: settings, nil)
        case .fact(.source, .unanswered(.setParameters(let settings))):
            answerChange(to: settings, "QEMU did not answer in time")
        default: break
        }
    }

    private func flush() {
        isFlushDue = false
        do throws(TraceError) { try journal.flush() } catch { journalFailed(error) }
    }

    private var isJournalBroken = false

    /// A full disk does not stop a guest that is between two hosts; it is told once.
    private func journalFailed(_ error: TraceError) {
        guard !isJournalBroken else { return }
        isJournalBroken = true
        configuration.logger.error("the journal cannot be written: \(error)")
        told.append(.notice("the journal cannot be written: \(error)", at: journal.now))
    }

    // MARK: Effects

    private func carryOut(_ effect: Effect) {
        switch effect {
        case .send(let side, let command, let outOfBand):
            if isFlushDue { flush() }
            if case .migrateRecover(let uri) = command, let first = configuration.temporarySocket,
                uri.hasPrefix("unix:\(first).")
            {
                temporarySockets.append(String(uri.dropFirst(5)))
            }
            monitor(side)?.send(command, outOfBand: outOfBand)
        case .survey(let side): monitor(side)?.survey(features)
        case .persist(let persisted):
            let record = persisted.record
            journal.record(record.member, record.side, record.value, at: journal.now)
            // Written before the next act outside of this process, together with whatever else is recorded until then.
            isFlushDue = true
        case .call(let step, let cookie):
            journal.record("call", step.side, step.callJSON(cookie), at: journal.now)
        case .accepted(let step): journal.record("answer", step.side, step.acceptedJSON, at: journal.now)
        case .refused(let request, let why):
            journal.record("answer", nil, request.refusedJSON(why), at: journal.now)
            refusal = why
            told.append(.notice("\(request.rawValue) is not carried out: \(why)", at: journal.now))
        case .answer(let step, let result):
            journal.record("answer", step.side, step.answerJSON(result), at: journal.now)
            if step == .prepare, case .done(let cookie) = result, let uri = cookie.uri {
                told.append(.listening(uri: uri, at: journal.now))
            }
        case .publish(let status, let reasons):
            let time = journal.now
            journal.record("status", nil, status.json(reasons: reasons), at: time)
            told.append(.status(status, reasons: reasons, at: time))
        case .phase(let move):
            let time = journal.now
            journal.record("phase", move.side, move.json, at: time)
            told.append(.phase(move, at: time))
        case .arm(let deadline, let milliseconds): arm(deadline, milliseconds)
        case .disarm(let deadline): disarm(deadline)
        case .kill(let side):
            if isFlushDue { flush() }
            kill(side)
        case .lease(let side, let action):
            // Nobody can ask for one here yet; whoever does all the same must not go on without.
            let time = journal.now
            let result = LeaseResult.refused("this controller has no lock manager")
            journal.record("lease", side, action.json, at: time)
            let sequence = journal.record("lease", side, result.json, at: time)
            enqueue(.lease(side, result), sequence: sequence, at: time)
        case .decided(let decision, let outcome):
            let time = journal.now
            journal.record("policy", nil, decision.json(outcome), at: time)
            told.append(.policy(decision, outcome, at: time))
        case .hook(.store): storeFile()
        case .hook(let point):
            hasRunHook = true
            runHook(point)
        case .finished(let result):
            journal.record("result", nil, result.json, at: journal.now)
            finish(result)
        }
    }

    private func arm(_ deadline: Deadline, _ milliseconds: Int) {
        timers[deadline]?.cancel()
        if !deadline.isPoll {
            journal.record(
                "arm", nil, deadline.armJSON(milliseconds: milliseconds), at: journal.now)
        }
        timers[deadline] = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) {
            [weak self] in
            guard let self else { return }
            timers[deadline] = nil
            let time = journal.now
            let sequence = journal.record("timeout", nil, .string(deadline.rawValue), at: time)
            enqueue(.timeout(deadline), sequence: sequence, at: time)
        }
    }

    private func disarm(_ deadline: Deadline) {
        guard let timer = timers.removeValue(forKey: deadline) else { return }
        timer.cancel()
        if !deadline.isPoll { journal.record("disarm", nil, .string(deadline.rawValue), at: journal.now) }
    }

    private func kill(_ side: Side) {
        let time = journal.now
        let identity = monitor(side)?.identity
        let failure = identity == nil ? "never connected" : identity?.kill()
        if let failure {
            let sequence = journal.record("kill", side, ["failed": .string(failure)], at: time)
            enqueue(.fact(side, .unkillable(failure)), sequence: sequence, at: time)
            return
        }
        configuration.logger.warning("killing QEMU", metadata: metadata(side))
        journal.record(
            "kill", side, ["signal": 9, "pid": .integer(Int64(identity?.peer?.pid ?? 0))], at: time)
        watch(side)
    }

    // MARK: Connections and processes

    func closed(_ monitor: Monitor, wasReady: Bool, error: QMPError?) {
        guard !isOver else { return }
        guard hasBegun else {
            let what = error ?? QMPError(.closed, "\(monitor.address): the monitor closed the connection")
            fail(MigrationError(what, side: monitor.side))
            return
        }
        let time = journal.now
        if wasReady {
            let sequence = journal.record("monitor", monitor.side, "lost", at: time)
            enqueue(.fact(monitor.side, .monitor(.lost)), sequence: sequence, at: time)
        }
        configuration.logger.notice(
            "monitor lost: \(error?.message ?? "closed")", metadata: metadata(monitor.side))
        watch(monitor.side)
        guard !isOver else { return }
        // The process may live on with another client, or accept us again.
        _ = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(50)) { [weak self, weak monitor] in
            guard let self, let monitor, !isOver else { return }
            let ended = machine.processEnd(of: monitor.side) != nil || monitor.identity?.hasEnded == true
            if !ended, !monitor.isStranger { monitor.connect(waiting: .seconds(10)) }
        }
    }

    /// Looks for the end of a process by its pidfd, soon and often: it follows the end of its connection within
    /// moments, if at all.
    private func watch(_ side: Side, every milliseconds: Int64 = 1, left: Int = 400) {
        watches[side]?.cancel()
        guard !isOver, machine.processEnd(of: side) == nil, let identity = monitor(side)?.identity else { return }
        guard !notice(endOf: side), identity.hasEnded != nil, left > 0 else { return }
        watches[side] = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in
            self?.watch(side, every: min(milliseconds * 2, 50), left: left - 1)
        }
    }

    /// Looks at a process now; true if it has ended, which is then told.
    ///
    /// Done before each message, as nothing orders the two monitors and the pidfds among each other: the source's last
    /// word must not make us run a guest in a QEMU that was dead before it was said.
    @discardableResult
    func notice(endOf side: Side) -> Bool {
        guard hasBegun, !isOver, machine.processEnd(of: side) == nil, monitor(side)?.identity?.hasEnded == true else {
            return false
        }
        let time = journal.now
        let sequence = journal.record("process", side, ["gone": true], at: time)
        enqueue(.fact(side, .process(.gone)), sequence: sequence, at: time)
        return true
    }

    private func metadata(_ side: Side) -> Logger.Metadata {
        ["attempt": "\(configuration.options.attempt)", "side": "\(side.rawValue)"]
    }

    // MARK: Ending

    private func finish(_ result: AttemptResult) {
        guard !isOver else { return }
        var result = result
        if [.failed, .undecided, .lost].contains(result.word), let log = configuration.destinationLog {
            result.error = explained(result.error, by: log)
        }
        isOver = true
        stop()
        guard hasRunHook else { return conclude(result) }
        runHook(.end) { [self] in conclude(result) }
    }

    private func conclude(_ result: AttemptResult) {
        if !statistics.isEmpty { told.append(.statistics(statistics, at: journal.now)) }
        told.append(.finished(result, at: journal.now))
        ending()
        promise.succeed(result)
    }

    /// The destination's own last words, which QEMU writes only to its standard error when a load fails.
    private func explained(_ error: String?, by log: String) -> String? {
        guard let bytes = SmallFile.tail(log, bytes: 2048) else { return error.map { "\($0) (\(log) cannot be read)" } }
        let lines = bytes.split(separator: UInt8(ascii: "\n")).suffix(5).map { String(decoding: $0, as: UTF8.self) }
        guard !lines.isEmpty else { return error }
        return (error ?? "failed") + "; the destination's log ends with:\n"
            + lines.map { "  \($0)" }.joined(separator: "\n")
    }

    private func fail(_ error: MigrationError) {
        guard !isOver else { return }
        isOver = true
        stop()
        ending()
        promise.fail(error)
    }

    /// Nothing is asked or awaited any more.
    private func stop() {
        // The end may come out of a reply, and whoever waits for it lets go of us from another thread: those who called are still to return.
        eventLoop.assumeIsolated().execute { [self] in withExtendedLifetime(self) {} }
        ticker?.cancel()
        timers.values.forEach { $0.cancel() }
        timers = [:]
        watches.values.forEach { $0.cancel() }
        hookRun?.kill()
        source?.close()
        destination?.close()
        configuration.file?.giveUp()
        streamSockets.close()
        diskSocket?.close()
        for socket in temporarySockets { unlink(socket) }
        for change in changes { answerChange(to: change.settings, "the attempt is over") }
    }

    private func ending() {
        do throws(TraceError) { try journal.close() } catch { journalFailed(error) }
        tellAll()
        controlServer?.close()
    }
}

extension AttemptMachine {
    func processEnd(of side: Side) -> ProcessEnd? {
        side == .source ? source.evidence.processEnd : destination.evidence.processEnd
    }
}
