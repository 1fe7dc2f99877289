import JSONC
import Migration
import Phases
import Replay
import Testing

/// What recordings mean that no real one has shown yet.
struct JudgementTests {
    private static let begun = [
        "D- hello", #"D> migrate-incoming {"uri":"unix:/m"}"#, "D! setup", "D< ok",
        "S- hello", #"S> migrate {"uri":"unix:/m"}"#, "S! setup", "S< ok", "D! active", "S! active",
    ]

    private func trace(recorder: String = "hand", _ lines: String...) -> MiniTrace {
        var trace = MiniTrace(recorder: recorder)
        for line in Self.begun + lines { trace.add(line) }
        return trace
    }

    // MARK: Cancel

    @Test func aCancelAfterTheSourcesErrorIsLate() throws {
        let report = try trace("S! failed", "S> migrate_cancel", "S< ok").report()
        #expect(report.outcomes == ["failed"])
        #expect(report.attempts.first?.cancel == .late)
    }

    @Test(arguments: ["D! failed", "D- gone", "D- lost"])
    func aCancelAfterTheDestinationsErrorIsLate(_ sign: String) throws {
        let report = try trace(sign, "S> migrate_cancel", "S< ok", "S! failed").report()
        #expect(report.outcomes == ["failed"])
        #expect(report.attempts.first?.cancel == .late)
    }

    @Test(arguments: ["D! failed", "D- gone", "D- lost"])
    func anErrorAfterACancelIsItsConsequence(_ sign: String) throws {
        let report = try trace("S> migrate_cancel", "S< ok", sign, "S! failed").report()
        #expect(report.outcomes == ["cancelled"])
        #expect(report.attempts.first?.cancel == .honoured)
    }

    @Test func aRefusedCancelIsNoReasonForAnError() throws {
        let report = try trace("S> migrate_cancel", "S< no not now", "S! failed").report()
        #expect(report.outcomes == ["failed"])
        #expect(report.attempts.first?.cancel == .refused)
    }

    @Test func aCancelCannotSaveALostGuest() throws {
        let report = try trace("S> migrate_cancel", "S< ok", "S- gone").report()
        #expect(report.outcomes == ["lost"])
        #expect(report.attempts.first?.cancel == .tooLate)
    }

    @Test func aCancelBeforeTheBeginningIsNone() throws {
        let trace = MiniTrace(
            "S- hello", "S> migrate_cancel", "S< ok", #"S> migrate {"uri":"unix:/m"}"#, "S< ok", "S! setup", "S! failed"
        )
        let report = try trace.report()
        #expect(report.outcomes == ["failed"])
        #expect(report.attempts.first?.cancel == CancelOutcome.none)
    }

    @Test func aYankCarriesARequestedCancel() throws {
        let report = try trace(
            recorder: "godwit 0.1.0", "S! device", #"R"request":{"do":"cancel","origin":"operator"}}"#,
            #"S> yank {"instances":[{"type":"migration"}]}"#, "S< ok", "S! failed"
        ).report()
        #expect(report.outcomes == ["cancelled"])
        #expect(report.attempts.first?.cancel == .honoured)
    }

    // MARK: Ends

    @Test func ourOwnUndecidedCounts() throws {
        let report = try trace(
            recorder: "godwit 0.1.0", "S! completed", "D- lost", #"R"status":{"status":"undecided","reason":[]}}"#
        ).report()
        #expect(report.outcomes == ["undecided"])
    }

    @Test func aPausedGuestHasArrivedOnceItWasSeen() throws {
        var trace = MiniTrace()
        trace.add("S- hello")
        trace.add("S* STOP")
        for line in Self.begun + ["S! completed", "D! completed"] { trace.add(line) }
        #expect(try trace.report().outcomes == ["unfinished"])
        trace.add("D> query-status")
        trace.add(#"D< {"status":"paused"}"#)
        #expect(try trace.report().outcomes == ["completed"])
    }

    @Test func pausedIntendedIsTakenFromTheRequest() throws {
        var trace = MiniTrace(
            recorder: "godwit 0.1.0", #"R"request":{"do":"migrate","origin":"operator","paused":true}}"#)
        for line in Self.begun + ["S* STOP", "S! completed", "D! completed", "D> query-status"] { trace.add(line) }
        trace.add(#"D< {"status":"paused"}"#)
        #expect(try trace.report().outcomes == ["completed"])
    }

    @Test func errorTextOfAnEarlierAttemptIsNotTaken() throws {
        let report = try MiniTrace(
            "S- hello", #"S> migrate {"uri":"unix:/m"}"#, "S< ok", "S! setup", "S! failed", "S> query-migrate",
            #"S< {"status":"failed","error-desc":"the first"}"#, #"S> migrate {"uri":"foo:"}"#, "S< no the second",
            "S> query-migrate", #"S< {"status":"failed","error-desc":"the first"}"#
        ).report()
        #expect(report.attempts.map(\.error) == ["the first", "the second"])
        #expect(report.attempts.last?.source.statuses == [])
    }

    // MARK: Where one attempt ends and another begins

    @Test func aSecondMigrateWithinTheFirstIsRefused() throws {
        let report = try trace(
            #"S> migrate {"uri":"unix:/n"}"#, "S< no There's a migration process in progress", "S! failed"
        ).report()
        #expect(report.outcomes == ["failed"])
        #expect(report.attempts.first?.error == nil)
    }

    @Test(arguments: [["S! setup", "S< ok"], ["S< ok", "S! setup"]])
    func aSecondMigrateThatIsAcceptedBeginsAnother(_ answer: [String]) throws {
        // The end of the first was not recorded.
        var trace = trace(#"S> migrate {"uri":"unix:/n"}"#)
        for line in answer + ["S! active", "S! failed"] { trace.add(line) }
        let report = try trace.report()
        #expect(report.outcomes == ["unfinished", "failed"])
        #expect(report.attempts.last?.source.statuses == [.setup, .active, .failed])
        #expect(report.attempts.last?.source.phases == [.begin3, .perform3])
        #expect(report.anomalies.isEmpty)
    }

    @Test func aListeningDestinationIsCarriedOver() throws {
        let report = try MiniTrace(
            "D- hello", #"D> migrate-incoming {"uri":"unix:/m"}"#, "D! setup", "D< ok", "S- hello",
            #"S> migrate {"uri":"foo:"}"#, "S< no what", #"S> migrate {"uri":"unix:/m"}"#, "S! setup", "S< ok",
            "D! active", "S! active", "S! completed", "D! completed", "D> cont", "D* RESUME", "D< ok"
        ).report()
        #expect(report.outcomes == ["failed", "completed"])
        #expect(report.attempts.last?.destination.statuses == [.setup, .active, .completed])
        #expect(report.attempts.last?.destination.phases == [.prepare, .finish3])
        #expect(report.anomalies.isEmpty)
    }

    @Test func theEndOfTheOldQEMUsIsNotThatOfTheNewOnes() throws {
        var trace = trace(
            "S! completed", "D! completed", "D> cont", "D* RESUME", "D< ok", "S> quit", "S< ok", "S- gone")
        // The next source greets before the last destination has gone.
        trace.add("S- hello")
        trace.add("D- gone")
        for line in Self.begun + ["S! failed"] { trace.add(line) }
        let report = try trace.report()
        #expect(report.outcomes == ["completed", "failed"])
        #expect(report.attempts.first?.source.phases.last == .confirm3)
        #expect(report.attempts.last?.destination.statuses == [.setup, .active])
    }

    @Test func nothingBegunIsNoAttempt() throws {
        #expect(try MiniTrace("S- connected", "S- hello", "D- hello").report().attempts.isEmpty)
        #expect(try MiniTrace().report().attempts.isEmpty)
    }

    // MARK: What deserves a look

    @Test func bothRunning() throws {
        let report = try trace(
            "S* STOP", "S! completed", "D! completed", "D> cont", "D* RESUME", "D< ok", "S> cont", "S* RESUME", "S< ok"
        ).report()
        #expect(report.hasAnomaly("both QEMUs run the guest"))
    }

    @Test func runningByItself() throws {
        let report = try trace("S! completed", "D! completed", "D* RESUME").report()
        #expect(report.outcomes == ["completed"])
        #expect(report.hasAnomaly("without a recorded cont"))
    }

    @Test func oddWordsAndMoves() throws {
        let report = try trace("S! brewing", "S! active", "S! completed", "S! device").report()
        #expect(report.hasAnomaly("unknown status word 'brewing'"))
        #expect(report.attempts.first?.source.statuses.contains(StatusWord(rawValue: "brewing")) ?? false)
        #expect(try trace("S! pre-switchover", "S! active").report().hasAnomaly("from pre-switchover to active"))
    }

    /// A move that another release makes is odd for this one, and the release is named; without a greeting nobody can tell.
    @Test func oddMovesForARelease() throws {
        let moves = ["S! setup", "S! active", "S! postcopy-active"]
        var greeted = MiniTrace("S- hello")
        var unknown = MiniTrace()
        for move in moves {
            greeted.add(move)
            unknown.add(move)
        }
        #expect(
            try greeted.report().anomalies.map(\.what) == [
                "the source's status went from active to postcopy-active, which QEMU 10.0 is not known to do "
                    + "(known: 2.5 to 9.2)"
            ])
        #expect(try unknown.report().anomalies.isEmpty)
    }

    @Test func oddMessages() throws {
        let report = try trace(
            #"R"side":"source","raw":"AAEC"}"#, #"R"side":"source","recv":{"return":{},"id":"nobody"}}"#,
            #"R"recv":{"event":"STOP"}}"#, #"R"side":"source","recv":[1]}"#, "S> query-status"
        ).report()
        for text in [
            "3 bytes from QEMU", "an answer to no command", "nobody knows the side", "none of QMP's", "never answered",
        ] {
            #expect(report.hasAnomaly(text), "\(text)")
        }
    }

    @Test func aGreetingStartsIdsAnew() throws {
        let report = try MiniTrace(
            "S- hello", #"R"side":"source","send":{"execute":"query-status","id":"a"}}"#, "S- hello",
            #"R"side":"source","send":{"execute":"migrate","arguments":{"uri":"x"},"id":"a"}}"#,
            #"R"side":"source","recv":{"return":{},"id":"a"}}"#
        ).report()
        #expect(report.outcomes == ["unfinished"])
        #expect(report.anomalies.count == 1)
        #expect(report.hasAnomaly("query-status (record 3) was never answered"))
    }

    @Test(arguments: ["7", "\"x\"", "null", "[1,{\"a\":2}]", "{\"b\":1.5}"])
    func idsAreOfAnyType(_ id: String) throws {
        let report = try MiniTrace(
            #"R"side":"source","send":{"execute":"migrate","arguments":{"uri":"x"},"id":\#(id)}}"#,
            #"R"side":"source","recv":{"error":{"class":"GenericError","desc":"no"},"id":\#(id)}}"#
        ).report()
        #expect(report.outcomes == ["failed"])
        #expect(report.anomalies.isEmpty)
    }

    // MARK: Phases and text

    @Test func recordedPhasesWin() throws {
        let report = try trace(
            recorder: "godwit 0.1.0", #"R"side":"source","phase":{"from":"none","to":"begin3","job":"out"}}"#,
            #"R"side":"source","phase":{"from":"begin3","to":"none","job":"out"}}"#
        ).report()
        #expect(report.attempts.first?.source.phases == [.begin3])
        #expect(report.attempts.first?.destination.phases == [])
        #expect(report.json["attempts"]?.array?.first?["source"]?["inferred"] == nil)
    }

    private static let inPostcopy = [
        "S> migrate-start-postcopy", "S< ok", "S* STOP", "S! postcopy-active", "D! postcopy-active", "D> cont",
        "D* RESUME", "D< ok",
    ]
    private static let paused = ["S! postcopy-paused", "D! postcopy-paused"]

    private func phases(after lines: [String]) throws -> [[Phase]] {
        var trace = trace()
        for line in lines { trace.add(line) }
        let attempt = try #require(try trace.report().attempts.first)
        return [attempt.source.phases, attempt.destination.phases]
    }

    @Test func aRecoveryIsAnotherRoundOfSteps() throws {
        let recovery = [
            #"D> migrate-recover {"uri":"unix:/r"}"#, "D< ok", #"S> migrate {"uri":"unix:/r","resume":true}"#, "S< ok",
            "S! postcopy-recover", "D! postcopy-recover", "D! postcopy-active", "S! postcopy-active",
        ]
        let end = ["D! completed", "S! completed", "S> quit", "S< ok", "S- gone"]
        #expect(
            try phases(after: Self.inPostcopy + Self.paused + recovery + end) == [
                [.begin3, .perform3, .perform3Done, .postcopyFailed, .beginResume, .performResume, .confirmResume],
                [.prepare, .finish3, .postcopyFailed, .prepareResume, .finishResume],
            ])
        // Nobody's commands were recorded: the words are enough.
        let seen = recovery.filter { $0.hasPrefix("S!") || $0.hasPrefix("D!") }
        #expect(
            try phases(after: Self.inPostcopy + Self.paused + seen + end) == [
                [.begin3, .perform3, .perform3Done, .postcopyFailed, .beginResume, .performResume, .confirmResume],
                [.prepare, .finish3, .postcopyFailed, .prepareResume, .finishResume],
            ])
    }

    @Test func aSecondBreakIsAnotherFailure() throws {
        let resume = [#"S> migrate {"uri":"unix:/r","resume":true}"#]
        let answers = [
            ["S< no what"], ["S< ok", "S! postcopy-paused"],
            ["S< ok", "S! postcopy-recover", "S! postcopy-paused"],
            ["S< ok", "S> query-migrate", #"S< {"status":"postcopy-paused"}"#],
        ]
        for answer in answers {
            #expect(
                try phases(after: Self.inPostcopy + Self.paused + resume + answer).first?.suffix(4) == [
                    .postcopyFailed, .beginResume, .performResume, .postcopyFailed,
                ], "\(answer)")
        }
        // Asked before the resume, and told of what was then.
        #expect(
            try phases(
                after: Self.inPostcopy + Self.paused + ["S> query-migrate"] + resume
                    + [#"S< {"status":"postcopy-paused"}"#, "S< ok"]
            ).first?.last == .performResume)
    }

    @Test func aSourceKilledInPostcopyWasNotConfirmed() throws {
        #expect(
            try phases(after: Self.inPostcopy + ["S- gone", "D! postcopy-paused"]) == [
                [.begin3, .perform3, .perform3Done], [.prepare, .finish3, .postcopyFailed],
            ])
    }

    @Test func aResumeOutsideOfPostcopyIsNoPhase() throws {
        let lines = [
            #"S> migrate {"uri":"unix:/r","resume":true}"#, "S< no x", #"D> migrate-recover {"uri":"unix:/r"}"#,
            "D< no x",
        ]
        #expect(try phases(after: lines) == [[.begin3, .perform3], [.prepare]])
    }

    @Test func aDestinationStartedWithItsAddressTakesPart() throws {
        let report = try MiniTrace(
            "S- hello", #"S> migrate {"uri":"unix:/m"}"#, "S! setup", "S< ok", "D- hello", "S! active", "S! completed",
            "D* RESUME", "D> query-migrate", #"D< {"status":"completed"}"#
        ).report()
        #expect(report.outcomes == ["completed"])
        #expect(report.attempts.first?.destination.phases == [.prepare])
        #expect(report.attempts.first?.destination.statuses == [.completed])
    }

    @Test func theStoryIsReadable() throws {
        var trace = trace("S> query-migrate", #"S< {"status":"active","ram":{"remaining":104857600,"total":1}}"#)
        for _ in 0..<5 {
            trace.add("S> query-migrate")
            trace.add(#"S< {"status":"active"}"#)
        }
        trace.add("S! failed")
        trace.add("S> query-migrate")
        trace.add(#"S< {"status":"failed","error-desc":"\#(String(repeating: "long ", count: 60))\u001b[31m"}"#)
        let story = try trace.story()
        let lines = story.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.allSatisfy { $0.count <= 100 })
        #expect(!story.contains("\u{1B}"))
        #expect(story.contains("6 x query-migrate, 100 MiB left"))
        #expect(story.contains("0.0000  source       command    migrate unix:/m"))
        #expect(story.contains("(inferred)"))
        #expect(story.contains("==> failed"))
        #expect(story.contains("outcome: failed"))
        #expect(story.contains("because: record 13, source: failed") || story.contains("source: failed"))
    }
}
