public import ArgumentParser
import JSONC
import Replay
import Trace

/// `godwit replay`
public struct ReplayCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Tell what a recorded trace shows: triggers, events, status, phases, and why.",
        discussion: """
            Reads traces of its own and of others. Phases that no controller recorded are inferred and marked so. \
            `-` reads standard input.

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

    @OptionGroup(title: "What if")
    var whatIf: WhatIfOptions

    @Argument(help: ArgumentHelp("Traces.", valueName: "file"))
    var files: [String]

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if drive, !whatIf.changes.isEmpty {
            throw ValidationError(
                "--drive takes a recording as it is; what-if drives it by itself where that is possible")
        }
    }

    /// Replays each file; one that cannot be read is told and does not stop the others.
    public func run() throws {
        if drive { return try driveAll() }
        if !whatIf.changes.isEmpty { return try whatIf.run(files, format: format, lenient: lenient) }
        var isAllRead = true
        for (index, file) in files.enumerated() {
            do throws(TraceError) {
                switch format {
                case .json: Console.print(try Self.report(file, lenient: lenient).json.text())
                case .text:
                    if files.count > 1 { Console.print("\(index == 0 ? "" : "\n")== \(file)") }
                    try Self.tell(file, lenient: lenient)
                }
            } catch {
                isAllRead = false
                Console.note("godwit: \(error)")
            }
        }
        if !isAllRead { throw CommandOutcome.data.exitCode }
    }

    /// Drives each file. A difference counts for more than a file that cannot be read or driven.
    private func driveAll() throws {
        var outcome: CommandOutcome?
        for file in files {
            do {
                let report = try DriveReport.drive(path: file, lenient: lenient)
                Console.print(format == .json ? report.json.text() : Console.safe(report.text))
                report.warnings.forEach { Console.note("godwit: warning: \($0)") }
                if report.divergence != nil { outcome = .diverged }
            } catch {
                outcome = outcome ?? .data
                Console.note("godwit: \(error)")
            }
        }
        if let outcome { throw outcome.exitCode }
    }

    /// Prints the story of a trace while it is being read.
    static func tell(_ file: String, lenient: Bool) throws(TraceError) {
        var run = try ReplayRun(path: file, lenient: lenient)
        while let text = try run.next() {
            if !text.isEmpty { Console.print(text) }
        }
        run.report.warnings.forEach { Console.note("godwit: warning: \($0)") }
    }

    private static func report(_ file: String, lenient: Bool) throws(TraceError) -> ReplayReport {
        let report = try ReplayReport(path: file, lenient: lenient)
        report.warnings.forEach { Console.note("godwit: warning: \($0)") }
        return report
    }
}
