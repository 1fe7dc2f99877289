import Migration

/// What the commands do to a pair of QEMUs. A command is carried out at the moment it is sent; what is late is its reply and its events.
extension AbstractPair {
    private func refused(_ text: String) -> Reply { .refused(errorClass: "GenericError", description: text) }

    /// A command arrives at a living QEMU.
    ///
    /// - Returns: What is said because of it, its reply included unless it has to wait for the big lock.
    mutating func receive(_ command: Command, on side: Side, outOfBand: Bool) -> [Saying] {
        var sayings: [Saying] = []
        guard self[side].isAlive else { return sayings }
        if side == .source, source.work == .writing, !outOfBand {
            source.blocked.append(command)
            return sayings
        }
        let reply = carryOut(command, on: side, &sayings)
        sayings.append(Saying(side: side, fact: .reply(command, reply)))
        if command == .quit {
            self[side].life = .exiting
            sayings.append(Saying(side: side, fact: .event(.shutdown(byGuest: false, reason: "host-qmp-quit"))))
        }
        return sayings
    }

    mutating func carryOut(_ command: Command, on side: Side, _ sayings: inout [Saying]) -> Reply {
        switch command {
        case .queryStatus: return .status(self[side].runState)
        case .queryMigrate:
            var sample = MigrationSample(status: self[side].word)
            if self[side].word == .failed || self[side].word == .failing { sample.errorDescription = "error" }
            if side == .destination, destination.isListening { sample.listeningURIs = ["tcp:127.0.0.1:49152"] }
            return .migration(sample)
        case .queryCapabilities: return .capabilities(self[side].capabilities)
        case .queryParameters: return .parameters([])
        case .queryYank: return .yankInstances(migration: self[side].hasResources)
        case .setCapabilities(let changes):
            if self[side].isUnderWay, side == .source { return refused("There's a migration process in progress") }
            self[side].set(changes)
        case .yank:
            guard self[side].hasResources else { return refused("no such instance") }
            isCut = isCut || isConnected || side == .source
        case .quit, .setParameters, .storage, .other: break
        default: return side == .source ? carryOutOnSource(command, &sayings) : carryOutOnDestination(command, &sayings)
        }
        return .done
    }

    private mutating func tell(_ side: Side, _ word: StatusWord, _ sayings: inout [Saying]) {
        self[side].word = word
        if self[side].isOn("events") { sayings.append(Saying(side: side, fact: .event(.migration(word)))) }
    }

    private mutating func carryOutOnSource(_ command: Command, _ sayings: inout [Saying]) -> Reply {
        switch command {
        case .migrate(_, resume: false):
            guard !source.isUnderWay else { return refused("There's a migration process in progress") }
            guard source.runState != .postMigrate else {
                return refused("Can't migrate the vm that was paused due to previous migration")
            }
            source.hasResources = true
            tell(.source, .setup, &sayings)
        case .migrate(_, resume: true):
            guard source.word == .postcopyPaused else {
                return refused("Cannot resume if there is no paused migration")
            }
            if profile.hasRecoverSetup {
                tell(.source, .postcopyRecoverSetup, &sayings)
            } else {
                source.isListeningAgain = true
            }
        case .migrateContinue(let state):
            guard source.word?.rawValue == state else { return refused("Migration not in expected state") }
            guard source.word == .preSwitchover else { break }
            source.work = .writing
            let isOldPostcopy = source.isPostcopyWanted && profile.allows(.source, .preSwitchover, .postcopyActive)
            tell(.source, isOldPostcopy ? .postcopyActive : .device, &sayings)
        case .migrateCancel: return cancel(&sayings)
        case .startPostcopy:
            guard source.isOn(Self.postcopy) else { return refused("Enable postcopy before the start of migration") }
            guard source.isUnderWay else { return refused("Postcopy must be started after migration has been started") }
            if source.work == .none || source.work == .copying { source.isPostcopyWanted = true }
        case .migratePause: return pause(.source)
        case .cont:
            switch source.runState {
            case .finishMigrate: return refused("Migration is not finalized yet")
            case .paused, .postMigrate, .prelaunch:
                source.runState = .running
                sayings.append(Saying(side: .source, fact: .event(.resume)))
            default: break
            }
        case .stop:
            guard source.runState == .running else { break }
            source.runState = .paused
            sayings.append(Saying(side: .source, fact: .event(.stop)))
        default: break
        }
        return .done
    }

    private mutating func cancel(_ sayings: inout [Saying]) -> Reply {
        guard let word = source.word, !word.isTerminal, word != .cancelling else { return .done }
        if source.isInPostcopy || word == .postcopyDevice {
            if profile.refusesCancelInPostcopy {
                return refused("Postcopy migration in progress, cannot cancel.")
            }
            wasDestroyed = true
        }
        isCut = isCut || isConnected
        source.work = source.work == .freeing ? .freeing : .unwinding
        tell(.source, .cancelling, &sayings)
        return .done
    }

    private mutating func pause(_ side: Side) -> Reply {
        let word = self[side].word
        guard word == .postcopyActive || (word == .postcopyRecover && profile.recoversFromRecover) else {
            return refused("migrate-pause is currently only supported during postcopy")
        }
        isCut = true
        return .done
    }

    private mutating func carryOutOnDestination(_ command: Command, _ sayings: inout [Saying]) -> Reply {
        switch command {
        case .migrateIncoming(_, let exitOnError):
            guard !destination.isListening else { return refused("The incoming migration has already been started") }
            destination.isListening = true
            destination.hasResources = true
            destination.staysOnError = exitOnError == false
            if profile.hasDestinationSetup {
                tell(.destination, .setup, &sayings)
            } else {
                sayings.append(Saying(side: .destination, fact: .event(.migration(.setup))))
            }
        case .migrateRecover:
            guard destination.word == .postcopyPaused else {
                return refused("Migrate recover can only be run when postcopy is paused.")
            }
            destination.isListeningAgain = true
        case .migratePause: return pause(.destination)
        case .stop:
            switch destination.runState {
            case .inMigrate: destination.startsByItself = false
            case .running:
                destination.runState = .paused
                sayings.append(Saying(side: .destination, fact: .event(.stop)))
            default: break
            }
        case .cont:
            switch destination.runState {
            // It only marks that the guest is to be run once it is there, and answers the same `{}`.
            case .inMigrate: destination.startsByItself = true
            case .paused:
                guard !isRunRefused else { return refused("Failed to get \"write\" lock") }
                destination.runState = .running
                didDestinationRun = true
                sayings.append(Saying(side: .destination, fact: .event(.resume)))
            default: break
            }
        default: break
        }
        return .done
    }
}
