import Migration
import Testing

private func time(_ sequence: Int) -> Instant { Instant(microseconds: Int64(sequence)) }

@Suite struct TriggerTableTests {
    @Test(arguments: TriggerKind.allCases) func everyStateOfEveryKind(kind: TriggerKind) throws {
        var table = TriggerTable()
        #expect(table[kind] == nil)
        // An answer to what nobody asked for is nothing.
        table.answer(kind, .accepted, sequence: 1, at: time(1))
        #expect(table[kind] == nil)

        table.request(kind, origin: .operator, sequence: 2, at: time(2))
        #expect(table[kind]?.state == .requested)
        #expect(!table.wasSent(kind))

        table.send(kind, argument: "a", origin: .controller, sequence: 3, at: time(3))
        var row = try #require(table[kind])
        #expect(row.state == .sent)
        #expect(row.origin == .operator, "who asked first is who asked")
        #expect((row.firstSequence, row.sentSequence, row.lastSequence, row.count) == (2, 3, 3, 1))
        #expect(table.wasSent(kind))

        for (sequence, state) in [TriggerRow.State.accepted, .refused("no"), .unanswered].enumerated() {
            table.answer(kind, state, sequence: 4 + sequence, at: time(4 + sequence))
            #expect(table[kind]?.state == state)
            #expect(table[kind]?.refusal == (state == .refused("no") ? "no" : nil))
        }
        table.send(kind, argument: nil, origin: .policy, sequence: 9, at: time(9))
        row = try #require(table[kind])
        #expect(row.state == .sent)
        #expect((row.firstSequence, row.sentSequence, row.lastSequence, row.count) == (2, 3, 9, 2))
        #expect(row.argument == "a")
        #expect(row.firstTime == time(2) && row.lastTime == time(9))
    }

    @Test func rowsAreToldOldestFirst() {
        var table = TriggerTable()
        for (index, kind) in TriggerKind.allCases.reversed().enumerated() {
            table.request(kind, origin: .controller, sequence: index, at: time(index))
        }
        #expect(table.ordered.map(\.kind) == TriggerKind.allCases.reversed())
    }

    private static let commands: [(Command, TriggerKind?)] = [
        (.queryStatus, nil), (.queryMigrate, nil), (.queryCapabilities, nil), (.queryParameters, nil),
        (.queryYank, nil),
        (.setCapabilities([]), .configure), (.setParameters([]), .configure), (listen, .listen), (migrate, .migrate),
        (.migrate(uri: "", resume: true), .resume), (.migrateContinue(state: ""), .continueSwitchover),
        (.migrateCancel, .cancel), (.startPostcopy, .startPostcopy), (.migratePause, .pausePostcopy),
        (.migrateRecover(uri: ""), .recover), (.yank, .yank), (.cont, .run), (.stop, .hold), (.quit, .kill),
        (.other("x"), nil),
    ]

    @Test(arguments: commands) func whichCommandIsWhichTrigger(command: Command, kind: TriggerKind?) {
        #expect(command.trigger == kind)
        var evidence = Evidence(side: .source)
        evidence.note(sent: command, origin: .controller, sequence: 1, at: time(1))
        #expect(evidence.triggers.ordered.map(\.kind) == [kind].compactMap(\.self))
        evidence.note(
            .reply(command, .refused(errorClass: "GenericError", description: "no")), sequence: 2, at: time(2))
        #expect(evidence.triggers.ordered.map(\.state) == (kind == nil ? [] : [.refused("no")]))
        evidence.note(.unanswered(command), sequence: 3, at: time(3))
        #expect(evidence.triggers.ordered.map(\.state) == (kind == nil ? [] : [.unanswered]))
        evidence.note(.reply(command, .unreadable("x")), sequence: 4, at: time(4))
        #expect(evidence.triggers.ordered.map(\.state) == (kind == nil ? [] : [.unanswered]))
        evidence.note(.reply(command, .done), sequence: 5, at: time(5))
        #expect(evidence.triggers.ordered.map(\.state) == (kind == nil ? [] : [.accepted]))
    }

    /// In `device` a cancel is carried by a yank, and only where one was asked for.
    @Test func aYankCarriesACancelThatWasAskedFor() {
        let asked = Evidence(.source, [.send(migrate), .request(.cancel), .send(.yank)])
        #expect(asked.triggers[.cancel]?.sentSequence == 3)
        #expect(asked.triggers[.cancel]?.origin == .operator)
        let unasked = Evidence(.source, [.send(migrate), .send(.yank)])
        #expect(unasked.triggers[.cancel] == nil)
    }
}

@Suite struct EventTableTests {
    @Test func firstAndLastAreKept() throws {
        var table = EventTable()
        table.note(.active, from: .event, payload: "a", sequence: 3, at: time(3))
        table.note(.active, from: .query, sequence: 7, at: time(7))
        let row = try #require(table[.active])
        #expect(row.source == .event)
        #expect((row.firstSequence, row.lastSequence, row.count) == (3, 7, 2))
        #expect(row.firstTime == time(3) && row.lastTime == time(7))
        #expect(row.payload == "a")
        table.note(.setup, from: .event, sequence: 1, at: time(1))
        #expect(table.ordered.map(\.kind) == [.setup, .active])
        #expect(table.earliest(.active, .setup, .failed)?.kind == .setup)
        #expect(table.earliest(.failed) == nil)
    }

    @Test func everyKnownWordIsAKindOfItsOwn() {
        let kinds = knownWords.map { EventKind(word: $0) }
        #expect(Set(kinds).count == knownWords.count)
        #expect(!kinds.contains(.unknownStatus))
        #expect(EventKind(word: StatusWord(rawValue: "x")) == .unknownStatus)
        for (word, kind) in zip(knownWords, kinds) { #expect(kind.rawValue == word.rawValue) }
    }
}

@Suite struct VocabularyTests {
    /// Frozen: whoever must change this test changes the interface.
    @Test func thePublishedWordsAreFrozen() {
        #expect(
            PublishedWord.allCases.map(\.rawValue) == [
                "idle", "starting", "copying", "switchover", "postcopy", "postcopy-paused", "recovering", "completed",
                "failed", "cancelled", "undecided", "lost", "ended",
            ])
        #expect(PublishedWord.allCases.filter(\.isEnd) == [.completed, .failed, .cancelled, .undecided, .lost, .ended])
        #expect([Stopping.none, .cancel, .failure].map(\.rawValue) == ["none", "cancel", "failure"])
        #expect([StatusBasis.both, .source, .destination].map(\.rawValue) == ["both", "source", "destination"])
        #expect(
            [CancelOutcome.none, .honoured, .late, .tooLate, .refused].map(\.rawValue)
                == ["none", "honoured", "late", "too-late", "refused"])
        #expect(Side.allCases.map(\.rawValue) == ["source", "destination"])
        #expect(
            [Origin.controller, .operator, .policy, .peer, .external].map(\.rawValue)
                == ["controller", "operator", "policy", "peer", "external"])
    }

    @Test func qemusWordsAreAsOnTheWire() {
        #expect(
            ([.none] + knownWords).map(\.rawValue) == [
                "none", "setup", "wait-unplug", "active", "pre-switchover", "device", "postcopy-device",
                "postcopy-active",
                "postcopy-paused", "postcopy-recover-setup", "postcopy-recover", "colo", "completed", "failing",
                "failed",
                "cancelling", "cancelled",
            ])
        #expect(knownWords.filter(\.isTerminal) == [.completed, .failed, .cancelled])
        #expect(
            [RunState.running, .paused, .prelaunch, .inMigrate, .finishMigrate, .postMigrate, .shutdown].map(\.rawValue)
                == ["running", "paused", "prelaunch", "inmigrate", "finish-migrate", "postmigrate", "shutdown"])
    }

    @Test func timesAreComparedAndSubtractedAndNeverTrap() {
        #expect(time(1) < time(2))
        #expect(time(5000).milliseconds(since: time(2001)) == 2)
        #expect(time(0).milliseconds(since: time(2000)) == -2)
        let first = Instant(microseconds: .min)
        let last = Instant(microseconds: .max)
        #expect(last.milliseconds(since: first) == 0)
        #expect(QEMUVersion(7, 2, 22) < QEMUVersion(10, 0))
        #expect(QEMUVersion(10, 0, 1).description == "10.0.1")
    }
}
