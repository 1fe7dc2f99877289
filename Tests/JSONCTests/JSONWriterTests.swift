import JSONC
import Testing

@Suite struct JSONWriterTests {
    @Test func writesCommasWhereTheyBelong() throws {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("s", "text")
            writer.member("i", 1)
            writer.member("l", Int64.min)
            writer.member("u", UInt64.max)
            writer.member("d", 0.5)
            writer.member("b", true)
            writer.member("v", ["x": nil] as JSONValue)
            writer.object("o") { $0.member("e", 1) }
            writer.array("a") { writer in
                writer.value(1)
                writer.array { _ in }
                writer.object { _ in }
                writer.null()
                writer.value("z")
            }
            writer.rawMember("r", "{\"verbatim\":  1}".utf8)
            writer.key("k\"")
            writer.value(false)
            writer.object("empty") { _ in }
        }
        let text = String(decoding: writer.bytes, as: UTF8.self)
        let expected =
            "{\"s\":\"text\",\"i\":1,\"l\":-9223372036854775808,\"u\":18446744073709551615,\"d\":0.5,\"b\":true,"
            + "\"v\":{\"x\":null},\"o\":{\"e\":1},\"a\":[1,[],{},null,\"z\"],\"r\":{\"verbatim\":  1},\"k\\\"\":false,"
            + "\"empty\":{}}"
        #expect(text == expected)
        #expect(throws: Never.self) { try JSONValue(parsing: text) }
    }

    @Test(arguments: [
        ("plain", "\"plain\""), ("a\"b\\c/", "\"a\\\"b\\\\c/\""),
        ("\u{0}\n\u{1F}\u{7F}", "\"\\u0000\\u000a\\u001f\u{7F}\""),
        ("é😀", "\"é😀\""), ("\r\n", "\"\\u000d\\u000a\""), ("", "\"\""),
    ])
    func escapes(text: String, json: String) throws {
        let bytes = JSONValue.string(text).serialized()
        #expect(String(decoding: bytes, as: UTF8.self) == json)
        #expect(try JSONValue(parsing: bytes) == .string(text))
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity])
    func writesNoNonFiniteNumbers(value: Double) {
        var writer = JSONWriter()
        writer.value(value)
        #expect(writer.bytes == Array("null".utf8))
    }

    @Test(arguments: [0.1, 1e100, -2.5e-10, 123_456_789.0, .greatestFiniteMagnitude, .leastNonzeroMagnitude])
    func doublesSurvive(value: Double) throws {
        var writer = JSONWriter()
        writer.value(value)
        #expect(try JSONValue(parsing: writer.bytes).double == value)
    }

    @Test func writesViews() throws {
        let document = try JSONDocument(parsing: "{\"a\":[1.50,\"x\"]}")
        var writer = JSONWriter()
        document.withRoot { root in
            writer.object { $0.member("copy", root) }
        }
        #expect(writer.bytes == Array("{\"copy\":{\"a\":[1.50,\"x\"]}}".utf8))
    }
}
