public import ArgumentParser
import JSONC
import Migration
import Policy
import PolicyDocuments
import Replay
import Trace

/// `godwit simulate`
public struct SimulateCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Compare convergence policies over recorded migrations and over a model of a guest that writes.",
        discussion: """
            A policy says when the downtime limit is raised, when post-copy is started, when the guest is paused, when to \
            give up. --list names those that come with Godwit, --print shows one as the JSON document that it is, to be \
            changed and given as a file. Without --policy all are compared.

            With traces, each policy looks at what was recorded. That tells what another downtime limit would have done; it \
            cannot tell what another bandwidth or throttle would have done, and says so ("unknown"). Each is then tried in a \
            model with the trace's numbers, which assumes that the guest goes on as it was last seen. Without traces, the \
            model is what the options say. It knows no zero pages and no compression, dirties evenly within the working set, \
            and takes a throttle of half for half the writing: compare with it, do not predict by it.

            Nothing here touches a QEMU; `godwit migrate --policy` follows one.

            Exit codes: 0, \(CommandOutcome.usage.rawValue) for a wrong command line, \(CommandOutcome.data.rawValue) if a \
            policy or a trace makes no sense, \(CommandOutcome.noInput.rawValue) if one is not there, \
            \(CommandOutcome.output.rawValue) if a drawing cannot be written.
            """)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A policy by name, or a file (a name with a `/` or `.json`); may be said more than once.",
            valueName: "name|file"))
    var policy: [String] = []

    @Flag(name: .long, help: "Name the policies that come with Godwit.")
    var list = false

    @Option(name: .customLong("print"), help: ArgumentHelp("Show a policy as JSON.", valueName: "name"))
    var shown: String?

    @OptionGroup(title: "The model")
    var model: ModelOptions

    @Option(name: .long, help: "Output: text, or json (one object).")
    var format: OutputFormat = .text

    @Flag(name: .long, help: "Tell each decision with its rule and the numbers that led to it (json always does).")
    var decisions = false

    @Option(name: .long, help: ArgumentHelp("Draw the curves into this file; - is standard output.", valueName: "file"))
    var svg: String?

    @Option(name: .long, help: ArgumentHelp("Only this attempt of the traces, counted from 1.", valueName: "number"))
    var attempt: Int?

    @Flag(name: .long, help: "Skip lines of traces that cannot be read, and count them.")
    var lenient = false

    @Argument(help: ArgumentHelp("Traces, or directories of them.", valueName: "trace"))
    var files: [String] = []

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if let attempt, attempt < 1 { throw ValidationError("--attempt \(attempt): attempts count from 1") }
        if let shown, NamedPolicies.document(shown) == nil { throw ValidationError(PolicyFile.unknown(shown)) }
        for name in policy where !PolicyFile.isFile(name) && NamedPolicies.document(name) == nil {
            throw ValidationError(PolicyFile.unknown(name))
        }
        if policy.count > 50 { throw ValidationError("--policy: more than 50") }
        try model.check()
    }

    /// Compares and prints.
    public func run() throws { try Console.telling(tell) }

    private func tell() throws {
        if let shown, let document = NamedPolicies.document(shown) {
            return Console.write(String(decoding: document.bytes, as: UTF8.self))
        }
        if list { return try printList() }
        let policies = try readPolicies()
        var problems = FileProblems()
        let scenarios = files.isEmpty ? [model.scenario(policies)] : recorded(policies, &problems)
        // What nothing can be said about was told.
        if scenarios.isEmpty {
            if problems.outcome == nil { problems.add(.data) }
        } else {
            let comparison = Comparison(scenarios: scenarios)
            if svg != "-" {
                Console.print(
                    format == .json ? comparison.json.text() : comparison.text(withDecisions: decisions))
            }
            if let svg { try draw(comparison, svg) }
        }
        try problems.end()
    }

    private func draw(_ comparison: Comparison, _ path: String) throws {
        do {
            try OutputFile.write(Array(comparison.svg.utf8), to: path)
        } catch let error as OutputError {
            throw error.told()
        }
    }

    // MARK: Policies

    private func printList() throws {
        let policies = try NamedPolicies.all.map { document in
            try read { try document.policy() }
        }
        switch format {
        case .json:
            let list = policies.map { JSONValue.object(["name": .string($0.name), "summary": .string($0.summary)]) }
            Console.print(JSONValue.array(list).text())
        case .text:
            let width = policies.map(\.name.count).max() ?? 0
            for policy in policies {
                let blanks = String(repeating: " ", count: width - policy.name.count + 2)
                Console.print(policy.name + blanks + policy.summary)
            }
        }
    }

    private func readPolicies() throws -> [ConvergencePolicy] {
        guard !policy.isEmpty else {
            return try NamedPolicies.all.map { document in try read { try document.policy() } }
        }
        return try policy.map { name in
            try read {
                if !PolicyFile.isFile(name), let document = NamedPolicies.document(name) {
                    return try document.policy()
                }
                return try ConvergencePolicy(document: try PolicyFile.bytes(name), file: name)
            }
        }
    }

    private func read(_ policy: () throws -> ConvergencePolicy) throws -> ConvergencePolicy {
        do {
            return try policy()
        } catch let problem as any CommandProblem {
            throw problem.told()
        }
    }

    // MARK: Traces

    private func recorded(_ policies: [ConvergencePolicy], _ problems: inout FileProblems) -> [Comparison.Scenario] {
        var scenarios: [Comparison.Scenario] = []
        for name in files {
            switch ReplayFiles.expand(name) {
            case .failure(let problem): problems.tell(problem)
            case .success(let paths):
                for path in paths {
                    do throws(TraceError) {
                        scenarios += try scenariosOf(path, policies)
                    } catch {
                        problems.tell(error)
                    }
                }
            }
        }
        return scenarios
    }

    /// What the attempts of a trace make of the policies.
    private func scenariosOf(
        _ path: String, _ policies: [ConvergencePolicy]
    ) throws(TraceError) -> [Comparison.Scenario] {
        let recording = try RecordedCopying(path: path, lenient: lenient)
        recording.warnings.forEach { Console.note("godwit: warning: \(Console.safe($0))") }
        let attempts = recording.attempts.filter { attempt == nil || $0.number == attempt }
        if let attempt, attempts.isEmpty {
            throw TraceError(file: path, message: "no attempt \(attempt), there are \(recording.attempts.count)")
        }
        if recording.attempts.isEmpty { throw TraceError(file: path, message: "no migration is in it") }
        var scenarios: [Comparison.Scenario] = []
        for one in attempts {
            let title = recording.attempts.count > 1 ? "\(recording.trace), attempt \(one.number)" : recording.trace
            let samples = one.copy.samples.count
            guard samples > 0 else {
                Console.note("godwit: \(Console.safe(title)): nothing was seen of the copying")
                continue
            }
            let end = one.isOver ? one.word.rawValue : "unfinished"
            scenarios.append(
                Comparison.Scenario(
                    kind: .recording, title: title,
                    note: "recorded: \(end), \(samples) samples; looked at again as it was recorded",
                    trials: policies.map { one.copy.run($0) }))
            if var fitted = one.copy.model {
                model.adapt(&fitted)
                scenarios.append(
                    Comparison.Scenario(
                        kind: .extrapolation, title: title,
                        note: "extrapolated by the model: " + ModelOptions.describe(fitted),
                        trials: policies.map { fitted.run($0) }))
            } else {
                Console.note(
                    "godwit: \(Console.safe(title)): no second pass was recorded with numbers, nothing is extrapolated")
            }
        }
        return scenarios
    }
}
