public import ArgumentParser
import Controller
import JSONC
import Migration
import Phases
import Policy
import QMP
import QMPTransport

/// `godwit check`
public struct CheckCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Compare two QEMUs and tell what stands in the way of a migration, without migrating.",
        discussion: """
            Both are only asked: blockers, machine type, CPU, memory, devices by their QOM paths, disks and what they lie in, \
            versions, capabilities and parameters. The options are those of `godwit migrate`, as far as a QEMU has to be \
            able to do what they ask for. With --estimate QEMU measures how fast the guest writes, and a model tells what to \
            expect at which bandwidth: see `godwit simulate` for what it leaves out.

            Exit codes: 0 if nothing stands in the way, \(CommandOutcome.differs.rawValue) if something does, \
            \(CommandOutcome.usage.rawValue) for a wrong command line, \(CommandOutcome.unavailable.rawValue) if a monitor \
            is busy or not there.
            """)

    @Option(name: .long, help: ArgumentHelp("The QMP socket of the QEMU the guest leaves.", valueName: "qmp-socket"))
    var source: String

    @Option(name: .long, help: ArgumentHelp("The QMP socket of the QEMU it shall arrive at.", valueName: "qmp-socket"))
    var destination: String

    @OptionGroup(title: "How memory travels")
    var stream: StreamArguments

    @OptionGroup(title: "Disks that are not shared")
    var storage: StorageArguments

    @OptionGroup(title: "Convergence")
    var policyArguments: PolicyArguments

    @OptionGroup(title: "Post-copy")
    var postcopyArguments: PostcopyArguments

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Measure for so many seconds (1 to 60) how fast the guest writes, and tell what to expect.",
            valueName: "seconds"))
    var estimate: Int?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A bandwidth to expect; may be said more than once. Default: 1, 10 and 25 Gbit/s.", valueName: "size/s"))
    var bandwidth: [ByteQuantity] = []

    @Option(name: .long, help: "Output: text, or json (one object).")
    var format: OutputFormat = .text

    private static let usualBandwidths: [Int64] = [125_000_000, 1_250_000_000, 3_125_000_000]

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if let estimate, !(1...60).contains(estimate) {
            throw ValidationError("--estimate \(estimate): QEMU measures for 1 to 60 seconds")
        }
        if !bandwidth.isEmpty, estimate == nil { throw ValidationError("--bandwidth needs --estimate") }
        if bandwidth.count > 20 { throw ValidationError("--bandwidth: more than 20") }
        if bandwidth.contains(where: { $0.bytes == 0 }) {
            throw ValidationError("--bandwidth: nothing would ever arrive")
        }
        for (name, path) in [("--source", source), ("--destination", destination)] {
            do throws(QMPError) { _ = try QMPAddress(parsing: path) } catch {
                throw ValidationError("\(name): \(error.message)")
            }
        }
    }

    /// Asks, judges, tells.
    public func run() async throws {
        let (check, estimate) = try await look()
        try Console.telling {
            switch format {
            case .json: Console.print(Self.json(check, estimate).text())
            case .text: Self.lines(check, estimate).forEach { Console.print(Console.safe($0)) }
            }
        }
        guard check.isReady else { throw CommandOutcome.differs.exitCode }
    }

    private func options() throws -> MigrateOptions {
        var options = MigrateOptions(attempt: "check", uri: "unix:/")
        postcopyArguments.apply(to: &options)
        options.capabilities += stream.capabilities
        options.storage = storage.wish(usual: "unix:/")
        if storage.bitmaps { options.capabilities.append("dirty-bitmaps") }
        options.parameters += stream.parameters
        try policyArguments.apply(to: &options, hasLimit: false)
        return options
    }

    private func look() async throws -> (MigrationCheck, MigrationEstimate?) {
        let options = try options()
        do throws(QMPError) {
            let here = try await QEMUInspection(try QMPAddress(parsing: source))
            let ours = try await here.facts()
            // The same monitor takes one client at a time.
            if source == destination {
                await here.close()
                return (MigrationCheck(source: ours, destination: ours, options: options), nil)
            }
            let there = try await QEMUInspection(try QMPAddress(parsing: destination))
            let theirs = try await there.facts()
            await there.close()
            let check = MigrationCheck(source: ours, destination: theirs, options: options)
            var expected: MigrationEstimate?
            if let estimate {
                Console.note("measuring for \(estimate) s how fast the guest writes")
                let rate = try await here.dirtyRate(seconds: estimate)
                expected = self.estimate(ours, rate, options)
            }
            await here.close()
            return (check, expected)
        } catch {
            Console.note("godwit: \(Console.safe(error.message))")
            throw CommandOutcome.unavailable.exitCode
        }
    }

    private func estimate(_ facts: QEMUFacts, _ rate: Int64, _ options: MigrateOptions) -> MigrationEstimate {
        var context = PolicyContext()
        context.isPostcopyPossible = options.postcopy != nil
        for setting in facts.parameters where setting.name == "downtime-limit" {
            if case .integer(let limit) = setting.value { context.downtimeMilliseconds = limit }
        }
        return MigrationEstimate(
            of: facts, dirtyBytesPerSecond: rate,
            bandwidths: bandwidth.isEmpty ? Self.usualBandwidths : bandwidth.map(\.bytes),
            policy: options.policy?.policy ?? ConvergencePolicy(name: PolicyArguments.no, rules: []), context: context)
    }

    // MARK: Telling

    private static func lines(_ check: MigrationCheck, _ estimate: MigrationEstimate?) -> [String] {
        var lines: [String] = []
        for finding in check.findings {
            let word = finding.severity.rawValue
            lines.append("\(word)\(String(repeating: " ", count: 9 - word.count))\(finding.subject): \(finding.text)")
            if let remedy = finding.remedy { lines.append("         \(remedy)") }
        }
        func count(_ severity: MigrationCheck.Severity, _ word: String) -> String {
            let number = check.findings.count { $0.severity == severity }
            return "\(number) \(word)\(number == 1 ? "" : "s")"
        }
        lines.append(
            (check.isReady ? "nothing stands in the way: " : "this cannot be migrated: ")
                + "\(count(.error, "error")), \(count(.warning, "warning")), \(count(.note, "note"))")
        return lines + (estimate.map(self.lines) ?? [])
    }

    private static func lines(_ estimate: MigrationEstimate) -> [String] {
        let memory = Quantity.bytes(estimate.memoryBytes)
        // QEMU tells whole mebibytes.
        let rate =
            estimate.dirtyBytesPerSecond == 0
            ? "less than 1 MiB/s" : "at least \(Quantity.bytes(estimate.dirtyBytesPerSecond))/s"
        var lines = [
            "",
            "the guest writes \(rate), as QEMU sampled it; "
                + "\(Quantity.bytes(estimate.residentBytes)) of its \(memory) are in use",
        ]
        for line in estimate.lines {
            let (least, most) = (line.resident, line.full)
            var text = "  at \(Quantity.bytes(line.bandwidthBytesPerSecond))/s: "
            switch (least.verdict, most.verdict) {
            case (.converged, .converged):
                text += "\(time(least.elapsedMilliseconds)) to \(time(most.elapsedMilliseconds)), "
                let pauses = [least.pauseMilliseconds, most.pauseMilliseconds].compactMap(\.self)
                text += "the guest stands still for up to \(time(pauses.max() ?? 0))"
            case (_, .unfinished): text += "does not converge: \(most.basis)"
            default: text += "\(most.verdict.rawValue) after \(time(most.elapsedMilliseconds)): \(most.basis)"
            }
            lines.append(text)
        }
        lines.append(
            "  by a model that writes evenly, following the policy \(estimate.lines.first?.full.policy ?? "none"); a guess, no promise"
        )
        return lines
    }

    private static func time(_ milliseconds: Int64) -> String { Quantity.time(milliseconds: Double(milliseconds)) }

    private static func json(_ check: MigrationCheck, _ estimate: MigrationEstimate?) -> JSONValue {
        var object: JSONObject = [
            "godwit-check": 1, "ready": .bool(check.isReady),
            "findings": .array(
                check.findings.map { finding in
                    [
                        "severity": .string(finding.severity.rawValue), "subject": .string(finding.subject),
                        "text": .string(finding.text), "remedy": finding.remedy.map { .string($0) } ?? .null,
                    ]
                }),
        ]
        if let estimate {
            func trial(_ trial: PolicyTrial) -> JSONValue {
                [
                    "verdict": .string(trial.verdict.rawValue), "milliseconds": .integer(trial.elapsedMilliseconds),
                    "pauseMilliseconds": trial.pauseMilliseconds.map { .integer($0) } ?? .null,
                ]
            }
            object["estimate"] = [
                "dirtyBytesPerSecond": .integer(estimate.dirtyBytesPerSecond),
                "memoryBytes": .integer(estimate.memoryBytes), "residentBytes": .integer(estimate.residentBytes),
                "lines": .array(
                    estimate.lines.map { line in
                        [
                            "bandwidthBytesPerSecond": .integer(line.bandwidthBytesPerSecond),
                            "resident": trial(line.resident), "full": trial(line.full),
                        ]
                    }),
            ]
        }
        return .object(object)
    }
}
