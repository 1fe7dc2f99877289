/// A state that can be told apart from others only by what the rules read: who came before whom, what is there, and
/// none, one or many.
///
/// Two states with the same canonical form behave alike from there on, whatever their sequence numbers, times, counts
/// and texts are; that is what keeps the number of states finite when all of them are explored. A whole state is
/// brought into its form in two passes: every part adds the sequence numbers that rules compare, then every part
/// replaces its own by their ranks. `canonical` does both for a value on its own.
public protocol CanonicalForm {
    /// Adds the sequence numbers that rules compare with one another. Order and repetition do not matter.
    func collectSequences(into sequences: inout [Int])

    /// Replaces sequence numbers by ranks, times by zero, counts above one by two; empties texts that are for people
    /// alone.
    ///
    /// - Parameter ranks: The ranks of all numbers of the whole state, not of this part alone.
    mutating func canonicalise(_ ranks: Ranks)
}

extension CanonicalForm {
    /// The canonical form of this value on its own.
    public var canonical: Self {
        var sequences: [Int] = []
        collectSequences(into: &sequences)
        var copy = self
        copy.canonicalise(Ranks(sequences))
        return copy
    }
}

/// The ranks of a set of sequence numbers: 1 for the smallest, equal numbers have equal ranks.
public struct Ranks: Hashable, Sendable {
    private let sorted: [Int]

    /// The ranks of these numbers, in any order and with repetitions.
    public init(_ sequences: [Int]) {
        var unique: [Int] = []
        for sequence in sequences.sorted() where sequence != unique.last { unique.append(sequence) }
        sorted = unique
    }

    /// The rank of a number; 0 for one that was not collected, which means that no rule compares it.
    public subscript(_ sequence: Int) -> Int {
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] < sequence { low = middle + 1 } else { high = middle }
        }
        return low < sorted.count && sorted[low] == sequence ? low + 1 : 0
    }

    /// The rank of a number that may be missing.
    public subscript(_ sequence: Int?) -> Int? { sequence.map { self[$0] } }
}

extension Int {
    /// None, one or many: what rules may read of a count.
    public var canonicalCount: Int { Swift.min(Swift.max(self, 0), 2) }
}

extension Instant {
    /// No rule reads a time.
    static let zero = Instant(microseconds: 0)
}

extension WordNote: CanonicalForm {
    /// Adds the sequence numbers that rules compare.
    public func collectSequences(into sequences: inout [Int]) { sequences.append(sequence) }

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) { sequence = ranks[sequence] }
}

extension Evidence: CanonicalForm {
    /// Adds the sequence numbers that rules compare.
    public func collectSequences(into sequences: inout [Int]) {
        triggers.collectSequences(into: &sequences)
        events.collectSequences(into: &sequences)
        words.first?.collectSequences(into: &sequences)
        if let failureElsewhere { sequences.append(failureElsewhere) }
    }

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) { rewrite(ranks) }
}

extension SideReport: CanonicalForm {
    /// Adds the sequence numbers that rules compare.
    public func collectSequences(into sequences: inout [Int]) {
        for case let sequence? in [opened, completed, ended, gone, guestShutdown, ran, runSent, stopped, resumed] {
            sequences.append(sequence)
        }
    }

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) {
        opened = ranks[opened]
        completed = ranks[completed]
        ended = ranks[ended]
        gone = ranks[gone]
        guestShutdown = ranks[guestShutdown]
        ran = ranks[ran]
        runSent = ranks[runSent]
        stopped = ranks[stopped]
        resumed = ranks[resumed]
        if errorDescription != nil { errorDescription = "" }
    }
}

extension Reason: CanonicalForm {
    /// Reasons are for people: nothing is decided by them.
    public func collectSequences(into sequences: inout [Int]) {}

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) {
        sequence = 0
        what = ""
    }
}

extension Position: CanonicalForm {
    /// Adds the sequence numbers that rules compare.
    public func collectSequences(into sequences: inout [Int]) {}

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) { reasons = [] }
}
