import Migration

/// The source's disks, copied before its memory and to their end while the guest stands still.
extension SourceMachine {
    // MARK: Before memory

    /// Finds the disks that are wished; says why it cannot.
    mutating func findDisks(_ survey: Survey) -> String? {
        guard let wish = options.storage else { return nil }
        do throws(StorageError) {
            mirrors = StorageMirrors(
                try survey.description.disks(wish), wish,
                encryption: options.tls?.encryption(of: .source, attempt: options.attempt), attempt: options.attempt)
            return nil
        } catch {
            return error.description
        }
    }

    /// Removes what an attempt has left behind whose program was killed; `nil` if there is nothing. A copy that goes on would
    /// keep QEMU from giving the disks away.
    mutating func removeLeftovers(before rest: [Command]) -> [Effect]? {
        let names = (core.survey?.description.blockNodes ?? []).filter(\.isLeftBehind).map(\.name)
        guard !names.isEmpty else { return nil }
        leftovers = StorageMirrors(leftBehind: names)
        state = .copyingDisks(rest)
        return say(leftovers?.cancel() ?? [])
    }

    /// Why an attempt cannot go on beside what another one has left.
    var leftoversRemain: String {
        "what an earlier attempt has left behind could not be removed: "
            + (leftovers?.leftovers ?? "QEMU did not answer")
    }

    private mutating func followLeftovers(_ left: StorageMirrors, before rest: [Command]) -> [Effect] {
        guard left.isClear else { return [] }
        guard left.leftovers == nil else { return clean(StepError(.failed, leftoversRemain)) }
        leftovers = nil
        return next(rest)
    }

    /// The disks as the destination is told of them.
    var offeredDisks: [CookieDisk] {
        (mirrors?.disks ?? []).map { CookieDisk(target: $0.disk.name, capacityBytes: $0.disk.bytes) }
    }

    /// Copies the disks before `migrate`; `nil` if there are none.
    mutating func copyDisks(before rest: [Command]) -> [Effect]? {
        guard let commands = mirrors?.start() else { return nil }
        state = .copyingDisks(rest)
        // How long that takes is up to the disks; a copy that stands still is noticed.
        return [.disarm(.start)] + say(commands)
    }

    /// What follows from what was learned about the copies.
    mutating func followDisks() -> [Effect] {
        if case .copyingDisks(let rest) = state, let leftovers { return followLeftovers(leftovers, before: rest) }
        guard let mirrors else { return [] }
        switch state {
        case .copyingDisks(let rest):
            if let why = mirrors.failure { return clean(StepError(.failed, why)) }
            guard mirrors.areReady else { return [] }
            return [.arm(.start, milliseconds: options.deadlines[.start])] + send(next: rest)
        case .migrating:
            guard let why = mirrors.failure, !stopping.isWanted else { return [] }
            core.evidence.note(givenUp: diskSequence)
            return abort(why)
        default: return []
        }
    }

    /// An attempt that is to be stopped while its disks are copied has not begun for QEMU.
    func stopsCopyingDisks() -> StepError? {
        guard case .copyingDisks = state else { return nil }
        return isCancelWanted
            ? StepError(.cancelled, "cancelled while the disks were copied")
            : StepError(.failed, abortReason ?? "stopped while the disks were copied")
    }

    // MARK: The guest stands still

    /// What of the disks comes before QEMU is told to go on; `nil` if nothing does. The stream's end would take the
    /// disks from the copies.
    mutating func waitForDisks() -> [Effect]? {
        guard let mirrors, !mirrors.areCopied else { return nil }
        if mirrors.failure != nil { return followDisks() }
        let arm: [Effect] =
            isWaitingForDisks ? [] : [.arm(.storage, milliseconds: options.deadlines[.storage])]
        isWaitingForDisks = true
        guard mirrors.areReady, !mirrors.isFinishing, let commands = self.mirrors?.finish() else { return arm }
        return say(commands) + arm
    }

    /// Whether the destination's disks are complete and nothing is connected to them any more.
    var areDisksCopied: Bool { isContinued && mirrors?.areCopied ?? false }

    /// Completed, and yet the disks were not: somebody else let QEMU go on. The guest cannot run elsewhere.
    var disksLeftBehind: String? {
        guard let mirrors, !mirrors.areCopied else { return nil }
        return mirrors.failure ?? "memory was moved before the disks were copied to their end"
    }

    /// What Confirm of a success is answered with where the source's QEMU stays.
    var kept: StepResult {
        mirrors?.leftovers.map { .failed(StepError(.failed, $0)) } ?? .done(confirmed)
    }

    // MARK: Commands

    func say(_ commands: [Command]) -> [Effect] {
        commands.map { command in
            if case .storage(.cut) = command {
                return core.send(command, outOfBand: core.survey?.features.hasOutOfBand ?? false)
            }
            return core.send(command)
        }
    }

    /// A reply about the disks.
    mutating func repliedAboutDisks(_ command: Command, _ reply: Reply) -> [Effect] {
        guard case .storage(let storage) = command else { return [] }
        return say((leftovers?.replied(storage, reply) ?? []) + (mirrors?.replied(storage, reply) ?? []))
            + followDisks()
    }

    /// A command about the disks that was not answered.
    mutating func unansweredAboutDisks(_ command: StorageCommand) -> [Effect] {
        let commands = (leftovers?.unanswered(command) ?? []) + (mirrors?.unanswered(command) ?? [])
        let effects = say(commands) + followDisks()
        guard case .cleaning(var cleaning) = state else { return effects }
        return effects + cleaned(.storage(command), .done, &cleaning)
    }

    /// A new connection to QEMU.
    mutating func disksReconnected() -> [Effect] {
        say((leftovers?.reconnected() ?? []) + (mirrors?.reconnected() ?? []))
    }

    /// Time for a look at them.
    mutating func lookAtDisks() -> [Effect] {
        switch state {
        case .copyingDisks, .migrating, .cleaning: break
        default: return []
        }
        let canCut = hasYank
        if leftovers != nil { return say(leftovers?.tick(canCut: canCut) ?? []) + followDisks() }
        return say(mirrors?.tick(canCut: canCut) ?? []) + followDisks()
    }

    // MARK: Tidying up

    /// Gives the copies up.
    mutating func giveDisksUp() -> [Effect] {
        guard mirrors != nil else { return [] }
        isWaitingForDisks = false
        return [.disarm(.storage)] + say(mirrors?.cancel() ?? [])
    }

    /// Whether nothing of the copies is left, or nothing that could be removed.
    var areDisksClear: Bool { mirrors?.isClear ?? true }

    /// Whether the destination's end would help to give copies up that are not going to be needed any more.
    var isHeldUpByDisks: Bool {
        if case .cleaning = state { mirrors?.areStuck ?? false } else { false }
    }

    /// An error with what is left behind.
    func tellingLeftovers(_ error: StepError) -> StepError {
        guard let left = mirrors?.leftovers else { return error }
        return StepError(error.kind, "\(error.description); \(left)")
    }
}
