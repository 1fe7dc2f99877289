import Migration
import Phases
import Testing

/// The recovery table over everything that can be read after a restart.
@Suite struct RecoveryTableTests {
    /// Every piece of evidence of a side: phases, guests, statuses, flags.
    static func all(_ side: Side) -> [RecoveryEvidence] {
        var result: [RecoveryEvidence] = []
        for phase in Phase.allCases {
            for guest in RecoveryGuest.allCases {
                for status in RecoveryStatus.allCases {
                    for flags in 0..<32 {
                        var evidence = RecoveryEvidence(side: side, phase: phase, guest: guest, status: status)
                        evidence.isOpened = flags & 1 != 0
                        evidence.isAnswered = flags & 2 != 0
                        evidence.isSurrendered = flags & 4 != 0
                        evidence.isRunRecorded = flags & 8 != 0
                        evidence.isRefused = flags & 16 != 0
                        result.append(evidence)
                    }
                }
            }
        }
        return result
    }

    @Test(arguments: Side.allCases) func everyEvidenceHasARowOfItsSide(side: Side) {
        for evidence in Self.all(side) {
            let row = RecoveryTable.decide(evidence)
            #expect(row.side == side && row.matches(evidence), "\(evidence)")
            #expect(!row.sentence.isEmpty)
        }
    }

    @Test func everyRowDecidesSomething() {
        var used: Set<RecoveryRow> = []
        for side in Side.allCases {
            for evidence in Self.all(side) { used.insert(RecoveryTable.decide(evidence)) }
        }
        for row in RecoveryTable.rows { #expect(used.contains(row), "never reached: \(row)") }
    }

    @Test func theSourceIsContinuedOnlyByConfirmOfAFailure() {
        for evidence in Self.all(.source) {
            let decision = RecoveryTable.decide(evidence).decision
            guard decision.mayRunGuest else { continue }
            #expect(decision == .resume && evidence.phase == .confirm3Cancelled, "\(evidence)")
            #expect(evidence.status != .postcopy && evidence.status != .postcopyPaused, "\(evidence)")
        }
    }

    @Test func theDestinationIsRunOnlyByFinishAndNeverAfterTheTombstone() {
        for evidence in Self.all(.destination) {
            let decision = RecoveryTable.decide(evidence).decision
            guard decision.mayRunGuest else { continue }
            #expect([.finish2, .finish3].contains(evidence.phase), "\(evidence)")
            #expect(!(evidence.isRefused && evidence.isOpened), "\(evidence)")
            if decision == .run { #expect(evidence.isRunRecorded, "\(evidence)") }
        }
    }

    @Test func aQEMUThatMayHoldTheOnlyCopyIsNeverEnded() {
        for evidence in Self.all(.destination) where evidence.isRunRecorded && !evidence.isRefused {
            let row = RecoveryTable.decide(evidence)
            guard [.finish2, .finish3].contains(evidence.phase) else { continue }
            #expect(!row.decision.mayEndQEMU, "\(evidence)")
        }
        for evidence in Self.all(.source) where RecoveryTable.decide(evidence).decision.mayEndQEMU {
            let isProven =
                evidence.phase == .confirm3 || evidence.phase == .perform2 && evidence.isSurrendered
                || evidence.status == .completed && evidence.phase >= .postcopyFailed
            #expect(isProven, "\(evidence)")
        }
    }

    /// Pairs of evidence that rule 6 lets exist together: the source confirms a failure only after the tombstone.
    @Test func neverDecisionsThatLetBothRun() {
        let sources = Set(Self.all(.source).filter { RecoveryTable.decide($0).decision.mayRunGuest })
        let destinations = Self.all(.destination).filter { RecoveryTable.decide($0).decision.mayRunGuest }
        #expect(!sources.isEmpty && !destinations.isEmpty)
        for source in sources {
            for destination in destinations where destination.isOpened {
                // `confirm3_cancelled` is entered on the destination's refusal, or its QEMU's end.
                let canBe = source.phase != .confirm3Cancelled || destination.isRefused || destination.guest == .gone
                #expect(!canBe, "\(source) and \(destination)")
            }
        }
    }

    /// What libvirt cancels or kills although it could go on, and what it leaves to a third party.
    @Test(arguments: [
        (Side.source, Phase.perform3, RecoveryGuest.running, RecoveryStatus.migrating, RecoveryDecision.adopt),
        (.source, .perform3, .stopped, .migrating, .adopt),
        (.source, .perform3, .stopped, .completed, .surrender),
        (.source, .perform3, .running, .completed, .tidy),
        (.source, .perform3, .running, .ended, .tidy),
        (.source, .perform3, .running, .none, .tidy),
        (.source, .perform3Done, .stopped, .completed, .wait),
        (.source, .confirm3Cancelled, .stopped, .completed, .resume),
        (.source, .confirm3Cancelled, .stopped, .postcopyPaused, .awaitRecovery),
        (.source, .confirm3, .stopped, .completed, .end),
        (.source, .begin3, .running, .none, .adopt),
        (.source, .postcopyFailed, .stopped, .completed, .complete),
        (.source, .performResume, .stopped, .postcopy, .unattended),
        (.source, .beginResume, .stopped, .postcopyPaused, .awaitRecovery),
        (.destination, .prepare, .awaited, .migrating, .listen),
        (.destination, .finish3, .stopped, .completed, .arrive),
        (.destination, .finishResume, .running, .completed, .complete),
        (.destination, .postcopyFailed, .running, .postcopy, .unattended),
        (.destination, .prepareResume, .running, .postcopyPaused, .awaitRecovery),
    ])
    func whatIsDone(
        side: Side, phase: Phase, guest: RecoveryGuest, status: RecoveryStatus, decision: RecoveryDecision
    ) {
        var evidence = RecoveryEvidence(side: side, phase: phase, guest: guest, status: status)
        evidence.isOpened = phase != .begin3
        evidence.isAnswered = phase == .prepare || phase == .perform3Done
        let expected: RecoveryDecision = phase == .begin3 ? .forget : decision
        #expect(RecoveryTable.decide(evidence).decision == expected)
    }

    @Test func whereNobodyCanBeAskedAPersonIsToldWhatToFindOut() {
        for evidence in Self.all(.source) where RecoveryTable.decide(evidence).decision == .wait {
            #expect(RecoveryTable.decide(evidence).sentence.contains("find out"))
        }
    }
}
