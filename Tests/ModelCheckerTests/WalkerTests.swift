import Testing

@testable import ModelChecking

/// Random walks: they find what there is to find, on a short way, and the same at every run.
@Suite struct WalkerTests {
    private func walked<System: TransitionSystem>(
        _ system: System, walks: Int = 2_000, _ change: (inout WalkBounds) -> Void = { _ in }
    ) async -> ExplorationResult<System.Action> {
        var bounds = WalkBounds(walks: walks)
        change(&bounds)
        return await Walker(system, bounds: bounds).run()
    }

    @Test func aBugIsFoundOnAShortestWay() async {
        let result = await walked(Mutex2(forgetsTurn: true))
        #expect(result.violation == Violation("one at a time", "both are inside"))
        #expect(result.trace.count == 4)
        // Nothing has an end here, so that a walk lasts as long as it may.
        let correct = await walked(Mutex2(forgetsTurn: false), walks: 20) { $0.steps = 100 }
        #expect(correct.violation == nil)
        #expect(correct.states == (await Explorer(Mutex2(forgetsTurn: false)).run().states))
        #expect(!correct.isComplete)
    }

    @Test func aDeadlockIsFound() async {
        #expect(await walked(Philosophers(count: 3, isNaive: true)).violation?.property == "no deadlock")
    }

    @Test func aPitIsNoticedByPatience() async {
        let pit = await walked(Walk(length: 10, pit: 4)) { $0.patience = 500 }
        #expect(pit.violation?.property == "an end is reachable")
        let way = await walked(Walk(length: 10), walks: 7)
        #expect(way.violation == nil)
        #expect(way.ends == ["there": 7])
        #expect(way.states == 11)
        #expect(way.transitions == 70)
        #expect(way.depth == 10)
    }

    @Test func threadsDoNotChangeWhatIsFound() async throws {
        let mutant = try #require(Mutant.named("silence-is-proof"))
        var traces: Set<[JointAction]> = []
        var ends: Set<[String: Int]> = []
        for threads in [1, 2, 3] {
            let result = await walked(JointSystem(Configuration.hunting(mutant))) { $0.threads = threads }
            #expect(result.violation.map { mutant.caughtBy.contains($0.property) } == true)
            traces.insert(result.trace)
            let clean = await walked(JointSystem(Configuration.hunting(mutant).with { $0.mutant = nil }), walks: 12) {
                $0.threads = threads
            }
            #expect(clean.violation == nil)
            ends.insert(clean.ends)
        }
        #expect(traces.count == 1)
        #expect(ends.count == 1)
    }

    /// With everything that can befall an attempt in one walk a bug is still found.
    @Test func amongEverythingABugIsFound() async throws {
        let mutant = try #require(Mutant.named("forgets-run"))
        let everything = try #require(Configuration.deep.last { $0.walks > 0 })
        let result = await walked(JointSystem(everything.with { $0.mutant = mutant }), walks: 3_000)
        let violation = try #require(result.violation)
        #expect(mutant.caughtBy.contains(violation.property), "\(violation)")
        #expect(result.trace.count < 120)
    }
}
