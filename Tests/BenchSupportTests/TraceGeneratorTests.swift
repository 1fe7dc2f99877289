import BenchSupport
import Replay
import Testing
import Trace

/// What the benchmark measures with is a trace like others.
@Suite struct TraceGeneratorTests {
    private static func bytes(_ mix: TraceMix, seed: UInt64, atLeast count: Int = 400_000) -> [UInt8] {
        var generator = TraceGenerator(mix: mix, seed: seed)
        while generator.pending.count < count { generator.next() }
        #expect(generator.records == generator.pending.count { $0 == 0x0A } - 1)
        return generator.takePending()
    }

    @Test(arguments: TraceMix.allCases)
    func isTheSameForTheSameSeed(_ mix: TraceMix) {
        #expect(Self.bytes(mix, seed: 7) == Self.bytes(mix, seed: 7))
        #expect(Self.bytes(mix, seed: 7) != Self.bytes(mix, seed: 8))
    }

    @Test(arguments: TraceMix.allCases)
    func isReadWithoutAnError(_ mix: TraceMix) throws {
        let bytes = Self.bytes(mix, seed: 1, atLeast: 1_500_000)
        let report = try ReplayReport(reader: try TraceReader(bytes: bytes, name: "x"), name: "x")
        #expect(try ReplayReport(scanning: try TraceScan(bytes: bytes, name: "x"), threads: 2) == report)
        #expect(report.warnings.isEmpty)
        let size = bytes.count / report.records
        switch mix {
        case .recorded:
            #expect((150...250).contains(size))
            #expect(Set(report.attempts.map(\.outcomeWord)).count >= 2)
        case .events: #expect(report.attempts.count > 10)
        case .large: #expect(size > 10_000)
        }
    }
}
