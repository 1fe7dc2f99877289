import Migration
import Phases

/// A program of the joint system: a side or the coordinator.
enum Party: Hashable, Sendable {
    case crashed
    case side(SideParty)
    case coordinator(CoordinatorParty)

    /// A number beyond all ranks: what comes now comes last.
    static let now = 1_000_000
    /// The serial of the standing that a coordinator knows of a side; ranks of others lie around it.
    static let knownSerial = 1_000

    mutating func apply(_ input: PartyInput, sequence: Int = now, at time: Instant = .start) -> [PartyEffect] {
        switch (self, input) {
        case (.side(var party), .side(let input)):
            let effects = party.apply(input, sequence: sequence, at: time)
            self = .side(party)
            return effects.map { .side($0) }
        case (.coordinator(var party), .coordinator(let input)):
            let effects = party.apply(input, sequence: sequence, at: time)
            self = .coordinator(party)
            return effects.map { .coordinator($0) }
        default: return []
        }
    }

    /// What can be told apart by what it does.
    var canonical: Party {
        switch self {
        case .crashed: return self
        case .side(let party): return .side(party.canonical)
        case .coordinator(let party):
            var party = party.canonical
            for side in Side.allCases { party.renumber(side, to: Self.knownSerial) }
            return .coordinator(party)
        }
    }

    var side: SideParty? { if case .side(let party) = self { party } else { nil } }
    var coordinator: CoordinatorParty? { if case .coordinator(let party) = self { party } else { nil } }

    /// The job that a side's machine holds.
    var job: Job? { side.flatMap { $0.source?.job.job ?? $0.destination?.job.job } }
}

enum PartyInput: Hashable, Sendable {
    case side(SideInput)
    case coordinator(CoordinatorInput)
}

enum PartyEffect: Hashable, Sendable {
    case side(SideEffect)
    case coordinator(CoordinatorEffect)

    /// In canonical form where it goes to somebody who keeps it.
    var canonical: PartyEffect {
        switch self {
        case .side(.message(let message)): .side(.message(message.canonical))
        case .side(.persist(let record)): .side(.persist(record.withoutTexts))
        case .coordinator(.persist(let record)): .coordinator(.persist(record.withoutTexts))
        case .coordinator(.finished(let result)): .coordinator(.finished(result.withoutTexts))
        default: self
        }
    }

    /// Without what only tells which record it was.
    var unnumbered: PartyEffect {
        guard case .side(.message(var message)) = canonical else { return canonical }
        message.serial = message.serial.map { _ in 0 }
        return .side(.message(message))
    }

    /// Whether a crash before it differs from one after it.
    var matters: Bool {
        switch self {
        case .side(.arm), .side(.disarm), .coordinator(.arm), .coordinator(.disarm), .coordinator(.publish): false
        default: true
        }
    }

    var isSend: Bool { if case .side(.send) = self { true } else { false } }
}

extension Instant {
    static let start = Instant(microseconds: 0)
}

extension JournalRecord {
    var withoutTexts: JournalRecord {
        if case .answered(let step, .failed(let error)) = self {
            .answered(step, .failed(StepError(error.kind, "")))
        } else {
            self
        }
    }
}

/// What is on the disk of a program.
enum DiskLedger: Hashable, Sendable {
    case none
    case side(Ledger)
    case coordinator(CoordinatorLedger)

    mutating func note(_ record: JournalRecord) {
        switch self {
        case .none: break
        case .side(var ledger):
            ledger.note(record)
            self = .side(ledger)
        case .coordinator(var ledger):
            ledger.note(record)
            self = .coordinator(ledger)
        }
    }

    var side: Ledger? { if case .side(let ledger) = self { ledger } else { nil } }
    var coordinator: CoordinatorLedger? { if case .coordinator(let ledger) = self { ledger } else { nil } }
}

/// A bug that is put in from outside: what a program is told, what it does, or what reaches its disk is changed on the way.
struct Mutant: Sendable {
    var name: String
    /// What the bug is, for a person.
    var about: String
    /// The properties of which one must catch it.
    var caughtBy: Set<String>
    var inputs: @Sendable (Part, PartyInput, Party) -> [PartyInput] = { _, input, _ in [input] }
    /// The program after the input, the input, the effects.
    var effects: @Sendable (Part, PartyInput, Party, [PartyEffect]) -> [PartyEffect] = { _, _, _, done in done }
    var record: @Sendable (Part, JournalRecord) -> JournalRecord? = { _, record in record }
}

extension AttemptResult {
    var withoutTexts: AttemptResult {
        AttemptResult(
            verdict: verdict, isRunning: isRunning, error: error.map { _ in "" }, problems: [], cancel: cancel)
    }
}
