import JSONC
import Testing
import Trace

@Suite struct TraceWriterTests {
    static func records(_ bytes: [UInt8]) throws -> [TraceRecord] {
        var reader = try TraceReader(bytes: bytes, name: "x")
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    @Test func writesTheHeader() throws {
        let header = TraceHeader(
            recorded: "2026-11-21T01:02:03Z", recorder: "godwit 0.1.0", role: .coordinator, title: "a \"title\"\n",
            other: ["x": [1.5, nil], "title": "not this one"]
        )
        let writer = TraceWriter(header: header)
        #expect(
            String(decoding: writer.pending, as: UTF8.self)
                == #"{"qmptrace":1,"recorded":"2026-11-21T01:02:03Z","recorder":"godwit 0.1.0","role":"coordinator","#
                + #""title":"a \"title\"\u000a","x":[1.5,null]}"# + "\n"
        )
        let read = try TraceReader(bytes: writer.pending, name: "x").header
        #expect(read.role == .coordinator)
        #expect(read.title == "a \"title\"\n")
        #expect(read.other == ["x": [1.5, nil]])
    }

    static let members: [TraceMember] = [
        .recv(["return": [:], "id": 1]), .send(["execute": "cont"]), .raw([]), .raw([0]), .raw([0, 1]),
        .raw([0xFF, 0xFE, 0xFD]), .raw(Array(0...255)), .fds(0), .fds(253), .monitor("busy"), .process(.exited(-1)),
        .process(.signalled(9)), .process(.unknown), .request(["do": "migrate"]), .call(["step": "begin"]),
        .answer(["step": "begin", "accepted": true]), .peer("lost"), .timeout("cancel"), .arm(["a": 1]), .disarm("a"),
        .restarted(["pid": 1]), .intent("x"), .saved([]), .run("id"), .refused("id"), .surrendered("id"), .kill([:]),
        .lease(nil), .hook(["run": "begin"]), .policy(["rule": "raise"]), .phase(["from": "none", "to": "begin3"]),
        .status(["status": "active"]),
        .survey(["failed": "x"]),
        .result(["outcome": "lost"]), .mark("é\n\u{0}\"\\"),
        .unknown("later", 18_446_744_073_709_551_615.0), .unknown("a \"key\"\n", true),
    ]

    @Test(arguments: members)
    func everyMemberSurvives(member: TraceMember) throws {
        let record = TraceRecord(
            microseconds: 12_000_034, side: .destination, seq: 9, line: 2, qemu: "q\"1", connection: 3, attempt: "é",
            member: member, other: ["note": 1]
        )
        var writer = TraceWriter(header: TraceHeader())
        #expect(writer.append(record) == 2)
        #expect(try Self.records(writer.pending) == [record])
    }

    @Test(
        arguments: [
            (0, "0.000000"), (1, "0.000001"), (999_999, "0.999999"), (1_000_000, "1.000000"), (3_281_072, "3.281072"),
            (-5, "0.000000"), (9_007_199_254_740_991, "9007199254.740991"),
            (99_999_999_999_999_999, "99999999999.999999"),
        ] as [(Int64, String)])
    func timesAreExact(microseconds: Int64, text: String) throws {
        var writer = TraceWriter(header: TraceHeader())
        _ = writer.takePending()
        writer.append(microseconds: microseconds, side: nil, member: "mark", rawJSON: "\"m\"".utf8)
        #expect(String(decoding: writer.pending, as: UTF8.self) == "{\"t\":\(text),\"mark\":\"m\"}\n")
        let read = try Self.records(Array("{\"qmptrace\":1}\n".utf8) + writer.pending)
        #expect(read.first?.microseconds == max(microseconds, 0))
    }

    @Test(arguments: [
        #"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#,
        #"{"a":1.10,"b":"\u00e9\/é","c":1e400 }"#,
        "18446744073709551615",
    ])
    func messagesSurviveVerbatim(message: String) throws {
        var writer = TraceWriter(header: TraceHeader())
        writer.append(
            microseconds: 1, side: .source, connection: 2, qemu: "q", attempt: "a", member: "recv",
            rawJSON: (message + "\r\n").utf8
        )
        var reader = try TraceReader(bytes: writer.pending, name: "x")
        let record = try reader.next()
        #expect(String(decoding: reader.verbatimValue ?? [], as: UTF8.self) == message)
        #expect(record?.member == .recv(try JSONValue(parsing: message)))
        #expect(record?.connection == 2)
        #expect(record?.qemu == "q")
        #expect(record?.attempt == "a")
        #expect(try reader.next() == nil)
        #expect(reader.warnings.isEmpty)
    }

    @Test func prettyMessagesBecomeOneLine() throws {
        var writer = TraceWriter(header: TraceHeader())
        writer.append(microseconds: 1, side: .source, member: "recv", rawJSON: "{\r\n    \"a\": [\n  1]\r\n}\r\n".utf8)
        writer.append(microseconds: 1, side: .source, member: "recv", rawJSON: [] as [UInt8])
        let records = try Self.records(writer.pending)
        #expect(records.map(\.member) == [.recv(["a": [1]]), .recv(.null)])
    }

    @Test func whatIsNoMessageBecomesRaw() throws {
        var parser = JSONParser()
        var writer = TraceWriter(header: TraceHeader())
        let texts = ["{\"a\": 1}", "{\"a\": nan}", "\u{0}\nx", "{\"a\":1,\"a\":2}", ""]
        for text in texts {
            Array(text.utf8).withUnsafeBytes { bytes in
                _ = writer.appendMessage(microseconds: 1, side: nil, member: "recv", bytes: bytes, checkedBy: &parser)
            }
        }
        let records = try Self.records(writer.pending)
        #expect(records.map(\.member) == [.recv(["a": 1])] + texts.dropFirst().map { .raw(Array($0.utf8)) })
    }

    @Test func numbersRecordsByTheirLine() throws {
        var writer = TraceWriter(header: TraceHeader())
        let mark = TraceRecord(microseconds: 0, member: .mark("m"))
        #expect(writer.nextLine == 2)
        #expect(writer.append(mark) == 2)
        #expect(writer.append(microseconds: 0, side: nil, raw: [1]) == 3)
        var numbered = mark
        numbered.seq = 4
        #expect(writer.append(numbered) == 4)
        numbered.seq = 40
        #expect(writer.append(numbered) == 5)
        #expect(try Self.records(writer.pending).map(\.seq) == [2, 3, 4, 40])
        #expect(!String(decoding: writer.pending, as: UTF8.self).contains("\"seq\":4,"))
    }

    @Test func pendingCanBeTakenInParts() {
        var writer = TraceWriter(continuingAfterLines: 7)
        #expect(writer.append(TraceRecord(microseconds: 0, member: .mark("m"))) == 8)
        let all = writer.pending
        writer.removePending(5)
        #expect(writer.pending == Array(all.dropFirst(5)))
        writer.removePending(-1)
        writer.removePending(1000)
        #expect(writer.pending.isEmpty)
    }

    /// The documented members are the ones there are.
    @Test func everyMemberIsDocumented() throws {
        let own = "Tests/TraceTests/TraceWriterTests.swift"
        #expect(#filePath.hasSuffix(own))
        let page = "\(#filePath.dropLast(own.count))Sources/Trace/Trace.docc/TraceFormat.md"
        let lines = LineSource(try ByteSource.open(path: page), maximumLineBytes: 1 << 16)
        var isRecords = false
        var documented: [String] = []
        while case .complete(let range) = try lines.next() {
            let line = String(decoding: lines.buffer[range], as: UTF8.self)
            isRecords = isRecords || line == "### Records"
            guard isRecords, line.hasPrefix("| `"), let name = line.split(separator: "`").dropFirst().first else {
                continue
            }
            documented.append(String(name))
        }
        let known = Self.members.filter { if case .unknown = $0 { false } else { true } }.map(\.name)
        #expect(Set(documented) == Set(known))
        #expect(documented.count == Set(known).count)
    }
}
