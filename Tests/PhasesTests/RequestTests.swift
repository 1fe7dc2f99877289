import Migration
import Phases
import Testing

/// What somebody may ask of an attempt that runs, and what it waits for: words, hooks, time.
@Suite struct RequestTests {
    private func driver(_ change: (inout MigrateOptions) -> Void = { _ in }) -> ScriptedDriver {
        ScriptedDriver(Script(), options: ScriptedDriver.options(change))
    }

    private static func isHeld(_ driver: ScriptedDriver) -> Bool { driver.machine.source.evidence.stage == .held }

    // MARK: Held

    @Test func aHeldGuestWaitsForAWord() throws {
        var driver = driver { $0.isHeld = true }
        driver.befall(.request(.continue), when: Self.isHeld)
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(driver.log.contains(.arm(.hold, milliseconds: 300_000)))
        #expect(driver.log.contains(.disarm(.hold)))
    }

    @Test func nobodySaysIt() throws {
        var driver = driver {
            $0.isHeld = true
            $0.deadlines.milliseconds[.hold] = 50
        }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.result?.error?.hasSuffix("nobody let the guest go on to the switchover in time") == true)
        #expect(driver.pair.source.runState == .running)
        #expect(!driver.sends.contains { $0.command.trigger == .continueSwitchover })
    }

    @Test func aHeldGuestCanBeCancelled() throws {
        var driver = driver { $0.isHeld = true }
        driver.befall(.request(.cancel), when: Self.isHeld)
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        #expect(driver.pair.source.runState == .running)
    }

    // MARK: Hooks

    @Test func theHookGoesFirst() throws {
        var driver = driver { $0.hasHook = true }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        let acts = driver.log.compactMap(\.short)
        #expect(acts.first == "hook begin")
        let hook = try #require(acts.firstIndex(of: "hook pre-switchover"))
        #expect(acts[(hook + 1)...].first { $0.hasPrefix("source") } == "source migrate-continue")
    }

    @Test(arguments: [HookPoint.begin, .preSwitchover]) func aHookSaysNo(point: HookPoint) throws {
        var driver = driver { $0.hasHook = true }
        driver.hookFailures[point] = "exit status 1"
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.result?.error?.hasSuffix("failed: exit status 1") == true)
        #expect(driver.pair.source.runState == .running)
        #expect(!driver.sends.contains { $0.command.trigger == .continueSwitchover })
        if point == .begin { #expect(driver.sends.isEmpty) }
    }

    @Test(arguments: [HookPoint.begin, .preSwitchover]) func cancelledWhileTheHookRuns(point: HookPoint) throws {
        var driver = driver { $0.hasHook = true }
        driver.slowHooks = [point]
        driver.befall(.request(.cancel)) { $0.log.contains(.hook(point)) }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        #expect(driver.pair.source.runState == .running)
    }

    // MARK: Parameters

    @Test func changedAndPutBack() throws {
        let wish = [Setting("max-bandwidth", .integer(5)), Setting("downtime-limit", .integer(7))]
        var driver = driver { $0.parameters = [Setting("downtime-limit", .integer(6))] }
        driver.befall(.change(wish)) { if case .copying = $0.machine.source.evidence.stage { true } else { false } }
        driver.befall(.request(.cancel)) { $0.pair.source.parameters.contains(wish[0]) }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        #expect(driver.sends.contains { $0 == (.source, .setParameters(wish)) })
        #expect(driver.pair.source.parameters == ScriptedPair(Script()).source.parameters)
    }

    @Test(arguments: [
        (Setting("multifd-channels", .integer(3)), "multifd-channels has no effect on a migration that runs"),
        (Setting("xbzrle-cache-size", .integer(3)), "the source's QEMU has no parameter xbzrle-cache-size"),
    ]) func notChanged(setting: Setting, why: String) throws {
        var driver = driver()
        driver.befall(.change([setting])) {
            if case .copying = $0.machine.source.evidence.stage { true } else { false }
        }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.log.contains(.refused(.set, why)))
        #expect(driver.result?.word == .completed)
    }

    /// Before memory is copied, and after, nothing could come of it.
    @Test func notAtThisTime() throws {
        let wish = Fault.change([Setting("max-bandwidth", .integer(5))])
        var early = driver()
        early.befall(wish) { !$0.sends.isEmpty }
        early.run()
        #expect(early.log.contains(.refused(.set, "the migration is still being started")))
        var late = driver()
        late.befall(wish) { $0.records.contains(.surrendered(attempt: "a1")) }
        late.run()
        #expect(late.log.contains(.refused(.set, "no memory is being copied any more")))
        #expect(early.result?.word == .completed && late.result?.word == .completed)
    }

    // MARK: Post-copy by its moment

    @Test(arguments: [1, 2]) func afterSoManyPasses(passes: Int) throws {
        var script = Script()
        script.passes = 4
        let options = ScriptedDriver.options { $0.postcopy = PostcopyWish(afterPasses: passes) }
        let driver = attempt(script, options: options)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        let asked = try #require(driver.log.firstIndex(of: .send(.source, .startPostcopy, outOfBand: false)))
        let machine = driver.machine.source
        #expect(driver.log[asked...].contains(.persist(.surrendered(attempt: "a1"))))
        #expect((machine.evidence.events[.pass]?.count ?? 0) > passes)
    }

    @Test func afterSoLong() throws {
        var script = Script()
        script.failsToConverge = true
        let options = ScriptedDriver.options { $0.postcopy = PostcopyWish(afterMilliseconds: 40) }
        let driver = attempt(script, options: options)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(driver.sends.contains { $0.command == .startPostcopy })
    }
}
