/// Lines of text for a terminal, folded, with nothing in them that steers one.
struct TextPage {
    private var lines: [String] = []

    static let columns = 110

    /// The page without its last line feed.
    var text: String {
        var lines = self.lines
        while lines.last == "" { lines.removeLast() }
        return lines.joined(separator: "\n")
    }

    mutating func blank() { if lines.last != "" { lines.append("") } }

    mutating func heading(_ text: String) {
        blank()
        lines.append(text)
    }

    /// A paragraph.
    mutating func line(_ text: String) { fold(text, first: "", rest: "  ") }

    /// An entry of a list.
    mutating func item(_ text: String) { fold(text, first: "  ", rest: "      ") }

    /// What belongs to the entry before.
    mutating func more(_ text: String) { fold(text, first: "      ", rest: "        ") }

    /// An entry with its time.
    mutating func timed(_ time: String, _ text: String) {
        fold(text, first: Self.padded(time, 10) + " s  ", rest: String(repeating: " ", count: 14))
    }

    /// A line of a small table: right-aligned cells but for the last, then where it is from.
    mutating func row(_ cells: [String], _ note: String) {
        var line = "    "
        for cell in cells.dropLast() { line += Self.padded(cell, 9) }
        line += "  \(cells.last ?? "")"
        fold("\(line) \(note)", first: "", rest: "                        ")
    }

    /// A line as it is.
    mutating func raw(_ line: String) { lines.append(line) }

    /// Blanks in front, to a width.
    static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private mutating func fold(_ text: String, first: String, rest: String) {
        var line = first
        var isFresh = true
        for word in PlainText.line(String(text.prefix(8000))).split(separator: " ", omittingEmptySubsequences: false) {
            var word = Substring(word)
            if !isFresh, line.count + 1 + word.count > Self.columns {
                lines.append(line)
                line = rest
                isFresh = true
            }
            while line.count + word.count > Self.columns, word.count > Self.columns - rest.count {
                let fit = max(1, Self.columns - line.count)
                lines.append(line + word.prefix(fit))
                word = word.dropFirst(fit)
                line = rest
            }
            line += (isFresh ? "" : " ") + word
            isFresh = false
        }
        lines.append(line)
    }
}
