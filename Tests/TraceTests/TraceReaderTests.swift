import JSONC
import Testing
import Trace

@Suite struct TraceReaderTests {
    static let header = #"{"qmptrace":1,"recorder":"test","title":"small","qemu":{"source":"9.1"}}"#

    static let small = """
        \(header)
        # a comment

        {"t":0.036242,"side":"source","monitor":"connected"}
        {"t":0.036242,"side":"source","recv":{"QMP": {"version": {"qemu": {"micro": 1}}, "capabilities": ["oob"]}}}
        {"t":0.036365,"side":"source","send":{"execute":"query-migrate","id":"src-1"}}
        {"t":1,"side":"destination","seq":77,"qemu":"q2","conn":2,"attempt":"a1","raw":"AP9h"}
        {"t":1.5,"fds":1,"side":"source"}
        {"t":2.000001,"side":"source","process":{"signalled":9}}
        {"t":3,"process":{"exited":1}}
        {"t":3,"process":{}}
        {"t":4,"run":"a1"}
        {"t":5,"mark":"the end"}

        """

    static func records(_ text: String, lenient: Bool = false) throws -> [TraceRecord] {
        var reader = try TraceReader(bytes: Array(text.utf8), name: "x", lenient: lenient)
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    @Test func readsTheHeader() throws {
        let header = try TraceReader(bytes: Array(Self.small.utf8), name: "x").header
        #expect(header.version == 1)
        #expect(header.recorder == "test")
        #expect(header.title == "small")
        #expect(header.role == nil)
        #expect(header.other["qemu"]?["source"]?.string == "9.1")
    }

    @Test func readsRecords() throws {
        let records = try Self.records(Self.small)
        #expect(
            records.map(\.member.name) == [
                "monitor", "recv", "send", "raw", "fds", "process", "process", "process", "run", "mark",
            ]
        )
        #expect(records.map(\.line) == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
        #expect(records.map(\.seq) == [4, 5, 6, 77, 8, 9, 10, 11, 12, 13])
        #expect(records.map(\.microseconds).prefix(6) == [36242, 36242, 36365, 1_000_000, 1_500_000, 2_000_001])
        #expect(records[0].side == .source)
        #expect(records[8].side == nil)
        #expect(records[3].qemu == "q2")
        #expect(records[3].connection == 2)
        #expect(records[3].attempt == "a1")
        #expect(records[3].member == .raw([0, 255, 0x61]))
        #expect(records[4].member == .fds(1))
        #expect(records[5].member == .process(.signalled(9)))
        #expect(records[6].member == .process(.exited(1)))
        #expect(records[7].member == .process(.unknown))
        #expect(records[8].member == .run("a1"))
        #expect(records[2].member == .send(["execute": "query-migrate", "id": "src-1"]))
    }

    @Test(
        arguments: [
            ("0", 0), ("-0", 0), ("12", 12_000_000), ("0.5", 500_000), ("1.0000004", 1_000_000),
            ("1.0000005", 1_000_001),
            ("1.00000049999999999999999999999", 1_000_000), ("1e2", 100_000_000), ("1.5e-6", 2), ("0.1E1", 1_000_000),
            ("1700000000.123456", 1_700_000_000_123_456), ("0.9999995", 1_000_000),
            ("1.000000000000000000000", 1_000_000),
        ] as [(String, Int64)])
    func readsTimes(text: String, microseconds: Int64) throws {
        let records = try Self.records(Self.header + "\n" + #"{"t":\#(text),"mark":"m"}"# + "\n")
        #expect(records.map(\.microseconds) == [microseconds])
    }

    @Test(arguments: [
        "9223372036855", "9223372036854775807", "18446744073709551615", "1e13", "99999999999999.5", "-0.5",
    ])
    func refusesTimesOutOfRange(text: String) throws {
        let line = Self.header + "\n" + #"{"t":\#(text),"mark":"m"}"# + "\n"
        #expect(throws: TraceError.self) { try Self.records(line) }
    }

    @Test func lendsTheVerbatimValue() throws {
        let message = #"{"QMP":  {"é": "\u00e9\/\"}{", "n": 1.10} , "recv": [1]}"#
        let line = #"{"t":1,"side":"source", "recv" : \#(message) ,"x":[{"recv":0}]}"#
        var reader = try TraceReader(bytes: Array((Self.header + "\n" + line + "\n").utf8), name: "x")
        #expect(reader.verbatimValue == nil)
        let record = try reader.next()
        #expect(String(decoding: reader.verbatimValue ?? [], as: UTF8.self) == message)
        #expect(String(decoding: reader.lineBytes, as: UTF8.self) == line)
        #expect(record?.other["x"]?.array?.count == 1)
        #expect(try reader.next() == nil)
        #expect(reader.verbatimValue == nil)
    }

    @Test func keepsUnknownMembers() throws {
        let text =
            Self.header + "\n" + #"{"t":1,"later":{"a":1.50},"more":2}"# + "\n" + #"{"t":1,"mark":"m","more":2}"# + "\n"
        var reader = try TraceReader(bytes: Array(text.utf8), name: "x")
        let first = try reader.next()
        #expect(first?.member == .unknown("later", ["a": 1.5]))
        #expect(first?.other == ["more": 2])
        let second = try reader.next()
        #expect(second?.member == .mark("m"))
        #expect(second?.other == ["more": 2])
        #expect(reader.unknownMembers == ["later": 1])
    }

    @Test(arguments: [
        (#"{"t":1,"mark":"m"} x"#, 20, "bytes follow"),
        (#"{"t":1,"mark":"m""#, 18, "ends"),
        (#"{"t":1,"t":2,"mark":"m"}"#, 8, "twice"),
        (#"{"t":1,"recv":{"n":nan}}"#, 20, "nan"),
        (#"[1]"#, 1, "object"),
        (#"{"mark":"m"}"#, 1, "no time"),
        (#"{"t":"1","mark":"m"}"#, 6, "\"t\""),
        (#"{"t":-1,"mark":"m"}"#, 6, "\"t\""),
        (#"{"t":1e300,"mark":"m"}"#, 6, "\"t\""),
        (#"{"t":1e400,"mark":"m"}"#, 6, "\"t\""),
        (#"{"t":1,"side":"left","mark":"m"}"#, 15, "side"),
        (#"{"t":1,"side":null,"mark":"m"}"#, 15, "side"),
        (#"{"t":1,"mark": 5}"#, 16, "mark"),
        (#"{"t":1,"raw":"A"}"#, 14, "base64"),
        (#"{"t":1,"raw":"AB=="}"#, 14, "base64"),
        (#"{"t":1,"raw":"A==="}"#, 14, "base64"),
        (#"{"t":1,"fds":-1}"#, 14, "count"),
        (#"{"t":1,"fds":18446744073709551615}"#, 14, "count"),
        (#"{"t":1,"process":"gone"}"#, 18, "process"),
        (#"{"t":1}"#, 1, "nothing"),
        (#"{"t":1,"recv":{"send":1},"send":{}}"#, 33, "both"),
        (#"{"qmptrace":1}"#, 13, "second header"),
        ("\u{0}", 1, "unexpected"),
    ])
    func namesThePlaceOfABadLine(line: String, column: Int, words: String) throws {
        let text = Self.header + "\n#\n" + line + "\n" + #"{"t":9,"mark":"after"}"# + "\n"
        var reader = try TraceReader(bytes: Array(text.utf8), name: "bad.qmptrace")
        let error = #expect(throws: TraceError.self) { try reader.next() }
        #expect(error?.file == "bad.qmptrace")
        #expect(error?.line == 3)
        #expect(error?.column == column, "\(error?.description ?? "")")
        #expect(error?.message.contains(words) == true, "\(error?.description ?? "")")
        #expect(try reader.next()?.member == .mark("after"))

        var lenient = try TraceReader(bytes: Array(text.utf8), name: "bad.qmptrace", lenient: true)
        #expect(try lenient.next()?.member == .mark("after"))
        #expect(try lenient.next() == nil)
        #expect(lenient.skipped == 1)
        #expect(lenient.warnings.map(\.kind) == [.skipped])
        #expect(lenient.warnings.first?.error.line == 3)
    }

    @Test(arguments: [
        "", "\n\n# only a comment\n", "[]\n", "{}\n", "{\"qmptrace\":2}\n", "{\"qmptrace\":\"1\"}\n", "x\n", header,
    ])
    func refusesWhatIsNoTrace(text: String) {
        for lenient in [false, true] {
            #expect(throws: TraceError.self) {
                _ = try TraceReader(bytes: Array(text.utf8), name: "x", lenient: lenient)
            }
        }
    }

    @Test func dropsATornLastLine() throws {
        for torn in [#"{"t":2,"mark":"complete but without line feed"}"#, #"{"t":2,"ma"#, "\u{0}\u{0}"] {
            let text = Self.header + "\n" + #"{"t":1,"mark":"m"}"# + "\n" + torn
            var reader = try TraceReader(bytes: Array(text.utf8), name: "x")
            #expect(try reader.next()?.member == .mark("m"))
            #expect(reader.warnings.isEmpty)
            #expect(try reader.next() == nil)
            #expect(try reader.next() == nil)
            #expect(reader.warnings.map(\.kind) == [.torn])
            #expect(reader.warnings.first?.error.line == 3)
            #expect(reader.skipped == 0)
        }
    }

    @Test func takesCarriageReturnsAndTornCommentsInSilence() throws {
        let text = Self.header + "\r\n\r\n" + #"{"t":1,"mark":"m"}"# + "\r\n# torn"
        var reader = try TraceReader(bytes: Array(text.utf8), name: "x")
        #expect(try reader.next()?.member == .mark("m"))
        #expect(try reader.next() == nil)
        #expect(reader.warnings.isEmpty)
    }

    @Test func boundsTheLineLength() throws {
        let long = #"{"t":1,"mark":"\#(String(repeating: "x", count: 200))"}"#
        let text = Self.header + "\n" + long + "\n" + #"{"t":2,"mark":"m"}"# + "\n" + long
        var reader = try TraceReader(bytes: Array(text.utf8), name: "x", maximumLineBytes: 100)
        let error = #expect(throws: TraceError.self) { try reader.next() }
        #expect(error?.line == 2)
        #expect(try reader.next()?.member == .mark("m"))
        var lenient = try TraceReader(bytes: Array(text.utf8), name: "x", lenient: true, maximumLineBytes: 100)
        #expect(try lenient.next()?.line == 3)
        #expect(try lenient.next() == nil)
        #expect(lenient.skipped == 2)
    }

    @Test func boundsTheWarnings() throws {
        let text = Self.header + "\n" + String(repeating: "x\n", count: 500) + "torn"
        var reader = try TraceReader(bytes: Array(text.utf8), name: "x", lenient: true)
        #expect(try reader.next() == nil)
        #expect(reader.skipped == 500)
        #expect(reader.warnings.count == 101)
        #expect(reader.warnings.last?.kind == .torn)
    }

    @Test func takesMessagesAsDeepAsQEMU() throws {
        let deep = String(repeating: "[", count: 1024) + "1" + String(repeating: "]", count: 1024)
        let records = try Self.records(Self.header + "\n" + #"{"t":1,"recv":\#(deep)}"# + "\n")
        #expect(records.first?.member.value.text() == deep)
        #expect(throws: TraceError.self) {
            try Self.records(Self.header + "\n" + #"{"t":1,"recv":[\#(deep)]}"# + "\n")
        }
    }
}
