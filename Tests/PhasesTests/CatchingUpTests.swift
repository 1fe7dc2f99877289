import Migration
import Phases
import Testing

/// A side between its restart and QEMU's answers.
@Suite struct CatchingUpTests {
    private static let attempt = ScriptedDriver.options().attempt

    /// A source that was restarted in a phase and has not heard of its QEMU yet.
    private func restarted(in phase: Phase, called step: Step = .begin, _ records: [JournalRecord] = []) -> SideParty {
        var ledger = Ledger(side: .source)
        ledger.note(.called(step, Cookie(attempt: Self.attempt)))
        ledger.note(.began(.source, attempt: Self.attempt, wasRunning: true))
        ledger.note(.phase(PhaseMove(side: .source, from: .none, to: phase, owner: nil)))
        for record in records { ledger.note(record) }
        var party = SideParty(restarting: ledger, options: ScriptedDriver.options())
        _ = party.apply(.restarted, sequence: 1, at: Instant(microseconds: 0))
        return party
    }

    @Test func whatIsSaidAgainIsKeptOnce() {
        var party = restarted(in: .begin3)
        let call = SideInput.message(.call(.begin, Cookie(attempt: Self.attempt)))
        let effects = party.apply(call, sequence: 2, at: Instant(microseconds: 1))
        #expect(effects.contains(.message(.accepted(.begin))))
        let once = party
        for sequence in 3..<200 {
            #expect(
                party.apply(call, sequence: sequence, at: Instant(microseconds: 2)).contains(
                    .message(.accepted(.begin))))
        }
        #expect(party.canonical == once.canonical)
    }

    @Test func aCoordinatorThatContradictsItselfForEverIsBounded() {
        var party = restarted(in: .begin3)
        var sizes: Set<Int> = []
        for recovery in 1..<300 {
            var cookie = Cookie(attempt: Self.attempt)
            cookie.recovery = recovery
            _ = party.apply(.message(.call(.begin, cookie)), sequence: recovery, at: Instant(microseconds: 1))
            if recovery > 100 { sizes.insert("\(party)".count / 64) }
        }
        #expect(sizes.count <= 2, "it grows: \(sizes.sorted())")
    }

    /// A wish that comes before QEMU has answered is carried out when it has, not forgotten.
    @Test(arguments: [PartyMessage.abort, .ask(.cancel, .operator)]) func aWishIsCarriedOutLater(_ wish: PartyMessage) {
        var party = restarted(in: .perform3, called: .perform, [.intent(.source, .migrate)])
        var sequence = 2
        func take(_ input: SideInput) -> [SideEffect] {
            sequence += 1
            return party.apply(input, sequence: sequence, at: Instant(microseconds: Int64(sequence)))
        }
        func isStop(_ effect: SideEffect) -> Bool {
            guard case .send(let command, _) = effect else { return false }
            return command == .migrateCancel || command == .yank
        }
        #expect(!take(.message(wish)).contains(where: isStop))
        var effects = take(.fact(.monitor(.connected)))
        effects += take(.fact(.reply(.queryStatus, .status(.running))))
        effects += take(.fact(.reply(.queryMigrate, .migration(MigrationSample(status: .active)))))
        effects += take(.fact(.reply(.queryCapabilities, .capabilities([]))))
        #expect(!effects.contains(where: isStop))
        effects = take(.fact(.reply(.queryParameters, .parameters([]))))
        #expect(effects.contains(where: isStop), "\(effects)")
    }

    /// A destination that comes back after the attempt ended is told, and told again until it has heard.
    @Test func whoComesBackAfterTheEndIsTakenHome() throws {
        var whole = Composition()
        whole.befall(.crash(.destination, returns: false)) { $0.phases.contains { $0.to == .prepare } }
        whole.run()
        #expect(whole.result?.word == .failed, story(whole))
        for number in (whole.messages + 1)...(whole.messages + 12) {
            var composition = Composition()
            composition.befall(.crash(.destination, returns: false)) { $0.phases.contains { $0.to == .prepare } }
            composition.run()
            composition.fates[number] = .lost
            composition.befall(.restart(.destination))
            composition.run(nil)
            #expect(composition.violations.isEmpty, story(composition))
            #expect(composition.ledgers[.destination]?.phase == Phase.none, story(composition))
        }
    }

    /// A destination whose job was over when it crashed still knows that it was told to run the guest.
    @Test func whoWasToldToRunNeverVouchesThatItDidNot() {
        var ledger = Ledger(side: .destination)
        ledger.note(.called(.finish, Cookie(attempt: Self.attempt)))
        ledger.note(.run(attempt: Self.attempt))
        ledger.note(.answered(.finish, .failed(StepError(.gone, "it is gone"))))
        var party = SideParty(restarting: ledger, options: ScriptedDriver.options())
        _ = party.apply(.restarted, sequence: 1, at: Instant(microseconds: 0))
        let effects = party.apply(
            .message(.call(.abandon, Cookie(attempt: Self.attempt))), sequence: 2, at: Instant(microseconds: 1))
        let answers = effects.compactMap { effect -> StepResult? in
            if case .message(.answer(.abandon, let result, _)) = effect { result } else { nil }
        }
        #expect(answers.count == 1)
        #expect(answers.allSatisfy { if case .failed(let why) = $0 { why.kind == .unproven } else { false } })
        #expect(!effects.contains(.persist(.refused(attempt: Self.attempt))))
    }
}
