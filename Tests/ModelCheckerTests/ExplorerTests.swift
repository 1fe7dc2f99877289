import Testing

@testable import ModelChecking

@Suite struct ExplorerTests {
    /// Independent count: fork assignments that the rules allow, by enumeration of all 3^n vectors reached by a plain recursive search.
    private func count(_ system: Philosophers) -> (states: Int, transitions: Int) {
        var seen: Set<[UInt8]> = []
        var open = system.initialStates
        var transitions = 0
        while let state = open.popLast() {
            guard seen.insert(state).inserted else { continue }
            let next = system.successors(of: state)
            transitions += next.count
            open += next.map(\.state)
        }
        return (seen.count, transitions)
    }

    @Test(arguments: [2, 3, 5, 7]) func orderlyPhilosophersAreCountedAndNeverStarve(count number: Int) async {
        let system = Philosophers(count: number, isNaive: false)
        let expected = count(system)
        let result = await Explorer(system).run()
        #expect(result.violation == nil)
        #expect(result.isComplete)
        #expect(result.states == expected.states)
        #expect(result.transitions == expected.transitions)
        #expect(result.ends["meal"] ?? 0 > 0)
    }

    @Test func naivePhilosophersStarveInAsManyStepsAsThereAreOfThem() async {
        let result = await Explorer(Philosophers(count: 5, isNaive: true)).run()
        #expect(result.violation?.property == "no deadlock")
        #expect(result.trace.count == 5)
        #expect(Set(result.trace).count == 5)
    }

    @Test func threadsDoNotChangeTheResult() async {
        var bounds = ExplorationBounds()
        var results: [ExplorationResult<String>] = []
        for threads in [1, 2, 4] {
            bounds.threads = threads
            results.append(await Explorer(Philosophers(count: 7, isNaive: true), bounds: bounds).run())
        }
        #expect(Set(results.map(\.states)).count == 1)
        #expect(Set(results.map(\.trace)).count == 1)
    }

    @Test func mutexHolds() async {
        let result = await Explorer(Mutex2(forgetsTurn: false)).run()
        #expect(result.violation == nil)
        #expect(result.states > 8)
    }

    @Test func mutexWithABugIsCaughtByAShortestTrace() async {
        let result = await Explorer(Mutex2(forgetsTurn: true)).run()
        #expect(result.violation == Violation("one at a time", "both are inside"))
        // Each of the two has to ask and to enter.
        #expect(result.trace.count == 4)
    }

    @Test func aPitWithoutAWayOutIsFound() async {
        let result = await Explorer(Walk(length: 10, pit: 4)).run()
        #expect(result.violation?.property == "an end is reachable")
        #expect(result.trace == ["on", "on", "on", "on", "into the pit"])
        #expect(await Explorer(Walk(length: 10, pit: nil)).run().violation == nil)
    }

    @Test func boundsCutAndSaySo() async {
        let byStates = await Explorer(Walk(length: 1000), bounds: ExplorationBounds(maximumStates: 10)).run()
        #expect(!byStates.isComplete)
        #expect(byStates.states == 10)
        #expect(byStates.violation == nil)
        let byDepth = await Explorer(Walk(length: 1000), bounds: ExplorationBounds(maximumDepth: 7)).run()
        #expect(byDepth.depth == 7)
        #expect(!byDepth.isComplete)
    }

    @Test func fingerprintsOfNeighboursDiffer() {
        var seen: Set<Fingerprint> = []
        for first in UInt64(0)..<100 {
            for second in UInt64(0)..<100 {
                var hasher = FingerprintHasher()
                hasher.feed(first)
                hasher.feed(second)
                seen.insert(hasher.fingerprint)
            }
        }
        #expect(seen.count == 10_000)
    }

    @Test func anAllowanceCoversWhatHasNoMoreInAnyRespect() {
        var seed: UInt64 = 7
        func random(_ bound: UInt64) -> UInt64 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (seed >> 33) % bound
        }
        var answers: Set<Bool> = []
        for _ in 0..<4000 {
            let left = (0..<16).map { _ in random(3) + random(6) % 2 * 5 }
            let right = left.map { random(8) == 0 ? min(7, $0 + random(2)) : random(4) == 0 ? $0 / 2 : $0 }
            func allowance(_ counts: [UInt64], _ total: UInt8) -> Allowance {
                Allowance(
                    counts: counts.enumerated().reduce(0) { $0 | $1.element << UInt64($1.offset * 4) }, total: total)
            }
            let totals = (UInt8(random(3)), UInt8(random(3)))
            let expected = zip(left, right).allSatisfy { $0 >= $1 } && totals.0 >= totals.1
            answers.insert(expected)
            #expect(allowance(left, totals.0).covers(allowance(right, totals.1)) == expected)
        }
        #expect(answers.count == 2)
    }
}
