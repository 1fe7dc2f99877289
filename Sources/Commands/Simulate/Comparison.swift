import JSONC
import MigrationQMP
import Policy
import Replay

/// What came of policies, beside each other.
struct Comparison {
    /// Policies under the same circumstances.
    struct Scenario {
        /// What the circumstances rest on.
        enum Kind: String {
            case model, recording, extrapolation
        }

        var kind: Kind
        var title: String
        var note: String
        var trials: [PolicyTrial]
    }

    var scenarios: [Scenario]

    private static let sparkWidth = 36

    // MARK: Text

    func text(withDecisions: Bool) -> String {
        scenarios.map { scenario in
            var lines = [Console.safe(scenario.title), "  " + scenario.note, ""]
            lines += table(scenario).map { "  " + $0 }
            lines += ["", "  bytes left in the first \(Self.span(scenario.end)), each mark the most in its stretch:"]
            let width = scenario.trials.map(\.policy.count).max() ?? 0
            for trial in scenario.trials {
                lines.append("  " + Self.padded(trial.policy, width) + "  " + spark(trial, scenario))
            }
            if withDecisions { lines += scenario.trials.flatMap(Self.decisions) }
            return lines.joined(separator: "\n")
        }.joined(separator: "\n\n")
    }

    private func table(_ scenario: Scenario) -> [String] {
        var rows = [["policy", "ends", "after", "pause", "limit", "passes", "sent", "throttle", "why"]]
        for trial in scenario.trials {
            rows.append([
                trial.policy, trial.verdict.rawValue, Self.span(trial.elapsedMilliseconds),
                trial.pauseMilliseconds.map(Self.span) ?? "-", Self.span(trial.downtimeMilliseconds),
                String(trial.iterations), Quantity.bytes(trial.transferredBytes),
                trial.maximumThrottle > 0 ? "\(trial.maximumThrottle) %" : "-", PlainText.line(trial.basis),
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += column == row.count - 1 ? cell : Self.padded(cell, widths[column]) + "  "
            }
            return line
        }
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    static func span(_ milliseconds: Int64) -> String {
        milliseconds == 0 ? "0" : Quantity.time(milliseconds: Double(milliseconds))
    }

    private func spark(_ trial: PolicyTrial, _ scenario: Scenario) -> String {
        let marks = Array("▁▂▃▄▅▆▇█")
        let most = Double(max(1, scenario.trials.flatMap { $0.curve.map(\.remainingBytes) }.max() ?? 1))
        let end = max(1, scenario.end)
        var columns: [Int64?] = Array(repeating: nil, count: Self.sparkWidth)
        for point in trial.curve {
            guard point.elapsedMilliseconds <= end else { break }
            let share = Double(point.elapsedMilliseconds) / Double(end)
            let column = min(Self.sparkWidth - 1, max(0, Int(share * Double(Self.sparkWidth))))
            columns[column] = max(columns[column] ?? 0, point.remainingBytes)
        }
        guard let last = columns.lastIndex(where: { $0 != nil }) else { return "" }
        var known: Int64 = columns.compactMap(\.self).first ?? 0
        return String(
            columns[...last].map { value -> Character in
                known = value ?? known
                let height = Int((Double(max(0, known)) / most * Double(marks.count - 1)).rounded(.up))
                return marks[min(marks.count - 1, height)]
            })
    }

    private static func decisions(_ trial: PolicyTrial) -> [String] {
        var lines = ["", "  \(trial.policy)"]
        for decision in trial.decisions.prefix(200) {
            var line = "    \(span(decision.elapsedMilliseconds))  \(PlainText.line(decision.effect.text))"
            line += "  [\(PlainText.line(decision.rule))"
            if let step = decision.step { line += ", step \(step)" }
            let numbers = decision.readings.map { reading in
                "\(reading.name) = \(reading.value.map { number($0) } ?? "unknown")"
            }
            line += numbers.isEmpty ? "]" : ": \(numbers.joined(separator: ", "))]"
            lines.append(line)
        }
        let omitted = trial.omittedDecisions + max(0, trial.decisions.count - 200)
        if omitted > 0 { lines.append("    \(omitted) more") }
        if trial.decisions.isEmpty { lines.append("    nothing") }
        return lines
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : Quantity.decimal(value, places: 3)
    }

    // MARK: JSON

    var json: JSONValue {
        [
            "godwit-simulation": 1,
            "scenarios": .array(
                scenarios.map { scenario in
                    [
                        "kind": .string(scenario.kind.rawValue), "title": .string(scenario.title),
                        "note": .string(scenario.note), "policies": .array(scenario.trials.map(Self.json)),
                    ]
                }),
        ]
    }

    private static func json(_ trial: PolicyTrial) -> JSONValue {
        let decisions = trial.decisions.map { JSONValue.object($0.json) }
        let curve = trial.curve.map { point -> JSONValue in
            [
                .integer(point.elapsedMilliseconds), .integer(point.remainingBytes),
                .integer(point.downtimeMilliseconds),
            ]
        }
        return [
            "policy": .string(trial.policy), "verdict": .string(trial.verdict.rawValue),
            "basis": .string(trial.basis), "elapsedMilliseconds": .integer(trial.elapsedMilliseconds),
            "pauseMilliseconds": trial.pauseMilliseconds.map { .integer($0) } ?? .null,
            "downtimeLimitMilliseconds": .integer(trial.downtimeMilliseconds),
            "iterations": .integer(trial.iterations), "transferredBytes": .integer(trial.transferredBytes),
            "maximumThrottle": .integer(trial.maximumThrottle), "decisions": .array(decisions),
            "omittedDecisions": .integer(Int64(trial.omittedDecisions)), "curve": .array(curve),
        ]
    }
}

extension Comparison.Scenario {
    /// What is drawn: until the last of those that came to an end, in milliseconds. What never ends would hide the others.
    var end: Int64 {
        let ends = trials.filter { $0.verdict != .unfinished }.map(\.elapsedMilliseconds)
        return (ends.isEmpty ? trials.map(\.elapsedMilliseconds) : ends).max() ?? 0
    }
}
