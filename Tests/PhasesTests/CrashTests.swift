import Migration
import Phases
import Testing

/// One crash, at every moment of an attempt.
@Suite struct CrashTests {
    private static func composition(
        _ index: Int, options: MigrateOptions = ScriptedDriver.options()
    ) -> Composition {
        let (_, script, cancelAt) = PartyTests.scripts[index]
        var composition = Composition(script, options: options)
        if let cancelAt { composition.befall(.request(.cancel)) { $0.pair.source.status == cancelAt } }
        return composition
    }

    /// An attempt for each act of a party, with a crash just before it.
    private func crashes(
        _ party: Party, _ index: Int, options: MigrateOptions = ScriptedDriver.options(), step: Int = 1
    ) -> [Composition] {
        var whole = Self.composition(index, options: options)
        whole.run()
        // A coordinator that dies before it has written down what it was asked was never asked.
        let first = party == .coordinator ? 2 : 1
        return stride(from: first, through: max(whole.effects[party] ?? 0, first), by: step).map { effect in
            var composition = Self.composition(index, options: options)
            composition.crashBefore = (effect, party)
            composition.run()
            return composition
        }
    }

    @Test(arguments: Party.allCases, PartyTests.scripts.indices)
    func aCrashBeforeEachEffectOfAParty(party: Party, index: Int) throws {
        for composition in crashes(party, index) {
            try #require(composition.violations.isEmpty, story(composition))
            let result = try #require(composition.result, story(composition))
            if !PartyTests.scripts[index].script.neverRuns { #expect(result.word != .undecided, story(composition)) }
        }
    }

    /// Other ways to call the steps.
    static let ways: [(name: String, change: @Sendable (inout MigrateOptions) -> Void)] = [
        ("protocol 2", { $0.protocolVersion = .v2 }), ("peer to peer", { $0.mode = .peerToPeer }),
        ("without change protection", { $0.hasChangeProtection = false }),
        ("paused on the destination", { $0.isPausedIntended = true }), ("the source kept", { $0.keepsSource = true }),
    ]

    @Test(arguments: Party.allCases, ways.indices) func aCrashInAnotherWayToCallTheSteps(party: Party, way: Int) throws
    {
        let options = ScriptedDriver.options(Self.ways[way].change)
        var whole = Self.composition(0, options: options)
        whole.run()
        #expect(whole.result?.word == .completed, story(whole))
        #expect(whole.pair.source.isOver != options.keepsSource)
        for index in [0, 3] {
            for composition in crashes(party, index, options: options, step: sweepStep(5)) {
                try #require(composition.violations.isEmpty, story(composition))
                _ = try #require(composition.result, story(composition))
            }
        }
    }
}
