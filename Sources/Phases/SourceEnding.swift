import Migration

/// What follows when QEMU has had its last word: tidying up after an attempt that did not succeed, and Confirm.
extension SourceMachine {
    // MARK: Tidying up

    mutating func clean(_ error: StepError) -> [Effect] {
        state = .cleaning(Cleaning(error: error))
        return [
            .disarm(.start), .disarm(.hold), .disarm(.switchover), .disarm(.cancel), .disarm(.yank),
            .disarm(.handOver), .arm(.cleanup, milliseconds: options.deadlines[.cleanup]),
        ] + giveDisksUp() + startCleaning()
    }

    mutating func startCleaning() -> [Effect] {
        guard case .cleaning(var cleaning) = state, evidence.monitor == .connected else { return [] }
        cleaning.isYankAsked = hasYank
        state = .cleaning(cleaning)
        // Before `failing` existed, `failed` did not mean that QEMU had tidied up: capabilities touched in between can
        // abort it.
        return (hasYank ? [core.send(.queryYank)] : []) + [core.send(.queryMigrate), core.send(.queryStatus)]
    }

    mutating func cleaned(_ command: Command, _ reply: Reply, _ cleaning: inout Cleaning) -> [Effect] {
        if cleaning.restoring > 0 {
            guard command.trigger == .configure else { return [] }
            cleaning.restoring -= 1
            state = .cleaning(cleaning)
            return cleaning.restoring == 0 ? finishCleaning(cleaning.error) : []
        }
        switch (command, reply) {
        case (.queryYank, .yankInstances(migration: true)):
            state = .cleaning(cleaning)
            return [.arm(.cleanupPoll, milliseconds: options.deadlines[.cleanupPoll])]
        case (.queryYank, _): cleaning.isYankAsked = false
        case (.queryMigrate, .migration(let sample)):
            if cleaning.error.kind == .failed, let text = sample.errorDescription,
                !cleaning.error.description.contains(text), evidence.events.has(.failed)
            {
                cleaning.error.description += ": \(text)"
            }
        case (.queryStatus, .status(let runState)):
            // QEMU resumes the guest by itself, a moment after or before its last word.
            if runState == .finishMigrate {
                state = .cleaning(cleaning)
                return [.arm(.cleanupPoll, milliseconds: options.deadlines[.cleanupPoll])]
            }
            cleaning.hasState = true
        default: break
        }
        guard cleaning.hasState, !cleaning.isYankAsked else {
            state = .cleaning(cleaning)
            return []
        }
        guard evidence.isCleaned else {
            // Nothing tells that QEMU has tidied up: it is given time, and then looked at once more.
            cleaning.hasState = false
            state = .cleaning(cleaning)
            return [.arm(.grace, milliseconds: options.deadlines[.grace])]
        }
        guard areDisksClear else {
            state = .cleaning(cleaning)
            return []
        }
        let commands = core.restoring()
        cleaning.restoring = commands.count
        state = .cleaning(cleaning)
        return commands.isEmpty ? finishCleaning(cleaning.error) : commands.map { core.send($0) }
    }

    /// Time enters as an observation: that QEMU had its time to tidy up, or to do what it was told.
    mutating func note(timeout deadline: Deadline, sequence: Int, at time: Instant) {
        if deadline.isGivingUp {
            switch state {
            case .configuring where evidence.triggers.wasSent(.migrate), .migrating:
                core.evidence.note(givenUp: sequence)
            default: break
            }
        } else if deadline == .grace || deadline == .cleanup {
            core.evidence.note(timeout: deadline.rawValue, sequence: sequence, at: time)
        }
    }

    mutating func finishCleaning(_ error: StepError) -> [Effect] {
        [.disarm(.cleanup), .disarm(.cleanupPoll), .disarm(.grace)]
            + finish(.perform, .failed(tellingLeftovers(error)))
    }

    mutating func endPerform(_ error: StepError) -> [Effect] {
        [.disarm(.start), .disarm(.hold), .disarm(.cancel), .disarm(.yank), .disarm(.switchover)] + [.disarm(.handOver)]
            + [.disarm(.cleanup), .disarm(.cleanupPoll), .disarm(.grace)]
            + (mirrors == nil ? [] : [.disarm(.storage)])
            + finish(.perform, .failed(evidence.processEnd == nil ? tellingLeftovers(error) : error))
    }

    var notRestored: StepError {
        StepError(.failed, "the source's capabilities and parameters were not seen to be put back")
    }

    mutating func finish(_ step: Step, _ result: StepResult) -> [Effect] {
        let waits: [Deadline] =
            step == endingStep || step == .confirm
            ? [.quit, .quitKill, .resume, .resumePoll, .cleanupPoll, .sourceMonitor] : [.sourceMonitor]
        let disarm = waits.map { Effect.disarm($0) }
        if step == .perform, case .failed = result, waitsForConfirm {
            // The call that holds the job tells the destination first, and then confirms the failure.
            state = .unperformed
            return disarm + [.answer(step, result)]
        }
        if step == .confirm, case .failed = result, core.job.phase == .confirmResume, evidence.processEnd == nil {
            state = .interrupted
            return disarm + core.failPostcopy() + [.answer(step, result)]
        }
        state = .done
        return disarm + core.finishJob() + [.answer(step, result)]
    }

    /// Whether a failed Perform leaves the job to a Confirm.
    private var waitsForConfirm: Bool {
        options.mode.isHeldThroughout && options.protocolVersion == .v3 && core.job.job != nil
            && evidence.processEnd == nil
    }

    // MARK: Confirm

    mutating func ended(_ command: Command, _ ending: Ending) -> [Effect] {
        switch (ending, command) {
        case (.statistics, .queryMigrate):
            if options.keepsSource {
                guard options.tls != nil, hasYank else { return keep() }
                state = .ending(.releasing)
                return [core.send(.queryYank)]
            }
            state = .ending(.quitting)
            return [core.send(.quit)]
        case (.keeping(let left), _) where command.trigger == .configure:
            state = .ending(.keeping(left - 1))
            return left <= 1 ? finish(endingStep, kept) : []
        default: return []
        }
    }

    /// Whether anything of the migration is left in a QEMU that is kept.
    mutating func released(_ command: Command, _ reply: Reply) -> [Effect] {
        guard command == .queryYank else { return [] }
        guard reply != .yankInstances(migration: true) else {
            return [.arm(.cleanupPoll, milliseconds: options.deadlines[.cleanupPoll])]
        }
        return keep()
    }

    private mutating func keep() -> [Effect] {
        let commands = core.restoring()
        state = .ending(.keeping(commands.count))
        return commands.isEmpty ? finish(endingStep, kept) : commands.map { core.send($0) }
    }

    var confirmed: Cookie {
        var cookie = Cookie(attempt: options.attempt)
        cookie.statistics = statistics
        return cookie
    }

    mutating func resumed(_ command: Command, _ reply: Reply, _ resuming: Resuming) -> [Effect] {
        switch (resuming, command, reply) {
        case (.asking, .queryStatus, .status(let runState)), (.checking, .queryStatus, .status(let runState)):
            if runState == .running || evidence.wasRunning == false || wasPausedOnTheWay { return restoreAfterResume() }
            // Between `completed` and `postmigrate` QEMU still refuses `cont`: the migration is not finalized yet.
            if runState == .finishMigrate { return [.arm(.resumePoll, milliseconds: options.deadlines[.resumePoll])] }
            if resuming == .checking {
                // It did as it was told and does not run yet.
                state = .resuming(.asking)
                return [.arm(.resumePoll, milliseconds: options.deadlines[.resumePoll])]
            }
            if let wait = leasesToTakeBack() { return wait }
            state = .resuming(.continuing)
            return [core.send(.cont)]
        case (.continuing, .cont, .refused(_, let text)):
            resumeRefusals += 1
            if resumeRefusals < 20 {
                state = .resuming(.asking)
                return [.arm(.resumePoll, milliseconds: options.deadlines[.resumePoll])]
            }
            return finish(.confirm, .failed(StepError(.unproven, "the source's QEMU refuses to continue: \(text)")))
        case (.continuing, .cont, _):
            state = .resuming(.checking)
            return [core.send(.queryStatus)]
        case (.restoring(let left), _, _) where command.trigger == .configure:
            state = .resuming(.restoring(left - 1))
            return left <= 1 ? finish(.confirm, .done(confirmed)) : []
        default: return []
        }
    }

    mutating func restoreAfterResume() -> [Effect] {
        // A QEMU that was not seen to end the migration may be inside of it still, and takes no other capabilities.
        let commands = evidence.stage.isOver ? core.restoring() : []
        state = .resuming(.restoring(commands.count))
        return commands.isEmpty ? finish(.confirm, .done(confirmed)) : commands.map { core.send($0) }
    }
}
