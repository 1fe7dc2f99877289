/// A stage and the evidence for it.
public struct Position: Hashable, Sendable {
    /// What.
    public var stage: Stage
    /// Why: the name of the rule that decided.
    public var rule: String
    /// Why: the records, oldest first.
    public var reasons: [Reason]
}

extension Evidence {
    /// The stage that follows from the evidence, and nothing but the evidence: total, idempotent, without memory of an
    /// earlier answer.
    ///
    /// Mirrors the `advance` function proposed on qemu-devel in January 2026: triggers and events go in, the state
    /// comes out, and why is kept beside what.
    public var stage: Stage { deciding.stage(self) }

    /// The stage together with its reasons.
    public var position: Position {
        let rule = deciding
        return Position(stage: rule.stage(self), rule: rule.name, reasons: reasons(rule.because))
    }

    private var deciding: AdvanceRule {
        for rule in Self.advanceTable where rule.applies(self) { return rule }
        return Self.otherwise
    }

    /// The first sign of an error: QEMU's words, its refusal of the command that opens the attempt, or what the other
    /// side showed.
    public var firstFailureSequence: Int? {
        let word = events.earliest(.failing, .failed)?.firstSequence
        let refusal = triggers[opener].flatMap { $0.refusal == nil ? nil : $0.lastSequence }
        return [word, refusal, failureElsewhere].compactMap(\.self).min()
    }

    /// Whether somebody's cancel left for QEMU before anything had gone wrong. An error after that is the cancel's
    /// consequence: QEMU shuts the sockets down without distinction.
    public var isCancelFirst: Bool {
        guard let row = triggers[.cancel], let cancel = row.sentSequence, row.refusal == nil else { return false }
        guard let failure = firstFailureSequence else { return true }
        return cancel < failure
    }

    /// Whether an error was seen before somebody's cancel left: then it is the error that ended the attempt, whatever
    /// QEMU calls it.
    ///
    /// Of a cancel that another client gave only its effect is seen: QEMU was `failing` before, which nothing but a
    /// cancel turns into `cancelling`.
    var isFailureFirst: Bool {
        guard let row = triggers[.cancel], let failure = firstFailureSequence else { return false }
        if let sent = row.sentSequence { return failure < sent }
        return row.origin == .external && row.wasAccepted && events.has(.failing) && failure < row.firstSequence
    }

    /// Whether a cancel was given, by whomever, and an error is not known to be older. If neither can be told to be
    /// first and QEMU has no last word yet, cancelled it is: the error would have been the cancel's consequence.
    private var isCancelLikely: Bool {
        guard let row = triggers[.cancel], row.refusal == nil, row.wasSent || row.wasAccepted else { return false }
        return !isFailureFirst
    }

    private static let otherwise = AdvanceRule("nothing was started", .idle, because: []) { _ in true }

    /// The advance table. First match wins; the order is the argument.
    public static let advanceTable: [AdvanceRule] = [
        AdvanceRule("the process is gone", .gone, because: [.event(.guestShutdown), .event(.processEnded)]) {
            $0.events.has(.processEnded)
        },
        AdvanceRule(
            "QEMU refused to begin", .ended(.failed), because: [.trigger(.migrate), .trigger(.listen)]
        ) {
            // A refused `migrate-incoming` can be repeated, or is itself the repetition of one that listens.
            $0.isRefused
        },
        AdvanceRule(
            "the command never reached QEMU", .ended(.failed), because: [.trigger(.migrate), .event(.neverBegun)]
        ) {
            $0.events.has(.neverBegun)
        },
        AdvanceRule(
            "QEMU says completed", .completed,
            because: [.trigger(.migrate), .trigger(.cancel), .event(.completed), .trigger(.run), .event(.ran)]
        ) {
            $0.events.has(.completed)
        },
        AdvanceRule(
            "QEMU says cancelled, or an error followed a cancel", .ended(.cancelled),
            because: [.trigger(.cancel), .event(.cancelling), .event(.failing), .event(.failed), .event(.cancelled)]
        ) { ($0.events.has(.cancelled) && !$0.isFailureFirst) || ($0.events.has(.failed) && $0.isCancelFirst) },
        AdvanceRule(
            "QEMU says failed, or cancelled after an error", .ended(.failed),
            because: [.event(.failing), .event(.failed), .event(.cancelled), .trigger(.cancel)]
        ) { $0.events.has(.failed) || $0.events.has(.cancelled) },
        AdvanceRule(
            "the end was not seen, another attempt took the place of this one", .ended(.failed),
            because: [.trigger(.migrate), .event(.anotherAttempt)]
        ) { $0.events.has(.anotherAttempt) },
        AdvanceRule(
            "QEMU cleans up", [.stopping], because: [.event(.failing), .event(.cancelling), .trigger(.cancel)],
            when: { $0.events.has(.failing) || $0.events.has(.cancelling) },
            stage: { evidence in
                let isCancel = evidence.events.has(.cancelling) || evidence.isCancelLikely
                return .stopping(isCancel && !evidence.isFailureFirst ? .cancelled : .failed)
            }),
        AdvanceRule(
            "post-copy", [.postcopyDevice, .postcopyActive, .postcopyPaused, .postcopyRecovering],
            because: [
                .event(.postcopyDevice), .event(.postcopyActive), .event(.postcopyPaused),
                .event(.postcopyRecoverSetup), .event(.postcopyRecover),
            ],
            when: { $0.postcopy.stage(on: $0.side) != nil },
            stage: { $0.postcopy.stage(on: $0.side) ?? .copying }),
        AdvanceRule(
            "a cancel was sent", .stopping(.cancelled), because: [.trigger(.cancel)]
        ) { evidence in
            guard evidence.isUnderWay, let cancel = evidence.triggers[.cancel], cancel.wasSent else { return false }
            return cancel.refusal == nil
        },
        AdvanceRule("checkpoints follow one another", .copying, because: [.event(.colo)]) { $0.events.has(.colo) },
        AdvanceRule("device state is being sent", .switchover, because: [.event(.stopped), .event(.device)]) {
            $0.events.has(.device)
        },
        AdvanceRule(
            "the guest is held before the switchover", .held, because: [.event(.stopped), .event(.preSwitchover)]
        ) {
            $0.events.has(.preSwitchover)
        },
        AdvanceRule("memory is being copied", .copying, because: [.trigger(.migrate), .event(.active)]) {
            $0.events.has(.active)
        },
        AdvanceRule("the guest must release a device", .waiting, because: [.event(.waitUnplug)]) {
            $0.events.has(.waitUnplug)
        },
        AdvanceRule("QEMU does what nobody here knows", .copying, because: [.event(.unknownStatus)]) {
            $0.events.has(.unknownStatus)
        },
        AdvanceRule(
            "the attempt was opened", .starting, because: [.trigger(.migrate), .trigger(.listen), .event(.setup)]
        ) { $0.isUnderWay },
    ]

    private func reasons(_ because: [Basis]) -> [Reason] {
        because.compactMap { basis -> Reason? in
            switch basis {
            case .trigger(let kind):
                guard let row = triggers[kind] else { return nil }
                return Reason(sequence: row.sentSequence ?? row.firstSequence, side: side, what: describe(row))
            case .event(let kind):
                guard let row = events[kind] else { return nil }
                return Reason(sequence: row.firstSequence, side: side, what: describe(row))
            }
        }.sorted { $0.sequence < $1.sequence }
    }

    private func describe(_ row: TriggerRow) -> String {
        let outcome: String =
            switch row.state {
            case .requested: " requested"
            case .sent: " sent"
            case .accepted: " accepted"
            case .refused(let text): " refused: \(text)"
            case .unanswered: " unanswered"
            }
        var text = row.kind.rawValue + (row.origin == .external && !row.wasSent ? " by somebody else" : outcome)
        if row.kind == .cancel, row.wasSent {
            if events.has(.completed) {
                text += ", too late"
            } else if !isCancelFirst {
                text += ", after the error"
            }
        }
        return text
    }

    private func describe(_ row: EventRow) -> String {
        var text = row.kind.rawValue
        switch row.kind {
        case .failed:
            if let errorDescription { text += ": \(errorDescription)" }
            if isCancelFirst { text += " (a consequence of the cancel)" }
        case .unknownStatus, .processEnded, .guestFault, .guestShutdown, .hostShutdown, .timeout:
            if let payload = row.payload { text += ": \(payload)" }
        default: break
        }
        return text
    }
}
