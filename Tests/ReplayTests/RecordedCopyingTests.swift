import Migration
import Policy
import Replay
import Testing

@Suite("A recording as policies see it")
struct RecordedCopyingTests {
    private static func recording(_ name: String) throws -> RecordedCopying {
        try RecordedCopying(path: Fixtures.trace(name))
    }

    @Test("a copying that converged only once its limit was raised")
    func raised() throws {
        let recording = try Self.recording("10.0.13/nonconverging-cancel")
        let attempt = try #require(recording.attempts.first)
        #expect(attempt.word == .completed)
        #expect(attempt.isOver)
        #expect(attempt.copy.context.downtimeMilliseconds == 20)
        #expect(attempt.copy.moments.last?.limitMilliseconds == 500)
        let switchover = try #require(attempt.copy.switchoverMilliseconds)
        #expect((15_000...15_200).contains(switchover))
        #expect(attempt.copy.postcopyMilliseconds == nil)
        #expect(attempt.copy.samples.count > 20)
        #expect(attempt.copy.samples.allSatisfy { $0.elapsedMilliseconds <= switchover })
        let model = try #require(attempt.copy.model)
        #expect(model.memoryBytes > 2.5e8)
        #expect((1.6e7...1.8e7).contains(model.bandwidthBytesPerSecond))
        #expect(model.loads.allSatisfy { $0.bytesPerSecond > 5e6 }, "nothing of the switchover")
    }

    @Test("post-copy ends what a recording tells of pre-copy")
    func postcopy() throws {
        let attempt = try #require(try Self.recording("10.0.13/postcopy").attempts.first)
        #expect(attempt.copy.switchoverMilliseconds == nil)
        let time = try #require(attempt.copy.postcopyMilliseconds)
        #expect(time > 0)
        #expect(attempt.copy.context.isPostcopyPossible)
        #expect(attempt.copy.capabilities.contains { $0.name == "postcopy-ram" && $0.isOn })
    }

    @Test("a migration that never reached its destination has nothing to look at")
    func failed() throws {
        for attempt in try Self.recording("10.0.13/connect-fail").attempts {
            #expect(attempt.copy.samples.isEmpty)
            #expect(attempt.copy.model == nil)
        }
    }
}
