import JSONC
import Migration
import Phases

/// The lanes of the time line of one attempt. Times are microseconds since the start of the recording.
struct ReportLanes {
    let it: AttemptCase
    /// Where everything that was not seen to end is cut.
    let end: Int64

    /// What is drawn of one side: status words, phases, where the guest ran, and single moments.
    func side(_ side: Side) -> JSONValue {
        [
            "version": it.attempt[side].version.map { .string($0.description) } ?? .null,
            "seen": .bool(it.saw(side)),
            "words": spans(of: side) { step in
                guard step.side == side, case .word(let word, let source) = step.what else { return nil }
                return (word.rawValue, source == .query)
            },
            "phases": phases(side),
            "running": running(side),
            "moments": moments(side),
        ]
    }

    /// What was published.
    var published: JSONValue {
        spans(of: nil) { step in
            guard case .status(let status) = step.what, status.word != .idle else { return nil }
            return (status.word.rawValue, false)
        }
    }

    /// Commands that ask for something.
    var triggers: JSONValue {
        .array(
            it.log.steps.compactMap { step in
                guard case .sent(let command, _) = step.what, let side = step.side,
                    command.trigger != nil || command.changesSomething, command.name != "qmp_capabilities"
                else { return nil }
                var name = command.name
                if case .migrate(_, true) = command { name += " (resume)" }
                return [
                    .integer(step.time.microseconds), .integer(Int64(step.sequence)), .string(side.rawValue),
                    .string(name), .string(command.argument ?? ""),
                ]
            })
    }

    /// Stretches under one word: word, from, to, record, whether only a query told it.
    private func spans(of side: Side?, _ word: (Observation) -> (String, Bool)?) -> JSONValue {
        var spans: [JSONValue] = []
        var open: (word: String, step: Observation, isQuery: Bool)?
        func close(_ to: Int64) {
            guard let begun = open else { return }
            spans.append(
                [
                    .string(begun.word), .integer(begun.step.time.microseconds),
                    .integer(max(to, begun.step.time.microseconds)),
                    .integer(Int64(begun.step.sequence)), .bool(begun.isQuery),
                ])
            open = nil
        }
        for step in it.log.steps {
            // A QEMU that is gone says nothing any more.
            if let side, step.side == side, case .process = step.what { close(step.time.microseconds) }
            guard let (name, isQuery) = word(step) else { continue }
            if open?.word == name { continue }
            close(step.time.microseconds)
            open = (name, step, isQuery)
        }
        close(end)
        return .array(spans)
    }

    private func phases(_ side: Side) -> JSONValue {
        var isInferred = false
        let list = spans(of: side) { step in
            guard step.side == side, case .phase(let move, let inferred) = step.what else { return nil }
            isInferred = isInferred || inferred
            return (move.to.rawValue, false)
        }
        return [
            "inferred": .bool(isInferred),
            "spans": .array((list.array ?? []).filter { $0.array?.first?.string != "none" }),
        ]
    }

    /// Where the guest ran: from, to, record of the beginning (0 if it ran before the recording tells), record of the
    /// end.
    private func running(_ side: Side) -> JSONValue {
        var spans: [JSONValue] = []
        let begin = it.log.first?.time.microseconds ?? 0
        var open: (Int64, Int)? =
            side == .source && (it.attempt.source.wasRunning ?? hasStopFirst) ? (begin, 0) : nil
        func close(_ to: Int64, _ record: Int) {
            guard let (from, first) = open else { return }
            spans.append([.integer(from), .integer(max(from, to)), .integer(Int64(first)), .integer(Int64(record))])
            open = nil
        }
        for run in it.log.runs where run.side == side {
            if run.value.isRunning {
                if open == nil { open = (run.place.time.microseconds, run.place.record) }
            } else {
                close(run.place.time.microseconds, run.place.record)
            }
        }
        if let gone = it.end(side) { close(gone.firstTime.microseconds, it.record(gone.firstSequence)) }
        close(end, 0)
        return .array(spans)
    }

    /// A source whose first sign is that it stops ran before.
    private var hasStopFirst: Bool {
        it.log.runs.first { $0.side == .source }.map { !$0.value.isRunning && $0.value.isEvent } ?? false
    }

    /// Single moments: time, record, name, kind.
    private func moments(_ side: Side) -> JSONValue {
        var list: [JSONValue] = []
        func add(_ step: Observation, _ name: String, _ kind: String) {
            list.append(
                [.integer(step.time.microseconds), .integer(Int64(step.sequence)), .string(name), .string(kind)])
        }
        for step in it.log.steps where step.side == side {
            switch step.what {
            case .event(.stop): add(step, "STOP", "stop")
            case .event(.resume): add(step, "RESUME", "resume")
            case .event(.shutdown(let byGuest, let reason)):
                add(step, "SHUTDOWN (\(byGuest ? "guest" : "host"): \(reason))", "end")
            case .event(.reset): add(step, "RESET", "event")
            case .event(.guestFault(let name)): add(step, name, "error")
            case .event(.unplugPrimary(let device)): add(step, "UNPLUG_PRIMARY \(device)", "event")
            case .event(.other(let name)): add(step, name, "event")
            case .refused(let command, let text): add(step, "\(command.name) refused: \(text)", "error")
            case .error(let text): add(step, text, "error")
            case .process(let end): add(step, "process \(end)", "end")
            case .monitor(.lost): add(step, "monitor lost", "end")
            case .monitor(.busy): add(step, "monitor busy", "error")
            case .anomaly(let text): add(step, text, "anomaly")
            default: break
            }
        }
        for pass in it.log.passes where pass.side == side {
            list.append(
                [
                    .integer(pass.place.time.microseconds), .integer(Int64(pass.place.record)),
                    .string("pass \(pass.value)"), "pass",
                ])
        }
        return .array(list)
    }

    /// What `query-migrate` told over time, a list for each quantity; `null` where a reply has none.
    var samples: JSONValue {
        func list(_ value: (Placed<MigrationSample>) -> JSONValue?) -> JSONValue {
            .array(it.log.samples.map { value($0) ?? .null })
        }
        func number(_ value: Double?) -> JSONValue? { value.map { JSONValue(($0 * 10).rounded() / 10) } }
        let limits = it.log.parameters.filter { $0.value.name == "downtime-limit" }
        return [
            "t": list { .integer($0.place.time.microseconds) },
            "record": list { .integer(Int64($0.place.record)) },
            "remaining": list { $0.value.remainingBytes.map { .integer($0) } },
            "transferred": list { $0.value.transferredBytes.map { .integer($0) } },
            "total": list { $0.value.totalBytes.map { .integer($0) } },
            "rate": list { number($0.value.bytesPerSecond) },
            "dirty": list { number($0.value.dirtyBytesPerSecond) },
            "throttle": list { $0.value.throttlePercentage.map { .integer($0) } },
            "expected": list { $0.value.expectedDowntimeMilliseconds.map { .integer($0) } },
            "iteration": list { $0.value.iteration.map { .integer($0) } },
            "limits": .array(
                limits.compactMap { limit in
                    guard case .integer(let value) = limit.value.value else { return nil }
                    return [
                        .integer(limit.place.time.microseconds), .integer(value), .integer(Int64(limit.place.record)),
                    ]
                }),
        ]
    }
}
