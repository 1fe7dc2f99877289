import Migration
import Phases
import Testing

/// Whole attempts with a lock manager: the machines against scripted QEMUs and shared leases.
@Suite struct AttemptLeaseTests {
    private static let memory = LockManagerKind(driver: "memory", usesState: true)

    private static func drive(
        _ change: (inout MigrateOptions) -> Void = { _ in }, script: (inout Script) -> Void = { _ in },
        faults: [(at: Int, fault: Fault)] = []
    ) -> ScriptedDriver {
        var story = Script()
        script(&story)
        let options = ScriptedDriver.options {
            $0.lockManager = memory
            change(&$0)
        }
        var driver = ScriptedDriver(story, options: options, faults: faults)
        driver.run()
        return driver
    }

    private static func result(_ driver: ScriptedDriver) -> AttemptResult? {
        for case .finished(let result) in driver.log { return result }
        return nil
    }

    /// Where each of these came first.
    private static func place(_ driver: ScriptedDriver, _ isIt: (Effect) -> Bool) -> Int? {
        driver.log.firstIndex(where: isIt)
    }

    @Test func aSuccessHandsTheLeasesOver() throws {
        let driver = Self.drive()
        #expect(Self.result(driver)?.word == .completed, "\(driver.history.joined(separator: "\n"))")
        #expect(driver.locks.holder == .destination && driver.locks.violations.isEmpty)
        let inquired = try #require(Self.place(driver) { $0 == .lease(.source, .inquire) })
        let begun = try #require(Self.place(driver) { if case .answer(.begin, .done) = $0 { true } else { false } })
        let released = try #require(Self.place(driver) { $0 == .lease(.source, .release) })
        let performed = try #require(
            Self.place(driver) { if case .answer(.perform, .done) = $0 { true } else { false } })
        let acquired = try #require(
            Self.place(driver) {
                $0 == .lease(.destination, .acquire(LeaseState(driver: "memory", state: "version=1")))
            })
        let run = try #require(Self.place(driver) { $0 == .persist(.run(attempt: driver.options.attempt)) })
        let cont = try #require(Self.place(driver) { $0 == .send(.destination, .cont, outOfBand: false) })
        #expect(
            [inquired, begun, released, performed, acquired, run, cont].sorted()
                == [inquired, begun, released, performed, acquired, run, cont])
        #expect(run + 1 == cont, "nothing stands between the record and the command")
        for case .answer(.begin, .done(let cookie)) in driver.log {
            #expect(cookie.lease == LeaseState(driver: "memory", state: "version=1"))
        }
    }

    /// Nothing is asked, and nothing else is different, without a lock manager.
    @Test func withoutOneNothingIsAsked() {
        var plain = ScriptedDriver(Script(), options: ScriptedDriver.options())
        plain.run()
        #expect(!plain.log.contains { if case .lease = $0 { true } else { false } })
        let leased = Self.drive()
        func acts(_ driver: ScriptedDriver) -> [Effect] {
            driver.log.filter {
                switch $0 {
                // That is about the leases themselves.
                case .persist(.released): false
                case .send, .persist, .phase, .kill: true
                default: false
                }
            }
        }
        #expect(acts(leased) == acts(plain))
    }

    /// Somebody else took the leases while the guest was between the hosts: the destination does not run it, and
    /// neither does the source.
    @Test func somebodyElseWasFaster() {
        var driver = ScriptedDriver(
            Script(), options: ScriptedDriver.options { $0.lockManager = Self.memory })
        driver.hasThief = true
        driver.run()
        #expect(!driver.log.contains(.send(.destination, .cont, outOfBand: false)))
        #expect(!driver.log.contains(.send(.source, .cont, outOfBand: false)))
        #expect(!driver.log.contains(.persist(.run(attempt: driver.options.attempt))))
        let result = Self.result(driver)
        #expect(result?.word == .undecided)
        #expect(
            result?.problems.contains { $0.contains("without its leases") } == true, "\(String(describing: result))")
    }

    /// The destination's QEMU dies with the guest complete: the source takes its leases back before it goes on.
    @Test func aFailureTakesTheLeasesBack() throws {
        let whole = Self.drive()
        let steps = whole.inputs
        var rolledBack = 0
        for at in 0..<steps {
            let driver = Self.drive(faults: [(at, .die(.destination))])
            guard let result = Self.result(driver) else {
                Issue.record("no end with the destination killed at \(at)")
                continue
            }
            #expect(driver.locks.violations.isEmpty, "killed at \(at): \(driver.locks.violations)")
            if result.isRunning == true, result.place == .source {
                #expect(driver.locks.holder == .source, "killed at \(at)")
                if driver.locks.version == 2 { rolledBack += 1 }
            }
        }
        #expect(rolledBack > 0, "no kill fell between the source's stop and the destination's run")
    }

    /// A cancel at any moment: whoever runs the guest holds its leases.
    @Test func cancelled() {
        let steps = Self.drive().inputs
        for at in 0..<steps {
            let driver = Self.drive(faults: [(at, .request(.cancel))])
            let result = Self.result(driver)
            #expect(result != nil, "cancelled at \(at)")
            #expect(driver.violations.isEmpty, "\(driver.violations)")
            #expect(driver.locks.violations.isEmpty, "cancelled at \(at): \(driver.locks.violations)")
            if result?.isRunning == true {
                #expect(
                    driver.locks.holder == (result?.place == .source ? .source : .destination), "cancelled at \(at)")
            }
        }
    }

    /// A lock manager that does not answer holds up nothing for ever.
    @Test func silence() {
        var driver = ScriptedDriver(Script(), options: ScriptedDriver.options { $0.lockManager = Self.memory })
        driver.areLocksSilent = true
        driver.run()
        let result = Self.result(driver)
        #expect(result?.word == .failed)
        #expect(result?.error?.contains("the guest's leases cannot be told") == true, "\(String(describing: result))")
    }

    /// A destination without its part of the state refuses in Prepare.
    @Test func aStateThatIsMissing() throws {
        var destination = DestinationMachine(options: ScriptedDriver.options { $0.lockManager = Self.memory })
        let effects = destination.prepare(Cookie(attempt: "a1"))
        guard case .answer(.prepare, .failed(let error))? = effects.last else {
            Issue.record("\(effects)")
            return
        }
        #expect(error.kind == .refused && error.description.contains("lease"))
        #expect(destination.job.job == nil)
    }
}

/// The same with parties that exchange messages.
@Suite struct PartyLeaseTests {
    @Test func aSuccessHandsTheLeasesOver() {
        var composition = Composition(
            options: ScriptedDriver.options { $0.lockManager = LockManagerKind(driver: "memory", usesState: true) })
        composition.run()
        #expect(composition.results.last?.word == .completed)
        #expect(composition.locks.holder == .destination && composition.locks.violations.isEmpty)
    }
}

/// What of an attempt's circumstances outlives a crash of a side.
@Suite struct RememberedTests {
    private static let memory = LockManagerKind(driver: "memory", usesState: true)
    private static let options = ScriptedDriver.options { $0.lockManager = memory }

    /// The state that the lock manager gave with the leases is the one that they are taken again with.
    @Test func theStateOfReleasedLeases() throws {
        var composition = Composition(options: Self.options)
        composition.befall(.crash(.source, returns: true)) { $0.ledgers[.source]?.lease != nil }
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.word == .completed, story(composition))
        let released = composition.records.compactMap { record in
            if case .released(.source, let state) = record { state } else { nil as LeaseState? }
        }
        #expect(!released.isEmpty)

        var ledger = Ledger(side: .source)
        let cookie = Cookie(attempt: "a1")
        ledger.note(.called(.begin, cookie))
        var told = cookie
        told.lease = LeaseState(driver: "memory", state: "version=1")
        ledger.note(.answered(.begin, .done(told)))
        ledger.note(.phase(PhaseMove(side: .source, from: .none, to: .perform3, owner: nil)))
        let newer = LeaseState(driver: "memory", state: "version=2")
        ledger.note(.released(.source, newer))
        ledger.note(.released(.destination, LeaseState(driver: "memory", state: "version=3")))
        #expect(ledger.lease == newer)
        var party = SideParty(restarting: ledger, options: Self.options)
        _ = party.apply(.restarted, sequence: 1, at: Instant(microseconds: 0))
        #expect(party.source?.lease == newer)
        // Another attempt knows nothing of it.
        ledger.note(.called(.begin, Cookie(attempt: "a2")))
        #expect(ledger.lease == nil)
    }

    /// A guest that somebody paused on the way arrives paused, whoever crashed in between.
    @Test func thatTheGuestWasPausedOnTheWay() throws {
        var composition = Composition()
        var isInterfered = false
        var isLookedAt = false
        composition.run { composition in composition.pair.source.status == .active }
        composition.interfere(isRunning: false)
        while composition.advance() {
            if !isLookedAt, composition.source?.evidence.events.has(.stopped) ?? false {
                isLookedAt = true
                composition.take(.source, .tick)
            }
            guard !isInterfered, composition.ledgers[.source]?.wasPausedOnTheWay ?? false else { continue }
            isInterfered = true
            composition.befall(.crash(.source, returns: true))
        }
        try #require(composition.violations.isEmpty, story(composition))
        try #require(isInterfered, story(composition))
        #expect(composition.result?.word == .completed, story(composition))
        #expect(composition.result?.isRunning == false, story(composition))
    }
}
