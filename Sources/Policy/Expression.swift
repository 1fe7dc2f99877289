/// An expression of a policy: what was written, and what it means.
public struct PolicyExpression: Hashable, Sendable, CustomStringConvertible {
    /// As it was written.
    public var text: String
    /// What it means.
    var root: Term

    /// As it was written.
    public var description: String { text }

    /// A number.
    public init(_ number: Double) {
        text = number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : String(number)
        root = .number(number)
    }

    init(text: String, root: Term) {
        self.text = text
        self.root = root
    }

    /// The value; `nil` if something in it is unknown, such as a number that QEMU has not told yet.
    func value(_ lookUp: (Term.Name) -> Double?) -> Double? { root.value(lookUp) }

    /// Whether it is fulfilled. What is unknown fulfils nothing.
    func isTrue(_ lookUp: (Term.Name) -> Double?) -> Bool { root.value(lookUp).map { $0 != 0 } ?? false }
}

/// A node of an expression.
indirect enum Term: Hashable, Sendable {
    /// What has a name and changes.
    enum Name: Hashable, Sendable {
        case quantity(Quantity)
        /// By its place in the policy.
        case variable(Int)
    }

    /// What stands between two terms.
    enum Operator: String, Hashable, Sendable {
        case or, and
        case equal = "=="
        case unequal = "!="
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
        case plus = "+"
        case minus = "-"
        case times = "*"
        case divided = "/"
    }

    /// What is called.
    enum Function: String, Hashable, Sendable, CaseIterable {
        case min, max, floor, ceil, abs
        /// The second value if the first is true, else the third.
        case `if`
        /// Whether the value is known.
        case known

        var arguments: Int {
            switch self {
            case .min, .max: 2
            case .floor, .ceil, .abs, .known: 1
            case .if: 3
            }
        }
    }

    case number(Double)
    case constant(String, Double)
    case name(Name)
    case not(Term)
    case negative(Term)
    case binary(Operator, Term, Term)
    case call(Function, [Term])

    func value(_ lookUp: (Name) -> Double?) -> Double? {
        switch self {
        case .number(let number), .constant(_, let number): return number
        case .name(let name): return lookUp(name).map(Self.finite)
        case .not(let term): return term.value(lookUp).map { $0 == 0 ? 1 : 0 }
        case .negative(let term): return term.value(lookUp).map { -$0 }
        case .binary(let symbol, let left, let right): return Self.binary(symbol, left, right, lookUp)
        case .call(let function, let arguments): return Self.call(function, arguments, lookUp)
        }
    }

    private static func binary(
        _ symbol: Operator, _ left: Term, _ right: Term, _ lookUp: (Name) -> Double?
    ) -> Double? {
        let first = left.value(lookUp)
        // What decides by itself needs no other side.
        if symbol == .and, first == 0 { return 0 }
        if symbol == .or, let first, first != 0 { return 1 }
        let second = right.value(lookUp)
        if symbol == .and, second == 0 { return 0 }
        if symbol == .or, let second, second != 0 { return 1 }
        guard let first, let second else { return nil }
        switch symbol {
        case .or: return 0
        case .and: return 1
        case .equal: return first == second ? 1 : 0
        case .unequal: return first != second ? 1 : 0
        case .less: return first < second ? 1 : 0
        case .lessOrEqual: return first <= second ? 1 : 0
        case .greater: return first > second ? 1 : 0
        case .greaterOrEqual: return first >= second ? 1 : 0
        case .plus: return finite(first + second)
        case .minus: return finite(first - second)
        case .times: return finite(first * second)
        case .divided: return finite(first / second)
        }
    }

    private static func call(_ function: Function, _ arguments: [Term], _ lookUp: (Name) -> Double?) -> Double? {
        guard arguments.count == function.arguments else { return nil }
        let first = arguments[0].value(lookUp)
        switch function {
        case .known: return first == nil ? 0 : 1
        case .if: return first.flatMap { arguments[$0 != 0 ? 1 : 2].value(lookUp) }
        case .floor: return first?.rounded(.down)
        case .ceil: return first?.rounded(.up)
        case .abs: return first.map { Swift.abs($0) }
        case .min, .max:
            guard let first, let second = arguments[1].value(lookUp) else { return nil }
            return function == .min ? Swift.min(first, second) : Swift.max(first, second)
        }
    }

    /// Every number stays comparable: what is too large is the largest number, 0 / 0 is 0.
    static func finite(_ value: Double) -> Double {
        if value.isNaN { return 0 }
        return Swift.min(Swift.max(value, -.greatestFiniteMagnitude), .greatestFiniteMagnitude)
    }

    /// The names in it, each once, in order.
    var names: [Name] {
        var found: [Name] = []
        collect(&found)
        return found
    }

    private func collect(_ found: inout [Name]) {
        switch self {
        case .number, .constant: break
        case .name(let name): if !found.contains(name) { found.append(name) }
        case .not(let term), .negative(let term): term.collect(&found)
        case .binary(_, let left, let right):
            left.collect(&found)
            right.collect(&found)
        case .call(_, let arguments): arguments.forEach { $0.collect(&found) }
        }
    }
}
