public import Migration

/// The parties in canonical form: two parties that are equal in it behave alike from there on.
///
/// Texts are for people alone and are emptied; a standing's serial is compared by the coordinator only, with others of
/// the same side, and is left to whoever sees all standings that are under way.
extension SideStanding: CanonicalForm {
    /// Adds what the rules compare.
    public func collectSequences(into sequences: inout [Int]) { report.collectSequences(into: &sequences) }

    /// Replaces sequence numbers by ranks and empties texts.
    public mutating func canonicalise(_ ranks: Ranks) { report.canonicalise(ranks) }
}

extension StepResult {
    /// Without the words of an error.
    var withoutTexts: StepResult {
        if case .failed(let error) = self { .failed(StepError(error.kind, "")) } else { self }
    }
}

extension PartyMessage: CanonicalForm {
    /// Adds what the rules compare.
    public func collectSequences(into sequences: inout [Int]) {
        switch self {
        case .answer(_, _, let standing), .report(let standing): standing.collectSequences(into: &sequences)
        case .call, .ask, .abort, .release, .allowHandOver, .stopAtOnce, .inquire, .accepted: break
        }
    }

    /// Replaces sequence numbers by ranks and empties texts.
    public mutating func canonicalise(_ ranks: Ranks) {
        switch self {
        case .answer(let step, let result, var standing):
            standing.canonicalise(ranks)
            self = .answer(step, result.withoutTexts, standing)
        case .report(var standing):
            standing.canonicalise(ranks)
            self = .report(standing)
        case .call, .ask, .abort, .release, .allowHandOver, .stopAtOnce, .inquire, .accepted: break
        }
    }

    /// The serial of the standing it brings, if it brings one.
    public var serial: Int? {
        get {
            switch self {
            case .answer(_, _, let standing), .report(let standing): standing.serial
            case .call, .ask, .abort, .release, .allowHandOver, .stopAtOnce, .inquire, .accepted: nil
            }
        }
        set {
            guard let newValue else { return }
            switch self {
            case .answer(let step, let result, var standing):
                standing.serial = newValue
                self = .answer(step, result, standing)
            case .report(var standing):
                standing.serial = newValue
                self = .report(standing)
            case .call, .ask, .abort, .release, .allowHandOver, .stopAtOnce, .inquire, .accepted: break
            }
        }
    }
}

extension Ledger {
    /// Without the words of errors.
    public var withoutTexts: Ledger {
        var copy = self
        copy.emptyTexts()
        return copy
    }
}

extension CoordinatorLedger {
    /// Without the words of errors.
    public var withoutTexts: CoordinatorLedger {
        var copy = self
        copy.emptyTexts()
        return copy
    }
}

extension SideParty: CanonicalForm {
    /// Adds what the rules compare.
    public func collectSequences(into sequences: inout [Int]) {
        source?.core.evidence.collectSequences(into: &sequences)
        destination?.core.evidence.collectSequences(into: &sequences)
        told?.collectSequences(into: &sequences)
    }

    /// Replaces sequence numbers by ranks and empties texts.
    public mutating func canonicalise(_ ranks: Ranks) {
        source?.core.evidence.canonicalise(ranks)
        destination?.core.evidence.canonicalise(ranks)
        source?.emptyTexts()
        destination?.emptyTexts()
        told?.canonicalise(ranks)
        told?.serial = 0
        recovery = nil
        ledger.emptyTexts()
    }
}

extension CoordinatorParty: CanonicalForm {
    /// Each report is compared within itself alone.
    public func collectSequences(into sequences: inout [Int]) {}

    /// Replaces sequence numbers by ranks and empties texts.
    public mutating func canonicalise(_ ranks: Ranks) {
        source = source?.canonical
        destination = destination?.canonical
        if coordinator.error != nil { coordinator.error?.description = "" }
        coordinator.problems = coordinator.problems.isEmpty ? [] : [""]
        if result != nil {
            result?.problems = coordinator.problems
            if result?.error != nil { result?.error = "" }
            // Which of the verdicts of one word it was is told and then read by nobody.
            if let word = result?.word, let first = Verdict.allCases.first(where: { $0.word == word }) {
                result?.verdict = first
            }
        }
        ledger.emptyTexts()
    }

    /// Numbers the standing last told by a side anew, together with all others of that side that are under way.
    public mutating func renumber(_ side: Side, to serial: Int) {
        if side == .source { source?.serial = serial } else { destination?.serial = serial }
    }
}

extension SourceMachine {
    fileprivate mutating func emptyTexts() {
        if abortReason != nil { abortReason = "" }
        if case .cleaning(var cleaning) = state {
            cleaning.error.description = ""
            state = .cleaning(cleaning)
        }
    }
}

extension DestinationMachine {
    fileprivate mutating func emptyTexts() {}
}
