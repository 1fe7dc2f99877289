import Migration
import Testing

/// A small generator with a seed, so that a failure can be repeated.
struct Dice: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state &<< 13
        state ^= state &>> 7
        state ^= state &<< 17
        return state &* 0x2545_F491_4F6C_DD1D
    }
}

/// What can be seen of and done to one QEMU, one of each.
let everyLine: [Line] =
    knownWords.map { .word($0) } + knownWords.map { .look($0) }
    + [
        .word(StatusWord(rawValue: "never-heard-of")), .event(.stop), .event(.resume), .event(.pass(3)),
        .event(.shutdown(byGuest: true, reason: "guest-shutdown")),
        .event(.shutdown(byGuest: false, reason: "host-qmp-quit")), .event(.reset), .event(.guestFault("WATCHDOG")),
        .process(.exited(1)), .monitor(.lost), .monitor(.busy), .monitor(.connected), .state(.running),
        .state(.finishMigrate), .state(.paused), .look(nil), .send(migrate), .accept(migrate), .refuse(migrate, "no"),
        .send(listen), .accept(listen), .refuse(listen, "in use"), .send(.migrateCancel), .accept(.migrateCancel),
        .refuse(.migrateCancel, "no"), .unanswered(.migrateCancel), .send(.queryMigrate), .unanswered(.queryMigrate),
        .send(.yank), .send(.cont), .accept(.cont), .refuse(.cont, "no"), .send(.stop), .send(.quit), .request(.cancel),
        .request(.hold), .yankInstances(false), .send(.migrateContinue(state: "pre-switchover")), .send(.startPostcopy),
        .send(.migratePause), .send(.migrateRecover(uri: "x")), .send(.migrate(uri: "x", resume: true)),
    ]

/// A random story of one QEMU, mostly after the attempt was opened.
func randomStory(_ side: Side, length: Int, _ dice: inout Dice) -> [Line] {
    var lines: [Line] = Bool.random(using: &dice) ? [.state(.running)] : []
    if Int.random(in: 0..<8, using: &dice) > 0 { lines.append(.send(side == .source ? migrate : listen)) }
    for _ in 0..<length { lines.append(everyLine[Int.random(in: 0..<everyLine.count, using: &dice)]) }
    return lines
}

/// The rules read nothing but what the canonical form keeps.
@Suite struct CanonicalFormTests {
    private func check(_ evidence: Evidence, _ story: @autoclosure () -> String) {
        var ranked: [Int] = []
        evidence.collectSequences(into: &ranked)
        let ranks = Ranks(ranked)
        var canonical = evidence
        canonical.canonicalise(ranks)
        #expect(canonical.stage == evidence.stage, "\(story())")
        #expect(canonical.position.rule == evidence.position.rule, "\(story())")
        var report = evidence.report
        report.canonicalise(ranks)
        var again = canonical.report
        if again.word?.isUnknown == true { again.word = report.word }
        if again.errorDescription != nil { again.errorDescription = "" }
        #expect(again == report, "\(story())")
        #expect(
            PublishedStatus(source: canonical.report, destination: nil).word
                == PublishedStatus(source: evidence.report, destination: nil).word, "\(story())")
        #expect(canonical.canonical == canonical, "the form of the form is the form: \(story())")
    }

    @Test(arguments: Side.allCases) func theFormTellsTheSame(side: Side) {
        for arrangement in arrangements(of: everyLine, upTo: 2) {
            for start in [[], [Line.send(side == .source ? migrate : listen)]] {
                check(Evidence(side, start + arrangement), "\(start + arrangement)")
            }
        }
        for seed in 1...1500 {
            var dice = Dice(seed: UInt64(seed))
            let story = randomStory(side, length: Int.random(in: 3...30, using: &dice), &dice)
            check(Evidence(side, story), "\(story)")
        }
    }

    /// And whatever follows finds the form in the same state as the original.
    @Test(arguments: Side.allCases) func theFormBehavesTheSame(side: Side) {
        for seed in 1...800 {
            var dice = Dice(seed: UInt64(seed))
            let story = randomStory(side, length: Int.random(in: 0...20, using: &dice), &dice)
            var original = Evidence(side, story)
            var form = original.canonical
            for step in 0..<10 {
                let line = everyLine[Int.random(in: 0..<everyLine.count, using: &dice)]
                original.take(line, 1000 + step)
                form.take(line, 1000 + step)
                let isSame = form.canonical == original.canonical
                #expect(isSame, "\(story) then \(line)")
            }
        }
    }

    /// Neither the numbers nor the times matter, and one more of what is many already is no news.
    @Test func whatIsForgotten() {
        let story: [Line] = [.send(migrate), .word(.active), .event(.pass(1)), .event(.pass(2)), .word(.completed)]
        var early = Evidence(side: .source)
        var late = Evidence(side: .source)
        for (index, line) in story.enumerated() {
            early.take(line, index)
            late.take(line, 1000 + 7 * index)
        }
        #expect(early != late)
        #expect(early.canonical == late.canonical)
        #expect(early.canonical.hashValue == late.canonical.hashValue)
        let passed = Evidence(.source, story + [.event(.pass(3))])
        #expect(passed.canonical == early.canonical)
        // What came first is not forgotten.
        let cancel = Evidence(.source, [.send(migrate), .send(.migrateCancel), .word(.failed)])
        let error = Evidence(.source, [.send(migrate), .word(.failed), .send(.migrateCancel)])
        #expect(cancel.canonical != error.canonical)
    }

    @Test func ranksAreDense() {
        let ranks = Ranks([70, -3, 70, 12])
        #expect([-3, 12, 70].map { ranks[$0] } == [1, 2, 3])
        #expect(ranks[11] == 0)
        #expect(ranks[nil as Int?] == nil)
        #expect([-1, 0, 1, 2, 3].map(\.canonicalCount) == [0, 0, 1, 2, 2])
    }

    @Test func everyKindHasItsPlace() {
        var triggers = TriggerTable()
        var events = EventTable()
        let time = Instant(microseconds: 0)
        for (number, kind) in TriggerKind.allCases.shuffled().enumerated() {
            triggers.request(kind, origin: .controller, sequence: number, at: time)
        }
        for (number, kind) in EventKind.allCases.shuffled().enumerated() {
            events.note(kind, from: .event, sequence: number, at: time)
        }
        for kind in TriggerKind.allCases { #expect(triggers[kind]?.kind == kind) }
        for kind in EventKind.allCases { #expect(events[kind]?.kind == kind) }
    }
}
