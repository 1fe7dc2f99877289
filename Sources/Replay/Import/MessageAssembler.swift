/// Puts together a JSON object that lies over several lines. It only counts brackets; what they hold is checked by
/// whoever parses it.
struct MessageAssembler {
    /// What a line was to the object.
    enum Outcome: Equatable {
        /// More lines belong to it.
        case open
        /// It ends before this index of the line.
        case complete(Int)
        /// It is larger than any message may be.
        case tooLarge
    }

    private(set) var bytes: [UInt8] = []
    /// Where it began, from 1.
    private(set) var line = 0
    private(set) var column = 0
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    var isOpen: Bool { !bytes.isEmpty }

    /// Begins with the part of a line that starts with `{`, or goes on with a whole line.
    mutating func take(_ part: ArraySlice<UInt8>, line: Int, column: Int) -> Outcome {
        if bytes.isEmpty {
            self.line = line
            self.column = column
        } else {
            bytes.append(0x0A)
            // JSON has no raw line feed in its strings: let the parser say so.
            isEscaped = false
        }
        var index = part.startIndex
        while index < part.endIndex {
            let byte = part[index]
            index += 1
            if isInString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isInString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth <= 0 { return append(part[..<index]) ? .complete(index) : .tooLarge }
            default: break
            }
        }
        return append(part) ? .open : .tooLarge
    }

    private mutating func append(_ part: ArraySlice<UInt8>) -> Bool {
        guard bytes.count + part.count <= ImportLimits.messageBytes else { return false }
        bytes.append(contentsOf: part)
        return true
    }

    /// Hands the object out and is ready for the next one.
    mutating func finish() -> [UInt8] {
        defer { self = MessageAssembler() }
        return bytes
    }
}
