public import Migration

/// What a guest that QEMU holds before the switchover waits for, beside us.
enum SwitchoverGate: Hashable {
    /// It has not come there.
    case closed
    /// The hook program runs.
    case hook
    /// Somebody is to say `continue`.
    case waiting
    /// Nothing, or nothing any more.
    case open
}

/// What somebody may ask of a migration that runs, beside stopping it.
extension SourceMachine {
    // MARK: Before the switchover

    /// What comes before QEMU is told to go on; `nil` if nothing does.
    mutating func waitAtGate() -> [Effect]? {
        switch gate {
        case .open: return nil
        case .hook, .waiting: return []
        case .closed:
            guard !options.hasHook else {
                gate = .hook
                return [.hook(.preSwitchover)]
            }
            return waitForWord()
        }
    }

    private mutating func waitForWord() -> [Effect] {
        gate = .waiting
        return [.arm(.hold, milliseconds: options.deadlines[.hold])]
    }

    /// The hook program has ended.
    public mutating func hooked(_ failure: String?, sequence: Int) -> [Effect] {
        guard gate == .hook else { return [] }
        gate = .open
        if let failure {
            guard case .migrating = state, !stopping.isWanted else { return [] }
            core.evidence.note(givenUp: sequence)
            return abort("the hook before the switchover failed: \(failure)")
        }
        return options.isHeld ? waitForWord() : progress()
    }

    /// Lets a guest go that is held before the switchover.
    public mutating func continueSwitchover() -> [Effect] {
        guard case .migrating = state, case .held = evidence.stage, !stopping.isWanted else {
            let why = evidence.allowed(TriggerKind.continueSwitchover).refusal
            return [.refused(.continue, why ?? "the migration is being stopped")]
        }
        guard gate != .hook else { return [.refused(.continue, "the hook before the switchover has not ended yet")] }
        let disarm: [Effect] = gate == .waiting ? [.disarm(.hold)] : []
        gate = .open
        isContinued = false
        return disarm + progress()
    }

    // MARK: Parameters in flight

    /// Changes parameters of the migration that runs; they are put back with the others.
    public mutating func change(_ settings: [Setting]) -> [Effect] {
        if let why = changeRefusal(settings) { return [.refused(.set, why)] }
        core.note(changed: settings)
        return [core.send(.setParameters(settings))]
    }

    /// The parameters that this attempt has set, with their last values.
    public var parameters: [Setting] { core.changedParameters }

    private func changeRefusal(_ settings: [Setting]) -> String? {
        switch state {
        case .migrating: break
        case .performed, .interrupted:
            guard isWatching else { return "no memory is being copied any more" }
        case .idle, .beginning, .begun, .configuring, .copyingDisks: return "the migration is still being started"
        case .recovering: return "a recovery is being started"
        case .cleaning, .unperformed, .ending, .resuming, .done: return "no memory is being copied any more"
        }
        guard !settings.isEmpty else { return "nothing to be set" }
        for setting in settings {
            guard SettingScope.isTakenInFlight(setting.name) else {
                return "\(setting.name) has no effect on a migration that runs"
            }
            if let why = core.lacking(setting) { return why }
        }
        return nil
    }
}
