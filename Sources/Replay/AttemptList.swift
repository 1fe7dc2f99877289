import Migration
import Phases

/// The attempts of a trace: the last ones as evidence, those that nothing can be added to as reports.
struct AttemptList {
    /// An attempt that is over and done with.
    private struct Archived {
        var report: AttemptReport
        var recorded: [Side: [Phase]]
        var inferred: [Side: [Phase]]
    }

    /// The attempt that is going on. It is not in an array, so that nobody copies it.
    var last = ObservedAttempt()
    private var before: [ObservedAttempt] = []
    private var base = 0
    private var archived: [Archived] = []
    /// What is written for an attempt that is gone.
    private var scratch = ObservedAttempt()
    /// The outcomes of the attempts that are not listed.
    private(set) var omitted: [String: Int] = [:]

    /// Attempts are listed up to this number, beyond it they are counted.
    static let maximumListed = 10_000
    /// So many may wait for an answer that never comes.
    private static let maximumLive = 1000

    var count: Int { base &+ before.count &+ 1 }

    /// The attempts that are not archived.
    var open: [ObservedAttempt] { before + [last] }

    subscript(_ number: Int) -> ObservedAttempt {
        @inline(__always) _read {
            if number == base &+ before.count {
                yield last
            } else if number >= base, number - base < before.count {
                yield before[number - base]
            } else {
                yield scratch
            }
        }
        @inline(__always) _modify {
            if number == base &+ before.count {
                yield &last
            } else if number >= base, number - base < before.count {
                yield &before[number - base]
            } else {
                yield &scratch
            }
        }
    }

    mutating func append(_ attempt: ObservedAttempt) {
        before.append(last)
        last = attempt
    }

    /// The number of the attempts that can be archived: before the one before the last, and before those that
    /// somebody still refers to.
    func archivable(before referred: Int) -> Int {
        let kept = min(count - 2, referred)
        return max(kept - base, before.count - Self.maximumLive, 0)
    }

    /// The oldest attempt that is not archived.
    var oldest: ObservedAttempt? { before.first }

    /// Puts the oldest attempt away; `nil` if it never was one.
    mutating func archiveOldest(as report: AttemptReport?) {
        let attempt = before.removeFirst()
        base += 1
        guard let report else { return }
        guard archived.count < Self.maximumListed else {
            omitted[report.outcomeWord, default: 0] += 1
            return
        }
        var inferred: [Side: [Phase]] = [:]
        for side in Side.allCases { inferred[side] = attempt.inference.phases(of: side) }
        archived.append(Archived(report: report, recorded: attempt.recorded, inferred: inferred))
    }

    /// The reports of what is archived.
    func archivedReports(hasPhaseRecords: Bool) -> [AttemptReport] {
        archived.map { entry in
            var report = entry.report
            let phases = hasPhaseRecords ? entry.recorded : entry.inferred
            report.source.phases = phases[.source] ?? []
            report.destination.phases = phases[.destination] ?? []
            report.source.isInferred = !hasPhaseRecords
            report.destination.isInferred = !hasPhaseRecords
            return report
        }
    }
}

/// Which sides.
struct SideSet: Hashable {
    private var bits: UInt8 = 0

    private static func bit(_ side: Side) -> UInt8 { side == .source ? 1 : 2 }

    @inline(__always)
    func contains(_ side: Side) -> Bool { bits & Self.bit(side) != 0 }

    @inline(__always)
    mutating func insert(_ side: Side) { bits |= Self.bit(side) }
}

/// Something for each side.
struct PerSide<Value> {
    var source: Value
    var destination: Value

    init(_ value: Value) {
        source = value
        destination = value
    }

    /// A copy of one side's: for what costs nothing to copy.
    @inline(__always)
    func value(_ side: Side) -> Value { side == .source ? source : destination }

    subscript(_ side: Side) -> Value {
        @inline(__always) _read {
            if side == .source { yield source } else { yield destination }
        }
        @inline(__always) _modify {
            if side == .source { yield &source } else { yield &destination }
        }
    }
}
