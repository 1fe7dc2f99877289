import Migration
import Phases
import Testing

func story(_ composition: Composition) -> Comment {
    Comment(rawValue: (composition.violations + composition.history.suffix(300)).joined(separator: "\n"))
}

private func script(_ change: (inout Script) -> Void) -> Script {
    var script = Script()
    change(&script)
    return script
}

/// Attempts whose parties only talk by messages.
@Suite struct PartyTests {
    /// What can befall an attempt that both compositions tell alike.
    static let scripts: [(name: String, script: Script, cancelAt: StatusWord?)] = [
        ("a success", Script(), nil),
        ("a paused guest", script { $0.isGuestPaused = true }, nil),
        ("the source first", script { $0.isSourceFirst = true }, nil),
        ("a load that fails", script { $0.failsLoading = true }, nil),
        (
            "a load that fails, the destination ends by it",
            script {
                $0.failsLoading = true; $0.hasExitOnError = true
            }, nil
        ),
        ("a blocked guest", script { $0.sourceBlockers = ["no"] }, nil),
        ("another machine", script { $0.destinationMemoryBytes = 1 }, nil),
        ("a destination that never runs", script { $0.neverRuns = true }, nil),
        ("a refused cont", script { $0.refusals = [.init(side: .destination, name: "cont"): 1] }, nil),
        ("a cancel", script { $0.failsToConverge = true }, .active),
        ("a cancel while device state hangs", script { $0.isDeviceStuck = true }, .device),
    ]

    @Test(arguments: scripts.indices) func theSameOutcomeAsInOneProcess(index: Int) throws {
        let (_, script, cancelAt) = Self.scripts[index]
        var driver = ScriptedDriver(script, options: ScriptedDriver.options())
        if let cancelAt { driver.befall(.request(.cancel)) { $0.pair.source.status == cancelAt } }
        driver.run()
        let one = try #require(driver.result)
        var composition = Composition(script)
        if let cancelAt { composition.befall(.request(.cancel)) { $0.pair.source.status == cancelAt } }
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        let other = try #require(composition.result, story(composition))
        #expect(one.word == other.word, story(composition))
        #expect(one.place == other.place)
        #expect(one.isRunning == other.isRunning, story(composition))
        #expect(one.cancel == other.cancel)
        #expect(composition.results.count == 1)
        #expect(composition.published.last?.word == other.word)
    }
}
