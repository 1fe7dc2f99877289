/// Numbers with their units, for a person.
public enum Measure {
    /// A span of microseconds.
    static func span(_ microseconds: Int64) -> String {
        let magnitude = max(microseconds, 0)
        if magnitude < 10_000 { return "\(decimal(Double(magnitude) / 1e3, 2)) ms" }
        if magnitude < 100_000 { return "\(decimal(Double(magnitude) / 1e3, 1)) ms" }
        if magnitude < 1_000_000 { return "\(magnitude / 1000) ms" }
        if magnitude < 120_000_000 { return "\(decimal(Double(magnitude) / 1e6, 2)) s" }
        return "\(decimal(Double(magnitude) / 60e6, 1)) min"
    }

    /// A number of bytes, in the largest binary unit that leaves at least one.
    static func bytes(_ bytes: Double) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var value = max(bytes, 0)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return "\(decimal(value, unit > 0 && value < 10 ? 1 : 0)) \(units[unit])"
    }

    /// The same of a whole number.
    static func bytes(_ bytes: Int64) -> String { self.bytes(Double(bytes)) }

    /// Bytes each second.
    static func rate(_ bytesPerSecond: Double) -> String { "\(bytes(bytesPerSecond))/s" }

    /// A decimal with a fixed number of places; `?` for what cannot be meant.
    public static func decimal(_ value: Double, _ places: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "?" }
        let factor = [1.0, 10, 100, 1000][min(max(places, 0), 3)]
        let scaled = Int64((abs(value) * factor).rounded())
        let sign = value < 0 && scaled != 0 ? "-" : ""
        guard places > 0 else { return sign + String(scaled) }
        let digits = String(scaled)
        let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
        return "\(sign)\(padded.dropLast(places)).\(padded.suffix(places))"
    }

    /// "1 pass", "3 passes".
    static func count(_ number: Int, _ one: String, _ many: String) -> String {
        "\(number) \(number == 1 ? one : many)"
    }
}
