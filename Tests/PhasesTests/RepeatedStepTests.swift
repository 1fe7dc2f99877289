import Migration
import Phases
import Testing

/// Steps that are called again, late or by mistake, each on a side of its own.
@Suite struct RepeatedStepTests {
    private static let options = ScriptedDriver.options()

    /// A composition that stopped where something is so.
    private func composition(
        _ script: Script = Script(), until condition: (Composition) -> Bool = { _ in false }
    ) throws -> Composition {
        var composition = Composition(script)
        composition.run(until: condition)
        try #require(composition.violations.isEmpty, story(composition))
        return composition
    }

    private func answers(_ effects: [SideEffect]) -> [(Step, StepResult)] {
        effects.compactMap { if case .message(.answer(let step, let result, _)) = $0 { (step, result) } else { nil } }
    }

    private func isQuiet(_ effects: [SideEffect]) -> Bool {
        effects.allSatisfy { if case .message = $0 { true } else { false } }
    }

    private func call(
        _ step: Step, on party: inout SideParty, _ change: (inout Cookie) -> Void = { _ in }
    )
        -> [SideEffect]
    {
        var cookie = Cookie(attempt: Self.options.attempt)
        change(&cookie)
        return party.apply(.message(.call(step, cookie)), sequence: 100_000, at: Instant(microseconds: 0))
    }

    @Test func everyStepAnswersTheSameAgain() throws {
        let composition = try composition()
        for step in [Step.begin, .perform, .confirm] {
            var party = try #require(composition.source)
            let answer = try #require(party.ledger.answers[step])
            let effects = call(step, on: &party) { if step == .confirm { $0.isSuccess = true } }
            #expect(isQuiet(effects))
            #expect(answers(effects).map(\.1) == [answer])
        }
        for step in [Step.prepare, .finish] {
            var party = try #require(composition.destination)
            let answer = try #require(party.ledger.answers[step])
            let effects = call(step, on: &party)
            #expect(isQuiet(effects))
            #expect(answers(effects).map(\.1) == [answer])
        }
    }

    @Test func theSameAfterARestart() throws {
        let composition = try composition()
        for step in Step.allCases where step != .dumpXML && step != .abandon {
            let ledger = try #require(composition.ledgers[step.side])
            var party = SideParty(restarting: ledger, options: Self.options)
            #expect(party.apply(.restarted, sequence: 99_999, at: Instant(microseconds: 0)).isEmpty)
            let answer = try #require(ledger.answers[step])
            let effects = call(step, on: &party) { if step == .confirm { $0.isSuccess = true } }
            #expect(isQuiet(effects))
            #expect(answers(effects).map(\.1) == [answer])
        }
    }

    @Test func aStepThatIsBeingWorkedOnIsOnlyAccepted() throws {
        let composition = try composition { $0.pair.source.status == .active }
        var party = try #require(composition.source)
        let effects = call(.perform, on: &party)
        #expect(isQuiet(effects))
        #expect(effects.contains(.message(.accepted(.perform))))
        #expect(answers(effects).isEmpty)
    }

    @Test func aCallForAnotherAttemptIsRefusedByName() throws {
        let composition = try composition { $0.pair.source.status == .active }
        for step in Step.allCases where step != .dumpXML {
            var party = try #require(step.side == .source ? composition.source : composition.destination)
            let effects = call(step, on: &party) { $0.attempt = "another" }
            #expect(isQuiet(effects))
            guard case .failed(let error)? = answers(effects).first?.1 else {
                Issue.record("\(step) was done")
                continue
            }
            #expect(error.kind == .refused)
            #expect(error.description.contains("another") && error.description.contains("a1"))
        }
    }

    @Test func aConfirmOfTheOppositeIsRefused() throws {
        let composition = try composition()
        var party = try #require(composition.source)
        let effects = call(.confirm, on: &party) { $0.isSuccess = false }
        #expect(isQuiet(effects))
        guard case .failed(let error)? = answers(effects).first?.1 else {
            Issue.record("confirmed both ways")
            return
        }
        #expect(error.kind == .refused)
    }

    /// Finish and Prepare that come after Abandon, with and without a restart in between.
    @Test(arguments: [false, true], [Step.prepare, .finish]) func theTombstoneRefusesWhatComesLate(
        isRestarted: Bool, step: Step
    ) throws {
        let composition = try composition { $0.pair.source.status == .active }
        var party = try #require(composition.destination)
        var ledger = try #require(composition.ledgers[.destination])
        for effect in call(.abandon, on: &party) { if case .persist(let record) = effect { ledger.note(record) } }
        #expect(ledger.isRefused(Self.options.attempt))
        if isRestarted {
            party = SideParty(restarting: ledger, options: Self.options)
            _ = party.apply(.restarted, sequence: 100_001, at: Instant(microseconds: 0))
        }
        let effects = call(step, on: &party)
        for effect in effects {
            if case .send = effect { Issue.record("\(effect)") }
        }
        guard step == .finish else { return }
        guard case .failed(let error)? = answers(effects).first?.1 else {
            Issue.record("finished after the tombstone: \(effects)")
            return
        }
        #expect(error.kind == .refused && error.description.contains(Self.options.attempt))
    }

    @Test func aSecondAttemptStartsOverAndTheTombstoneStays() {
        var ledger = Ledger(side: .destination)
        ledger.note(.called(.prepare, Cookie(attempt: "one")))
        ledger.note(.intent(.destination, .listen))
        ledger.note(.refused(attempt: "one"))
        ledger.note(.answered(.abandon, .done(Cookie(attempt: "one"))))
        ledger.note(.called(.prepare, Cookie(attempt: "two")))
        #expect(ledger.attempt == "two")
        #expect(ledger.answers.isEmpty && ledger.intents.isEmpty)
        #expect(ledger.isRefused("one") && !ledger.isRefused("two"))
    }

    @Test func answersThatNobodyWaitsForChangeNothing() throws {
        let composition = try composition { $0.pair.source.status == .active }
        var party = try #require(composition.coordinator)
        let standing = try #require(composition.destination).standing(serial: 100_000)
        let before = party.ledger
        for step in [Step.prepare, .finish, .abandon] {
            let effects = party.apply(
                .message(from: .destination, .answer(step, .done(Cookie(attempt: "a1")), standing)), sequence: 100_000,
                at: Instant(microseconds: 0))
            #expect(effects.isEmpty, "\(step): \(effects)")
        }
        // Nor does the answer of the wrong side.
        let effects = party.apply(
            .message(from: .destination, .answer(.perform, .done(Cookie(attempt: "a1")), standing)), sequence: 100_001,
            at: Instant(microseconds: 0))
        #expect(effects.isEmpty)
        #expect(party.ledger == before)
    }

    @Test func anOlderReportThatComesLateTellsNothing() throws {
        let composition = try composition { $0.pair.source.status == .active }
        var party = try #require(composition.coordinator)
        let known = try #require(party.source)
        var old = known
        old.serial = known.serial - 1
        old.phase = .none
        #expect(
            party.apply(.message(from: .source, .report(old)), sequence: 100_000, at: Instant(microseconds: 0)).isEmpty)
        #expect(party.source == known)
    }
}
