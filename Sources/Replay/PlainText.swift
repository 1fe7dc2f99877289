/// Text of a peer's, for people: with nothing in it that steers a terminal, turns the text around it or hides in it.
public enum PlainText {
    /// The character, or U+FFFD where it does more than stand there.
    public static func plain(_ character: Character) -> Character {
        let isPlain = character.unicodeScalars.allSatisfy { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
            default: true
            }
        }
        return isPlain ? character : "\u{FFFD}"
    }

    /// A text in one line: line feeds and tabulators become blanks.
    public static func line(_ text: String) -> String {
        String(text.map { $0.isNewline || $0 == "\t" ? " " : plain($0) })
    }

    /// A text that keeps its lines.
    public static func lines(_ text: String) -> String {
        String(text.map { $0 == "\n" ? $0 : plain($0) })
    }
}
