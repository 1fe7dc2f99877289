import JSONC
import Migration
import MigrationQMP
import Phases
public import Trace

/// The observing replay: takes the records of a trace one by one, whoever recorded it, and judges what they show with
/// the same rules as the live controller.
///
/// A value without I/O and without a clock. No record, however wrong, makes it stop; what is odd becomes an anomaly.
public struct Observer {
    /// What is known of a QEMU beyond a single attempt.
    struct Machine {
        var version: QEMUVersion?
        var isRunning: Bool?
        var isGone = false
        var connections: Set<String> = []
        var isConnected: Bool?
        /// The last thing shown of the run state by a query.
        var runState: RunState?
    }

    /// Whether the recorder is the controller itself.
    let isOurs: Bool
    var attempts = AttemptList()
    var machines: [Side: Machine] = [.source: Machine(), .destination: Machine()]
    var sides: [String: Side] = [:]
    var conversations = ConversationList()
    /// A second `migrate` that turned out to begin the attempt of that number, although its answer is still due.
    var adopted: (order: Int, attempt: Int)?
    var contested: PendingCommand?
    /// Records so far. Inside, this count orders everything; `seq` is only what records are called.
    var order = 0
    private var names = RecordNames()
    private var hasPhaseRecords = false
    private(set) var anomalies: [Anomaly] = []
    private(set) var omittedAnomalies = 0
    var observations: [Observation] = []
    /// The command that the last record answered, for whoever measures the conversation.
    var exchange: Exchange?
    private var now = Instant(microseconds: 0)
    /// Phases that a record moved; told after what moved them.
    private var moves: [PhaseMove] = []

    /// How often something was applied that may have changed what rules read.
    var changes = 0
    /// When the running guests were looked at last, by ``changes``.
    var noticed = PerSide(-1)
    /// What a side repeats.
    var steady = PerSide(Steady())
    /// The same in short.
    var repeated = PerSide(Repeated())
    /// What goes on without a change.
    var quiet = QuietRun()
    /// Whether the observations are wanted. Without a story only the evidence is kept: what follows from it is asked
    /// for when it is needed.
    var isTold = true
    /// Whether attempts that nothing can be added to are kept as reports only, so that a long trace does not fill the
    /// memory.
    var isArchiving = false
    /// Recorded ends of archived attempts that the evidence does not bear out.
    private var contradictions: [Anomaly] = []

    static let maximumAnomalies = 1000

    /// An observer of a trace.
    ///
    /// - Parameter recorder: The header's `recorder`: the commands in a recording of our own are the controller's, in
    /// another one somebody else's.
    public init(recorder: String? = nil) {
        isOurs = recorder?.hasPrefix("godwit") ?? false
    }

    /// The number of the attempt that is going on, counted from 0.
    var current: Int { attempts.count - 1 }

    /// Takes the next record and tells what it showed.
    public mutating func apply(_ record: TraceRecord) -> [Observation] {
        begin(record.seq, record.microseconds)
        exchange = nil
        let side = self.side(of: record)
        switch record.member {
        case .send(let message): with(side, "a command") { $0.sent(message, $1, ConversationKey($1, record)) }
        case .recv(let message): with(side, "a message") { $0.received(message, $1, ConversationKey($1, record)) }
        case .monitor(let word): with(side, "a monitor") { $0.monitor(word, $1, record) }
        case .process(let end): with(side, "a process") { $0.process(end, $1) }
        case .raw(let bytes): anomaly("\(bytes.count) bytes from QEMU that are no message", side)
        case .phase(let value): with(side, "a phase") { $0.phase(value, $1) }
        case .status(let value): status(value)
        case .request(let value): request(value)
        case .run: observe(.note("commit: the destination may run the guest"), .destination)
        case .refused: observe(.note("this attempt is refused for ever"), .destination)
        case .surrendered: observe(.note("the guest was given away"), .source)
        case .kill(let value): observe(.note("kill \(value.text())"), side)
        case .timeout(let name):
            if isOurs, Deadline(rawValue: name)?.isGivingUp ?? false, attempts.last.isUnderWay {
                attempts.last.source.note(givenUp: order)
            }
            // Of looks there can be hundreds, and what is looked at is told.
            if !Deadline.isLook(named: name) { observe(.note("the wait '\(name)' ran out"), side) }
        case .hook(let value):
            let failure = value["failed"]?.string
            if isOurs, failure != nil, value["ended"]?.string == HookPoint.preSwitchover.rawValue,
                attempts.last.isUnderWay
            {
                attempts.last.source.note(givenUp: order)
            }
            let point = (value["run"] ?? value["ended"])?.string ?? "?"
            let how = value["run"] != nil ? "is run" : failure.map { "failed: \($0)" } ?? "has ended"
            let isStore = point == HookPoint.store.rawValue
            observe(.note("\(isStore ? "what makes the file safe on its disk" : "the hook (\(point))") \(how)"), side)
        case .policy(let value):
            let rule = value["rule"]?.string ?? "?"
            let outcome = value["outcome"]?.string.flatMap(PolicyOutcome.init(rawValue:)) ?? .done
            let how =
                switch outcome {
                case .done: "decides"
                case .observed: "would have decided (it only observes)"
                case .left: "leaves to the operator"
                }
            observe(.note("the policy \(how): \(Self.action(value["effect"])), rule \(rule)"), .source)
        case .peer(let word): observe(.note("peer \(word)"), side)
        case .restarted: observe(.note("a new process took the journal up"), side)
        case .call(let value): observe(.note("\(value["step"]?.string ?? "a step") is entered"), side)
        case .answer(let value): answer(value, side)
        case .mark(let text): observe(.note(text), side)
        case .fds, .arm, .disarm, .survey, .intent, .saved, .lease, .result, .unknown: break
        }
        finish()
        return observations
    }

    /// A record that may change anything.
    mutating func begin(_ name: Int, _ microseconds: Int64) {
        changes &+= 1
        repeated = PerSide(Repeated())
        step(name, microseconds)
    }

    /// The record changed nothing that rules read after all: a second `migrate` counts only when it was not refused.
    mutating func keepChanges() { changes &-= 1 }

    @inline(__always)
    mutating func step(_ name: Int, _ microseconds: Int64) {
        order &+= 1
        names.append(name)
        now = Instant(microseconds: microseconds)
        if isTold { observations.removeAll(keepingCapacity: true) }
    }

    mutating func finish() {
        noticePhases()
        if isTold { noticeStatus() }
    }

    // MARK: What everything here uses

    func name(of order: Int) -> Int {
        names.name(of: order)
    }

    @inline(__always)
    mutating func observe(_ what: @autoclosure () -> Observation.What, _ side: Side?) {
        if isTold { tell(what(), side) }
    }

    private mutating func tell(_ what: Observation.What, _ side: Side?) {
        observations.append(Observation(sequence: name(of: order), time: now, side: side, what: what))
    }

    mutating func anomaly(_ what: String, _ side: Side?) {
        observe(.anomaly(what), side)
        guard anomalies.count < Self.maximumAnomalies else {
            omittedAnomalies += 1
            return
        }
        anomalies.append(Anomaly(sequence: name(of: order), side: side, what: what))
    }

    /// The same, but only once in an attempt.
    mutating func anomaly(once what: String, _ side: Side?, in attempt: Int) {
        guard attempts[attempt].reported.count < Self.maximumAnomalies,
            attempts[attempt].reported.insert("\(side?.rawValue ?? "") \(what)").inserted
        else { return }
        anomaly(what, side)
    }

    /// Notes what a record shows of one side in one attempt, and moves the inferred phases.
    mutating func note(_ fact: Fact, _ side: Side, in attempt: Int) {
        guard attempt == current else {
            attempts[attempt][side].note(fact, sequence: order, at: now)
            if side == .destination { attempts[attempt].source.note(otherSide: attempts[attempt].destination) }
            moves += attempts[attempt].inference.observed(fact, of: side)
            return
        }
        attempts.last[side].note(fact, sequence: order, at: now)
        if side == .destination, let loss = attempts.last.destination.lossSequence {
            attempts.last.source.note(otherSideFailed: loss)
        }
        moves += attempts.last.inference.observed(fact, of: side)
    }

    /// Notes a command.
    ///
    /// - Parameter since: The command's own record, if it is an earlier one.
    mutating func note(sent command: Command, _ side: Side, in attempt: Int, since: PendingCommand? = nil) {
        attempts[attempt][side].note(
            sent: command, origin: isOurs ? .controller : .external, sequence: since?.order ?? order,
            at: since?.time ?? now)
        moves += attempts[attempt].inference.sent(command, to: side)
    }

    var time: Instant { now }

    private mutating func noticePhases() {
        guard !moves.isEmpty else { return }
        if !isOurs, !hasPhaseRecords {
            for move in moves { observe(.phase(move, inferred: true), move.side) }
        }
        moves.removeAll(keepingCapacity: true)
    }

    mutating func with(
        _ side: Side?, _ what: String, _ body: (inout Observer, Side) -> Void
    ) {
        guard let side else {
            anomaly("\(what) of which nobody knows the side", nil)
            return
        }
        attempts.last.seen.insert(side)
        body(&self, side)
    }

    /// The side of a record: its own, or that of its QEMU in an earlier one.
    private mutating func side(of record: TraceRecord) -> Side? {
        guard let side = record.side else { return record.qemu.flatMap { sides[$0] } }
        let known: Side = side == .source ? .source : .destination
        if let qemu = record.qemu, sides.count < Self.maximumAnomalies { sides[qemu] = known }
        return known
    }

    private mutating func noticeStatus() {
        let status = attempts.last.status
        let last = attempts.last.lastStatus
        guard status != last else { return }
        attempts.last.lastStatus = status
        guard status.word != last.word || status.stopping != last.stopping else { return }
        observe(.status(status), nil)
    }

    // MARK: Connections and processes

    private mutating func monitor(_ word: String, _ side: Side, _ record: TraceRecord) {
        let connection = "\(record.qemu ?? "") \(record.connection ?? 1)"
        let state: MonitorState
        switch word {
        case "connected":
            if (machines[side]?.connections.count ?? 0) < Self.maximumAnomalies {
                machines[side]?.connections.insert(connection)
            }
            state = .connected
        case "lost":
            machines[side]?.connections.remove(connection)
            forget(ConversationKey(side, record), side)
            // Another connection to the same QEMU is as good.
            guard machines[side]?.connections.isEmpty ?? true else { return }
            state = .lost
        case "busy": state = .busy
        default:
            anomaly("the monitor is '\(word)'", side)
            return
        }
        machines[side]?.isConnected = state == .connected
        let attempt = state == .connected ? current : closing(side)
        note(.monitor(state), side, in: attempt)
        observe(.monitor(state), side)
    }

    /// A connection is gone, and with it the answers that were still due.
    mutating func forget(_ key: ConversationKey, _ side: Side) {
        guard let conversation = conversations.remove(key) else { return }
        for pending in conversations.open(conversation) where pending.command != .quit {
            note(.unanswered(pending.command), side, in: pending.attempt)
            anomaly("\(pending.command.name) (record \(name(of: pending.order))) was never answered", side)
        }
    }

    private mutating func process(_ recorded: TraceProcessEnd, _ side: Side) {
        let end: ProcessEnd =
            switch recorded {
            case .exited(let code): .exited(code)
            case .signalled(let signal): .signalled(signal)
            case .unknown: .gone
            }
        let attempt = closing(side)
        if machines[side]?.isGone ?? false { anomaly("the process ended twice", side) }
        machines[side]?.isGone = true
        machines[side]?.isRunning = false
        note(.process(end), side, in: attempt)
        observe(.process(end), side)
    }

    /// The attempt that the end of a QEMU belongs to: while the next one is only being prepared, with another QEMU,
    /// it is still the one before.
    func closing(_ side: Side) -> Int {
        guard current > 0, !attempts.last.isOpened, attempts.last.greetings[side] == nil else {
            return current
        }
        return current - 1
    }

    // MARK: The recorder's own account

    private mutating func phase(_ value: JSONValue, _ side: Side) {
        guard let move = PhaseMove(json: value, side: side) else {
            anomaly("a phase nobody knows: \(value.text())", side)
            return
        }
        hasPhaseRecords = true
        observe(.phase(move, inferred: false), side)
        guard move.to != .none else { return }
        let last = attempts.last.recorded[side]?.last ?? .none
        if move.to < last, move.to < .postcopyFailed {
            anomaly("the phase goes backwards from \(last.rawValue) to \(move.to.rawValue)", side)
        }
        guard move.to != last, (attempts.last.recorded[side]?.count ?? 0) < Self.maximumAnomalies else { return }
        attempts.last.recorded[side, default: []].append(move.to)
    }

    private mutating func status(_ value: JSONValue) {
        guard let word = value["status"]?.string.flatMap(PublishedWord.init(rawValue:)) else {
            anomaly("a published status nobody knows: \(value.text())", nil)
            return
        }
        attempts.last.recordedWord = word
        if word == .undecided { attempts.last.isUndecided = true }
    }

    private mutating func request(_ value: JSONValue) {
        let word = value["do"]?.string ?? "something"
        let origin = value["origin"]?.string.flatMap(Origin.init(rawValue:)) ?? .operator
        observe(.note("\(origin.rawValue) asks: \(word)"), nil)
        switch word {
        case "migrate":
            if attempts.last.hasEnded { begin() }
            if value["paused"]?.bool ?? false { attempts.last.context.isPausedIntended = true }
        case "cancel" where attempts.last.migrateOrder != nil:
            attempts.last.source.note(request: .cancel, origin: origin, sequence: order, at: now)
        case "pause-guest":
            attempts.last.source.note(request: .hold, origin: .policy, sequence: order, at: now)
        default: break
        }
    }

    private mutating func answer(_ value: JSONValue, _ side: Side?) {
        if let request = value["request"]?.string, let why = value["refused"]?.string {
            return observe(.note("\(request) is not carried out: \(why)"), side)
        }
        let step = value["step"]?.string ?? "a step"
        if let error = value["error"] {
            observe(.note("\(step) failed: \(error.string ?? error.text())"), side)
        } else {
            observe(.note("\(step) is answered"), side)
        }
    }

    // MARK: The report

    /// What is known by now. It may be asked for at any time; commands without an answer yet count as anomalies.
    public func report(trace: String) -> ReplayReport {
        var anomalies = self.anomalies
        var omitted = omittedAnomalies
        func add(_ anomaly: Anomaly) {
            if anomalies.count < Self.maximumAnomalies { anomalies.append(anomaly) } else { omitted += 1 }
        }
        let open = conversations.open
        for (side, pending) in open.sorted(by: { $0.1.order < $1.1.order }) where pending.command != .quit {
            add(
                Anomaly(
                    sequence: name(of: pending.order), side: side, what: "\(pending.command.name) was never answered"))
        }
        contradictions.forEach(add)
        let opened = attempts.open.filter(\.isOpened)
        for attempt in opened {
            if let contradiction = Self.contradiction(in: attempt) { add(contradiction) }
        }
        var report = ReplayReport(
            trace: trace, records: order,
            attempts: attempts.archivedReports(hasPhaseRecords: hasPhaseRecords) + opened.map(report(of:)),
            anomalies: anomalies, omittedAnomalies: omitted)
        report.omittedAttempts = attempts.omitted
        return report
    }

    /// A policy's action in words: `set-downtime 150`.
    private static func action(_ effect: JSONValue?) -> String {
        guard let object = effect?.object, object.count == 1, let (word, value) = object.first(where: { _ in true })
        else {
            return effect?.string ?? effect?.text() ?? "?"
        }
        return "\(word) \(value.string ?? value.text())"
    }

    /// The recorder's own last word, where the evidence does not bear it out.
    private static func contradiction(in attempt: ObservedAttempt) -> Anomaly? {
        guard let recorded = attempt.recordedWord, recorded.isEnd, recorded != attempt.status.word else { return nil }
        return Anomaly(
            sequence: 0, side: nil,
            what: "the recorder published '\(recorded.rawValue)', the replay '\(attempt.status.word.rawValue)'")
    }

    /// Makes reports of the attempts that nothing can be added to any more, so that a long trace does not fill the
    /// memory.
    mutating func archive() {
        guard isArchiving else { return }
        var referred = conversations.oldestAttempt ?? .max
        if let contested { referred = min(referred, contested.attempt) }
        if let adopted { referred = min(referred, adopted.attempt) }
        for _ in 0..<attempts.archivable(before: referred) {
            guard let attempt = attempts.oldest else { return }
            guard attempt.isOpened else {
                attempts.archiveOldest(as: nil)
                continue
            }
            if let contradiction = Self.contradiction(in: attempt), contradictions.count < Self.maximumAnomalies {
                contradictions.append(contradiction)
            }
            attempts.archiveOldest(as: report(of: attempt))
        }
    }

    /// What is known of the attempt going on; `nil` while it is only being prepared.
    public var currentAttempt: AttemptReport? {
        attempts.last.isOpened ? report(of: attempts.last) : nil
    }

    /// The attempt before the one going on.
    var previousAttempt: AttemptReport? {
        attempts.count > 1 ? report(of: attempts[attempts.count - 2]) : nil
    }

    func report(of attempt: ObservedAttempt) -> AttemptReport {
        let status = attempt.status
        let isEnd = status.word.isEnd || status.word == .postcopyPaused
        let reasons = Side.allCases
            .filter { attempt.seen.contains($0) }
            .flatMap { attempt[$0].position.reasons }
            .sorted { $0.sequence < $1.sequence }
            .map { Reason(sequence: name(of: $0.sequence), side: $0.side, what: $0.what) }
        return AttemptReport(
            outcome: isEnd ? status.word : nil,
            status: status,
            cancel: Self.cancel(attempt.source.report.cancel, in: status.word),
            reasons: reasons,
            error: status.word == .completed ? nil : attempt.error,
            source: summary(of: attempt, .source),
            destination: summary(of: attempt, .destination),
            totalMilliseconds: attempt.totalMilliseconds,
            downtimeMilliseconds: attempt.downtimeMilliseconds)
    }

    /// What became of a cancel, now that both sides were heard.
    private static func cancel(_ outcome: CancelOutcome, in word: PublishedWord) -> CancelOutcome {
        guard outcome == .honoured else { return outcome }
        return switch word {
        case .completed, .lost, .ended: .tooLate
        case .failed: .late
        default: outcome
        }
    }

    private func summary(of attempt: ObservedAttempt, _ side: Side) -> SideSummary {
        SideSummary(
            statuses: attempt[side].words.map(\.word),
            phases: hasPhaseRecords ? attempt.recorded[side] ?? [] : attempt.inference.phases(of: side),
            isInferred: !hasPhaseRecords,
            version: attempt[side].version)
    }
}
