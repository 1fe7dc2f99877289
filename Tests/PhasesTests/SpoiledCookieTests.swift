import Migration
import Phases
import Testing

/// Cookies that a step cannot make use of: an answer with a named error, and never a guest that is lost or runs twice.
@Suite struct SpoiledCookieTests {
    struct Spoil: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var change: @Sendable (inout Cookie) -> Void
    }

    static let spoils: [Spoil] = [
        Spoil(testDescription: "a part of tomorrow") { $0.mandatory = ["of-tomorrow"] },
        Spoil(testDescription: "a part of another step") { $0.lease = LeaseState(driver: "memory", state: "1") },
        Spoil(testDescription: "too large") { $0.uri = String(repeating: "x", count: 5_000) },
        Spoil(testDescription: "of the same host") { $0.hostUUID = "00000000-0000-0000-0000-000000000001" },
        Spoil(testDescription: "of another attempt") { $0.attempt = "a0" },
        Spoil(testDescription: "negative numbers") {
            $0.statistics = CookieStatistics(totalMilliseconds: -1)
            $0.recovery = 0
        },
    ]

    private static func options(_ change: (inout MigrateOptions) -> Void = { _ in }) -> MigrateOptions {
        ScriptedDriver.options {
            $0.hostUUID = "00000000-0000-0000-0000-000000000001"
            change(&$0)
        }
    }

    @Test(arguments: [Step.perform, .finish, .confirm], spoils) func itIsAnAnswer(step: Step, spoil: Spoil) throws {
        for mode in [MigrationMode.managed, .peerToPeer] {
            var composition = Composition(options: Self.options { $0.mode = mode })
            // The host's UUID of an honest cookie is the coordinator's.
            for honest in [Step.begin, .prepare] { composition.spoiling[honest] = { $0.hostUUID = nil } }
            composition.spoiling[step] = spoil.change
            composition.run()
            try #require(composition.violations.isEmpty, story(composition))
            let result = try #require(composition.result, story(composition))
            let texts = ([result.error ?? ""] + result.problems).joined(separator: "\n")
            #expect(texts.contains(spoil.testDescription == "of another attempt" ? "a0" : "cookie."), "\(texts)")
            switch step {
            case .confirm:
                // The guest has arrived; what is left over is told.
                #expect(result.verdict == .arrivedWithLeftover, story(composition))
                #expect(composition.pair.destination.isRunning)
            default:
                #expect(result.word == .failed, story(composition))
                #expect(composition.pair.source.isRunning, story(composition))
                #expect(!composition.records.contains(.run(attempt: "a1")))
            }
        }
    }

    /// In post-copy there is no way back, so that nothing is ended for a cookie's sake.
    @Test(arguments: [Step.perform, .finish, .confirm], spoils) func inPostcopyNothingIsLost(
        step: Step, spoil: Spoil
    ) throws {
        for recovers in [false, true] {
            var script = Script()
            script.passes = 3
            script.postcopy.recoveries = recovers ? 1 : 0
            var composition = Composition(script, options: Self.options { $0.postcopy = PostcopyWish() })
            for honest in [Step.begin, .prepare] { composition.spoiling[honest] = { $0.hostUUID = nil } }
            // With a recovery the first round is honest.
            composition.spoiling[step] = { cookie in if !recovers || cookie.recovery != nil { spoil.change(&cookie) } }
            composition.befall(.request(.postcopy)) { $0.source?.evidence.stage == .copying }
            if recovers {
                composition.befallNext(.breakStream) { $0.destination?.evidence.events.has(.ran) ?? false }
            }
            composition.run()
            try #require(composition.violations.isEmpty, story(composition))
            #expect(composition.result?.word != .lost, story(composition))
            #expect(composition.pair.isWholeOnSource || !composition.pair.destination.isOver, story(composition))
        }
    }

    /// A Confirm that does not say what it confirms continues nothing and ends nothing.
    @Test func aConfirmOfNothing() throws {
        var composition = Composition(options: Self.options())
        for honest in [Step.begin, .prepare] { composition.spoiling[honest] = { $0.hostUUID = nil } }
        composition.spoiling[.confirm] = { $0.isSuccess = nil }
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.verdict == .arrivedWithLeftover, story(composition))
        #expect(!composition.pair.source.isOver && !composition.pair.source.isRunning)
        #expect(composition.result?.problems.joined().contains("cookie.success") ?? false)
    }

    /// What excludes itself ends at once, with the sentences, and nobody is asked anything.
    @Test func anExcludedAttemptEndsAtOnce() throws {
        let options = Self.options {
            $0.postcopy = PostcopyWish()
            $0.isPausedIntended = true
        }
        var driver = ScriptedDriver(Script(), options: options)
        driver.run()
        let rule = try #require(Exclusions.rules.first { $0.name == "postcopy-paused" })
        #expect(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.verdict == .excluded)
        #expect(driver.result?.error == rule.message)
        #expect(driver.sends.isEmpty && driver.records.isEmpty)
        var composition = Composition(options: options)
        composition.run()
        #expect(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.verdict == .excluded)
        #expect(composition.sends.isEmpty)
    }
}
