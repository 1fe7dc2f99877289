import JSONC
import Replay
import Testing
import Trace

/// Recordings that nobody made.
struct HostileExplanationTests {
    /// The same numbers each time.
    private struct Numbers: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    private static let recordings = [
        "7.2.22/precopy-unix", "10.0.13/postcopy-recover-pause", "11.1.3/pre-switchover-cancel",
        "10.0.13/dst-hung-device-yank",
        "7.2.22/load-failure-late", "10.0.13/precopy-slow-polled",
    ]

    private func look(_ bytes: [UInt8]) throws {
        guard let reader = try? TraceReader(bytes: bytes, name: "odd", lenient: true),
            let explanation = try? Explanation(reader: reader, name: "odd")
        else { return }
        #expect(explanation.text().utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0A })
        _ = try JSONValue(parsing: explanation.json.serialized())
        var report = Report()
        try report.add(reader: try TraceReader(bytes: bytes, name: "odd", lenient: true), name: "odd")
        #expect(report.html.count > 1000)
    }

    @Test(arguments: recordings)
    func linesInAnyOrder(_ name: String) throws {
        var numbers = Numbers(state: 1)
        let lines = Fixtures.bytes(Fixtures.trace(name)).split(separator: 0x0A)
        for _ in 0..<6 {
            let rest = lines.dropFirst().shuffled(using: &numbers).prefix(60)
            try look(Array((lines.prefix(1) + rest).joined(separator: [0x0A])) + [0x0A])
        }
    }

    @Test(arguments: recordings)
    func bytesThatWereHit(_ name: String) throws {
        var numbers = Numbers(state: 2)
        let bytes =
            Array(
                Fixtures.bytes(Fixtures.trace(name)).split(separator: 0x0A).prefix(80).joined(separator: [0x0A])) + [
                0x0A
            ]
        let start = (bytes.firstIndex(of: 0x0A) ?? 0) + 1
        for _ in 0..<12 {
            var hit = bytes
            for _ in 0..<20 {
                let place = Int.random(in: start..<hit.count, using: &numbers)
                // Digits and letters mostly: what is still JSON is the more interesting.
                let bytes = Array("0123456789-.eE\"{}[],:abcSTOP".utf8)
                if let byte = bytes.randomElement(using: &numbers) { hit[place] = byte }
            }
            try look(hit)
        }
    }

    @Test func numbersAtTheirEnds() throws {
        let largest = Int64.max
        let ram =
            "{\"total\":\(largest),\"remaining\":-1,\"transferred\":\(largest),\"mbps\":1e308,\"dirty-pages-rate\":\(largest),"
            + "\"page-size\":\(largest),\"dirty-sync-count\":\(largest)}"
        let trace = MiniTrace(
            "S- hello", #"S> migrate {"uri":"unix:/m"}"#, "S! setup", "S< ok", "S! active", "S> query-migrate",
            "S< {\"status\":\"active\",\"total-time\":-5,\"downtime\":\(largest),\"ram\":\(ram)}",
            "R\"side\":\"source\",\"recv\":{\"event\":\"MIGRATION_PASS\",\"data\":{\"pass\":\(largest)}}}",
            "R\"side\":\"source\",\"recv\":{\"event\":\"MIGRATION_PASS\",\"data\":{\"pass\":-\(largest)}}}",
            "R\"side\":\"source\",\"recv\":{\"event\":\"MIGRATION_PASS\",\"data\":{\"pass\":\(largest)}}}",
            "S* STOP", "S> query-migrate", "S< {\"status\":\"active\",\"ram\":\(ram)}", "S! completed")
        try look(Array(trace.text.utf8))
        let late = #"{"qmptrace":1}"# + "\n" + #"{"t":9000000000000.5,"side":"source","recv":{"event":"STOP"}}"# + "\n"
        try look(Array(late.utf8))
    }
}
