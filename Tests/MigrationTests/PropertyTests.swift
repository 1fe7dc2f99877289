import Migration
import Testing

/// Whatever order events come in and whichever are lost, as long as cause goes before effect: the outcome is the same
/// once the deciding facts or a query arrived.
@Suite struct OutcomeTests {
    /// What must not depend on the order and the loss of events.
    struct Outcome: Hashable {
        var stage: Stage
        var postcopy: PostcopyState
        var word: StatusWord?
        var cancel: CancelOutcome
        var published: PublishedStatus
        var isRunning: Bool?
        var isMixedUp: Bool

        init(_ evidence: Evidence) {
            let report = evidence.report
            stage = report.stage
            postcopy = report.postcopy
            word = report.word
            cancel = report.cancel
            isRunning = report.isRunning
            let isSource = evidence.side == .source
            published = PublishedStatus(source: isSource ? report : nil, destination: isSource ? nil : report)
            isMixedUp = evidence.events.has(.anotherAttempt) || evidence.staleCount > 0
        }
    }

    // MARK: Short stories, exhaustively

    struct Story: CustomTestStringConvertible {
        var testDescription: String
        var side: Side
        /// What comes between two commands of ours can come in any order; what is in different parts cannot.
        var parts: [[Line]]
        /// What a query tells at the end.
        var last: StatusWord
        var state: RunState

        init(
            _ name: String, on side: Side = .source, _ parts: [[Line]], _ last: StatusWord, _ state: RunState
        ) {
            testDescription = name
            self.side = side
            self.parts = parts
            self.last = last
            self.state = state
        }
    }

    private static let begin: [Line] = [.state(.running), .send(migrate), .word(.setup), .accept(migrate)]
    private static let listening: [Line] = [.state(.inMigrate), .send(listen), .word(.setup), .accept(listen)]
    private static let resume = Command.migrate(uri: "x", resume: true)
    private static let recover = Command.migrateRecover(uri: "x")
    private static let proceed = Line.send(.migrateContinue(state: "pre-switchover"))

    static let stories: [Story] = [
        Story("pre-copy, up to 9.2", [[.word(.active), .event(.stop), .word(.completed)]], .completed, .postMigrate),
        Story(
            "pre-copy, from 10.0",
            [[.word(.waitUnplug), .word(.active), .event(.stop), .word(.device), .word(.completed)]],
            .completed, .postMigrate),
        Story(
            "held",
            [[.word(.active), .event(.stop), .word(.preSwitchover)], [proceed, .word(.device), .word(.completed)]],
            .completed, .postMigrate),
        Story("held on", [[.word(.active), .event(.stop), .word(.preSwitchover)]], .preSwitchover, .finishMigrate),
        Story("connect error", [[.word(.failed)]], .failed, .running),
        Story("connect error, from 11.1", [[.word(.failing), .word(.failed)]], .failed, .running),
        Story(
            "error after the stop", [[.word(.active), .event(.stop), .word(.device), .word(.failed), .event(.resume)]],
            .failed, .running),
        Story(
            "error, from 11.1",
            [[.word(.active), .event(.stop), .word(.failing), .event(.resume), .word(.failed)]], .failed, .running),
        Story(
            "cancel",
            [[.word(.active)], [.send(.migrateCancel), .word(.cancelling), .event(.resume), .word(.cancelled)]],
            .cancelled, .running),
        Story(
            "cancel that finds it failing",
            [[.word(.active), .word(.failing)], [.send(.migrateCancel), .word(.cancelling), .word(.cancelled)]],
            .cancelled, .running),
        Story(
            "cancel, then an error",
            [[.word(.active)], [.send(.migrateCancel), .word(.failing), .word(.cancelling), .word(.cancelled)]],
            .cancelled, .running),
        Story(
            "cancel overwritten, up to 9.2",
            [[.word(.active)], [.send(.migrateCancel), .word(.cancelling), .word(.failed)]], .failed, .running),
        Story(
            "cancel, too late",
            [[.word(.active)], [.send(.migrateCancel), .event(.stop), .word(.device), .word(.completed)]],
            .completed, .postMigrate),
        Story(
            "post-copy, up to 9.2",
            [[.word(.active)], [.send(.startPostcopy), .word(.postcopyActive), .event(.stop), .word(.completed)]],
            .completed, .postMigrate),
        Story(
            "post-copy, from 10.2",
            [
                [.word(.active)],
                [.send(.startPostcopy), .event(.stop), .word(.device), .word(.postcopyDevice), .word(.postcopyActive)],
            ], .postcopyActive, .finishMigrate),
        Story(
            "post-copy breaks",
            [
                [.word(.active)],
                [
                    .send(.startPostcopy), .word(.device), .word(.postcopyDevice), .word(.postcopyActive),
                    .word(.postcopyPaused),
                ],
            ], .postcopyPaused, .finishMigrate),
        Story(
            "post-copy is mended",
            [
                [.send(.startPostcopy), .word(.postcopyActive), .word(.postcopyPaused)],
                [.send(resume), .word(.postcopyRecoverSetup), .word(.postcopyRecover), .word(.postcopyActive)],
            ], .postcopyActive, .finishMigrate),
        Story(
            "post-copy is not mended",
            [
                [.send(.startPostcopy), .word(.postcopyActive), .word(.postcopyPaused)],
                [.send(resume), .word(.postcopyRecoverSetup), .word(.postcopyRecover), .word(.postcopyPaused)],
            ], .postcopyPaused, .finishMigrate),
        Story(
            "post-copy fails to begin",
            [
                [.word(.active)],
                [.send(.startPostcopy), .word(.device), .word(.postcopyDevice), .word(.failing), .word(.failed)],
            ], .failed, .running),
        Story("arrival", on: .destination, [[.word(.active), .word(.completed)]], .completed, .paused),
        Story("no arrival", on: .destination, [[.word(.active), .word(.failed)]], .failed, .inMigrate),
        Story(
            "arrival in post-copy", on: .destination,
            [
                [.word(.active), .word(.postcopyDevice), .word(.postcopyActive)],
                [.send(.cont), .event(.resume), .word(.completed)],
            ], .completed, .running),
        Story(
            "arrival in post-copy, mended", on: .destination,
            [
                [.word(.active), .word(.postcopyActive), .word(.postcopyPaused)],
                [.send(recover), .accept(recover), .word(.postcopyRecover), .word(.postcopyActive)],
            ], .postcopyActive, .running),
    ]

    private func opening(_ story: Story) -> [Line] { story.side == .source ? Self.begin : Self.listening }

    private func finish(_ story: Story) -> [Line] {
        [.send(.queryMigrate), .look(story.last), .send(.queryStatus), .state(story.state)]
    }

    /// All orders of a part in which its commands and replies stay where they are.
    private func orders(of part: [Line]) -> [[Line]] {
        let places = part.indices.filter { isEvent(part[$0]) }
        return arrangements(of: places.map { part[$0] }, upTo: places.count).filter { $0.count == places.count }.map {
            order in
            var lines = part
            for (place, line) in zip(places, order) { lines[place] = line }
            return lines
        }
    }

    private func isEvent(_ line: Line) -> Bool {
        switch line {
        case .word, .event: true
        default: false
        }
    }

    @Test(arguments: stories) func everyOrder(of story: Story) {
        let expected = Outcome(Evidence(story.side, opening(story) + story.parts.flatMap(\.self) + finish(story)))
        #expect(!expected.isMixedUp)
        var orders: [[Line]] = [[]]
        for part in story.parts { orders = orders.flatMap { before in self.orders(of: part).map { before + $0 } } }
        for order in orders {
            let outcome = Outcome(Evidence(story.side, opening(story) + order + finish(story)))
            #expect(outcome == expected, "\(order)")
        }
    }

    /// Whatever is lost; only an error before a cancel must have been seen before it, since nothing else can tell.
    @Test(arguments: stories) func everyLoss(in story: Story) {
        let lines = story.parts.flatMap(\.self)
        let expected = Outcome(Evidence(story.side, opening(story) + lines + finish(story)))
        let isDeciding = lines.firstIndex(of: .word(.failing)).map { failing in
            (lines.firstIndex(of: .send(.migrateCancel)) ?? -1) > failing
        }
        let losable = lines.indices.filter { index in
            isEvent(lines[index]) && !(isDeciding == true && lines[index] == .word(.failing))
        }
        for lost in 0..<(1 << losable.count) {
            let gone = Set(losable.enumerated().filter { lost & (1 << $0.offset) != 0 }.map(\.element))
            let rest = lines.indices.filter { !gone.contains($0) }.map { lines[$0] }
            let outcome = Outcome(Evidence(story.side, opening(story) + rest + finish(story)))
            #expect(outcome == expected, "without \(gone.sorted().map { lines[$0] })")
        }
    }

    // MARK: Long stories, at random

    /// A walk through everything a release of QEMU may do, and how it is told.
    struct Tale {
        var lines: [Line] = []
        var faithful: [Line] = []
        var last = StatusWord.none

        private enum Item {
            case line(Line)
            case event(StatusWord)
        }

        init(_ side: Side, _ version: QEMUVersion, _ dice: inout Dice) {
            let opener = side == .source ? migrate : listen
            var items: [Item] = [.line(.send(opener))]
            for (word, command) in Self.walk(side, version, &dice) {
                if let command { items.append(.line(.send(command))) }
                items.append(.event(word))
            }
            faithful = items.map { item in
                switch item {
                case .line(let line): line
                case .event(let word): .word(word)
                }
            }
            tell(items, &dice)
        }

        /// Words, each with the command of ours that it needs.
        private static func walk(
            _ side: Side, _ version: QEMUVersion, _ dice: inout Dice
        ) -> [(StatusWord, Command?)] {
            var words: [(StatusWord, Command?)] = [(.setup, nil)]
            var word = StatusWord.setup
            let length = Int.random(in: 1...24, using: &dice)
            while words.count < length || word == .setup, !word.isTerminal {
                let next = TransitionTable.edges(from: word, on: side, version: version).map(\.to).filter { to in
                    // A destination that listens again says so by an event alone; the checks end with a query.
                    to != word && !(side == .destination && to == .setup)
                }
                guard let to = next.randomElement(using: &dice) else { break }
                words.append((to, Self.command(from: word, to: to, on: side)))
                word = to
            }
            return words
        }

        private static func command(from: StatusWord, to: StatusWord, on side: Side) -> Command? {
            switch (side, from, to) {
            case (.source, _, .cancelling): .migrateCancel
            case (.source, .preSwitchover, .device): .migrateContinue(state: "pre-switchover")
            case (.source, .postcopyPaused, .postcopyRecoverSetup), (.source, .postcopyPaused, .postcopyRecover):
                .migrate(uri: "x", resume: true)
            case (.destination, .postcopyPaused, .postcopyRecover): .migrateRecover(uri: "x")
            default: nil
            }
        }

        /// Events come late, overtake one another and get lost; queries are sent, answered and told at any time.
        private mutating func tell(_ items: [Item], _ dice: inout Dice) {
            // Nothing but their own events tells that an error came before the cancel, and that the guest had left in
            // post-copy before the end.
            let isFaithful: Set<StatusWord> = [.setup, .failing, .postcopyActive, .postcopyPaused]
            var status = StatusWord.none
            var late: [StatusWord] = []
            var asked = 0
            var answers: [StatusWord] = []
            for item in items {
                switch item {
                case .line(let line):
                    lines.append(line)
                case .event(let word):
                    status = word
                    last = word
                    if asked > answers.count, Bool.random(using: &dice) { answers.append(status) }
                    if isFaithful.contains(word) {
                        lines.append(.word(word))
                    } else {
                        switch Int.random(in: 0..<10, using: &dice) {
                        case 0...1: break
                        case 2...3: late.append(word)
                        default: lines.append(.word(word))
                        }
                    }
                    if !late.isEmpty, late.last != word || late.count > 1 { lines.append(.word(late.removeFirst())) }
                }
                if Int.random(in: 0..<4, using: &dice) == 0 {
                    lines.append(.send(.queryMigrate))
                    asked += 1
                }
                if !answers.isEmpty, Bool.random(using: &dice) {
                    lines.append(.look(answers.removeFirst()))
                    asked -= 1
                }
                if Int.random(in: 0..<12, using: &dice) == 0 {
                    lines.append(.word(StatusWord(rawValue: "never-heard-of")))
                }
            }
            lines += late.map { .word($0) }
            // Those still under way are answered in their order.
            while asked > 0 {
                lines.append(.look(answers.isEmpty ? status : answers.removeFirst()))
                asked -= 1
            }
        }
    }

    private static let versions = [
        QEMUVersion(5, 2), QEMUVersion(7, 2), QEMUVersion(8, 2), QEMUVersion(9, 0), QEMUVersion(9, 2),
        QEMUVersion(10, 0),
        QEMUVersion(10, 2), QEMUVersion(11, 1),
    ]

    @Test(arguments: versions) func everyTale(of version: QEMUVersion) {
        var ends: Set<Stage> = []
        for side in Side.allCases {
            for seed in 1...300 {
                var dice = Dice(seed: UInt64(seed) << 8 | UInt64(version.major))
                let tale = Tale(side, version, &dice)
                let end: [Line] = [.send(.queryMigrate), .look(tale.last), .send(.queryStatus), .state(.paused)]
                let expected = Outcome(Evidence(side, tale.faithful + end))
                let outcome = Outcome(Evidence(side, tale.lines + end))
                #expect(outcome == expected, "\(side) \(seed): \(tale.faithful) told as \(tale.lines)")
                ends.insert(outcome.stage)
            }
        }
        #expect(ends.count >= 8, "the walks reach nearly everything: \(ends)")
    }

    /// Looking is not doing, and being told twice is being told once.
    @Test(arguments: Side.allCases) func advanceIsIdempotent(side: Side) {
        for seed in 1...300 {
            var dice = Dice(seed: UInt64(seed))
            var evidence = Evidence(side: side)
            for (index, line) in randomStory(side, length: 20, &dice).enumerated() {
                evidence.take(line, 2 * index)
                let before = evidence
                let position = evidence.position
                #expect(evidence.stage == position.stage)
                let isUntouched = evidence == before && evidence.position == position
                #expect(isUntouched)
                // What was news once is none again.
                guard case .word(let word) = line, evidence.words.last?.word == word else { continue }
                evidence.take(line, 2 * index + 1)
                #expect(evidence.stage == position.stage, "\(line) twice")
            }
        }
    }
}
