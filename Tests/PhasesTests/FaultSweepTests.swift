import Migration
import Phases
import Testing

/// Every fault at every moment of an otherwise ordinary migration. What must always hold is checked after every input.
@Suite struct FaultSweepTests {
    static let faults: [Fault] = [
        .die(.source), .die(.destination), .loseMonitor(.source, returns: true), .loseMonitor(.source, returns: false),
        .loseMonitor(.destination, returns: true), .loseMonitor(.destination, returns: false), .silence(.source),
        .silence(.destination), .breakStream, .request(.cancel), .request(.pauseGuest), .shutDownGuest,
        .interfere(isRunning: false),
    ]

    /// The ways a pair of QEMUs differs from another.
    enum Manner: String, CaseIterable {
        case usual, noYank, noOutOfBand, exitOnError, guestPaused, sourceFirst, silenceUntold, cancelTooLate, unkillable
        case quitIgnored, deviceStuck, deviceStuckNoYank, loadFails, loadFailsStays, neverRuns, contRefused
        case sourceContRefused, processUnwatched, yankDeaf

        var script: Script {
            var script = Script()
            switch self {
            case .usual: break
            case .noYank: script.hasYank = false
            case .noOutOfBand: script.hasOutOfBand = false
            case .exitOnError: script.hasExitOnError = true
            case .guestPaused: script.isGuestPaused = true
            case .sourceFirst: script.isSourceFirst = true
            case .silenceUntold: script.tellsUnanswered = false
            case .cancelTooLate: script.isCancelTooLate = true
            case .unkillable: script.unkillable = [.source, .destination]
            case .quitIgnored: script.ignoresQuit = [.source, .destination]
            case .deviceStuck: script.isDeviceStuck = true
            case .deviceStuckNoYank:
                script.isDeviceStuck = true
                script.hasYank = false
            case .loadFails: script.failsLoading = true
            case .loadFailsStays:
                script.failsLoading = true
                script.hasExitOnError = true
            case .neverRuns: script.neverRuns = true
            case .contRefused: script.refusals[.init(side: .destination, name: "cont")] = .max
            case .sourceContRefused: script.refusals[.init(side: .source, name: "cont")] = .max
            case .processUnwatched: script.isProcessWatched = false
            case .yankDeaf: script.isYankDeaf = true
            }
            return script
        }
    }

    @Test(arguments: [false, true]) func oneFaultAtEveryMoment(keepsSource: Bool) throws {
        let options = ScriptedDriver.options {
            $0.keepsSource = keepsSource
            $0.timeoutMilliseconds = 20_000
        }
        let length = attempt(options: options).inputs
        for fault in Self.faults {
            for moment in stride(from: 1, through: length, by: sweepStep(keepsSource ? 5 : 2)) {
                let driver = attempt(options: options, faults: [(moment, fault)])
                try #require(driver.violations.isEmpty, "\(fault) at \(moment): \(story(driver))")
            }
        }
    }

    @Test(arguments: Manner.allCases) func oneFaultInEveryManner(manner: Manner) throws {
        let length = min(attempt(manner.script).inputs, 120)
        for (index, fault) in Self.faults.enumerated() {
            let step = sweepStep(37)
            for moment in stride(from: 1 + index % step, through: length, by: step) {
                let driver = attempt(manner.script, faults: [(moment, fault)])
                try #require(driver.violations.isEmpty, "\(fault) at \(moment): \(story(driver))")
            }
        }
    }

    @Test(arguments: faults) func oneFaultAfterAnother(first: Fault) throws {
        let length = min(attempt().inputs, 100)
        for second in Self.faults {
            for moment in stride(from: 1, through: length, by: sweepStep(61)) {
                let driver = attempt(faults: [(moment, first), (moment + 4, second)])
                try #require(driver.violations.isEmpty, "\(first), \(second) at \(moment): \(story(driver))")
            }
        }
    }

    /// Every event dropped, doubled or late: what is missed is found out by asking, and the guest arrives all the same.
    @Test(arguments: 1...16) func oneEventAmiss(number: Int) {
        let changes: [(inout Script) -> Void] = [
            { $0.droppedEvents = [number] }, { $0.doubledEvents = [number] }, { $0.delayedEvents = [number] },
        ]
        for change in changes {
            var script = Script()
            change(&script)
            let driver = attempt(script)
            #expect(driver.violations.isEmpty, story(driver))
            #expect(driver.result?.word == .completed, story(driver))
        }
    }

    /// No event at all: every turn of the migration is seen by the replies to queries.
    @Test func noEventAtAll() {
        var script = Script()
        script.droppedEvents = Set(1...100)
        let driver = attempt(script)
        #expect(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed, story(driver))
    }

    private static let commands: [Script.Target] = {
        let source = [
            "query-status", "query-migrate", "query-migrate-capabilities", "query-migrate-parameters", "query-yank",
            "migrate-set-capabilities", "migrate-set-parameters", "migrate", "migrate-continue", "migrate_cancel",
            "yank",
            "cont", "stop", "quit",
        ]
        let destination = [
            "query-status", "query-migrate", "query-migrate-capabilities", "query-migrate-parameters",
            "migrate-set-capabilities", "migrate-incoming", "cont", "stop", "quit",
        ]
        return source.map { Script.Target(side: .source, name: $0) }
            + destination.map { Script.Target(side: .destination, name: $0) }
    }()

    /// Every command refused once and for ever, and every reply missing, told or not, with and without a cancel.
    @Test(arguments: commands) func everyCommandRefusedAndEveryReplyMissing(target: Script.Target) {
        let options = ScriptedDriver.options { $0.parameters = [Setting("max-bandwidth", .integer(1 << 30))] }
        let changes: [(inout Script) -> Void] = [
            { $0.refusals[target] = 1 }, { $0.refusals[target] = .max }, { $0.mutes = [target] },
            {
                $0.mutes = [target]
                $0.tellsUnanswered = false
            },
        ]
        for change in changes {
            for fault in [Fault?.none, .request(.cancel), .request(.pauseGuest), .die(.destination)] {
                for moment in isThorough ? [38, 44, 52] : [44] {
                    var script = Script()
                    change(&script)
                    let driver = attempt(script, options: options, faults: fault.map { [(moment, $0)] } ?? [])
                    #expect(driver.violations.isEmpty, "\(target) \(String(describing: fault)) \(story(driver))")
                }
            }
        }
    }
}
