import Testing

@testable import Commands

@Suite("Quantities a person writes")
struct QuantityTests {
    @Test(
        arguments: [
            ("0", 0), ("1", 1), ("800000", 800_000), ("100MiB", 104_857_600), ("100MiB/s", 104_857_600),
            ("1.5GiB", 1_610_612_736), ("1kB", 1000), ("1KB", 1000), ("2 MB", 2_000_000), ("7B", 7), ("1TiB", 1 << 40),
        ] as [(String, Int64)])
    func bytes(text: String, expected: Int64) {
        #expect(ByteQuantity(argument: text)?.bytes == expected)
    }

    @Test(arguments: [
        "", "MiB", "-1", "1M", "1mib", "1.", ".5MiB", "1e3", "0x10", "1MiB/min", "99999999999TiB", "∞", "1 2",
    ])
    func bytesRefused(text: String) {
        #expect(ByteQuantity(argument: text) == nil)
    }

    @Test(
        arguments: [
            ("200ms", 200), ("1s", 1000), ("1.5s", 1500), ("2m", 120_000), ("2min", 120_000), ("1h", 3_600_000),
            ("0ms", 0),
        ] as [(String, Int64)])
    func times(text: String, expected: Int64) {
        #expect(TimeQuantity(argument: text)?.milliseconds == expected)
    }

    @Test(
        "a bare number of unknown unit is refused",
        arguments: ["200", "", "ms", "-5s", "1us", "1.2.3s", "99999999999999999h"])
    func timesRefused(text: String) {
        #expect(TimeQuantity(argument: text) == nil)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10 << 20, "10 MiB"), (1536 << 20, "1.5 GiB"),
            (Int64.max, "8388608 TiB"),
        ] as [(Int64, String)])
    func bytesForPeople(bytes: Int64, text: String) {
        #expect(Quantity.bytes(bytes) == text)
    }

    @Test(
        arguments: [
            (0.123, 2, "0.12"), (-0.001, 2, "0.00"), (-1.5, 1, "-1.5"), (12.0, 0, "12"), (0.05, 1, "0.1"),
            (.infinity, 2, "?"), (.nan, 2, "?"), (1e300, 2, "?"),
        ] as [(Double, Int, String)])
    func decimals(value: Double, places: Int, text: String) {
        #expect(Quantity.decimal(value, places: places) == text)
    }
}
