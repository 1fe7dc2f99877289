/// What a state may still spend: up to sixteen counts of at most seven, and a bound on some of them together.
///
/// Whatever can happen with less can happen with more: a state that was visited with at least as much need not be visited again.
public struct Allowance: Hashable, Sendable {
    /// Four bits for each count, of which the highest is never set.
    var counts: UInt64
    /// How many of them together.
    var total: UInt8

    /// Nothing to spend.
    public static let nothing = Allowance(counts: 0, total: 0)

    /// Whether this is at least as much in every respect.
    @inline(__always)
    func covers(_ other: Allowance) -> Bool {
        let high: UInt64 = 0x8888_8888_8888_8888
        return ((counts | high) &- other.counts) & high == high && total >= other.total
    }
}

/// The visited states: fingerprints by number, with what each may still spend and an open-addressed index of numbers. Some 36 bytes for each.
///
/// Written by one thread only; read by several while nobody writes.
final class VisitedTable: @unchecked Sendable {
    private(set) var fingerprints: [Fingerprint] = []
    private var allowances: [Allowance] = []
    private var slots: [UInt32]
    private var mask: Int

    init() {
        slots = [UInt32](repeating: .max, count: 1 << 12)
        mask = slots.count - 1
    }

    var count: Int { fingerprints.count }

    /// The number of a state that was visited with at least this allowance.
    func number(of fingerprint: Fingerprint, _ allowance: Allowance) -> UInt32? {
        var slot = Int(truncatingIfNeeded: fingerprint.low) & mask
        while slots[slot] != .max {
            let number = Int(slots[slot])
            if fingerprints[number] == fingerprint, allowances[number].covers(allowance) { return slots[slot] }
            slot = (slot + 1) & mask
        }
        return nil
    }

    /// Puts a state in. Returns its number, or that of one which can do all that it can, and whether it is new.
    func insert(_ fingerprint: Fingerprint, _ allowance: Allowance) -> (number: UInt32, isNew: Bool) {
        if let known = number(of: fingerprint, allowance) { return (known, false) }
        if fingerprints.count * 2 >= slots.count { grow() }
        var slot = Int(truncatingIfNeeded: fingerprint.low) & mask
        while slots[slot] != .max { slot = (slot + 1) & mask }
        let number = UInt32(fingerprints.count)
        slots[slot] = number
        fingerprints.append(fingerprint)
        allowances.append(allowance)
        return (number, true)
    }

    private func grow() {
        slots = [UInt32](repeating: .max, count: slots.count * 2)
        mask = slots.count - 1
        for (number, fingerprint) in fingerprints.enumerated() {
            var slot = Int(truncatingIfNeeded: fingerprint.low) & mask
            while slots[slot] != .max { slot = (slot + 1) & mask }
            slots[slot] = UInt32(number)
        }
    }
}

/// Who leads where, so that it can be asked from where an end can be reached. Four bytes for each transition.
struct SuccessorGraph {
    private var offsets: [UInt64] = [0]
    private var targets: [UInt32] = []

    mutating func append(_ successors: some Sequence<UInt32>) {
        targets.append(contentsOf: successors)
        offsets.append(UInt64(targets.count))
    }

    /// The first state, by number, from which no state in `ends` can be reached; exact for the graph that was explored.
    ///
    /// Breadth-first numbers mostly grow along a transition, so sweeps from the last state to the first settle nearly everything at once;
    /// they are repeated until nothing changes.
    func firstThatCannotReach(_ ends: [Bool]) -> Int? {
        var reaches = ends
        var isChanged = true
        while isChanged {
            isChanged = false
            for state in stride(from: offsets.count - 2, through: 0, by: -1) where !reaches[state] {
                let range = Int(offsets[state])..<Int(offsets[state + 1])
                if targets[range].contains(where: { reaches[Int($0)] }) {
                    reaches[state] = true
                    isChanged = true
                }
            }
        }
        return reaches.indices.first { !reaches[$0] && $0 < offsets.count - 1 }
    }
}
