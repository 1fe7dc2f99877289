import Testing

@testable import Migration

/// From both reports to the one word.
@Suite struct PublicationTests {
    private static let stages: [Stage] = [
        .idle, .starting, .waiting, .copying, .held, .switchover, .postcopy(.device), .postcopy(.active),
        .postcopy(.paused), .postcopy(.recovering), .stopping(.cancelled), .stopping(.failed), .ended(.cancelled),
        .ended(.failed), .completed, .gone,
    ]

    private static func reports(_ side: Side) -> [SideReport] {
        stages.flatMap { stage in
            [false, true].flatMap { isOpen in
                [nil, true, false].map { isRunning in
                    var report = Evidence(side: side).report
                    report.stage = stage
                    report.isRunning = isRunning
                    report.opened = isOpen ? 1 : nil
                    report.completed = stage == .completed || (stage == .gone && isRunning == true) ? 5 : nil
                    report.gone = stage == .gone ? 7 : nil
                    report.ended = { if case .ended = stage { 6 } else { nil } }()
                    report.ran = side == .destination && isRunning == true ? 6 : nil
                    report.wasRunning = isRunning
                    return report
                }
            }
        }
    }

    /// Total: whatever both sides are in, there is a word, and the same one each time.
    @Test func everyPairHasAWord() {
        var words: Set<PublishedWord> = []
        for source in [nil] + Self.reports(.source).map(Optional.some) {
            for destination in [nil] + Self.reports(.destination).map(Optional.some) {
                let status = PublishedStatus(source: source, destination: destination)
                #expect(status == PublishedStatus(source: source, destination: destination))
                words.insert(status.word)
                switch (source, destination) {
                case (nil, nil): #expect(status == .idle)
                case (_, nil): #expect(status.basis == .source)
                case (nil, _): #expect(status.basis == .destination)
                default: #expect(status.basis == .both)
                }
                if source != nil, destination != nil, status.word.isEnd { #expect(status.stopping == .none) }
            }
        }
        #expect(words == Set(PublishedWord.allCases).subtracting([.ended, .undecided]))
    }

    private func word(
        _ source: [Line], _ destination: [Line], _ context: JointContext = JointContext()
    ) -> PublishedWord {
        PublishedStatus(
            source: Evidence(.source, source).report, destination: Evidence(.destination, destination).report,
            context: context
        ).word
    }

    private let running: [Line] = [.state(.running), .send(migrate), .word(.active)]
    private let listening: [Line] = [.state(.inMigrate), .send(listen), .word(.setup), .word(.active)]

    private var left: [Line] { running + [.event(.stop), .word(.preSwitchover), .word(.device), .word(.completed)] }
    private var arrived: [Line] { listening + [.word(.completed)] }

    // MARK: completed

    @Test func completedNeedsAllOfIt() {
        let run: [Line] = [.send(.cont), .event(.resume)]
        #expect(word(left, arrived + run) == .completed)
        // Each of them missing.
        #expect(word(running, arrived + run) != .completed)
        #expect(word(left, listening) == .switchover)
        #expect(word(left, arrived) == .switchover)
        #expect(word([], arrived + run) == .idle, "never triggered here")
        // By whomever: the trigger itself was not seen, its words were.
        let words: [Line] = [.state(.running), .word(.setup), .word(.active), .event(.stop), .word(.completed)]
        #expect(word(words, arrived + run) == .completed)
        // Seen by queries alone.
        #expect(
            word(left, listening + [.send(.queryMigrate), .look(.completed), .send(.cont), .state(.running)])
                == .completed)
    }

    @Test func theIntendedRunStateMayBePaused() {
        let source: [Line] = [.state(.paused), .send(migrate), .word(.active), .word(.completed)]
        let stopped = arrived + [.state(.paused)]
        #expect(word(source, stopped) == .completed)
        #expect(word(left, stopped, JointContext(isPausedIntended: true)) == .completed)
        #expect(word(left, stopped, JointContext(wasPausedOnTheWay: true)) == .completed)
        #expect(word(left, stopped) == .switchover, "it is meant to run")
        // It has to be seen.
        #expect(word(source, arrived) == .switchover)
        #expect(word(left, arrived + [.state(.shutdown)]) == .completed)
    }

    @Test func theSourcesCompletedAloneIsSwitchover() {
        #expect(word(left, listening) == .switchover)
        #expect(word(left, []) == .switchover)
    }

    @Test func theOrderOfTheTwoCompletedDoesNotMatter() {
        let source = Evidence(.source, left).report
        var destination = Evidence(.destination, arrived + [.event(.resume)]).report
        for completed in [1, 7, 100] {
            destination.completed = completed
            #expect(PublishedStatus(source: source, destination: destination).word == .completed)
        }
    }

    // MARK: failed

    @Test func completedSourceAndAFailedDestinationWithoutCommitIsFailed() {
        #expect(word(left, listening + [.word(.failed)]) == .failed)
        #expect(word(left, listening + [.process(.exited(1))]) == .failed)
        #expect(word(left, arrived + [.process(.signalled(9))]) == .failed)
    }

    @Test func withCommitNothingIsProven() {
        #expect(word(left, arrived + [.send(.cont), .process(.signalled(9))]) == .undecided)
        // Unless QEMU itself refused.
        #expect(word(left, arrived + [.send(.cont), .refuse(.cont, "no"), .process(.signalled(9))]) == .failed)
    }

    @Test func theSourceWentOnByItself() {
        #expect(word(left + [.event(.resume)], arrived) == .failed)
    }

    @Test(arguments: [StatusWord.failed, .cancelled]) func theSourcesEndIsTheEnd(end: StatusWord) {
        for destination in [listening, listening + [.word(.failed)], listening + [.process(.exited(1))], []] {
            #expect(word(running + [.word(end)], destination).rawValue == end.rawValue)
        }
    }

    // MARK: lost, ended

    @Test func theSourceGoneBeforeTheDestinationCompleted() {
        #expect(word(running + [.process(.signalled(9))], listening) == .lost)
        #expect(
            word(running + [.event(.shutdown(byGuest: true, reason: "")), .process(.exited(0))], listening) == .ended)
        // From outside is not by the guest.
        #expect(
            word(running + [.event(.shutdown(byGuest: false, reason: "")), .process(.exited(0))], listening) == .lost)
    }

    @Test func theSourceGoneAfterTheDestinationCompleted() {
        #expect(word(running + [.process(.signalled(9))], arrived) == .switchover)
        #expect(word(running + [.process(.signalled(9))], arrived + [.send(.cont), .event(.resume)]) == .completed)
        #expect(word(left + [.process(.exited(0))], arrived + [.event(.resume)]) == .completed)
        // Nobody has the guest any more.
        #expect(word(left + [.process(.exited(0))], listening + [.process(.exited(1))]) == .lost)
        #expect(word(left + [.process(.exited(0))], arrived + [.process(.exited(1))]) == .lost)
    }

    @Test(arguments: [StatusWord.postcopyActive, .postcopyPaused, .postcopyRecover]) func inPostcopyEitherOneGoneIsLost(
        word state: StatusWord
    ) {
        let out = running + [.event(.stop), .word(.device), .word(state)]
        let into = listening + [.word(state)]
        let told = into + [.send(.cont)]
        #expect(word(out + [.process(.gone)], into) == .lost)
        #expect(word(out + [.process(.gone)], told) == .lost)
        #expect(word(out, told + [.process(.gone)]) == .lost)
        // Before anybody let it run over there, all of it is on the source.
        #expect(word(out, into + [.process(.gone)]) == .undecided)
    }

    // MARK: on the way

    @Test func theWordsOfTheWay() {
        #expect(word([.state(.running), .send(migrate)], listening) == .starting)
        #expect(word(running, listening) == .copying)
        #expect(word(running + [.event(.stop)], listening) == .switchover)
        #expect(word(running + [.event(.stop), .word(.preSwitchover)], listening) == .switchover)
        #expect(word(running + [.word(.postcopyActive)], listening) == .postcopy)
        #expect(word(running + [.word(.postcopyPaused)], listening) == .postcopyPaused)
        #expect(word(running + [.word(.postcopyRecover)], listening) == .recovering)
    }

    @Test func stoppingIsToldBesideTheWord() {
        let source = Evidence(.source, running + [.send(.migrateCancel), .word(.cancelling)]).report
        let destination = Evidence(.destination, listening).report
        #expect(
            PublishedStatus(source: source, destination: destination)
                == PublishedStatus(word: .copying, stopping: .cancel, qemu: .cancelling, basis: .both))
        let failing = Evidence(.source, running + [.word(.failing)]).report
        #expect(PublishedStatus(source: failing, destination: destination).stopping == .failure)
    }

    @Test func newWordsOfQEMUChangeOnlyTheRawWord() {
        let odd = StatusWord(rawValue: "never-heard-of")
        let source = Evidence(.source, running + [.word(odd)]).report
        #expect(
            PublishedStatus(source: source, destination: nil)
                == PublishedStatus(word: .copying, qemu: odd, basis: .source))
    }

    // MARK: one side only

    @Test func oneSideCountsAlone() {
        func alone(_ side: Side, _ lines: [Line]) -> PublishedWord {
            let report = Evidence(side, lines).report
            return PublishedStatus(source: side == .source ? report : nil, destination: side == .source ? nil : report)
                .word
        }
        #expect(alone(.source, left) == .completed)
        #expect(alone(.source, left + [.process(.exited(0))]) == .completed)
        #expect(alone(.source, running + [.process(.gone)]) == .lost)
        #expect(alone(.source, running + [.event(.shutdown(byGuest: true, reason: "")), .process(.gone)]) == .ended)
        #expect(alone(.source, [.process(.gone)]) == .idle)
        #expect(alone(.destination, arrived) == .switchover)
        #expect(alone(.destination, arrived + [.event(.resume)]) == .completed)
        #expect(alone(.destination, listening + [.word(.failed), .process(.exited(1))]) == .failed)
    }
}
