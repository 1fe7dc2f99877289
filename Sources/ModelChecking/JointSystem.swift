import Migration
import Phases

/// Two QEMUs, two sides, a coordinator, the network between them, an operator, and everything that can befall them.
final class JointSystem: TransitionSystem {
    let configuration: Configuration

    // Everything that a state is made of, by number.
    let pairs: Interner<AbstractPair>
    let parties = Interner<Party>(.crashed)
    let inputs = Interner<PartyInput>(.side(.tick))
    let effects = Interner<PartyEffect>(.side(.survey))
    let ledgers = Interner<DiskLedger>(.none)
    let records = Interner<JournalRecord>(.run(attempt: ""))
    let messages = Interner<PartyMessage>(.inquire)
    let lateMessages = Interner<LateMessage>(
        LateMessage(direction: Direction(side: .source, isToCoordinator: true), message: 0))
    let chronicles = Interner<Chronicle>(Chronicle())
    let violations = Interner<Violation>(Violation("none", ""))
    let moveNames = Interner<String>("")
    let lists = NumberLists()

    struct LateMessage: Hashable, Sendable {
        var direction: Direction
        var message: UInt32
    }

    /// What a program made of an input.
    struct Outcome: Sendable {
        var party: UInt32
        var effects: UInt32
        var violation: UInt32
    }

    struct Move: Sendable {
        var name: UInt32
        var fault: FaultKind?
        var pair: UInt32
        var sayings: [HeardSaying]
    }

    let outcomes = Memo<Outcome>()
    let moves = Memo<[Move]>()
    let receipts = Memo<(pair: UInt32, sayings: [HeardSaying])>()
    let foldings = Memo<UInt32>()
    // What is asked of a part at every step, so that the part itself need not be looked at.
    let pairFacts = Memo<PairFacts>()
    let compiledEffects = Memo<CompiledEffect>()
    let handedInputs = Memo<UInt32>()
    let serials = Memo<Int>()
    let numbered = Memo<UInt32>()
    private let sendings = Memo<Bool>()
    private let askings = Memo<Bool>()
    private let isDirect: [Bool]

    init(_ configuration: Configuration) {
        self.configuration = configuration
        pairs = Interner(AbstractPair(configuration.profile, isGuestRunning: configuration.isGuestRunning))
        isDirect = Direction.all.map { configuration.calledDirectly.contains($0.side) }
    }

    // MARK: The system

    var initialStates: [JointState] {
        var state = JointState(pair: 0, budget: configuration.budget)
        for part in Part.allCases {
            state.parties[part] = parties.number(of: fresh(part).canonical)
            if let side = part.side {
                state.ledgers[part] = ledgers.number(of: .side(Ledger(side: side)))
                let connected = inputs.number(of: .side(.fact(.monitor(.connected))))
                state.monitors[side] = lists.number(of: [connected])
            } else {
                state.ledgers[part] = ledgers.number(of: .coordinator(CoordinatorLedger()))
            }
        }
        return [state]
    }

    private func fresh(_ part: Part) -> Party {
        if let side = part.side { return .side(SideParty(side: side, options: configuration.options)) }
        return .coordinator(CoordinatorParty(options: configuration.options))
    }

    /// A program that takes its ledger up.
    func restarted(_ part: Part, _ ledger: DiskLedger) -> Party {
        switch ledger {
        case .side(let ledger): .side(SideParty(restarting: ledger, options: configuration.options))
        case .coordinator(let ledger):
            .coordinator(CoordinatorParty(restarting: ledger, options: configuration.options))
        case .none: fresh(part)
        }
    }

    func fingerprint(of state: JointState) -> Fingerprint {
        var hasher = FingerprintHasher()
        state.feed(&hasher)
        if !configuration.isPruned {
            hasher.feed(state.budget.bits)
            hasher.feed(UInt64(state.budget.faults))
        }
        return hasher.fingerprint
    }

    func allowance(of state: JointState) -> Allowance {
        Allowance(counts: state.budget.bits, total: state.budget.faults)
    }

    func violation(in state: JointState) -> Violation? { state.violation == 0 ? nil : violations[state.violation] }

    func end(of state: JointState) -> String? {
        guard state.chronicle != 0 else { return nil }
        let chronicle = chronicles[state.chronicle]
        // An interrupted post-copy is the one pause that may last: it waits for somebody to mend the channel and to say so.
        return chronicle.result?.rawValue ?? (chronicle.published == .postcopyPaused ? "postcopy-paused" : nil)
    }

    func successors(of state: JointState) -> [(action: JointAction, state: JointState)] {
        var result: [(action: JointAction, state: JointState)] = []
        let (actions, free) = actions(in: state)
        if !actions.prefix(free).contains(where: \.isProgress), let violation = restViolation(state) {
            var wrong = state
            wrong.violation = violations.number(of: violation)
            return [(JointAction(kind: .rest), wrong)]
        }
        for action in actions {
            var next = state
            var run = Run(system: self)
            run.take(action, &next)
            if next != state { result.append((action, next)) }
            // What came before it may have spent what was left.
            guard run.carriedOut > 0, let part = run.actor, next.budget.allows(part.crash) else { continue }
            // The same, with a crash somewhere on the way.
            for cut in run.cuts {
                var crashed = state
                var cutRun = Run(system: self)
                let cutAction = JointAction(kind: action.kind, cut: cut)
                guard configuration.permits?(cutAction) ?? true else { continue }
                cutRun.take(cutAction, &crashed)
                result.append((cutAction, crashed))
            }
        }
        return result
    }

    // MARK: What can happen

    /// The choices in a state: first those that need no budget, and how many of them.
    func actions(in state: JointState) -> (all: [JointAction], free: Int) {
        var free: [JointAction.Kind] = []
        var troubles: [JointAction.Kind] = []
        for part in Part.allCases where state.pending[part] != 0 { free.append(.execute(part)) }
        for side in Side.allCases where canTake(Part(side), state) {
            if state.monitors[side] != 0 { free.append(.monitor(side)) }
            if state.isEndUntold[side] { free.append(.processEnd(side)) }
        }
        for direction in Direction.all where state.links[direction.index] != 0 && canTake(direction.receiver, state) {
            free.append(.message(direction, .normal))
            guard !isPeerNote(lists[state.links[direction.index]][0]) else { continue }
            if state.budget.allows(.lose) { troubles.append(.message(direction, .lost)) }
            if state.budget.allows(.duplicate) { troubles.append(.message(direction, .twice)) }
            if state.budget.allows(.delay) { troubles.append(.message(direction, .late)) }
        }
        if state.late != 0 {
            for (index, late) in lists[state.late].enumerated()
            where canTake(lateMessages[late].direction.receiver, state) { free.append(.lateMessage(index)) }
        }
        for (index, move) in moves(of: state.pair).enumerated() where hasRoom(for: move, state) {
            guard let fault = move.fault else {
                free.append(.move(index))
                continue
            }
            if state.budget.allows(fault) { troubles.append(.move(index)) }
        }
        let isQuiet = free.isEmpty
        for part in Part.allCases where canTake(part, state) {
            for deadline in deadlines(state.armed[part]) {
                if isQuiet || deadline.isPoll && hasNothingToRead(part, state) {
                    free.append(.timeout(part, deadline, isEarly: false))
                } else if state.budget.allows(.earlyTimeout) {
                    troubles.append(.timeout(part, deadline, isEarly: true))
                }
            }
            if isQuiet, let side = part.side { free.append(.tick(side)) }
        }
        for side in Side.allCases {
            let part = Part(side)
            if !state.isMonitorOpen[side], state.monitors[side] == 0, canTake(part, state), isQEMUAlive(side, state) {
                free.append(.reconnectMonitor(side))
            }
            if state.isMonitorOpen[side], canTake(part, state), isQEMUAlive(side, state),
                state.budget.allows(.loseMonitor)
            {
                troubles.append(.loseMonitor(side, keepsReplies: true))
                if state.monitors[side] != 0 { troubles.append(.loseMonitor(side, keepsReplies: false)) }
            }
            let toIndex = Direction(side: side, isToCoordinator: false).index
            if !state.isLinkUp[side], state.links[toIndex] == 0, state.links[toIndex + 1] == 0,
                state.parties[part] != 0, state.parties[.coordinator] != 0
            {
                free.append(.reconnectLink(side))
            }
            if state.isLinkUp[side], state.budget.allows(.breakLink), !configuration.calledDirectly.contains(side) {
                troubles.append(.breakLink(side))
            }
        }
        let chronicle = chronicles[state.chronicle]
        if canTake(.coordinator, state), !hasMigrateRequest(state) { free.append(.migrate) }
        if canTake(.coordinator, state), chronicle.isAsked, chronicle.result == nil, state.budget.allows(.request) {
            troubles += configuration.requests.map { .request($0) }
        }
        for part in Part.allCases {
            if state.parties[part] == 0 {
                free.append(.restart(part))
            } else if state.budget.allows(part.crash) {
                troubles.append(.crash(part))
            }
        }
        if let permits = configuration.permits { troubles.removeAll { !permits(JointAction(kind: $0)) } }
        return ((free + troubles).map { JointAction(kind: $0) }, free.count)
    }

    /// Whether those who listen have read enough for a QEMU to say more.
    private func hasRoom(for move: Move, _ state: JointState) -> Bool {
        guard let unread = configuration.unread else { return true }
        return move.sayings.allSatisfy {
            !state.isMonitorOpen[$0.side] || lists.count(state.monitors[$0.side]) < unread
        }
    }

    /// A program takes the next input when it has done what followed from the last.
    private func canTake(_ part: Part, _ state: JointState) -> Bool {
        state.parties[part] != 0 && state.pending[part] == 0
    }

    func isQEMUAlive(_ side: Side, _ state: JointState) -> Bool { !facts(of: state.pair).isDead[side] }

    /// Whether a link is a call.
    func isCalledDirectly(_ direction: Direction) -> Bool { isDirect[direction.index] }

    /// Whether a command is among the effects of a list.
    func hasSend(_ list: UInt32) -> Bool {
        guard list != 0 else { return false }
        return sendings.value(list, 0) { lists[list].contains { effects[$0].isSend } }
    }

    private func hasNothingToRead(_ part: Part, _ state: JointState) -> Bool {
        if let side = part.side {
            return state.monitors[side] == 0 && state.links[Direction(side: side, isToCoordinator: false).index] == 0
        }
        return Side.allCases.allSatisfy { state.links[Direction(side: $0, isToCoordinator: true).index] == 0 }
    }

    private func hasMigrateRequest(_ state: JointState) -> Bool {
        let party = state.parties[.coordinator]
        return askings.value(party, 0) { parties[party].coordinator?.ledger.hasRequest(.migrate) ?? true }
    }

    private func deadlines(_ armed: UInt64) -> [Deadline] {
        armed == 0 ? [] : Deadline.allCases.enumerated().filter { armed >> UInt64($0.offset) & 1 == 1 }.map(\.element)
    }

    func moves(of pair: UInt32) -> [Move] {
        moves.value(pair, 0) {
            pairs[pair].moves([.streamBreaks, .loadFails, .sourceDies, .destinationDies, .guestShutsDown, .runRefused])
                .map {
                    Move(
                        name: moveNames.number(of: $0.name), fault: $0.trouble?.kind, pair: pairs.number(of: $0.pair),
                        sayings: $0.sayings.map(heard))
                }
        }
    }

    /// What a program makes of an input, in canonical form.
    func outcome(_ part: Part, _ party: UInt32, _ input: UInt32) -> Outcome {
        outcomes.value(party, input) {
            let before = parties[party]
            let given = inputs[input]
            var after = before
            var done: [PartyEffect] = []
            for input in configuration.mutant.map({ $0.inputs(part, given, before) }) ?? [given] {
                var again = after
                let effects = after.apply(input)
                // A recording read again has other numbers and other times, and nothing else may differ.
                let repeated = again.apply(input, sequence: Party.now + 7, at: Instant(microseconds: 123_456_789))
                if again.canonical != after.canonical || repeated.map(\.unnumbered) != effects.map(\.unnumbered) {
                    return Outcome(
                        party: 0, effects: 0,
                        violation: violations.number(
                            of: Violation("live and replayed give the same", "\(part) on \(given)")))
                }
                done += effects
                // What is done between two inputs made of one is numbered apart.
                after = after.canonical
            }
            if let mutant = configuration.mutant { done = mutant.effects(part, given, after, done) }
            let violation = jobViolation(after).map { violations.number(of: $0) } ?? 0
            return Outcome(
                party: parties.number(of: after),
                effects: lists.number(of: done.map { effects.number(of: $0.canonical) }), violation: violation)
        }
    }

    func survey(_ side: Side) -> SideInput {
        var description = DomainDescription(
            version: configuration.profile.version, machineType: "pc", memoryBytes: 1 << 28, cpuModel: "qemu64")
        description.name = "guest"
        return .surveyed(
            Survey(
                description: description,
                features: QEMUFeatures(
                    hasExitOnError: configuration.profile.hasExitOnError, hasYank: true, hasOutOfBand: true,
                    hasPostcopyDevice: configuration.profile.hasPostcopyDevice),
                isProcessWatched: true))
    }

    // MARK: Notes on a link

    /// Items of a link are numbers of messages; two high ones tell that the connection came or went.
    static let linkLost = UInt32.max
    static let linkMade = UInt32.max - 1

    func isPeerNote(_ item: UInt32) -> Bool { item >= Self.linkMade }
}

extension Part {
    var crash: FaultKind {
        switch self {
        case .source: .crashSource
        case .destination: .crashDestination
        case .coordinator: .crashCoordinator
        }
    }
}

extension AbstractPair.Trouble {
    var kind: FaultKind {
        switch self {
        case .streamBreaks: .breakStream
        case .loadFails: .failLoading
        case .sourceDies: .killSource
        case .destinationDies: .killDestination
        case .guestShutsDown: .shutDownGuest
        case .runRefused: .refuseRun
        }
    }
}

extension Deadline {
    /// The bit that stands for it.
    var bit: UInt64 { 1 << UInt64(Self.numbers[self] ?? 0) }

    private static let numbers = Dictionary(uniqueKeysWithValues: zip(allCases, 0...))

    /// Whether it is only the next look at something, which always comes soon.
    var isPoll: Bool { self == .cleanupPoll || self == .runPoll || self == .resumePoll }
}
