internal import Synchronization

/// The lowest number of a walk that found something: higher ones need not be begun.
private final class LowestNumber: Sendable {
    private let value = Atomic(Int.max)

    var current: Int { value.load(ordering: .relaxed) }
    func lower(to number: Int) { value.min(number, ordering: .relaxed) }
}

/// How much is walked.
public struct WalkBounds: Hashable, Sendable {
    /// How many walks.
    public var walks: Int
    /// What the choices come from: walk number n of a seed makes the same choices at every run.
    public var seed: UInt64 = 1
    /// The longest walk with troubles on the way. After that only what spends nothing is chosen, until an end.
    public var steps = 2_000
    /// How many steps more may be taken to reach an end before there is said to be none.
    public var patience = 20_000
    /// How many threads walk.
    public var threads = 2

    /// So many walks.
    public init(walks: Int) { self.walks = walks }
}

/// Walks through a transition system at random, for what is too large to be explored: it finds, and proves nothing.
///
/// A step that spends something of the allowance is a trouble. How eager a walk is for troubles is drawn for each walk, so that some spend
/// all at once and some only near the end.
public struct Walker<System: TransitionSystem>: Sendable {
    private let system: System
    private let bounds: WalkBounds

    /// A walker through a system.
    public init(_ system: System, bounds: WalkBounds) {
        self.system = system
        self.bounds = bounds
    }

    private struct Walk: Sendable {
        var number: Int
        var choices: [Int] = []
        var end: String?
        var violation: Violation?
    }

    /// What one thread walked.
    private struct Share: Sendable {
        var seen: Set<Fingerprint> = []
        var steps = 0
        var longest = 0
        var ends: [String: Int] = [:]
        var violating: Walk?
    }

    /// Walks as often as the bounds say. A violation of the walk with the lowest number is told, on a way made shorter.
    ///
    /// - Returns: What was seen: different states, steps, the longest walk as its depth; never complete.
    public func run() async -> ExplorationResult<System.Action> {
        let clock = ContinuousClock()
        let start = clock.now
        let counter = BlockCounter()
        let lowest = LowestNumber()
        let shares = await withTaskGroup(of: Share.self) { group in
            for _ in 0..<max(1, bounds.threads) {
                group.addTask {
                    var share = Share()
                    while true {
                        let number = counter.next()
                        guard number < bounds.walks, number < lowest.current else { return share }
                        walk(number, &share)
                        if share.violating != nil { lowest.lower(to: number) }
                    }
                }
            }
            var all: [Share] = []
            for await share in group { all.append(share) }
            return all
        }
        var result = ExplorationResult<System.Action>()
        result.isComplete = false
        var seen: Set<Fingerprint> = []
        for share in shares {
            seen.formUnion(share.seen)
            result.transitions += share.steps
            result.depth = max(result.depth, share.longest)
            result.ends.merge(share.ends) { $0 + $1 }
        }
        result.states = seen.count
        if let worst = shares.compactMap(\.violating).min(by: { $0.number < $1.number }),
            let violation = worst.violation
        {
            result.violation = violation
            result.trace = shortened(worst.choices, to: violation)
        }
        result.seconds = (clock.now - start) / .seconds(1)
        result.peakBytes = Memory.peakBytes
        return result
    }

    private func walk(_ number: Int, _ share: inout Share) {
        var random = WalkRandom(seed: bounds.seed, walk: number)
        let eagerness = [2, 8, 32, 128].randomElement(using: &random) ?? 8
        let starts = system.initialStates
        precondition(!starts.isEmpty, "a system begins somewhere")
        var walk = Walk(number: number)
        walk.choices = [Int.random(in: starts.indices, using: &random)]
        var state = starts[walk.choices[0]]
        while true {
            share.seen.insert(system.fingerprint(of: state))
            if let violation = system.violation(in: state) {
                walk.violation = violation
                break
            }
            walk.end = system.end(of: state) ?? walk.end
            let successors = system.successors(of: state)
            let isLate = walk.choices.count > bounds.steps
            if successors.isEmpty || isLate && walk.end != nil {
                if walk.end == nil { walk.violation = Violation("no deadlock", "nothing can happen and it is no end") }
                break
            }
            if walk.choices.count > bounds.steps + bounds.patience {
                walk.violation = Violation(
                    "an end is reachable", "none within \(bounds.patience) steps without another trouble")
                break
            }
            let allowance = system.allowance(of: state)
            let left = successors.map { system.allowance(of: $0.state) }
            let free = successors.indices.filter { left[$0] == allowance }
            var choices = free
            if free.isEmpty || !isLate && Int.random(in: 0..<eagerness, using: &random) == 0 {
                // Every kind of trouble is as likely, however many ways there are to it.
                var kinds: [Allowance] = []
                for other in left where other != allowance && !kinds.contains(other) { kinds.append(other) }
                if let kind = kinds.randomElement(using: &random) {
                    choices = successors.indices.filter { left[$0] == kind }
                }
            }
            guard let choice = choices.randomElement(using: &random) else { break }
            walk.choices.append(choice)
            state = successors[choice].state
        }
        share.steps += walk.choices.count - 1
        share.longest = max(share.longest, walk.choices.count - 1)
        if walk.violation != nil {
            share.violating = walk
        } else if let end = walk.end {
            share.ends[end, default: 0] += 1
        }
    }

    // MARK: A shorter way

    /// What is left of a walk when every step is left out that the violation does not need.
    private func shortened(_ choices: [Int], to violation: Violation) -> [System.Action] {
        let start = system.initialStates[choices[0]]
        var actions: [System.Action] = []
        var state = start
        for choice in choices.dropFirst() {
            let step = system.successors(of: state)[choice]
            actions.append(step.action)
            state = step.state
        }
        // An end that was not reached is told by the whole walk.
        guard system.violation(in: state) != nil else { return actions }
        // Halves first: most of a long walk is of no matter.
        var size = max(1, actions.count / 2)
        while true {
            var position = 0
            var isShorter = false
            while position < actions.count {
                let without = Array(actions[..<position] + actions[min(actions.count, position + size)...])
                if let led = violating(without, from: start, violation.property) {
                    actions = led
                    isShorter = true
                } else {
                    position += size
                }
            }
            if size == 1, !isShorter { return actions }
            if !isShorter || size > 1 { size = max(1, size / 2) }
        }
    }

    /// The actions up to the violation of a property, if they lead to it.
    private func violating(_ actions: [System.Action], from start: System.State, _ property: String) -> [System.Action]?
    {
        var state = start
        for (number, action) in actions.enumerated() {
            if let violation = system.violation(in: state) {
                return violation.property == property ? Array(actions[..<number]) : nil
            }
            let name = action.description
            guard let step = system.successors(of: state).first(where: { $0.action.description == name }) else {
                return nil
            }
            state = step.state
        }
        return system.violation(in: state)?.property == property ? actions : nil
    }
}

/// The choices of one walk.
private struct WalkRandom: RandomNumberGenerator {
    private var hasher = FingerprintHasher()

    init(seed: UInt64, walk: Int) {
        hasher.feed(seed)
        hasher.feed(UInt64(walk))
    }

    mutating func next() -> UInt64 {
        hasher.feed(1)
        return hasher.fingerprint.low
    }
}
