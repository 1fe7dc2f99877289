internal import Glibc
import Migration
import Phases

/// The program: explores what its arguments name and prints what it found.
public enum ModelCheckerCommand {
    /// What the arguments ask for.
    private struct Wishes {
        var size: Configuration.Size?
        var profile: QEMUProfile?
        var mutants: [Mutant] = []
        var protocolVersion: ProtocolVersion?
        var mode: MigrationMode?
        var traceFile: String?
        var own: Configuration?
        var bounds = ExplorationBounds(maximumBytes: 8 << 30)
        var name: String?
        var walks: Int?
        var seed: UInt64 = 1
    }

    /// What several explorations come to.
    private struct Total: CustomStringConvertible {
        var explorations = 0
        var walks = 0
        var cut = 0
        var states = 0
        var transitions = 0
        var depth = 0
        var seconds = 0.0

        mutating func add<Action>(_ result: ExplorationResult<Action>, isExploration: Bool) {
            if isExploration {
                explorations += 1
                if !result.isComplete { cut += 1 }
            } else {
                walks += 1
            }
            states += result.states
            transitions += result.transitions
            depth = max(depth, result.depth)
            seconds += result.seconds
        }

        var description: String {
            "in all: \(explorations) explorations, \(explorations - cut) complete, \(walks) walked at random, \(states) states, "
                + "\(transitions) transitions, depth \(depth), \(decimals(seconds)) s"
        }
    }

    private static let usage = """
        usage: ModelChecker [--bounds quick|deep] [--only TEXT] [--profile 7.2|10.0|10.2|11.1] [--protocol 2|3] [--mode MODE]
                            [--mutant NAME|all|quick] [--trace FILE] [--states N] [--depth N] [--threads N] [--deepest yes]
                            [--fault KIND[=COUNT]]... [--together N] [--request WORD]... [--direct SIDES] [--steps single]
                            [--unread N] [--pruned no] [--postcopy yes] [--ends WORDS] [--walks N] [--seed N]
        Explores two QEMUs, two sides and a coordinator with everything that can befall them. With --bounds a list of
        configurations, with --mutant a bug that must be found, else one configuration of the faults and requests named;
        with --walks it is not explored but walked through at random, that many times.
        Exit code 0: as it must be; 1: a violation, or a bug that was not found; 2: arguments.
        """

    /// Runs with these arguments.
    ///
    /// - Returns: The exit code: 0 if everything is as it must be, 1 if not, 2 for arguments that nobody understands.
    public static func run(_ arguments: [String]) async -> Int32 {
        guard let wishes = parse(arguments) else {
            print(usage)
            return 2
        }
        var isAsItMustBe = true
        var total = Total()
        if let size = wishes.size, wishes.mutants.isEmpty {
            for (configuration, exception) in Configuration.exceptions where size == .deep || exception.isQuick {
                guard wishes.name.map({ configuration.name.contains($0) }) ?? true else { continue }
                isAsItMustBe =
                    await explore(configuration, wishes, mustFind: exception.properties, &total).isAsItMustBe
                    && isAsItMustBe
            }
        }
        if !wishes.mutants.isEmpty {
            for mutant in wishes.mutants {
                let configuration = adapted(Configuration.hunting(mutant), wishes)
                let (isCaught, steps) = await explore(configuration, wishes, mustFind: mutant.caughtBy, &total)
                isAsItMustBe = await isClean(configuration, wishes, depth: steps) && isCaught && isAsItMustBe
            }
            return isAsItMustBe ? 0 : 1
        }
        for configuration in configurations(wishes) {
            isAsItMustBe =
                await explore(adapted(configuration, wishes), wishes, mustFind: nil, &total).isAsItMustBe
                && isAsItMustBe
        }
        tell(total.description)
        return isAsItMustBe ? 0 : 1
    }

    private static func configurations(_ wishes: Wishes) -> [Configuration] {
        let all: [Configuration]
        switch wishes.size {
        case .quick?: all = Configuration.quick
        case .deep?: all = Configuration.deep
        case nil:
            var own = wishes.own ?? Configuration("one attempt")
            own.name = "as asked"
            all = [own]
        }
        return wishes.name.map { name in all.filter { $0.name.contains(name) } } ?? all
    }

    private static func adapted(_ configuration: Configuration, _ wishes: Wishes) -> Configuration {
        var configuration = configuration
        if let profile = wishes.profile { configuration.profile = profile }
        if let version = wishes.protocolVersion { configuration.options.protocolVersion = version }
        if let mode = wishes.mode { configuration.options.mode = mode }
        if let walks = wishes.walks { configuration.walks = walks }
        return configuration
    }

    /// Whether the same configuration without the bug shows nothing, as deep as the bug is.
    private static func isClean(_ configuration: Configuration, _ wishes: Wishes, depth: Int) async -> Bool {
        var bounds = wishes.bounds
        bounds.maximumDepth = depth
        bounds.isLivenessChecked = false
        let without = configuration.with { $0.mutant = nil }
        guard let violation = await Explorer(JointSystem(without), bounds: bounds).run().violation else { return true }
        tell("    WITHOUT the bug there is one too: \(violation)")
        return false
    }

    /// Explores one configuration and prints its figures.
    ///
    /// - Returns: Whether it is as it must be, and in how many steps the violation, or how deep the exploration.
    private static func explore(
        _ configuration: Configuration, _ wishes: Wishes, mustFind: Set<String>?, _ total: inout Total
    ) async -> (isAsItMustBe: Bool, steps: Int) {
        let system = JointSystem(configuration)
        let result = await found(in: system, configuration, wishes)
        total.add(result, isExploration: configuration.walks == 0)
        let rate = Int(Double(result.states) / max(result.seconds, 0.001))
        tell(
            "\(configuration.name): \(result.states) states, \(result.transitions) transitions, depth \(result.depth), "
                + "\(decimals(result.seconds)) s, \(rate) states/s, \(result.peakBytes >> 20) MiB, "
                + (configuration.walks > 0
                    ? "\(configuration.walks) walks"
                    : "collision chance below \(result.collisionProbability)\(result.isComplete ? "" : ", CUT by the bounds")")
        )
        let ends = result.ends.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        if !ends.isEmpty { tell("    ends: \(ends.joined(separator: ", "))") }
        if !result.deepest.isEmpty {
            tell("    a longest way:")
            for line in Storyteller(system).tell(result.deepest) { tell("    " + line) }
        }
        guard let violation = result.violation else {
            if mustFind != nil { tell("    NOT FOUND: the bug is not caught") }
            return (mustFind == nil, result.depth)
        }
        let isWanted = mustFind?.contains(violation.property) ?? false
        tell("    \(isWanted ? "caught" : "VIOLATION") after \(result.trace.count) steps: \(violation)")
        if let file = wishes.traceFile {
            let trace = TraceFile(system, result.trace, end: violation.description)
            guard write(trace.lines, to: file) else {
                tell("    \(file) cannot be written")
                return (false, result.trace.count)
            }
        }
        if !isWanted { for line in Storyteller(system).tell(result.trace) { tell("    " + line) } }
        return (isWanted, result.trace.count)
    }

    private static func found(
        in system: JointSystem, _ configuration: Configuration, _ wishes: Wishes
    ) async -> ExplorationResult<JointAction> {
        guard configuration.walks > 0 else { return await Explorer(system, bounds: wishes.bounds).run() }
        var bounds = WalkBounds(walks: configuration.walks)
        // Another way through each configuration.
        var hasher = FingerprintHasher()
        hasher.feed(wishes.seed)
        for byte in configuration.name.utf8 { hasher.feed(UInt64(byte)) }
        bounds.seed = hasher.fingerprint.low
        bounds.threads = wishes.bounds.threads
        return await Walker(system, bounds: bounds).run()
    }

    /// Tells at once: an exploration can take long, and whoever waits wants to see what is done.
    private static func tell(_ line: String) {
        print(line)
        fflush(nil)
    }

    private static func decimals(_ seconds: Double) -> String {
        let tenths = Int(seconds * 10)
        return "\(tenths / 10).\(tenths % 10)"
    }

    private static func write(_ lines: [String], to path: String) -> Bool {
        guard let file = fopen(path, "w") else { return false }
        let isWritten = fputs(lines.joined(separator: "\n") + "\n", file) >= 0
        return fclose(file) == 0 && isWritten
    }

    // MARK: Arguments

    private static func parse(_ arguments: [String]) -> Wishes? {
        var wishes = Wishes()
        var own = Configuration("as asked")
        own.calledDirectly = [.source, .destination]
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard let value = rest.popFirst() else { return nil }
            guard parse(argument, value, &wishes) || parse(argument, value, &own) else { return nil }
        }
        wishes.own = own
        return wishes
    }

    private static func parse(_ argument: String, _ value: String, _ wishes: inout Wishes) -> Bool {
        switch argument {
        case "--bounds":
            guard let size = Configuration.Size(rawValue: value) else { return false }
            wishes.size = size
        case "--profile":
            guard let profile = QEMUProfile.byName.first(where: { $0.name == value })?.profile else { return false }
            wishes.profile = profile
        case "--mutant":
            switch value {
            case "all": wishes.mutants = Mutant.all
            case "quick": wishes.mutants = Mutant.all.filter { !$0.takesLong }
            default: wishes.mutants = Mutant.all.filter { $0.name == value }
            }
            return !wishes.mutants.isEmpty
        case "--protocol":
            guard let version = Int(value).flatMap(ProtocolVersion.init) else { return false }
            wishes.protocolVersion = version
        case "--mode":
            guard let mode = MigrationMode(rawValue: value) else { return false }
            wishes.mode = mode
        case "--trace": wishes.traceFile = value
        case "--only": wishes.name = value
        case "--states": wishes.bounds.maximumStates = Int(value)
        case "--deepest": wishes.bounds.isDeepestTold = value == "yes"
        case "--depth": wishes.bounds.maximumDepth = Int(value)
        case "--walks":
            guard let walks = Int(value), walks >= 0 else { return false }
            wishes.walks = walks
        case "--seed":
            guard let seed = UInt64(value) else { return false }
            wishes.seed = seed
        case "--threads": wishes.bounds.threads = Int(value) ?? 2
        default: return false
        }
        return true
    }

    private static func parse(_ argument: String, _ value: String, _ own: inout Configuration) -> Bool {
        switch argument {
        case "--together": own.budget.faults = UInt8(value) ?? 0
        case "--direct": own.calledDirectly = Set(value.split(separator: ",").compactMap { Side(rawValue: String($0)) })
        case "--ends":
            own.allowedEnds = Set(value.split(separator: ",").compactMap { PublishedWord(rawValue: String($0)) })
        case "--postcopy": own.options.postcopy = value == "yes" ? PostcopyWish() : nil
        case "--unread": own.unread = Int(value)
        case "--pruned": own.isPruned = value != "no"
        case "--steps": own.isReduced = value != "single"
        case "--request":
            guard let request = Request(rawValue: value) else { return false }
            own.requests.append(request)
            own.budget.set(.request, own.budget.left(.request) + 1)
        case "--fault":
            let parts = value.split(separator: "=")
            guard let kind = FaultKind.allCases.first(where: { $0.name == parts.first.map(String.init) }) else {
                return false
            }
            own.budget.set(kind, parts.count > 1 ? Int(parts[1]) ?? 1 : 1)
            if kind.isFault { own.budget.faults = max(1, own.budget.faults) }
        default: return false
        }
        return true
    }
}
