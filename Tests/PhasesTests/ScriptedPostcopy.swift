import Migration
import Phases

/// How a pair of QEMUs does post-copy.
struct PostcopyScript: Hashable {
    /// 10.2 and later: `postcopy-device` says that the package is loaded before anything is final.
    var hasDeviceWord = true
    /// Turns that the rest of the memory takes.
    var turns = 3
    /// The package is written and never loaded.
    var isPackageStuck = false
    /// The side that does not notice by itself that the channel broke.
    var unaware: Side?
    /// Attempts to connect for a recovery that are refused.
    var refusedConnections = 0
    /// Recoveries whose connection does not come about, and says nothing.
    var silentConnections = 0
    /// Recoveries that hang in the handshake until they are interrupted.
    var hungHandshakes = 0
    /// How often a person asks for a recovery.
    var recoveries = 0
    /// The channel breaks again after each recovery, so often.
    var breaks = 0
}

/// Post-copy of a pair of QEMUs.
extension ScriptedPair {
    func isInPostcopy(_ qemu: ScriptedQEMU) -> Bool {
        switch qemu.status {
        case .postcopyDevice, .postcopyActive, .postcopyPaused, .postcopyRecoverSetup, .postcopyRecover: true
        default: false
        }
    }

    /// Whether the guest's memory is all on the source and nobody has changed a copy of it.
    var isWholeOnSource: Bool { source.isAlive && !source.isExiting && !destination.hasRun }

    /// Whether the guest's memory is all on the destination.
    var isWholeOnDestination: Bool { !destination.isOver && destination.status == .completed }

    // MARK: Commands

    mutating func startPostcopy() -> Reply {
        guard source.isOn("postcopy-ram") else { return refused("Enable postcopy with migrate_set_capability before") }
        guard let status = source.status, !status.isTerminal else { return refused("Start migration first") }
        if status == .setup || status == .active || status == .preSwitchover { source.isPostcopyAsked = true }
        return .done
    }

    mutating func pausePostcopy(_ side: Side) -> Reply {
        guard self[side].status == .postcopyActive || self[side].status == .postcopyRecover else {
            return refused("migrate-pause is currently only supported during postcopy-active or postcopy-recover state")
        }
        if side == .source, source.status == .postcopyRecover, script.postcopy.hungHandshakes > 0 {
            script.postcopy.hungHandshakes -= 1
        }
        source.isBroken = true
        source.isReconnecting = false
        say(side, .postcopyPaused)
        return .done
    }

    mutating func listenAgain(_ uri: String) -> Reply {
        guard destination.status == .postcopyPaused else {
            return refused("Migrate recover can only be run when postcopy is paused.")
        }
        destination.recoveryAddress = uri
        if !script.postcopy.hasDeviceWord { emit(.destination, .event(.migration(.setup))) }
        return .done
    }

    mutating func resumePostcopy(_ uri: String) -> Reply {
        guard source.status == .postcopyPaused else { return refused("Cannot resume if there is no paused migration") }
        source.isReconnecting = true
        if script.postcopy.hasDeviceWord { say(.source, .postcopyRecoverSetup) }
        if uri != destination.recoveryAddress { script.postcopy.refusedConnections += 1 }
        return .done
    }

    /// `migrate-continue` in pre-switchover.
    mutating func leavePreSwitchover() {
        guard source.isPostcopyAsked, !script.postcopy.hasDeviceWord else { return say(.source, .device) }
        // Up to 9.2 the word comes before the package.
        source.isPackaging = true
        say(.source, .postcopyActive)
    }

    // MARK: The source

    mutating func sendPackage() -> Bool {
        guard isPeerReading, !source.isBroken else { return fail("Broken pipe") }
        if source.isCancelled {
            say(.source, .cancelling)
            return true
        }
        if script.postcopy.isPackageStuck || destination.isSilent { return false }
        say(.source, .postcopyDevice)
        say(.destination, .postcopyDevice)
        return true
    }

    mutating func workInPostcopy() -> Bool {
        switch source.status {
        case .postcopyDevice:
            guard isPeerReading, !source.isBroken else { return fail("Broken pipe") }
            guard destination.status == .postcopyActive else { return false }
            say(.source, .postcopyActive)
            return true
        case .postcopyActive where source.isPackaging: return sendOldPackage()
        case .postcopyActive: return sendPages()
        case .postcopyPaused, .postcopyRecoverSetup: return reconnect()
        case .postcopyRecover: return shakeHands()
        default: return false
        }
    }

    /// The package of a QEMU that said `postcopy-active` before it wrote it: an error there still goes back to the
    /// source.
    private mutating func sendOldPackage() -> Bool {
        if isPeerReading, !source.isBroken {
            if script.postcopy.isPackageStuck || destination.isSilent { return false }
            say(.destination, .postcopyActive)
            source.isPackaging = false
        } else {
            source.isPackaging = false
            _ = fail("Broken pipe")
        }
        let waiting = heldUp
        heldUp = []
        for command in waiting { carryOut(.source, command) }
        return true
    }

    private mutating func sendPages() -> Bool {
        if destination.status == .completed {
            say(.source, .completed)
            return true
        }
        let isBroken = source.isBroken || destination.isOver || destination.status == .postcopyPaused
        if isBroken {
            source.isBroken = true
            guard script.postcopy.unaware != .source || destination.isOver else { return false }
            say(.source, .postcopyPaused)
            return true
        }
        if destination.isSilent || destination.status != .postcopyActive || destination.runState == .inMigrate {
            return false
        }
        if script.postcopy.turns > 0 {
            script.postcopy.turns -= 1
            return true
        }
        guard !destination.hasEverything else { return false }
        destination.hasEverything = true
        return true
    }

    private mutating func reconnect() -> Bool {
        guard source.isReconnecting else {
            guard source.status == .postcopyRecoverSetup else { return false }
            // QEMU does not give a connection up before the network does, which is a matter of time.
            connectionTurns -= 1
            guard connectionTurns <= 0 else { return false }
            source.errorText = "Connection timed out"
            say(.source, .postcopyPaused)
            return true
        }
        if script.postcopy.silentConnections > 0, script.postcopy.refusedConnections == 0 {
            script.postcopy.silentConnections -= 1
            connectionTurns = 40
            source.isReconnecting = false
            return true
        }
        let isRefused =
            script.postcopy.refusedConnections > 0 || destination.recoveryAddress == nil || destination.isOver
        if isRefused {
            if script.postcopy.refusedConnections > 0 { script.postcopy.refusedConnections -= 1 }
            source.isReconnecting = false
            source.errorText = "Connection refused"
            say(.source, .postcopyPaused)
            return true
        }
        source.isReconnecting = false
        source.isBroken = false
        destination.recoveryAddress = nil
        say(.source, .postcopyRecover)
        say(.destination, .postcopyRecover)
        return true
    }

    private mutating func shakeHands() -> Bool {
        if source.isBroken || destination.isOver || destination.status == .postcopyPaused {
            say(.source, .postcopyPaused)
            return true
        }
        if destination.isSilent { return false }
        if script.postcopy.hungHandshakes > 0 { return false }
        say(.destination, .postcopyActive)
        say(.source, .postcopyActive)
        script.postcopy.turns = 2
        if script.postcopy.breaks > 0 {
            script.postcopy.breaks -= 1
            source.isBroken = true
        }
        return true
    }

    // MARK: The destination

    mutating func workOnPostcopyDestination() -> Bool {
        let isCut = source.isBroken || !source.isAlive
        switch destination.status {
        case .postcopyDevice:
            if isCut {
                destination.errorText = "Unable to read from socket"
                say(.destination, .failed)
                return true
            }
            if script.failsLoading {
                destination.errorText = "error while loading state"
                say(.destination, .failed)
                return true
            }
            say(.destination, .postcopyActive)
            return true
        case .postcopyActive:
            if destination.runState == .inMigrate {
                // What the package held is there; the start of the guest comes in its own turn.
                destination.runState = .paused
                if destination.startsByItself || script.runsByItself { run(.destination) }
                return true
            }
            if destination.hasEverything {
                say(.destination, .completed)
                return true
            }
            let isAlone = source.status == .postcopyPaused || source.status == .failed
            guard isCut || isAlone, script.postcopy.unaware != .destination || !source.isAlive else { return false }
            say(.destination, .postcopyPaused)
            return true
        case .postcopyRecover:
            guard isCut || source.status == .postcopyPaused else { return false }
            say(.destination, .postcopyPaused)
            return true
        default: return false
        }
    }
}
