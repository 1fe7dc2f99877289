import Migration
import Phases
import Testing

/// What went wrong and all that led to it.
func story(_ driver: ScriptedDriver) -> Comment {
    Comment(rawValue: (driver.violations + driver.history.suffix(400)).joined(separator: "\n"))
}

/// An attempt from its first input to its end.
func attempt(
    _ script: Script = Script(), options: MigrateOptions = ScriptedDriver.options(),
    faults: [(at: Int, fault: Fault)] = [], seed: UInt64? = nil
) -> ScriptedDriver {
    var driver = ScriptedDriver(script, options: options, faults: faults, seed: seed)
    driver.run()
    return driver
}

private func script(_ change: (inout Script) -> Void) -> Script {
    var script = Script()
    change(&script)
    return script
}

/// The number of the input after which something was first so in an ordinary attempt.
private func moment(
    _ script: Script = Script(), options: MigrateOptions = ScriptedDriver.options(),
    when condition: (ScriptedDriver) -> Bool
) -> Int {
    var driver = ScriptedDriver(script, options: options)
    driver.run { condition($0) }
    return driver.inputs
}

extension Effect {
    /// The effect in a word, for comparing orders.
    var short: String? {
        switch self {
        case .send(let side, let command, _): "\(side) \(command.name)"
        case .persist(let record):
            switch record {
            case .saved(let side, _, _): "saved \(side)"
            case .surrendered: "surrendered"
            case .run: "run"
            case .refused: "refused"
            case .began, .intent, .phase, .called, .answered, .requested, .released, .interfered: nil
            }
        case .call(let step, _): "call \(step)"
        case .answer(let step, .done): "answer \(step)"
        case .answer(let step, .failed): "fail \(step)"
        case .kill(let side): "kill \(side)"
        case .lease(let side, let action): "\(side) \(action)"
        case .finished: "finished"
        case .accepted(let step): "accept \(step)"
        case .refused(let request, _): "refuse \(request.rawValue)"
        case .hook(let point): "hook \(point.rawValue)"
        case .survey, .publish, .phase, .arm, .disarm, .decided: nil
        }
    }

    var phase: String? {
        if case .phase(let move) = self { "\(move.side) \(move.from.rawValue)>\(move.to.rawValue)" } else { nil }
    }
}

/// Whole attempts with a pair of scripted QEMUs.
@Suite struct AttemptMachineTests {
    // MARK: The good way

    @Test func everyStepInItsOrder() throws {
        let driver = attempt()
        try #require(driver.violations.isEmpty, story(driver))
        let queries = ["query-status", "query-migrate", "query-migrate-capabilities", "query-migrate-parameters"]
        let expected: [String] =
            ["call begin"] + queries.map { "source \($0)" } + ["saved source", "answer begin", "call prepare"]
            + queries.map { "destination \($0)" }
            + [
                "saved destination", "destination stop", "destination migrate-set-capabilities",
                "destination migrate-incoming", "destination query-migrate", "answer prepare", "call perform",
                "source migrate-set-capabilities", "source migrate", "source migrate-continue", "surrendered",
                "answer perform", "call finish", "run", "destination cont", "destination query-status",
                "destination migrate-set-capabilities", "answer finish", "call confirm", "source query-migrate",
                "source quit", "answer confirm", "finished",
            ]
        // Ticks of an idle wait are not part of the way.
        #expect(driver.log.compactMap(\.short) == expected)
        #expect(
            driver.log.compactMap(\.phase) == [
                "source none>begin3", "destination none>prepare", "source begin3>perform3",
                "source perform3>perform3_done", "destination prepare>finish3", "destination finish3>none",
                "source perform3_done>confirm3", "source confirm3>none",
            ])
        #expect(
            driver.published.map(\.word.rawValue).reduce(into: []) { if $0.last != $1 { $0.append($1) } }
                == ["starting", "copying", "switchover", "completed"])
        let result = try #require(driver.result)
        #expect(result.word == .completed)
        #expect(result.place == .destination)
        #expect(result.isRunning == true)
        #expect(result.problems.isEmpty)
        #expect(result.error == nil)
        #expect(result.ownGapMicroseconds != nil)
        #expect(result.pauseMicroseconds ?? -1 >= 0)
        #expect(!driver.pair.source.isAlive || driver.pair.source.isExiting)
    }

    /// Downtime is ours to lose: what stands between QEMU's words and our commands.
    @Test(arguments: [false, true]) func nothingBetweenCompletedAndCont(isSourceFirst: Bool) throws {
        let driver = attempt(script { $0.isSourceFirst = isSourceFirst })
        let surrendered = try #require(driver.log.firstIndex(of: .persist(.surrendered(attempt: "a1"))))
        let run = try #require(driver.log.firstIndex(of: .persist(.run(attempt: "a1"))))
        let cont = try #require(driver.log.firstIndex(of: .send(.destination, .cont, outOfBand: false)))
        #expect(surrendered < run && run < cont)
        #expect(cont == run + 1)
        let between = driver.log[surrendered..<cont]
        #expect(!between.contains { if case .send = $0 { true } else { false } })
        if !isSourceFirst {
            // Both had completed: all of it came out of one input.
            #expect(!between.contains { if case .publish = $0 { true } else { false } })
        }
    }

    @Test func continuesAtOnceBeforeTheSwitchover() {
        var machine = ScriptedDriver(Script(), options: ScriptedDriver.options())
        machine.run { $0.machine.source.evidence.events.has(.preSwitchover) }
        #expect(machine.log.contains(.send(.source, .migrateContinue(state: "pre-switchover"), outOfBand: false)))
        #expect(
            machine.lastEffects.first == .send(.source, .migrateContinue(state: "pre-switchover"), outOfBand: false))
    }

    @Test func aPausedGuestArrivesPaused() throws {
        let driver = attempt(script { $0.isGuestPaused = true })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(driver.result?.isRunning == false)
        #expect(!driver.sends.contains { $0 == (.destination, .cont) })
        #expect(driver.pair.destination.runState == .paused)
    }

    @Test func aRunningGuestArrivesPausedWhereThatIsWanted() throws {
        let driver = attempt(options: ScriptedDriver.options { $0.isPausedIntended = true })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(driver.result?.isRunning == false)
        #expect(driver.records.contains(.run(attempt: "a1")))
        #expect(driver.pair.destination.runState == .paused)
    }

    @Test func theSourceIsKept() throws {
        let driver = attempt(options: ScriptedDriver.options { $0.keepsSource = true })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(!driver.sends.contains { $0 == (.source, .quit) })
        #expect(driver.pair.source.isAlive && !driver.pair.source.isRunning)
        #expect(driver.pair.source.capabilities == ScriptedQEMU(.source, runState: .running).capabilities.withEvents)
    }

    @Test func aGuestPausedOnTheWayArrivesPaused() throws {
        let copying = moment { $0.machine.source.evidence.stage == .copying }
        let options = ScriptedDriver.options()
        // The pause has to be asked for, which a tick does; the copy goes on meanwhile.
        var driver = ScriptedDriver(
            script { $0.passes = 50 }, options: options, faults: [(copying, .interfere(isRunning: false))])
        driver.tickAfter(copying + 1)
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(driver.result?.isRunning == false)
    }

    @Test func aGuestPausedAndContinuedOnTheWayArrivesRunning() throws {
        let copying = moment { $0.machine.source.evidence.stage == .copying }
        var driver = ScriptedDriver(
            script { $0.passes = 50 }, options: ScriptedDriver.options(),
            faults: [(copying, .interfere(isRunning: false)), (copying + 8, .interfere(isRunning: true))])
        driver.tickAfter(copying + 1)
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(driver.result?.isRunning == true)
    }

    @Test func aGuestPausedOnTheWayStaysPausedAfterAFailure() throws {
        let copying = moment { $0.machine.source.evidence.stage == .copying }
        var driver = ScriptedDriver(
            script { $0.passes = 50 }, options: ScriptedDriver.options(),
            faults: [(copying, .interfere(isRunning: false)), (copying + 8, .die(.destination))])
        driver.tickAfter(copying + 1)
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.result?.isRunning == false)
        #expect(driver.pair.source.runState == .paused)
    }

    // MARK: Timeouts

    private func slow(_ action: TimeoutAction) -> MigrateOptions {
        ScriptedDriver.options {
            $0.timeoutMilliseconds = 1
            $0.timeoutAction = action
        }
    }

    @Test func aTimeoutCancels() throws {
        let driver = attempt(script { $0.failsToConverge = true }, options: slow(.cancel))
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        #expect(driver.result?.cancel == .honoured)
        #expect(driver.machine.source.evidence.triggers[.cancel]?.origin == .policy)
        #expect(driver.pair.source.isRunning)
    }

    /// A stop by timeout is not the user's pause: the guest runs on the destination.
    @Test func aTimeoutPausesTheGuestAndItRunsAfterwards() throws {
        let driver = attempt(script { $0.failsToConverge = true }, options: slow(.pauseGuest))
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.sends.contains { $0 == (.source, .stop) })
        #expect(driver.result?.word == .completed)
        #expect(driver.result?.isRunning == true)
    }

    @Test func aFailureAfterAPauseByTimeoutContinuesTheSource() throws {
        let driver = attempt(
            script {
                $0.failsToConverge = true
                $0.isDeviceStuck = true
            }, options: slow(.pauseGuest))
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.pair.source.isRunning)
    }

    // MARK: Cancel

    /// Wherever a cancel comes, the attempt ends with the guest in one place, and the word is one of a cancel unless it
    /// came too late.
    @Test func aCancelAtEveryMoment() throws {
        let length = attempt().inputs
        let surrender = moment { $0.records.contains(.surrendered(attempt: "a1")) }
        for at in 1...length {
            let driver = attempt(faults: [(at, .request(.cancel))])
            try #require(driver.violations.isEmpty, story(driver))
            let result = try #require(driver.result)
            if at < surrender {
                #expect(result.word == .cancelled || result.word == .completed, "\(at) \(story(driver))")
            } else {
                #expect(result.word == .completed)
            }
            switch result.word {
            case .cancelled:
                #expect(result.cancel == .honoured)
                #expect(driver.pair.source.isRunning, "\(at)")
            // A cancel after the end is nobody's.
            default: #expect(result.cancel == .tooLate || at > driver.endedAt - 3)
            }
        }
    }

    @Test func aCancelInDeviceGoesOutOfBand() throws {
        let stuck = script { $0.isDeviceStuck = true }
        let device = moment(stuck) { $0.machine.source.evidence.stage == .switchover }
        let driver = attempt(stuck, faults: [(device, .request(.cancel))])
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.log.contains(.send(.source, .yank, outOfBand: true)))
        #expect(!driver.sends.contains { $0 == (.source, .migrateCancel) })
        #expect(driver.result?.word == .cancelled)
        #expect(driver.pair.source.isRunning)
    }

    @Test func aCancelCaughtByDeviceIsFollowedByAYank() throws {
        let stuck = script { $0.isDeviceStuck = true }
        let held = moment(stuck) { $0.sends.contains { $0.command == .migrateContinue(state: "pre-switchover") } }
        let driver = attempt(stuck, faults: [(held, .request(.cancel))])
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        #expect(driver.pair.source.isRunning)
    }

    @Test func anErrorBeforeTheCancelStaysAnError() throws {
        let copying = moment { $0.machine.source.evidence.stage == .copying }
        var driver = ScriptedDriver(
            Script(), options: ScriptedDriver.options(), faults: [(copying, .die(.destination))])
        driver.befall(.request(.cancel)) { $0.machine.destination.evidence.processEnd != nil }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed, story(driver))
        #expect(driver.result?.cancel == .late)
    }

    @Test func anErrorAfterTheCancelIsItsConsequence() throws {
        let copying = moment { $0.machine.source.evidence.stage == .copying }
        let driver = attempt(faults: [(copying, .request(.cancel)), (copying + 1, .die(.destination))])
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled, story(driver))
    }

    // MARK: Who says nothing

    /// A source that keeps its connection and says nothing is waited for as long as a lost monitor is, without
    /// anybody's deadline or cancel.
    @Test(arguments: [true, false]) func aSilentSourceIsGivenUp(isTold: Bool) throws {
        let silence = script {
            $0.failsToConverge = true
            $0.tellsUnanswered = isTold
        }
        let copying = moment(silence) { $0.machine.source.evidence.stage == .copying }
        let driver = attempt(silence, faults: [(copying, .silence(.source))])
        try #require(driver.violations.isEmpty, story(driver))
        let result = try #require(driver.result)
        #expect(result.cancel == .none, "nobody had to cancel")
        #expect(result.error?.contains("was not seen to end") ?? false)
        #expect(result.isRunning == nil)
        #expect(driver.log.contains(.arm(.sourceMonitor, milliseconds: 10_000)))
    }

    /// One slow answer is no silence.
    @Test func aSlowSourceIsNotGivenUp() throws {
        var driver = ScriptedDriver(script { $0.failsToConverge = true }, options: ScriptedDriver.options())
        driver.run { $0.machine.source.evidence.stage == .copying }
        var machine = driver.machine
        var sequence = 10_000
        func apply(_ input: Input) -> [Effect] {
            sequence += 1
            return machine.apply(input, sequence: sequence, at: Instant(microseconds: Int64(sequence) * 100_000))
        }
        for _ in 0..<5 {
            for _ in 0..<2 {
                _ = apply(.tick)
                _ = apply(.fact(.source, .unanswered(.queryMigrate)))
            }
            for _ in 0..<15 { #expect(!apply(.tick).contains(.arm(.sourceMonitor, milliseconds: 10_000))) }
            _ = apply(.fact(.source, .reply(.queryMigrate, .migration(MigrationSample(status: .active)))))
        }
        #expect(machine.result == nil)
    }

    // MARK: What dies

    /// Where the destination dies decides whether anybody may continue the source.
    @Test func theDestinationDiesAtEveryMoment() throws {
        let length = attempt().inputs
        var words: Set<PublishedWord> = []
        for at in 1..<length {
            let driver = attempt(faults: [(at, .die(.destination))])
            try #require(driver.violations.isEmpty, story(driver))
            let word = try #require(driver.result?.word)
            words.insert(word)
            if !driver.records.contains(.run(attempt: "a1")) {
                #expect(word == .failed, "\(at) \(story(driver))")
                #expect(driver.pair.source.isRunning, "\(at)")
            } else {
                #expect(word == .lost || word == .undecided || word == .completed, "\(at) \(story(driver))")
                #expect(!driver.sends.contains { $0 == (.source, .cont) })
            }
        }
        #expect(words == [.failed, .lost, .completed])
    }

    /// Both have completed, the destination dies before it is told to run: the very reason for Confirm.
    @Test func theDestinationDiesBetweenCompletedAndCont() throws {
        let first = script { $0.isSourceFirst = true }
        let arrived = moment(first) { $0.records.contains(.surrendered(attempt: "a1")) }
        let driver = attempt(first, faults: [(arrived, .die(.destination))])
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.records.contains(.refused(attempt: "a1")))
        #expect(!driver.records.contains(.run(attempt: "a1")))
        #expect(driver.sends.contains { $0 == (.source, .cont) })
        #expect(driver.pair.source.isRunning)
        #expect(driver.log.compactMap(\.phase).contains("source perform3_done>confirm3_cancelled"))
    }

    @Test func theSourceDiesAtEveryMoment() throws {
        let length = attempt().inputs
        for at in 1..<length {
            let driver = attempt(faults: [(at, .die(.source))])
            try #require(driver.violations.isEmpty, story(driver))
            let word = try #require(driver.result?.word)
            #expect(word == .lost || word == .completed, "\(at) \(story(driver))")
            if word == .completed { #expect(driver.pair.destination.isRunning) }
        }
    }

    @Test func aGuestThatShutsItselfDownEndsTheAttempt() throws {
        let copying = moment { $0.machine.source.evidence.stage == .copying }
        let driver = attempt(faults: [(copying, .shutDownGuest)])
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .ended)
        #expect(driver.result?.place == .nowhere)
    }

    // MARK: What cannot be proven

    @Test func anUnkillableDestinationLeavesItUndecided() throws {
        let stuck = script {
            $0.unkillable = [.destination]
            $0.ignoresQuit = [.destination]
            $0.isSourceFirst = true
        }
        let arrived = moment(stuck) { $0.records.contains(.surrendered(attempt: "a1")) }
        let driver = attempt(stuck, faults: [(arrived, .silence(.destination))])
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .undecided)
        #expect(driver.result?.place == .unknown)
        #expect(driver.result?.problems.isEmpty == false)
        #expect(!driver.sends.contains { $0 == (.source, .cont) })
    }

    @Test func aDestinationThatNeverRunsIsLeftAlone() throws {
        let driver = attempt(script { $0.neverRuns = true })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .undecided)
        #expect(!driver.sends.contains { $0 == (.source, .cont) })
        #expect(!driver.records.contains(.refused(attempt: "a1")))
    }

    /// QEMU's own word that it did not start the guest takes the commit back.
    @Test func aRefusedContGoesBackToTheSource() throws {
        let driver = attempt(script { $0.refusals[.init(side: .destination, name: "cont")] = .max })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.pair.source.isRunning)
        #expect(driver.pair.destination.isOver)
    }

    @Test func theOnlyCopyIsNotEnded() throws {
        var driver = ScriptedDriver(
            script { $0.refusals[.init(side: .destination, name: "cont")] = .max }, options: ScriptedDriver.options())
        driver.befall(.die(.source)) { $0.pair.destination.status == .completed }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .undecided, story(driver))
        #expect(driver.pair.destination.isAlive)
        #expect(!driver.sends.contains { $0 == (.destination, .quit) })
    }

    @Test func aDestinationThatRunsByItselfIsNeverContradicted() throws {
        let driver = attempt(script { $0.runsByItself = true })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(!driver.sends.contains { $0 == (.destination, .cont) })
        // It ran and then died: the source is not continued.
        let ran = moment(script { $0.runsByItself = true }) { $0.machine.destination.evidence.events.has(.ran) }
        let dead = attempt(script { $0.runsByItself = true }, faults: [(ran, .die(.destination))])
        #expect(!dead.sends.contains { $0 == (.source, .cont) })
        #expect(dead.result?.word != .failed)
    }

    @Test func somebodyElsesContOnTheSourceStopsTheCommit() throws {
        var driver = ScriptedDriver(
            script {
                $0.isSourceFirst = true
                $0.loadingTurns = 5
            }, options: ScriptedDriver.options())
        driver.befall(.interfere(isRunning: true)) { $0.pair.source.runState == .postMigrate }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(!driver.records.contains(.run(attempt: "a1")))
        #expect(driver.result?.word == .failed, story(driver))
        #expect(driver.pair.source.isRunning)
    }

    // MARK: Refusals before anything moved

    @Test func differentMachinesAreRefusedByName() throws {
        let driver = attempt(script { $0.destinationMemoryBytes = 512 << 20 })
        try #require(driver.violations.isEmpty, story(driver))
        let error = try #require(driver.result?.error)
        #expect(error.contains("memory: 256 MiB on the source, 512 MiB on the destination"))
        #expect(!driver.sends.contains { $0.command.name == "migrate-incoming" || $0.command.name == "migrate" })
        #expect(driver.pair.source.isRunning)
    }

    @Test func blockersAreRefusedInQEMUsWords() throws {
        let driver = attempt(script { $0.sourceBlockers = ["disallowed by -only-migratable"] })
        #expect(driver.result?.error?.contains("disallowed by -only-migratable") == true)
        #expect(!driver.sends.contains { $0.side == .destination })
    }

    @Test(arguments: Side.allCases) func aSurveyThatFailsIsARefusal(side: Side) {
        let failing = attempt(script { $0.surveyFailure = side })
        #expect(failing.violations.isEmpty, story(failing))
        #expect(failing.result?.word == .failed)
        #expect(failing.result?.error?.contains("could not be described") == true)
        let silent = attempt(script { $0.neverSurveyed = side })
        #expect(silent.violations.isEmpty, story(silent))
        #expect(silent.result?.error?.contains("in time") == true)
    }

    // MARK: Everything as it was

    /// After a failure or a cancel the capabilities and parameters are what they were, all but `events`.
    @Test(arguments: [Fault.die(.destination), .request(.cancel), .breakStream]) func settingsArePutBack(
        fault: Fault
    ) throws {
        let options = ScriptedDriver.options { $0.parameters = [Setting("max-bandwidth", .integer(1 << 30))] }
        let length = attempt(options: options).inputs
        let before = ScriptedQEMU(.source, runState: .running)
        for at in 1...length {
            let driver = attempt(options: options, faults: [(at, fault)])
            guard let word = driver.result?.word, word == .failed || word == .cancelled else { continue }
            #expect(driver.pair.source.parameters == before.parameters, "\(at)")
            #expect(driver.pair.source.capabilities.withEvents == before.capabilities.withEvents, "\(at)")
        }
    }
}

extension [CapabilitySetting] {
    /// With `events` on, as it stays.
    fileprivate var withEvents: Self { map { $0.name == "events" ? CapabilitySetting($0.name, true) : $0 } }
}
