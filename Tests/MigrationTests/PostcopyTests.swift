import Migration
import Testing

/// One side's way through post-copy, as each generation of QEMU tells it.
@Suite struct PostcopyStateTests {
    struct Way: CustomTestStringConvertible {
        var name: String
        var side: Side
        var steps: [(Line, PostcopyState)]
        var testDescription: String { name }

        init(_ name: String, _ side: Side, _ steps: [(Line, PostcopyState)]) {
            self.name = name
            self.side = side
            self.steps = steps
        }
    }

    private static let resume = Command.migrate(uri: "tcp:h:1", resume: true)
    private static let recover = Command.migrateRecover(uri: "tcp:h:1")

    static let ways: [Way] = [
        Way(
            "source, up to 9.0", .source,
            [
                (.send(migrate), .off), (.word(.setup), .off), (.word(.active), .off),
                (.send(.startPostcopy), .requested),
                (.accept(.startPostcopy), .requested), (.word(.postcopyActive), .active), (.event(.stop), .active),
                (.word(.postcopyPaused), .paused), (.send(resume), .paused), (.accept(resume), .paused),
                (.word(.postcopyRecover), .recovering), (.word(.postcopyActive), .active), (.word(.completed), .off),
            ]),
        Way(
            "source, 10.0 and 10.1", .source,
            [
                (.send(migrate), .off), (.word(.active), .off), (.send(.startPostcopy), .requested),
                (.event(.stop), .requested), (.word(.device), .requested), (.word(.postcopyActive), .active),
                (.word(.postcopyPaused), .paused), (.send(resume), .paused),
                (.word(.postcopyRecoverSetup), .reconnecting), (.accept(resume), .reconnecting),
                (.word(.postcopyRecover), .recovering), (.word(.postcopyActive), .active), (.word(.completed), .off),
            ]),
        Way(
            "source, from 10.2", .source,
            [
                (.send(migrate), .off), (.word(.active), .off), (.send(.startPostcopy), .requested),
                (.word(.device), .requested), (.word(.postcopyDevice), .device), (.word(.postcopyActive), .active),
                (.word(.completed), .off),
            ]),
        Way(
            "source, pre-copy was quicker", .source,
            [
                (.send(migrate), .off), (.word(.active), .off), (.send(.startPostcopy), .requested),
                (.word(.device), .requested), (.word(.completed), .off),
            ]),
        Way(
            "source, refused", .source,
            [
                (.send(migrate), .off), (.word(.active), .off), (.send(.startPostcopy), .requested),
                (.refuse(.startPostcopy, "no"), .off),
            ]),
        Way(
            "source, asked before anything was started", .source,
            [(.send(.startPostcopy), .off), (.send(migrate), .off), (.word(.active), .off)]),
        Way(
            "source, entering fails", .source,
            [
                (.send(migrate), .off), (.send(.startPostcopy), .requested), (.word(.device), .requested),
                (.word(.postcopyDevice), .device), (.word(.failing), .device), (.event(.resume), .device),
                (.word(.failed), .off),
            ]),
        Way(
            "source, a recovery that does not connect, then one that does not shake hands", .source,
            [
                (.send(migrate), .off), (.word(.postcopyActive), .active), (.word(.postcopyPaused), .paused),
                (.send(resume), .paused), (.word(.postcopyRecoverSetup), .reconnecting),
                (.word(.postcopyPaused), .paused),
                (.send(resume), .paused), (.word(.postcopyRecoverSetup), .reconnecting),
                (.word(.postcopyRecover), .recovering), (.send(.migratePause), .recovering),
                (.word(.postcopyPaused), .paused), (.word(.postcopyRecover), .recovering),
                (.word(.postcopyActive), .active),
            ]),
        Way(
            "source, cancelled in post-copy, up to 9.2", .source,
            [
                (.send(migrate), .off), (.word(.postcopyActive), .active), (.send(.migrateCancel), .active),
                (.word(.cancelling), .active), (.word(.cancelled), .off),
            ]),
        Way(
            "destination, up to 8.1: a recovery listens with a stray setup", .destination,
            [
                (.send(listen), .off), (.word(.setup), .off), (.word(.active), .off), (.word(.postcopyActive), .active),
                (.word(.postcopyPaused), .paused), (.send(recover), .paused), (.word(.setup), .reconnecting),
                (.accept(recover), .reconnecting), (.send(.queryMigrate), .reconnecting),
                (.look(.postcopyPaused), .reconnecting), (.word(.postcopyRecover), .recovering),
                (.word(.postcopyActive), .active), (.word(.completed), .off),
            ]),
        Way(
            "destination, from 10.2", .destination,
            [
                (.send(listen), .off), (.word(.setup), .off), (.word(.active), .off), (.word(.postcopyDevice), .device),
                (.word(.postcopyActive), .active), (.word(.postcopyPaused), .paused), (.send(recover), .paused),
                (.accept(recover), .reconnecting), (.word(.postcopyRecover), .recovering),
                (.word(.postcopyPaused), .paused), (.send(recover), .paused),
                (.refuse(recover, "bad address"), .paused),
                (.accept(recover), .reconnecting), (.word(.postcopyRecover), .recovering),
                (.word(.postcopyActive), .active),
                (.word(.completed), .off),
            ]),
        Way(
            "words missing", .source,
            [
                (.send(migrate), .off), (.word(.postcopyPaused), .paused), (.send(.queryMigrate), .paused),
                (.look(.postcopyActive), .active), (.send(.queryMigrate), .active),
                (.look(.postcopyRecover), .recovering),
                (.word(StatusWord(rawValue: "never-heard-of")), .recovering), (.send(.queryMigrate), .recovering),
                (.look(nil), .recovering),
            ]),
        Way(
            "events after the query that told more", .source,
            [
                (.send(migrate), .off), (.send(.startPostcopy), .requested), (.send(.queryMigrate), .requested),
                (.look(.postcopyActive), .active), (.word(.active), .active), (.word(.device), .active),
                (.word(.postcopyDevice), .active), (.word(.postcopyActive), .active), (.send(.queryMigrate), .active),
                (.look(.postcopyPaused), .paused), (.word(.postcopyActive), .paused), (.send(resume), .paused),
                (.word(.postcopyRecoverSetup), .reconnecting), (.word(.postcopyPaused), .reconnecting),
                (.word(.postcopyRecover), .recovering), (.word(.postcopyRecoverSetup), .recovering),
                (.word(.postcopyActive), .active), (.word(.postcopyRecover), .active),
            ]),
        Way(
            "a query that left before", .source,
            [
                (.send(migrate), .off), (.word(.postcopyActive), .active), (.word(.postcopyPaused), .paused),
                (.send(.queryMigrate), .paused), (.send(resume), .paused),
                (.word(.postcopyRecoverSetup), .reconnecting),
                (.word(.postcopyRecover), .recovering), (.word(.postcopyActive), .active),
                (.look(.postcopyRecover), .active), (.send(.queryMigrate), .active),
                (.look(.postcopyPaused), .paused),
            ]),
        Way(
            "a whole circle while nobody listened", .source,
            [
                (.send(migrate), .off), (.word(.postcopyActive), .active), (.monitor(.lost), .active),
                (.monitor(.connected), .active), (.word(.postcopyRecover), .recovering),
                (.word(.postcopyActive), .active),
            ]),
    ]

    @Test(arguments: ways) func theWay(way: Way) {
        var evidence = Evidence(side: way.side)
        for (index, (line, state)) in way.steps.enumerated() {
            evidence.take(line, index + 1)
            #expect(evidence.postcopy == state, "\(index + 1): \(line)")
            switch evidence.stage {
            case .postcopy(let stage):
                let isListening = way.side == .destination && state == .reconnecting
                #expect((isListening ? .paused : Self.stages[state]) == stage, "\(line)")
            default: #expect(!state.isSplit || evidence.events.has(.cancelling), "\(line)")
            }
        }
    }

    private static let stages: [PostcopyState: PostcopyStage] = [
        .device: .device, .active: .active, .paused: .paused, .reconnecting: .recovering, .recovering: .recovering,
    ]

    /// One of them at any time, whatever comes; and the same word again moves nothing.
    @Test func everyInputInEveryState() {
        var words = knownWords
        words.append(StatusWord(rawValue: "never-heard-of"))
        for side in Side.allCases {
            for state in PostcopyState.allCases {
                for word in words {
                    for source in [ObservationSource.event, .query] {
                        for isSure in [false, true] {
                            let input = PostcopyInput.word(word, from: source, isSure: isSure)
                            guard let next = state.next(input, on: side) else {
                                #expect(
                                    !isSure || state.isSplit || state == .device,
                                    "only what is further can make a word old")
                                continue
                            }
                            let again = next.next(input, on: side)
                            #expect(again == next || again == nil, "\(side) \(state) \(word)")
                            if word.isTerminal { #expect(next == .off) }
                            if !isSure, state.isSplit, !word.isTerminal {
                                #expect(next.isSplit, "no way back but an end")
                            }
                        }
                    }
                }
                #expect(state.next(.started, on: side) == (state == .off && side == .source ? .requested : state))
                #expect(state.next(.startRefused, on: side) == (state == .requested ? .off : state))
                #expect(
                    state.next(.listening, on: side)
                        == (state == .paused && side == .destination ? .reconnecting : state))
            }
        }
    }

    @Test func theChannelsBreaksAreCountedOnceEach() {
        let broken: [Line] = [.send(migrate), .word(.postcopyActive), .word(.postcopyPaused)]
        let looked: [Line] = [
            .send(.queryMigrate), .look(.postcopyPaused), .send(.queryMigrate), .look(.postcopyPaused),
        ]
        #expect(Evidence(.source, broken + looked).channelBreaks == 1)
        #expect(
            Evidence(.source, broken + looked + [.word(.postcopyRecover), .word(.postcopyPaused)]).channelBreaks == 2)
        #expect(Evidence(.source, [.send(migrate), .word(.postcopyActive)]).channelBreaks == 0)
    }
}

/// Both sides together.
@Suite struct JointPostcopyTests {
    private static let out: [Line] = [.state(.running), .send(migrate), .word(.setup), .word(.active)]
    private static let into: [Line] = [.state(.inMigrate), .send(listen), .word(.setup), .word(.active)]
    private static let left = out + [.send(.startPostcopy), .event(.stop), .word(.device), .word(.postcopyActive)]
    private static let arrived = into + [.word(.postcopyActive)]
    private static let ran = arrived + [.send(.cont), .accept(.cont), .event(.resume)]

    struct Case: CustomTestStringConvertible {
        var name: String
        var source: [Line]
        var destination: [Line]
        var view: JointPostcopy
        var action: PostcopyAction
        var word: PublishedWord
        var testDescription: String { name }

        init(
            _ name: String, _ source: [Line], _ destination: [Line], _ view: JointPostcopy, _ action: PostcopyAction,
            _ word: PublishedWord
        ) {
            self.name = name
            self.source = source
            self.destination = destination
            self.view = view
            self.action = action
            self.word = word
        }
    }

    private static let paused = Line.word(.postcopyPaused)
    private static let listening: [Line] = [
        .send(.migrateRecover(uri: "x")), .accept(.migrateRecover(uri: "x")),
    ]

    static let cases: [Case] = [
        Case("pre-copy", out, into, .off, .none, .copying),
        Case("asked for", out + [.send(.startPostcopy)], into, .entering, .wait, .copying),
        Case(
            "device", out + [.send(.startPostcopy), .event(.stop), .word(.device)], into, .entering, .wait, .switchover),
        Case(
            "postcopy-device", out + [.send(.startPostcopy), .word(.device), .word(.postcopyDevice)],
            into + [.word(.postcopyDevice)], .entering, .wait, .switchover),
        Case(
            "the destination is quicker", out + [.send(.startPostcopy), .word(.device), .word(.postcopyDevice)],
            arrived, .entering, .wait, .switchover),
        Case(
            "entering fails: back at the source",
            out + [.word(.device), .word(.postcopyDevice), .word(.failed), .event(.resume)],
            into + [.word(.postcopyDevice), .word(.failed), .process(.exited(1))], .off, .none, .failed),
        Case(
            "entering fails, the source says so first", out + [.word(.postcopyDevice), .word(.failing)],
            into + [.word(.postcopyDevice)], .entering, .wait, .switchover),
        Case("the source is sure, the destination not", left, into, .entering, .wait, .postcopy),
        Case("both are, the guest waits for cont", left, arrived, .running, .runDestination, .postcopy),
        Case("it was told to run", left, arrived + [.send(.cont)], .running, .wait, .postcopy),
        Case("it runs", left, ran, .running, .wait, .postcopy),
        Case(
            "the source knows it broke", left + [paused], ran, .halfPaused(.source), .pause(.destination),
            .postcopyPaused),
        Case(
            "the destination knows it broke", left, ran + [paused], .halfPaused(.destination), .pause(.source),
            .postcopyPaused),
        Case("both know", left + [paused], ran + [paused], .paused, .recoverDestination, .postcopyPaused),
        Case(
            "the destination listens", left + [paused], ran + [paused] + listening, .paused, .resumeSource,
            .postcopyPaused),
        Case(
            "the source connects", left + [paused, .word(.postcopyRecoverSetup)], ran + [paused] + listening,
            .reconnecting,
            .wait, .recovering),
        Case(
            "they shake hands", left + [paused, .word(.postcopyRecover)], ran + [paused] + listening, .recovering,
            .waitOrPauseBoth, .recovering),
        Case(
            "both shake hands", left + [paused, .word(.postcopyRecover)], ran + [paused, .word(.postcopyRecover)],
            .recovering, .waitOrPauseBoth, .recovering),
        Case(
            "the source is through", left + [paused, .word(.postcopyRecover), .word(.postcopyActive)],
            ran + [paused, .word(.postcopyRecover)], .recovering, .waitOrPauseBoth, .recovering),
        Case(
            "both are", left + [paused, .word(.postcopyRecover), .word(.postcopyActive)],
            ran + [paused, .word(.postcopyRecover), .word(.postcopyActive)], .running, .wait, .postcopy),
        Case(
            "a second failure: the source fell back", left + [paused, .word(.postcopyRecover), paused],
            ran + [paused, .word(.postcopyRecover)], .halfPaused(.source), .pause(.destination), .postcopyPaused),
        Case(
            "both fell back", left + [paused, .word(.postcopyRecover), paused],
            ran + [paused] + listening + [.word(.postcopyRecover), paused], .paused, .recoverDestination,
            .postcopyPaused),
        Case("the source is done", left + [.word(.completed)], ran, .finishing, .wait, .postcopy),
        Case("the destination is done", left, ran + [.word(.completed)], .finishing, .wait, .postcopy),
        Case(
            "the destination is done and the source does not learn it", left + [paused], ran + [.word(.completed)],
            .finishing, .endSource, .postcopyPaused),
        Case(
            "then it is not needed any more", left + [paused, .process(.exited(0))], ran + [.word(.completed)], .off,
            .none,
            .completed),
        Case("both are done", left + [.word(.completed)], ran + [.word(.completed)], .off, .none, .completed),
        Case(
            "both are done, nobody said cont", left + [.word(.completed)], arrived + [.word(.completed)], .off, .none,
            .switchover),
        Case("the source died", left + [.process(.signalled(9))], ran, .lost, .report, .lost),
        Case(
            "the source died in the pause", left + [paused, .process(.signalled(9))], ran + [paused], .lost, .report,
            .lost),
        Case("the destination died", left, ran + [.process(.signalled(9))], .lost, .report, .lost),
        Case("the destination gave up", left + [paused], ran + [.word(.failed)], .lost, .report, .lost),
        Case(
            "the destination died when it was done and the source was not", left,
            ran + [.word(.completed), .process(.signalled(9))], .lost, .report, .lost),
        Case(
            "the destination died when the source was done and it was not", left + [.word(.completed)],
            ran + [.process(.signalled(9))], .lost, .report, .lost),
        Case(
            "the source died when the destination was done", left + [.process(.signalled(9))],
            ran + [.word(.completed)],
            .off, .none, .completed),
        Case(
            "the source died when it was done", left + [.word(.completed), .process(.exited(0))], ran, .finishing,
            .wait,
            .postcopy),
        Case(
            "cancelled in post-copy, up to 9.2", left + [.send(.migrateCancel), .word(.cancelling), .word(.cancelled)],
            ran + [paused], .lost, .report, .lost),
        Case(
            "the cancel hangs", left + [paused, .send(.migrateCancel), .word(.cancelling)], ran + [paused], .paused,
            .recoverDestination, .switchover),
        Case(
            "up to 9.2 the source says postcopy-active first and can still fail",
            out + [.send(.startPostcopy), .word(.postcopyActive), .event(.stop), .word(.failed), .event(.resume)],
            into + [.process(.exited(1))], .off, .none, .failed),
    ]

    @Test(arguments: cases) func theView(example: Case) {
        let source = Evidence(.source, example.source).report
        let destination = Evidence(.destination, example.destination).report
        #expect(JointPostcopy(source: source, destination: destination) == example.view)
        #expect(PostcopyAction(source: source, destination: destination) == example.action)
        #expect(PublishedStatus(source: source, destination: destination).word == example.word)
    }

    /// Whatever both are in, there is a view and an action; the source is never continued once the memory is in two
    /// places.
    @Test func everyPair() {
        let ends: [[Line]] = [
            [], [.word(.completed)], [.word(.failed)], [.word(.failed), .event(.resume)], [.word(.cancelled)],
            [.process(.gone)], [.word(.completed), .process(.gone)],
        ]
        let words: [[Line]] = [
            [], [.word(.postcopyDevice)], [.word(.postcopyActive)], [.word(.postcopyActive), Self.paused],
            [.word(.postcopyActive), Self.paused, .word(.postcopyRecover)],
        ]
        var views: Set<JointPostcopy> = []
        for (start, end) in words.flatMap({ word in ends.map { (word, $0) } }) {
            for ((other, otherEnd), told) in words.flatMap({ word in ends.map { (word, $0) } })
                .flatMap({ way in [[], [Line.send(.cont)]].map { (way, $0) } })
            {
                let source = Evidence(.source, Self.out + start + end).report
                let destination = Evidence(.destination, Self.into + other + told + otherEnd).report
                let view = JointPostcopy(source: source, destination: destination)
                views.insert(view)
                let action = PostcopyAction(source: source, destination: destination)
                #expect((view == .off) == (action == .none))
                #expect((view == .lost) == (action == .report))
                if view == .lost {
                    #expect(
                        !(destination.completed != nil && destination.gone == nil), "whole and alive on the destination"
                    )
                    #expect(!(source.ended != nil && source.isRunning == true), "whole and running on the source")
                    let word = PublishedStatus(source: source, destination: destination).word
                    // The source holds all of a guest that nobody let run elsewhere.
                    let isHeld = source.gone == nil && destination.ran == nil && told.isEmpty
                    #expect(word == (isHeld ? .undecided : .lost), "\(start) \(end) / \(other) \(otherEnd)")
                }
            }
        }
        #expect(views.isSuperset(of: [.off, .entering, .running, .paused, .recovering, .finishing, .lost]))
    }

    @Test func whoIsOnlyHalfPaused() {
        #expect(JointPostcopy.halfPaused(.source) != .halfPaused(.destination))
        let report = Evidence(.source, Self.left + [Self.paused]).report
        #expect(report.postcopy == .paused)
        #expect(report.hasLeftInPostcopy)
        #expect(!Evidence(.source, Self.out + [.word(.postcopyDevice)]).report.hasLeftInPostcopy)
    }
}
