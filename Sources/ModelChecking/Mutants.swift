import Migration
import Phases

extension Mutant {
    /// The bugs that are put in on purpose, to show that the exploration would find them.
    static let all: [Mutant] = coordinatorBugs + sourceBugs + destinationBugs + diskBugs

    /// Whether the hunt for it takes longer than a few seconds.
    var takesLong: Bool { name == "forgets-tombstone" }

    static func named(_ name: String) -> Mutant? { all.first { $0.name == name } }

    // MARK: The coordinator

    private static let coordinatorBugs: [Mutant] = [
        Mutant(
            "silence-is-proof", "the source is continued when Finish's answer is lost with the connection",
            caughtBy: [Property.proof],
            effects: { _, input, party, done in
                guard case .coordinator(.peer(.destination, isConnected: false)) = input,
                    let coordinator = party.coordinator, coordinator.ledger.hasCalled(.finish),
                    coordinator.ledger.answers[.finish] == nil
                else { return done }
                return done + [.coordinator(.message(to: .source, .call(.confirm, .confirming(false))))]
            }),
        Mutant(
            "not-running-now", "a destination that does not run now is taken for one that never ran",
            caughtBy: [Property.proof, Property.noReturn],
            inputs: { _, input, _ in
                guard case .coordinator(.message(.destination, .answer(let step, .failed, let standing))) = input,
                    standing.report.isRunning != true
                else { return [input] }
                let answer: StepResult =
                    step == .abandon ? .done(.confirming(nil)) : .failed(StepError(.failed, "it does not run"))
                return [.coordinator(.message(from: .destination, .answer(step, answer, standing)))]
            }),
        Mutant(
            "source-alone-completes", "the source's completed is taken for the migration's",
            caughtBy: [Property.truth],
            effects: { _, input, _, done in
                guard case .coordinator(.message(.source, .answer(.perform, .done, _))) = input else { return done }
                return done + [
                    .coordinator(.publish(PublishedStatus(word: .completed))),
                    .coordinator(.finished(AttemptResult(verdict: .arrived))),
                ]
            }),
        Mutant(
            "abandon-is-forgotten", "a failed Finish leads straight to Confirm, without an Abandon",
            caughtBy: [Property.proof],
            inputs: { _, input, party in
                guard case .coordinator(.message(.destination, .answer(.finish, .failed, let standing))) = input,
                    party.coordinator?.ledger.answers[.finish] == nil
                else { return [input] }
                return [
                    input,
                    .coordinator(.message(from: .destination, .answer(.abandon, .done(.confirming(nil)), standing))),
                ]
            }),
    ]

    // MARK: The source

    private static let sourceBugs: [Mutant] = [
        Mutant(
            "resume-after-failed", "RESUME counts only after `failed`, which newer QEMUs say the other way round",
            caughtBy: [Property.ends, Property.truth],
            inputs: { part, input, party in
                guard part == .source, let evidence = party.side?.evidence,
                    evidence.events.has(.failing) || evidence.events.has(.failed)
                else { return [input] }
                switch input {
                case .side(.fact(.event(.resume))) where !evidence.events.has(.failed): return []
                case .side(.fact(.reply(.queryStatus, .status(.running)))) where !evidence.events.has(.resumed):
                    return [.side(.fact(.reply(.queryStatus, .status(.finishMigrate))))]
                default: return [input]
                }
            }),
        Mutant(
            "unknown-word-is-an-end", "a status word that is not known (here `device`) is taken for an error",
            caughtBy: [Property.lastCopy, Property.truth, Property.ends, Property.proof, Property.notLost],
            inputs: { part, input, _ in
                guard part == .source, case .side(.fact(.event(.migration(.device)))) = input else { return [input] }
                return [.side(.fact(.event(.migration(.failed))))]
            }),
        Mutant(
            "late-cancel-continues", "a cancel that comes when the guest has left continues the source",
            caughtBy: [Property.proof],
            effects: { part, input, party, done in
                guard part == .source, case .side(.message(.ask(.cancel, _))) = input,
                    party.side?.evidence.stage == .completed
                else { return done }
                return done + [.side(.send(.cont, outOfBand: false))]
            }),
        Mutant(
            "source-ends-itself", "the source's QEMU is ended when Perform is done, before the guest runs anywhere",
            caughtBy: [Property.lastCopy, Property.ends],
            effects: { part, _, _, done in
                guard part == .source,
                    done.contains(where: {
                        if case .side(.message(.answer(.perform, .done, _))) = $0 { true } else { false }
                    })
                else { return done }
                return done + [.side(.send(.quit, outOfBand: false))]
            }),
        Mutant(
            "job-is-kept", "nobody is told that the source's job is over",
            caughtBy: [Property.rest, Property.phases],
            effects: { part, _, _, done in
                guard part == .source else { return done }
                return done.filter { if case .side(.phase(let move)) = $0 { move.to != .none } else { true } }
            }),
        Mutant(
            "job-ends-early", "the source's job is given up when Perform is done",
            caughtBy: [Property.phases],
            effects: { part, _, _, done in
                guard part == .source else { return done }
                return done.flatMap { effect -> [PartyEffect] in
                    guard case .side(.phase(let move)) = effect, move.to == .perform3Done else { return [effect] }
                    let over = PhaseMove(side: .source, from: .perform3Done, to: .none, owner: nil)
                    return [effect, .side(.phase(over))]
                }
            }),
        Mutant(
            "phase-goes-back", "a cancel sets the source's phase back to Begin's",
            caughtBy: [Property.phases],
            effects: { part, input, party, done in
                guard part == .source, case .side(.message(.ask(.cancel, _))) = input,
                    party.side?.ledger.phase == .perform3
                else { return done }
                return done + [.side(.phase(PhaseMove(side: .source, from: .perform3, to: .begin3, owner: "cancel")))]
            }),
    ]

    // MARK: The destination

    private static let destinationBugs: [Mutant] = [
        Mutant(
            "abandon-before-death", "Abandon is answered before QEMU is dead",
            caughtBy: [Property.proof, Property.tombstone],
            effects: { part, input, party, done in
                guard part == .destination, case .side(.message(.call(.abandon, _))) = input,
                    let side = party.side, side.ledger.answers[.abandon] == nil
                else { return done }
                let answer = PartyMessage.answer(.abandon, .done(.confirming(nil)), side.standing(serial: Party.now))
                return [.side(.message(answer))] + done.filter { $0 != .side(.send(.quit, outOfBand: false)) }
            }),
        Mutant(
            "lost-monitor-is-death", "a lost monitor is taken for a dead process",
            caughtBy: [Property.proof, Property.notLost, Property.truth, Property.tombstone],
            inputs: { part, input, _ in
                guard part == .destination, case .side(.fact(.monitor(.lost))) = input else { return [input] }
                return [input, .side(.fact(.process(.gone)))]
            }),
        Mutant(
            "finish-after-abandon", "a Finish that comes after Abandon is obeyed",
            caughtBy: [Property.commit, Property.tombstone],
            effects: { part, input, party, done in
                guard part == .destination, case .side(.message(.call(.finish, _))) = input,
                    party.side?.ledger.isRefused("a1") ?? false
                else { return done }
                return done + [.side(.persist(.run(attempt: "a1"))), .side(.send(.cont, outOfBand: false))]
            }),
        Mutant(
            "run-after-cont", "the commit is written after `cont` left",
            caughtBy: [Property.commit],
            effects: { part, _, _, done in
                guard part == .destination,
                    let record = done.firstIndex(of: .side(.persist(.run(attempt: "a1")))),
                    let cont = done.firstIndex(of: .side(.send(.cont, outOfBand: false))), record < cont
                else { return done }
                var done = done
                done.insert(done.remove(at: record), at: cont)
                return done
            }),
        Mutant(
            "answered-is-running", "Finish is answered when `cont` left, without a look whether the guest runs",
            caughtBy: [Property.truth, Property.ends],
            effects: { part, _, party, done in
                guard part == .destination, let side = party.side,
                    done.contains(.side(.send(.cont, outOfBand: false)))
                else { return done }
                let standing = side.standing(serial: Party.now)
                return done + [.side(.message(.answer(.finish, .done(.confirming(nil)), standing)))]
            }),
        Mutant(
            "runs-on-active", "the guest is run as soon as it is whole, whether or not the source has given it away",
            caughtBy: [Property.commit],
            effects: { part, input, _, done in
                guard part == .destination, case .side(.fact(.event(.migration(.completed)))) = input else {
                    return done
                }
                return done + [.side(.persist(.run(attempt: "a1"))), .side(.send(.cont, outOfBand: false))]
            }),
    ]

    // MARK: The disks

    private static let diskBugs: [Mutant] = [
        Mutant(
            "forgets-tombstone", "the tombstone is forgotten at a restart",
            caughtBy: [Property.tombstone, Property.proof],
            record: { part, record in
                if case .refused = record, part == .destination { nil } else { record }
            }),
        Mutant(
            "forgets-surrender", "the surrender is forgotten at a restart",
            caughtBy: [Property.commit, Property.proof],
            record: { _, record in if case .surrendered = record { nil } else { record } }),
        Mutant(
            "forgets-run", "the commit is forgotten at a restart",
            caughtBy: [Property.commit, Property.proof, Property.noReturn],
            record: { _, record in if case .run = record { nil } else { record } }),
    ]

    private init(
        _ name: String, _ about: String, caughtBy: Set<String>,
        inputs: (@Sendable (Part, PartyInput, Party) -> [PartyInput])? = nil,
        effects: (@Sendable (Part, PartyInput, Party, [PartyEffect]) -> [PartyEffect])? = nil,
        record: (@Sendable (Part, JournalRecord) -> JournalRecord?)? = nil
    ) {
        self.init(name: name, about: about, caughtBy: caughtBy)
        if let inputs { self.inputs = inputs }
        if let effects { self.effects = effects }
        if let record { self.record = record }
    }
}

extension Cookie {
    fileprivate static func confirming(_ isSuccess: Bool?) -> Cookie {
        var cookie = Cookie(attempt: "a1")
        cookie.isSuccess = isSuccess
        return cookie
    }
}
