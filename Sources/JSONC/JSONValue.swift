/// A JSON value as a Swift tree, for what must outlive its document.
public enum JSONValue: Hashable, Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// An integer.
    case integer(Int64)
    /// An integer above `Int64.max`, and only such a one.
    case unsigned(UInt64)
    /// A number with a fraction or an exponent, with its source text.
    case number(JSONNumber)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object.
    case object(JSONObject)

    /// Parses exactly one complete text within bounds, QEMU's unless others are given.
    public init(parsing bytes: [UInt8], limits: JSONLimits = .init()) throws(JSONError) {
        self = try JSONDocument(parsing: bytes, limits: limits).withRoot { $0.value() }
    }

    /// Parses exactly one complete text within QEMU's bounds.
    public init(parsing text: String) throws(JSONError) {
        self = try JSONDocument(parsing: text).withRoot { $0.value() }
    }

    /// An integer as the case that its size asks for.
    public init(_ value: UInt64) {
        self = value > UInt64(Int64.max) ? .unsigned(value) : .integer(Int64(value))
    }

    /// A number; `null` for NaN and infinity, which JSON does not have.
    public init(_ value: Double) {
        self = JSONNumber(value).map { .number($0) } ?? .null
    }

    /// The value's type.
    public var kind: JSONKind {
        switch self {
        case .null: .null
        case .bool: .bool
        case .integer, .unsigned: .integer
        case .number: .number
        case .string: .string
        case .array: .array
        case .object: .object
        }
    }

    /// A member of an object; nil if there is none of that name or this is no object.
    public subscript(key: String) -> JSONValue? { object?[key] }

    /// Whether the value is `null`.
    public var isNull: Bool { self == .null }

    /// A boolean; nil for other types.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

    /// An integer; nil for other types and for integers above `Int64.max`.
    public var int64: Int64? { if case .integer(let value) = self { value } else { nil } }

    /// An integer; nil for other types and for negative integers.
    public var uint64: UInt64? {
        switch self {
        case .integer(let value): UInt64(exactly: value)
        case .unsigned(let value): value
        default: nil
        }
    }

    /// A number, integers included; nil for other types and for numbers beyond the range of `Double`.
    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .number(let value): value.double.isFinite ? value.double : nil
        default: nil
        }
    }

    /// A string; nil for other types.
    public var string: String? { if case .string(let value) = self { value } else { nil } }

    /// An array's elements; nil for other types.
    public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

    /// An object's members; nil for other types.
    public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// The compact JSON text.
    public func serialized() -> [UInt8] {
        var writer = JSONWriter()
        writer.value(self)
        return writer.bytes
    }

    /// The compact JSON text.
    public func text() -> String { String(decoding: serialized(), as: UTF8.self) }
}

extension JSONValue: CustomStringConvertible {
    /// The compact JSON text.
    public var description: String { text() }
}

extension JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByStringInterpolation, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    /// `null`.
    public init(nilLiteral: ()) { self = .null }
    /// A boolean.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// An integer.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// A number.
    public init(floatLiteral value: Double) { self.init(value) }
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// An array.
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// An object; of equal names the last value counts.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        var members = JSONObject()
        for (key, value) in elements { members[key] = value }
        self = .object(members)
    }
}
