import Migration
import Phases
import Testing

/// One crash, at every moment of an attempt.
@Suite struct CrashTests {
    /// How often a party acts in an attempt without a crash.
    private static func composition(_ index: Int) -> Composition {
        let (_, script, cancelAt) = PartyTests.scripts[index]
        var composition = Composition(script)
        if let cancelAt { composition.befall(.request(.cancel)) { $0.pair.source.status == cancelAt } }
        return composition
    }

    private func crashes(_ party: Party, _ index: Int) -> [Composition] {
        var whole = Self.composition(index)
        whole.run()
        // A coordinator that dies before it has written down what it was asked was never asked.
        let first = party == .coordinator ? 2 : 1
        return (first...max(whole.effects[party] ?? 0, first)).map { effect in
            var composition = Self.composition(index)
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
}
