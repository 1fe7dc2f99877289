import Migration
import Testing

/// The list of what is published when, against evidence: a list that says something else than what is published is
/// worse than none.
@Suite struct PublishedRulesTests {
    /// What was seen on each side (`nil`: never seen), and the rule that has to decide.
    struct Case: CustomStringConvertible {
        var rule: String
        var source: [Line]?
        var destination: [Line]?
        var context = JointContext()

        var description: String { "\(rule): \(source.map { "\($0)" } ?? "-") / \(destination.map { "\($0)" } ?? "-")" }

        var reports: JointReport {
            JointReport(
                source: source.map { Evidence(.source, $0).report },
                destination: destination.map { Evidence(.destination, $0).report }, context: context)
        }
    }

    private static let running: [Line] = [.state(.running), .send(migrate), .word(.setup), .word(.active)]
    private static let listening: [Line] = [.state(.inMigrate), .send(listen), .word(.setup), .word(.active)]
    private static let left = running + [.event(.stop), .word(.device), .word(.completed)]
    private static let arrived = listening + [.word(.completed)]
    private static let inPostcopy = running + [.event(.stop), .word(.device), .word(.postcopyActive)]
    private static let powerOff = Line.event(.shutdown(byGuest: true, reason: "guest-shutdown"))

    private static let heldBySource =
        "in post-copy one of both ended before the destination was told to run the guest, all of which the source holds"

    static let cases: [Case] = [
        Case(rule: "the source was never told to migrate", source: [.state(.running)], destination: arrived),
        Case(
            rule: "in post-copy the source is gone before it was done", source: inPostcopy + [.process(.gone)],
            destination: listening + [.word(.postcopyActive)]),
        Case(
            rule: heldBySource, source: inPostcopy,
            destination: listening + [.word(.postcopyActive), .process(.gone)]),
        Case(
            rule: heldBySource, source: inPostcopy, destination: listening + [.word(.postcopyActive), .word(.failed)]),
        Case(
            rule: heldBySource, source: inPostcopy + [.send(.migrateCancel), .word(.cancelling), .word(.cancelled)],
            destination: listening + [.word(.postcopyActive), .word(.postcopyPaused)]),
        Case(
            rule: "in post-copy the destination is gone or gave up before both were done", source: inPostcopy,
            destination: listening + [.word(.postcopyActive), .send(.cont), .process(.gone)]),
        Case(
            rule: "in post-copy the destination is gone or gave up before both were done", source: inPostcopy,
            destination: listening + [.word(.postcopyActive), .event(.resume), .word(.failed)]),
        Case(
            rule: "in post-copy the guest shut itself down on the destination, which is gone", source: inPostcopy,
            destination: listening + [.word(.postcopyActive), .event(.resume), powerOff, .process(.exited(0))]),
        Case(
            rule: "in post-copy the source ended and did not continue the guest",
            source: inPostcopy + [.send(.migrateCancel), .word(.cancelling), .word(.cancelled)],
            destination: listening + [.word(.postcopyActive), .send(.cont), .event(.resume), .word(.postcopyPaused)]),
        Case(
            rule: "in post-copy the source continued the guest by itself, and it ran on the destination too",
            source: inPostcopy + [.word(.failed), .event(.resume)],
            destination: listening + [.word(.postcopyActive), .event(.resume)]),
        Case(
            rule: "in post-copy the source is done, the rest arrives at the destination",
            source: inPostcopy + [.word(.completed)], destination: listening + [.word(.postcopyActive)]),
        Case(
            rule: "in post-copy one side knows that the channel broke", source: inPostcopy + [.word(.postcopyPaused)],
            destination: listening + [.word(.postcopyActive)]),
        Case(
            rule: "in post-copy one side knows that the channel broke", source: inPostcopy,
            destination: listening + [.word(.postcopyActive), .word(.postcopyPaused)]),
        Case(
            rule: "in post-copy the destination shakes hands anew", source: inPostcopy,
            destination: listening + [.word(.postcopyActive), .word(.postcopyPaused), .word(.postcopyRecover)]),
        Case(
            rule: "both are done and the guest was seen running on the destination", source: left,
            destination: arrived + [.send(.cont), .event(.resume)]),
        Case(
            rule: "both are done and the guest was seen running on the destination",
            source: running + [.process(.gone)],
            destination: arrived + [.event(.resume)]),
        Case(
            rule: "both are done and both are gone", source: left + [.process(.exited(0))],
            destination: arrived + [.process(.exited(1))]),
        Case(
            rule: "the destination was told to run the guest and is gone, and nobody saw whether it ran", source: left,
            destination: arrived + [.send(.cont), .process(.signalled(9))]),
        Case(
            rule: "the destination is gone before it was told to run the guest", source: left,
            destination: arrived + [.process(.signalled(9))]),
        Case(
            rule: "the destination is gone before it was told to run the guest", source: left,
            destination: arrived + [.send(.cont), .refuse(.cont, "no"), .process(.signalled(9))]),
        Case(
            rule: "the source runs the guest again after it had left", source: left + [.event(.resume)],
            destination: arrived),
        Case(
            rule: "both are done and the guest arrived shut down", source: left,
            destination: arrived + [.state(.shutdown)]),
        Case(
            rule: "both are done and the guest was seen at rest on the destination, as intended", source: left,
            destination: arrived + [.state(.paused)], context: JointContext(isPausedIntended: true)),
        Case(
            rule: "both are done, the guest was not seen in the intended run state yet", source: left,
            destination: arrived + [.send(.cont)]),
        Case(
            rule: "the guest shut itself down and its QEMU is gone",
            source: running + [powerOff, .process(.exited(0))],
            destination: listening),
        Case(
            rule: "the attempt was cancelled, then the source went",
            source: running + [.send(.migrateCancel), .word(.cancelled), .process(.gone)], destination: listening),
        Case(
            rule: "the attempt failed, then the source went", source: running + [.word(.failed), .process(.gone)],
            destination: listening),
        Case(
            rule: "the source is gone before the guest had left it", source: running + [.process(.signalled(9))],
            destination: listening),
        Case(
            rule: "the source is done, the destination failed and was never told to run the guest", source: left,
            destination: listening + [.word(.failed)]),
        Case(rule: "the source is done, the destination is not", source: left, destination: listening),
        Case(
            rule: "the source is done and gone, the destination failed", source: left + [.process(.exited(0))],
            destination: listening + [.process(.exited(1))]),
        Case(
            rule: "the source is done and gone, the destination is not done", source: left + [.process(.exited(0))],
            destination: listening),

        Case(
            rule: "the only QEMU seen ended in post-copy without the guest",
            source: inPostcopy + [.send(.migrateCancel), .word(.cancelling), .word(.cancelled)]),
        Case(
            rule: "the only QEMU seen ended in post-copy without the guest",
            destination: listening + [.word(.postcopyActive), .word(.failed), .process(.exited(1))]),
        Case(rule: "it was done and is gone", source: left + [.process(.exited(0))]),
        Case(
            rule: "the guest shut itself down and the only QEMU seen is gone",
            source: running + [powerOff, .process(.gone)]),
        Case(
            rule: "the attempt was cancelled, then the QEMU went",
            source: running + [.send(.migrateCancel), .word(.cancelled), .process(.gone)]),
        Case(
            rule: "the attempt failed, then the QEMU went",
            destination: listening + [.word(.failed), .process(.exited(1))]),
        Case(rule: "the QEMU went before anything was begun", source: [.state(.running), .process(.gone)]),
        Case(rule: "the QEMU went in the middle of it", source: running + [.process(.gone)]),
        Case(rule: "the source, which alone was seen, is done", source: left),
        Case(
            rule: "the destination, which alone was seen, is done and the guest ran there",
            destination: arrived + [.event(.resume)]),

        Case(rule: "migrate was sent", source: [.state(.running), .send(migrate)], destination: listening),
        Case(
            rule: "the guest must release a device first",
            source: [.state(.running), .send(migrate), .word(.setup), .word(.waitUnplug)], destination: listening),
        Case(
            rule: "the guest was stopped for the last pass", source: running + [.event(.stop)], destination: listening),
        Case(rule: "memory is being copied", source: running, destination: listening),
        Case(rule: "memory is being copied", destination: listening),
        Case(
            rule: "memory is being copied", source: running + [.word(StatusWord(rawValue: "never-heard-of"))],
            destination: listening),
        Case(
            rule: "the guest is held before the switchover",
            source: running + [.event(.stop), .word(.preSwitchover)], destination: listening),
        Case(
            rule: "device state is being sent", source: running + [.event(.stop), .word(.device)],
            destination: listening),
        Case(rule: "it is done, the guest was not seen running yet", destination: arrived),
        Case(
            rule: "the post-copy package is on its way",
            source: running + [.event(.stop), .word(.device), .word(.postcopyDevice)], destination: listening),
        Case(
            rule: "memory follows the guest", source: inPostcopy, destination: listening + [.word(.postcopyActive)]),
        Case(
            rule: "the channel broke in post-copy", source: inPostcopy + [.word(.postcopyPaused)],
            destination: listening + [.word(.postcopyActive), .word(.postcopyPaused)]),
        Case(
            rule: "a post-copy recovery is under way",
            source: inPostcopy + [.word(.postcopyPaused), .word(.postcopyRecoverSetup)],
            destination: listening + [.word(.postcopyActive), .word(.postcopyPaused)]),
        Case(
            rule: "a cancel or an error is being carried out, the guest was stopped before",
            source: running + [.event(.stop), .word(.preSwitchover), .send(.migrateCancel), .word(.cancelling)],
            destination: listening),
        Case(
            rule: "a cancel or an error is being carried out before QEMU said anything",
            source: [.state(.running), .send(migrate), .send(.migrateCancel)], destination: listening),
        Case(
            rule: "a cancel or an error is being carried out", source: running + [.word(.failing)],
            destination: listening),
        Case(
            rule: "the attempt was cancelled", source: running + [.send(.migrateCancel), .word(.cancelled)],
            destination: listening + [.word(.failed)]),
        Case(
            rule: "the attempt failed", source: running + [.word(.failed)],
            destination: listening + [.process(.exited(1))]),
        Case(rule: "nothing was started"),
        Case(rule: "nothing was started", destination: [.state(.inMigrate)]),
    ]

    @Test(arguments: cases) func theRuleDecides(of example: Case) throws {
        let rule = PublishedRules.rule(for: example.reports)
        #expect(rule.name == example.rule)
        #expect(rule.applies(to: example.reports))
        let status = PublishedStatus(
            source: example.reports.source, destination: example.reports.destination, context: example.context)
        #expect(status.word == rule.word)
        #expect(status.basis == example.reports.basis)
        switch rule.scope {
        case .both: #expect(example.source != nil && example.destination != nil)
        case .one: #expect((example.source == nil) != (example.destination == nil))
        case .any: break
        }
    }

    /// The evidence that a rule names is there when it decides: at least one piece of it, where it names any.
    @Test(arguments: cases) func theRuleRestsOnWhatItNames(of example: Case) {
        let rule = PublishedRules.rule(for: example.reports)
        guard !rule.because.isEmpty else { return }
        let deciding: Side = example.source == nil ? .destination : .source
        let found = rule.because.filter { piece in
            let side = piece.side ?? deciding
            guard let lines = side == .source ? example.source : example.destination else { return false }
            let evidence = Evidence(side, lines)
            return switch piece.basis {
            case .trigger(let kind): evidence.triggers.wasSent(kind)
            case .event(let kind): evidence.events.has(kind)
            }
        }
        // Only where nothing was begun may all of it be missing.
        #expect(!found.isEmpty || rule.word == .idle, "\(rule.because)")
    }

    /// No rule of the list is dead, and none decides without being listed.
    @Test func everyRuleIsExercised() {
        let exercised = Set(Self.cases.map { PublishedRules.rule(for: $0.reports).name })
        let listed = PublishedRules.table.map(\.name)
        #expect(Set(listed).count == listed.count, "a rule is called by its name")
        #expect(exercised == Set(listed))
    }

    /// The list is an interface: this version of it is frozen in a file. Whoever changes a word, a rule or their order
    /// gives the list another version, writes the file of that version, and tells the users.
    @Test func theListIsTheOneOfItsVersion() throws {
        let lines = try fixtureLines("published-rules-\(PublishedRules.version).tsv").filter { !$0.hasPrefix("#") }
        let own = PublishedRules.table.map { rule in
            [
                rule.word.rawValue, rule.scope.rawValue, rule.name,
                rule.because.map(\.description).joined(separator: ", "),
            ]
            .joined(separator: "\t")
        }
        #expect(own.count == lines.count)
        for (rule, line) in zip(own, lines) { #expect(rule == line) }
    }

    @Test func everyWordHasARule() {
        #expect(Set(PublishedRules.table.map(\.word)) == Set(PublishedWord.allCases))
    }

    @Test func theLastRuleAppliesToEverything() throws {
        let last = try #require(PublishedRules.table.last)
        for example in Self.cases { #expect(last.applies(to: example.reports)) }
        // And is needed only where nothing was begun.
        for stage in Stage.samples where stage != .idle {
            for side in Side.allCases {
                var report = Evidence(side: side).report
                report.stage = stage
                report.opened = 1
                let reports = JointReport(
                    source: side == .source ? report : nil, destination: side == .destination ? report : nil)
                #expect(PublishedRules.rule(for: reports).name != last.name, "\(stage)")
            }
        }
    }
}

extension Stage {
    /// One of each kind.
    static let samples: [Stage] = [
        .idle, .starting, .waiting, .copying, .held, .switchover, .postcopy(.device), .postcopy(.active),
        .postcopy(.paused), .postcopy(.recovering), .stopping(.cancelled), .stopping(.failed), .ended(.cancelled),
        .ended(.failed), .completed, .gone,
    ]
}
