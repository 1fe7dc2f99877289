import Migration
import Testing

/// Failed or cancelled: the order of the first evidence decides, whatever QEMU's last word is.
@Suite struct FailedVersusCancelTests {
    struct Row: CustomTestStringConvertible {
        var name: String
        var lines: [Line]
        var stage: Stage
        var cancel: CancelOutcome
        var word: PublishedWord
        var testDescription: String { name }

        init(_ name: String, _ lines: [Line], _ stage: Stage, _ cancel: CancelOutcome, _ word: PublishedWord) {
            self.name = name
            self.lines = [.state(.running), .send(migrate), .accept(migrate), .word(.active)] + lines
            self.stage = stage
            self.cancel = cancel
            self.word = word
        }
    }

    static let rows: [Row] = [
        Row("nobody cancelled, completed", [.word(.completed)], .completed, .none, .completed),
        Row("nobody cancelled, failed", [.word(.failed)], .ended(.failed), .none, .failed),
        Row("failing, then failed", [.word(.failing), .word(.failed)], .ended(.failed), .none, .failed),

        // Cancel sent, then errors: the errors are consequences.
        Row(
            "cancel, cancelling, cancelled",
            [.send(.migrateCancel), .accept(.migrateCancel), .word(.cancelling), .word(.cancelled)],
            .ended(.cancelled), .honoured, .cancelled),
        Row(
            "cancel, failed", [.send(.migrateCancel), .word(.failed), .accept(.migrateCancel)], .ended(.cancelled),
            .honoured, .cancelled),
        Row(
            "cancel, cancelling, failed", [.send(.migrateCancel), .word(.cancelling), .word(.failed)],
            .ended(.cancelled), .honoured, .cancelled),
        Row(
            "cancel, failing, failed", [.send(.migrateCancel), .word(.failing), .word(.failed)], .ended(.cancelled),
            .honoured, .cancelled),
        Row(
            "cancel, failing, cancelled", [.send(.migrateCancel), .word(.failing), .word(.cancelled)],
            .ended(.cancelled), .honoured, .cancelled),
        Row(
            "cancel, the end seen by a query", [.send(.migrateCancel), .send(.queryMigrate), .look(.cancelled)],
            .ended(.cancelled), .honoured, .cancelled),
        Row(
            "cancel, reply missing, failed", [.send(.migrateCancel), .unanswered(.migrateCancel), .word(.failed)],
            .ended(.cancelled), .honoured, .cancelled),
        Row("cancel, still on its way", [.send(.migrateCancel)], .stopping(.cancelled), .honoured, .copying),
        Row(
            "cancel, cancelling", [.send(.migrateCancel), .word(.cancelling)], .stopping(.cancelled), .honoured,
            .copying),
        Row(
            "cancel by yank, failed", [.request(.cancel), .send(.yank), .accept(.yank), .word(.failed)],
            .ended(.cancelled), .honoured, .cancelled),

        // Error, then cancel: the error stays, the cancel is late.
        Row(
            "failed, cancel", [.word(.failed), .send(.migrateCancel), .accept(.migrateCancel)], .ended(.failed), .late,
            .failed),
        Row(
            "failing, cancel, failed", [.word(.failing), .send(.migrateCancel), .word(.failed)], .ended(.failed), .late,
            .failed),
        Row(
            "failing, cancel, cancelled",
            [.word(.failing), .send(.migrateCancel), .word(.cancelling), .word(.cancelled)],
            .ended(.failed), .late, .failed),
        Row(
            "failing, cancel, the end missing", [.word(.failing), .send(.migrateCancel), .word(.cancelling)],
            .stopping(.failed), .late, .copying),
        Row(
            "failed by a query, cancel", [.send(.queryMigrate), .look(.failed), .send(.migrateCancel)], .ended(.failed),
            .late, .failed),
        Row("asked for, not sent, failed", [.request(.cancel), .word(.failed)], .ended(.failed), .none, .failed),
        Row(
            "asked for, not sent before failed", [.request(.cancel), .word(.failed), .send(.migrateCancel)],
            .ended(.failed), .late, .failed),

        // Neither can be told to be first: QEMU's last word decides.
        Row("somebody else's cancel", [.word(.cancelling), .word(.cancelled)], .ended(.cancelled), .none, .cancelled),
        Row(
            "somebody else's cancel, its first word missing", [.word(.cancelled)], .ended(.cancelled), .none, .cancelled
        ),
        Row("somebody else's cancel, failed", [.word(.cancelling), .word(.failed)], .ended(.failed), .none, .failed),

        // Cancel, then completed: too late.
        Row(
            "cancel, completed", [.send(.migrateCancel), .accept(.migrateCancel), .word(.completed)], .completed,
            .tooLate, .completed),
        Row(
            "cancel, cancelling, completed", [.send(.migrateCancel), .word(.cancelling), .word(.completed)], .completed,
            .tooLate, .completed),
        Row(
            "completed, cancel", [.word(.completed), .send(.migrateCancel), .accept(.migrateCancel)], .completed,
            .tooLate, .completed),

        Row(
            "cancel refused, active", [.send(.migrateCancel), .refuse(.migrateCancel, "no")], .copying, .refused,
            .copying),
        Row(
            "cancel refused, completed", [.send(.migrateCancel), .refuse(.migrateCancel, "no"), .word(.completed)],
            .completed, .tooLate, .completed),
    ]

    @Test(arguments: rows) func everyRow(row: Row) {
        let evidence = Evidence(.source, row.lines)
        #expect(evidence.stage == row.stage)
        #expect(evidence.report.cancel == row.cancel)
        #expect(PublishedStatus(source: evidence.report, destination: nil).word == row.word)
    }

    /// With the other end seen too, the word is the same, except that a source alone does not complete a migration.
    @Test(arguments: rows) func everyRowWithBothSides(row: Row) {
        let source = Evidence(.source, row.lines).report
        let destination = Evidence(.destination, [.send(listen), .accept(listen), .word(.active)]).report
        let word = PublishedStatus(source: source, destination: destination).word
        #expect(word == (row.word == .completed ? .switchover : row.word))
    }

    /// The error text is kept whatever the word.
    @Test func theErrorsTextIsKept() {
        var sample = MigrationSample(status: .failed)
        sample.errorDescription = "Unable to write to socket: Broken pipe"
        var evidence = Evidence(.source, [.send(migrate), .word(.active), .send(.migrateCancel), .send(.queryMigrate)])
        evidence.note(.reply(.queryMigrate, .migration(sample)), sequence: 9, at: Instant(microseconds: 9))
        #expect(evidence.stage == .ended(.cancelled))
        #expect(evidence.report.errorDescription == "Unable to write to socket: Broken pipe")
        #expect(evidence.position.reasons.last?.what.contains("Broken pipe") == true)
    }

    /// An end stays what it was when the process ends too.
    @Test(arguments: [
        ([Line.send(.migrateCancel), .word(.failed)], PublishedWord.cancelled),
        ([.word(.failed), .send(.migrateCancel)], .failed), ([.word(.cancelling), .word(.cancelled)], .cancelled),
        ([.word(.failing), .send(.migrateCancel), .word(.cancelled)], .failed),
    ]) func theProcessEndsAfterwards(lines: [Line], word: PublishedWord) {
        let evidence = Evidence(.source, [.send(migrate), .word(.active)] + lines + [.process(.exited(0))])
        #expect(evidence.stage == .gone)
        #expect(PublishedStatus(source: evidence.report, destination: nil).word == word)
        let destination = Evidence(.destination, [.send(listen), .word(.active)]).report
        #expect(PublishedStatus(source: evidence.report, destination: destination).word == word)
    }
}
