import Migration
import Testing

@Suite struct AdvanceTests {
    /// What can be seen and done in an attempt, one of each.
    private static let facts: [Line] =
        knownWords.map { .word($0) }
        + [
            .word(StatusWord(rawValue: "never-heard-of")), .event(.stop), .event(.resume), .event(.pass(3)),
            .event(.shutdown(byGuest: true, reason: "guest-shutdown")), .event(.reset), .event(.guestFault("WATCHDOG")),
            .event(.other("VNC_CONNECTED")), .process(.exited(1)), .monitor(.lost), .monitor(.busy),
            .monitor(.connected),
            .state(.running), .state(.finishMigrate), .look(.active), .look(nil), .look(StatusWord.none),
            .send(.migrateCancel), .accept(.migrateCancel), .refuse(.migrateCancel, "no"), .unanswered(.migrateCancel),
            .send(.queryMigrate), .send(.yank), .send(.cont), .refuse(.cont, "no"), .send(.stop), .send(.quit),
            .request(.cancel), .refuse(migrate, "no"), .unanswered(migrate), .yankInstances(false), .send(.other("x")),
            .send(.migrateContinue(state: "pre-switchover")), .send(.startPostcopy), .send(.migratePause),
            .send(.migrateRecover(uri: "x")), .send(.migrate(uri: "x", resume: true)), .accept(listen),
        ]

    /// Total and idempotent: every order of up to three facts has a stage, and looking again or being told again
    /// changes nothing.
    @Test(arguments: Side.allCases) func totalAndIdempotent(side: Side) {
        let opener = side == .source ? migrate : listen
        var stages: Set<Stage> = []
        for start in [[], [Line.send(opener), .accept(opener)]] {
            for arrangement in arrangements(of: Self.facts, upTo: 2) {
                var evidence = Evidence(side, start + arrangement)
                let stage = evidence.stage
                stages.insert(stage)
                #expect(evidence.stage == stage)
                #expect(evidence.position.stage == stage)
                #expect(evidence.report.stage == stage)
                guard let last = arrangement.last else { continue }
                // The same thing told twice at once is told once.
                evidence.take(last, 90)
                #expect(evidence.stage == stage, "\(start) \(arrangement)")
                #expect(evidence.position.reasons == evidence.position.reasons.sorted { $0.sequence < $1.sequence })
            }
        }
        #expect(stages.count >= 12)
    }

    /// In pre-copy the stage depends on what was seen and not on the order or the number of times it was.
    @Test(arguments: Side.allCases) func orderDoesNotMatterInPrecopy(side: Side) {
        let words: [StatusWord] = [
            .setup, .waitUnplug, .active, .preSwitchover, .device, .completed, .failed, .cancelled,
            StatusWord(rawValue: "never-heard-of"),
        ]
        let opener = side == .source ? migrate : listen
        var seen: [Set<StatusWord>: Stage] = [:]
        // An attempt has one last word; a second one is another attempt's.
        for arrangement in arrangements(of: words, upTo: 4) where arrangement.count(where: \.isTerminal) < 2 {
            let lines = [Line.send(opener)] + arrangement.map { .word($0) }
            let stage = Evidence(side, lines).stage
            let doubled = Evidence(side, lines + arrangement.reversed().map { .word($0) })
            #expect(doubled.stage == stage, "\(arrangement)")
            let key = Set(arrangement)
            if let before = seen[key] { #expect(before == stage, "\(arrangement)") }
            seen[key] = stage
        }
    }

    /// By event and by query is the same.
    @Test(arguments: knownWords) func whereAWordWasSeenDoesNotMatter(word: StatusWord) {
        let told = Evidence(.source, [.send(migrate), .word(word)])
        let asked = Evidence(.source, [.send(migrate), .send(.queryMigrate), .look(word)])
        #expect(told.stage == asked.stage)
        #expect(told.words.map(\.word) == asked.words.map(\.word))
    }

    @Test func theOrdinaryWay() {
        let way: [(Line, Stage)] = [
            (.monitor(.connected), .idle), (.state(.running), .idle), (.request(.migrate), .idle),
            (.send(migrate), .starting), (.word(.setup), .starting), (.accept(migrate), .starting),
            (.word(.waitUnplug), .waiting), (.word(.active), .copying), (.event(.pass(1)), .copying),
            (.event(.stop), .copying), (.word(.preSwitchover), .held), (.word(.device), .switchover),
            (.word(.completed), .completed), (.process(.exited(0)), .gone),
        ]
        var evidence = Evidence(side: .source)
        for (index, (line, stage)) in way.enumerated() {
            evidence.take(line, index + 1)
            #expect(evidence.stage == stage, "\(line)")
        }
        #expect(evidence.report.stopped == 10)
        #expect(evidence.report.completed == 13)
        #expect(evidence.report.gone == 14)
    }

    @Test(arguments: ["never-heard-of", "", "Active", "completed "]) func unknownWordsMeanInProgress(word: String) {
        let unknown = StatusWord(rawValue: word)
        #expect(!unknown.isTerminal)
        #expect(Evidence(.source, [.send(migrate), .word(unknown)]).stage == .copying)
        #expect(Evidence(.source, [.send(migrate), .word(.device), .word(unknown)]).stage == .switchover)
        #expect(Evidence(.source, [.send(migrate), .word(unknown), .word(.completed)]).stage == .completed)
        let known = Evidence(.source, [.send(migrate), .word(.active), .word(unknown)])
        #expect(known.words.last?.word == unknown)
        #expect(known.events[.unknownStatus]?.payload == word)
    }

    @Test func anAbsentStatusSaysNothing() {
        let evidence = Evidence(.source, [.send(migrate), .word(.active), .send(.queryMigrate), .look(nil)])
        #expect(evidence.stage == .copying)
        #expect(evidence.words.map(\.word) == [.active])
        #expect(Evidence(.source, [.send(migrate), .send(.queryMigrate), .look(nil)]).stage == .starting)
    }

    @Test func aRefusedMigrateHasFailedAndARefusedListenHasNot() {
        let refused = Evidence(.source, [.send(migrate), .refuse(migrate, "blocked")])
        #expect(refused.stage == .ended(.failed))
        #expect(refused.report.errorDescription == "blocked")
        #expect(Evidence(.destination, [.send(listen), .refuse(listen, "in use")]).stage == .starting)
    }

    @Test func reasonsPointAtTheRecords() throws {
        let evidence = Evidence(
            .source,
            [
                .send(migrate), .accept(migrate), .word(.active), .send(.migrateCancel), .word(.cancelling),
                .word(.failed),
            ])
        let position = evidence.position
        #expect(position.stage == .ended(.cancelled))
        #expect(position.reasons.map(\.sequence) == [4, 5, 6])
        #expect(position.reasons.allSatisfy { $0.side == .source })
        #expect(position.reasons.last?.what.contains("consequence of the cancel") == true)
        // The rules can be told apart by their names.
        #expect(Set(Evidence.advanceTable.map(\.name)).count == Evidence.advanceTable.count)
        #expect(Evidence.advanceTable.map(\.name).contains(position.rule))
    }
}

/// What is old is not taken for new.
@Suite struct StaleTests {
    @Test func aReplyToAQueryOfBeforeTellsOfBefore() {
        // The query left first, QEMU answered it before it heard `migrate`.
        let evidence = Evidence(.source, [.send(.queryMigrate), .send(migrate), .look(.completed), .accept(migrate)])
        #expect(evidence.stage == .starting)
        #expect(evidence.words.isEmpty)
        let next = Evidence(
            .source, [.send(.queryMigrate), .send(migrate), .send(.queryMigrate), .look(.failed), .look(.active)])
        #expect(next.stage == .copying)
    }

    @Test func aQueryWithoutAnAnswerIsTakenOffTheList() {
        let evidence = Evidence(
            .source,
            [.send(.queryMigrate), .send(migrate), .unanswered(.queryMigrate), .send(.queryMigrate), .look(.active)])
        #expect(evidence.stage == .copying)
    }

    @Test func aNewConnectionHasEmptyPipes() {
        let evidence = Evidence(
            .source,
            [
                .send(.queryMigrate), .send(migrate), .monitor(.lost), .monitor(.connected), .send(.queryMigrate),
                .look(.active),
            ])
        #expect(evidence.stage == .copying)
    }

    @Test func queryAheadOfEvent() {
        let evidence = Evidence(
            .source,
            [.send(migrate), .send(.queryMigrate), .look(.preSwitchover), .word(.active), .word(.preSwitchover)])
        #expect(evidence.stage == .held)
        #expect(evidence.words.map(\.word) == [.preSwitchover])
        #expect(evidence.events[.active]?.count == 1)
    }

    @Test func aWordAfterTheEndIsOld() {
        for end in [StatusWord.completed, .failed, .cancelled] {
            let evidence = Evidence(
                .source, [.send(migrate), .send(.queryMigrate), .look(end), .word(.active), .word(.device)])
            #expect(evidence.words.map(\.word) == [end])
        }
    }

    @Test func lateWordsAfterCancelling() {
        for late in [StatusWord.active, .preSwitchover, .device] {
            let evidence = Evidence(.source, [.send(migrate), .send(.migrateCancel), .word(.cancelling), .word(late)])
            #expect(evidence.stage == .stopping(.cancelled))
            #expect(evidence.words.map(\.word) == [.cancelling])
        }
    }

    @Test func aDestinationMayStartOver() {
        let evidence = Evidence(.destination, [.send(listen), .word(.setup), .word(.failed), .word(.setup)])
        #expect(evidence.words.map(\.word) == [.setup, .failed, .setup])
    }

    @Test func whoRuns() {
        #expect(Evidence(.source, [.state(.running), .send(migrate)]).wasRunning == true)
        #expect(Evidence(.source, [.state(.paused), .send(migrate)]).wasRunning == false)
        #expect(Evidence(.source, [.send(migrate)]).wasRunning == nil)
        let stopped = Evidence(.source, [.state(.running), .send(migrate), .event(.stop)])
        #expect(stopped.isRunning == false)
        #expect(stopped.events.has(.stopped))
        // A STOP that was missed is implied by the words that come after it.
        for word in [StatusWord.preSwitchover, .device, .completed] {
            let missed = Evidence(.source, [.state(.running), .send(migrate), .send(.queryMigrate), .look(word)])
            #expect(missed.isRunning == false)
            #expect(missed.events.has(.stopped))
        }
        let back = Evidence(
            .source, [.state(.running), .send(migrate), .state(.paused), .event(.resume), .event(.stop)])
        #expect(back.runState == .running)
        #expect(Evidence(.source, [.state(.running), .process(.gone)]).isRunning == false)
        let off = Evidence(.source, [.state(.running), .send(migrate), .event(.shutdown(byGuest: true, reason: ""))])
        #expect(off.isRunning == false)
        #expect(off.report.guestShutdown != nil)
    }

    @Test func theDestinationRan() {
        #expect(Evidence(.destination, [.send(listen), .event(.resume)]).events.has(.ran))
        #expect(Evidence(.destination, [.send(listen), .state(.running)]).events.has(.ran))
        #expect(!Evidence(.destination, [.send(listen), .state(.paused)]).events.has(.ran))
        #expect(!Evidence(.source, [.send(migrate), .event(.resume)]).events.has(.ran))
    }

    @Test func theFirstEndOfTheProcessCounts() {
        let evidence = Evidence(.source, [.process(.signalled(9)), .process(.gone)])
        #expect(evidence.processEnd == .signalled(9))
        #expect(evidence.events[.processEnded]?.count == 2)
    }
}
