import Migration
import Phases
import Testing

/// Disks that are copied along. That the guest never runs on an incomplete disk, and that nothing is left behind, is
/// checked by the scripted pair in each of them.
@Suite struct StorageTests {
    static func options(_ change: (inout MigrateOptions) -> Void = { _ in }) -> MigrateOptions {
        ScriptedDriver.options {
            let address = NBDAddress.unix(path: "/run/disks.sock")
            $0.storage = StorageWish(server: address, client: address)
            $0.timeoutMilliseconds = 60_000
            change(&$0)
        }
    }

    static func script(disks: Int = 2, _ change: (inout Script) -> Void = { _ in }) -> Script {
        var script = Script()
        script.disks.count = disks
        change(&script)
        return script
    }

    private func names(_ driver: ScriptedDriver, _ side: Side) -> [String] {
        driver.sends.filter { $0.side == side }.map(\.command.name)
    }

    @Test func copiedBeforeMemoryAndFinishedAfterIt() throws {
        let driver = attempt(Self.script(), options: Self.options())
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        let source = names(driver, .source).filter { !$0.hasPrefix("query") }
        let disks = [
            "blockdev-add", "blockdev-add", "blockdev-mirror", "blockdev-mirror", "migrate", "block-job-cancel",
            "block-job-cancel", "job-dismiss", "blockdev-del", "job-dismiss", "blockdev-del", "migrate-continue",
        ]
        #expect(source.filter { disks.contains($0) } == disks)
        let destination = names(driver, .destination)
        let serving = ["nbd-server-start", "block-export-add", "block-export-add", "migrate-incoming"]
        #expect(destination.filter { serving.contains($0) } == serving)
        // Before the source says that it is done, so that the guest does not wait for it.
        let stop = driver.log.firstIndex { if case .send(_, .storage(.stopServer), _) = $0 { true } else { false } }
        let surrendered = driver.log.firstIndex(of: .persist(.surrendered(attempt: "a1")))
        #expect(try #require(stop) < (try #require(surrendered)))
    }

    @Test func onlyTheOnesThatAreNamed() throws {
        for name in ["disk1", "/machine/peripheral/disk1", "#block1source"] {
            var script = Self.script()
            script.disks.wished = 1
            let driver = attempt(script, options: Self.options { $0.storage?.disks = [name] })
            try #require(driver.violations.isEmpty, story(driver))
            #expect(driver.result?.word == .completed)
            #expect(driver.sends.contains { $0.command.argument?.hasPrefix("#block1source to") ?? false })
            #expect(names(driver, .source).filter { $0 == "blockdev-mirror" }.count == 1)
        }
    }

    @Test func refusedBeforeAnythingChanges() throws {
        let cases: [(Script, MigrateOptions, String)] = [
            (Self.script(), Self.options { $0.storage?.disks = ["vdz"] }, "has no disk vdz"),
            (Self.script(disks: 0), Self.options(), "no disk that it can write"),
            (Self.script { $0.disks.destinationBytes = 1 << 29 }, Self.options(), "1024 MiB on the source"),
        ]
        for (script, options, why) in cases {
            let driver = attempt(script, options: options)
            try #require(driver.violations.isEmpty, story(driver))
            #expect(driver.result?.word == .failed)
            #expect(driver.result?.error?.contains(why) ?? false, "\(driver.result?.error ?? "")")
            #expect(!driver.sends.contains { $0.command.isAboutDisks || $0.command.trigger == .configure })
        }
    }

    @Test(arguments: [DiskScript.Failure.early, .late, .atTheEnd]) func aCopyThatFails(when: DiskScript.Failure) throws
    {
        let driver = attempt(Self.script { $0.disks.failure = when }, options: Self.options())
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.result?.error?.contains("disk0") ?? false, "\(driver.result?.error ?? "")")
        #expect(driver.pair.source.isRunning)
        #expect(names(driver, .source).contains("migrate") == (when != .early))
    }

    /// A server that somebody else has started is not stopped.
    @Test func aServerThatIsThereAlready() throws {
        var driver = ScriptedDriver(Self.script(), options: Self.options())
        driver.changePair { $0.disks.isServing = true }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.error?.contains("NBD server already running") ?? false)
        #expect(driver.pair.disks.isServing)
        #expect(driver.pair.disks.exports.isEmpty)
    }

    /// Copies are under way and do not hear that they are given up.
    private func stubborn(_ change: (inout Script) -> Void = { _ in }) -> ScriptedDriver {
        let script = Self.script {
            $0.disks.isStubborn = true
            $0.disks.turns = .max
            change(&$0)
        }
        var driver = ScriptedDriver(script, options: Self.options { $0.deadlines.milliseconds[.cleanup] = 10_000 })
        driver.befall(.request(.cancel)) { $0.pair.disks.jobs.count == 2 }
        driver.run { $0.pair.disks.jobs.count == 2 && $0.pair.disks.jobs.values.allSatisfy { $0 == .cancelling } }
        for _ in 0..<6 { driver.take(.tick) }
        driver.goOn()
        return driver
    }

    /// They are cut off, and then the destination is ended.
    @Test func aCopyThatDoesNotHear() throws {
        let driver = stubborn()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        #expect(driver.sends.contains { if case .storage(.cut) = $0.command { true } else { false } })
        #expect(driver.pair.disks.isClear)
    }

    /// Not even that helps: it is bounded, and told.
    @Test func aCopyThatNeverEnds() throws {
        let driver = stubborn {
            $0.unkillable = [.destination]
            $0.ignoresQuit = [.destination]
        }
        try #require(driver.violations.isEmpty, story(driver))
        let isTold = driver.log.contains {
            if case .answer(.perform, .failed(let error)) = $0 {
                error.description.contains("may be left")
            } else {
                false
            }
        }
        #expect(isTold, story(driver))
    }

    /// A copy that stands still is noticed, however long copies may take.
    @Test func aCopyThatStandsStill() throws {
        var driver = ScriptedDriver(Self.script(), options: Self.options { $0.timeoutMilliseconds = nil })
        driver.befall(.silence(.destination)) { $0.sends.contains { $0.command.name == "blockdev-mirror" } }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.error?.contains("makes no progress") ?? false, "\(driver.result?.error ?? "")")
    }

    @Test func nothingIsStoppedTwice() throws {
        let driver = attempt(Self.script(), options: Self.options { $0.keepsSource = true })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.problems == [])
        #expect(names(driver, .destination).filter { $0 == "nbd-server-stop" }.count == 1)
        #expect(driver.pair.disks.isClear)
    }

    /// What a program left that was killed is removed by the next attempt, whether it copies disks or not.
    @Test(arguments: [0, 2]) func leftoversOfAnotherAttempt(copied: Int) throws {
        var driver = ScriptedDriver(
            Self.script(disks: copied), options: copied > 0 ? Self.options() : ScriptedDriver.options())
        driver.changePair {
            $0.disks.nodes = ["godwit-dead-0", "godwit-dead-1", "godwit-dead-2"]
            $0.disks.jobs = ["godwit-dead-0": .ready, "godwit-dead-1": .concluded(error: nil)]
        }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
        #expect(driver.pair.disks.isClear, "\(driver.pair.disks)")
    }

    // MARK: Whatever befalls

    @Test func oneFaultAtEveryMoment() throws {
        let length = attempt(Self.script(), options: Self.options()).inputs
        for fault in FaultSweepTests.faults {
            for moment in stride(from: 1, through: length, by: sweepStep(2)) {
                let driver = attempt(Self.script(), options: Self.options(), faults: [(moment, fault)])
                try #require(driver.violations.isEmpty, "\(fault) at \(moment): \(story(driver))")
            }
        }
    }

    @Test(arguments: [DiskScript.Failure.early, .late, .atTheEnd]) func aFaultBesideAFailure(
        failure: DiskScript.Failure
    ) throws {
        let script = Self.script { $0.disks.failure = failure }
        let length = attempt(script, options: Self.options()).inputs
        for fault in FaultSweepTests.faults {
            for moment in stride(from: 1, through: length, by: sweepStep(5)) {
                let driver = attempt(script, options: Self.options(), faults: [(moment, fault)])
                try #require(driver.violations.isEmpty, "\(fault) at \(moment): \(story(driver))")
            }
        }
    }

    /// Every event dropped, doubled or late: what is missed is found out by asking.
    @Test(arguments: 1...22) func oneEventAmiss(number: Int) {
        let changes: [(inout Script) -> Void] = [
            { $0.droppedEvents = [number] }, { $0.doubledEvents = [number] }, { $0.delayedEvents = [number] },
        ]
        for change in changes {
            let driver = attempt(Self.script { change(&$0) }, options: Self.options())
            #expect(driver.violations.isEmpty, story(driver))
            #expect(driver.result?.word == .completed, story(driver))
        }
    }

    @Test func noEventAtAll() {
        let driver = attempt(Self.script { $0.droppedEvents = Set(1...100) }, options: Self.options())
        #expect(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
    }

    private static let commands: [Script.Target] = {
        let source = [
            "blockdev-add", "blockdev-mirror", "query-jobs", "block-job-cancel", "job-dismiss", "blockdev-del", "yank",
        ]
        // QEMU does not refuse to stop a server that runs.
        let destination = ["nbd-server-start", "block-export-add"]
        return source.map { Script.Target(side: .source, name: $0) }
            + destination.map { Script.Target(side: .destination, name: $0) }
    }()

    @Test(arguments: commands) func everyCommandRefusedAndEveryReplyMissing(target: Script.Target) throws {
        let changes: [(inout Script) -> Void] = [
            { $0.refusals[target] = 1 }, { $0.refusals[target] = .max }, { $0.mutes = [target] },
            {
                $0.mutes = [target]
                $0.tellsUnanswered = false
            },
        ]
        for change in changes {
            for fault in [Fault?.none, .request(.cancel), .die(.destination)] {
                for moment in isThorough ? [52, 60, 70, 90] : [60] {
                    let driver = attempt(
                        Self.script { change(&$0) }, options: Self.options(),
                        faults: fault.map { [(moment, $0)] } ?? [])
                    try #require(
                        driver.violations.isEmpty, "\(target) \(String(describing: fault)) \(story(driver))")
                }
            }
        }
    }

    @Test func anyOrder() throws {
        for seed in 0..<UInt64(isThorough ? 2000 : 200) {
            let driver = attempt(Self.script(), options: Self.options(), seed: seed)
            try #require(driver.violations.isEmpty, "seed \(seed): \(story(driver))")
        }
    }
}
