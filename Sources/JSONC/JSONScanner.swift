/// One pass over a text before json-c sees it.
///
/// json-c 0.16 lets pass, or silently changes, what it should refuse: NaN, `1.`, raw control characters, malformed UTF-8,
/// integers out of range, U+0000 in keys, halves of surrogate pairs. The scanner checks the whole grammar, so that json-c
/// only builds the tree, and counts the members, so that duplicate keys show as a difference to json-c's own count.
struct JSONScanner {
    let bytes: UnsafePointer<UInt8>
    let end: Int
    var position = 0
    /// The object members seen, nested ones included.
    var members = 0

    init(_ bytes: UnsafePointer<UInt8>, count: Int) {
        self.bytes = bytes
        self.end = count
    }

    /// Checks one complete text. `stack` has room for `maximumDepth` flags ("this level is an object").
    mutating func scanText(stack: UnsafeMutablePointer<Bool>, maximumDepth: Int) throws(JSONError) {
        var depth = 0
        value: while true {
            skipWhitespace()
            guard position < end else { throw truncated("a value") }
            switch bytes[position] {
            case UInt8(ascii: "\""):
                _ = try scanString()
            case UInt8(ascii: "{"):
                guard depth < maximumDepth else { throw tooDeep(maximumDepth) }
                position += 1
                skipWhitespace()
                if position < end, bytes[position] == UInt8(ascii: "}") {
                    position += 1
                } else {
                    stack[depth] = true
                    depth += 1
                    try scanKey()
                    continue value
                }
            case UInt8(ascii: "["):
                guard depth < maximumDepth else { throw tooDeep(maximumDepth) }
                position += 1
                skipWhitespace()
                if position < end, bytes[position] == UInt8(ascii: "]") {
                    position += 1
                } else {
                    stack[depth] = false
                    depth += 1
                    continue value
                }
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                try scanNumber()
            default:
                try scanLiteral()
            }
            // A value is complete: what follows belongs to the levels around it.
            while depth > 0 {
                skipWhitespace()
                guard position < end else { throw truncated(stack[depth - 1] ? "',' or '}'" : "',' or ']'") }
                let byte = bytes[position]
                if byte == UInt8(ascii: ",") {
                    position += 1
                    if stack[depth - 1] { try scanKey() }
                    continue value
                }
                guard byte == (stack[depth - 1] ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                    throw unexpected(stack[depth - 1] ? "',' or '}'" : "',' or ']'")
                }
                position += 1
                depth -= 1
            }
            skipWhitespace()
            guard position == end else {
                throw JSONError(.trailingBytes, "bytes follow the value", offset: position)
            }
            return
        }
    }

    @inline(__always)
    mutating func skipWhitespace() {
        while position < end {
            let byte = bytes[position]
            guard byte <= 0x20, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            position += 1
        }
    }

    /// A member's name and the colon behind it.
    mutating func scanKey() throws(JSONError) {
        skipWhitespace()
        guard position < end else { throw truncated("a member's name") }
        guard bytes[position] == UInt8(ascii: "\"") else { throw unexpected("a member's name") }
        let start = position
        // json-c keeps keys as C strings: a NUL would cut the name short.
        if try scanString() { throw JSONError(.nulInKey, "a member's name contains U+0000", offset: start) }
        skipWhitespace()
        guard position < end else { throw truncated("':'") }
        guard bytes[position] == UInt8(ascii: ":") else { throw unexpected("':'") }
        position += 1
        members += 1
    }

    /// A string from its opening quote on. Returns whether it holds U+0000.
    mutating func scanString() throws(JSONError) -> Bool {
        let start = position
        position += 1
        var holdsNUL = false
        while position < end {
            skipPlainWords()
            guard position < end else { break }
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return holdsNUL
            } else if byte == UInt8(ascii: "\\") {
                if try scanEscape() == 0 { holdsNUL = true }
            } else if byte < 0x20 {
                throw JSONError(.controlCharacter, "unescaped control character 0x\(hex(byte))", offset: position)
            } else if byte >= 0x80 {
                try scanMultibyte()
            } else {
                position += 1
            }
        }
        throw JSONError(.truncated, "unterminated string", offset: start)
    }

    /// Skips eight bytes at a time while none of them is a quote, a backslash, a control character or non-ASCII.
    @inline(__always)
    private mutating func skipPlainWords() {
        let raw = UnsafeRawPointer(bytes)
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        while position &+ 8 <= end {
            let word = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            let quote = word ^ 0x2222_2222_2222_2222
            let backslash = word ^ 0x5C5C_5C5C_5C5C_5C5C
            // The lowest bit set is exact; the ones above it may come from a borrow.
            let special =
                (((word &- 0x2020_2020_2020_2020) & ~word) | ((quote &- ones) & ~quote)
                    | ((backslash &- ones) & ~backslash) | word) & highs
            guard special == 0 else {
                position &+= special.trailingZeroBitCount &>> 3
                return
            }
            position &+= 8
        }
    }

    /// An escape from its backslash on. Returns the Unicode scalar, or any non-zero number for the short forms.
    private mutating func scanEscape() throws(JSONError) -> UInt32 {
        let start = position
        guard position + 1 < end else { throw JSONError(.truncated, "unterminated string", offset: start) }
        switch bytes[position + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 2
            return 1
        case UInt8(ascii: "u"):
            position += 2
            let first = try scanHexDigits(of: start)
            guard first & 0xF800 == 0xD800 else { return first }
            // json-c would put U+FFFD in the place of a lone half: a silent change of the value.
            guard first < 0xDC00, position + 1 < end, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            else { throw JSONError(.loneSurrogate, "an escape is half of a surrogate pair", offset: start) }
            position += 2
            let second = try scanHexDigits(of: start)
            guard second & 0xFC00 == 0xDC00 else {
                throw JSONError(.loneSurrogate, "an escape is half of a surrogate pair", offset: start)
            }
            return 0x10000 + ((first & 0x3FF) << 10) + (second & 0x3FF)
        default:
            throw JSONError(.syntax, "unknown escape", offset: start)
        }
    }

    private mutating func scanHexDigits(of escape: Int) throws(JSONError) -> UInt32 {
        var scalar: UInt32 = 0
        for _ in 0..<4 {
            guard position < end else { throw JSONError(.truncated, "unterminated string", offset: escape) }
            let digit: UInt8
            switch bytes[position] {
            case let byte where byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case let byte where byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f"):
                digit = byte - UInt8(ascii: "a") + 10
            case let byte where byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "F"):
                digit = byte - UInt8(ascii: "A") + 10
            default: throw JSONError(.syntax, "an escape needs four hexadecimal digits", offset: escape)
            }
            scalar = scalar << 4 | UInt32(digit)
            position += 1
        }
        return scalar
    }

    /// One character of two to four bytes, by table 3-7 of the Unicode standard.
    private mutating func scanMultibyte() throws(JSONError) {
        let lead = bytes[position]
        let length: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch lead {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: length = 4
        default: throw JSONError(.invalidUTF8, "invalid UTF-8 byte 0x\(hex(lead))", offset: position)
        }
        guard end - position >= length, second.contains(bytes[position + 1]) else {
            throw JSONError(.invalidUTF8, "invalid UTF-8 sequence", offset: position)
        }
        for index in 2..<max(length, 2) where bytes[position + index] & 0xC0 != 0x80 {
            throw JSONError(.invalidUTF8, "invalid UTF-8 sequence", offset: position)
        }
        position += length
    }

    mutating func scanNumber() throws(JSONError) {
        let start = position
        let negative = bytes[position] == UInt8(ascii: "-")
        if negative { position += 1 }
        let firstDigit = position
        var magnitude: UInt64 = 0
        var overflow = false
        while position < end {
            let digit = bytes[position] &- UInt8(ascii: "0")
            guard digit < 10 else { break }
            if position &- firstDigit < 19 {
                magnitude = magnitude &* 10 &+ UInt64(digit)
            } else {
                let (product, high) = magnitude.multipliedReportingOverflow(by: 10)
                let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
                magnitude = sum
                overflow = overflow || high || carry
            }
            position += 1
        }
        let digits = position - firstDigit
        if digits == 0 {
            if let name = nonFiniteName(at: firstDigit) {
                throw JSONError(.nonFinite, "\(negative ? "-" : "")\(name) is no JSON number", offset: start)
            }
            guard position < end else { throw truncated("a digit") }
            throw unexpected("a digit")
        }
        if digits > 1, bytes[firstDigit] == UInt8(ascii: "0") {
            throw JSONError(.syntax, "a number starts with a superfluous zero", offset: start)
        }
        var integer = true
        if position < end, bytes[position] == UInt8(ascii: ".") {
            integer = false
            position += 1
            try scanDigits()
        }
        if position < end, bytes[position] | 0x20 == UInt8(ascii: "e") {
            integer = false
            position += 1
            if position < end, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
                position += 1
            }
            try scanDigits()
        }
        // json-c saturates silently.
        if integer, digits >= 19, overflow || (negative && magnitude > 1 << 63) {
            throw JSONError(.integerOutOfRange, "an integer does not fit 64 bits", offset: start)
        }
    }

    private mutating func scanDigits() throws(JSONError) {
        let start = position
        while position < end, bytes[position] &- UInt8(ascii: "0") < 10 { position += 1 }
        guard position > start else {
            guard position < end else { throw truncated("a digit") }
            throw unexpected("a digit")
        }
    }

    private mutating func scanLiteral() throws(JSONError) {
        if matches("true") || matches("null") {
            position += 4
        } else if matches("false") {
            position += 5
        } else if let name = nonFiniteName(at: position) {
            throw JSONError(.nonFinite, "\(name) is no JSON number", offset: position)
        } else {
            throw unexpected("a value")
        }
    }

    private func matches(_ literal: StaticString) -> Bool {
        let length = literal.utf8CodeUnitCount
        guard end - position >= length else { return false }
        for index in 0..<length where bytes[position + index] != literal.utf8Start[index] { return false }
        return true
    }

    private func nonFiniteName(at start: Int) -> String? {
        for name in ["nan", "infinity", "inf"] {
            let letters = Array(name.utf8)
            guard end - start >= letters.count else { continue }
            if letters.indices.allSatisfy({ bytes[start + $0] | 0x20 == letters[$0] }) { return name }
        }
        return nil
    }

    private func truncated(_ expectation: String) -> JSONError {
        JSONError(.truncated, "the text ends where \(expectation) is expected", offset: end)
    }

    private func tooDeep(_ maximum: Int) -> JSONError {
        JSONError(.depth, "nested deeper than \(maximum) levels", offset: position)
    }

    private func unexpected(_ expectation: String) -> JSONError {
        let byte = bytes[position]
        let shown = byte > 0x20 && byte < 0x7F ? "'\(Character(UnicodeScalar(byte)))'" : "0x\(hex(byte))"
        return JSONError(.syntax, "unexpected \(shown) where \(expectation) is expected", offset: position)
    }

    private func hex(_ byte: UInt8) -> String {
        byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16)
    }
}
