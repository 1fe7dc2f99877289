public import ArgumentParser
import JSONC
import Replay
import Trace

/// `godwit explain`
public struct ExplainCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract:
            "Say what a recorded migration means: what was asked, what happened, why it ended so, whose doing it was.",
        discussion: """
            One page for each trace. Every statement names the records that prove it, in brackets; `godwit replay` and \
            `sed -n NUMBERp FILE` show them. Where the guest's pause and the whole time went is split into its parts. What \
            the recording does not tell is said, and what would tell. `-` reads standard input.

            Exit codes: 0, \(CommandOutcome.data.rawValue) if a trace makes no sense or has no such attempt, \
            \(CommandOutcome.noInput.rawValue) if one is not there.
            """)

    @Option(name: .long, help: "Output: text (a page), or json (one object for each trace, with the same content).")
    var format: OutputFormat = .text

    @Option(name: .long, help: ArgumentHelp("Only this attempt, counted from 1.", valueName: "number"))
    var attempt: Int?

    @Flag(name: .long, help: "Skip lines that cannot be read, and count them.")
    var lenient = false

    @Argument(help: ArgumentHelp("Traces.", valueName: "trace"))
    var files: [String]

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if let attempt, attempt < 1 { throw ValidationError("--attempt \(attempt): attempts count from 1") }
    }

    /// Explains each file; one that cannot be read is told and does not stop the others.
    public func run() throws { try Console.telling(tell) }

    private func tell() throws {
        var problems = FileProblems()
        for (index, file) in files.enumerated() {
            do throws(TraceError) {
                var explanation = try Explanation(path: file, lenient: lenient)
                if let attempt {
                    guard explanation.attempts.contains(where: { $0.number == attempt }) else {
                        throw TraceError(
                            file: file, message: "no attempt \(attempt), there are \(explanation.attempts.count)")
                    }
                    explanation.attempts.removeAll { $0.number != attempt }
                }
                switch format {
                case .json: Console.print(explanation.json.text())
                case .text: Console.print((index == 0 ? "" : "\n") + explanation.text())
                }
            } catch {
                problems.tell(error)
            }
        }
        try problems.end()
    }
}
