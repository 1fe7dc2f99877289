import Migration
import Phases

/// The names of what must always hold.
enum Property {
    static let oneCopy = "never both copies running"
    static let proof = "the source is never continued without proof"
    static let noReturn = "the source never runs again after the destination ran"
    static let notLost = "a guest that is whole somewhere is never reported lost"
    static let lastCopy = "the last copy of the guest is never ended"
    static let truth = "what is told at the end is the truth"
    static let commit = "the destination runs only by its record"
    static let grammar = "the published words follow the grammar"
    static let phases = "phases never go backwards"
    static let job = "the job is held from its first phase to its last"
    static let replay = "live and replayed give the same"
    static let cancel = "a cancel never meets a post-copy that it destroys"
    static let kept = "a guest that never left its source is never lost"
    static let tombstone = "an abandoned attempt never begins again"
    static let ends = "an attempt ends as it may"
    static let rest = "an attempt rests only where it may"
}

extension JointSystem {
    /// A job is held as long as there is a phase, and no longer.
    func jobViolation(_ party: Party) -> Violation? {
        guard let side = party.side else { return nil }
        guard (party.job != nil) != (side.ledger.phase != .none) else { return nil }
        let job = party.job?.rawValue ?? "none"
        return Violation(Property.job, "\(side.side.rawValue): phase \(side.ledger.phase.rawValue), job \(job)")
    }
}

extension Run {
    private mutating func violate(_ property: String, _ detail: @autoclosure () -> String, _ state: inout JointState) {
        guard state.violation == 0, !system.configuration.tolerated.contains(property) else { return }
        state.violation = system.violations.number(of: Violation(property, detail()))
    }

    mutating func change(_ state: inout JointState, _ body: (inout Chronicle) -> Void) {
        var chronicle = system.chronicles[state.chronicle]
        body(&chronicle)
        state.chronicle = system.chronicles.number(of: chronicle)
    }

    /// What must hold of every state, by the truth about the QEMUs.
    mutating func judge(_ state: inout JointState) {
        let pair = system.facts(of: state.pair)
        if pair.areBothRunning {
            violate(Property.oneCopy, "both QEMUs run the guest", &state)
        } else if pair.isBack {
            violate(Property.noReturn, "the source runs a guest that ran on the destination", &state)
        }
        if pair.wasDestroyed { violate(Property.cancel, "a cancel was carried out in post-copy", &state) }
    }

    /// A command is about to leave.
    mutating func check(_ command: Command, on side: Side, _ state: inout JointState) {
        let pair = system.pairs[state.pair]
        let record = system.ledgers[state.ledgers[.destination]].side
        let surrender = system.ledgers[state.ledgers[.source]].side
        let attempt = system.configuration.options.attempt
        switch (side, command) {
        case (.source, .cont):
            let isDead = pair.destination.life != .alive
            let isRefused = record?.isRefused(attempt) ?? false
            let isRun = record?.isRun(attempt) ?? false
            if pair.source.isInPostcopy {
                violate(Property.proof, "`cont` of a source in post-copy", &state)
            } else if !isDead, pair.destination.isListening {
                violate(Property.proof, "the source is continued while the destination lives", &state)
            } else if !isRefused, !isDead || isRun {
                violate(Property.proof, "the source is continued without a tombstone", &state)
            } else if pair.didDestinationRun {
                violate(Property.proof, "the source is continued, the destination ran", &state)
            }
        case (.destination, .cont):
            if system.chronicles[state.chronicle].wasAbandoned {
                violate(Property.tombstone, "`cont` for an attempt that was abandoned", &state)
            } else if !(record?.isRun(attempt) ?? false) {
                violate(Property.commit, "`cont` before the record of it", &state)
            } else if record?.isRefused(attempt) ?? false {
                violate(Property.commit, "`cont` after the tombstone", &state)
            } else if !(surrender?.isSurrendered(attempt) ?? false), pair.source.isAlive {
                violate(Property.commit, "`cont` before the source has given the guest away", &state)
            }
        case (.destination, .migrateIncoming) where system.chronicles[state.chronicle].wasAbandoned:
            violate(Property.tombstone, "the destination listens for an attempt that was abandoned", &state)
        case (_, .quit): checkEnd(of: side, by: "quit", &state)
        default: break
        }
    }

    /// A QEMU is about to be ended by us.
    mutating func checkEnd(of side: Side, by what: String, _ state: inout JointState) {
        let pair = system.pairs[state.pair]
        let isExcused = system.chronicles[state.chronicle].isLossExcused
        guard pair[side].isAlive, !isExcused else { return }
        let isWholeHere = side == .source ? pair.isWholeOnSource : pair.isWholeOnDestination
        let isWholeThere = side == .source ? pair.isWholeOnDestination : pair.isWholeOnSource
        if isWholeHere, !isWholeThere {
            violate(Property.lastCopy, "\(what) of the \(side.rawValue), which holds the only whole copy", &state)
        } else if pair.didDestinationRun, !pair.isWholeOnDestination {
            violate(Property.lastCopy, "\(what) of the \(side.rawValue) in the midst of post-copy", &state)
        }
    }

    mutating func moved(_ move: PhaseMove, _ state: inout JointState) {
        guard let ledger = system.ledgers[state.ledgers[Part(move.side)]].side else { return }
        if ledger.phase != move.from {
            violate(
                Property.phases,
                "\(move.side.rawValue): from \(move.from.rawValue), but it is \(ledger.phase.rawValue) on record",
                &state)
        } else if move.to != .none, !PhaseMoves.isLegal(move.side, from: move.from, to: move.to) {
            violate(
                Property.phases, "\(move.side.rawValue): \(move.from.rawValue) to \(move.to.rawValue)", &state)
        }
    }

    mutating func published(_ word: PublishedWord, _ state: inout JointState) {
        let last = system.chronicles[state.chronicle].published
        guard word != last else { return }
        if !PublishedGrammar.mayFollow(word, after: last) {
            violate(Property.grammar, "\(last.rawValue), then \(word.rawValue)", &state)
        }
        change(&state) { $0.published = word }
    }

    /// The end is told: is it true?
    mutating func finished(_ result: AttemptResult, _ state: inout JointState) {
        let pair = system.pairs[state.pair]
        let word = result.word
        let published = system.chronicles[state.chronicle].published
        if let allowed = configuration.allowedEnds, !allowed.contains(word) {
            violate(Property.ends, "ended \(word.rawValue), where it ends \(allowed.map(\.rawValue).sorted())", &state)
        }
        if published != word {
            violate(Property.truth, "\(word.rawValue) ended what was \(published.rawValue)", &state)
        }
        switch word {
        case .completed:
            if pair.source.isRunning { violate(Property.truth, "completed, and the source runs", &state) }
            let isWithoutRun = !configuration.isGuestRunning || configuration.options.isPausedIntended
            if pair.destination.isAlive, !pair.didDestinationRun, !isWithoutRun, !pair.didShutDown,
                pair.destination.runState != .paused || !system.mayBePaused
            {
                violate(Property.truth, "completed, and the destination never ran", &state)
            }
        case .failed, .cancelled:
            if pair.destination.isRunning {
                violate(Property.truth, "\(word.rawValue), and the destination runs", &state)
            }
        case .lost:
            if pair.isWholeOnSource || pair.isWholeOnDestination {
                violate(
                    Property.notLost, "lost, and the \(pair.isWholeOnSource ? "source" : "destination") has it", &state)
            }
            if !pair.didDestinationRun, !system.chronicles[state.chronicle].isSourceKilled {
                violate(Property.kept, "lost, and it never ran on the destination", &state)
            }
        case .ended, .undecided: break
        default: violate(Property.truth, "ended with \(word.rawValue)", &state)
        }
        change(&state) { $0.result = word }
    }
}

extension JointSystem {
    /// Somebody may have paused the guest on the way.
    var mayBePaused: Bool { configuration.requests.contains(.pauseGuest) }

    /// What a message is, in a few words.
    func describe(_ item: UInt32) -> String {
        switch item {
        case Self.linkLost: "connection lost"
        case Self.linkMade: "connection made"
        default: messages[item].brief
        }
    }
}

extension PartyMessage {
    /// A few words for a person.
    var brief: String {
        switch self {
        case .call(let step, let cookie): step.rawValue + (cookie.isSuccess.map { $0 ? " (success)" : " (back)" } ?? "")
        case .ask(let request, let origin): "\(request.rawValue) by \(origin.rawValue)"
        case .abort: "abort"
        case .release: "release"
        case .allowHandOver: "allow hand-over"
        case .stopAtOnce: "stop at once"
        case .inquire: "inquire"
        case .accepted(let step): "\(step.rawValue) accepted"
        case .answer(let step, .done, _): "\(step.rawValue) done"
        case .answer(let step, .failed(let error), _): "\(step.rawValue) failed (\(error.kind))"
        case .report(let standing): "report: \(standing.report.stage), \(standing.phase.rawValue)"
        }
    }
}

extension JointSystem {
    /// What an attempt that is over, with nothing under way any more, must have given back.
    func restViolation(_ state: JointState) -> Violation? {
        guard let word = chronicles[state.chronicle].result, word != .undecided else { return nil }
        for side in Side.allCases {
            guard let phase = ledgers[state.ledgers[Part(side)]].side?.phase else { continue }
            if phase != .none {
                return Violation(
                    Property.rest, "\(word.rawValue), and the \(side.rawValue) is still in \(phase.rawValue)")
            }
        }
        return nil
    }
}
