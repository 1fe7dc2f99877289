import JSONC
import Replay
import Testing
import Trace

/// Recordings that stop anywhere, lie, repeat themselves or are out of order: a report comes out of each.
struct RobustnessTests {
    private static let some = Fixtures.names.filter { name in
        ["cancel", "cancel-odd", "connect-fail", "ctl-disconnect", "dst-hung-device-cancel", "exec-file", "fast-cont"]
            .contains(name.split(separator: "/").last.map(String.init) ?? "")
    }

    private static let outcomes: Set<String> = [
        "completed", "failed", "cancelled", "postcopy-paused", "undecided", "lost", "ended", "unfinished",
    ]

    private static func check(_ report: ReplayReport) {
        #expect(report.outcomes.allSatisfy { outcomes.contains($0) })
        let text = report.json.text()
        #expect((try? JSONValue(parsing: text)) == report.json)
    }

    /// The observer has no memory of what comes after: its report after each record is that of the recording cut there.
    @Test(arguments: Fixtures.names)
    func cutAnywhere(_ name: String) throws {
        var observer = Observer(recorder: "x")
        var attempts = 0
        for (count, record) in try Fixtures.records(name).enumerated() {
            _ = observer.apply(record)
            let report = observer.report(trace: name)
            #expect(report.records == count + 1)
            #expect(report.attempts.count >= attempts)
            #expect(report.outcomes.allSatisfy { Self.outcomes.contains($0) })
            attempts = report.attempts.count
        }
    }

    @Test(arguments: some)
    func doubled(_ name: String) throws {
        Self.check(Self.replay(try Fixtures.records(name).flatMap { [$0, $0] }))
    }

    @Test(arguments: some)
    func shuffled(_ name: String) throws {
        let records = try Fixtures.records(name)
        Self.check(Self.replay(records.reversed()))
        for seed in 1...20 {
            var random = Random(state: UInt64(seed))
            Self.check(Self.replay(records.shuffled(using: &random)))
        }
    }

    @Test(arguments: some)
    func thinnedOut(_ name: String) throws {
        let records = try Fixtures.records(name)
        for seed in 1...20 {
            var random = Random(state: UInt64(seed))
            Self.check(Self.replay(records.filter { _ in random.next() % 4 != 0 }))
        }
    }

    @Test(arguments: some.filter { $0.hasPrefix("10.") })
    func withOtherWords(_ name: String) throws {
        let text = String(decoding: Fixtures.bytes(Fixtures.trace(name)), as: UTF8.self)
        let changes = [
            ("\"active\"", "\"brewing\""), ("\"completed\"", "\"failed\""), ("\"setup\"", "\"none\""),
            ("\"status\"", "\"state\""), ("\"side\":\"source\"", "\"side\":\"destination\""),
            ("\"return\"", "\"event\""),
            ("\"id\"", "\"ID\""), ("\"recv\"", "\"send\""), ("\"send\"", "\"recv\""), ("MIGRATION", "STOP"),
            ("\"migrate\"", "\"migrate-incoming\""), ("\"t\":", "\"seq\":9223372036854775807,\"t\":9e11,\"x\":"),
            ("\"total-time\": ", "\"total-time\": 9223372036854775807, \"y\": "), ("src-", ""),
            ("\"monitor\":\"lost\"", "\"monitor\":\"what\""), ("{\"exited\": 0}", "{\"exited\":-9223372036854775808}"),
        ]
        for (old, new) in changes {
            let changed = Self.replacing(old, with: new, in: text)
            var run = ReplayRun(
                reader: try TraceReader(bytes: Array(changed.utf8), name: name, lenient: true), name: name)
            var story = ""
            while let part = try run.next() { story += part }
            #expect(!story.isEmpty)
            Self.check(run.report)
        }
    }

    @Test func endlessOddities() throws {
        var observer = Observer()
        for number in 0..<5000 {
            _ = observer.apply(
                TraceRecord(
                    microseconds: .max, side: .source, seq: number, connection: number,
                    member: .recv(["event": "MIGRATION", "data": ["status": .string("word \(number)")]])))
            _ = observer.apply(TraceRecord(microseconds: 0, side: .source, seq: .min, member: .raw([])))
        }
        let report = observer.report(trace: "odd")
        #expect(report.anomalies.count == 1000)
        #expect(report.omittedAnomalies > 4000)
    }

    private static func replay(_ records: [TraceRecord]) -> ReplayReport {
        var observer = Observer()
        for record in records { _ = observer.apply(record) }
        return observer.report(trace: "changed")
    }

    private static func replacing(_ old: String, with new: String, in text: String) -> String {
        var result: [UInt8] = []
        let bytes = Array(text.utf8)
        let (from, to) = (Array(old.utf8), Array(new.utf8))
        var index = 0
        while index < bytes.count {
            if bytes[index...].starts(with: from) {
                result += to
                index += from.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The same disorder every time.
    private struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            var value = state
            value ^= value >> 33
            value = value &* 0xff51_afd7_ed55_8ccd
            return value ^ (value >> 33)
        }
    }
}
