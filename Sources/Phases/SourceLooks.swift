import Migration

/// What the source looks at without being told, and what it shows.
extension SourceMachine {
    /// Time for a look, where events could have been missed.
    public mutating func tick() -> [Effect] {
        guard evidence.monitor == .connected else { return [] }
        let look = lookAtDisks()
        guard isWatching else { return look }
        guard core.poll() else { return look + silent() }
        var effects = look + [core.send(.queryMigrate)]
        if case .copying = evidence.stage, evidence.events.has(.stopped), !evidence.isHoldOurs {
            // Stopped, and not by the switchover as it seems: somebody may have paused the guest.
            effects.append(core.send(.queryStatus))
        }
        return effects
    }

    mutating func noteInterference() {
        // Once the switchover began, a stopped guest tells nothing of what anybody wanted.
        guard !evidence.isHoldOurs, evidence.wasRunning == true, case .copying = evidence.stage else {
            return
        }
        wasPausedOnTheWay =
            (evidence.runState == .paused || isDiskErrorFatal) && evidence.isRunning == false
    }

    /// The step that ending the left-over QEMU belongs to.
    var endingStep: Step { options.protocolVersion == .v2 ? .perform : .confirm }

    var statistics: CookieStatistics {
        CookieStatistics(
            totalMilliseconds: evidence.sample?.totalMilliseconds,
            downtimeMilliseconds: evidence.sample?.downtimeMilliseconds,
            transferredBytes: evidence.sample?.transferredBytes)
    }
}

extension Stage {
    /// Whether nothing more follows on this side.
    var isOver: Bool {
        switch self {
        case .completed, .ended, .gone: true
        default: false
        }
    }
}
