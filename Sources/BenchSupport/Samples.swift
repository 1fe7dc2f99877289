/// Measurements of one quantity.
public struct Samples: Hashable, Sendable {
    /// The values, in the order in which they were taken.
    public private(set) var values: [Double]

    /// Samples with these values.
    public init(_ values: [Double] = []) { self.values = values }

    /// Adds a measurement.
    public mutating func add(_ value: Double) { values.append(value) }

    /// Adds many.
    public mutating func add(_ more: [Double]) { values += more }

    /// How many there are.
    public var count: Int { values.count }

    /// The value below or at which this share of all values lies (nearest rank); `nil` if there are none.
    public func percentile(_ share: Double) -> Double? {
        guard !values.isEmpty, share >= 0, share <= 1 else { return nil }
        let rank = Int((share * Double(values.count)).rounded(.up))
        return values.sorted()[min(max(rank, 1), values.count) - 1]
    }

    /// The middle value; between the two middle ones of an even number.
    public var median: Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    /// The value that one in a hundred exceeds; with fewer than a hundred values the largest.
    public var p99: Double? { percentile(0.99) }
}
