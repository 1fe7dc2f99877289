import Migration
import Phases

/// What is asked of a pair at every step.
struct PairFacts: Sendable {
    var isDead: BySide<Bool>
    var areBothRunning: Bool
    /// The source runs a guest that ran on the destination.
    var isBack: Bool
    var wasDestroyed: Bool
}

/// An effect with all that belongs to it by number, so that it is carried out without looking at the effect itself.
struct CompiledEffect: Sendable {
    enum Kind: Sendable {
        /// The input that tells the program that its command left, and the command with its side for QEMU.
        case send(Command, outOfBand: Bool, sent: UInt32, receipt: UInt32)
        case survey(UInt32)
        case persist(UInt32, JournalRecord?, isTombstone: Bool)
        case phase(PhaseMove, UInt32, JournalRecord?)
        case message(Direction, UInt32)
        case arm(UInt64)
        case disarm(UInt64)
        case kill
        case publish(PublishedWord)
        case finished(AttemptResult)
        /// No attempt that is explored has a lock manager, and a refusal changes nothing.
        case nothing
    }

    var kind: Kind
    /// Whether a crash before it differs from one after it.
    var matters: Bool
    var isSend: Bool
}

/// What a QEMU says, as the input that its side will read.
struct HeardSaying: Sendable {
    var side: Side
    var input: UInt32
}

extension JointSystem {
    func heard(_ saying: Saying) -> HeardSaying {
        HeardSaying(side: saying.side, input: inputs.number(of: .side(.fact(saying.fact))))
    }

    func facts(of pair: UInt32) -> PairFacts {
        pairFacts.value(pair, 0) {
            let pair = pairs[pair]
            var isDead = BySide(false)
            for side in Side.allCases { isDead[side] = pair[side].life == .dead }
            return PairFacts(
                isDead: isDead, areBothRunning: pair.areBothRunning,
                isBack: pair.didDestinationRun && pair.source.isRunning, wasDestroyed: pair.wasDestroyed)
        }
    }

    /// An effect of a program's, by number.
    func compiled(_ effect: UInt32, _ part: Part) -> CompiledEffect {
        compiledEffects.value(effect, UInt32(part.rawValue)) {
            let whole = effects[effect]
            return CompiledEffect(kind: kind(whole, effect, part), matters: whole.matters, isSend: whole.isSend)
        }
    }

    private func kind(_ effect: PartyEffect, _ number: UInt32, _ part: Part) -> CompiledEffect.Kind {
        switch effect {
        case .side(let effect):
            guard let side = part.side else { return .nothing }
            switch effect {
            case .send(let command, let outOfBand):
                return .send(
                    command, outOfBand: outOfBand, sent: inputs.number(of: .side(.sent(command))),
                    receipt: number << 1 | (side == .source ? 0 : 1))
            case .survey: return .survey(inputs.number(of: .side(survey(side))))
            case .persist(let record):
                let kept = kept(record, part)
                var isTombstone = false
                if case .refused = record { isTombstone = true }
                return .persist(kept.map { records.number(of: $0) } ?? 0, kept, isTombstone: isTombstone)
            case .phase(let move):
                let kept = kept(.phase(move), part)
                return .phase(move, kept.map { records.number(of: $0) } ?? 0, kept)
            case .message(let message):
                return .message(Direction(side: side, isToCoordinator: true), messages.number(of: message))
            case .arm(let deadline, _): return .arm(deadline.bit)
            case .disarm(let deadline): return .disarm(deadline.bit)
            case .lease: return .nothing
            case .kill: return .kill
            }
        case .coordinator(let effect):
            switch effect {
            case .message(let side, let message):
                return .message(Direction(side: side, isToCoordinator: false), messages.number(of: message))
            case .publish(let status): return .publish(status.word)
            case .persist(let record):
                let kept = kept(record, part)
                return .persist(kept.map { records.number(of: $0) } ?? 0, kept, isTombstone: false)
            case .arm(let deadline, _): return .arm(deadline.bit)
            case .disarm(let deadline): return .disarm(deadline.bit)
            case .finished(let result): return .finished(result)
            case .refused: return .nothing
            }
        }
    }

    /// What reaches the disk.
    private func kept(_ record: JournalRecord, _ part: Part) -> JournalRecord? {
        configuration.mutant.map { $0.record(part, record) } ?? record
    }

    /// A message as an input of whoever receives it.
    func input(of message: UInt32, _ direction: Direction) -> UInt32 {
        handedInputs.value(message, UInt32(direction.index)) {
            let message = messages[message]
            return inputs.number(
                of: direction.isToCoordinator
                    ? .coordinator(.message(from: direction.side, message)) : .side(.message(message)))
        }
    }

    /// The serial of a message; -1 for one without.
    func serial(of message: UInt32) -> Int { serials.value(message, 0) { messages[message].serial ?? -1 } }

    /// The message with another serial.
    func message(_ number: UInt32, numbered serial: Int) -> UInt32 {
        numbered.value(number, UInt32(serial)) {
            var message = messages[number]
            message.serial = serial
            return messages.number(of: message)
        }
    }
}
