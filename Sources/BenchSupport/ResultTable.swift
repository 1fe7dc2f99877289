/// Figures of a benchmark as lines of aligned text.
public struct ResultTable: Sendable {
    /// What is to be reached.
    public enum Goal: Hashable, Sendable {
        /// At most this value.
        case atMost(Double)
        /// At least this value.
        case atLeast(Double)
        /// At most this ratio to the floor's median.
        case ratio(Double)
    }

    private struct Row {
        var cells: [String]
    }

    private let title: String
    private var rows: [Row] = []
    /// Whether all goals were reached so far.
    public private(set) var isReached = true

    /// A table with nothing in it.
    public init(title: String) {
        self.title = title
        rows.append(Row(cells: ["", "unit", "n", "p50", "p99", "of floor", "goal", ""]))
    }

    /// Adds a line.
    public mutating func add(
        _ name: String, _ unit: String, _ samples: Samples, floor: Samples? = nil, goal: Goal? = nil
    ) {
        guard let median = samples.median, let p99 = samples.p99 else {
            rows.append(Row(cells: [name, unit, "0", "-", "-", "-", "-", ""]))
            return
        }
        let ratio = floor?.median.flatMap { $0 > 0 ? median / $0 : nil }
        var (wanted, verdict) = ("", "")
        switch goal {
        case .atMost(let limit):
            wanted = "<= \(Self.text(limit))"
            verdict = median <= limit ? "met" : "MISSED"
        case .atLeast(let limit):
            wanted = ">= \(Self.text(limit))"
            verdict = median >= limit ? "met" : "MISSED"
        case .ratio(let limit):
            wanted = "<= \(Self.text(limit))x"
            verdict = ratio.map { $0 <= limit ? "met" : "MISSED" } ?? ""
        case nil: break
        }
        if verdict == "MISSED" { isReached = false }
        rows.append(
            Row(cells: [
                name, unit, String(samples.count), Self.text(median), Self.text(p99),
                ratio.map { "\(Self.text($0))x" } ?? "", wanted, verdict,
            ]))
    }

    /// Adds a line that says why there are no figures.
    public mutating func note(_ name: String, _ why: String) {
        rows.append(Row(cells: ["\(name): \(why)"]))
    }

    /// The lines.
    public var lines: [String] {
        var widths: [Int] = []
        for row in rows where row.cells.count > 1 {
            for (column, cell) in row.cells.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return [title]
            + rows.map { row in
                guard row.cells.count > 1 else { return "  " + (row.cells.first ?? "") }
                let cells = row.cells.enumerated().map { column, cell in
                    let padding = String(repeating: " ", count: widths[column] - cell.count)
                    return column == 0 || column == 1 || column == 7 ? cell + padding : padding + cell
                }
                return ("  " + cells.joined(separator: "  ")).trimmingEnd
            }
    }

    /// A number with as many digits as mean something.
    public static func text(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return String(value) }
        let digits = abs(value) >= 1000 ? 0 : abs(value) >= 100 ? 1 : abs(value) >= 10 ? 2 : 3
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((abs(value) * scale).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(scaled)" }
        let fraction = String(scaled % Int64(scale))
        return "\(sign)\(scaled / Int64(scale)).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }
}

extension String {
    fileprivate var trimmingEnd: String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
