/// A kind of row that has a fixed place in a table.
protocol TableKind: CaseIterable, Hashable, Sendable {
    /// The place: the position in `allCases`, below 64.
    var place: Int { get }
}

/// Rows by kind: at most one of each, side by side in the order of their kinds, and a bit for each kind that is there.
///
/// Looking up is a shift and a population count; a copy is one reference; comparing and hashing touch only the rows
/// that are there.
struct DenseTable<Kind: TableKind, Row: Hashable & Sendable>: Hashable, Sendable {
    private var present: UInt64 = 0
    private(set) var rows: [Row] = []

    private static func bit(_ kind: Kind) -> UInt64 { 1 &<< UInt64(truncatingIfNeeded: kind.place) }

    /// How many rows lie before that of a kind.
    private func index(_ bit: UInt64) -> Int { (present & (bit &- 1)).nonzeroBitCount }

    func has(_ kind: Kind) -> Bool { present & Self.bit(kind) != 0 }

    subscript(_ kind: Kind) -> Row? {
        let bit = Self.bit(kind)
        return present & bit == 0 ? nil : rows[index(bit)]
    }

    /// Changes the row of a kind in place, or puts `fresh` where there is none.
    mutating func update(_ kind: Kind, orInsert fresh: @autoclosure () -> Row?, _ change: (inout Row) -> Void) {
        let bit = Self.bit(kind)
        let index = index(bit)
        if present & bit != 0 {
            change(&rows[index])
        } else if let row = fresh() {
            if rows.isEmpty { rows.reserveCapacity(8) }
            rows.insert(row, at: index)
            present |= bit
        }
    }

    /// Takes rows out.
    mutating func removeAll(where isOut: (Row) -> Bool) {
        for kind in Kind.allCases {
            let bit = Self.bit(kind)
            guard present & bit != 0, isOut(rows[index(bit)]) else { continue }
            rows.remove(at: index(bit))
            present &= ~bit
        }
    }

    /// Changes every row.
    mutating func updateAll(_ change: (inout Row) -> Void) {
        for index in rows.indices { change(&rows[index]) }
    }
}
