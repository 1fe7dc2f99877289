public import ArgumentParser
import Controller
import JSONC
import Migration
import Phases
import QMP
import QMPTransport

/// `godwit status`
public struct StatusCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Tell how the migrations stand that run on this host.",
        discussion: """
            With --watch one of them is followed to its end; the exit code is the one that its `godwit migrate` has.
            """)

    @OptionGroup var which: AttemptArgument

    @Flag(name: .long, help: "Follow it to its end.")
    var watch = false

    @Option(name: .long, help: "Output: text, or json (one object on a line).")
    var format: OutputFormat = .text

    /// Made by the parser.
    public init() {}

    /// Asks and tells.
    public func run() async throws {
        do throws(RunningAttemptError) {
            guard watch else { return try await list() }
            let outcome = try await follow(try await RunningAttempts.connect(which.attempt))
            guard outcome != .completed else { return }
            throw RunningAttemptError(outcome: outcome, description: "")
        } catch {
            if !error.description.isEmpty { Console.note("godwit: \(error.description)") }
            throw error.outcome.exitCode
        }
    }

    private func list() async throws(RunningAttemptError) {
        let attempts = try await RunningAttempts.all(beginningWith: which.attempt ?? "")
        for journal in RunningAttempts.leftBehind(
            beginningWith: which.attempt ?? "", besides: attempts.map(\.id))
        {
            Console.note(
                "godwit: \(Console.safe(journal)): nobody answers for this attempt. Its guest may stand still: `query-status` at "
                    + "both QEMUs tells, and `godwit replay` how far the attempt came")
        }
        if attempts.isEmpty {
            if which.attempt != nil {
                throw RunningAttemptError(outcome: .unavailable, description: "no such attempt runs here")
            }
            if format == .text { Console.print("no migration runs here") }
        }
        for attempt in attempts {
            let value = try await attempt.client.ask("query-attempt")
            if format == .json { Console.print(value.text()) } else { Self.lines(value).forEach { Console.print($0) } }
        }
    }

    private static func lines(_ value: JSONValue) -> [String] {
        func text(_ key: String) -> String { Console.safe(value[key]?.string ?? "?") }
        var lines = ["\(text("attempt"))  \(word(value["status"]))"]
        lines.append("  from \(text("source"))")
        lines.append("  to   \(text("destination"))")
        let seconds = value["seconds"]?.double ?? 0
        var numbers = ["for \(Quantity.time(milliseconds: seconds * 1000))"]
        if let progress = value["disks"].flatMap({ StorageProgress(json: $0) }) {
            numbers.append(ProgressReporter.text(progress))
        }
        if let progress = value["progress"] {
            let sample = MigrationSample(json: progress)
            let limit = value["downtimeLimitMilliseconds"]?.double ?? 300
            let estimate =
                sample.status == .active ? Convergence(sample, downtimeLimitMilliseconds: limit).text : nil
            if let text = ProgressReporter.text(sample, estimate: estimate) { numbers.append(text) }
        }
        lines.append("  \(numbers.joined(separator: ", "))")
        if value["because"] != nil { lines.append("  last: \(text("because"))") }
        lines.append("  journal \(text("journal"))")
        return lines
    }

    private static func word(_ status: JSONValue?) -> String {
        Console.safe(
            ProgressReporter.text(
                word: status?["status"]?.string ?? "?", stopping: status?["stopping"]?.string ?? Stopping.none.rawValue,
                qemu: status?["qemu"]?.string))
    }

    /// Draws what the attempt tells until its end.
    private func follow(_ client: QMPClient) async throws(RunningAttemptError) -> CommandOutcome {
        // Subscribed before the first look, so that nothing falls between them.
        let events = client.events
        let first = try await client.ask("query-attempt")
        var reporter = ProgressReporter(
            verbosity: .normal, isTerminal: Console.isErrorTerminal && format == .text,
            downtimeLimitMilliseconds: first["downtimeLimitMilliseconds"]?.double ?? 300)
        if format == .json {
            Console.print(first.text())
        } else {
            Self.lines(first).forEach { Console.print($0) }
        }
        do throws(QMPError) {
            for try await event in events {
                if let outcome = tell(event, &reporter) { return outcome }
            }
        } catch {
            throw RunningAttemptError(outcome: .unavailable, description: error.message)
        }
        throw RunningAttemptError(
            outcome: .unavailable, description: "the attempt's process ended without telling how it ended")
    }

    /// Tells an event; gives the outcome if it is the last.
    private func tell(_ event: QMPEvent, _ reporter: inout ProgressReporter) -> CommandOutcome? {
        let data = event.data
        let outcome = event.name == "FINISHED" ? Self.outcome(data) : nil
        if format == .json {
            var object: JSONObject = ["event": .string(event.name.lowercased())]
            for (key, value) in data.object ?? [:] { object[key] = value }
            if let outcome { object["exit"] = .integer(Int64(outcome.rawValue)) }
            Console.print(JSONValue.object(object).text())
            return outcome
        }
        let time = data["t"]?.double.map { Instant(microseconds: Int64(max(0, min($0, 1e9)) * 1e6)) }
        switch event.name {
        case "STATUS": reporter.line(Self.word(data), at: time)
        case "DISKS":
            if let progress = StorageProgress(json: data) {
                reporter.tell(progress, at: time ?? Instant(microseconds: 0))
            }
        case "PROGRESS": reporter.progress(MigrationSample(json: data), at: time ?? Instant(microseconds: 0))
        case "NOTICE": reporter.line("note: " + Console.safe(data["text"]?.string ?? ""), at: time)
        case "FINISHED":
            reporter.close()
            let guest = Console.safe(data["guest"]?.string ?? "unknown")
            Console.print("\(Console.safe(data["outcome"]?.string ?? "?")): the guest's place is \(guest)")
            if let error = data["error"]?.string { Console.print("  why: \(Console.safe(error))") }
        default: break
        }
        return outcome
    }

    private static func outcome(_ data: JSONValue) -> CommandOutcome {
        guard let word = data["outcome"]?.string.flatMap(PublishedWord.init(rawValue:)) else { return .internal }
        return CommandOutcome(word, hasProblems: !(data["problems"]?.array ?? []).isEmpty)
    }
}
