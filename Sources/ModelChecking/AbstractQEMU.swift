import Migration

/// One QEMU as far as a migration can tell: its words, its run state and what it owns.
struct AbstractQEMU: Hashable, Sendable {
    enum Life: Hashable { case alive, exiting, dead }

    /// How far the source is with what its word does not show.
    enum Work: Hashable {
        case none
        /// Memory is copied, or awaited.
        case copying
        /// vCPUs are stopped by the switchover.
        case stopped
        /// Device state is being written with the big lock held: in-band commands wait.
        case writing
        /// All of it is written.
        case written
        /// The word of an ending is out, the guest is not resumed yet.
        case unwinding
        /// Only resources are left to free.
        case freeing
    }

    let side: Side
    var life = Life.alive
    /// The status a query shows; `nil` for none.
    var word: StatusWord?
    var runState: RunState
    var work = Work.none
    var capabilities: [CapabilitySetting]
    /// `migrate-incoming` was accepted.
    var isListening = false
    /// `migrate-recover` was accepted.
    var isListeningAgain = false
    /// On a destination: run as soon as all is loaded. On a source: the guest ran when the switchover stopped it.
    var startsByItself = true
    /// `migrate-start-postcopy` was accepted.
    var isPostcopyWanted = false
    /// In post-copy: the device state is loaded here.
    var hasDevices = false
    /// The `migration` instance of `query-yank`.
    var hasResources = false
    /// `exit-on-error` was given as false.
    var staysOnError = false
    /// In-band commands that wait for the big lock.
    var blocked: [Command] = []

    init(_ side: Side, isGuestRunning: Bool) {
        self.side = side
        runState = side == .destination ? .inMigrate : isGuestRunning ? .running : .paused
        capabilities = ["events", "pause-before-switchover", "return-path", "late-block-activate", "postcopy-ram"]
            .map { CapabilitySetting($0, false) }
    }

    var isAlive: Bool { life == .alive }
    /// Whether vCPUs execute here.
    var isRunning: Bool { life == .alive && runState == .running }

    func isOn(_ name: String) -> Bool { capabilities.contains { $0.name == name && $0.isOn } }

    mutating func set(_ changes: [CapabilitySetting]) {
        for change in changes {
            for index in capabilities.indices where capabilities[index].name == change.name {
                capabilities[index].isOn = change.isOn
            }
        }
    }

    /// Whether QEMU calls its migration running.
    var isUnderWay: Bool {
        guard let word else { return false }
        return !word.isTerminal
    }

    var isInPostcopy: Bool {
        guard let word else { return false }
        return [.postcopyActive, .postcopyPaused, .postcopyRecoverSetup, .postcopyRecover].contains(word)
    }
}
