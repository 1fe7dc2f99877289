/// How a line is cut into what must be the same and what may vary.
///
/// In a message from QEMU every number may vary, in one to QEMU only the id: its numbers are arguments. Nothing
/// varies in other records but the time.
struct LineTemplate {
    enum Part {
        case literal(Range<Int>)
        case digits(Int8)
        case fraction(Int8)
        case text(Int8)
    }

    /// From the comma behind the time to the line feed.
    private(set) var parts: [Part] = []
    /// The wanted numbers in their order.
    private(set) var slots: [TraceShape.Slot] = []

    /// The template of a record's line, line feed included, that was decoded without an error; `nil` if it is not
    /// worth one.
    ///
    /// - Parameter wanted: The paths of the numbers that are handed on, from the record down.
    init?(_ line: UnsafeRawBufferPointer, from start: Int, wanted: [[StaticString]]) {
        var cutter = Cutter(line: line, place: start, wanted: wanted)
        guard cutter.cut() else { return nil }
        parts = cutter.parts
        slots = cutter.slots
    }

    /// Lines longer than that are rare, and large for the memory.
    static let maximumBytes = 1 << 20
    private static let maximumParts = 1 << 15
    private static let maximumSlots = 32

    private struct Level {
        var isObject: Bool
        var key: Range<Int>
        var expectsKey: Bool
    }

    private struct Cutter {
        let line: UnsafeRawBufferPointer
        var place: Int
        let wanted: [[StaticString]]
        var parts: [Part] = []
        var slots: [TraceShape.Slot] = []
        var literal: Int
        var levels: [Level]

        init(line: UnsafeRawBufferPointer, place: Int, wanted: [[StaticString]]) {
            self.line = line
            self.place = place
            self.wanted = wanted
            literal = place
            levels = [Level(isObject: true, key: 0..<0, expectsKey: false)]
        }

        mutating func cut() -> Bool {
            guard line.count <= LineTemplate.maximumBytes else { return false }
            while place < line.count {
                switch line[place] {
                case UInt8(ascii: "\""): guard string() else { return false }
                case UInt8(ascii: "{"): push(isObject: true)
                case UInt8(ascii: "["): push(isObject: false)
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    levels.removeLast()
                    place += 1
                    if levels.isEmpty { place = line.count }
                case UInt8(ascii: ","):
                    levels[levels.count - 1].expectsKey = levels[levels.count - 1].isObject
                    place += 1
                case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): guard number() else { return false }
                default: place += 1
                }
            }
            guard levels.isEmpty, parts.count < LineTemplate.maximumParts else { return false }
            flush(to: line.count)
            return true
        }

        private mutating func push(isObject: Bool) {
            levels.append(Level(isObject: isObject, key: 0..<0, expectsKey: isObject))
            place += 1
        }

        private mutating func flush(to end: Int) {
            if literal < end { parts.append(.literal(literal..<end)) }
            literal = end
        }

        private func isKey(_ level: Int, _ name: StaticString) -> Bool {
            let level = levels[level]
            guard level.isObject, level.key.count == name.utf8CodeUnitCount else { return false }
            return name.withUTF8Buffer { line[level.key].elementsEqual($0) }
        }

        private var isReceived: Bool { levels.count > 1 && isKey(0, "recv") }

        private var isIdentifier: Bool {
            levels.count == 2 && isKey(1, "id") && (isKey(0, "recv") || isKey(0, "send"))
        }

        private var role: Int8 {
            guard isReceived, levels.count <= 8 else { return LineTemplates.noRole }
            for (index, path) in wanted.enumerated() where path.count == levels.count {
                if path.indices.allSatisfy({ isKey($0, path[$0]) }) { return Int8(truncatingIfNeeded: index) }
            }
            return LineTemplates.noRole
        }

        private mutating func string() -> Bool {
            let start = place + 1
            var end = start
            var isPlain = true
            while end < line.count, line[end] != UInt8(ascii: "\"") {
                let byte = line[end]
                if byte < 0x20 || byte >= 0x7F || byte == UInt8(ascii: "\\") { isPlain = false }
                end += byte == UInt8(ascii: "\\") ? 2 : 1
            }
            guard end < line.count else { return false }
            place = end + 1
            if levels[levels.count - 1].expectsKey {
                // The same name can be spelt with escapes, and is then not known for what it is.
                guard isPlain else { return false }
                levels[levels.count - 1].key = start..<end
                levels[levels.count - 1].expectsKey = false
            } else if isIdentifier {
                guard isPlain, end - start <= LineTemplates.maximumText else { return false }
                flush(to: start)
                parts.append(.text(LineTemplates.identifierRole))
                literal = end
            }
            return true
        }

        private mutating func number() -> Bool {
            let start = place
            if line[place] == UInt8(ascii: "-") { place += 1 }
            let integer = digits()
            var fraction = 0..<0
            if place < line.count, line[place] == UInt8(ascii: ".") {
                place += 1
                fraction = digits()
            }
            let mantissa = place
            while place < line.count, Self.isInNumber(line[place]) { place += 1 }
            let isWhole = place == integer.upperBound
            if isIdentifier {
                guard isWhole, integer.lowerBound == start, integer.count <= LineTemplates.maximumDigits else {
                    return false
                }
                vary(integer, .digits(LineTemplates.identifierRole))
                return true
            }
            guard isReceived, integer.count <= LineTemplates.maximumDigits else { return true }
            let role = self.role
            if role >= 0 {
                // An exponent would have to be counted in.
                guard place == mantissa, fraction.count <= LineTemplates.maximumDigits,
                    slots.count < LineTemplate.maximumSlots
                else { return false }
                slots.append(
                    TraceShape.Slot(
                        path: Int(role), isNegative: start < integer.lowerBound, isFraction: !fraction.isEmpty))
                // A sign in front of a fraction is not worth the trouble.
                guard fraction.isEmpty || start == integer.lowerBound else { return false }
            }
            vary(integer, .digits(role))
            if !fraction.isEmpty, fraction.count <= LineTemplates.maximumDigits { vary(fraction, .fraction(role)) }
            return true
        }

        private mutating func vary(_ range: Range<Int>, _ part: Part) {
            flush(to: range.lowerBound)
            parts.append(part)
            literal = range.upperBound
        }

        private mutating func digits() -> Range<Int> {
            let start = place
            while place < line.count, line[place] &- UInt8(ascii: "0") < 10 { place += 1 }
            return start..<place
        }

        private static func isInNumber(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "e"), UInt8(ascii: "E"):
                true
            default: false
            }
        }
    }
}
