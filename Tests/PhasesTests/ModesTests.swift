import Migration
import Phases
import Testing

/// The protocols and modes: who calls which step, who holds the job, and who continues when Perform fails.
@Suite struct ModesTests {
    private typealias Change = @Sendable (inout MigrateOptions) -> Void

    private static func run(
        _ script: Script = Script(), faults: [(at: Int, fault: Fault)] = [],
        befalling: [(Fault, (ScriptedDriver) -> Bool)] = [], change: Change
    ) -> ScriptedDriver {
        let options = ScriptedDriver.options(change)
        var driver = ScriptedDriver(script, options: options, faults: faults)
        if options.mode == .direct {
            driver.changePair { $0.startDirect() }
        }
        for (fault, condition) in befalling { driver.befall(fault, when: condition) }
        driver.run()
        return driver
    }

    private func steps(_ driver: ScriptedDriver) -> [Step] {
        driver.log.compactMap { if case .call(let step, _) = $0 { step } else { nil } }
    }
    private func moves(_ driver: ScriptedDriver, _ side: Side) -> [PhaseMove] {
        driver.log.compactMap { if case .phase(let move) = $0, move.side == side { move } else { nil } }
    }
    private func phases(_ driver: ScriptedDriver, _ side: Side) -> [Phase] { moves(driver, side).map(\.to) }

    // MARK: Protocol 2

    private static let v2: Change = { $0.protocolVersion = .v2 }

    @Test func protocol2HasFourStepsAndEndsTheSourceInPerform() throws {
        let driver = Self.run(change: Self.v2)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(steps(driver) == [.dumpXML, .prepare, .perform, .finish])
        #expect(phases(driver, .source) == [.perform2, .none])
        #expect(phases(driver, .destination) == [.prepare, .finish2, .none])
        let quit = try #require(driver.log.firstIndex(of: .send(.source, .quit, outOfBand: false)))
        let performed = try #require(
            driver.log.firstIndex { if case .answer(.perform, .done) = $0 { true } else { false } })
        let surrendered = try #require(driver.log.firstIndex(of: .persist(.surrendered(attempt: "a1"))))
        #expect(surrendered < quit && quit < performed)
        // DumpXML holds nothing: the job begins with Perform.
        let called = try #require(driver.log.firstIndex { if case .call(.perform, _) = $0 { true } else { false } })
        #expect(
            !driver.log[..<called].contains { if case .phase(let move) = $0 { move.side == .source } else { false } })
    }

    /// The reason for protocol 3: nobody is left to go back to.
    @Test func protocol2LosesTheGuestWithTheDestination() throws {
        var script = Script()
        script.isSourceFirst = true
        script.loadingTurns = 30
        let driver = Self.run(
            script, befalling: [(.die(.destination), { $0.machine.source.evidence.processEnd != nil })], change: Self.v2
        )
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .lost, story(driver))
        #expect(!steps(driver).contains(.confirm))
    }

    /// The same where the source's end is known by its own word alone.
    @Test func protocol2HasNowhereToGoBackTo() throws {
        var script = Script()
        script.isSourceFirst = true
        script.loadingTurns = 30
        script.isProcessWatched = false
        let driver = Self.run(
            script, befalling: [(.die(.destination), { $0.machine.coordinator.isDone || $0.pair.source.isOver })],
            change: Self.v2)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .lost, story(driver))
        #expect(!driver.sends.contains { $0 == (.source, .cont) })
    }

    @Test func protocol2KeepsTheOnlyCopy() throws {
        var script = Script()
        script.refusals[.init(side: .destination, name: "cont")] = .max
        let driver = Self.run(script, change: Self.v2)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .undecided)
        #expect(!driver.pair.destination.isOver)
    }

    @Test func protocol2GoesBackWhenPerformFails() throws {
        var script = Script()
        script.failsLoading = true
        let driver = Self.run(script, change: Self.v2)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.pair.source.isRunning)
        #expect(steps(driver) == [.dumpXML, .prepare, .perform, .abandon])
    }

    @Test func postcopyNeedsProtocol3() throws {
        let driver = Self.run(befalling: [(.request(.postcopy), { $0.machine.source.evidence.stage == .copying })]) {
            $0.protocolVersion = .v2
            $0.postcopy = PostcopyWish()
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.log.contains { if case .refused(.postcopy, _) = $0 { true } else { false } })
        #expect(driver.result?.word == .completed)
    }

    // MARK: Change protection

    @Test func withoutChangeProtectionPerformStartsTheJob() throws {
        let driver = Self.run { $0.hasChangeProtection = false }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(steps(driver) == [.begin, .prepare, .perform, .finish, .confirm])
        #expect(phases(driver, .source) == [.perform3, .perform3Done, .confirm3, .none])
    }

    // MARK: Who continues when Perform fails

    @Test(arguments: [MigrationMode.peerToPeer, .tunnelled]) func oneCallHoldsTheJobThroughout(
        mode: MigrationMode
    ) throws {
        let driver = Self.run { $0.mode = mode }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(phases(driver, .source) == [.begin3, .perform3, .perform3Done, .confirm3, .none])
        #expect(moves(driver, .source).dropLast().allSatisfy { $0.owner == "perform" })
    }

    @Test(arguments: [MigrationMode.peerToPeer, .managed]) func afterAFailedPerform(mode: MigrationMode) throws {
        var script = Script()
        script.failsLoading = true
        let driver = Self.run(script) { $0.mode = mode }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.pair.source.isRunning)
        let failed = try #require(
            driver.log.firstIndex { if case .answer(.perform, .failed) = $0 { true } else { false } })
        if mode == .managed {
            #expect(steps(driver) == [.begin, .prepare, .perform, .abandon])
            #expect(phases(driver, .source) == [.begin3, .perform3, .none])
            let given = try #require(
                driver.log.lastIndex { if case .phase(let move) = $0 { move.side == .source } else { false } })
            #expect(given < failed, "the job ends with Perform")
        } else {
            #expect(steps(driver) == [.begin, .prepare, .perform, .abandon, .confirm])
            #expect(phases(driver, .source) == [.begin3, .perform3, .confirm3Cancelled, .none])
        }
    }

    @Test func aFailedPrepareNeedsNoConfirm() throws {
        var script = Script()
        script.destinationMemoryBytes = 1
        for mode in [MigrationMode.peerToPeer, .managed] {
            let driver = Self.run(script) { $0.mode = mode }
            try #require(driver.violations.isEmpty, story(driver))
            #expect(driver.result?.word == .failed)
            #expect(steps(driver) == [.begin, .prepare])
            #expect(phases(driver, .source) == [.begin3, .none])
        }
    }

    @Test func peerToPeerPostcopyLeavesTheJobBehind() throws {
        var script = Script()
        script.passes = 3
        script.postcopy.recoveries = 1
        let driver = Self.run(
            script,
            befalling: [
                (.request(.postcopy), { $0.machine.source.evidence.stage == .copying }),
                (.breakStream, { $0.machine.destination.evidence.events.has(.ran) }),
            ]
        ) {
            $0.mode = .peerToPeer
            $0.postcopy = PostcopyWish()
        }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        let expected: [Phase] = [
            .begin3, .perform3, .perform3Done, .postcopyFailed, .beginResume, .performResume, .confirmResume, .none,
        ]
        #expect(phases(driver, .source) == expected)
        #expect(moves(driver, .source).first { $0.to == .postcopyFailed }?.owner == nil)
    }

    // MARK: Direct

    private static let direct: Change = { $0.mode = .direct }

    @Test func directHasNoDestinationSide() throws {
        let driver = Self.run(change: Self.direct)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(steps(driver) == [.begin, .perform, .confirm])
        #expect(!driver.sends.contains { $0.side == .destination })
        #expect(!driver.log.contains(.survey(.destination)))
        #expect(driver.result?.isRunning == nil, "nobody has looked")
        #expect(driver.result?.problems.contains { $0.contains("nobody watches the destination") } ?? false)
        #expect(driver.published.allSatisfy { $0.basis == .source || $0.word == .idle })
        #expect(driver.pair.destination.isRunning)
    }

    @Test func directIsCancelledOnlyBeforeTheHandOver() throws {
        let length = Self.run(change: Self.direct).inputs
        var refused = 0
        for at in 1...length {
            let driver = Self.run(faults: [(at, .request(.cancel))], change: Self.direct)
            try #require(driver.violations.isEmpty, "\(at) \(story(driver))")
            if driver.log.contains(where: { if case .refused(.cancel, _) = $0 { true } else { false } }) {
                refused += 1
                #expect(driver.result?.word == .completed)
                #expect(!driver.sends.contains { $0.command == .migrateCancel || $0.command == .yank })
            }
        }
        #expect(refused > 0)
    }

    /// Nobody knows whether the destination runs: the source is not continued by us, and a person is told what to find
    /// out.
    @Test func directNeverContinuesTheSource() throws {
        var stuck = Script()
        stuck.isDeviceStuck = true
        let driver = Self.run(stuck, change: Self.direct)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .undecided)
        #expect(driver.result?.problems.joined().contains("find out whether it runs the guest") ?? false)
        #expect(!driver.sends.contains { $0 == (.source, .cont) || $0 == (.source, .yank) })
    }

    // MARK: Offline

    @Test func offlineMovesTheDefinitionAlone() throws {
        var script = Script()
        script.isGuestPaused = true
        let driver = Self.run(script) { $0.isOffline = true }
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(driver.result?.isRunning == false)
        #expect(steps(driver) == [.begin, .prepare, .finish, .confirm])
        #expect(driver.sends.isEmpty)
        #expect(driver.records.isEmpty)
        #expect(phases(driver, .source) == [.begin3, .confirm3, .none])
        #expect(phases(driver, .destination) == [.prepare, .finish3, .none])
    }

    // MARK: Every fault

    private static let manners: [(String, Change)] = [
        ("v2", v2), ("no change protection", { $0.hasChangeProtection = false }),
        ("peer to peer", { $0.mode = .peerToPeer }), ("direct", direct),
    ]

    /// Every fault at many moments, in every protocol and mode: never two copies, and no lie about what became of the
    /// guest.
    @Test(arguments: manners.indices) func oneFaultInEveryMode(index: Int) throws {
        let (name, change) = Self.manners[index]
        let length = Self.run(change: change).inputs
        for (number, fault) in FaultSweepTests.faults.enumerated() {
            let step = sweepStep(5)
            for at in stride(from: 1 + number % step, through: length, by: step) {
                let driver = Self.run(faults: [(at, fault)], change: change)
                try #require(driver.violations.isEmpty, "\(name), \(fault) at \(at): \(story(driver))")
                if name == "direct" { #expect(!driver.sends.contains { $0 == (.source, .cont) }) }
            }
        }
    }
}
