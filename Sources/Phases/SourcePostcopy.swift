public import Migration

/// Post-copy on the source: the guest goes before its memory, and from then on neither side has all of it.
extension SourceMachine {
    /// How far it is proven that the guest may run on the destination.
    enum HandOver: Hashable {
        /// QEMU is not in post-copy.
        case none
        /// QEMU is; the destination's word is awaited.
        case awaited
        /// The destination has said that it is; the source has still to say so once more.
        case due
        /// The question was sent, behind so many others of its kind.
        case asking(behind: Int)
        /// Proven: this side will not run the guest again by itself.
        case proven
    }

    var postcopyParameters: [Setting] {
        options.postcopy?.bytesPerSecond.map { [Setting("max-postcopy-bandwidth", .integer($0))] } ?? []
    }

    /// Whether QEMU was seen in post-copy, over for good or not.
    var hasSeenPostcopy: Bool { core.hasSeenPostcopy || options.isPostcopyResume }

    /// Whether the guest is beyond this side's reach, and not arrived for certain.
    var isAway: Bool { isSurrendered && hasSeenPostcopy && evidence.stage != .completed }

    /// Whether what QEMU does has to be looked at, as no step would notice.
    var isWatching: Bool {
        switch state {
        case .migrating: true
        case .performed, .interrupted: hasSeenPostcopy
        default: false
        }
    }

    /// Whether QEMU is in post-copy, where it refuses every cancel.
    var isPastCancel: Bool {
        if case .postcopy(let stage) = evidence.stage { stage != .device } else { false }
    }

    // MARK: On the way in

    /// Somebody wants the guest to go before its memory.
    public mutating func startPostcopy(origin: Origin, sequence: Int, at time: Instant) -> [Effect] {
        if let why = postcopyRefusal { return [.refused(.postcopy, why)] }
        core.evidence.note(request: .startPostcopy, origin: origin, sequence: sequence, at: time)
        isPostcopyWanted = true
        return postcopyIfDue()
    }

    private var postcopyRefusal: String? {
        guard options.isPostcopyPossible else {
            return "post-copy was not allowed when the migration was started, so that QEMU was not prepared for it"
        }
        guard !stopping.isWanted else { return "the migration is being stopped" }
        return switch (state, evidence.stage) {
        case (_, .postcopy): evidence.allowed(TriggerKind.startPostcopy).refusal
        // It is started as soon as it can be.
        case (.begun, _), (.configuring, _), (.copyingDisks, _), (.migrating, .starting), (.migrating, .waiting),
            (.migrating, .copying):
            nil
        case (.migrating, _): evidence.allowed(TriggerKind.startPostcopy).refusal
        default: "no memory is being copied"
        }
    }

    /// Starts post-copy once memory is being copied: QEMU takes the command earlier too, but a destination that has not
    /// begun to load fails.
    mutating func postcopyIfDue() -> [Effect] {
        guard case .migrating = state, case .copying = evidence.stage, !stopping.isWanted else { return [] }
        // A pass is over when the next one begins.
        let passes = evidence.events[.pass].map { $0.count - 1 } ?? 0
        let isDue = options.isPostcopyPossible && options.postcopy?.afterPasses.map { passes >= $0 } ?? false
        guard isPostcopyWanted || isDue && !evidence.triggers.wasSent(.startPostcopy) else { return [] }
        isPostcopyWanted = false
        return [core.send(.startPostcopy)]
    }

    /// QEMU is in post-copy and Perform is not answered.
    mutating func progress(inPostcopy stage: PostcopyStage) -> [Effect] {
        if stage == .paused {
            guard !isReconnecting else { return [] }
            return interrupt(because: "the post-copy was interrupted before the destination was told to run the guest")
        }
        isReconnecting = false
        guard stage == .active || stage == .device else { return [] }
        var effects: [Effect] = []
        if handOver == .none {
            handOver = .awaited
            effects = [
                .disarm(.start), .disarm(.switchover), .disarm(.cancel), .disarm(.yank),
                .arm(.handOver, milliseconds: options.deadlines[.handOver]),
            ]
        }
        return effects + prove()
    }

    /// The destination says that it is in post-copy, or has everything.
    public mutating func allowHandOver() -> [Effect] {
        guard case .migrating = state, handOver == .none || handOver == .awaited else { return [] }
        guard case .postcopy = evidence.stage else { return [] }
        handOver = .due
        return prove()
    }

    /// Proves that QEMU will not resume the guest by itself any more. Up to 10.1 it says `postcopy-active` before it
    /// has sent the device state, and may still fail and go on with the guest; while it sends, it answers nothing, so
    /// an answer that says the same again comes after that.
    private mutating func prove() -> [Effect] {
        guard handOver == .due, evidence.stage == .postcopy(.active) else { return [] }
        if core.survey?.features.hasPostcopyDevice ?? false { return surrender() }
        guard evidence.monitor == .connected else { return [] }
        handOver = .asking(behind: core.isPolling ? 1 : 0)
        return [core.send(.queryMigrate)]
    }

    mutating func proof(_ reply: Reply) -> [Effect] {
        guard case .asking(let behind) = handOver else { return [] }
        guard behind == 0 else {
            handOver = .asking(behind: behind - 1)
            return []
        }
        if case .migration(let sample) = reply, sample.status == .postcopyActive { return surrender() }
        handOver = .due
        return []
    }

    mutating func unproven() -> [Effect] {
        if case .asking(let behind) = handOver { handOver = behind == 0 ? .due : .asking(behind: behind - 1) }
        return []
    }

    mutating func handOverTimedOut() -> [Effect] {
        switch evidence.stage {
        case .postcopy(.device): return abort("the destination did not load the device state in time")
        case .postcopy where stopping == .none:
            // There is no way back; an interruption can at least be recovered from.
            stopping = .watched
            return [.arm(.handOver, milliseconds: options.deadlines[.handOver])] + pauseNow()
        default:
            return endPerform(
                StepError(.unproven, "the destination did not take the guest over in time (source: \(lastWord))"))
        }
    }

    // MARK: The guest is away

    /// What follows from what is seen when Perform is answered.
    mutating func progressAway() -> [Effect] {
        guard hasSeenPostcopy else { return [] }
        switch (state, evidence.stage) {
        case (.performed, .postcopy(.paused)): return isReconnecting ? [] : interrupt()
        case (.performed, .postcopy(.active)), (.performed, .postcopy(.recovering)):
            isReconnecting = false
            return []
        case (.interrupted, .completed): return completeUnattended()
        default: return []
        }
    }

    /// An event that tells more than the evidence as a whole does.
    mutating func notice(_ event: QEMUEvent) -> [Effect] {
        switch event {
        case .migration(.postcopyPaused):
            isReconnecting = false
            return []
        case .resume: return alarm()
        case .stop: return askForDisk()
        default: return []
        }
    }

    /// The guest runs here although it was given away. Whoever did that, and whatever it means: it is stopped at once.
    mutating func alarm() -> [Effect] {
        guard isSurrendered, hasSeenPostcopy else { return [] }
        switch state {
        case .performed, .interrupted, .recovering: return [core.send(.stop)]
        default: return []
        }
    }

    /// The guest runs here and on the destination.
    public func stopAtOnce() -> [Effect] { evidence.processEnd == nil ? [core.send(.stop)] : [] }

    /// Post-copy is broken, or its recovery is: nothing is decided, the job is kept with nobody inside. An open step is
    /// answered so.
    mutating func interrupt(because why: String = "the post-copy was interrupted") -> [Effect] {
        let error = StepResult.failed(StepError(.interrupted, why))
        var answer: [Effect] = []
        switch state {
        case .migrating: answer = [.answer(.perform, error)]
        case .recovering(.begun), .performed: break
        case .recovering(let recovering): answer = [.answer(recovering.isBegin ? .begin : .perform, error)]
        default: return []
        }
        state = .interrupted
        isReconnecting = false
        handOver = isSurrendered ? .proven : .none
        let waits: [Deadline] = [.begin, .start, .switchover, .cancel, .yank, .handOver, .sourceMonitor]
        return waits.map { .disarm($0) } + core.failPostcopy() + answer
    }

    /// Post-copy came to its end with nobody inside: what Confirm would do is done all the same.
    private mutating func completeUnattended() -> [Effect] {
        guard isSurrendered, core.job.isDisowned,
            case .success(let phase) = core.enter(.confirmResume, owner: "completion")
        else { return [] }
        return [phase] + end()
    }

    /// Post-copy came to its end before the guest was given away: it is now.
    mutating func performUnattended() -> [Effect] {
        guard evidence.stage == .completed, !isSurrendered,
            case .success(let phase) = core.enter(.performResume, owner: "perform")
        else {
            return [.answer(.perform, .failed(StepError(.interrupted, "Perform without Begin of a recovery")))]
        }
        return [phase] + surrender()
    }

    /// Confirm of a failure in post-copy. The guest is never continued here: its memory is elsewhere.
    mutating func confirmInterrupted() -> [Effect] {
        let error = StepError(.interrupted, "the guest left in post-copy and cannot go on here")
        switch state {
        case .performed: return interrupt() + [.answer(.confirm, .failed(error))]
        default: return [.answer(.confirm, .failed(error))]
        }
    }

    // MARK: Interrupting

    /// Somebody wants post-copy interrupted, so that it can go on over another channel.
    public mutating func pausePostcopy(origin: Origin, sequence: Int, at time: Instant) -> [Effect] {
        switch evidence.postcopy {
        case .active, .recovering:
            core.evidence.note(request: .pausePostcopy, origin: origin, sequence: sequence, at: time)
            return pauseNow()
        // A connection that does not come about has nothing that could be interrupted: the recovery is given up.
        case .paused where isReconnecting: return interrupt(because: "the recovery did not connect in time")
        case .reconnecting: return interrupt(because: "the recovery did not connect in time")
        case .paused, .off, .requested, .device:
            let why = evidence.allowed(TriggerKind.pausePostcopy).refusal
            return [.refused(.pausePostcopy, why ?? "the post-copy cannot be interrupted now")]
        }
    }

    /// Out of band: the migration's thread may hold the lock that in-band commands wait for.
    private func pauseNow() -> [Effect] {
        [core.send(.migratePause, outOfBand: core.survey?.features.hasOutOfBand ?? false)]
    }
}
