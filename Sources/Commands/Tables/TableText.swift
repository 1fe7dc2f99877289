import JSONC

extension ProgramTable {
    /// Wider lines are folded, within their columns.
    static let textColumns = 110

    /// For a terminal: aligned columns under a line of names.
    var text: String {
        var lines: [String] = []
        if let version { lines.append("\(name.rawValue), version \(version)") }
        for section in sections {
            if !lines.isEmpty { lines.append("") }
            lines.append(section.title)
            lines.append("")
            lines += section.textLines
        }
        return lines.joined(separator: "\n")
    }

    /// For a program: one object, with a list of objects for each section.
    var json: JSONValue {
        var object: JSONObject = ["table": .string(name.rawValue)]
        if let version { object["version"] = .integer(Int64(version)) }
        for section in sections {
            object[section.name] = section.json
        }
        return .object(object)
    }

    /// For documentation.
    var markdown: String {
        var lines: [String] = []
        if let version { lines += ["Version \(version).", ""] }
        for (index, section) in sections.enumerated() {
            if index > 0 { lines.append("") }
            lines += ["\(section.title):", ""]
            lines.append("| \(section.columns.joined(separator: " | ")) |")
            lines.append("|\(String(repeating: " --- |", count: section.columns.count))")
            for row in section.rows {
                lines.append("| \(row.map { Self.escaped($0.text) }.joined(separator: " | ")) |")
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func escaped(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }
}

extension TableSection {
    /// A list of objects.
    var json: JSONValue {
        .array(
            rows.map { row in
                var members: JSONObject = [:]
                for (column, cell) in zip(columns, row) { members[column] = cell.json }
                return .object(members)
            })
    }

    /// The lines of a table with aligned columns.
    var textLines: [String] {
        guard isGrouped else { return plainLines }
        var groups: [(name: String, rows: [[TableCell]])] = []
        for row in rows {
            guard let first = row.first else { continue }
            if groups.last?.name != first.text { groups.append((first.text, [])) }
            groups[groups.count - 1].rows.append(Array(row.dropFirst()))
        }
        var lines: [String] = []
        for group in groups {
            var section = self
            section.columns.removeFirst()
            section.rows = group.rows
            lines += (lines.isEmpty ? [] : [""]) + ["\(group.name):", ""] + section.plainLines
        }
        return lines
    }

    private var plainLines: [String] {
        let inLine = columns.indices.filter { !sentences.contains(columns[$0]) }
        let below = columns.indices.filter { sentences.contains(columns[$0]) }
        let cells = rows.map { row in inLine.map { row[$0].text } }
        let names = inLine.map { columns[$0] }
        let widths = Self.fitted(
            names.indices.map { column in ([names[column].count] + cells.map { $0[column].count }).max() ?? 0 },
            atLeast: names.indices.map { column in
                let words = cells.flatMap { $0[column].split(separator: " ").map(\.count) }
                return min(28, (words + [names[column].count]).max() ?? 0)
            })
        var lines =
            Self.lines(names, widths) + [widths.map { String(repeating: "-", count: $0) }.joined(separator: "  ")]
        for (row, cells) in zip(rows, cells) {
            lines += Self.lines(cells, widths)
            for column in below where !row[column].text.isEmpty {
                let text = "\(columns[column]): \(row[column].text)"
                lines += Self.folded(text, ProgramTable.textColumns - 4).enumerated().map { index, line in
                    (index == 0 ? "    " : "      ") + line
                }
            }
        }
        return lines
    }

    /// Takes from the widest column that can give until the line fits, or no column can.
    private static func fitted(_ natural: [Int], atLeast least: [Int]) -> [Int] {
        var widths = natural
        while widths.reduce(0, +) + 2 * (widths.count - 1) > ProgramTable.textColumns {
            let able = widths.indices.filter { widths[$0] > least[$0] }
            guard let widest = able.max(by: { widths[$0] < widths[$1] }) else { break }
            widths[widest] -= 1
        }
        return widths
    }

    private static func lines(_ cells: [String], _ widths: [Int]) -> [String] {
        let parts = zip(cells, widths).map { folded($0, $1) }
        return (0..<(parts.map(\.count).max() ?? 0)).map { line in
            var text = ""
            for (column, part) in parts.enumerated() {
                let piece = line < part.count ? part[line] : ""
                text += piece + String(repeating: " ", count: max(0, widths[column] - piece.count) + 2)
            }
            while text.last == " " { text.removeLast() }
            return text
        }
    }

    /// Folds at blanks; a word that is too long for a line is cut.
    private static func folded(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            var rest = word
            if !line.isEmpty, line.count + 1 + rest.count <= width {
                line += " " + rest
                continue
            }
            if !line.isEmpty { lines.append(line) }
            while rest.count > width {
                lines.append(String(rest.prefix(width)))
                rest = rest.dropFirst(width)
            }
            line = String(rest)
        }
        return lines + (line.isEmpty && !lines.isEmpty ? [] : [line])
    }
}
