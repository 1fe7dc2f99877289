/// Why an expression cannot be read.
public struct ExpressionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public var message: String
    /// The place in the expression, counted from 1.
    public var column: Int

    /// The message with its place.
    public var description: String { "character \(column): \(message)" }
}

/// Reads expressions such as `elapsed > 800s * memory / 1GiB and not postcopy`.
///
/// `or` binds weakest, then `and`, `not`, comparisons, sums, products. Numbers may have a unit: `ms`, `s`, `min`, `h` (in
/// milliseconds), `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB`, `TiB` (in bytes, also with `/s`) and `%` (a hundredth).
public struct ExpressionParser {
    /// Names with fixed values.
    public var constants: [String: Double]
    /// Names of the policy's variables, by their places.
    public var variables: [String: Int]

    private static let maximumCharacters = 1000
    private static let maximumDepth = 32

    /// A parser that knows these names.
    public init(constants: [String: Double] = [:], variables: [String: Int] = [:]) {
        self.constants = constants
        self.variables = variables
    }

    /// Whether a policy may give this name to something of its own.
    public static func isFree(_ name: String) -> Bool {
        Quantity(rawValue: name) == nil && Term.Function(rawValue: name) == nil
            && !["and", "or", "not"].contains(name) && isName(name)
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= 64 else { return false }
        return isLetter(first) && name.utf8.allSatisfy { isLetter($0) || isDigit($0) }
    }

    /// Reads an expression.
    public func parse(_ text: String) throws(ExpressionError) -> PolicyExpression {
        guard text.utf8.count <= Self.maximumCharacters else {
            throw ExpressionError(message: "longer than \(Self.maximumCharacters) characters", column: 1)
        }
        var walk = Walk(bytes: Array(text.utf8), parser: self)
        try walk.advance()
        let root = try walk.expression(0, depth: 0)
        guard walk.token == .end else {
            throw ExpressionError(message: "nothing was expected here but an operator", column: walk.start + 1)
        }
        return PolicyExpression(text: text, root: root)
    }

    static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_")
    }

    static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private enum Token: Hashable {
        case number(Double)
        case word(String)
        case symbol(Term.Operator)
        case open, close, comma, end
    }

    /// One walk over a text.
    private struct Walk {
        let bytes: [UInt8]
        let parser: ExpressionParser
        var position = 0
        /// Where the token begins.
        var start = 0
        var token = Token.end

        init(bytes: [UInt8], parser: ExpressionParser) {
            self.bytes = bytes
            self.parser = parser
        }

        private static let units: [String: Double] = [
            "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
            "KiB": 1024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776,
        ]

        func failure(_ message: String) -> ExpressionError { ExpressionError(message: message, column: start + 1) }

        private func byte(_ offset: Int = 0) -> UInt8? {
            position + offset < bytes.count ? bytes[position + offset] : nil
        }

        private mutating func take(while isWanted: (UInt8) -> Bool) -> String {
            let from = position
            while let byte = byte(), isWanted(byte) { position += 1 }
            return String(decoding: bytes[from..<position], as: UTF8.self)
        }

        mutating func advance() throws(ExpressionError) {
            while let byte = byte(), byte == 0x20 { position += 1 }
            start = position
            guard let first = byte() else {
                token = .end
                return
            }
            if isDigit(first) {
                token = .number(try number())
            } else if isLetter(first) {
                let word = take { ExpressionParser.isLetter($0) || ExpressionParser.isDigit($0) }
                token = Term.Operator(rawValue: word).map { .symbol($0) } ?? .word(word)
            } else {
                try sign(first)
            }
        }

        private mutating func number() throws(ExpressionError) -> Double {
            let digits = take { ExpressionParser.isDigit($0) || $0 == UInt8(ascii: ".") }
            guard digits.utf8.last != UInt8(ascii: "."), let number = Double(digits), number.isFinite else {
                throw failure("`\(digits)` is no number")
            }
            if byte() == UInt8(ascii: "%") {
                position += 1
                return number / 100
            }
            let unit = take(while: ExpressionParser.isLetter)
            guard !unit.isEmpty else { return number }
            guard let factor = Self.units[unit] else { throw failure("`\(unit)` is no unit") }
            // 32MiB/s is a rate; rates are in bytes each second anyway.
            if unit.hasSuffix("B"), byte() == UInt8(ascii: "/"), byte(1) == UInt8(ascii: "s"),
                !(byte(2).map { isLetter($0) || isDigit($0) } ?? false)
            {
                position += 2
            }
            return number * factor
        }

        private mutating func sign(_ first: UInt8) throws(ExpressionError) {
            let two = String(decoding: [first, byte(1) ?? 0x20], as: UTF8.self)
            if ["==", "!=", "<=", ">="].contains(two), let symbol = Term.Operator(rawValue: two) {
                position += 2
                token = .symbol(symbol)
                return
            }
            position += 1
            switch first {
            case UInt8(ascii: "("): token = .open
            case UInt8(ascii: ")"): token = .close
            case UInt8(ascii: ","): token = .comma
            default:
                let one = String(decoding: [first], as: UTF8.self)
                guard let symbol = Term.Operator(rawValue: one) else {
                    throw failure(first < 0x21 || first > 0x7E ? "a character of no meaning" : "`\(one)` means nothing")
                }
                token = .symbol(symbol)
            }
        }

        private static func strength(_ symbol: Term.Operator) -> Int {
            switch symbol {
            case .or: 1
            case .and: 2
            case .equal, .unequal, .less, .lessOrEqual, .greater, .greaterOrEqual: 4
            case .plus, .minus: 5
            case .times, .divided: 6
            }
        }

        /// Everything that binds stronger than `floor`.
        mutating func expression(_ floor: Int, depth: Int) throws(ExpressionError) -> Term {
            guard depth < ExpressionParser.maximumDepth else { throw failure("too deep") }
            var left = try operand(depth: depth)
            while case .symbol(let symbol) = token, Self.strength(symbol) > floor {
                let strength = Self.strength(symbol)
                try advance()
                let right = try expression(strength, depth: depth + 1)
                left = .binary(symbol, left, right)
                if strength == 4, case .symbol(let next) = token, Self.strength(next) == 4 {
                    throw failure("comparisons cannot be chained; say `and`")
                }
            }
            return left
        }

        private mutating func operand(depth: Int) throws(ExpressionError) -> Term {
            switch token {
            case .number(let number):
                try advance()
                return .number(number)
            case .open:
                try advance()
                let inner = try expression(0, depth: depth + 1)
                try expect(.close, "`)`")
                return inner
            case .symbol(.minus):
                try advance()
                return .negative(try expression(6, depth: depth + 1))
            case .word("not"):
                try advance()
                return .not(try expression(3, depth: depth + 1))
            case .word(let word): return try named(word, depth: depth)
            default: throw failure("a value was expected here")
            }
        }

        private mutating func expect(_ wanted: Token, _ name: String) throws(ExpressionError) {
            guard token == wanted else { throw failure("\(name) was expected here") }
            try advance()
        }

        private mutating func named(_ word: String, depth: Int) throws(ExpressionError) -> Term {
            if let function = Term.Function(rawValue: word) {
                try advance()
                try expect(.open, "`(`")
                var arguments: [Term] = []
                for index in 0..<function.arguments {
                    if index > 0 { try expect(.comma, "`,` and another value of `\(word)`") }
                    arguments.append(try expression(0, depth: depth + 1))
                }
                try expect(.close, "`)`")
                return .call(function, arguments)
            }
            let term: Term
            if let constant = parser.constants[word] {
                term = .constant(word, constant)
            } else if let place = parser.variables[word] {
                term = .name(.variable(place))
            } else if let quantity = Quantity(rawValue: word) {
                term = .name(.quantity(quantity))
            } else {
                throw failure("nothing is called `\(word)`")
            }
            try advance()
            return term
        }

        private func isLetter(_ byte: UInt8) -> Bool { ExpressionParser.isLetter(byte) }

        private func isDigit(_ byte: UInt8) -> Bool { ExpressionParser.isDigit(byte) }
    }
}

extension PolicyExpression {
    /// The value of an expression in which nothing changes; `nil` if something does.
    public var constantValue: Double? { root.names.isEmpty ? root.value { _ in nil } : nil }
}
