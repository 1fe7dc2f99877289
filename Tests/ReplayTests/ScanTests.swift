import Glibc
import JSONC
import Migration
import Phases
import Testing

@testable import Replay
@testable import Trace

/// Whether there is time: with `GODWIT_THOROUGH` set, sweeps leave nothing out.
private let isThorough = getenv("GODWIT_THOROUGH") != nil

/// The scanner against json-c: whatever is in a trace, both ways show the same.
struct ScanTests {
    /// What one way made of a trace.
    struct Outcome: Equatable {
        var header: TraceHeader?
        var observations: [Observation] = []
        var warnings: [TraceWarning] = []
        var failure: TraceError?
        var report: JSONValue = .null
        var evidence: [Evidence] = []
        var inference: [PhaseInference] = []
        var shaped = 0
    }

    static func replay(
        _ bytes: [UInt8], isExact: Bool, isTold: Bool = true, threads: Int = 1, blockBytes: Int = 4096,
        lenient: Bool = true
    ) -> Outcome {
        var outcome = Outcome()
        do throws(TraceError) {
            let scan = try TraceScan(bytes: bytes, name: "x", blockBytes: blockBytes)
            outcome.header = scan.header
            var replay = ScanReplay(scan.header, name: "x", isLenient: lenient, isTold: isTold)
            var observations: [Observation] = []
            var shaped = 0
            try scan.forEachBlock(threads: threads, wanted: ObservedShape.wanted, isExact: isExact) { block, line in
                shaped += block.lines.count { $0.shape >= 0 }
                return replay.apply(block, firstLine: line) { told, _ in observations += told }
            }
            outcome.observations = observations
            outcome.failure = replay.failure
            outcome.warnings = replay.warnings + scan.warnings
            outcome.report = replay.observer.report(trace: "x").json
            outcome.evidence = replay.observer.attempts.open.flatMap { [$0.source, $0.destination] }
            outcome.inference = replay.observer.attempts.open.map(\.inference)
            outcome.shaped = shaped
        } catch {
            outcome.failure = error
        }
        return outcome
    }

    /// Both ways, compared; returns how many lines the scanner took by their shape.
    @discardableResult
    static func compare(_ bytes: [UInt8], lenient: Bool = true, _ hint: String) -> Int {
        let exact = replay(bytes, isExact: true, lenient: lenient)
        var fast = replay(bytes, isExact: false, lenient: lenient)
        let shaped = fast.shaped
        fast.shaped = 0
        #expect(exact.shaped == 0)
        // Without a story quiet runs are counted together, each as long as its block at most.
        for blockBytes in [600, 1 << 20] {
            var quiet = replay(bytes, isExact: false, isTold: false, blockBytes: blockBytes, lenient: lenient)
            quiet.shaped = 0
            quiet.observations = exact.observations
            #expect(quiet == exact, "\(hint): counted together, in blocks of \(blockBytes)")
        }
        guard fast != exact else { return shaped }
        let place = zip(fast.observations, exact.observations).enumerated().first { $1.0 != $1.1 }
        Issue.record(
            """
            \(hint): the two ways part: \(fast.observations.count) and \(exact.observations.count) observations, first \
            \(place.map { "\($0): \($1.0) and \($1.1)" } ?? "none"); errors \(fast.failure?.description ?? "none") and \
            \(exact.failure?.description ?? "none"); evidence \(fast.evidence == exact.evidence)
            """)
        return shaped
    }

    static let all = Fixtures.names.map { Fixtures.trace($0) } + driven
    private static let driven = Fixtures.list("\(Fixtures.root)/driven").filter { $0.hasSuffix(".qmptrace") }
        .map { "\(Fixtures.root)/driven/\($0)" }

    /// The header's line and the others.
    private static func parts(_ path: String) -> (header: [UInt8], body: [UInt8]) {
        let bytes = Fixtures.bytes(path)
        let feed = bytes.firstIndex(of: 0x0A).map { $0 + 1 } ?? bytes.count
        return (Array(bytes[..<feed]), Array(bytes[feed...]))
    }

    @Test(arguments: all)
    func bothWaysShowTheSame(_ path: String) throws {
        let (header, body) = Self.parts(path)
        if isThorough { Self.compare(header + body, path) }
        // All shapes are known the second time, and every reply comes again.
        let shaped = Self.compare(header + body + body + body, path)
        let lines = body.count { $0 == 0x0A }
        #expect(shaped > lines, "the scanner has to know what it saw before")
    }

    /// Without a story, on several threads and by the reader of single records.
    @Test(arguments: all)
    func allReportsAgree(_ path: String) throws {
        let report = try ReplayReport(path: path)
        #expect(try ReplayReport(scanning: try TraceScan(path: path)) == report)
        #expect(try ReplayReport(scanning: try TraceScan(path: path), threads: 3) == report)
        let (header, body) = Self.parts(path)
        let bytes = header + body + body + body
        let long = try ReplayReport(reader: try TraceReader(bytes: bytes, name: "x"), name: "x")
        for (threads, blockBytes) in isThorough ? [(1, 64), (2, 1000), (4, 5000)] : [(3, 700)] {
            let scan = try TraceScan(bytes: bytes, name: "x", blockBytes: blockBytes)
            #expect(try ReplayReport(scanning: scan, threads: threads) == long)
        }
    }

    /// Seeded changes in lines whose shapes are known: the same facts or the same error.
    @Test(arguments: isThorough ? 0..<24 : 0..<8)
    func changedLinesAreNotTakenForOthers(_ seed: Int) throws {
        var random = Random(state: UInt64(seed) &* 7919 &+ 1)
        var shaped = 0
        for (place, path) in Self.all.enumerated() where place % 24 == seed {
            let (header, body) = Self.parts(path)
            for _ in 0..<(isThorough ? 6 : 1) {
                var changed = body
                for _ in 0..<Int.random(in: 1...40, using: &random) { Self.change(&changed, &random) }
                // What came once has a shape, what came twice has a layout.
                shaped += Self.compare(header + body + body + changed, "\(path) seed \(seed)")
            }
        }
        #expect(shaped > 0)
    }

    private static let fragments: [[UInt8]] =
        [
            "\n", "\r\n", "{", "}", "[", "]", "\"", "\\", ":", ",", "#", ".", "0", "-", "e5", "00",
            "18446744073709551616",
            "9223372036854775807", "123456789012345678", "0.5", "true", "null", " ", "\\u0041", "\"id\": 7", "\"id\":",
            "\"error\"", "\"return\"", "\"event\"", "\"status\"", "\"completed\"", "\"recv\"", "\"send\"", "\"seq\":3,",
            "\"qemu\":\"a\",", "\"conn\":2,", "MIGRATION", "STOP",
        ].map { Array($0.utf8) } + [[0], [0xFF], [0xC3, 0xA9]]

    private static func change(_ text: inout [UInt8], _ random: inout Random) {
        guard !text.isEmpty else { return }
        let place = Int.random(in: 0..<text.count, using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0: text.remove(at: place)
        case 1: text[place] = UInt8.random(in: 0...255, using: &random)
        case 2: text[place] = UInt8.random(in: 0x20...0x7E, using: &random)
        case 3, 4, 5:
            // Numbers above all: they are what may vary.
            guard let digit = text[place...].prefix(200).firstIndex(where: { $0 >= 0x30 && $0 <= 0x39 }) else { return }
            switch Int.random(in: 0..<4, using: &random) {
            case 0: text[digit] = UInt8.random(in: 0x30...0x39, using: &random)
            case 1: text.insert(UInt8.random(in: 0x30...0x39, using: &random), at: digit)
            case 2: text.remove(at: digit)
            default: text.insert(contentsOf: fragments.randomElement(using: &random) ?? [], at: digit)
            }
        case 6:
            let other = Int.random(in: 0..<text.count, using: &random)
            let range = min(place, other)..<max(place, other)
            text.insert(contentsOf: text[range].prefix(300), at: place)
        default: text.insert(contentsOf: fragments.randomElement(using: &random) ?? [], at: place)
        }
    }

    /// The same changes on every run (SplitMix64).
    struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    /// Polls of both sides for a long time, with everything else in between: what is counted together is what came.
    @Test(arguments: isThorough ? 0..<8 : 0..<4)
    func pollsAreCountedAsTheyCame(_ seed: Int) {
        var random = Random(state: UInt64(seed) &* 104_729 &+ 3)
        var text = "{\"qmptrace\":1}\n"
        var (time, number, total) = (0, 0, 100)
        var open: [(side: String, id: String, what: Int)] = []
        func add(_ side: String, _ member: String) {
            time += Int.random(in: 1...2_000_000, using: &random)
            let decimals = String(1_000_000 + time % 1_000_000).dropFirst()
            text += "{\"t\":\(time / 1_000_000).\(decimals),\"side\":\"\(side)\",\(member)}\n"
        }
        func event(_ side: String, _ name: String, _ data: String) {
            add(
                side,
                #""recv":{"timestamp": {"seconds": 1795222571, "microseconds": \#(time % 1_000_000)}, "event": "\#(name)"\#(data)}"#
            )
        }
        for side in ["source", "destination"] { add(side, "\"monitor\":\"connected\"") }
        add("source", #""send":{"execute":"migrate","id":"m","arguments":{"uri":"unix:x"}}"#)
        add("source", #""recv":{"return": {}, "id": "m"}"#)
        for side in ["destination", "source"] { event(side, "MIGRATION", #", "data": {"status": "active"}"#) }
        for _ in 0..<(isThorough ? 1500 : 500) {
            let side = Int.random(in: 0..<3, using: &random) == 0 ? "destination" : "source"
            switch Int.random(in: 0..<400, using: &random) {
            case 0: event(side, "STOP", "")
            case 1: event(side, "RESUME", "")
            case 2: event(side, "MIGRATION", #", "data": {"status": "active"}"#)
            case 3: total = 5
            case 4...6:
                number += 1
                add("source", #""send":{"execute":"migrate","id":"c-\#(number)","arguments":{"uri":"unix:x"}}"#)
                add(
                    "source",
                    #""recv":{"id": "c-\#(number)", "error": {"class": "GenericError", "desc": "There's a migration process in progress"}}"#
                )
            case 7..<40: event(side, "MIGRATION_PASS", #", "data": {"pass": \#(number)}"#)
            case 40..<70: event(side, "RTC_CHANGE", #", "data": {"offset": \#(number)}"#)
            default:
                let what = Int.random(in: 0..<5, using: &random)
                number += 1
                open.append((side, "\(side.prefix(3))-\(number)", what))
                let name = ["query-migrate", "query-status", "query-name", "query-migrate", "query-status"][what]
                add(side, #""send":{"execute":"\#(name)","id":"\#(open[open.count - 1].id)"}"#)
                // Mostly answered at once, sometimes two at a time and in another order.
                while !open.isEmpty, Int.random(in: 0..<20, using: &random) > 0 {
                    let asked = open.remove(at: Int.random(in: 0..<open.count, using: &random))
                    total += Int.random(in: 0...300, using: &random)
                    let value =
                        switch asked.what {
                        case 0, 3:
                            Int.random(in: 0..<30, using: &random) == 0
                                ? #"{"status": "active", "total-time": \#(total)}"#
                                : #"{"status": "active", "total-time": \#(total), "ram": {"total": 9999, "remaining": \#(total % 999), "mbps": 1.\#(time)}}"#
                        case 1, 4: #"{"status": "running", "singlestep": false, "running": true}"#
                        default: #"{"name": "guest"}"#
                        }
                    add(asked.side, #""recv":{"return": \#(value), "id": "\#(asked.id)"}"#)
                }
            }
        }
        // The last ones are under way when the trace is over.
        for side in ["source", "destination"] {
            for _ in 0..<3 { event(side, "RTC_CHANGE", #", "data": {"offset": 1}"#) }
            add(side, #""send":{"execute":"query-migrate","id":"last"}"#)
        }
        #expect(Self.compare(Array(text.utf8), "seed \(seed)") > (isThorough ? 1000 : 300))
    }

    @Test func numbersAreReadAsJSONReadsThem() throws {
        let numbers = [
            "0", "1", "12345678", "123456789", "1234567890123456", "999999999999999999", "1000000000000000000",
            "9223372036854775807", "18446744073709551615", "18446744073709551616", "-1", "-0", "-123456789012345678",
            "01",
            "1.5", "0.000001", "268.63999999999999", "33.83096", "123456789012345678.123456789012345678", "1e3",
            "1.5e-7",
            "0.1234567890123456789", "999999999999999.9", "-2.5", "1.", ".5", "--1", "1e", "nan", "99999999.99999999",
        ]
        var random = Random(state: 5)
        for key in ["mbps", "remaining", "total", "dirty-pages-rate"] {
            var mini = MiniTrace("S- connected", "S> migrate {\"uri\":\"unix:x\"}", "S< ok", "S! active")
            for number in ["3", "0.5"] + numbers.shuffled(using: &random) {
                mini.add("S> query-migrate")
                mini.add(
                    #"S< {"status":"active","total-time":5,"ram":{"total":10,"remaining":7,"\#(key)2":1,"\#(key)":\#(number)}}"#
                )
            }
            let bytes = Array(mini.text.utf8)
            Self.compare(bytes, key)
        }
        for number in numbers {
            var mini = MiniTrace("S- connected", "S> migrate {\"uri\":\"unix:x\"}", "S< ok", "S! active")
            for total in ["5", "7", number, "9", number] {
                mini.add("S> query-migrate")
                mini.add(#"S< {"status":"active","total-time":\#(total),"ram":{"total":10,"remaining":7}}"#)
                mini.add(#"S{"side":"source","recv":{"event":"MIGRATION_PASS","data":{"pass":\#(total)}}}"#)
            }
            Self.compare(Array(mini.text.utf8), number)
        }
    }

    @Test func identifiersAreToldApart() {
        let ids = [
            "1", "\"1\"", "1.0", "\"\"", "\"a\"", "\"123456789012345\"", "\"1234567890123456\"", "\"12345678\"",
            "\"\\u0061\"",
            "\"é\"", "null", "[1]", "-1", "9223372036854775807", "9223372036854775808",
            "\"\(String(repeating: "x", count: 64))\"", "\"\(String(repeating: "x", count: 65))\"",
        ]
        var text = "{\"qmptrace\":1}\n"
        var time = 0
        func add(_ member: String) {
            time += 1
            text += "{\"t\":\(time).5,\"side\":\"source\",\(member)}\n"
        }
        for round in 0..<4 {
            for id in ids { add(#""send":{"execute":"query-status","id":\#(id)}"#) }
            for id in round % 2 == 0 ? ids : ids.reversed() {
                add(#""recv":{"return":{"status":"running"},"id":\#(id)}"#)
            }
            add(#""send":{"execute":"query-status"}"#)
            add(#""recv":{"return":{"status":"running"}}"#)
            add(#""recv":{"return":{"status":"running"},"id":"nobody"}"#)
        }
        #expect(Self.compare(Array(text.utf8), "ids") > 20)
        let outcome = Self.replay(Array(text.utf8), isExact: false)
        // Nobody's answer in every round, and an id that is spelt in two ways: used again, then answered once too
        // often.
        #expect(outcome.observations.count { if case .anomaly = $0.what { true } else { false } } == 12)
    }
}
