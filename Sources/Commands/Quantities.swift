public import ArgumentParser
import Replay

/// A number of bytes a person wrote: `100MiB`, `1.5GiB/s`, `800000`. Decimal units (kB, MB, GB, TB) count in
/// thousands, binary ones (KiB, MiB, GiB, TiB) in 1024.
public struct ByteQuantity: Hashable, Sendable, ExpressibleByArgument {
    /// The number.
    public var bytes: Int64

    /// Reads what a person wrote; `nil` for anything that is not a number of bytes.
    public init?(argument: String) {
        var text = argument[...]
        if text.hasSuffix("/s") { text = text.dropLast(2) }
        guard let (number, unit) = Quantity.split(text), let factor = Self.units[unit] else { return nil }
        guard let bytes = Quantity.scaled(number, by: factor) else { return nil }
        self.bytes = bytes
    }

    private static let units: [String: Double] = [
        "": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
        "KiB": 1024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776,
    ]
}

/// A span of time a person wrote, with its unit: `200ms`, `1.5s`, `10min`.
public struct TimeQuantity: Hashable, Sendable, ExpressibleByArgument {
    /// The span.
    public var milliseconds: Int64

    /// Reads what a person wrote. A unit is required: a bare number would be milliseconds to some and seconds to
    /// others.
    public init?(argument: String) {
        guard let (number, unit) = Quantity.split(argument[...]), let factor = Self.units[unit],
            let milliseconds = Quantity.scaled(number, by: factor)
        else { return nil }
        self.milliseconds = milliseconds
    }

    private static let units: [String: Double] = [
        "ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000,
    ]
}

enum Quantity {
    /// The number and the unit of a text; `nil` if there is no number or it is not a plain decimal.
    static func split(_ text: Substring) -> (Double, String)? {
        let digits = text.prefix { ("0"..."9").contains($0) || $0 == "." }
        guard let first = digits.first, first != ".", digits.last != ".", let number = Double(digits), number.isFinite
        else { return nil }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        return (number, String(unit))
    }

    /// The product as a whole number; `nil` if it is too large to be meant.
    static func scaled(_ number: Double, by factor: Double) -> Int64? {
        let product = (number * factor).rounded()
        return product.isFinite && product >= 0 && product < 9e18 ? Int64(product) : nil
    }

    /// A number of bytes for a person.
    static func bytes(_ bytes: Int64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(bytes)
        var index = 0
        while value >= 1024, index < units.count - 1 {
            value /= 1024
            index += 1
        }
        return index == 0 ? "\(bytes) B" : "\(decimal(value, places: value < 10 ? 1 : 0)) \(units[index])"
    }

    /// A span of milliseconds for a person.
    static func time(milliseconds: Double) -> String {
        if milliseconds < 10 { return "\(decimal(milliseconds, places: 2)) ms" }
        if milliseconds < 1000 { return "\(decimal(milliseconds, places: 0)) ms" }
        if milliseconds < 120_000 { return "\(decimal(milliseconds / 1000, places: 1)) s" }
        return "\(decimal(milliseconds / 60_000, places: 1)) min"
    }

    /// A decimal with a fixed number of places.
    static func decimal(_ value: Double, places: Int) -> String { Measure.decimal(value, places) }
}
