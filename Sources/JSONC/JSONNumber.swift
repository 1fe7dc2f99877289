/// A number with a fraction or an exponent, together with the text it was read from.
///
/// Two numbers are equal if their values are; numbers beyond the range of `Double` if their texts are.
public struct JSONNumber: Hashable, Sendable, CustomStringConvertible {
    /// The value; infinite if the text is beyond the range of `Double`.
    public let double: Double
    /// The JSON text.
    public let text: String

    /// A finite number; nil for NaN and infinity.
    public init?(_ double: Double) {
        guard double.isFinite else { return nil }
        self.double = double
        self.text = String(double)
    }

    init(double: Double, unchecked text: String) {
        self.double = double
        self.text = text
    }

    /// The JSON text.
    public var description: String { text }

    /// Compares the values.
    public static func == (left: JSONNumber, right: JSONNumber) -> Bool {
        left.double.isFinite && right.double.isFinite ? left.double == right.double : left.text == right.text
    }

    /// Hashes the value.
    public func hash(into hasher: inout Hasher) {
        if double.isFinite { hasher.combine(double) } else { hasher.combine(text) }
    }
}
