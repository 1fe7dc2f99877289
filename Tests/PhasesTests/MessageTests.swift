import Migration
import Phases
import Testing

/// Messages that are lost, come twice, or come late.
@Suite struct MessageTests {
    private static let fates: [MessageFate] = [.lost, .doubled, .late(3), .late(30)]

    private static func whole(_ index: Int) -> Composition {
        let (_, script, cancelAt) = PartyTests.scripts[index]
        var composition = Composition(script)
        if let cancelAt { composition.befall(.request(.cancel)) { $0.pair.source.status == cancelAt } }
        return composition
    }

    @Test(arguments: fates, isThorough ? Array(PartyTests.scripts.indices) : [0, 8])
    func oneMessageIsLostDoubledOrLate(fate: MessageFate, index: Int) throws {
        var whole = Self.whole(index)
        whole.run()
        for number in 1...whole.messages {
            var composition = Self.whole(index)
            composition.fates[number] = fate
            composition.run()
            try #require(composition.violations.isEmpty, story(composition))
            let result = try #require(composition.result, story(composition))
            #expect(result.word == whole.result?.word, story(composition))
            #expect(result.place == whole.result?.place, story(composition))
        }
    }

    @Test(arguments: Side.allCases, isThorough ? Array(PartyTests.scripts.indices) : [0, 8])
    func aConnectionThatBreaksAndComesBack(side: Side, index: Int) throws {
        var whole = Self.whole(index)
        whole.run()
        for moment in 2..<whole.inputs {
            for pause in [1, 20] {
                var composition = Self.whole(index)
                composition.events[moment] = [.cut(side)]
                composition.events[moment + pause] = [.mend(side)]
                composition.run()
                try #require(composition.violations.isEmpty, story(composition))
                let result = try #require(composition.result, story(composition))
                // Away for long enough, a side does what it does without a coordinator; what was undecided then is
                // asked for when it is back.
                let isSettled = result.word != .undecided || whole.result?.word == .undecided
                #expect(pause == 1 ? result.word == whole.result?.word : isSettled, story(composition))
            }
        }
    }

    @Test(arguments: Side.allCases, isThorough ? Array(PartyTests.scripts.indices) : [0, 8])
    func aConnectionThatStaysAway(side: Side, index: Int) throws {
        var whole = Self.whole(index)
        whole.run()
        for moment in 2..<whole.inputs {
            var composition = Self.whole(index)
            composition.events[moment] = [.cut(side)]
            composition.run()
            try #require(composition.violations.isEmpty, story(composition))
            _ = try #require(composition.result, story(composition))
        }
    }
}
