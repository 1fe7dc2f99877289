import Testing

@testable import Policy

@Suite("The stall detector")
struct StallDetectorTests {
    private func feed(_ amounts: [(Double, Double)]) -> StallDetector {
        var detector = StallDetector()
        for (elapsed, remaining) in amounts {
            detector.observe(remaining: remaining, elapsed: elapsed, .init())
        }
        return detector
    }

    @Test("nothing stalls before something has left the window of 40 s")
    func window() {
        #expect(!feed([(0, 100), (39_999, 100)]).isStalled)
        let detector = feed([(0, 100), (39_999, 100), (40_000, 100)])
        #expect(detector.isStalled)
        #expect(detector.best == 100)
    }

    @Test("less than 96 % of the least of the past is progress")
    func margin() {
        #expect(!feed([(0, 100), (40_000, 95.9)]).isStalled)
        #expect(feed([(0, 100), (40_000, 96)]).isStalled)
    }

    @Test("the best is the least of the past and of the window")
    func best() {
        #expect(feed([(0, 100), (30_000, 90), (40_000, 200)]).best == 90)
    }

    @Test("when patience runs out, the next best of what came since takes its place, and patience is halved")
    func patience() {
        let stalled: [(Double, Double)] = [(0, 50), (40_000, 200)]
        #expect(feed(stalled + [(60_000, 150), (79_999, 120)]).best == 50)
        #expect(feed(stalled + [(60_000, 150), (79_999, 120), (80_000, 180)]).best == 120)
        // 20 s later the next one, 10 s after that the one after it.
        let longer = stalled + [(60_000, 150), (79_999, 120), (80_000, 180)]
        #expect(feed(longer + [(99_999, 190)]).best == 120)
        #expect(feed(longer + [(100_000, 190)]).best == 150)
        #expect(feed(longer + [(100_000, 190), (110_000, 300)]).best == 180)
    }

    @Test("its memory is bounded")
    func bound() {
        var detector = StallDetector()
        for step in 0..<5000 {
            detector.observe(remaining: Double(1_000_000 - step), elapsed: Double(step), .init())
        }
        #expect(detector.isStalled, "the oldest of too many counts as past")
        #expect(detector.best.map { $0 < 1_000_000 } == true)
        #expect(MemoryLayout.size(ofValue: detector) < 200)
    }
}
