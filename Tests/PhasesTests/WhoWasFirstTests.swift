import Migration
import Phases
import Testing

/// A cancel and the destination's failure, in both orders: every driver names them alike.
@Suite struct WhoWasFirstTests {
    private struct Outcome: Equatable {
        var word: PublishedWord?
        var cancel: CancelOutcome?
    }

    /// Told the same by whoever only watches: the rules of publication, without any coordinator.
    private static func watched(_ source: Evidence, _ destination: Evidence) -> Outcome {
        var source = source
        source.note(otherSide: destination)
        let status = PublishedStatus(source: source.report, destination: destination.report)
        return Outcome(word: status.word, cancel: source.report.cancel)
    }

    @Test(arguments: [true, false], [true, false]) func theFirstOneNamesIt(isCancelFirst: Bool, hasYank: Bool) throws {
        var script = Script()
        script.hasYank = hasYank
        // QEMU hears of both before it has a last word.
        var driver = ScriptedDriver(script, options: ScriptedDriver.options())
        let cancel: (Fault, (ScriptedDriver) -> Bool) = (
            .request(.cancel),
            { driver in
                isCancelFirst
                    ? driver.machine.source.evidence.stage == .copying
                    : driver.machine.destination.evidence.processEnd != nil
            }
        )
        let death: (Fault, (ScriptedDriver) -> Bool) = (
            .die(.destination),
            { driver in
                isCancelFirst
                    ? driver.machine.source.evidence.triggers.wasSent(.cancel)
                    : driver.machine.source.evidence.stage == .copying
            }
        )
        for (fault, condition) in [cancel, death] { driver.befall(fault, when: condition) }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        let expected = Outcome(
            word: isCancelFirst ? .cancelled : .failed, cancel: isCancelFirst ? .honoured : .late)
        #expect(Outcome(word: driver.result?.word, cancel: driver.result?.cancel) == expected, story(driver))
        let (source, destination) = (driver.machine.source.evidence, driver.machine.destination.evidence)
        #expect(Self.watched(source, destination).word == expected.word)

        var composition = Composition(script)
        composition.befall(isCancelFirst ? .request(.cancel) : .die(.destination)) {
            $0.source?.evidence.stage == .copying
        }
        composition.befallNext(isCancelFirst ? .die(.destination) : .request(.cancel)) { composition in
            isCancelFirst
                ? composition.source?.evidence.triggers.wasSent(.cancel) ?? false
                : composition.coordinator?.destination?.report.gone != nil
        }
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        #expect(
            Outcome(word: composition.result?.word, cancel: composition.result?.cancel) == expected,
            story(composition))
    }

    /// Where nobody asked for a cancel, one by which the controller itself ends a migration that it gives up is none.
    @Test func givingUpIsNoCancel() throws {
        var script = Script()
        script.hasYank = false
        script.mutes = [.init(side: .source, name: "migrate")]
        script.tellsUnanswered = false
        let driver = ScriptedDriver(script, options: ScriptedDriver.options())
        var run = driver
        run.run()
        try #require(run.violations.isEmpty, story(run))
        #expect(run.verdictCheck?.rule != .cancelled)
    }

    /// The source's QEMU ends while it copies: that is the reason, also when the destination then fails at its load.
    @Test func theSourcesEndIsTheReason() throws {
        var driver = ScriptedDriver(Script(), options: ScriptedDriver.options())
        driver.befall(.die(.source)) { $0.machine.source.evidence.stage == .copying }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.verdict == .sourceGone, story(driver))
        let error = try #require(driver.result?.error)
        #expect(error.hasPrefix("the source's QEMU ended"), "\(error)")
    }

    /// QEMU tells why it could not load only when it is asked after its failure, however late that is.
    @Test func theDestinationsReasonIsTold() throws {
        var script = Script()
        script.failsLoading = true
        script.hasExitOnError = true
        var driver = ScriptedDriver(script, options: ScriptedDriver.options())
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed, story(driver))
        let error = try #require(driver.result?.error)
        #expect(error.hasPrefix("the destination failed: error while loading state"), "\(error)")
    }
}
