public import ArgumentParser
import Replay
import Trace

/// `godwit report`
public struct ReportCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Draw recorded migrations: one HTML file with time line, curves, explanation and all messages.",
        discussion: """
            The file needs nothing else: no network, no server; it works from disk. It shows the time line of both QEMUs \
            (status words, phases, what was asked, where the guest ran), where its pause went, curves of what query-migrate \
            told, what `godwit explain` says, and the messages with search and filter. Several traces are compared.

            Everything in the traces is in the file, secrets too if they were recorded.
            """)

    @Option(name: .shortAndLong, help: ArgumentHelp("Where the page goes; - is standard output.", valueName: "file"))
    var output: String

    @Flag(name: .long, help: "Skip lines that cannot be read, and count them.")
    var lenient = false

    @Argument(help: ArgumentHelp("Traces.", valueName: "trace"))
    var files: [String]

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if output != "-", files.contains(output) {
            throw ValidationError("--output \(output): that is one of the traces")
        }
    }

    /// Reads all traces, then writes the page.
    public func run() throws {
        var report = Report()
        do throws(TraceError) {
            for file in files { try report.add(path: file, lenient: lenient) }
        } catch {
            throw error.told()
        }
        report.warnings.forEach { Console.note("godwit: warning: \(Console.safe($0))") }
        do {
            try OutputFile.write(report.html, to: output)
        } catch let error as OutputError {
            throw error.told()
        }
    }
}
