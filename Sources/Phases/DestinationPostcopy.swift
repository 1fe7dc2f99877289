public import Migration

/// Post-copy on the destination: the guest runs here before all of its memory does, and what interrupts that can be
/// recovered from.
extension DestinationMachine {
    /// How far a recovery got.
    enum Recovering: Hashable {
        /// QEMU is asked whether the post-copy is interrupted at all.
        case asking
        /// `migrate-recover` was sent.
        case listening(uri: String)
        /// The port that QEMU chose is asked for.
        case addressing(uri: String)
        /// Prepare was answered.
        case prepared
    }

    /// Whether what QEMU does has to be looked at, as no step would notice.
    var isWatching: Bool {
        switch state {
        case .arriving, .following, .interrupted, .recovering(.prepared, _): true
        case .prepared: options.isPostcopyPossible
        default: false
        }
    }

    /// Whether Finish, if it comes, is one of a recovery or of a post-copy that ended by itself.
    var isInterrupted: Bool {
        switch state {
        case .interrupted, .recovering(.prepared, _): true
        default: false
        }
    }

    /// A QEMU that keeps its connection and says nothing is no better than a lost one.
    mutating func silent() -> [Effect] {
        guard case .following = state, core.fallsSilent() else { return [] }
        return [.arm(.destinationMonitor, milliseconds: options.deadlines[.destinationMonitor])]
    }

    /// The guest was seen running, or stays paused as it should: Finish is accepted, its answer comes with the rest of
    /// the memory.
    mutating func follow(_ cookie: Cookie) -> [Effect] {
        state = .following(cookie)
        return [.disarm(.run), .disarm(.runPoll), .accepted(.finish)] + progressInPostcopy()
    }

    mutating func progressInPostcopy() -> [Effect] {
        switch (state, evidence.stage) {
        case (.following(let cookie), .completed): return arrived(cookie)
        case (.prepared, .postcopy(.paused)): return interrupt()
        case (.following, .postcopy(.paused)): return isReconnecting ? [] : interrupt()
        case (.following, .postcopy):
            if evidence.postcopy != .reconnecting { isReconnecting = false }
            return []
        case (.following, .ended):
            // QEMU gave up, and what had not arrived is nowhere else that it could come from.
            state = .done
            return [.disarm(.destinationMonitor)] + core.finishJob() + [
                .answer(.finish, .failed(StepError(.gone, "the destination's QEMU gave the post-copy up" + text)))
            ]
        case (.interrupted(let cookie), .completed): return completeUnattended(cookie)
        default: return []
        }
    }

    private var text: String { evidence.errorDescription.map { ": \($0)" } ?? "" }

    /// Post-copy is broken, or its recovery is: nothing is decided, the job is kept with nobody inside. An open step is
    /// answered so.
    mutating func interrupt(because why: String = "the post-copy was interrupted") -> [Effect] {
        let error = StepResult.failed(StepError(.interrupted, why))
        var answer: [Effect] = []
        let kept: Cookie
        switch state {
        case .prepared(let cookie): kept = cookie
        case .recovering(.prepared, let cookie): kept = cookie
        case .recovering(_, let cookie):
            kept = cookie
            answer = [.answer(.prepare, error)]
        case .arriving(let cookie), .following(let cookie):
            kept = cookie
            answer = [.answer(.finish, error)]
        default: return []
        }
        state = .interrupted(kept)
        isReconnecting = false
        return [.disarm(.prepare), .disarm(.arrival), .disarm(.destinationMonitor)] + core.failPostcopy() + answer
    }

    /// Post-copy came to its end with nobody inside: what Finish would do is done all the same.
    private mutating func completeUnattended(_ cookie: Cookie) -> [Effect] {
        guard isRunRecorded, evidence.monitor == .connected, core.job.isDisowned,
            case .success(let phase) = core.enter(.finishResume, owner: "completion")
        else { return [] }
        state = .running(cookie)
        return [phase, core.send(.queryStatus), .arm(.run, milliseconds: options.deadlines[.run])]
    }

    /// Somebody wants post-copy interrupted. Out of band: the loading thread may hold the lock that in-band commands
    /// wait for.
    public mutating func pausePostcopy(origin: Origin, sequence: Int, at time: Instant) -> [Effect] {
        switch evidence.postcopy {
        case .active, .recovering:
            core.evidence.note(request: .pausePostcopy, origin: origin, sequence: sequence, at: time)
            return [core.send(.migratePause, outOfBand: core.survey?.features.hasOutOfBand ?? false)]
        // Nobody came to the new address: the recovery is given up.
        case .paused, .reconnecting:
            return isReconnecting ? interrupt(because: "nobody connected for the recovery") : []
        case .off, .requested, .device: return []
        }
    }

    /// The recovery does not come about.
    public mutating func release() -> [Effect] {
        guard case .recovering = state else { return [] }
        return interrupt()
    }

    // MARK: Recovery

    /// Prepare of a recovery: listen on a new address.
    mutating func prepareResume(_ cookie: Cookie) -> [Effect] {
        guard evidence.monitor == .connected else {
            return [.answer(.prepare, .failed(StepError(.failed, "the destination's monitor is lost")))]
        }
        if let error = core.refusal(ofResumeBy: .prepare, owner: "prepare", options) {
            return [.answer(.prepare, .failed(error))]
        }
        switch core.enter(.prepareResume, owner: "prepare") {
        case .failure(let error): return [.answer(.prepare, .failed(StepError(.refused, error.description)))]
        case .success(let phase):
            let wait: [Effect] = [phase, .arm(.prepare, milliseconds: options.deadlines[.prepare])]
            // With its memory cut off QEMU's main loop may stand still in a page that does not come: then only out-of-band commands are
            // heard until the recovery, and what was seen of it must do. QEMU itself refuses to listen where nothing is interrupted.
            if evidence.stage == .postcopy(.paused), core.survey?.features.hasOutOfBand ?? false {
                return wait + listenAgain(cookie)
            }
            state = .recovering(.asking, cookie)
            return wait + [core.send(.queryMigrate)]
        }
    }

    private mutating func listenAgain(_ cookie: Cookie) -> [Effect] {
        recoveries += 1
        let uri = recoveryAddress
        state = .recovering(.listening(uri: uri), cookie)
        return [core.send(.migrateRecover(uri: uri), outOfBand: core.survey?.features.hasOutOfBand ?? false)]
    }

    /// Where QEMU listens for a recovery: a file of its own for each, as the one before may still be there; a port is
    /// free again or chosen anew.
    private var recoveryAddress: String {
        if let recoveryURI { return recoveryURI }
        return options.uri.hasPrefix("unix:") ? "\(options.uri).\(recoveries)" : options.uri
    }

    mutating func recovered(
        _ command: Command, _ reply: Reply, _ recovering: Recovering, _ cookie: Cookie
    ) -> [Effect] {
        switch recovering {
        case .asking:
            guard command == .queryMigrate else { return [] }
            guard case .migration(let sample) = reply else {
                return interrupt(because: "query-migrate on the destination: \(reply.problem ?? "no sample")")
            }
            guard sample.status == .postcopyPaused else {
                return interrupt(
                    because: "the destination's QEMU reports that the migration is still running "
                        + "(status \(sample.status?.rawValue ?? "none"))")
            }
            return listenAgain(cookie)
        case .listening(let uri):
            guard command.trigger == .recover else { return [] }
            if let text = reply.problem {
                return interrupt(because: "the destination cannot listen on \(uri) for a recovery: \(text)")
            }
            // Only a port that QEMU chose has to be asked for.
            let wanted = recoveryURI ?? options.connectURI ?? uri
            if let address = realAddress(wanted, MigrationSample(status: nil)) { return prepared(address, cookie) }
            state = .recovering(.addressing(uri: uri), cookie)
            return [core.send(.queryMigrate)]
        case .addressing(let uri):
            guard command == .queryMigrate, case .migration(let sample) = reply else { return [] }
            guard let address = realAddress(recoveryURI ?? options.connectURI ?? uri, sample) else {
                return interrupt(because: "the destination does not say on which port of \(uri) it listens")
            }
            return prepared(address, cookie)
        case .prepared: return []
        }
    }

    private mutating func prepared(_ address: String, _ cookie: Cookie) -> [Effect] {
        var answer = cookie
        answer.uri = address
        core.continueJob()
        isReconnecting = true
        state = .recovering(.prepared, answer)
        return [.disarm(.prepare), .answer(.prepare, .done(answer))]
    }

    /// Finish of a recovery, or of a post-copy that ended by itself: the guest runs already, or is run now, and its
    /// memory comes.
    mutating func finishResume(_ cookie: Cookie) -> [Effect] {
        var kept = Cookie(attempt: options.attempt)
        switch state {
        case .recovering(.prepared, let earlier): kept = earlier
        case .interrupted(let earlier) where evidence.stage == .completed: kept = earlier
        default:
            return [.answer(.finish, .failed(StepError(.interrupted, "the post-copy is interrupted here")))]
        }
        if let error = core.refusal(ofResumeBy: .finish, owner: "finish", options) {
            return [.answer(.finish, .failed(error))]
        }
        switch core.enter(.finishResume, owner: "finish") {
        case .failure(let error): return [.answer(.finish, .failed(StepError(.refused, error.description)))]
        case .success(let phase):
            var cookie = cookie.carrying(kept)
            cookie.isRunIntended = cookie.isRunIntended ?? kept.isRunIntended
            guard mayHaveRun else {
                state = .arriving(cookie)
                return [phase] + progress()
            }
            return [phase] + follow(cookie)
        }
    }
}
