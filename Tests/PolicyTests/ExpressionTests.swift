import Policy
import Testing

@Suite("Expressions")
struct ExpressionTests {
    @Test(
        "what they come to",
        arguments: [
            ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("10 - 4 - 3", 3), ("16 / 4 / 2", 2), ("-2 * 3", -6), ("2 - -3", 5),
            ("1 < 2 and 2 < 3", 1), ("1 == 2 or 3 != 3", 0), ("not 1 == 2", 1), ("not 1 or 1", 1), ("1 or 1 and 0", 1),
            ("40s", 40_000), ("1.5min", 90_000), ("300ms", 300), ("1h", 3_600_000), ("4%", 0.04), ("2KiB", 2048),
            ("1GB", 1e9), ("32MiB/s", 33_554_432), ("8MB/2", 4e6), ("min(3, max(1, 2))", 2),
            ("floor(1.9) + ceil(1.1)", 3),
            ("abs(1 - 3)", 2), ("if(0, 1, 2)", 2), ("0 / 0", 0), ("known(elapsed)", 0),
        ] as [(String, Double)])
    func values(_ text: String, _ value: Double) throws {
        let expression = try ExpressionParser().parse(text)
        if text.contains("elapsed") {
            #expect(expression.constantValue == nil)
        } else {
            #expect(expression.constantValue == value)
        }
        #expect(expression.text == text)
    }

    @Test("what is too large is the largest number")
    func large() throws {
        let value = try #require(try ExpressionParser().parse("1 / 0").constantValue)
        #expect(value == .greatestFiniteMagnitude)
        #expect(try ExpressionParser().parse("1 / 0 - 1 / 0").constantValue == 0)
    }

    @Test(
        "what is wrong, and where",
        arguments: [
            ("", 1, "a value was expected"), ("1 +", 4, "a value was expected"), ("elapsd > 3", 1, "`elapsd`"),
            ("1 2", 3, "an operator"), ("(1", 3, "`)`"), ("min(1)", 6, "another value of `min`"),
            ("3 furlongs", 3, "operator"),
            ("3furlongs", 1, "no unit"), ("1..2", 1, "no number"), ("1 < 2 < 3", 7, "chained"),
            ("1 ; 2", 3, "means nothing"),
            ("1 = 2", 3, "means nothing"), ("1 +\u{1}", 4, "no meaning"), ("known", 6, "`(`"),
        ] as [(String, Int, String)])
    func errors(_ text: String, _ column: Int, _ message: String) throws {
        let error = #expect(throws: ExpressionError.self) { try ExpressionParser().parse(text) }
        #expect(error?.column == column)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test("neither depth nor length is without bound")
    func bounds() {
        #expect(throws: ExpressionError.self) {
            try ExpressionParser().parse(String(repeating: "(", count: 100) + "1" + String(repeating: ")", count: 100))
        }
        #expect(throws: ExpressionError.self) { try ExpressionParser().parse(String(repeating: "-", count: 900) + "1") }
        #expect(throws: ExpressionError.self) {
            try ExpressionParser().parse("1" + String(repeating: " + 1", count: 400))
        }
    }

    @Test("names of the language's own are not free")
    func names() {
        #expect(ExpressionParser.isFree("speed"))
        for name in ["elapsed", "min", "and", "not", "", "1a", "a b", "a-b", "ä"] {
            #expect(!ExpressionParser.isFree(name), "\(name)")
        }
    }
}
