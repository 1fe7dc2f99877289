import Controller
import JSONC
import Migration
import MigrationQMP
import Phases

/// How much is told.
enum Verbosity: Hashable, Sendable { case quiet, normal, verbose }

/// Tells a person, line by line on standard error, how an attempt goes.
struct ProgressReporter {
    let verbosity: Verbosity
    let isTerminal: Bool
    let downtimeLimitMilliseconds: Double
    private var isLineOpen = false
    private var percent = 0
    private var lastPlain: Instant?
    private var lastEstimate: String?

    init(verbosity: Verbosity, isTerminal: Bool, downtimeLimitMilliseconds: Double) {
        self.verbosity = verbosity
        self.isTerminal = isTerminal
        self.downtimeLimitMilliseconds = downtimeLimitMilliseconds
    }

    mutating func report(_ event: AttemptEvent) {
        guard verbosity != .quiet else { return }
        switch event {
        case .started(let attempt, let journal):
            if verbosity == .verbose { line("attempt \(attempt), journal \(journal)", at: nil) }
        case .status(let status, let reasons, let time):
            var text = status.word.rawValue
            if status.stopping != .none { text += " (stopping: \(status.stopping.rawValue))" }
            if let qemu = status.qemu, qemu.rawValue != status.word.rawValue { text += ", QEMU says \(qemu)" }
            if verbosity == .verbose, let last = reasons.last { text += ": \(last.what)" }
            line(text, at: time)
        case .phase(let move, let time):
            if verbosity == .verbose {
                line("\(move.side.rawValue) phase \(move.from.rawValue) → \(move.to.rawValue)", at: time)
            }
        case .sample(let sample, let time): progress(sample, at: time)
        case .listening(let uri, let time):
            if verbosity == .verbose { line("the destination listens on \(uri)", at: time) }
        case .notice(let text, let time): line("note: \(text)", at: time)
        case .finished: close()
        }
    }

    /// Ends a progress line that is still open.
    mutating func close() {
        if isLineOpen { Console.draw("\n") }
        isLineOpen = false
    }

    private mutating func line(_ text: String, at time: Instant?) {
        close()
        let stamp = time.map { "\(Quantity.decimal(Double($0.microseconds) / 1e6, places: 3)) s  " } ?? ""
        Console.note(stamp + text)
    }

    private mutating func progress(_ sample: MigrationSample, at time: Instant) {
        guard let total = sample.totalBytes, let remaining = sample.remainingBytes, total > 0, sample.status == .active
        else { return }
        // What is left can grow again; the bar does not go back.
        percent = max(percent, min(99, Int(Double(max(0, total - remaining)) / Double(total) * 100)))
        let estimate = Convergence(sample, downtimeLimitMilliseconds: downtimeLimitMilliseconds).text
        var parts = ["\(percent) %", "\(Quantity.bytes(remaining)) of \(Quantity.bytes(total)) left"]
        if let iteration = sample.iteration { parts.insert("pass \(iteration)", at: 1) }
        if let megabits = sample.megabitsPerSecond, megabits > 0 {
            parts.append("\(Quantity.bytes(Int64(min(megabits, 1e9) * 1e6 / 8)))/s")
        }
        if let pages = sample.dirtyPagesPerSecond, let page = sample.pageBytes, pages > 0, pages < 1 << 40 {
            parts.append("dirty \(Quantity.bytes(pages * min(page, 1 << 20)))/s")
        }
        if let throttle = sample.throttlePercentage { parts.append("throttled by \(throttle) %") }
        if let estimate { parts.append(estimate) }
        let text = parts.joined(separator: ", ")
        if isTerminal {
            Console.draw("\r\u{1B}[K\(text)")
            isLineOpen = true
            return
        }
        // A log wants a line now and then, and one at once when the outlook changes.
        let isNew = estimate.map { $0.hasPrefix("will not") } != lastEstimate.map { $0.hasPrefix("will not") }
        if lastPlain == nil || isNew || time.milliseconds(since: lastPlain ?? time) >= 5000 {
            lastPlain = time
            lastEstimate = estimate
            line(text, at: time)
        }
    }
}

/// Writes every event as one JSON object on a line of standard output.
struct JSONReporter {
    func report(_ event: AttemptEvent) {
        let value: JSONValue
        switch event {
        case .started(let attempt, let journal):
            value = ["event": "started", "attempt": .string(attempt), "journal": .string(journal)]
        case .status(let status, let reasons, let time):
            var object = status.json(reasons: []).object ?? [:]
            object["reason"] = .array(
                reasons.map {
                    .object([
                        "seq": .integer(Int64($0.sequence)), "side": .string($0.side.rawValue),
                        "what": .string($0.what),
                    ])
                })
            value = line("status", time, object)
        case .phase(let move, let time):
            var object = move.json.object ?? [:]
            object["side"] = .string(move.side.rawValue)
            value = line("phase", time, object)
        case .sample(let sample, let time): value = line("progress", time, Self.object(sample))
        case .listening(let uri, let time): value = line("listening", time, ["uri": .string(uri)])
        case .notice(let text, let time): value = line("notice", time, ["text": .string(text)])
        case .finished(let result, let time): value = line("finished", time, Self.object(result))
        }
        Console.print(value.text())
    }

    private func line(_ name: String, _ time: Instant, _ members: JSONObject) -> JSONValue {
        var object: JSONObject = ["event": .string(name), "t": .init(Double(time.microseconds) / 1e6)]
        for (key, value) in members { object[key] = value }
        return .object(object)
    }

    private static func object(_ sample: MigrationSample) -> JSONObject {
        var object: JSONObject = [:]
        func add(_ key: String, _ value: Int64?) { if let value { object[key] = .integer(value) } }
        if let status = sample.status { object["qemu"] = .string(status.rawValue) }
        add("iteration", sample.iteration)
        add("remainingBytes", sample.remainingBytes)
        add("totalBytes", sample.totalBytes)
        add("transferredBytes", sample.transferredBytes)
        add("dirtyPagesPerSecond", sample.dirtyPagesPerSecond)
        add("pageBytes", sample.pageBytes)
        add("expectedDowntimeMilliseconds", sample.expectedDowntimeMilliseconds)
        add("totalMilliseconds", sample.totalMilliseconds)
        add("downtimeMilliseconds", sample.downtimeMilliseconds)
        if let rate = sample.megabitsPerSecond { object["megabitsPerSecond"] = .init(rate) }
        return object
    }

    private static func object(_ result: AttemptResult) -> JSONObject {
        var object = result.json.object ?? [:]
        object["exit"] = .integer(
            Int64(CommandOutcome(result.word, hasProblems: !result.problems.isEmpty).rawValue))
        return object
    }
}
