/// Finds members of the outermost object in a text that is known to be valid JSON, where byte places matter.
package struct TopLevelMember {
    /// The name without its quotes, as it is spelt.
    package var name: Range<Int>
    /// The value without the white space around it.
    package var value: Range<Int>

    /// The member of that name, if it is spelt without escapes.
    package static func named(_ name: String, in text: ArraySlice<UInt8>) -> TopLevelMember? {
        var depth = 0
        var index = text.startIndex
        // The string that was read last on the outermost level, and the member whose value is being read.
        var string = index..<index
        var open: (name: Range<Int>, value: Int)?
        while index < text.endIndex {
            switch text[index] {
            case UInt8(ascii: "\""):
                let start = index + 1
                index = start
                while index < text.endIndex, text[index] != UInt8(ascii: "\"") {
                    index += text[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                if depth == 1 { string = start..<min(index, text.endIndex) }
            case UInt8(ascii: ":") where depth == 1:
                open = (string, index + 1)
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
            case UInt8(ascii: ",") where depth == 1, UInt8(ascii: "}") where depth == 1:
                if let member = open, text[member.name].elementsEqual(name.utf8) {
                    return TopLevelMember(name: member.name, value: trimmed(member.value..<index, in: text))
                }
                open = nil
                if text[index] == UInt8(ascii: "}") { return nil }
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
            default:
                break
            }
            index += 1
        }
        return nil
    }

    private static func trimmed(_ range: Range<Int>, in text: ArraySlice<UInt8>) -> Range<Int> {
        var (lower, upper) = (range.lowerBound, range.upperBound)
        while lower < upper, text[lower] <= 0x20 { lower += 1 }
        while upper > lower, text[upper - 1] <= 0x20 { upper -= 1 }
        return lower..<upper
    }
}
