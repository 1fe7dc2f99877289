import JSONC
import Migration
import MigrationQMP
import Phases
public import Trace

/// Reads a trace once and keeps what explaining, comparing and drawing it takes. A value without I/O.
public struct TraceAnalysis {
    let name: String
    let header: TraceHeader
    private(set) var observer: Observer
    /// By the observer's number of the attempt.
    private(set) var logs = [AttemptLog()]
    /// What is switched on in the QEMUs, whatever the attempt.
    private var capabilities: [Side: [String: Placed<Bool>]] = [:]
    private var parameters: [String: Placed<AttemptLog.Parameter>] = [:]
    private var isRunning: [Side: Bool] = [:]
    private var stages: [Side: Stage] = [:]

    /// Nothing was read yet.
    ///
    /// - Parameters:
    ///   - name: What the trace is called in texts.
    ///   - header: Its first line.
    public init(name: String, header: TraceHeader) {
        self.name = name
        self.header = header
        observer = Observer(recorder: header.recorder)
    }

    /// Takes the next record.
    public mutating func apply(_ record: TraceRecord) {
        let before = observer.current
        let observations = observer.apply(record)
        let place = Place(
            record: observer.name(of: observer.order), order: observer.order,
            time: Instant(microseconds: record.microseconds))
        while logs.count <= observer.current {
            logs.append(AttemptLog())
            logs[logs.count - 1].parameters = parameters.values.sorted { $0.place.order < $1.place.order }
        }
        var attempt = before
        for observation in observations {
            if case .attempt(let number) = observation.what {
                attempt = min(number - 1, logs.count - 1)
                continue
            }
            note(observation, place, in: attempt)
        }
        attempt = observer.current
        touch(attempt, place)
        noteStages(place, in: attempt)
        note(record, place, in: attempt)
        if let exchange = observer.exchange { note(exchange, place) }
    }

    private mutating func touch(_ attempt: Int, _ place: Place) {
        if logs[attempt].first == nil { logs[attempt].first = place }
        logs[attempt].last = place
    }

    /// Stages are computed from the evidence, so they change after it.
    private mutating func noteStages(_ place: Place, in attempt: Int) {
        for side in Side.allCases where observer.attempts[attempt].seen.contains(side) {
            let stage = observer.attempts[attempt][side].stage
            guard stage != stages[side, default: .idle] else { continue }
            stages[side] = stage
            logs[attempt].evidence.append(
                EvidenceStep(stage: stage, of: side, record: place.record, time: place.time), upTo: AttemptLog.bound)
        }
    }

    // MARK: Observations

    private mutating func note(_ observation: Observation, _ place: Place, in attempt: Int) {
        switch observation.what {
        case .poll: return
        case .event(.pass(let number)):
            logs[attempt].passes.append(
                Placed(place: place, side: observation.side, value: number), upTo: AttemptLog.bound)
            return
        case .word(let word, .event):
            if let side = observation.side { logs[attempt].eventWords[side, default: []].insert(word) }
        case .event(.stop): noteRun(false, isEvent: true, observation.side, place, in: attempt)
        case .event(.resume): noteRun(true, isEvent: true, observation.side, place, in: attempt)
        case .runState(let state): noteRun(state == .running, isEvent: false, observation.side, place, in: attempt)
        case .monitor(.lost):
            if let side = observation.side { logs[attempt].hasLostMonitor.insert(side) }
        case .process:
            if let side = observation.side {
                capabilities[side] = nil
                isRunning[side] = nil
            }
        case .sent(let command, let opens):
            if opens, let side = observation.side { begin(side, command, place, in: attempt) }
        default: break
        }
        if let step = EvidenceStep(observation) { logs[attempt].evidence.append(step, upTo: AttemptLog.bound) }
        logs[attempt].append(observation)
    }

    private mutating func begin(_ side: Side, _ command: Command, _ place: Place, in attempt: Int) {
        logs[attempt].capabilities[side] = capabilities[side]
        guard side == .source else { return }
        logs[attempt].migrate = place
        logs[attempt].capabilities[.destination] =
            capabilities[.destination] ?? logs[attempt].capabilities[.destination]
    }

    private mutating func noteRun(
        _ runs: Bool, isEvent: Bool, _ side: Side?, _ place: Place, in attempt: Int
    ) {
        guard let side else { return }
        // A query that tells what an event had told is no news.
        guard isEvent || isRunning[side] != runs else { return }
        isRunning[side] = runs
        logs[attempt].runs.append(
            Placed(place: place, side: side, value: .init(isRunning: runs, isEvent: isEvent)), upTo: AttemptLog.bound)
    }

    // MARK: Records

    private mutating func note(_ record: TraceRecord, _ place: Place, in attempt: Int) {
        let side = record.side.map { $0 == .source ? Side.source : .destination }
        switch record.member {
        case .request(let value):
            let request = AttemptLog.Request(
                what: value["do"]?.string ?? "something",
                origin: value["origin"]?.string.flatMap(Origin.init(rawValue:)) ?? .operator,
                address: value["uri"]?.string)
            logs[attempt].requests.append(Placed(place: place, side: side, value: request), upTo: 100)
        case .answer(let value):
            guard let error = value["error"] else { return }
            let failure = AttemptLog.StepError(
                step: value["step"]?.string ?? "a step", text: error.string ?? error.text())
            logs[attempt].stepErrors.append(Placed(place: place, side: side, value: failure), upTo: 100)
        case .timeout(let name):
            guard !Deadline.isLook(named: name) else { return }
            logs[attempt].timeouts.append(Placed(place: place, side: side, value: name), upTo: 1000)
        case .mark(let text):
            logs[attempt].marks.append(Placed(place: place, side: side, value: text), upTo: 1000)
        case .result(let value):
            logs[attempt].result = Placed(place: place, side: nil, value: value)
        default: break
        }
    }

    // MARK: Answers

    private mutating func note(_ exchange: Exchange, _ place: Place) {
        let pending = exchange.pending
        let attempt = min(pending.attempt, logs.count - 1)
        logs[attempt].noteReply(
            .init(
                command: pending.command, microseconds: place.time.microseconds(since: pending.time),
                sent: observer.name(of: pending.order)),
            place, exchange.side)
        if case .refused = exchange.reply { return }
        switch (pending.command, exchange.reply) {
        case (.setCapabilities(let settings), _): note(settings, place, exchange.side)
        case (_, .capabilities(let settings)): note(settings, place, exchange.side)
        case (.setParameters(let settings), _): note(settings, place, exchange.side, in: attempt)
        case (_, .parameters(let settings)): note(settings, place, exchange.side, in: attempt)
        case (_, .migration(let sample)):
            guard exchange.side == .source, pending.attempt == observer.current, sample.totalBytes != nil else {
                return
            }
            logs[attempt].samples.append(
                Placed(place: place, side: exchange.side, value: sample), upTo: AttemptLog.bound)
        default: break
        }
    }

    private mutating func note(_ settings: [CapabilitySetting], _ place: Place, _ side: Side) {
        for setting in settings.prefix(200) {
            capabilities[side, default: [:]][setting.name] = Placed(place: place, side: side, value: setting.isOn)
        }
    }

    private mutating func note(_ settings: [Setting], _ place: Place, _ side: Side, in attempt: Int) {
        guard side == .source else { return }
        for setting in settings.prefix(200) {
            let known = Placed(
                place: place, side: side, value: AttemptLog.Parameter(name: setting.name, value: setting.value))
            guard parameters[setting.name]?.value.value != setting.value else { continue }
            if parameters.count < 1000 { parameters[setting.name] = known }
            logs[attempt].parameters.append(known, upTo: 10_000)
        }
    }
}

extension TraceAnalysis {
    /// Reads everything a reader has.
    ///
    /// - Returns: The analysis, and what was left out while reading.
    static func read(_ reader: TraceReader, name: String) throws(TraceError) -> (TraceAnalysis, [TraceWarning]) {
        var reader = reader
        var analysis = TraceAnalysis(name: name, header: reader.header)
        while let record = try reader.next() { analysis.apply(record) }
        return (analysis, reader.warnings)
    }
}
