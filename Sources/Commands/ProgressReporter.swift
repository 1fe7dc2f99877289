import Controller
import JSONC
import Migration
import MigrationQMP
import Phases
import Policy

/// How much is told.
enum Verbosity: Hashable, Sendable { case quiet, normal, verbose }

/// Tells a person, line by line on standard error, how an attempt goes.
struct ProgressReporter {
    let verbosity: Verbosity
    let isTerminal: Bool
    var downtimeLimitMilliseconds: Double
    private var isLineOpen = false
    private var isRecoveryTold = false
    private var percent = 0
    private var lastPlain: Instant?
    private var lastDisks: Instant?
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
            var text = Self.text(
                word: status.word.rawValue, stopping: status.stopping.rawValue, qemu: status.qemu?.rawValue)
            if verbosity == .verbose, let last = reasons.last { text += ": \(last.what)" }
            line(text, at: time)
            if status.word == .postcopyPaused, !isRecoveryTold {
                isRecoveryTold = true
                line(
                    "note: `godwit recover` goes on with it; nobody else can reach the destination's QEMU now", at: time
                )
            }
        case .phase(let move, let time):
            if verbosity == .verbose {
                line("\(move.side.rawValue) phase \(move.from.rawValue) → \(move.to.rawValue)", at: time)
            }
        case .sample(let sample, let time): progress(sample, at: time)
        case .disks(let progress, let time): tell(progress, at: time)
        case .listening(let uri, let time):
            if verbosity == .verbose { line("the destination listens on \(uri)", at: time) }
        case .policy(let decision, let outcome, let time):
            if case .setDowntime(let limit) = decision.effect, outcome == .done {
                downtimeLimitMilliseconds = Double(limit)
            }
            line("policy: \(decision.text(outcome))", at: time)
        case .statistics: break
        case .notice(let text, let time): line("note: \(text)", at: time)
        case .finished: close()
        }
    }

    /// A status in words.
    static func text(word: String, stopping: String, qemu: String?) -> String {
        var text = word
        if stopping != Stopping.none.rawValue { text += " (stopping: \(stopping))" }
        if let qemu, qemu != word { text += ", QEMU says \(qemu)" }
        return text
    }

    /// Ends a progress line that is still open.
    mutating func close() {
        if isLineOpen { Console.draw("\n") }
        isLineOpen = false
    }

    mutating func line(_ text: String, at time: Instant?) {
        close()
        let stamp = time.map { "\(Quantity.decimal(Double($0.microseconds) / 1e6, places: 3)) s  " } ?? ""
        Console.note(stamp + text)
    }

    /// The numbers in words; `nil` if there are none of memory that moves.
    static func text(_ sample: MigrationSample, atLeast percent: Int = 0, estimate: String?) -> String? {
        guard let total = sample.totalBytes, let remaining = sample.remainingBytes, total > 0 else { return nil }
        let percent = max(percent, Self.percent(remaining, of: total))
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
        return parts.joined(separator: ", ")
    }

    /// How far the copies of disks are, in words.
    static func text(_ progress: StorageProgress) -> String {
        let disks = progress.disks == 1 ? "the disk" : "\(progress.disks) disks"
        if progress.ready == progress.disks { return "\(disks) copied, what the guest writes follows" }
        let left = max(0, progress.totalBytes.subtractingReportingOverflow(progress.copiedBytes).partialValue)
        let percent = progress.totalBytes > 0 ? Self.percent(left, of: progress.totalBytes) : 0
        return "copying \(disks): \(percent) %, \(Quantity.bytes(left)) of \(Quantity.bytes(progress.totalBytes)) left"
    }

    mutating func tell(_ progress: StorageProgress, at time: Instant) {
        let isDone = progress.ready == progress.disks
        if isTerminal, !isDone {
            Console.draw("\r\u{1B}[K\(Self.text(progress))")
            isLineOpen = true
        } else if isDone || lastDisks.map({ time.milliseconds(since: $0) >= 5000 }) ?? true {
            lastDisks = time
            line(Self.text(progress), at: time)
        }
    }

    private static func percent(_ remaining: Int64, of total: Int64) -> Int {
        min(99, Int(Double(max(0, total - remaining)) / Double(total) * 100))
    }

    mutating func progress(_ sample: MigrationSample, at time: Instant) {
        guard let total = sample.totalBytes, let remaining = sample.remainingBytes, total > 0,
            sample.status == .active || sample.status == .postcopyActive
        else { return }
        // What is left can grow again; the bar does not go back.
        percent = max(percent, Self.percent(remaining, of: total))
        let isPrecopy = sample.status == .active
        let estimate =
            isPrecopy ? Convergence(sample, downtimeLimitMilliseconds: downtimeLimitMilliseconds).text : nil
        guard let text = Self.text(sample, atLeast: percent, estimate: estimate) else { return }
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
        var object: JSONObject = ["event": .string(event.name)]
        for (key, value) in event.json { object[key] = value }
        if case .finished(let result, _) = event {
            let outcome = CommandOutcome(result.word, hasProblems: !result.problems.isEmpty)
            object["exit"] = .integer(Int64(outcome.rawValue))
        }
        Console.print(JSONValue.object(object).text())
    }
}
