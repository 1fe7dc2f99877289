internal import Synchronization

/// How an exploration is bounded.
public struct ExplorationBounds: Hashable, Sendable {
    /// The most states to visit; `nil` for all there are.
    public var maximumStates: Int?
    /// The longest way from the start; `nil` for any.
    public var maximumDepth: Int?
    /// The most resident memory in bytes; `nil` for any.
    public var maximumBytes: Int?
    /// How many threads expand states.
    public var threads = 2
    /// Whether to look for states from which no end can be reached; takes four bytes for each transition.
    public var isLivenessChecked = true

    /// Whether a longest way is wanted.
    public var isDeepestTold = false

    /// Bounds.
    public init(maximumStates: Int? = nil, maximumDepth: Int? = nil, maximumBytes: Int? = nil) {
        self.maximumStates = maximumStates
        self.maximumDepth = maximumDepth
        self.maximumBytes = maximumBytes
    }
}

/// What an exploration found.
public struct ExplorationResult<Action: Sendable>: Sendable {
    /// The first violation on a shortest way, with the way.
    public var violation: Violation?
    /// The steps that lead to it.
    public var trace: [Action] = []
    /// Different states.
    public var states = 0
    /// Steps between them.
    public var transitions = 0
    /// The longest of the shortest ways to a state.
    public var depth = 0
    /// A shortest way to one of the states that are farthest from the start, where that was asked for.
    public var deepest: [Action] = []
    /// How often each end was reached, by name.
    public var ends: [String: Int] = [:]
    /// Everything reachable was seen.
    public var isComplete = true
    /// In seconds.
    public var seconds = 0.0
    /// Resident at the highest, in bytes.
    public var peakBytes = 0

    /// The chance that two different states were taken for one: 128 bits, so the birthday bound.
    public var collisionProbability: Double { Double(states) * Double(states) / 6.8e38 }
}

/// Hands out pieces of work by number.
final class BlockCounter: Sendable {
    private let value = Atomic(0)

    func next() -> Int { value.wrappingAdd(1, ordering: .relaxed).oldValue }
}

/// Explores a transition system breadth-first, so that the first way to a violation is a shortest one.
///
/// Level by level: the threads expand the states of a level while the table of visited ones is only read, then what they found is put in, in
/// the order of the level. So the result does not depend on the threads.
public struct Explorer<System: TransitionSystem>: Sendable {
    private let system: System
    private let bounds: ExplorationBounds

    /// An explorer of a system.
    public init(_ system: System, bounds: ExplorationBounds = ExplorationBounds()) {
        self.system = system
        self.bounds = bounds
    }

    /// What one block of a level led to.
    private struct Expansion: Sendable {
        struct Candidate {
            var fingerprint: Fingerprint
            var allowance: Allowance
            var state: System.State
            var parent: UInt32
            var choice: UInt16
        }

        var candidates: [Candidate] = []
        /// Where steps that spend nothing lead: numbers of known states, or positions in `candidates` with the highest bit set.
        var targets: [UInt32] = []
        var counts: [UInt16] = []
        var transitions = 0
        var violations: [(parent: UInt32, violation: Violation)] = []
        var ends: [(parent: UInt32, name: String)] = []
    }

    private static var mark: UInt32 { 1 << 31 }

    /// What was left by each state: who led to it and by which choice.
    private struct Parents {
        var states: [UInt32] = []
        var choices: [UInt16] = []

        mutating func append(_ state: UInt32, _ choice: UInt16) {
            states.append(state)
            choices.append(choice)
        }
    }

    /// Explores all there is within the bounds, or up to the first violation.
    public func run() async -> ExplorationResult<System.Action> {
        let clock = ContinuousClock()
        let start = clock.now
        var result = ExplorationResult<System.Action>()
        let visited = VisitedTable()
        var parents = Parents()
        var graph = SuccessorGraph()
        var ends: [Bool] = []
        var level: [(state: System.State, number: UInt32)] = []
        for (choice, state) in system.initialStates.enumerated() {
            let (number, isNew) = visited.insert(system.fingerprint(of: state), system.allowance(of: state))
            if isNew {
                level.append((state, number))
                parents.append(.max, UInt16(choice))
            }
        }
        var found: (parent: UInt32, violation: Violation)?
        while !level.isEmpty {
            if isSpent(result, visited) {
                result.isComplete = false
                break
            }
            let expansions = await expand(level, visited)
            ends += [Bool](repeating: false, count: level.count)
            var next: [(state: System.State, number: UInt32)] = []
            for expansion in expansions {
                if found == nil { found = expansion.violations.first }
                for end in expansion.ends {
                    ends[Int(end.parent)] = true
                    result.ends[end.name, default: 0] += 1
                }
                var numbers: [UInt32] = []
                numbers.reserveCapacity(expansion.candidates.count)
                for candidate in expansion.candidates {
                    let (number, isNew) = visited.insert(candidate.fingerprint, candidate.allowance)
                    numbers.append(number)
                    guard isNew else { continue }
                    next.append((candidate.state, number))
                    parents.append(candidate.parent, candidate.choice)
                }
                result.transitions += expansion.transitions
                var offset = 0
                for count in expansion.counts {
                    let range = offset..<(offset + Int(count))
                    offset = range.upperBound
                    guard bounds.isLivenessChecked else { continue }
                    graph.append(
                        expansion.targets[range].lazy.map { $0 & Self.mark == 0 ? $0 : numbers[Int($0 & ~Self.mark)] })
                }
            }
            if found != nil { break }
            if !next.isEmpty { result.depth += 1 }
            level = next
        }
        if found == nil, bounds.isLivenessChecked {
            // What was not expanded might reach an end: it is not held against anybody.
            ends += [Bool](repeating: true, count: visited.count - ends.count)
            if let stuck = graph.firstThatCannotReach(ends) {
                found = (UInt32(stuck), Violation("an end is reachable", "no action leads from here to an end"))
            }
        }
        result.states = visited.count
        if bounds.isDeepestTold, visited.count > 0 { result.deepest = trace(to: UInt32(visited.count - 1), parents) }
        if let found {
            result.violation = found.violation
            result.trace = trace(to: found.parent, parents)
        }
        result.seconds = (clock.now - start) / .seconds(1)
        result.peakBytes = Memory.peakBytes
        return result
    }

    private func isSpent(_ result: ExplorationResult<System.Action>, _ visited: VisitedTable) -> Bool {
        if let most = bounds.maximumStates, visited.count >= most { return true }
        if let most = bounds.maximumDepth, result.depth >= most { return true }
        if let most = bounds.maximumBytes, Memory.peakBytes >= most { return true }
        return visited.count >= Int(Self.mark) - 1
    }

    private func expand(
        _ level: [(state: System.State, number: UInt32)], _ visited: VisitedTable
    ) async -> [Expansion] {
        let size = max(64, min(4096, level.count / 16))
        let blocks = (level.count + size - 1) / size
        let counter = BlockCounter()
        return await withTaskGroup(of: [(Int, Expansion)].self) { group in
            for _ in 0..<max(1, min(bounds.threads, blocks)) {
                group.addTask {
                    var done: [(Int, Expansion)] = []
                    while true {
                        let block = counter.next()
                        guard block < blocks else { return done }
                        let range = (block * size)..<min(level.count, (block + 1) * size)
                        done.append((block, expandBlock(level[range], visited)))
                    }
                }
            }
            var all: [(Int, Expansion)] = []
            for await some in group { all += some }
            return all.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private func expandBlock(
        _ states: ArraySlice<(state: System.State, number: UInt32)>, _ visited: VisitedTable
    ) -> Expansion {
        var expansion = Expansion()
        for (state, number) in states {
            if let violation = system.violation(in: state) {
                expansion.violations.append((number, violation))
                expansion.counts.append(0)
                continue
            }
            let end = system.end(of: state)
            if let end { expansion.ends.append((number, end)) }
            let successors = system.successors(of: state)
            let allowance = system.allowance(of: state)
            var free: UInt16 = 0
            if successors.isEmpty, end == nil {
                expansion.violations.append((number, Violation("no deadlock", "nothing can happen and it is no end")))
            }
            for (choice, successor) in successors.enumerated() {
                let fingerprint = system.fingerprint(of: successor.state)
                let left = system.allowance(of: successor.state)
                let target: UInt32
                if let known = visited.number(of: fingerprint, left) {
                    target = known
                } else {
                    target = UInt32(expansion.candidates.count) | Self.mark
                    expansion.candidates.append(
                        .init(
                            fingerprint: fingerprint, allowance: left, state: successor.state, parent: number,
                            choice: UInt16(choice)))
                }
                // An end has to be reachable without another fault and without anybody's request.
                if left == allowance {
                    expansion.targets.append(target)
                    free += 1
                }
            }
            expansion.counts.append(free)
            expansion.transitions += successors.count
        }
        return expansion
    }

    /// Walks from the start by the choices that were kept.
    private func trace(to last: UInt32, _ parents: Parents) -> [System.Action] {
        var choices: [Int] = []
        var state = last
        while parents.states[Int(state)] != .max {
            choices.append(Int(parents.choices[Int(state)]))
            state = parents.states[Int(state)]
        }
        var current = system.initialStates[Int(parents.choices[Int(state)])]
        var actions: [System.Action] = []
        for choice in choices.reversed() {
            let step = system.successors(of: current)[choice]
            actions.append(step.action)
            current = step.state
        }
        return actions
    }
}
