/// What the records are called, by their count: runs of names that go up by one, as almost all do.
struct RecordNames {
    private struct Run {
        var order: Int
        /// What is added to the count.
        var offset: Int
    }

    private var runs: [Run] = []
    private(set) var count = 0
    /// That of the last run.
    private var offset = Int.min

    /// A trace in which every other line is a comment shall not fill the memory: of the oldest records the names are
    /// forgotten then.
    private static let maximumRuns = 1 << 19

    /// Takes the next record's name.
    @inline(__always)
    mutating func append(_ name: Int) {
        count &+= 1
        let offset = name &- count
        guard offset != self.offset else { return }
        begin(offset)
    }

    private mutating func begin(_ offset: Int) {
        self.offset = offset
        if runs.count >= Self.maximumRuns { runs.removeFirst(runs.count / 2) }
        runs.append(Run(order: count, offset: offset))
    }

    /// The name of a record, counted from 1; 0 if there is no such record or it is not known any more.
    func name(of order: Int) -> Int {
        guard order > 0, order <= count else { return 0 }
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].order <= order { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? order &+ runs[low - 1].offset : 0
    }
}
