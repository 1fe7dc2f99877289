import Migration
import Phases
import Testing

/// A pair that goes into post-copy, with options that allow it.
private func postcopy(_ change: (inout Script) -> Void = { _ in }) -> Script {
    var script = Script()
    script.passes = 3
    change(&script)
    return script
}

private func options(_ change: (inout MigrateOptions) -> Void = { _ in }) -> MigrateOptions {
    ScriptedDriver.options {
        $0.postcopy = PostcopyWish()
        change(&$0)
    }
}

/// An attempt in which post-copy is asked for as soon as memory is copied.
private func run(
    _ script: Script, options: MigrateOptions = options(), faults: [(at: Int, fault: Fault)] = [], seed: UInt64? = nil,
    prepare: (inout ScriptedDriver) -> Void = { _ in }
) -> ScriptedDriver {
    var driver = ScriptedDriver(script, options: options, faults: faults, seed: seed)
    driver.befall(.request(.postcopy)) { $0.machine.source.evidence.stage == .copying }
    prepare(&driver)
    driver.run()
    return driver
}

extension ScriptedDriver {
    fileprivate var isBothActive: Bool {
        machine.source.evidence.stage == .postcopy(.active) && machine.destination.evidence.stage == .postcopy(.active)
    }
    fileprivate var refusals: [(request: Request, why: String)] {
        log.compactMap { if case .refused(let request, let why) = $0 { (request, why) } else { nil } }
    }
    fileprivate var phases: [String] { log.compactMap(\.phase) }
    fileprivate var words: [String] {
        published.map(\.word.rawValue).reduce(into: []) { if $0.last != $1 { $0.append($1) } }
    }
}

@Suite struct PostcopyTests {
    // MARK: The good way

    @Test(arguments: [true, false]) func theGuestGoesBeforeItsMemory(hasDeviceWord: Bool) throws {
        let driver = run(postcopy { $0.postcopy.hasDeviceWord = hasDeviceWord })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(driver.result?.isRunning == true)
        let short = driver.log.compactMap(\.short).filter { $0 != "destination query-migrate" }
        let from = try #require(short.firstIndex(of: "source migrate-continue"))
        let proof = hasDeviceWord ? [] : ["source query-migrate"]
        let expected: [String] =
            ["source migrate-continue"] + proof + [
                "surrendered", "answer perform", "call finish", "run", "destination cont", "destination query-status",
                "accept finish",
            ]
        let seen = short[from...].reduce(into: [String]()) { seen, next in
            // A look that decides nothing may fall anywhere.
            let isLook = next == "source query-migrate" && seen != ["source migrate-continue"]
            if seen.last != next, !isLook || seen.isEmpty { seen.append(next) }
        }
        #expect(Array(seen.prefix(expected.count)) == expected, story(driver))
        #expect(
            driver.phases == [
                "source none>begin3", "destination none>prepare", "source begin3>perform3",
                "source perform3>perform3_done", "destination prepare>finish3", "destination finish3>none",
                "source perform3_done>confirm3", "source confirm3>none",
            ])
        #expect(driver.words.contains("postcopy"))
        #expect(driver.result?.ownGapMicroseconds ?? -1 >= 0)
        // The commit is followed by its command at once, and by nothing else.
        let record = try #require(driver.log.firstIndex(of: .persist(.run(attempt: "a1"))))
        #expect(driver.log[record + 1] == .send(.destination, .cont, outOfBand: false))
    }

    /// Finish is accepted when the guest runs and answered when all of its memory is there.
    @Test func finishIsAcceptedAndAnsweredLater() throws {
        let driver = run(postcopy { $0.postcopy.turns = 10 })
        let accepted = try #require(driver.log.firstIndex(of: .accepted(.finish)))
        let answered = try #require(
            driver.log.firstIndex { if case .answer(.finish, .done) = $0 { true } else { false } })
        #expect(accepted < answered)
        #expect(driver.log[..<answered].contains { $0.short == "accept finish" })
    }

    @Test func aWishForPostcopyAfterTheFirstPassNeedsNobody() throws {
        let driver = attempt(
            postcopy { $0.passes = 6 },
            options: options { $0.postcopy = PostcopyWish(afterPasses: 1, bytesPerSecond: 1 << 20) })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.sends.contains { $0 == (.source, .startPostcopy) })
        #expect(driver.result?.word == .completed)
        let bandwidth = Command.setParameters([Setting("max-postcopy-bandwidth", .integer(1 << 20))])
        #expect(driver.sends.contains { $0 == (.source, bandwidth) })
    }

    @Test func aPausedGuestStaysPaused() throws {
        let driver = run(postcopy { $0.isGuestPaused = true })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(driver.result?.isRunning == false)
        #expect(!driver.sends.contains { $0 == (.destination, .cont) })
    }

    // MARK: What is refused

    @Test func postcopyIsRefusedWhereItWasNotAllowed() throws {
        let driver = run(postcopy(), options: ScriptedDriver.options())
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.refusals.map(\.request) == [.postcopy])
        #expect(driver.refusals.first?.why.contains("was not allowed") ?? false)
        #expect(!driver.sends.contains { $0.command == .startPostcopy })
        #expect(driver.result?.word == .completed)
    }

    @Test func theCapabilityIsNeededOnBothSides() throws {
        for side in Side.allCases {
            var driver = ScriptedDriver(postcopy(), options: options())
            driver.changePair { pair in pair[side].capabilities.removeAll { $0.name == "postcopy-ram" } }
            driver.run()
            try #require(driver.violations.isEmpty, story(driver))
            #expect(driver.result?.word == .failed)
            #expect(driver.result?.error?.contains("postcopy-ram") ?? false)
        }
    }

    /// There is no way back: a cancel is refused in a sentence and never sent.
    @Test(arguments: [true, false]) func aCancelInPostcopyIsRefused(hasDeviceWord: Bool) throws {
        let calm = postcopy { $0.postcopy.hasDeviceWord = hasDeviceWord }
        let length = run(calm).inputs
        var count = 0
        for at in 1...length {
            let driver = run(calm, faults: [(at, .request(.cancel))])
            try #require(driver.violations.isEmpty, "\(at) \(story(driver))")
            let result = try #require(driver.result)
            if let refusal = driver.refusals.first(where: { $0.request == .cancel }) {
                count += 1
                #expect(refusal.why.contains("post-copy"))
                #expect(!driver.sends.contains { $0.command == .migrateCancel || $0.command == .yank })
                #expect(result.word == .completed)
            }
            #expect(result.word == .completed || result.word == .cancelled, "\(at) \(story(driver))")
        }
        #expect(count > 1)
    }

    // MARK: The hand-over

    /// Up to 10.1 `postcopy-active` comes before the package: as long as the source answers nothing, the guest is not
    /// run.
    @Test func theOldWordProvesNothing() throws {
        let stuck = postcopy {
            $0.postcopy.hasDeviceWord = false
            $0.postcopy.isPackageStuck = true
        }
        let driver = run(stuck)
        #expect(driver.violations.isEmpty, story(driver))
        #expect(!driver.records.contains(.surrendered(attempt: "a1")))
        #expect(!driver.sends.contains { $0 == (.destination, .cont) })
    }

    /// A destination that dies while the package is under way leaves the guest to the source, which goes on by itself.
    @Test(arguments: [true, false]) func aFailureBeforeTheHandOverIsTheSources(hasDeviceWord: Bool) throws {
        let stuck = postcopy {
            $0.postcopy.hasDeviceWord = hasDeviceWord
            $0.postcopy.isPackageStuck = true
        }
        let driver = run(stuck) { driver in
            driver.befall(.request(.postcopy)) { $0.machine.source.evidence.stage == .copying }
            driver.befall(.die(.destination)) {
                $0.pair.source.isPackaging || $0.pair.source.isPostcopyAsked && $0.pair.source.status == .device
            }
        }
        #expect(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed, story(driver))
        #expect(driver.result?.place == .source)
        #expect(driver.pair.source.isRunning)
        #expect(!driver.sends.contains { $0 == (.source, .cont) })
    }

    /// Whoever continues the source after the guest was run elsewhere: it is stopped at once, and nobody is believed.
    @Test func aSourceThatRunsAgainIsStopped() throws {
        var driver = ScriptedDriver(postcopy { $0.postcopy.turns = 1000 }, options: options())
        driver.befall(.request(.postcopy)) { $0.machine.source.evidence.stage == .copying }
        driver.run { $0.machine.destination.evidence.events.has(.ran) }
        var machine = driver.machine
        let effects = machine.apply(
            .fact(.source, .event(.resume)), sequence: 9999, at: Instant(microseconds: 1 << 40))
        #expect(effects.first == .send(.source, .stop, outOfBand: false))
        #expect(machine.result?.word == .undecided)
        #expect(machine.result?.problems.joined().contains("stopped at once") ?? false)
    }

    // MARK: Interrupted and recovered

    @Test(arguments: [true, false]) func aBrokenChannelIsANamedPause(hasDeviceWord: Bool) throws {
        let driver = run(postcopy { $0.postcopy.hasDeviceWord = hasDeviceWord }) {
            $0.befall(.breakStream) { $0.machine.destination.evidence.events.has(.ran) }
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result == nil)
        #expect(driver.isPaused, story(driver))
        #expect(driver.machine.source.job.phase == .postcopyFailed)
        #expect(driver.machine.destination.job.phase == .postcopyFailed)
        #expect(driver.machine.source.job.isDisowned && driver.machine.destination.job.isDisowned)
        #expect(!driver.sends.contains { $0 == (.source, .cont) || $0.command == .quit })
    }

    @Test(arguments: [true, false], [0, 1]) func aRecoveryGoesOn(hasDeviceWord: Bool, breaks: Int) throws {
        let driver = run(
            postcopy {
                $0.postcopy.hasDeviceWord = hasDeviceWord
                $0.postcopy.recoveries = 1 + breaks
                $0.postcopy.breaks = breaks
            }
        ) {
            $0.befall(.breakStream) { $0.machine.destination.evidence.events.has(.ran) }
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        let recovery = [
            "source postcopy_failed>begin_resume", "destination postcopy_failed>prepare_resume",
            "source begin_resume>perform_resume", "destination prepare_resume>finish_resume",
        ]
        for phase in recovery { #expect(driver.phases.filter { $0 == phase }.count == 1 + breaks, "\(phase)") }
        #expect(
            driver.phases.suffix(4)
                == [
                    "destination finish_resume>none", "source perform_resume>confirm_resume",
                    "source confirm_resume>none",
                ].suffix(4)
                || driver.phases.suffix(3) == [
                    "destination finish_resume>none", "source perform_resume>confirm_resume",
                    "source confirm_resume>none",
                ], story(driver))
        #expect(driver.log.contains(.send(.destination, .migrateRecover(uri: "unix:/run/m.sock.1"), outOfBand: true)))
        #expect(driver.sends.contains { $0 == (.source, .migrate(uri: "unix:/run/m.sock.1", resume: true)) })
        #expect(driver.sends.filter { $0 == (.destination, .cont) }.count == 1)
        #expect(driver.words.contains("postcopy-paused"))
    }

    /// Connections that are refused or come to nothing, and handshakes that hang: it is interrupted again, and can be
    /// recovered again.
    @Test(arguments: ["refused", "silent", "hung"], [true, false])
    func aRecoveryThatFailsIsAPauseAgain(how: String, hasDeviceWord: Bool) throws {
        let driver = run(
            postcopy {
                $0.postcopy.hasDeviceWord = hasDeviceWord
                $0.postcopy.recoveries = 4
                switch how {
                case "refused": $0.postcopy.refusedConnections = 2
                case "silent": $0.postcopy.silentConnections = 2
                default: $0.postcopy.hungHandshakes = 2
                }
            }
        ) {
            $0.befall(.breakStream) { $0.machine.destination.evidence.events.has(.ran) }
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(driver.phases.filter { $0 == "source postcopy_failed>begin_resume" }.count == 3, story(driver))
        #expect(driver.phases.filter { $0 == "source perform_resume>postcopy_failed" }.count == 2)
        if how == "hung" {
            for side in Side.allCases { #expect(driver.log.contains(.send(side, .migratePause, outOfBand: true))) }
        }
    }

    @Test(arguments: Side.allCases) func theSideThatDoesNotNoticeIsInterrupted(unaware: Side) throws {
        let driver = run(
            postcopy {
                $0.postcopy.unaware = unaware
                $0.postcopy.recoveries = 1
            }
        ) {
            $0.befall(.breakStream) { $0.machine.destination.evidence.events.has(.ran) }
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.log.contains(.arm(.halfPaused, milliseconds: 5_000)))
        #expect(driver.log.contains(.send(unaware, .migratePause, outOfBand: true)))
        #expect(!driver.log.contains(.send(unaware.other, .migratePause, outOfBand: true)))
        #expect(driver.result?.word == .completed, story(driver))
    }

    @Test func aPersonInterruptsAndGoesOn() throws {
        let driver = run(
            postcopy {
                $0.postcopy.turns = 50
                $0.postcopy.recoveries = 1
            }
        ) {
            $0.befall(.request(.pausePostcopy)) { $0.machine.destination.evidence.events.has(.ran) }
        }
        try #require(driver.violations.isEmpty, story(driver))
        for side in Side.allCases { #expect(driver.log.contains(.send(side, .migratePause, outOfBand: true))) }
        #expect(driver.result?.word == .completed, story(driver))
    }

    /// A channel that breaks before the destination was told to run: the guest runs nowhere until the recovery has come
    /// to its Finish.
    @Test func anInterruptionBeforeTheHandOver() throws {
        var driver = ScriptedDriver(postcopy { $0.postcopy.recoveries = 1 }, options: options())
        driver.befall(.request(.postcopy)) { $0.machine.source.evidence.stage == .copying }
        driver.run { $0.pair.source.status == .postcopyActive }
        driver.breakNow()
        driver.goOn()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(driver.records.filter { $0 == .surrendered(attempt: "a1") }.count == 1)
    }

    @Test func aRecoveryOfWhatIsNotInterruptedIsRefused() throws {
        let driver = run(postcopy()) {
            $0.befall(.request(.recover)) { $0.machine.destination.evidence.events.has(.ran) }
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.refusals.map(\.request) == [.recover])
        #expect(driver.result?.word == .completed)
    }

    /// Somebody else recovers it: when it completes with nobody inside, what is left to do is done.
    @Test(arguments: [true, false]) func itCompletesUnattended(isSourceFirst: Bool) throws {
        var driver = ScriptedDriver(postcopy(), options: options())
        driver.befall(.request(.postcopy)) { $0.machine.source.evidence.stage == .copying }
        driver.run { $0.machine.destination.evidence.events.has(.ran) }
        driver.breakNow()
        driver.goOn()
        try #require(driver.isPaused, story(driver))
        driver.changePair { pair in
            _ = pair.listenAgain("unix:/run/other.sock")
            _ = pair.resumePostcopy("unix:/run/other.sock")
        }
        driver.goOn()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(driver.phases.contains("source postcopy_failed>confirm_resume"))
        #expect(driver.phases.contains("destination postcopy_failed>finish_resume"))
        #expect(!driver.pair.source.isAlive || driver.pair.source.isExiting)
    }

    // MARK: Lost

    @Test(arguments: Side.allCases) func eitherProcessGoneIsTheEnd(side: Side) throws {
        let driver = run(postcopy { $0.postcopy.turns = 50 }) {
            $0.befall(.die(side)) { $0.machine.destination.evidence.events.has(.ran) }
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .lost, story(driver))
        #expect(!driver.sends.contains { $0 == (.source, .cont) })
    }

    // MARK: Everything

    static let faults = FaultSweepTests.faults + [.request(.postcopy), .request(.pausePostcopy), .request(.recover)]

    private static func script(_ manner: FaultSweepTests.Manner, hasDeviceWord: Bool) -> Script {
        var script = manner.script
        script.postcopy.hasDeviceWord = hasDeviceWord
        script.postcopy.recoveries = 2
        script.passes = 3
        return script
    }

    @Test(arguments: [true, false]) func oneFaultAtEveryMoment(hasDeviceWord: Bool) throws {
        let script = Self.script(.usual, hasDeviceWord: hasDeviceWord)
        let options = options { $0.timeoutMilliseconds = 20_000 }
        let length = run(script, options: options).inputs
        for fault in Self.faults {
            for at in stride(from: 1, through: length, by: sweepStep(5)) {
                let driver = run(script, options: options, faults: [(at, fault)])
                try #require(driver.violations.isEmpty, "\(fault) at \(at): \(story(driver))")
            }
        }
    }

    @Test(arguments: FaultSweepTests.Manner.allCases) func oneFaultInEveryManner(manner: FaultSweepTests.Manner) throws
    {
        for hasDeviceWord in [true, false] {
            let script = Self.script(manner, hasDeviceWord: hasDeviceWord)
            let length = min(run(script).inputs, 150)
            for (index, fault) in Self.faults.enumerated() {
                let step = sweepStep(61)
                for at in stride(from: 1 + index % step, through: length, by: step) {
                    let driver = run(script, faults: [(at, fault)])
                    try #require(driver.violations.isEmpty, "\(fault) at \(at): \(story(driver))")
                }
            }
        }
    }
}
