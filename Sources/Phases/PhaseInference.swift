public import Migration

/// The phases that a recording of somebody else's migration went through, as far as what was sent and seen shows them.
///
/// Whoever drove it need not have known any phases. None is entered backwards; only from `postcopy_failed` on, as with
/// libvirt, a phase may come again: every recovery is another Begin and Prepare.
public struct PhaseInference: Hashable, Sendable {
    private var entered: [Side: [Phase]] = [:]
    private var completed: Set<Side> = []
    /// The sides that said themselves that memory follows the guest.
    private var inPostcopy: Set<Side> = []
    private var isRunSent = false
    private var wasStopped = false
    private var isUnwinding = false
    /// `query-migrate` commands of the source that are not answered yet, and how many of them left before the resume
    /// did.
    private var openQueries = 0
    private var staleQueries = 0

    /// Nothing was sent or seen.
    public init() {}

    /// The phases of a side in their order.
    public func phases(of side: Side) -> [Phase] { entered[side] ?? [] }

    private func last(_ side: Side) -> Phase { entered[side]?.last ?? .none }

    /// Somebody sent a command.
    public mutating func sent(_ command: Command, to side: Side) -> [PhaseMove] {
        switch (side, command) {
        case (.destination, .migrateIncoming): return enter(.prepare, on: side)
        case (.destination, .migrateRecover): return inPostcopy.isEmpty ? [] : enter(.prepareResume, on: side)
        case (.source, .migrate(_, false)): return enter(.begin3, on: side) + enter(.perform3, on: side)
        case (.source, .migrate(_, true)):
            staleQueries = openQueries
            return inPostcopy.isEmpty ? [] : resumeBegan()
        case (.destination, .cont):
            isRunSent = true
            return advance()
        case (.source, .cont): return resumed()
        case (.source, .quit): return ended()
        case (.source, .queryMigrate):
            openQueries += 1
            return []
        default: return []
        }
    }

    /// Something was observed of a side.
    public mutating func observed(_ fact: Fact, of side: Side) -> [PhaseMove] {
        switch fact {
        case .event(.migration(let word)): return observed(word, of: side, byQuery: false)
        case .reply(.queryMigrate, let reply): return queried(reply, side)
        case .unanswered(.queryMigrate): return queried(.done, side)
        case .reply(.migrateRecover, .refused): return recoveryFailed(side)
        case .reply(.migrate(_, true), let reply): return resumeAnswered(reply)
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

    /// Counts a `query-migrate` that left.
    public mutating func repeatQuery(to side: Side) {
        if side == .source { openQueries += 1 }
    }

    /// Whether an answer to `query-migrate` is of the time after the last resume.
    public func canRepeatAnswer(of side: Side) -> Bool { side != .source || staleQueries == 0 }

    /// Counts an answer that shows what was shown before.
    public mutating func repeatAnswer(of side: Side) {
        if side == .source, openQueries > 0 { openQueries -= 1 }
    }

    private mutating func queried(_ reply: Reply, _ side: Side) -> [PhaseMove] {
        var isStale = false
        if side == .source {
            if openQueries > 0 { openQueries -= 1 }
            isStale = staleQueries > 0
            if isStale { staleQueries -= 1 }
        }
        guard !isStale, case .migration(let sample) = reply, let word = sample.status else { return [] }
        return observed(word, of: side, byQuery: true)
    }

    private mutating func observed(_ word: StatusWord, of side: Side, byQuery: Bool) -> [PhaseMove] {
        switch word {
        case .completed:
            completed.insert(side)
            // Without anybody's Finish or after it: the recovery was the last step that was missing.
            guard side == .destination, last(side) >= .postcopyFailed else { return advance() }
            return advance() + enter(.finishResume, on: side)
        case .postcopyActive:
            inPostcopy.insert(side)
            return advance() + recovered(side)
        case .postcopyPaused:
            inPostcopy.insert(side)
            // A destination that listens for the recovery is paused until its source comes.
            if byQuery, side == .destination, last(side) == .prepareResume { return [] }
            return advance() + enter(.postcopyFailed, on: side)
        case .postcopyRecoverSetup, .postcopyRecover:
            inPostcopy.insert(side)
            // Somebody's command that was not recorded.
            guard last(side) <= .postcopyFailed else { return advance() }
            return advance() + (side == .source ? resumeBegan() : enter(.prepareResume, on: side))
        case .cancelling, .cancelled, .failing, .failed:
            // The guest cannot come back from post-copy.
            if inPostcopy.contains(side) { return enter(.postcopyFailed, on: side) }
            isUnwinding = isUnwinding || side == .source || completed.contains(.source)
            return advance()
        default: return advance()
        }
    }

    private mutating func advance() -> [PhaseMove] {
        let isBoth = completed.count == 2
        var moves: [PhaseMove] = []
        if isBoth || inPostcopy.contains(.source) { moves += enter(.perform3Done, on: .source) }
        if isRunSent, isBoth || !inPostcopy.isEmpty { moves += enter(.finish3, on: .destination) }
        return moves
    }

    // MARK: Post-copy recovery

    private mutating func resumeBegan() -> [PhaseMove] {
        enter(.beginResume, on: .source) + enter(.performResume, on: .source)
    }

    private mutating func resumeAnswered(_ reply: Reply) -> [PhaseMove] {
        if case .refused = reply { return recoveryFailed(.source) }
        return []
    }

    private mutating func recoveryFailed(_ side: Side) -> [PhaseMove] {
        last(side) > .postcopyFailed ? enter(.postcopyFailed, on: side) : []
    }

    /// Memory follows again.
    private mutating func recovered(_ side: Side) -> [PhaseMove] {
        switch (side, last(side)) {
        case (.source, .postcopyFailed): resumeBegan()
        case (.destination, .postcopyFailed), (.destination, .prepareResume): enter(.finishResume, on: side)
        default: []
        }
    }

    // MARK: The source's end

    private mutating func stopped() -> [PhaseMove] {
        wasStopped = wasStopped || entered[.source] != nil
        return []
    }

    private mutating func resumed() -> [PhaseMove] {
        isUnwinding && wasStopped && !inPostcopy.contains(.source) ? enter(.confirm3Cancelled, on: .source) : []
    }

    private mutating func ended() -> [PhaseMove] {
        let isFinished = phases(of: .destination).contains { $0 == .finish3 || $0 == .finishResume }
        guard isFinished, completed.contains(.source) else { return [] }
        return enter(last(.source) < .postcopyFailed ? .confirm3 : .confirmResume, on: .source)
    }

    private mutating func enter(_ phase: Phase, on side: Side) -> [PhaseMove] {
        let last = self.last(side)
        guard phase != last, phase > last || phase >= .postcopyFailed else { return [] }
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
