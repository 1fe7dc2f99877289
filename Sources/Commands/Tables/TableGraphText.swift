extension TableGraph {
    private var groups: [String] {
        var groups: [String] = []
        for node in nodes where !groups.contains(node.group) { groups.append(node.group) }
        return groups
    }

    private var numbers: [String: Int] {
        Dictionary(zip(nodes.map(\.id), 0...)) { first, _ in first }
    }

    /// For Graphviz.
    var dot: String {
        let numbers = self.numbers
        var lines = [
            "digraph \(Self.quoted(title)) {", "  label=\(Self.quoted(title));", "  labelloc=t;",
            "  node [fontname=\"sans-serif\", fontsize=11];", "  edge [fontname=\"sans-serif\", fontsize=9];",
        ]
        for (index, group) in groups.enumerated() {
            let indent = group.isEmpty ? "  " : "    "
            if !group.isEmpty { lines += ["  subgraph cluster_\(index) {", "    label=\(Self.quoted(group));"] }
            for node in nodes where node.group == group {
                let shape = node.isBox ? "box" : "ellipse"
                lines.append("\(indent)n\(numbers[node.id] ?? 0) [shape=\(shape), label=\(Self.quoted(node.text))];")
            }
            if !group.isEmpty { lines.append("  }") }
        }
        for edge in edges {
            let label = edge.text.isEmpty ? "" : " [label=\(Self.quoted(edge.text))]"
            lines.append("  n\(numbers[edge.from] ?? 0) -> n\(numbers[edge.to] ?? 0)\(label);")
        }
        return (lines + ["}"]).joined(separator: "\n")
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
    }

    /// For Mermaid.
    var mermaid: String {
        let numbers = self.numbers
        var lines = ["---", "title: \(Self.entitled(title))", "---", "flowchart TD"]
        for (index, group) in groups.enumerated() {
            let indent = group.isEmpty ? "  " : "    "
            if !group.isEmpty { lines.append("  subgraph g\(index) [\(Self.entitled(group))]") }
            for node in nodes where node.group == group {
                let text = Self.entitled(node.text)
                lines.append(indent + "n\(numbers[node.id] ?? 0)" + (node.isBox ? "[\(text)]" : "([\(text)])"))
            }
            if !group.isEmpty { lines.append("  end") }
        }
        for edge in edges {
            let label = edge.text.isEmpty ? "" : "|\(Self.entitled(edge.text))|"
            lines.append("  n\(numbers[edge.from] ?? 0) -->\(label) n\(numbers[edge.to] ?? 0)")
        }
        return lines.joined(separator: "\n")
    }

    /// In quotes, with what Mermaid would take for its own as entities.
    private static func entitled(_ text: String) -> String {
        let safe = text.map { character -> String in
            switch character {
            case "\"": "#quot;"
            case "#": "#35;"
            case "<": "#lt;"
            case ">": "#gt;"
            case "`": "'"
            default: String(character)
            }
        }
        return "\"\(safe.joined())\""
    }
}
