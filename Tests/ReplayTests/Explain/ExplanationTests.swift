import JSONC
import Migration
import Replay
import Testing
import Trace

/// How recordings of real QEMUs are explained. The answers were found by reading the recordings.
struct ExplanationTests {
    /// What a person who read the recording says.
    struct Judgement: Sendable, CustomTestStringConvertible {
        var trace: String
        var attempt = 1
        var word: PublishedWord
        var party: Party?
        var certainty: Certainty
        /// The records without which it would not be known.
        var records: [Int]

        init(
            _ trace: String, attempt: Int = 1, _ word: PublishedWord, _ party: Party?, _ certainty: Certainty,
            _ records: [Int]
        ) {
            self.trace = trace
            self.attempt = attempt
            self.word = word
            self.party = party
            self.certainty = certainty
            self.records = records
        }

        var testDescription: String { "\(trace), attempt \(attempt)" }
    }

    static let judgements: [Judgement] = [
        // Arrived.
        Judgement("7.2.22/precopy-unix", .completed, nil, .proven, [31]),
        Judgement("10.0.13/postcopy-recover-net", .completed, nil, .proven, [35]),
        // Cancelled by a script whose reasons are not recorded; by an operator; by a deadline.
        Judgement("7.2.22/cancel", .cancelled, .operator, .likely, [35]),
        Judgement("10.0.13/dst-hung-device-cancel", .cancelled, .operator, .likely, [35]),
        Judgement("driven/cancelled", .cancelled, .operator, .proven, [115, 116]),
        Judgement("driven/cancelled-timeout", .cancelled, .policy, .proven, [122, 123]),
        // The destination: killed, with another device (its word comes first, or the source is told), after
        // everything was sent.
        Judgement("10.0.13/dst-killed", .failed, .destination, .proven, [25, 27]),
        Judgement("7.2.22/load-failure-device", .failed, .destination, .likely, [28, 29]),
        Judgement("10.0.13/load-failure-device-rp", .failed, .destination, .proven, [29, 30]),
        Judgement("10.0.13/load-failure-late", .failed, .destination, .proven, [34, 36]),
        // Killed while it held a complete copy that had not run; continuing the source was the right thing then.
        Judgement("10.0.13/source-cont-after-completed", .failed, .destination, .proven, [39, 41]),
        Judgement("driven/failed-destination-killed", .failed, .destination, .proven, [117]),
        // What somebody asked for could not work.
        Judgement("10.0.13/multifd-mismatch", .failed, .operator, .likely, [11]),
        Judgement("10.0.13/tls-bad-hostname", .failed, .operator, .likely, [32, 38]),
        Judgement("10.0.13/connect-fail", attempt: 1, .failed, .destination, .likely, [11]),
        Judgement("10.0.13/connect-fail", attempt: 3, .failed, .operator, .likely, [23]),
        Judgement("10.0.13/connect-fail", attempt: 4, .failed, .operator, .proven, [26, 27]),
        Judgement("10.0.13/cancel-odd", attempt: 2, .failed, .operator, .likely, [58, 59]),
        Judgement("10.0.13/dst-hung-device-yank", .failed, .operator, .likely, [34, 36]),
        Judgement("driven/failed-other-device", .failed, .operator, .proven, [102]),
        // The guest is gone.
        Judgement("7.2.22/src-killed", .lost, .source, .proven, [25, 28]),
        Judgement("10.0.13/postcopy-dst-killed", .lost, .destination, .proven, [35, 37]),
        Judgement("7.2.22/postcopy-src-killed", .lost, .source, .proven, [34, 37]),
        Judgement("7.2.22/postcopy-cancel", .lost, .operator, .likely, [27, 34]),
        Judgement("driven/lost-source-killed", .lost, .source, .proven, [131]),
        Judgement("10.0.13/guest-poweroff", .ended, .guest, .proven, [25]),
        Judgement("driven/ended-guest-shutdown", .ended, .guest, .proven, [121]),
        // Nobody can tell.
        Judgement("10.0.13/postcopy-cancel", .postcopyPaused, .network, .likely, [45]),
        Judgement("driven/undecided-destination-silent", .undecided, .destination, .likely, []),
        Judgement("driven/undecided-source-gone", .undecided, .source, .likely, [134]),
        Judgement("10.0.13/incoming-rubbish", .failed, nil, .unknown, []),
        Judgement("10.0.13/incoming-fail", .starting, nil, .unknown, []),
    ]

    static func explain(_ name: String) throws -> Explanation {
        let path =
            name.hasPrefix("driven/") ? "\(Fixtures.root)/\(name).qmptrace" : Fixtures.trace(name)
        return try Explanation(path: path)
    }

    static func attempt(_ name: String, _ number: Int = 1) throws -> AttemptExplanation {
        let explanation = try explain(name)
        return try #require(explanation.attempts.first { $0.number == number })
    }

    @Test(arguments: judgements)
    func faultIsWhereAPersonSawIt(_ judgement: Judgement) throws {
        let attempt = try Self.attempt(judgement.trace, judgement.attempt)
        #expect(attempt.word == judgement.word)
        #expect(attempt.fault.party == judgement.party)
        #expect(attempt.fault.certainty == judgement.certainty)
        for record in judgement.records { #expect(attempt.fault.because.records.contains(record)) }
        // What is not proven names who else it could have been, or what would tell.
        if attempt.isOver, judgement.certainty != .proven { #expect(!attempt.gaps.isEmpty) }
    }

    @Test(arguments: Fixtures.names)
    func everyClaimNamesRecordsThatExist(_ name: String) throws {
        let explanation = try Self.explain(name)
        let names = Set(try Fixtures.records(name).map(\.seq))
        #expect(!explanation.attempts.isEmpty)
        for attempt in explanation.attempts {
            let claims =
                attempt.asked + attempt.happened + attempt.why + attempt.anomalies + attempt.advice
                + [attempt.verdict, attempt.fault.because]
            for claim in claims {
                #expect(names.isSuperset(of: claim.records), "\(claim.text)")
                #expect(!claim.text.isEmpty)
            }
            // A statement about what happened is proven by something.
            #expect(attempt.happened.allSatisfy { !$0.records.isEmpty || $0.text.hasPrefix("(") })
        }
    }

    @Test(arguments: Fixtures.names)
    func theReplayAgreesAboutTheEnd(_ name: String) throws {
        let report = try ReplayReport(path: Fixtures.trace(name))
        let explanation = try Self.explain(name)
        #expect(explanation.attempts.map(\.word) == report.attempts.map(\.status.word))
        #expect(explanation.attempts.map(\.isOver) == report.attempts.map { $0.outcome != nil })
    }

    @Test(arguments: Fixtures.names)
    func thePartsOfAPauseLeaveNothingOut(_ name: String) throws {
        for attempt in try Self.explain(name).attempts {
            for pause in attempt.pauses {
                guard let long = pause.microseconds, long > 0 else { continue }
                #expect(pause.parts.reduce(0) { $0 + $1.microseconds } == long)
                #expect(pause.parts.first?.from == pause.from)
                for (left, right) in zip(pause.parts, pause.parts.dropFirst()) { #expect(left.to == right.from) }
            }
        }
    }

    // MARK: Where the pause went

    @Test func thePauseOfAPlainMigration() throws {
        let attempt = try Self.attempt("7.2.22/precopy-unix")
        let pause = try #require(attempt.pauses.first)
        #expect(attempt.pauses.count == 1)
        // STOP is record 26, RESUME on the destination 31; the source completed at 28, the destination at 29, cont
        // left with 30.
        #expect((pause.from.record, pause.to?.record ?? 0) == (26, 31))
        #expect(pause.side == .destination)
        #expect(pause.parts.map(\.kind) == [.deviceState, .awaitingDestination, .awaitingRun, .resume])
        #expect(pause.parts.map(\.to.record) == [28, 29, 30, 31])
        #expect(attempt.downtimeMilliseconds == 92)
    }

    @Test func theControllersShareIsTold() throws {
        // The script waited 302 ms before migrate-continue (records 28 to 30), and after the failure 308 ms before
        // cont (36 to 43).
        let pause = try #require(try Self.attempt("10.0.13/load-failure-late").pauses.first)
        #expect(
            pause.parts.map(\.kind)
                == [.deviceState, .awaitingContinue, .deviceState, .awaitingDestination, .awaitingSourceRun, .resume])
        #expect(pause.parts[1].from.record == 28)
        #expect(pause.parts[1].to.record == 30)
        #expect(pause.microseconds(of: .awaitingContinue) == 302_256)
        #expect(pause.side == .source)
    }

    @Test func inPostcopyTheSourceSaysWhenTheGuestHasLeft() throws {
        // 11.1: the destination is in post-copy at record 38, the source 98 ms later (39), then cont (40) and RESUME
        // (41).
        let pause = try #require(try Self.attempt("11.1.3/postcopy-recover-pause").pauses.first)
        #expect(pause.parts.map(\.kind) == [.deviceState, .handshake, .awaitingRun, .resume])
        #expect((90_000...100_000).contains(pause.microseconds(of: .handshake)))
        #expect(pause.to?.record == 41)
        // 7.2: its word comes before STOP (28) and tells nothing; the destination's (30) is the only one.
        let old = try #require(try Self.attempt("7.2.22/postcopy").pauses.first)
        #expect(old.parts.map(\.kind) == [.deviceState, .awaitingRun, .resume])
    }

    @Test func aGuestThatStartsByItselfWaitsForNobody() throws {
        // Without -S and cont: RESUME comes before the destination's completed.
        let autostart = try #require(try Self.attempt("7.2.22/precopy-autostart").pauses.first)
        #expect(autostart.microseconds(of: .awaitingRun) == 0)
        #expect(autostart.side == .destination)
        // cont was sent long before: nobody is waited for either.
        let early = try #require(try Self.attempt("7.2.22/early-cont").pauses.first)
        #expect(early.microseconds(of: .awaitingRun) == 0)
    }

    @Test func anAttemptThatFailsGivesTheGuestBack() throws {
        let pause = try #require(try Self.attempt("7.2.22/pre-switchover-cancel").pauses.first)
        #expect(pause.side == .source)
        #expect(pause.parts.last?.kind == .rollback)
        #expect(pause.parts.map(\.kind).contains(.awaitingContinue))
    }

    @Test func godwitsOwnOptionsAreTold() throws {
        let attempt = try Self.attempt("driven/cancelled-timeout")
        #expect(attempt.asked.contains { $0.text.contains("at most 700 ms, then cancel") })
    }

    @Test func aHeldGuestIsTold() throws {
        let pause = try #require(
            try Explanation(path: "\(Fixtures.root)/driven/completed-paused-by-timeout.qmptrace").attempts.first?.pauses
                .first)
        #expect(pause.parts.first?.kind == .held)
        #expect((pause.parts.first?.from.record, pause.parts.first?.to.record) == (124, 134))
    }

    @Test func aPauseSeenByQueriesIsNotExact() throws {
        let attempt = try Self.attempt("7.2.22/ctl-disconnect")
        #expect(attempt.pauses.map(\.isExact) == [false])
        #expect(attempt.gaps.contains { $0.what.contains("stood still, exactly") })
    }

    @Test func eventsThatAreOffAreMissed() throws {
        let attempt = try Self.attempt("7.2.22/precopy-noevents")
        #expect(attempt.advice.contains { $0.text.contains("capability events") })
    }

    @Test func aGuestThatStoodStillHasNoPause() throws {
        #expect(try Self.attempt("7.2.22/precopy-paused-guest").pauses.isEmpty)
    }

    @Test func passesHaveTheirNumbers() throws {
        let attempt = try Self.attempt("10.0.13/precopy-slow-polled")
        #expect(attempt.iterations.map(\.number) == [1, 2, 3, 4, 5, 6, 7, 8])
        let first = try #require(attempt.iterations.first)
        #expect(first.isExact)
        // query-migrate in record 345 is the last one before pass 2.
        #expect((8_400_000...8_500_000).contains(first.microseconds))
        #expect((100...110).contains((first.transferredBytes ?? 0) >> 20))
        #expect(attempt.spans.map(\.word) == [.starting, .copying, .switchover])
    }

    // MARK: What is unusual, and what is not known

    @Test func slowAnswersAreTold() throws {
        let attempt = try Self.attempt("10.0.13/dst-hung-device-yank")
        let slow = try #require(attempt.anomalies.first { $0.text.contains("query-migrate") })
        #expect(slow.records == [32, 37])
        #expect(slow.text.contains("3.00 s"))
        #expect(attempt.why.contains { $0.text.contains("had not loaded") && $0.records.contains(31 - 1) })
    }

    @Test func eventsOfAGapAreMissed() throws {
        let attempt = try Self.attempt("7.2.22/ctl-disconnect")
        #expect(attempt.anomalies.contains { $0.text.contains("no event told the source's 'completed'") })
    }

    @Test func aDroppedPassIsMissed() throws {
        let trace = MiniTrace(
            "S- hello", #"S> migrate-set-capabilities {"capabilities":[{"capability":"events","state":true}]}"#,
            "S< ok",
            #"S> migrate {"uri":"unix:/m"}"#, "S! setup", "S< ok", "S! active",
            #"R"side":"source","recv":{"event":"MIGRATION_PASS","data":{"pass":1}}}"#,
            #"R"side":"source","recv":{"event":"MIGRATION_PASS","data":{"pass":4}}}"#)
        let attempt = try #require(try trace.explanation().attempts.first)
        #expect(attempt.anomalies.contains { $0.text == "no events told passes 2 to 3" })
        #expect(!attempt.isOver)
        #expect(attempt.gaps.contains { $0.what.contains("the recording stops before it") })
    }

    @Test func aTornTraceSaysSo() throws {
        // In the middle of the line after the destination's `active`.
        let lines = Fixtures.bytes(Fixtures.trace("7.2.22/dst-killed")).split(
            separator: 0x0A, omittingEmptySubsequences: false)
        let bytes = Array(lines.prefix(24).joined(separator: [0x0A])).dropLast(20)
        let explanation = try Explanation(reader: try TraceReader(bytes: Array(bytes), name: "torn"), name: "torn")
        let attempt = try #require(explanation.attempts.first)
        #expect(!explanation.warnings.isEmpty)
        #expect(attempt.gaps.contains { $0.what.contains("cut short") })
        #expect(explanation.text().contains("torn"))
    }

    @Test func oneSideIsNotInventedFromTheOther() throws {
        let attempt = try Self.attempt("7.2.22/connect-fail")
        #expect(attempt.basis == .source)
        #expect(attempt.gaps.contains { $0.what.contains("the destination's part") })
    }

    // MARK: The page

    @Test(arguments: Fixtures.names)
    func thePageFitsATerminal(_ name: String) throws {
        let text = try Self.explain(name).text()
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 120 })
        #expect(text.contains("Whose doing"))
    }

    @Test func nothingSteersTheTerminal() throws {
        let trace = MiniTrace(
            "S- hello", #"S> migrate {"uri":"unix:/m"}"#, #"S< no \u001b[2J\u202eevil"#)
        let text = try trace.explanation().text()
        #expect(text.contains("evil"))
        #expect(!text.unicodeScalars.contains { $0.value == 0x1B || $0.value == 0x202E })
    }

    @Test func oneAttemptAlone() throws {
        let explanation = try Self.explain("7.2.22/cancel")
        let text = explanation.text(attempt: 2)
        #expect(text.contains("Attempt 2 of 2"))
        #expect(!text.contains("Attempt 1 of 2"))
    }

    @Test func theObjectHasTheSameContent() throws {
        let explanation = try Self.explain("10.0.13/dst-killed")
        let json = try JSONValue(parsing: explanation.json.serialized())
        let attempt = try #require(json["attempts"]?.array?.first)
        #expect(attempt["outcome"]?.string == "failed")
        #expect(attempt["fault"]?["party"]?.string == "destination")
        #expect(attempt["happened"]?.array?.count == explanation.attempts.first?.happened.count)
        #expect(attempt["pauses"]?.array?.count == explanation.attempts.first?.pauses.count)
    }

    @Test func anEmptyTraceHasNoAttempt() throws {
        let explanation = try MiniTrace("S- hello").explanation()
        #expect(explanation.attempts.isEmpty)
        #expect(explanation.text().contains("No attempt"))
    }
}

extension MiniTrace {
    func explanation() throws -> Explanation {
        try Explanation(reader: try TraceReader(bytes: Array(text.utf8), name: "mini"), name: "mini")
    }
}
