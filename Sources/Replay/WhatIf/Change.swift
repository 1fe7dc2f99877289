public import Trace

/// A change of a record, to see what would have come of it.
public enum Change: Hashable, Sendable {
    /// What QEMU said in this record was never heard.
    case drop(Int)
    /// What QEMU said in this record was heard that much later, in microseconds.
    case delay(Int, Int64)
    /// What QEMU said in this record was heard twice.
    case duplicate(Int)
    /// The status word in this record, or wherever this word is said, is one that nobody knows.
    case unknownStatus(StatusSelector)
    /// A further record, by its time.
    case insert(TraceRecord)
    /// Something else happened at that time since `migrate`, in microseconds, and the QEMUs did what they are known
    /// to do then.
    case assume(Assumption, Int64)

    /// Which status words.
    public enum StatusSelector: Hashable, Sendable {
        /// The one in this record.
        case record(Int)
        /// This word, wherever it is said.
        case word(String)
    }
}

/// Something that could have happened.
public enum Assumption: String, Hashable, Sendable, CaseIterable {
    /// Somebody sends `migrate_cancel` to the source.
    case cancel
    /// The source's QEMU is killed.
    case sourceKilled = "source-killed"
    /// The destination's QEMU is killed.
    case destinationKilled = "destination-killed"
    /// The connection between the QEMUs breaks.
    case networkCut = "network-cut"
    /// The guest powers itself off.
    case guestPoweroff = "guest-poweroff"
    /// The source's monitor is lost, its QEMU is not.
    case sourceMonitorLost = "source-monitor-lost"
    /// The destination's monitor is lost, its QEMU is not.
    case destinationMonitorLost = "destination-monitor-lost"
}

/// Why a change cannot be made.
public struct ChangeError: Error, Hashable, Sendable, CustomStringConvertible {
    /// In words, naming what was asked for.
    public var description: String

    /// An error.
    public init(_ description: String) { self.description = description }
}

extension Change {
    /// Reads what a person wrote after `--assume`: `cancel@12.5s`.
    ///
    /// - Returns: `nil` if it is nothing of the kind.
    public static func assumption(_ text: String) -> Change? {
        guard let at = text.lastIndex(of: "@"), let what = Assumption(rawValue: String(text[..<at])),
            let time = microseconds(text[text.index(after: at)...])
        else { return nil }
        return .assume(what, time)
    }

    /// Reads what a person wrote after `--delay-event`: `124=2s`.
    public static func delay(_ text: String) -> Change? {
        let parts = text.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, let record = Int(parts[0]), record > 0, let time = microseconds(parts[1]) else {
            return nil
        }
        return .delay(record, time)
    }

    /// A span of time with its unit: `500ms`, `12.5s`, `2min`.
    static func microseconds(_ text: Substring) -> Int64? {
        let units: [(String, Double)] = [("ms", 1e3), ("us", 1), ("min", 60e6), ("s", 1e6)]
        for (unit, factor) in units where text.hasSuffix(unit) {
            let digits = text.dropLast(unit.count)
            guard let first = digits.first, first.isASCII, first.isNumber, let number = Double(digits), number.isFinite,
                number >= 0, number * factor < 9e18
            else { return nil }
            return Int64((number * factor).rounded())
        }
        return nil
    }

    /// A few words for a person.
    public var description: String {
        switch self {
        case .drop(let record): "record \(record) was never heard"
        case .delay(let record, let time): "record \(record) was heard \(Measure.span(time)) later"
        case .duplicate(let record): "record \(record) was heard twice"
        case .unknownStatus(.record(let record)): "the status word of record \(record) is one that nobody knows"
        case .unknownStatus(.word(let word)): "QEMU says a word that nobody knows instead of '\(word)'"
        case .insert(let record): "a further \(record.member.name) at \(Measure.span(record.microseconds))"
        case .assume(let what, let time): "\(what.rawValue) at \(Measure.span(time)) after migrate"
        }
    }
}
