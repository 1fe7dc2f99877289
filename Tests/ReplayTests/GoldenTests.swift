import JSONC
import Replay
import Testing

/// Every recording against what a person read in it.
struct GoldenTests {
    @Test func thereAreRecordings() {
        #expect(Fixtures.names.count >= 120)
    }

    @Test func everyRecordingHasItsExpectation() {
        let recordings = Fixtures.list("\(Fixtures.root)/traces").flatMap { version in
            Fixtures.list("\(Fixtures.root)/traces/\(version)").filter { $0.hasSuffix(".qmptrace") }
                .map { "\(version)/\($0.dropLast(9))" }
        }
        #expect(recordings == Fixtures.names)
    }

    @Test(arguments: Fixtures.names)
    func replayAgrees(with name: String) throws {
        let expected = try Fixtures.expectation(name)
        let report = try ReplayReport(path: Fixtures.trace(name))
        #expect(
            !report.hasAnomaly("status went from"), "a real QEMU does nothing that the transition table does not list")
        let json = report.json
        #expect(json["records"] == expected["records"])
        #expect(report.warnings.isEmpty)
        let attempts = json["attempts"]?.array ?? []
        let wanted = expected["attempts"]?.array ?? []
        #expect(attempts.count == wanted.count)
        for (number, (attempt, want)) in zip(attempts, wanted).enumerated() {
            for key in ["outcome", "basis", "cancel", "error", "totalMilliseconds", "downtimeMilliseconds"] {
                #expect(attempt[key] == want[key], "attempt \(number + 1): \(key)")
            }
            for side in ["source", "destination"] {
                for key in ["statuses", "phases"] {
                    #expect(attempt[side]?[key] == want[side]?[key], "attempt \(number + 1): \(side) \(key)")
                }
            }
        }
    }
}
