import Migration
import Phases
import Trace

/// Tells observations as lines of text: when, which QEMU, what kind of thing, what.
///
/// Times count from the attempt's `migrate`. What comes before it is held back until it is there, so that it can be
/// told with its distance.
struct Story {
    private struct Polls {
        var count = 0
        var names: [String: Int] = [:]
        var sample: MigrationSample?
        var time = Instant(microseconds: 0)
    }

    private var out = ""
    private var held: [(Instant, Side?, String, String)] = []
    private var zero: Instant?
    private var polls: [Side: Polls] = [:]
    private var passes: [Side: (first: Int64, last: Int64, time: Instant)] = [:]
    private var hasBegun = false
    private var number = 0

    private static let maximumHeld = 1000
    private static let columns = 100

    init(name: String, header: TraceHeader) {
        var line = name
        if let title = header.title { line += ": \(title)" }
        if let recorder = header.recorder { line += " (recorded by \(recorder))" }
        write(line, indent: 2)
    }

    /// Tells what one record showed.
    mutating func tell(_ observations: [Observation], _ observer: borrowing Observer) -> String {
        for observation in observations { tell(observation, observer) }
        defer { out = "" }
        // Whoever prints it ends the last line.
        if out.last == "\n" { out.removeLast() }
        return out
    }

    /// Tells the end.
    mutating func finish(_ observer: borrowing Observer, _ report: ReplayReport) -> String {
        close(observer.currentAttempt)
        if report.attempts.isEmpty { write("No attempt.", indent: 2) }
        let told = observer.anomalies.count
        let open = report.anomalies.dropFirst(told)
        if !open.isEmpty || report.omittedAnomalies > 0 { out += "\n" }
        for anomaly in open {
            let place = anomaly.sequence > 0 ? "record \(anomaly.sequence), " : ""
            write("\(place)\(anomaly.side.map { "\($0.rawValue): " } ?? "")\(anomaly.what)", indent: 2)
        }
        if report.omittedAnomalies > 0 { write("\(report.omittedAnomalies) more of such.", indent: 2) }
        defer { out = "" }
        // Whoever prints it ends the last line.
        if out.last == "\n" { out.removeLast() }
        return out
    }

    private mutating func tell(_ observation: Observation, _ observer: borrowing Observer) {
        let time = observation.time
        let side = observation.side
        switch observation.what {
        case .attempt:
            close(observer.previousAttempt)
            return
        case .poll(let command, let sample):
            guard let side else { return }
            polls[side, default: Polls()].count += 1
            polls[side]?.names[command.name, default: 0] += 1
            polls[side]?.time = time
            if let sample, sample.remainingBytes != nil { polls[side]?.sample = sample }
            return
        case .event(.pass(let number)):
            guard let side else { return }
            passes[side] = (passes[side]?.first ?? number, number, time)
            return
        case .sent(let command, _) where command.trigger == nil && !command.changesSomething:
            return
        case .status(let status) where status.word == .idle:
            return
        // What becomes of a block job, its own events tell in one line instead of six.
        case .event(.other("JOB_STATUS_CHANGE")): return
        case .sent(.migrate, true): zero = zero ?? time
        case .word(let word, _) where word != .setup: zero = zero ?? time
        default: break
        }
        guard let (kind, text) = Self.words(for: observation.what) else { return }
        tellPolls()
        line(time, side, kind, text)
    }

    /// What a line says, and what kind of thing it is.
    private static func words(for what: Observation.What) -> (String, String)? {
        switch what {
        case .attempt, .poll: return nil
        case .greeting(let version): return ("monitor", "QEMU \(version) greets")
        case .monitor(.connected): return ("monitor", "connected")
        case .monitor(.lost): return ("monitor", "connection lost")
        case .monitor(.busy): return ("monitor", "busy: another client is connected")
        case .process(let end): return ("process", "\(end)")
        case .sent(.migrate(let uri, true), _): return ("command", "migrate (resume) \(uri)")
        case .sent(let command, _):
            return ("command", command.name + (command.argument.map { " \($0)" } ?? ""))
        case .refused(let command, let text): return ("refused", "\(command.name): \(text)")
        case .word(let word, let source): return ("qemu", source == .query ? "\(word) (by query)" : "\(word)")
        case .event(let event):
            switch event {
            case .stop: return ("event", "STOP: the guest stands still")
            case .resume: return ("event", "RESUME: the guest runs")
            case .shutdown(let byGuest, let reason):
                return ("event", "SHUTDOWN: \(byGuest ? "the guest's own doing" : "from outside") (\(reason))")
            case .reset: return ("event", "RESET: the guest was reset")
            case .guestFault(let name): return ("event", "\(name): trouble in the guest")
            case .unplugPrimary(let device): return ("event", "UNPLUG_PRIMARY: the guest shall release \(device)")
            case .blockJob(let event): return ("event", Self.words(for: event))
            case .other(let name): return ("event", name)
            case .migration, .pass: return nil
            }
        case .runState(let state): return ("run state", "\(state)")
        case .error(let text): return ("error", text)
        case .phase(let move, let inferred):
            return ("phase", "\(move.from.rawValue) -> \(move.to.rawValue)" + (inferred ? " (inferred)" : ""))
        case .status(let status):
            var text = "==> \(status.word.rawValue)"
            if status.stopping != .none { text += ", stopping because of a \(status.stopping.rawValue)" }
            return ("status", text)
        case .note(let text): return ("note", text)
        case .anomaly(let text): return ("anomaly", text)
        }
    }

    private static func words(for event: BlockJobEvent) -> String {
        switch event.kind {
        case .ready: "\(event.name) \(event.job): the copy has caught up"
        case .completed(let error): "\(event.name) \(event.job)" + (error.map { ": \($0)" } ?? "")
        case .cancelled: "\(event.name) \(event.job)"
        case .error(let operation): "\(event.name) \(event.job): a \(operation) failed"
        }
    }

    // MARK: Attempts

    private mutating func close(_ attempt: AttemptReport?) {
        tellPolls()
        release()
        zero = nil
        hasBegun = false
        guard let attempt else { return }
        var end = attempt.outcome?.rawValue ?? "unfinished (\(attempt.status.word.rawValue))"
        if let total = attempt.totalMilliseconds { end += ", total \(total) ms" }
        if let downtime = attempt.downtimeMilliseconds { end += ", downtime \(downtime) ms" }
        if attempt.cancel != .none { end += ", cancel \(attempt.cancel.rawValue)" }
        if attempt.status.basis != .both { end += ", seen from the \(attempt.status.basis.rawValue) only" }
        out += "\n"
        write("  outcome: \(end)", indent: 11)
        if let error = attempt.error { write("    error: \(error)", indent: 11) }
        for reason in attempt.reasons {
            write("  because: record \(reason.sequence), \(reason.side.rawValue): \(reason.what)", indent: 11)
        }
        let phases = [attempt.source, attempt.destination].map { side in
            side.phases.isEmpty ? "none" : side.phases.map(\.rawValue).joined(separator: ", ")
        }
        let mark = attempt.source.isInferred ? " (inferred)" : ""
        write("   phases: source \(phases[0]); destination \(phases[1])\(mark)", indent: 11)
    }

    // MARK: Lines

    private mutating func tellPolls() {
        let times = Side.allCases.compactMap { side -> (side: Side, time: Instant)? in
            guard let time = [polls[side]?.time, passes[side]?.time].compactMap(\.self).max() else { return nil }
            return (side, time)
        }
        for (side, time) in times.sorted(by: { $0.time < $1.time }) {
            var parts: [String] = []
            if let polled = polls[side] {
                parts += polled.names.sorted { $0.key < $1.key }.map {
                    $0.value == 1 ? $0.key : "\($0.value) x \($0.key)"
                }
                if let left = polled.sample?.remainingBytes { parts.append("\(Self.size(left)) left") }
                if let rate = polled.sample?.megabitsPerSecond, rate >= 0, rate < 1e9 {
                    parts.append("\(Int64(rate.rounded())) Mbit/s")
                }
            }
            if let passed = passes[side] {
                parts.append(
                    passed.first == passed.last ? "pass \(passed.last)" : "passes \(passed.first) to \(passed.last)")
            }
            line(time, side, "progress", parts.joined(separator: ", "))
        }
        polls.removeAll(keepingCapacity: true)
        passes.removeAll(keepingCapacity: true)
    }

    private mutating func line(_ time: Instant, _ side: Side?, _ kind: String, _ text: String) {
        held.append((time, side, kind, text))
        if zero != nil || held.count >= Self.maximumHeld { release() }
    }

    private mutating func release() {
        guard let first = held.first else { return }
        let zero = self.zero ?? first.0
        self.zero = zero
        if !hasBegun {
            hasBegun = true
            number += 1
            out += number > 1 ? "\nAttempt \(number)\n" : "\n"
        }
        for (time, side, kind, text) in held {
            let (difference, overflow) = time.microseconds.subtractingReportingOverflow(zero.microseconds)
            let prefix =
                Self.padded(Self.seconds(overflow ? 0 : difference), 10, right: true) + "  "
                + Self.padded(side?.rawValue ?? "", 13) + Self.padded(kind, 11)
            write(prefix + text, indent: 36)
        }
        held.removeAll(keepingCapacity: true)
    }

    /// Writes a line, folded at the last column; the other lines of it are indented.
    ///
    /// Nothing that came from a peer can steer a terminal.
    private mutating func write(_ text: String, indent: Int) {
        var line = ""
        var width = 0
        for character in text.prefix(8000) {
            if width >= Self.columns {
                // A fold at a blank, if there is one in the second half of the line.
                var rest = ""
                if character != " ", let blank = line.lastIndex(of: " "),
                    line.distance(from: blank, to: line.endIndex) < (Self.columns - indent) / 2
                {
                    rest = String(line[line.index(after: blank)...])
                    line = String(line[..<blank])
                }
                out += line + "\n"
                line = String(repeating: " ", count: indent) + rest
                width = indent + rest.count
                if character == " " { continue }
            }
            line.append(PlainText.plain(character))
            width += 1
        }
        out += line + "\n"
    }

    private static func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
        let pad = String(repeating: " ", count: max(0, width - text.utf8.count))
        return right ? pad + text : text + pad
    }

    /// Seconds with four decimals.
    private static func seconds(_ microseconds: Int64) -> String {
        let magnitude = microseconds.magnitude
        let tenths = String(magnitude % 1_000_000 / 100)
        let fraction = String(repeating: "0", count: 4 - tenths.count) + tenths
        return "\(microseconds < 0 ? "-" : "")\(magnitude / 1_000_000).\(fraction)"
    }

    /// Bytes in the largest binary unit that leaves a whole number worth reading.
    private static func size(_ bytes: Int64) -> String {
        if bytes >= 10 << 30 { return "\(bytes >> 30) GiB" }
        if bytes >= 10 << 20 { return "\(bytes >> 20) MiB" }
        if bytes >= 10 << 10 { return "\(bytes >> 10) KiB" }
        return "\(bytes) B"
    }
}
