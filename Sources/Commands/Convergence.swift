import Migration

/// What the last numbers say about how the copying will go on.
enum Convergence: Hashable {
    /// Too early to say.
    case unknown
    /// The rest, and then the switchover, in about this long.
    case arrives(milliseconds: Double)
    /// The guest writes as fast as its memory is sent: what it would take to move it all the same.
    case stuck(neededMilliseconds: Double, neededBytesPerSecond: Double)

    /// Judges a sample.
    ///
    /// Only from the second pass on: in the first one, what is left says nothing about how fast the guest writes.
    init(_ sample: MigrationSample, downtimeLimitMilliseconds: Double) {
        guard let remaining = sample.remainingBytes, let megabits = sample.megabitsPerSecond, megabits > 0,
            let iteration = sample.iteration, iteration >= 2, let pages = sample.dirtyPagesPerSecond,
            let page = sample.pageBytes
        else {
            self = .unknown
            return
        }
        let rate = megabits * 1e6 / 8
        let dirty = Double(pages) * Double(page)
        if dirty < rate * 0.9 {
            self = .arrives(milliseconds: Double(remaining) / (rate - dirty) * 1000)
            return
        }
        // QEMU's own expectation is what the last pass found dirty, sent at the measured rate.
        let needed = sample.expectedDowntimeMilliseconds.map(Double.init) ?? Double(remaining) / rate * 1000
        if needed <= downtimeLimitMilliseconds {
            self = .arrives(milliseconds: Double(remaining) / rate * 1000)
        } else {
            self = .stuck(
                neededMilliseconds: needed,
                neededBytesPerSecond: needed * rate / max(1, downtimeLimitMilliseconds))
        }
    }

    /// For a person.
    var text: String? {
        switch self {
        case .unknown: nil
        case .arrives(let milliseconds): "about \(Quantity.time(milliseconds: milliseconds)) left"
        case .stuck(let downtime, let rate):
            "will not converge at this dirty rate: needs a downtime of \(Quantity.time(milliseconds: downtime)) or "
                + "\(Quantity.bytes(Int64(min(rate, 9e18))))/s"
        }
    }
}
