import Migration

/// The source after a restart: what the ledger kept becomes the machine again, and the recovery table says how it goes
/// on.
extension SourceMachine {
    /// Takes the job and the evidence over from a ledger. Nothing is decided yet.
    mutating func takeOver(_ ledger: Ledger, sequence: Int, at time: Instant) {
        guard ledger.phase != .none else { return }
        core.job = JobMachine(side: .source, restoring: ledger.phase)
        if let lease = ledger.lease {
            core.lease.receive(lease, isFresh: false)
        } else if case .done(let cookie)? = ledger.answers[.begin] {
            core.lease.receive(cookie.lease, isFresh: false)
        }
        core.wasInPostcopy = ledger.phase >= .postcopyFailed
        isSurrendered = ledger.isSurrendered(options.attempt)
        if let wish = options.storage, case .done(let cookie)? = ledger.answers[firstStep],
            ledger.calls[.perform] != nil
        {
            mirrors = StorageMirrors(takingOver: cookie.storage, wish, attempt: options.attempt)
        }
        wasPausedOnTheWay = ledger.wasPausedOnTheWay
        guard ledger.intents.contains(.migrate), let uri = ledger.calls[.perform]?.uri else { return }
        core.evidence.note(
            sent: .migrate(uri: StreamAddress(uri), resume: false), origin: .controller, sequence: sequence, at: time)
        if let wasRunning = ledger.wasRunning { core.evidence.note(wasRunning: wasRunning) }
        for (request, origin) in ledger.requests where request == .cancel {
            core.evidence.note(request: .cancel, origin: origin, sequence: sequence, at: time)
        }
    }

    /// Goes on as the recovery table says.
    mutating func takeUp(_ row: RecoveryRow, _ ledger: Ledger, sequence: Int, at time: Instant) -> [Effect] {
        switch row.decision {
        case .forget, .nothing:
            state = .idle
            core.forget()
            return core.finishJob()
        case .gone: return takeUpGone()
        case .tidy:
            own("perform")
            state = .migrating
            // What QEMU says of the end is told as ever; where it says nothing, or `completed`, the row has to do.
            let effects = evidence.stage == .completed ? [] : progress()
            if case .cleaning = state { return effects }
            return clean(StepError(.failed, "after a restart: \(row.sentence)"))
        case .adopt, .surrender:
            own("perform")
            state = .migrating
            return [.disarm(.sourceMonitor)] + waits() + disksReconnected() + progress()
        case .wait:
            state = .performed
            var effects: [Effect] = []
            if core.job.phase == .perform3 {
                // The record of the surrender was written and the phase was not.
                own("perform")
                if let move = try? core.job.setPhase(.perform3Done) { effects.append(.phase(move)) }
                core.continueJob()
            }
            if isSurrendered, ledger.answers[.perform] == nil {
                var cookie = Cookie(attempt: options.attempt)
                cookie.statistics = statistics
                effects.append(.answer(.perform, .done(cookie)))
            }
            return effects + progress()
        case .resume:
            own("confirm")
            state = .resuming(.asking)
            return [core.send(.queryStatus), .arm(.resume, milliseconds: options.deadlines[.resume])]
        case .end:
            own("confirm")
            state = .ending(.statistics)
            return [core.send(.queryMigrate), .arm(.quit, milliseconds: options.deadlines[.quit])]
        case .unattended, .complete, .awaitRecovery:
            // Between the steps of a recovery nothing goes on: it is as it was before, or QEMU ends it by itself.
            state = .interrupted
            handOver = isSurrendered ? .proven : .none
            let isConfirming = core.job.phase == .confirm3Cancelled
            return core.failPostcopy() + (isConfirming ? confirmInterrupted() : []) + progress()
        case .listen, .arrive, .run, .refuse:
            // No decision of a source's.
            state = .performed
            return []
        }
    }

    /// Somebody is inside the call again.
    private mutating func own(_ owner: String) {
        // The same phase again is always legal, and nobody is inside after a restart.
        _ = core.enter(core.job.phase, owner: owner)
    }

    /// The waits that the migration's stage asks for.
    private func waits() -> [Effect] {
        switch evidence.stage {
        case .starting, .waiting: [.arm(.start, milliseconds: options.deadlines[.start])]
        case .switchover: [.arm(.switchover, milliseconds: options.deadlines[.switchover])]
        default: []
        }
    }

    private mutating func takeUpGone() -> [Effect] {
        switch core.job.phase {
        case .perform2, .perform3: state = .migrating
        case .confirm3, .confirmResume: state = .ending(.killing)
        case .confirm3Cancelled: state = .resuming(.asking)
        default: state = .performed
        }
        return state == .performed ? core.finishJob() : processEnded()
    }
}

extension SideCore {
    /// What was gathered in an earlier life is asked again by the next first step.
    mutating func forget() {
        firstSample = nil
        firstRunState = nil
        originalCapabilities = nil
        originalParameters = nil
        changedCapabilities = []
        changedParameters = []
    }
}
