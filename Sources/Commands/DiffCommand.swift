public import ArgumentParser
import JSONC
import Replay
import Trace

/// What of the evidence is compared.
extension EvidenceStep.Kind: ExpressibleByArgument {}

/// `godwit diff`
public struct DiffCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Find the first point where two recorded migrations part.",
        discussion: """
            Compared is the evidence: what was asked (triggers), what was seen (events), the stages that follow from both, \
            and what was published. Times, ids, addresses and numbers of passes are ignored, and so is how the records of \
            the two QEMUs fall between each other.

            Exit codes, as of diff: 0 the same, \(CommandOutcome.differs.rawValue) they differ, \
            \(CommandOutcome.data.rawValue) a trace makes no sense or has no such attempt, \
            \(CommandOutcome.noInput.rawValue) one is not there.
            """)

    @Option(name: .long, help: "Output: text, or json (one object).")
    var format: OutputFormat = .text

    @Option(name: .long, help: ArgumentHelp("Compare only this attempt of both, counted from 1.", valueName: "number"))
    var attempt: Int?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Look only at triggers, events, stages or published; may be said more than once.", valueName: "kind"))
    var only: [EvidenceStep.Kind] = []

    @Flag(name: .long, help: "Skip lines that cannot be read, and count them.")
    var lenient = false

    @Argument(help: ArgumentHelp("The first trace (- in the output).", valueName: "trace"))
    var left: String

    @Argument(help: ArgumentHelp("The second trace (+ in the output).", valueName: "trace"))
    var right: String

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if let attempt, attempt < 1 { throw ValidationError("--attempt \(attempt): attempts count from 1") }
        if left == "-", right == "-" { throw ValidationError("only one of the traces can be standard input") }
    }

    /// Compares and prints.
    public func run() throws { try Console.telling(tell) }

    private func tell() throws {
        let diff: TraceDiff
        do throws(TraceError) {
            diff = try TraceDiff.compare(
                left, right, lenient: lenient, kinds: Set(only.isEmpty ? EvidenceStep.Kind.allCases : only),
                attempt: attempt)
        } catch {
            throw error.told()
        }
        diff.warnings.forEach { Console.note("godwit: warning: \(Console.safe($0))") }
        Console.print(format == .json ? diff.json.text() : diff.text)
        if diff.parting != nil { throw CommandOutcome.differs.exitCode }
    }
}
