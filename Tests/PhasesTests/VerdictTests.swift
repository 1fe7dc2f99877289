import Migration
import Phases
import Testing

/// The verdicts: each is reached, each rests on what it names, and none goes past the rules without a reason.
@Suite struct VerdictTests {
    /// An attempt, and the verdict that it has to end with.
    struct Scenario: CustomStringConvertible, Sendable {
        var verdict: Verdict
        var run: @Sendable () -> [VerdictCheck]

        var description: String { verdict.rawValue }
    }

    // MARK: Attempts in one process

    private typealias When = (ScriptedDriver) -> Bool

    private static func driven(
        _ script: Script = Script(), _ befalling: [(Fault, When)] = [],
        change: (inout MigrateOptions) -> Void = { _ in }, midway: (When, (inout ScriptedPair) -> Void)? = nil
    ) -> [VerdictCheck] {
        let options = ScriptedDriver.options(change)
        var driver = ScriptedDriver(script, options: options)
        if options.mode == .direct { driver.changePair { $0.startDirect() } }
        for (fault, condition) in befalling { driver.befall(fault, when: condition) }
        if let (condition, change) = midway {
            driver.run(until: condition)
            driver.changePair(change)
            driver.goOn()
        } else {
            driver.run()
        }
        #expect(driver.violations.isEmpty, story(driver))
        return driver.verdictCheck.map { [$0] } ?? []
    }

    private static func isCopying(_ driver: ScriptedDriver) -> Bool { driver.machine.source.evidence.stage == .copying }
    private static func hasCalled(_ step: Step) -> When {
        { $0.log.contains { if case .call(step, _) = $0 { true } else { false } } }
    }
    private static func has(_ record: JournalRecord) -> When { { $0.records.contains(record) } }

    private static func script(_ change: (inout Script) -> Void) -> Script {
        var script = Script()
        change(&script)
        return script
    }

    private static let deadDestination = script {
        $0.unkillable = [.destination]
        $0.ignoresQuit = [.destination]
    }
    private static let noCont = script { $0.refusals[.init(side: .destination, name: "cont")] = .max }
    private static let longPostcopy = script {
        $0.passes = 3
        $0.postcopy.turns = 2_000
    }

    /// A post-copy that broke, and that somebody else than the attempt has mended.
    private static func recoveredBySomebodyElse() -> [VerdictCheck] {
        var driver = ScriptedDriver(
            script { $0.passes = 3 }, options: ScriptedDriver.options { $0.postcopy = PostcopyWish() })
        driver.befall(.request(.postcopy), when: isCopying)
        driver.run { $0.machine.destination.evidence.events.has(.ran) }
        driver.breakNow()
        driver.goOn()
        driver.changePair { pair in
            _ = pair.listenAgain("unix:/run/other.sock")
            _ = pair.resumePostcopy("unix:/run/other.sock")
        }
        driver.goOn()
        #expect(driver.violations.isEmpty, story(driver))
        return driver.verdictCheck.map { [$0] } ?? []
    }

    private static let oneProcess: [Scenario] = [
        Scenario(verdict: .arrived) { driven() },
        Scenario(verdict: .arrivedWithoutSource) { driven { $0.protocolVersion = .v2 } },
        Scenario(verdict: .arrivedWithLeftover) {
            driven(
                script {
                    $0.unkillable = [.source]
                    $0.ignoresQuit = [.source]
                })
        },
        Scenario(verdict: .arrivedUnattended) { recoveredBySomebodyElse() },
        Scenario(verdict: .sentUnwatched) { driven { $0.mode = .direct } },
        Scenario(verdict: .definitionMoved) { driven(script { $0.isGuestPaused = true }) { $0.isOffline = true } },
        Scenario(verdict: .excluded) {
            driven {
                $0.postcopy = PostcopyWish()
                $0.isPausedIntended = true
            }
        },
        Scenario(verdict: .notBegun) { driven(script { $0.destinationMemoryBytes = 1 }) },
        Scenario(verdict: .notBegunByCancel) { driven(Script(), [(.request(.cancel), hasCalled(.begin))]) },
        Scenario(verdict: .stayed) { driven(script { $0.failsLoading = true }) },
        Scenario(verdict: .stayedByCancel) { driven(Script(), [(.request(.cancel), isCopying)]) },
        Scenario(verdict: .continued) { driven(noCont) },
        Scenario(verdict: .continuedByCancel) {
            driven(Script(), [(.request(.cancel), isCopying)]) { $0.mode = .peerToPeer }
        },
        Scenario(verdict: .runsUnconfirmed) {
            driven(
                noCont,
                midway: (
                    has(.refused(attempt: "a1")),
                    { pair in
                        pair.script.mutes.insert(.init(side: .source, name: "migrate-set-capabilities"))
                        pair.script.tellsUnanswered = false
                    }
                ))
        },
        Scenario(verdict: .runsUnconfirmedByCancel) {
            driven(
                Script(), [(.request(.cancel), isCopying)],
                change: {
                    $0.mode = .peerToPeer
                    $0.deadlines.milliseconds[.resume] = 30_000
                },
                midway: (
                    hasCalled(.confirm),
                    { pair in
                        // The answers that are under way are lost with the connection.
                        pair.pending = pair.pending.filter { $0.key.side != .source }
                        pair.loseMonitor(.source)
                    }
                ))
        },
        Scenario(verdict: .runsUnrefused) {
            driven(deadDestination, [(.silence(.destination), isCopying), (.breakStream, isCopying)])
        },
        Scenario(verdict: .runsUnrefusedByCancel) {
            driven(deadDestination, [(.silence(.destination), isCopying), (.request(.cancel), isCopying)])
        },
        Scenario(verdict: .neverLeft) { driven(Script(), [(.breakStream, isCopying)]) { $0.mode = .direct } },
        Scenario(verdict: .neverLeftByCancel) {
            driven(Script(), [(.request(.cancel), isCopying)]) { $0.mode = .direct }
        },
        Scenario(verdict: .sourceGone) { driven(Script(), [(.die(.source), isCopying)]) },
        Scenario(verdict: .guestShutDown) { driven(Script(), [(.shutDownGuest, isCopying)]) },
        Scenario(verdict: .endedThere) { driven(Script(), [(.die(.destination), hasCalled(.confirm))]) },
        Scenario(verdict: .lostInPostcopy) {
            driven(
                longPostcopy,
                [
                    (.request(.postcopy), isCopying),
                    (.die(.destination), { $0.machine.destination.evidence.events.has(.ran) }),
                ]
            ) { $0.postcopy = PostcopyWish() }
        },
        Scenario(verdict: .finishUnproven) { driven(script { $0.neverRuns = true }) },
        Scenario(verdict: .onlyCopyWaits) { driven(noCont) { $0.protocolVersion = .v2 } },
        Scenario(verdict: .endedUnseen) {
            driven(Script(), [(.die(.destination), hasCalled(.confirm))]) { $0.isPausedIntended = true }
        },
        Scenario(verdict: .abandonUnproven) {
            driven(script { $0.neverRuns = true }, [(.die(.destination), has(.run(attempt: "a1")))])
        },
        Scenario(verdict: .performUnproven) {
            driven(
                script { $0.isSourceFirst = true },
                [
                    (
                        .loseMonitor(.source, returns: false),
                        { driver in
                            driver.machine.source.evidence.events.has(.stopped)
                        }
                    )
                ])
        },
        Scenario(verdict: .confirmUnproven) {
            driven(
                script {
                    $0.refusals[.init(side: .destination, name: "cont")] = .max
                    $0.refusals[.init(side: .source, name: "cont")] = .max
                })
        },
        Scenario(verdict: .runsTwice) {
            driven(
                script { $0.neverRuns = true },
                [
                    (
                        .interfere(isRunning: true),
                        { $0.records.contains(.run(attempt: "a1")) && $0.pair.source.runState == .postMigrate }
                    )
                ])
        },
        Scenario(verdict: .wholeOnSource) {
            driven(
                longPostcopy,
                [(.request(.postcopy), isCopying), (.die(.destination), hasCalled(.finish))]
            ) { $0.postcopy = PostcopyWish() }
        },
        Scenario(verdict: .sourceUnreachable) {
            driven(
                longPostcopy,
                [
                    (.request(.postcopy), isCopying),
                    (.silence(.source), { $0.machine.destination.evidence.events.has(.ran) }),
                ]
            ) { $0.postcopy = PostcopyWish() }
        },
        Scenario(verdict: .leftUnwatched) { driven(script { $0.isDeviceStuck = true }) { $0.mode = .direct } },
    ]

    // MARK: Attempts of several processes

    private static let parties: [Scenario] = [
        Scenario(verdict: .stepRefused) {
            var composition = Composition(
                script { $0.passes = 3 }, options: ScriptedDriver.options { $0.postcopy = PostcopyWish() })
            composition.spoiling[.finish] = { $0.mandatory = ["of-tomorrow"] }
            composition.befall(.request(.postcopy)) { $0.source?.evidence.stage == .copying }
            composition.run()
            #expect(composition.violations.isEmpty, story(composition))
            return composition.verdictChecks
        },
        Scenario(verdict: .sideSilent) {
            var composition = Composition()
            composition.befall(.hostGone(.destination)) { $0.pair.source.status == .active }
            composition.befallNext(.crash(.coordinator, returns: true)) { $0.destination == nil }
            composition.run()
            #expect(composition.violations.isEmpty, story(composition))
            return composition.verdictChecks
        },
    ]

    static let scenarios = oneProcess + parties

    @Test(arguments: scenarios) func endsWith(_ scenario: Scenario) throws {
        let checks = scenario.run()
        let check = try #require(checks.first { $0.verdict == scenario.verdict }, "\(checks.map(\.verdict))")
        #expect(check.problems.isEmpty)
    }

    /// With the source dead, a destination that cannot be asked may have had all of the guest before. One that is seen
    /// dead had not.
    @Test(arguments: [true, false]) func aGuestIsNotLostUnseen(isDestinationSeenDead: Bool) throws {
        var composition = Composition()
        if isDestinationSeenDead {
            composition.befall(.die(.destination)) { $0.pair.source.status == .active }
        } else {
            composition.befall(.crash(.destination, returns: false)) { $0.pair.source.status == .active }
        }
        composition.befallNext(.die(.source)) { $0.pair.source.status == .active }
        composition.run()
        try #require(composition.violations.isEmpty, story(composition))
        #expect(composition.result?.verdict == (isDestinationSeenDead ? .sourceGone : .abandonUnproven))
        #expect(composition.verdictChecks.allSatisfy { $0.problems.isEmpty })
    }

    /// No verdict is dead.
    @Test func everyVerdictHasAScenario() {
        // Those of files are in FileModesTests.
        let ofFiles: Set<Verdict> = [.saved, .restored, .notRestored, .notRestoredByCancel]
        #expect(Set(Self.scenarios.map { $0.verdict }).union(ofFiles) == Set(Verdict.allCases))
    }

    // MARK: The table

    @Test(arguments: Verdict.allCases) func theRowSaysEnough(_ verdict: Verdict) {
        let row = verdict.row
        #expect(verdict.word.isEnd)
        #expect(!row.name.isEmpty)
        #expect(!row.overrules.contains(verdict.word))
        #expect(row.overrules.allSatisfy { $0.isEnd })
        #expect(row.overrules.isEmpty == row.reason.isEmpty)
        // Before any step is answered only a wish, or somebody who cannot be asked, can end it.
        #expect(row.answers.isEmpty == (verdict == .sideSilent || verdict == .excluded))
    }

    @Test func namesAreThere() {
        #expect(Set(Verdict.allCases.map { $0.row.name }).count == Verdict.allCases.count)
        for word in PublishedWord.allCases where word.isEnd {
            #expect(Verdict.allCases.contains { $0.word == word }, "\(word)")
        }
    }

    /// The names are carried in results, so they are a part of version 1 of the interface: whoever changes one, or its
    /// word, gives it another version.
    @Test func theNamesAreTheOnesOfTheVersion() {
        let frozen: [PublishedWord: [String]] = [
            .completed: [
                "arrived", "arrived-without-source", "arrived-with-leftover", "arrived-unattended", "sent-unwatched",
                "definition-moved", "saved", "restored",
            ],
            .failed: [
                "excluded", "not-begun", "stayed", "continued", "runs-unconfirmed", "runs-unrefused", "never-left",
                "not-restored",
            ],
            .cancelled: [
                "not-begun-by-cancel", "stayed-by-cancel", "continued-by-cancel", "runs-unconfirmed-by-cancel",
                "runs-unrefused-by-cancel", "never-left-by-cancel", "not-restored-by-cancel",
            ],
            .lost: [
                "source-gone", "ended-there", "lost-in-post-copy",
            ],
            .ended: [
                "guest-shut-down"
            ],
            .undecided: [
                "finish-unproven", "only-copy-waits", "ended-unseen", "abandon-unproven", "perform-unproven",
                "confirm-unproven", "step-refused", "side-silent", "runs-twice", "whole-on-source",
                "source-unreachable",
                "left-unwatched",
            ],
        ]
        #expect(PublishedRules.version == 1)
        for word in PublishedWord.allCases {
            let names = Verdict.allCases.filter { $0.word == word }.map(\.rawValue)
            #expect(names == frozen[word] ?? [], "\(word)")
        }
    }
}

extension Script {
    func with(_ change: (inout Script) -> Void) -> Script {
        var copy = self
        change(&copy)
        return copy
    }
}

extension ScriptedPair {
    /// The destination was started with an address to listen on and without `-S`, and nobody watches it.
    mutating func startDirect() {
        destination.isListening = true
        destination.hasResources = true
        destination.isConnected = false
        pending[.init(side: .destination, kind: 0)] = []
    }
}
