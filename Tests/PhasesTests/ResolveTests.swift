import Migration
import Phases
import Testing

/// Attempts that end undecided, and what settles them.
@Suite struct ResolveTests {
    private func undecided(
        _ script: Script = Script(), _ happen: (inout Composition) -> Void = { _ in }
    ) throws -> Composition {
        var composition = Composition(script)
        happen(&composition)
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        try #require(composition.result?.word == .undecided, story(composition))
        return composition
    }

    private func neverSeenToRun() throws -> Composition {
        var script = Script()
        script.neverRuns = true
        return try undecided(script)
    }

    /// The destination's program and its QEMU die together when the commit was recorded.
    private func destinationHostGone() throws -> Composition {
        try undecided { composition in
            composition.befall(.hostGone(.destination)) { $0.records.contains(.run(attempt: "a1")) }
        }
    }

    @Test func aPersonIsToldWhatToFindOut() throws {
        let composition = try destinationHostGone()
        let problems = composition.result?.problems ?? []
        #expect(problems.contains { $0.contains("find out") && $0.contains("destination") }, "\(problems)")
        #expect(composition.result?.place == .unknown)
        #expect(!composition.pair.source.isRunning)
    }

    @Test func thatTheDestinationRanEndsTheSource() throws {
        var composition = try neverSeenToRun()
        composition.go(on: .destinationRan)
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.word == .completed, story(composition))
        #expect(composition.pair.source.isOver)
        #expect(!composition.pair.destination.isOver)
    }

    @Test func thatItNeverRanEndsADestinationThatCanBeReachedFirst() throws {
        var composition = try neverSeenToRun()
        composition.go(on: .destinationNeverRan)
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.word == .failed, story(composition))
        #expect(composition.result?.place == .source)
        #expect(composition.pair.destination.isOver)
        #expect(composition.pair.source.isRunning, story(composition))
        #expect(composition.records.contains(.refused(attempt: "a1")))
    }

    @Test func thatItNeverRanLetsTheSourceGoOnWhereNobodyCanBeAsked() throws {
        var composition = try destinationHostGone()
        composition.go(on: .destinationNeverRan)
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.word == .failed, story(composition))
        #expect(composition.pair.source.isRunning, story(composition))
    }

    @Test func aStatementThatIsSeenToBeWrongChangesNothing() throws {
        // The answer of Finish is lost with the connection, the guest runs.
        var composition = try undecided { composition in
            composition.befall(.cut(.destination)) { $0.records.contains(.run(attempt: "a1")) }
        }
        #expect(composition.pair.destination.isRunning)
        composition.befall(.mend(.destination))
        composition.go(on: .destinationNeverRan)
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.word == .completed, story(composition))
        #expect(!composition.pair.source.isRunning)
    }

    @Test func whoComesBackIsAskedAndSettlesIt() throws {
        var composition = try undecided { composition in
            composition.befall(.cut(.destination)) { $0.records.contains(.run(attempt: "a1")) }
        }
        composition.befall(.mend(.destination))
        composition.run(nil)
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.word == .completed, story(composition))
        #expect(composition.pair.source.isOver)
    }

    @Test func aStatementAboutAnAttemptThatIsNotUndecidedIsNotTaken() throws {
        var composition = Composition()
        composition.run()
        try #require(composition.result?.word == .completed)
        composition.go(on: .destinationNeverRan)
        #expect(composition.result?.word == .completed)
        #expect(!composition.pair.source.isRunning)
        #expect(!(composition.coordinator?.ledger.hasRequest(.destinationNeverRan) ?? true))
    }
}

/// Several things that go wrong in one attempt, anywhere.
@Suite struct TroubleTests {
    @Test(arguments: 0..<(isThorough ? 4_000 : 150)) func crashesAndCutsAnywhere(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let index = Int.random(in: 0..<PartyTests.scripts.count, using: &random)
        let (_, script, cancelAt) = PartyTests.scripts[index]
        var composition = Composition(script)
        if let cancelAt { composition.befall(.request(.cancel)) { $0.pair.source.status == cancelAt } }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let moment = Int.random(in: 2..<120, using: &random)
            let side: Side = random.chance(50) ? .source : .destination
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1: composition.events[moment, default: []].append(.crash(Party(side), returns: true))
            case 2: composition.events[moment, default: []].append(.crash(.coordinator, returns: true))
            case 3:
                composition.events[moment, default: []].append(.cut(side))
                composition.events[moment + 20, default: []].append(.mend(side))
            case 4: composition.events[moment, default: []].append(.request(.cancel))
            default: composition.events[moment, default: []].append(.die(side))
            }
        }
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        _ = try #require(composition.result, story(composition))
    }
}
