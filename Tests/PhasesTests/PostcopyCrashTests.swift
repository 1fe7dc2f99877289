import Migration
import Phases
import Testing

/// Crashes in post-copy, where neither side has all of the guest.
@Suite struct PostcopyCrashTests {
    static let scripts: [(name: String, change: @Sendable (inout Script) -> Void, isBroken: Bool)] = [
        ("the good way", { _ in }, false),
        ("a QEMU without postcopy-device", { $0.postcopy.hasDeviceWord = false }, false),
        ("a channel that breaks, and a recovery", { $0.postcopy.recoveries = 3 }, true),
        (
            "a recovery whose first connection is refused",
            {
                $0.postcopy.recoveries = 3
                $0.postcopy.refusedConnections = 1
            }, true
        ),
    ]

    private func composition(_ index: Int) -> Composition {
        var script = Script()
        script.passes = 3
        Self.scripts[index].change(&script)
        var composition = Composition(script, options: ScriptedDriver.options { $0.postcopy = PostcopyWish() })
        composition.befall(.request(.postcopy)) { $0.pair.source.status == .active }
        return composition
    }

    private func prepared(_ index: Int) -> Composition {
        var composition = composition(index)
        if Self.scripts[index].isBroken {
            composition.befallNext(.breakStream) {
                $0.pair.source.status == .postcopyActive && $0.pair.destination.runState == .running
            }
        }
        return composition
    }

    @Test(arguments: scripts.indices) func theGuestArrives(index: Int) throws {
        var composition = prepared(index)
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.word == .completed, story(composition))
        #expect(composition.pair.source.isOver)
    }

    @Test(arguments: Party.allCases, scripts.indices) func aCrashBeforeEachEffect(party: Party, index: Int) throws {
        var whole = prepared(index)
        whole.run()
        let first = party == .coordinator ? 2 : 1
        for effect in stride(from: first, through: max(whole.effects[party] ?? 0, first), by: sweepStep(3)) {
            var composition = prepared(index)
            composition.crashBefore = (effect, party)
            composition.run()
            try #require(composition.violations.isEmpty, story(composition))
            let isThere = composition.result != nil || composition.isInterrupted
            #expect(isThere, story(composition))
            #expect(composition.result?.word != .undecided, story(composition))
            #expect(composition.result?.word != .lost, story(composition))
        }
    }
}
