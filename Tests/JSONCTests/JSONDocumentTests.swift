import JSONC
import Testing

/// What json-c 0.16 lets pass or changes silently, and what QEMU sends.
@Suite struct JSONDocumentTests {
    static func code(of bytes: [UInt8]) -> JSONError.Code? {
        do throws(JSONError) {
            _ = try JSONDocument(parsing: bytes)
            return nil
        } catch {
            return error.code
        }
    }

    static func code(of text: String) -> JSONError.Code? { code(of: Array(text.utf8)) }

    @Test(
        arguments: [
            ("", .truncated), (" ", .truncated), ("{", .truncated), ("[1,", .truncated), ("\"a", .truncated),
            ("\"a\\", .truncated), ("\"\\u12", .truncated), ("{\"a\"", .truncated), ("{\"a\":", .truncated),
            ("-", .truncated), ("1.", .truncated), ("1e", .truncated), ("{\"a\":1", .truncated), ("[[]", .truncated),
            ("tru", .syntax), ("nul", .syntax), ("True", .syntax), ("NULL", .syntax), ("[1.]", .syntax),
            ("[1e]", .syntax),
            ("[1e+]", .syntax), ("[.5]", .syntax), ("[+1]", .syntax), ("[01]", .syntax), ("[-01]", .syntax),
            ("[-]", .syntax), ("[0x10]", .syntax), ("{'a':1}", .syntax), ("['a']", .syntax), ("[1,]", .syntax),
            ("[,1]", .syntax), ("[1,,2]", .syntax), ("[1 2]", .syntax), ("{\"a\":1,}", .syntax), ("{,}", .syntax),
            ("{\"a\" 1}", .syntax), ("{\"a\":}", .syntax), ("{1:1}", .syntax), ("{\"a\":1 \"b\":2}", .syntax),
            ("[1}", .syntax), ("{\"a\":1]", .syntax), ("}", .syntax), ("]", .syntax), (":", .syntax), (",", .syntax),
            ("[1]// x", .trailingBytes), ("/* x */[1]", .syntax), ("[1,/**/2]", .syntax), ("[1//\n]", .syntax),
            ("\"\\x41\"", .syntax), ("\"\\u00g0\"", .syntax), ("\"\\'\"", .syntax),
            ("{}{", .trailingBytes), ("{}x", .trailingBytes), ("{} {}", .trailingBytes), ("1 2", .trailingBytes),
            ("nullx", .trailingBytes), ("[]]", .trailingBytes), ("\"a\"\"b\"", .trailingBytes),
            ("[1]\u{0}", .trailingBytes),
            ("NaN", .nonFinite), ("[nan]", .nonFinite), ("[-nan]", .nonFinite), ("Infinity", .nonFinite),
            ("[-Infinity]", .nonFinite), ("[inf]", .nonFinite), ("{\"mbps\":-inf}", .nonFinite),
            ("\u{FEFF}{}", .syntax),
        ] as [(String, JSONError.Code)])
    func refuses(text: String, code: JSONError.Code) {
        #expect(Self.code(of: text) == code)
    }

    @Test(arguments: [
        "null", "true", "false", "0", "-0", "12", "-1.5e-7", "1E5", "\"\"", "\"a\"", "{}", "[]", " [ ] ",
        "{\"a\":1}\r\n",
        "\t{ \"a\" : [ 1 , 2.5 , null , { } ] }\n", "[[[]],{}]", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    ])
    func accepts(text: String) {
        #expect(Self.code(of: text) == nil)
    }

    @Test(arguments: UInt8(0)..<0x20)
    func refusesRawControlCharactersInStrings(byte: UInt8) {
        // At places where the scanner steps by words and by bytes.
        for padding in [0, 1, 7, 8, 9, 30] {
            let text = Array("\"".utf8) + [UInt8](repeating: 0x61, count: padding) + [byte] + Array("aaaaaaaaaa\"".utf8)
            #expect(Self.code(of: text) == .controlCharacter)
        }
    }

    @Test func refusesResyncAndNULOutsideOfStrings() {
        #expect(Self.code(of: [0xFF] + Array("{}".utf8)) == .syntax)
        #expect(Self.code(of: [0x00]) == .syntax)
        #expect(Self.code(of: Array("[1".utf8) + [0x00] + Array("]".utf8)) == .syntax)
    }

    // MARK: UTF-8

    @Test(
        arguments: [
            [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF], [0xF0, 0x8F, 0xBF, 0xBF],
            [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0x80], [0xBF],
            [0xFE], [0xFF], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98], [0xC3, 0x41], [0xE2, 0x82, 0x41],
        ] as [[UInt8]])
    func refusesMalformedUTF8(sequence: [UInt8]) {
        for padding in [0, 5, 6, 7, 8] {
            let quoted = Array("\"".utf8) + [UInt8](repeating: 0x61, count: padding) + sequence
            #expect(Self.code(of: quoted + Array("\"".utf8)) == .invalidUTF8)
            #expect(Self.code(of: quoted) == .invalidUTF8)
        }
        #expect(Self.code(of: Array("{\"".utf8) + sequence + Array("\":1}".utf8)) == .invalidUTF8)
    }

    @Test(arguments: [
        "é", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}",
    ])
    func keepsWellFormedUTF8(text: String) throws {
        let document = try JSONDocument(parsing: "{\"k\(text)\":\"\(text)aaaaaaaa\(text)\"}")
        document.withRoot { root in
            #expect(root.member("k\(text)")?.string == "\(text)aaaaaaaa\(text)")
            #expect(root.serialized() == Array("{\"k\(text)\":\"\(text)aaaaaaaa\(text)\"}".utf8))
        }
    }

    @Test func decodesSurrogatePairsAndRefusesHalves() throws {
        #expect(try JSONValue(parsing: "\"\\uD83D\\ude00\"") == "😀")
        for half in [
            "\\uD83D", "\\uDE00", "\\uD83Dx", "\\uD83D\\n", "\\uD83D\\u0041", "\\uDE00\\uD83D", "\\uD83D\\uD83D",
        ] {
            #expect(Self.code(of: "\"\(half)\"") == .loneSurrogate, "\(half)")
        }
        #expect(Self.code(of: "{\"\\ud800\":1}") == .loneSurrogate)
    }

    // MARK: NUL and duplicate keys

    @Test func keepsEscapedNULInValuesButNotInKeys() throws {
        let document = try JSONDocument(parsing: "{\"a\":\"x\\u0000y\"}")
        document.withRoot { root in
            #expect(root["a"]?.string == "x\u{0}y")
            #expect(root["a"]?.equals("x") == false)
            #expect(root["a"]?.equals("x\u{0}y") == true)
            #expect(root.serialized() == Array("{\"a\":\"x\\u0000y\"}".utf8))
        }
        #expect(Self.code(of: "{\"a\\u0000b\":1}") == .nulInKey)
        #expect(Self.code(of: "{\"\\u0000\":1}") == .nulInKey)
        #expect(Self.code(of: "{\"a\\\\u0000b\":1}") == nil)
    }

    @Test func looksUpNamesWithNULNowhere() throws {
        try JSONDocument(parsing: "{\"a\":1}").withRoot { root in
            #expect(root.member("a\u{0}b") == nil)
            #expect(root.member("a")?.int64 == 1)
        }
    }

    @Test(arguments: [
        ("{\"a\":1,\"a\":2}", 7), ("{\"a\":1,\"\\u0061\":2}", 7), ("[{},{\"x\":{\"b\":[],\"c\":{},\"b\":0}}]", 24),
        ("{\"\":1,\"\":1}", 6), ("{\"a\":{\"a\":1},\"b\":{\"a\":1},\"b\":{}}", 25),
    ])
    func refusesDuplicateKeys(text: String, offset: Int) throws {
        let error = #expect(throws: JSONError.self) { _ = try JSONDocument(parsing: text) }
        #expect(error?.code == .duplicateKey)
        #expect(error?.offset == offset)
    }

    @Test func allowsEqualKeysInDifferentObjects() {
        #expect(Self.code(of: "{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]},\"b\":\"a\"}") == nil)
        #expect(Self.code(of: "{\"a\":\":\",\"b\":\"\\\"a\\\":\"}") == nil)
    }

    // MARK: Numbers

    @Test(arguments: [
        "18446744073709551616", "-9223372036854775809", "18446744073709551620", "99999999999999999999",
        "-18446744073709551615", String(repeating: "9", count: 400), "-" + String(repeating: "1", count: 400),
    ])
    func refusesIntegersOutOfRange(text: String) {
        #expect(Self.code(of: text) == .integerOutOfRange)
        #expect(Self.code(of: "{\"a\":[\(text)]}") == .integerOutOfRange)
    }

    @Test func readsIntegersAtTheEdges() throws {
        let text = "[0,-0,9223372036854775807,9223372036854775808,18446744073709551615,-9223372036854775808,-1]"
        try JSONDocument(parsing: text).withRoot { root in
            let signed = (0..<7).map { root.element(at: $0)?.int64 }
            #expect(signed == [0, 0, .max, nil, nil, .min, -1])
            let unsigned = (0..<7).map { root.element(at: $0)?.uint64 }
            #expect(unsigned == [0, 0, 9_223_372_036_854_775_807, 1 << 63, .max, nil, nil])
            #expect(root.element(at: 4)?.double == 18_446_744_073_709_551_615.0)
            #expect(root.element(at: 4)?.value() == .unsigned(.max))
            #expect(root.element(at: 2)?.value() == .integer(.max))
            #expect(root.element(at: 7) == nil)
            #expect(root.element(at: -1) == nil)
        }
    }

    @Test(arguments: ["1.10", "268.63999999999999", "1e400", "-1E+5", "0.0", "1.0", "5e-324", "-0.0"])
    func keepsTheSourceTextOfDoubles(text: String) throws {
        try JSONDocument(parsing: "[\(text)]").withRoot { root in
            #expect(root.serialized() == Array("[\(text)]".utf8))
            #expect(root.value().text() == "[\(text)]")
            let number = root.element(at: 0)
            #expect(number?.kind == .number)
            #expect(number?.int64 == nil)
            #expect(number?.uint64 == nil)
            #expect(number?.double == (text == "1e400" ? nil : Double(text)))
        }
    }

    @Test func readsTopLevelScalars() throws {
        #expect(try JSONValue(parsing: "123") == 123)
        #expect(try JSONValue(parsing: "-12.5") == -12.5)
        #expect(try JSONValue(parsing: "true") == true)
        #expect(try JSONValue(parsing: "null") == nil)
        #expect(try JSONValue(parsing: "\"x\"") == "x")
    }

    // MARK: Limits

    @Test(arguments: ["[", "{\"a\":"])
    func nestsAsDeepAsQEMU(opening: String) throws {
        let closing = opening == "[" ? "]" : "}"
        func text(_ depth: Int) -> String {
            String(repeating: opening, count: depth) + "1" + String(repeating: closing, count: depth)
        }
        for depth in [1, 31, 32, 33, 1023, 1024] {
            let value = try JSONValue(parsing: text(depth))
            #expect(value.text() == text(depth))
            #expect(value.hashValue == (try JSONValue(parsing: text(depth))).hashValue)
        }
        #expect(Self.code(of: text(1025)) == .depth)
        #expect(Self.code(of: String(repeating: opening, count: 1_000_000)) == .depth)
    }

    @Test func limitsLengthAndDepth() throws {
        var parser = JSONParser(limits: JSONLimits(maximumDepth: 2, maximumBytes: 10))
        func code(_ text: String) -> JSONError.Code? {
            Array(text.utf8).withUnsafeBytes { bytes in
                do throws(JSONError) {
                    _ = try parser.parse(bytes)
                    return nil
                } catch {
                    return error.code
                }
            }
        }
        #expect(code("[[1]]") == nil)
        #expect(code("[[]]") == nil)
        #expect(code("[[[]]]") == .depth)
        #expect(code("[[[1]]]") == .depth)
        #expect(code("\"12345678\"") == nil)
        #expect(code("\"123456789\"") == .tooLarge)
    }

    @Test func parserIsUsableAfterAnError() throws {
        var parser = JSONParser()
        for text in ["{\"a\":", "[1,{\"b\":nan}]", "{\"a\":1,\"a\":1}", "12", "", "{\"a\":[1,2]}"] {
            Array(text.utf8).withUnsafeBytes { bytes in
                if let document = try? parser.parse(bytes) {
                    #expect(document.withRoot { $0.serialized() } == Array(text.utf8))
                }
            }
        }
        let count = try Array("[1,2]".utf8).withUnsafeBytes { bytes in
            try parser.parse(bytes).withRoot { $0.count }
        }
        #expect(count == 2)
    }

    @Test func namesThePlaceOfAnError() {
        let error = #expect(throws: JSONError.self) { _ = try JSONDocument(parsing: "{\"a\" ; 1}") }
        #expect(error?.offset == 5)
        #expect(error?.description == "unexpected ';' where ':' is expected at byte 5")
    }
}
