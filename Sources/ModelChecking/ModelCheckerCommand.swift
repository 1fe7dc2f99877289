import Migration
import Phases

/// The program: explores what its arguments name and prints what it found.
public enum ModelCheckerCommand {
    /// Runs with these arguments.
    ///
    /// - Returns: The exit code: 0 if everything is as it must be, 1 if not, 2 for arguments that nobody understands.
    public static func run(_ arguments: [String]) async -> Int32 {
        var configuration = Configuration("command line")
        configuration.calledDirectly = [.source, .destination]
        var bounds = ExplorationBounds()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard let value = rest.popFirst() else { return 2 }
            switch argument {
            case "--profile":
                guard let profile = QEMUProfile.byName.first(where: { $0.name == value }) else { return 2 }
                configuration.profile = profile.profile
            case "--states": bounds.maximumStates = Int(value)
            case "--depth": bounds.maximumDepth = Int(value)
            case "--together": configuration.budget.faults = UInt8(value) ?? 0
            case "--direct":
                configuration.calledDirectly = Set(
                    value.split(separator: ",").compactMap { Side(rawValue: String($0)) })
            case "--fault":
                let parts = value.split(separator: "=")
                guard let kind = FaultKind.allCases.first(where: { $0.name == parts[0] }) else { return 2 }
                configuration.budget.set(kind, parts.count > 1 ? Int(parts[1]) ?? 1 : 1)
                if kind.isFault { configuration.budget.faults = max(1, configuration.budget.faults) }
            case "--request":
                guard let request = Request(rawValue: value) else { return 2 }
                configuration.requests.append(request)
                configuration.budget.set(.request, configuration.budget.left(.request) + 1)
            case "--full": configuration.isReduced = value != "yes"
            default: return 2
            }
        }
        let system = JointSystem(configuration)
        let result = await Explorer(system, bounds: bounds).run()
        print(
            "\(result.states) states, \(result.transitions) transitions, depth \(result.depth), \(result.seconds) s, "
                + "\(Int(Double(result.states) / max(result.seconds, 0.001))) states/s, \(result.peakBytes >> 20) MiB, complete \(result.isComplete)"
        )
        print("ends \(result.ends)")
        print(
            "parties \(system.parties.count), pairs \(system.pairs.count), inputs \(system.inputs.count), messages \(system.messages.count), outcomes \(system.outcomes.count)"
        )
        if let violation = result.violation {
            print("VIOLATION \(violation)")
            for line in Storyteller(system).tell(result.trace) { print(line) }
            return 1
        }
        return 0
    }
}
