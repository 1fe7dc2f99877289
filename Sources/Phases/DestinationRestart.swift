import Migration

/// The destination after a restart: what the ledger kept becomes the machine again, and the recovery table says how it
/// goes on.
extension DestinationMachine {
    /// Takes the job and the evidence over from a ledger. Nothing is decided yet.
    mutating func takeOver(_ ledger: Ledger, sequence: Int, at time: Instant) {
        if ledger.phase != .none { core.job = JobMachine(side: .destination, restoring: ledger.phase) }
        core.wasInPostcopy = ledger.phase >= .postcopyFailed
        if options.storage != nil, ledger.calls[.prepare] != nil { exports = .open }
        guard ledger.intents.contains(.listen) else { return }
        hasListened = true
        recoveries = ledger.recoveries
        core.lease.receive(ledger.lease ?? ledger.calls[.prepare]?.lease, isFresh: false)
        core.evidence.note(
            sent: .migrateIncoming(uri: StreamAddress(options.uri), exitOnError: nil), origin: .controller,
            sequence: sequence,
            at: time)
        isRunRecorded = ledger.isRun(options.attempt) && !ledger.isRunTakenBack
        // The record was written before the command: it may have left.
        if isRunRecorded, ledger.calls[.finish]?.isRunIntended ?? true {
            core.evidence.note(sent: .cont, origin: .controller, sequence: sequence, at: time)
        }
    }

    /// Goes on as the recovery table says.
    mutating func takeUp(_ row: RecoveryRow, _ ledger: Ledger) -> [Effect] {
        let prepared = ledger.preparedCookie ?? Cookie(attempt: options.attempt)
        let finish = (ledger.calls[.finish] ?? prepared).carrying(prepared)
        switch row.decision {
        case .forget, .nothing:
            let restore = hasListened ? [] : undoing().map { core.send($0) }
            state = .idle
            core.forget()
            return restore + core.finishJob()
        case .gone:
            switch core.job.phase {
            case .finish2, .finish3: state = .arriving(finish)
            default: state = .done
            }
            return state == .done ? core.finishJob() : processEnded()
        case .refuse: return abandon()
        case .listen:
            core.job.setNets()
            state = .prepared(prepared)
            return progress()
        case .arrive:
            own()
            state = .arriving(finish)
            let next = progress()
            guard case .arriving = state else { return next }
            return [.arm(.arrival, milliseconds: options.deadlines[.arrival])] + next
        case .run:
            own()
            state = .running(finish)
            let isIntended = finish.isRunIntended ?? true
            let again: [Effect] = isIntended && evidence.isRunning != true ? [core.send(.cont)] : []
            return closeExports() + again + [
                core.send(.queryStatus), .arm(.run, milliseconds: options.deadlines[.run]),
            ]
        case .unattended, .complete, .awaitRecovery:
            // Between the steps of a recovery nothing goes on: it is as it was before, or QEMU ends it by itself.
            state = .interrupted(finish)
            return core.failPostcopy() + progress()
        case .tidy, .adopt, .surrender, .wait, .resume, .end:
            // No decision of a destination's.
            state = .prepared(prepared)
            return []
        }
    }

    /// Somebody is inside Finish again.
    private mutating func own() { _ = core.enter(core.job.phase, owner: "finish") }
}
