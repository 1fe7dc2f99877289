import JSONC
import Testing

/// Seeded mutations: the scanner and json-c must agree on every text, and nothing may trap.
@Suite struct JSONMutationTests {
    static let seeds = [
        """
        {"timestamp": {"seconds": 1700000000, "microseconds": 123456}, "event": "MIGRATION", "data": {"status": "active"}}
        """,
        "{\"return\":{\"ram\":{\"mbps\":268.63999999999999,\"total\":18446744073709551615,\"x\":-9223372036854775808}},\"id\":7}",
        "[\"\\u00e9\\uD83D\\uDE00 é😀\\n\",[true,false,null,[],{}],{\"a\":{\"b\":[1e5,-0.5,0]}}]",
    ]

    /// SplitMix64: the same on every run.
    struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    static let fragments: [[UInt8]] =
        [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud800", "nan", "1.", "-", "e9",
            "99999999999999999999", "//",
        ]
        .map { Array($0.utf8) } + [[0], [0x1F], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xFF], [0x0D, 0x0A]]

    @Test(arguments: 0..<seeds.count)
    func survivesMutations(seed: Int) throws {
        var generator = Generator(state: UInt64(seed))
        var parser = JSONParser()
        var accepted = 0
        for _ in 0..<3_000 {
            var text = Array(Self.seeds[seed].utf8)
            for _ in 0..<Int.random(in: 1...3, using: &generator) where !text.isEmpty {
                let place = Int.random(in: 0..<text.count, using: &generator)
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: text.remove(at: place)
                case 1: text[place] = UInt8.random(in: 0...255, using: &generator)
                case 2: text.removeLast(text.count - place)
                case 3:
                    let other = Int.random(in: 0..<text.count, using: &generator)
                    text.swapAt(place, other)
                default:
                    text.insert(contentsOf: Self.fragments.randomElement(using: &generator) ?? [], at: place)
                }
            }
            let outcome = text.withUnsafeBytes { bytes in
                Result { () throws(JSONError) in
                    try parser.parse(bytes).withRoot { ($0.value(), $0.serialized()) }
                }
            }
            switch outcome {
            case .success(let (value, serialized)):
                accepted += 1
                #expect(value.serialized() == serialized)
                #expect(try JSONValue(parsing: serialized) == value)
            case .failure(let error):
                #expect(error.code != .internal, "\(error) in \(String(decoding: text, as: UTF8.self))")
                #expect((error.offset ?? 0) <= text.count)
            }
        }
        #expect(accepted > 50)
        #expect(accepted < 2_900)
    }
}
