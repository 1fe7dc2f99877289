public import Migration

/// The phases that a recording of somebody else's migration went through, as far as what was sent and seen shows them.
///
/// Whoever drove it need not have known any phases; each is entered once, and never backwards.
public struct PhaseInference: Hashable, Sendable {
    private var entered: [Side: [Phase]] = [:]
    private var completed: Set<Side> = []
    private var isPostcopy = false
    private var isRunSent = false
    private var wasStopped = false
    private var isUnwinding = false

    /// Nothing was sent or seen.
    public init() {}

    /// The phases of a side in their order.
    public func phases(of side: Side) -> [Phase] { entered[side] ?? [] }

    /// Somebody sent a command.
    public mutating func sent(_ command: Command, to side: Side) -> [PhaseMove] {
        switch (side, command) {
        case (.destination, .migrateIncoming): return enter(.prepare, on: side)
        case (.source, .migrate(_, false)): return enter(.begin3, on: side) + enter(.perform3, on: side)
        case (.destination, .cont):
            isRunSent = true
            return advance()
        case (.source, .cont): return resumed()
        case (.source, .quit): return ended()
        default: return []
        }
    }

    /// Something was observed of a side.
    public mutating func observed(_ fact: Fact, of side: Side) -> [PhaseMove] {
        switch fact {
        case .event(.migration(let word)): return observed(word, of: side)
        case .reply(.queryMigrate, .migration(let sample)): return sample.status.map { observed($0, of: side) } ?? []
        case .event(.stop) where side == .source: return stopped()
        case .event(.resume) where side == .source: return resumed()
        case .reply(.queryStatus, .status(let state)) where side == .source:
            return state == .running ? resumed() : stopped()
        case .process:
            if side == .source { return ended() }
            // The guest had left and cannot arrive any more.
            isUnwinding = isUnwinding || completed.contains(.source)
            return []
        default: return []
        }
    }

    private mutating func observed(_ word: StatusWord, of side: Side) -> [PhaseMove] {
        switch word {
        case .completed: completed.insert(side)
        case .postcopyActive: isPostcopy = true
        case .cancelling, .cancelled, .failing, .failed:
            isUnwinding = isUnwinding || side == .source || completed.contains(.source)
        default: break
        }
        return advance()
    }

    private mutating func advance() -> [PhaseMove] {
        guard isPostcopy || completed.count == 2 else { return [] }
        return enter(.perform3Done, on: .source) + (isRunSent ? enter(.finish3, on: .destination) : [])
    }

    private mutating func stopped() -> [PhaseMove] {
        wasStopped = wasStopped || entered[.source] != nil
        return []
    }

    private mutating func resumed() -> [PhaseMove] {
        isUnwinding && wasStopped ? enter(.confirm3Cancelled, on: .source) : []
    }

    private mutating func ended() -> [PhaseMove] {
        phases(of: .destination).contains(.finish3) ? enter(.confirm3, on: .source) : []
    }

    private mutating func enter(_ phase: Phase, on side: Side) -> [PhaseMove] {
        let last = entered[side]?.last ?? .none
        guard phase > last else { return [] }
        // A Finish without a Prepare, a Confirm without a Begin: the recording began in the middle.
        entered[side, default: []].append(phase)
        return [PhaseMove(side: side, from: last, to: phase, owner: nil)]
    }
}

extension PhaseInference {
    /// Takes over the phases of a destination that is carried over from one attempt into the next.
    public mutating func keepDestination(of other: PhaseInference) {
        entered[.destination] = other.entered[.destination]
        isRunSent = other.isRunSent
    }
}
