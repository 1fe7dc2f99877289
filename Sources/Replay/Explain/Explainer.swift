import JSONC
import Migration
import Phases
import Trace

/// Puts what is known of one attempt into sentences.
struct Explainer {
    let it: AttemptCase
    let number: Int
    let header: TraceHeader
    let anomalies: [Anomaly]
    let isTorn: Bool

    var explanation: AttemptExplanation {
        let time = TimeSplit(log: it.log)
        let iterations = time.iterations
        let pauses = it.pauses
        let fault = FaultRules.fault(of: it)
        let start = it.start
        var total: Int64?
        if let migrate = it.log.migrate, it.isOver, let end = time.end {
            total = end.time.microseconds(since: migrate.time)
        }
        return AttemptExplanation(
            number: number, word: it.word, isOver: it.isOver, basis: it.report.status.basis,
            verdict: verdict(pauses, total), asked: asked, happened: Chronicle(it: it, start: start).claims,
            why: why(fault), fault: fault, pauses: pauses, downtimeMilliseconds: it.report.downtimeMilliseconds,
            totalMicroseconds: total, totalMilliseconds: it.report.totalMilliseconds, spans: time.spans,
            iterations: iterations, anomalies: Oddities.list(it, anomalies),
            advice: Advice.list(it, fault, iterations), gaps: gaps(pauses, iterations, fault), start: start)
    }

    // MARK: The end

    private func verdict(_ pauses: [GuestPause], _ total: Int64?) -> Claim {
        let records = it.report.reasons.map(\.sequence)
        var text: String
        switch it.word {
        case .completed: text = completedVerdict
        case .failed: text = "Failed: \(whereOnSource)"
        case .cancelled: text = "Cancelled: \(whereOnSource)"
        case .lost: text = "Lost: the guest is gone"
        case .ended: text = "Ended: the guest shut itself down on the way"
        case .undecided: text = "Undecided: it is not proven where the guest may run"
        case .postcopyPaused:
            text = "Post-copy is paused: the guest's memory is on both sides, and the channel between them is broken"
        case .idle: text = "Unfinished: the recording stops before the source was told to migrate"
        case .starting, .copying, .switchover, .postcopy, .recovering:
            text = "Unfinished: the recording stops while the status is '\(it.word.rawValue)'"
        }
        var parts: [String] = []
        if let total { parts.append("\(Measure.span(total)) in all") }
        if let pause = pauses.last?.microseconds { parts.append("the guest stood still for \(Measure.span(pause))") }
        if !parts.isEmpty { text += "; \(parts.joined(separator: ", "))" }
        return Claim(text, records: records)
    }

    private var completedVerdict: String {
        switch it.report.status.basis {
        case .source: return "Completed, by the source's word alone: the destination was not recorded"
        case .destination: return "Completed, by the destination's word alone: the source was not recorded"
        case .both:
            if it.destination.runState == .shutdown { return "Completed: the guest arrived shut down" }
            return it.destination.isRunning ?? false
                ? "Completed: the guest runs on the destination"
                : "Completed: the guest is on the destination, not running"
        }
    }

    private var whereOnSource: String {
        if it.report.status.basis == .destination { return "the guest did not arrive; the source was not recorded" }
        if let end = it.ending(.source) { return "the guest did not leave, and the source's QEMU \(end.text) later" }
        switch it.source.isRunning {
        case true?: return "the guest runs on the source"
        case false?:
            return it.source.wasRunning == true
                ? "the guest is on the source and was not seen to run there again"
                : "the guest is on the source, paused as before"
        case nil: return "the guest is on the source; whether it runs was not recorded"
        }
    }

    // MARK: Asked

    private var asked: [Claim] {
        var claims: [Claim] = it.log.requests.map { request in
            let address = request.value.address.map { ", over \($0)" } ?? ""
            return Claim(
                "\(request.value.origin.rawValue) asked: \(request.value.what)\(address)",
                records: [request.place.record],
                time: request.place.time)
        }
        for side in [Side.destination, .source] {
            for (kind, verb) in [(TriggerKind.listen, "listen on"), (.migrate, "migrate over")] {
                guard let row = it.attempt[side].triggers[kind], row.wasSent || row.origin == .external else {
                    continue
                }
                var text =
                    row.wasSent
                    ? "the \(side.rawValue) was told to \(verb) \(row.argument ?? "?")"
                    : "the \(side.rawValue) was told to \(verb.split(separator: " ")[0]), by somebody who is "
                        + "not in the recording"
                if row.count > 1 { text += " (\(row.count) times)" }
                if let refusal = row.refusal { text += "; it refused: \(refusal)" }
                claims.append(
                    Claim(
                        text, records: [it.record(row.sentSequence ?? row.firstSequence)], side: side,
                        time: row.firstTime))
            }
            if let claim = capabilities(side) { claims.append(claim) }
        }
        if let claim = parameters { claims.append(claim) }
        if let claim = options { claims.append(claim) }
        return claims
    }

    /// What Godwit was told beside it; the header has it, which is no record.
    private var options: Claim? {
        guard let options = header.other["options"]?.object else { return nil }
        var words: [String] = []
        if let timeout = options["timeout-milliseconds"]?.int64, timeout > 0 {
            let (microseconds, overflow) = timeout.multipliedReportingOverflow(by: 1000)
            let action = options["timeout-action"]?.string ?? "cancel"
            words.append("at most \(overflow ? "for ever" : Measure.span(microseconds)), then \(action)")
        }
        if options["paused"]?.bool ?? false { words.append("the guest stays paused on the destination") }
        if options["keep-source"]?.bool ?? false { words.append("the source's QEMU is kept") }
        if let mode = options["mode"]?.string, mode != "managed" { words.append("mode \(mode)") }
        guard !words.isEmpty else { return nil }
        return Claim("options, by the trace's header: \(words.joined(separator: "; "))")
    }

    private func capabilities(_ side: Side) -> Claim? {
        let on = (it.log.capabilities[side] ?? [:]).filter(\.value.value).sorted { $0.key < $1.key }
        guard !on.isEmpty else { return nil }
        return Claim(
            "capabilities on at the \(side.rawValue): \(on.map(\.key).joined(separator: ", "))",
            records: Set(on.map(\.value.place.record)).sorted(), side: side)
    }

    private static let shownParameters = [
        "max-bandwidth", "downtime-limit", "max-postcopy-bandwidth", "avail-switchover-bandwidth", "multifd-channels",
        "cpu-throttle-initial", "cpu-throttle-increment", "tls-hostname",
    ]

    private var parameters: Claim? {
        let migrate = it.log.migrate?.order ?? .max
        let shown = Self.shownParameters.compactMap { it.log.parameter($0, at: migrate) }
            .filter { if case .string("") = $0.value.value { false } else { true } }
        guard !shown.isEmpty else { return nil }
        let words = shown.map { shown -> String in
            switch (shown.value.name, shown.value.value) {
            case (let name, .integer(let bytes)) where name.hasSuffix("bandwidth"):
                return "\(name) \(bytes == 0 ? "0 (none)" : Measure.rate(Double(bytes)))"
            case ("downtime-limit", .integer(let milliseconds)): return "downtime-limit \(milliseconds) ms"
            default: return "\(shown.value.name) \(shown.value.value)"
            }
        }
        return Claim(
            "parameters of the source: \(words.joined(separator: ", "))",
            records: Set(shown.map(\.place.record)).sorted(),
            side: .source)
    }

    // MARK: Why

    private func why(_ fault: FaultAttribution) -> [Claim] {
        var claims: [Claim] = []
        if it.word != .completed, let error = it.report.error, !fault.because.text.contains(error) {
            let record = it.log.steps.first { step in
                switch step.what {
                case .error(let text): text == error
                case .refused(_, let text): text == error
                default: false
                }
            }
            var text = "QEMU's words: \(error)"
            if it.word == .cancelled { text += " (a consequence of the cancel, not its reason)" }
            claims.append(Claim(text, records: [record?.sequence ?? 0], side: record?.side, time: record?.time))
        }
        if let claim = stuck { claims.append(claim) }
        claims += it.report.reasons.map { Claim($0.what, records: [$0.sequence], side: $0.side) }
        claims.sort { ($0.records.first ?? .max) < ($1.records.first ?? .max) }
        if it.report.cancel == .tooLate || it.report.cancel == .late || it.report.cancel == .refused,
            let row = it.source.triggers[.cancel]
        {
            let words: [CancelOutcome: String] = [
                .tooLate: "a cancel came too late: the guest had left, or the attempt went on to its end",
                .late: "a cancel came after the first sign of the error; it is not the reason",
                .refused: "a cancel was refused: \(row.refusal ?? "")",
            ]
            claims.append(
                Claim(
                    words[it.report.cancel] ?? "", records: [it.record(row.sentSequence), it.record(row.lastSequence)],
                    side: .source, time: row.firstTime))
        }
        if let own = it.log.result, let error = own.value["error"]?.string,
            it.word != .cancelled || error != "cancelled",
            !claims.contains(where: { $0.text.contains(error) }), !fault.because.text.contains(error)
        {
            claims.append(Claim("the recorder's own last word: \(error)", records: [own.place.record]))
        }
        return claims
    }

    /// What somebody waited for before giving up: a switchover that did not come to its end.
    private var stuck: Claim? {
        guard it.word == .cancelled || it.word == .failed, it.saw(.destination), !it.destination.events.has(.completed),
            let begun = it.source.events.earliest(.device, .postcopyDevice),
            let stop = [it.source.triggers[.cancel], it.source.triggers[.yank]].compactMap(\.self)
                .filter({ $0.wasSent && $0.firstSequence > begun.firstSequence })
                .min(by: { $0.firstSequence < $1.firstSequence })
        else { return nil }
        let waited = stop.firstTime.microseconds(since: begun.firstTime)
        guard waited > 500_000 else { return nil }
        let place = Place(record: it.record(stop.firstSequence), order: stop.firstSequence, time: stop.firstTime)
        var text =
            "for \(Measure.span(waited)) the source had been writing device state, and the destination had not "
            + "loaded it"
        var records = [it.record(begun.firstSequence), place.record]
        if let mark = it.log.marks.last(where: { $0.side == .destination && $0.place.order < place.order }) {
            text += "; the recording notes '\(mark.value)' there"
            records.append(mark.place.record)
        }
        return Claim(text, records: records.sorted(), side: nil, time: begun.firstTime)
    }

    // MARK: What is not known

    private func gaps(_ pauses: [GuestPause], _ iterations: [Iteration], _ fault: FaultAttribution) -> [Gap] {
        var gaps: [Gap] = []
        if !it.isOver {
            gaps.append(
                Gap(
                    what: isTorn
                        ? "the end: the last line was cut short in the middle"
                        : "the end: the recording stops before it",
                    remedy: "query-migrate and query-status on both QEMUs, or the recording of whoever came after"))
        }
        switch it.report.status.basis {
        case .source where it.log.migrate != nil && it.source.triggers[.migrate]?.refusal == nil:
            gaps.append(
                Gap(
                    what: "the destination's part: it was not recorded",
                    remedy: "a recording of the destination's monitor, and its standard error"))
        case .destination:
            gaps.append(
                Gap(what: "the source's part: it was not recorded", remedy: "a recording of the source's monitor"))
        default: break
        }
        if it.log.migrate == nil, it.saw(.source), it.attempt.isOpened {
            gaps.append(
                Gap(
                    what: "who began it, and when: migrate is not in the recording",
                    remedy: "a recording that begins earlier"))
        }
        if fault.certainty != .proven, let remedy = faultRemedy(fault) {
            let others = fault.alternatives.map(\.rawValue)
            let what =
                fault.party.map {
                    "for certain that it was the \($0.rawValue)"
                        + (others.isEmpty ? "" : "; it could be the \(others.joined(separator: ", the "))")
                }
                ?? "whose doing it was" + (others.isEmpty ? "" : ": the \(others.joined(separator: ", the "))")
            gaps.append(Gap(what: what, remedy: remedy))
        }
        if it.word == .failed, it.report.error == nil, it.attempt.isOpened, !it.destination.events.has(.completed) {
            gaps.append(
                Gap(
                    what: "QEMU's reason: it gave none",
                    remedy:
                        "the destination's standard error; from QEMU 9.1 on migrate-incoming with exit-on-error "
                        + "false keeps it, and query-migrate there tells it"
                ))
        }
        if let pause = pauses.last, pause.microseconds == nil,
            it.word == .failed || it.word == .cancelled || (it.word == .completed && it.destination.isRunning == true)
        {
            gaps.append(
                Gap(
                    what: "when the guest ran again",
                    remedy: "query-status on the side where it shall run, or the RESUME event"))
        }
        if let pause = pauses.last, !pause.isExact {
            gaps.append(
                Gap(
                    what: "how long the guest stood still, exactly: queries told its stop or its start, not events",
                    remedy: "the capability events, and a connection that was open all the time"))
        }
        if it.word == .completed, pauses.isEmpty, it.source.wasRunning != false, it.saw(.source) {
            gaps.append(
                Gap(
                    what: "how long the guest stood still: no record tells when it stopped",
                    remedy: "STOP and RESUME events of both sides"))
        }
        if it.log.samples.isEmpty, it.saw(.source), it.source.events.has(.active) {
            gaps.append(
                Gap(
                    what: "how much was sent in each pass, and how fast",
                    remedy: "query-migrate on the source while it copies"))
        }
        return gaps
    }

    private func faultRemedy(_ fault: FaultAttribution) -> String? {
        switch fault.party {
        case .destination?: return "the destination's standard error, and its host's log"
        case .source?: return "the source's standard error, and its host's log"
        case .network?: return "the logs of both hosts and of what lies between, for the same second"
        case .operator?, .policy?, .controller?: return "the log of whoever drove the migration"
        case .guest?: return "the guest's own log"
        case nil: return it.isOver ? "the other side's recording, and both QEMUs' standard error" : nil
        }
    }
}
