import Migration
import Testing

/// Which attempt something belongs to.
@Suite struct EpochTests {
    private let resume = Command.migrate(uri: "x", resume: true)
    private func sample(_ word: StatusWord?, total: Int64? = nil) -> Reply {
        var sample = MigrationSample(status: word)
        sample.totalMilliseconds = total
        return .migration(sample)
    }

    /// A story whose queries are answered with numbers.
    private func evidence(
        _ lines: [Line], thenAsk answers: [(StatusWord?, Int64?)], side: Side = .source
    ) -> Evidence {
        var evidence = Evidence(side, lines)
        for (index, (word, total)) in answers.enumerated() {
            let sequence = 100 + 2 * index
            let time = Instant(microseconds: Int64(sequence))
            evidence.note(sent: .queryMigrate, origin: .controller, sequence: sequence, at: time)
            evidence.note(.reply(.queryMigrate, sample(word, total: total)), sequence: sequence + 1, at: time)
        }
        return evidence
    }

    @Test func theCommandThatOpensCountsTheAttempts() {
        #expect(Evidence(.source, [.state(.running)]).epoch == 0)
        #expect(Evidence(.source, [.send(migrate)]).epoch == 1)
        #expect(Evidence(.source, [.send(migrate), .word(.postcopyPaused), .send(resume)]).epoch == 1)
        let again: [Line] = [.send(migrate), .accept(migrate), .word(.setup), .word(.failed), .send(migrate)]
        let second = Evidence(.source, again)
        #expect(second.epoch == 2)
        #expect(second.stage == .starting)
        #expect(second.words.isEmpty)
        #expect(second.events.ordered.isEmpty)
        #expect(second.triggers.ordered.map(\.kind) == [.migrate])
        #expect(second.report.opened == 5)
        #expect(Evidence(.source, again + [.word(.setup), .word(.active)]).stage == .copying)
        // After a refusal too.
        let retried = Evidence(.source, [.send(migrate), .refuse(migrate, "no"), .send(migrate), .word(.active)])
        #expect(retried.epoch == 2)
        #expect(retried.stage == .copying)
        // One that comes while the first goes on is no new attempt: QEMU refuses it.
        let repeated = Evidence(
            .source, [.send(migrate), .accept(migrate), .word(.setup), .send(migrate), .refuse(migrate, "in progress")])
        #expect(repeated.epoch == 1)
        #expect(repeated.stage == .starting)
        #expect(Evidence(.destination, [.send(listen), .word(.setup), .word(.failed), .send(listen)]).epoch == 2)
    }

    /// What was asked for after the end is for the next attempt, all else was for the last.
    @Test func whatTheNextAttemptInherits() {
        let second = Evidence(
            .source,
            [
                .monitor(.connected), .state(.running), .request(.hold), .send(migrate), .word(.active),
                .send(.migrateCancel), .word(.cancelled), .send(.setCapabilities([])), .request(.startPostcopy),
                .send(migrate),
            ])
        #expect(second.triggers.ordered.map(\.kind) == [.configure, .startPostcopy, .migrate])
        #expect(second.isRunning == true)
        #expect(second.wasRunning == true)
        #expect(second.report.cancel == .none)
        #expect(second.monitor == .connected)
        let gone = Evidence(.source, [.send(migrate), .word(.failed), .process(.exited(1)), .send(migrate)])
        #expect(gone.stage == .gone)
    }

    @Test func aLateEventOfTheAttemptBefore() {
        // The query was quicker than the event, and the next attempt quicker than both.
        let lines: [Line] = [
            .send(migrate), .word(.active), .send(.queryMigrate), .look(.failed), .send(migrate), .word(.setup),
            .word(.failed), .word(.active),
        ]
        let evidence = Evidence(.source, lines)
        #expect(evidence.stage == .copying)
        #expect(evidence.stale.map(\.why) == [.lateEvent])
        #expect(evidence.stale.map(\.epoch) == [2])
        // Told by its event it is over; another `failed` is the new one's.
        #expect(
            Evidence(.source, [.send(migrate), .word(.failed), .send(migrate), .word(.setup), .word(.failed)]).stage
                == .ended(.failed))
        // A second failure after the late event is real.
        #expect(Evidence(.source, lines + [.word(.failed)]).stage == .ended(.failed))
    }

    // MARK: The overlay of incoming and outgoing

    /// A guest that arrived by migration answers `completed` until it is migrated away itself.
    @Test func theIncomingMigrationsCompletedIsNotTheOutgoingOnes() {
        let before: [Line] = [.send(.queryMigrate), .look(.completed), .state(.running)]
        #expect(Evidence(.source, before).stage == .idle)
        #expect(Evidence(.source, before + [.send(migrate)]).stage == .starting)
        // Refused: it still tells of the incoming one.
        let refused = Evidence(
            .source, before + [.send(migrate), .refuse(migrate, "blocked"), .send(.queryMigrate), .look(.completed)])
        #expect(refused.stage == .ended(.failed))
        #expect(refused.stale.map(\.why) == [.neverBegun])
        // The command was lost with the connection.
        let cut = before + [.send(migrate), .monitor(.lost), .monitor(.connected)]
        let lost = Evidence(.source, cut + [.send(.queryMigrate), .look(.completed)])
        #expect(lost.stage == .ended(.failed))
        #expect(lost.position.rule == "the command never reached QEMU")
        #expect(lost.stale.map(\.why) == [.wordOfBefore])
        #expect(Evidence(.source, cut + [.send(.queryMigrate), .look(nil)]).stage == .ended(.failed))
        // It was not: the outgoing one has numbers.
        #expect(evidence(cut, thenAsk: [(.completed, 1200)]).stage == .completed)
        #expect(evidence(cut, thenAsk: [(.active, 100)]).stage == .copying)
        // Without one of before it can only be this one's.
        let fresh: [Line] = [.send(.queryMigrate), .look(nil), .send(migrate), .monitor(.lost), .monitor(.connected)]
        #expect(Evidence(.source, fresh + [.send(.queryMigrate), .look(.completed)]).stage == .completed)
        // An accepted command arrived, whatever is lost afterwards.
        let accepted = before + [.send(migrate), .accept(migrate), .monitor(.lost), .monitor(.connected)]
        #expect(Evidence(.source, accepted + [.send(.queryMigrate), .look(.completed)]).stage == .completed)
    }

    @Test func anEarlierOutgoingMigrationsCompletedIsToldByItsTime() {
        let before = evidence([], thenAsk: [(.completed, 5000)])
        func after(_ total: Int64?) -> Stage {
            var evidence = before
            for (index, line) in [Line.send(migrate), .monitor(.lost), .monitor(.connected)].enumerated() {
                evidence.take(line, 200 + index)
            }
            let time = Instant(microseconds: 300)
            evidence.note(sent: .queryMigrate, origin: .controller, sequence: 300, at: time)
            evidence.note(.reply(.queryMigrate, sample(.completed, total: total)), sequence: 301, at: time)
            return evidence.stage
        }
        #expect(after(5000) == .ended(.failed))
        #expect(after(700) == .completed)
    }

    // MARK: Attempts that nobody here began

    @Test func anotherAttemptAfterTheEnd() {
        let ended: [Line] = [.send(migrate), .accept(migrate), .word(.setup), .word(.active), .word(.failed)]
        // Told by its events, or seen by a query in the middle, or missed as a whole but for its other last word.
        let others: [[Line]] = [
            [.word(.setup), .word(.active), .word(.completed)],
            [.send(.queryMigrate), .look(.active)],
            [.send(.queryMigrate), .look(.completed)],
            [.send(.queryMigrate), .look(.cancelled)],
        ]
        for other in others {
            let evidence = Evidence(.source, ended + other)
            #expect(evidence.stage == .ended(.failed), "\(other)")
            #expect(evidence.events.has(.anotherAttempt), "\(other)")
            #expect(evidence.staleCount > 0, "\(other)")
            #expect(evidence.stale.allSatisfy { $0.why == .anotherAttempt })
        }
        // The query was quicker than the events of the same attempt.
        let late: [Line] = [
            .send(migrate), .send(.queryMigrate), .look(.failed), .word(.setup), .word(.active), .word(.failed),
        ]
        #expect(!Evidence(.source, late).events.has(.anotherAttempt))
        // It left before the end was told.
        let older = ended.dropLast() + [Line.send(.queryMigrate), .word(.failed), .look(.active)]
        #expect(!Evidence(.source, Array(older)).events.has(.anotherAttempt))
    }

    @Test func aMissedAttemptIsToldByItsClock() {
        let done: [Line] = [.send(migrate), .accept(migrate), .word(.active), .word(.completed)]
        #expect(!evidence(done, thenAsk: [(.completed, 9000), (.completed, 9000)]).events.has(.anotherAttempt))
        let shorter = evidence(done, thenAsk: [(.completed, 9000), (.completed, 400)])
        #expect(shorter.events.has(.anotherAttempt))
        #expect(shorter.stage == .completed, "what this attempt was does not change")
        #expect(shorter.sample?.totalMilliseconds == 9000)
        // In the middle of one: then its own end was missed too, and it was none that took the guest away.
        let begun: [Line] = [.send(migrate), .accept(migrate), .word(.active)]
        let again = evidence(begun, thenAsk: [(.active, 3000), (.active, 20)])
        #expect(again.stage == .ended(.failed))
        #expect(again.position.rule.contains("another attempt"))
        #expect(evidence(begun, thenAsk: [(.active, 3000), (.active, 4000)]).stage == .copying)
        // Events tell the same after a lost connection.
        let lines = begun + [.monitor(.lost), .monitor(.connected), .word(.setup)]
        #expect(Evidence(.source, lines).stage == .ended(.failed))
    }

    @Test func ourOwnCommandAfterSomebodyElsesAttempt() {
        let theirs: [Line] = [.word(.setup), .word(.active), .word(.cancelling), .word(.cancelled)]
        let evidence = Evidence(.source, theirs + [.send(migrate), .word(.setup)])
        #expect(evidence.epoch == 2)
        #expect(evidence.stage == .starting)
        #expect(evidence.triggers[.cancel] == nil)
        // Theirs goes on and ours is refused: it is never taken for ours.
        let refused = Evidence(
            .source,
            [.word(.setup), .word(.active), .send(migrate), .refuse(migrate, "in progress"), .word(.completed)])
        #expect(refused.stage == .ended(.failed))
        #expect(refused.stale.map(\.why) == [.neverBegun])
    }

    @Test func whatIsSetAsideIsBounded() {
        var lines: [Line] = [.send(migrate), .refuse(migrate, "no")]
        for _ in 0..<1000 { lines += [.word(.active), .word(.device)] }
        let evidence = Evidence(.source, lines)
        #expect(evidence.staleCount == 2000)
        #expect(evidence.stale.count <= 64)
        #expect(evidence.stale.last?.sequence == 2002)
        var talk: [Line] = [.send(migrate)]
        for index in 0..<1000 { talk.append(.word(StatusWord(rawValue: "word-\(index)"))) }
        let talked = Evidence(.source, talk)
        #expect(talked.words.count <= 64)
        #expect(talked.words.first?.word.rawValue == "word-0")
        #expect(talked.words.last?.word.rawValue == "word-999")
    }
}

/// Commands that somebody else gave to the same QEMU.
@Suite struct ExternalTriggerTests {
    private static let copying: [Line] = [.state(.running), .send(migrate), .word(.setup), .word(.active)]
    private static let loading: [Line] = [.send(listen), .word(.setup), .word(.active)]

    static let cases: [(Side, [Line], TriggerKind)] = [
        (.source, [.word(.setup)], .migrate), (.destination, [.word(.setup)], .listen),
        (.destination, [.word(.active)], .listen), (.source, copying + [.word(.cancelling)], .cancel),
        (.source, copying + [.word(.cancelled)], .cancel), (.source, copying + [.state(.paused)], .hold),
        (.source, copying + [.event(.stop), .state(.paused)], .hold),
        (.source, copying + [.state(.paused), .event(.resume)], .run),
        (.source, copying + [.state(.paused), .state(.running)], .run),
        (.source, copying + [.word(.preSwitchover), .word(.device)], .continueSwitchover),
        (.source, copying + [.word(.postcopyActive)], .startPostcopy),
        (.source, copying + [.word(.postcopyDevice)], .startPostcopy),
        (.source, copying + [.word(.postcopyPaused), .word(.postcopyRecover)], .resume),
        (.source, copying + [.word(.postcopyPaused), .word(.postcopyRecoverSetup)], .resume),
        (.destination, loading + [.word(.postcopyPaused), .word(.postcopyRecover)], .recover),
        (.destination, loading + [.event(.resume)], .run), (.destination, loading + [.state(.running)], .run),
        (.source, copying + [.event(.shutdown(byGuest: false, reason: "host-qmp-quit"))], .kill),
    ]

    @Test(arguments: cases) func isInferred(side: Side, lines: [Line], kind: TriggerKind) throws {
        let row = try #require(Evidence(side, lines).triggers[kind])
        #expect(row.origin == .external)
        #expect(row.state == .accepted)
        #expect(row.firstSequence == lines.count)
        #expect(!row.wasSent, "nobody here sent it")
        #expect(Evidence(side, Array(lines.dropLast())).triggers[kind] == nil)
    }

    /// What was sent here is never taken for somebody else's.
    @Test func ownCommandsStayOwn() {
        let own: [(Side, [Line], TriggerKind)] = [
            (.source, Self.copying, .migrate), (.destination, Self.loading, .listen),
            (.source, Self.copying + [.send(.migrateCancel), .word(.cancelling)], .cancel),
            (.source, Self.copying + [.request(.cancel), .word(.cancelling)], .cancel),
            (.source, Self.copying + [.send(.stop), .state(.paused)], .hold),
            (.destination, Self.loading + [.send(.cont), .event(.resume)], .run),
            (.source, Self.copying + [.send(.startPostcopy), .word(.postcopyActive)], .startPostcopy),
        ]
        for (side, lines, kind) in own {
            #expect(Evidence(side, lines).triggers[kind]?.origin != .external, "\(kind)")
        }
    }

    @Test func whoseHoldItIs() {
        #expect(!Evidence(.source, Self.copying + [.event(.stop), .state(.paused)]).isHoldOurs)
        #expect(Evidence(.source, Self.copying + [.send(.stop), .event(.stop), .state(.paused)]).isHoldOurs)
        #expect(Evidence(.source, Self.copying + [.request(.hold)]).isHoldOurs)
        let ours = Evidence(.source, Self.copying + [.state(.paused), .send(.stop)])
        #expect(ours.isHoldOurs, "somebody's, then ours too")
    }

    /// QEMU's own stops and resumes are nobody's command.
    @Test func qemusOwnDoingIsNobodys() {
        let stories: [[Line]] = [
            [.state(.paused), .send(migrate), .word(.active), .state(.paused)],
            Self.copying + [.event(.stop), .state(.finishMigrate), .word(.preSwitchover)],
            Self.copying + [.event(.stop), .word(.failed), .event(.resume)],
            Self.copying + [.event(.stop), .word(.failing), .event(.resume), .word(.failed)],
            Self.copying + [.event(.stop), .event(.resume), .word(.failed)],
        ]
        for story in stories {
            #expect(Evidence(.source, story).triggers.ordered.map(\.kind) == [.migrate], "\(story)")
        }
    }

    @Test func theReasonSaysWhose() {
        let evidence = Evidence(.source, Self.copying + [.word(.cancelling), .word(.cancelled)])
        #expect(evidence.position.reasons.contains { $0.what == "cancel by somebody else" })
    }
}

/// What was asked for and is still to come, and what an attempt left behind.
@Suite struct PendingTests {
    private static let pre: [Line] = [.state(.running), .send(migrate)]
    private static let post: [Line] = [.send(migrate), .word(.postcopyActive)]
    private static let resume = Command.migrate(uri: "x", resume: true)
    private static let recover = Command.migrateRecover(uri: "x")

    struct Case: CustomTestStringConvertible {
        var kind: TriggerKind
        var side = Side.source
        var before: [Line]
        var command: Command
        var clearing: [Line]
        var testDescription: String { "\(kind.rawValue): \(clearing)" }

        init(
            _ kind: TriggerKind, _ before: [Line], _ command: Command, _ clearing: [Line], on side: Side = .source
        ) {
            self.kind = kind
            self.side = side
            self.before = before
            self.command = command
            self.clearing = clearing
        }
    }

    static let cases: [Case] = [
        Case(.configure, [], .setCapabilities([]), [.accept(.setCapabilities([]))]),
        Case(.listen, [], listen, [.accept(listen)], on: .destination),
        Case(.migrate, [], migrate, [.accept(migrate), .word(.active), .word(.completed)]),
        Case(.migrate, [], migrate, [.accept(migrate), .process(.gone)]),
        Case(.startPostcopy, pre, .startPostcopy, [.accept(.startPostcopy), .word(.device), .word(.postcopyActive)]),
        Case(.startPostcopy, pre, .startPostcopy, [.accept(.startPostcopy), .word(.device), .word(.completed)]),
        Case(
            .continueSwitchover, pre + [.word(.preSwitchover)], .migrateContinue(state: "x"),
            [.accept(.migrateContinue(state: "x")), .word(.device)]),
        Case(.cancel, pre, .migrateCancel, [.accept(.migrateCancel), .word(.cancelling), .word(.cancelled)]),
        Case(.cancel, pre, .migrateCancel, [.word(.completed)]),
        Case(.pausePostcopy, post, .migratePause, [.accept(.migratePause), .word(.postcopyPaused)]),
        Case(
            .recover, [.send(listen), .word(.postcopyActive), .word(.postcopyPaused)], recover,
            [.accept(recover), .word(.postcopyRecover)], on: .destination),
        Case(
            .resume, post + [.word(.postcopyPaused)], resume,
            [.accept(resume), .word(.postcopyRecoverSetup), .word(.postcopyRecover)]),
        Case(
            .resume, post + [.word(.postcopyPaused)], resume,
            [.accept(resume), .word(.postcopyRecoverSetup), .word(.postcopyPaused)]),
        Case(.yank, pre, .yank, [.accept(.yank), .word(.failed)]),
        Case(.run, [.send(listen), .state(.paused)], .cont, [.accept(.cont), .event(.resume)], on: .destination),
        Case(.run, [.send(listen), .state(.paused)], .cont, [.accept(.cont), .state(.running)], on: .destination),
        Case(.hold, [.state(.running)], .stop, [.accept(.stop), .event(.stop)]),
        Case(.kill, [], .quit, [.accept(.quit), .process(.exited(0))]),
    ]

    @Test(arguments: cases) func whenItClears(example: Case) {
        var evidence = Evidence(example.side, example.before)
        #expect(!evidence.isPending(example.kind))
        evidence.take(.send(example.command), 50)
        #expect(evidence.isPending(example.kind))
        for (index, line) in example.clearing.enumerated() {
            #expect(evidence.isPending(example.kind), "before \(line)")
            evidence.take(line, 51 + index)
        }
        #expect(!evidence.isPending(example.kind))
    }

    @Test(arguments: cases) func aRefusalClears(example: Case) {
        let lines = example.before + [.send(example.command), .refuse(example.command, "no")]
        let evidence = Evidence(example.side, lines)
        #expect(!evidence.isPending(example.kind))
        #expect(evidence.triggers[example.kind]?.refusal == "no")
    }

    /// Asked again it is to come again, whatever came of the first time.
    @Test func askedAgain() {
        let paused = Self.post + [.send(.migratePause), .word(.postcopyPaused), .word(.postcopyRecover)]
        #expect(!Evidence(.source, paused).isPending(.pausePostcopy))
        #expect(Evidence(.source, paused + [.send(.migratePause)]).isPending(.pausePostcopy))
        #expect(Evidence(.source, Self.pre + [.request(.cancel)]).isPending(.cancel), "asked for, not sent")
    }

    struct Clean: CustomTestStringConvertible {
        var name: String
        var lines: [Line]
        var isCleaned: Bool
        var testDescription: String { name }

        init(_ name: String, _ lines: [Line], _ isCleaned: Bool) {
            self.name = name
            self.lines = lines
            self.isCleaned = isCleaned
        }
    }

    private static let begun = pre + [.accept(migrate), .word(.active)]

    static let leftovers: [Clean] = [
        Clean("nothing was started", [.state(.running)], true),
        Clean("it goes on", begun, false),
        Clean("failed says nothing of tidying up", begun + [.word(.failed)], false),
        Clean("query-yank has it still", begun + [.word(.failed), .yankInstances(true)], false),
        Clean("query-yank has it no more", begun + [.word(.failed), .yankInstances(false)], true),
        Clean("asked before the end it tells nothing", begun + [.yankInstances(false), .word(.failed)], false),
        Clean("failing went before", begun + [.word(.failing), .word(.failed)], true),
        Clean("cancelled comes last", begun + [.send(.migrateCancel), .word(.cancelled)], true),
        Clean(
            "stopped, and nobody knows whether it goes on",
            begun + [.event(.stop), .word(.failing), .word(.failed)], false),
        Clean(
            "stopped and seen to go on", begun + [.event(.stop), .word(.failing), .event(.resume), .word(.failed)], true
        ),
        Clean(
            "stopped and seen so", begun + [.event(.stop), .word(.failing), .word(.failed), .state(.paused)], true),
        Clean(
            "not finalized yet", begun + [.event(.stop), .word(.failing), .word(.failed), .state(.finishMigrate)], false
        ),
        Clean("never begun", pre + [.refuse(migrate, "no")], true),
        Clean("completed, not finalized yet", begun + [.word(.completed), .state(.finishMigrate)], false),
        Clean("completed", begun + [.word(.completed), .state(.postMigrate)], true),
        Clean("gone", begun + [.process(.exited(0))], true),
    ]

    @Test(arguments: leftovers) func whatIsLeft(example: Clean) {
        let evidence = Evidence(.source, example.lines)
        #expect(evidence.isCleaned == example.isCleaned)
        #expect(evidence.report.isCleaned == example.isCleaned)
    }

    /// Where nothing can be seen a wait has to do; it counts only after the end.
    @Test func aWaitThatRanOut() {
        var evidence = Evidence(.source, Self.begun + [.word(.failed)])
        #expect(!evidence.isCleaned)
        evidence.note(timeout: "cleanup", sequence: 90, at: Instant(microseconds: 90))
        #expect(evidence.isCleaned)
        #expect(evidence.events[.timeout]?.payload == "cleanup")
        var early = Evidence(.source, Self.begun)
        early.note(timeout: "switchover", sequence: 80, at: Instant(microseconds: 80))
        early.take(.word(.failed), 81)
        #expect(!early.isCleaned)
    }
}

/// The rows that are no status words.
@Suite struct OtherEventTests {
    @Test func troubleInTheGuest() {
        let names: [(String, EventKind)] = [
            ("GUEST_PANICKED", .guestPanic), ("BLOCK_IO_ERROR", .diskError), ("WATCHDOG", .watchdog),
            ("MEMORY_FAILURE", .guestFault),
        ]
        for (name, kind) in names {
            let evidence = Evidence(.source, [.send(migrate), .word(.active), .event(.guestFault(name))])
            #expect(evidence.events[kind]?.payload == name)
            #expect(evidence.stage == .copying, "the migration goes on")
        }
        let states: [(String, EventKind)] = [
            ("guest-panicked", .guestPanic), ("io-error", .diskError), ("watchdog", .watchdog),
            ("internal-error", .guestFault),
        ]
        for (state, kind) in states {
            let asked = Evidence(.source, [.state(RunState(rawValue: state)), .state(RunState(rawValue: state))])
            #expect(asked.events[kind]?.count == 1, "told once, not each time it is asked")
        }
    }

    @Test func runStatesAndDevices() {
        let evidence = Evidence(
            .source,
            [.state(.running), .send(migrate), .event(.unplugPrimary("net0")), .word(.waitUnplug), .state(.paused)])
        #expect(evidence.events[.runState]?.count == 2)
        #expect(evidence.events[.runState]?.payload == "paused")
        #expect(evidence.events[.runState]?.source == .query)
        #expect(evidence.events[.unplugPrimary]?.payload == "net0")
        #expect(evidence.stage == .waiting)
    }

    /// An answer that cannot be read proves nothing: neither that the guest does not run nor that nothing was begun.
    @Test func anUnreadableAnswerIsNoRefusal() {
        var destination = Evidence(.destination, [.send(listen), .word(.completed), .send(.cont)])
        destination.note(.reply(.cont, .unreadable("[]")), sequence: 9, at: Instant(microseconds: 9))
        #expect(!destination.report.isRunRefused)
        var source = Evidence(.source, [.send(migrate)])
        source.note(.reply(migrate, .unreadable("[]")), sequence: 9, at: Instant(microseconds: 9))
        #expect(source.stage == .starting)
    }
}
