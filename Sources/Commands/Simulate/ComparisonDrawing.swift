import Policy
import Replay

extension Comparison {
    private static let width = 860
    private static let plotHeight = 220
    private static let left = 70
    private static let right = 260
    /// Okabe and Ito's colours, which the colour-blind can tell apart, then dashes.
    private static let colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]

    /// The curves of what is left and of the downtime limit, one picture for all.
    var svg: String {
        let rowHeights = scenarios.map { 2 * (Self.plotHeight + 50) + max(0, $0.trials.count - 17) * 30 + 60 }
        let height = rowHeights.reduce(20, +)
        var out =
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Self.width)\" height=\"\(height)\" "
            + "viewBox=\"0 0 \(Self.width) \(height)\" font-family=\"sans-serif\" font-size=\"11\">\n"
            + "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        var top = 20
        for (scenario, rowHeight) in zip(scenarios, rowHeights) {
            out += Self.label(scenario.title, 10, top + 6, " font-weight=\"bold\"")
            out += Self.label(scenario.note, 10, top + 22)
            out += plot(scenario, top: top + 40, title: "bytes left", Self.bytes) { Double($0.remainingBytes) }
            out += plot(
                scenario, top: top + 90 + Self.plotHeight, title: "downtime limit", Self.time
            ) { Double($0.downtimeMilliseconds) }
            out += legend(scenario, top: top + 50)
            top += rowHeight
        }
        return out + "</svg>\n"
    }

    private static func bytes(_ value: Double) -> String { Quantity.bytes(Int64(min(value, 9e18))) }

    private static func time(_ value: Double) -> String { span(Int64(min(value, 9e18))) }

    private func plot(
        _ scenario: Scenario, top: Int, title: String, _ name: (Double) -> String,
        _ value: (PolicyTrial.Point) -> Double
    ) -> String {
        let most = max(1, scenario.trials.flatMap { $0.curve.map(value) }.max() ?? 1)
        let end = Double(max(1, scenario.end))
        let width = Double(Self.width - Self.left - Self.right)
        let height = Double(Self.plotHeight)
        var out = "<g stroke=\"#bbb\">"
        for quarter in 0...4 {
            let y = top + Self.plotHeight * quarter / 4
            out += "<path d=\"M\(Self.left) \(y)H\(Self.width - Self.right)\"/>"
        }
        out += "</g>\n"
        for quarter in 0...4 {
            let share = Double(quarter) / 4
            out += Self.label(name(most * (1 - share)), 4, top + 4 + Self.plotHeight * quarter / 4)
            out += Self.label(Self.time(end * share), Self.left + Int(width * share), top + Self.plotHeight + 14)
        }
        out += Self.label(title, Self.left, top - 5)
        for (index, trial) in scenario.trials.enumerated() {
            // More points than pixels say nothing.
            let shown = trial.curve.filter { Double($0.elapsedMilliseconds) <= end }
            let stride = max(1, shown.count / 800)
            let points = shown.enumerated().filter {
                $0.offset % stride == 0 || $0.offset == shown.count - 1
            }
            let line = points.map { _, point in
                let x = Double(Self.left) + Double(point.elapsedMilliseconds) / end * width
                let y = Double(top) + height - min(1, max(0, value(point) / most)) * height
                return "\(Measure.decimal(x, 1)),\(Measure.decimal(y, 1))"
            }
            out +=
                "<polyline fill=\"none\" stroke-width=\"1.5\" \(Self.stroke(index)) "
                + "points=\"\(line.joined(separator: " "))\"/>\n"
        }
        return out
    }

    private func legend(_ scenario: Scenario, top: Int) -> String {
        let x = Self.width - Self.right + 14
        return scenario.trials.enumerated().map { index, trial in
            let y = top + index * 30
            var text = "\(trial.verdict.rawValue), \(Self.span(trial.elapsedMilliseconds))"
            if let pause = trial.pauseMilliseconds { text += ", pause \(Self.span(pause))" }
            return "<path d=\"M\(x) \(y)h22\" stroke-width=\"2\" \(Self.stroke(index))/>\n"
                + Self.label(trial.policy, x + 28, y + 4, " font-weight=\"bold\"")
                + Self.label(text, x + 28, y + 17)
        }.joined()
    }

    private static func stroke(_ index: Int) -> String {
        let dashes = ["", " stroke-dasharray=\"5 3\"", " stroke-dasharray=\"1 3\""]
        return "stroke=\"\(colours[index % colours.count])\"" + dashes[index / colours.count % dashes.count]
    }

    private static func label(_ text: String, _ x: Int, _ y: Int, _ attributes: String = "") -> String {
        "<text x=\"\(x)\" y=\"\(y)\"\(attributes)>\(escaped(text))</text>\n"
    }

    /// Text as XML takes it.
    private static func escaped(_ text: String) -> String {
        PlainText.line(String(text.prefix(400))).map { character in
            switch character {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            default: String(character)
            }
        }.joined()
    }
}
