public import ArgumentParser
import JSONC
import Replay
internal import Synchronization
import Trace

/// `godwit replay`
public struct ReplayCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Tell what a recorded trace shows: triggers, events, status, phases, and why.",
        discussion: """
            Reads traces of its own and of others. Phases that no controller recorded are inferred and marked so. \
            `-` reads standard input, a directory stands for all traces in it and below. What is compressed by gzip or zstd \
            is read as it is. Several traces are replayed at the same time and told in their order; one that cannot be \
            read is named, the others are told all the same, and the exit code is \(CommandOutcome.data.rawValue), or \
            \(CommandOutcome.noInput.rawValue) where it was only not there.

            With --drive nothing is told: what was said to Godwit in a trace of its own is said to it again, and what it \
            decides now is compared with what it did then. The first difference is shown, and the exit code is \
            \(CommandOutcome.diverged.rawValue).
            """)

    @Option(name: .long, help: "Output: text (a story), or json (one object for each trace).")
    var format: OutputFormat = .text

    @Flag(name: .long, help: "Decide everything anew and compare: does this version act as the recording did?")
    var drive = false

    @Flag(name: .long, help: "Skip lines that cannot be read, and count them.")
    var lenient = false

    @Option(name: .long, help: "How many threads work at the same time; as many as the machine has processors.")
    var jobs: Int?

    @OptionGroup(title: "What if")
    var whatIf: WhatIfOptions

    @Argument(help: ArgumentHelp("Traces, or directories of traces.", valueName: "file"))
    var files: [String]

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if let jobs, jobs < 1 || jobs > 64 { throw ValidationError("--jobs: between 1 and 64") }
        if drive, !whatIf.changes.isEmpty {
            throw ValidationError(
                "--drive takes a recording as it is; what-if drives it by itself where that is possible")
        }
    }

    /// Replays each file; one that cannot be read is told and does not stop the others.
    public func run() throws { try Console.telling(tell) }

    private func tell() throws {
        var traces: [String] = []
        var problems = FileProblems()
        for name in files {
            switch ReplayFiles.expand(name) {
            case .success(let found): traces += found
            case .failure(let problem): problems.tell(problem)
            }
        }
        if !whatIf.changes.isEmpty {
            try whatIf.run(traces, format: format, lenient: lenient, &problems)
        } else if drive {
            try drive(traces, &problems)
        } else {
            replay(traces, &problems)
        }
        try problems.end()
    }

    /// Replays all traces, several at once.
    private func replay(_ traces: [String], _ problems: inout FileProblems) {
        let threads = jobs ?? ThreadCrew.processors
        let isAlone = traces.count == 1
        let batch = ReplayBatch(count: traces.count) { piece in
            switch piece {
            case .output(let text): Console.write(text)
            case .note(let text): Console.note(text)
            }
        }
        let found = Mutex(problems)
        batch.run(threads: isAlone ? 1 : threads) { number, emit in
            do throws(TraceError) {
                if format == .text, !isAlone { emit(.output("\(number == 0 ? "" : "\n")== \(traces[number])\n")) }
                let warnings = try tell(traces[number], threads: isAlone ? threads : 1) { emit(.output($0)) }
                for warning in warnings { emit(.note("godwit: warning: \(Console.safe(warning))")) }
            } catch {
                found.withLock { $0.add(error.outcome) }
                emit(.note(error.note))
            }
        }
        problems = found.withLock { $0 }
    }

    /// Tells of one trace what is asked for; returns what was left out while reading.
    private func tell(_ trace: String, threads: Int, _ emit: (String) -> Void) throws(TraceError) -> [String] {
        if format == .text, ReplayFiles.isStream(trace) {
            // Somebody may follow it.
            var run = try ReplayRun(path: trace, lenient: lenient)
            while let text = try run.next() {
                if !text.isEmpty { emit(text + "\n") }
            }
            return run.report.warnings
        }
        let scan = try TraceScan(.open(path: trace, lenient: lenient))
        let report: ReplayReport
        switch format {
        case .text:
            report = try ReplayReport.story(scanning: scan, lenient: lenient, threads: threads) { emit($0 + "\n") }
        case .json:
            report = try ReplayReport(scanning: scan, lenient: lenient, threads: threads)
            report.write(emit)
            emit("\n")
        }
        return report.warnings
    }

    /// Drives each file. A difference counts for more than a file that cannot be read or driven.
    private func drive(_ traces: [String], _ problems: inout FileProblems) throws {
        var hasDiverged = false
        for file in traces {
            do {
                let report = try DriveReport.drive(path: file, lenient: lenient)
                Console.print(format == .json ? report.json.text() : Console.safe(report.text))
                report.warnings.forEach { Console.note("godwit: warning: \(Console.safe($0))") }
                if report.divergence != nil { hasDiverged = true }
            } catch let problem as any CommandProblem {
                problems.tell(problem)
            }
        }
        if hasDiverged { throw CommandOutcome.diverged.exitCode }
    }

    /// Prints the story of a trace while it is being read.
    static func tell(_ file: String, lenient: Bool) throws(TraceError) {
        var run = try ReplayRun(path: file, lenient: lenient)
        while let text = try run.next() {
            if !text.isEmpty { Console.print(text) }
        }
        run.report.warnings.forEach { Console.note("godwit: warning: \(Console.safe($0))") }
    }
}
