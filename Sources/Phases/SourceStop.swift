public import Migration

/// Stopping a migration that runs: by somebody's wish, by an error elsewhere, by a deadline.
extension SourceMachine {
    /// How far stopping the migration got. Each case is a stronger means than the one before, and there is no way back.
    enum Escalation: Int, Hashable, Comparable {
        /// Nobody wants it stopped.
        case none
        /// Nobody here wants it, but QEMU stops; that too has to end.
        case watched
        /// It is wanted, and QEMU was not told yet.
        case wanted
        /// It is wanted, and QEMU stops already by somebody else's doing.
        case expected
        /// The sockets were cut while memory was copied.
        case interrupted
        /// `migrate_cancel` was given to QEMU.
        case cancelled
        /// The sockets were cut because nothing else is heard.
        case cut
        /// They were cut again.
        case cutAgain

        static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

        /// Whether this side wants the migration stopped.
        var isWanted: Bool { self >= .wanted }
        /// Whether QEMU was told, or stops, in a way that waits behind device state.
        var isUnheard: Bool { self >= .expected && self < .cut }
    }

    /// Somebody wants the attempt stopped. Where there is no way back any more that is said, and nothing is sent.
    public mutating func cancel(origin: Origin, sequence: Int, at time: Instant) -> [Effect] {
        if let why = cancelRefusal { return [.refused(.cancel, why)] }
        core.evidence.note(request: .cancel, origin: origin, sequence: sequence, at: time)
        return stop()
    }

    /// The other side cannot go on. Not a cancel: QEMU shall report an error, so that the outcome is told as one.
    ///
    /// - Parameter sequence: The record in which it was told: a cancel after that is not the cause of what follows.
    public mutating func abort(sequence: Int) -> [Effect] {
        core.evidence.note(otherSideFailed: sequence)
        return abort("the destination could not go on")
    }

    /// What the other side shows, where both are seen.
    mutating func note(destination: Evidence) { core.evidence.note(otherSide: destination) }

    private var cancelRefusal: String? {
        // What holds of every cancel is the permission table's to say.
        if case .postcopy = evidence.stage { return evidence.allowed(TriggerKind.cancel).refusal }
        guard isBeyondRecall else { return nil }
        return
            "the guest is being handed over to a destination that nobody watches and that runs it by itself: a cancel "
            + "now could leave it running twice"
    }

    /// Whether the destination may run the guest without anybody's word, so that stopping the source's migration proves
    /// nothing.
    var isBeyondRecall: Bool { options.mode == .direct && evidence.triggers.wasSent(.continueSwitchover) }

    /// Whether an error of the guest's disk has stopped the guest, and that is to end the migration.
    var isDiskErrorFatal: Bool { options.isAbortedOnError && evidence.runState == .ioError }

    /// An error of a disk came before the guest's stop: whether that is the reason is asked at once.
    func askForDisk() -> [Effect] {
        guard options.isAbortedOnError, evidence.events.has(.diskError), case .migrating = state else { return [] }
        return [core.send(.queryStatus)]
    }

    /// Ends the migration because of the guest's disk. An error, so that nothing of it looks like somebody's wish.
    mutating func abortForDisk() -> [Effect]? {
        guard isDiskErrorFatal, evidence.isRunning == false, !stopping.isWanted else { return nil }
        return abort("an error of its disk stopped the guest (io-error); --abort-on-error ends the migration then")
    }

    mutating func abort(_ why: String) -> [Effect] {
        abortReason = abortReason ?? why
        return stop()
    }

    /// Stops the guest for a deadline.
    public mutating func hold(origin: Origin, sequence: Int, at time: Instant) -> [Effect] {
        core.evidence.note(request: .hold, origin: origin, sequence: sequence, at: time)
        isHoldWanted = true
        return holdIfDue()
    }

    mutating func holdIfDue() -> [Effect] {
        guard isHoldWanted, !stopping.isWanted, case .migrating = state, case .copying = evidence.stage else {
            return []
        }
        isHoldWanted = false
        return evidence.events.has(.stopped) ? [] : [core.send(.stop)]
    }

    var isCancelWanted: Bool { evidence.triggers[.cancel] != nil }
    /// Somebody else than this code wants to cancel.
    var isCancelRequested: Bool { evidence.triggers[.cancel].map { $0.origin != .controller } ?? false }

    var hasYank: Bool { core.survey?.features.hasYank ?? false }

    mutating func stop() -> [Effect] {
        stopping = max(stopping, .wanted)
        if let error = stopsCopyingDisks() { return clean(error) }
        guard case .migrating = state, !isBeyondRecall else { return [] }
        switch evidence.stage {
        case .completed, .ended, .gone: return []
        case .postcopy(.device), .switchover: return cut()
        // In post-copy a cancel destroys the guest, and a yank would only interrupt it.
        case .postcopy: return []
        case .stopping: return watchStopping()
        // Before 10.0 QEMU goes from here into post-copy with no word between, and a cancel would destroy the guest
        // there.
        case _ where mayBeInPostcopy: return cut()
        default:
            // An abort looks like an error to QEMU, which is what it is; a cancel is QEMU's own word for somebody's
            // wish. Held before the switchover QEMU listens to nothing but a cancel.
            if !isCancelWanted, hasYank, evidence.stage != .held {
                stopping = max(stopping, .interrupted)
                return yank()
            }
            stopping = max(stopping, .cancelled)
            return [core.send(.migrateCancel), .arm(.cancel, milliseconds: options.deadlines[.cancel])]
        }
    }

    /// QEMU stops by itself, or by somebody else's wish: that too has to end.
    mutating func watchStopping() -> [Effect] {
        switch stopping {
        case .none: stopping = .watched
        case .wanted: stopping = .expected
        case .watched, .expected, .interrupted, .cancelled, .cut, .cutAgain: return []
        }
        return [.arm(.cancel, milliseconds: options.deadlines[.cancel])]
    }

    /// QEMU does not want to hear of a cancel.
    mutating func cancelRefused() -> [Effect] {
        if case .postcopy = evidence.stage { return [] }
        guard hasYank, evidence.stage == .stopping(.cancelled) || stopping.isWanted else { return [] }
        return yank()
    }

    /// Cuts the sockets, as nothing else is heard.
    mutating func cut() -> [Effect] {
        stopping = max(stopping, .cut)
        return yank()
    }

    /// Post-copy was asked for and nothing holds QEMU back from it any more, whatever it has said since.
    private var mayBeInPostcopy: Bool {
        evidence.triggers.wasSent(.startPostcopy) && evidence.triggers.wasSent(.continueSwitchover)
    }

    /// Cuts the migration's sockets out of band: the only thing QEMU still hears while it writes device state to a peer
    /// that does not read.
    func yank() -> [Effect] {
        guard hasYank else {
            let cancel = mayBeInPostcopy ? [] : [core.send(.migrateCancel)]
            return cancel + [.arm(.yank, milliseconds: options.deadlines[.yank])]
        }
        return [
            core.send(.yank, outOfBand: core.survey?.features.hasOutOfBand ?? false),
            .arm(.yank, milliseconds: options.deadlines[.yank]),
        ]
    }
}
