/// What the printed tables say of triggers.
extension TriggerKind {
    /// QEMU's commands by which it is sent.
    public var commands: [String] {
        switch self {
        case .configure: ["migrate-set-capabilities", "migrate-set-parameters"]
        case .listen: ["migrate-incoming"]
        case .migrate, .resume: ["migrate"]
        case .startPostcopy: ["migrate-start-postcopy"]
        case .continueSwitchover: ["migrate-continue"]
        case .cancel: ["migrate_cancel"]
        case .pausePostcopy: ["migrate-pause"]
        case .recover: ["migrate-recover"]
        case .yank: ["yank"]
        case .run: ["cont"]
        case .hold: ["stop"]
        case .kill: ["quit"]
        }
    }

    /// When the wait for its effect is over, in words: what ``Evidence/isPending(_:)`` goes by.
    public var clearsWhen: String {
        switch self {
        case .configure, .listen: "QEMU accepts it"
        case .migrate, .cancel: "the attempt ends"
        case .startPostcopy: "post-copy begins, or the attempt ends"
        case .continueSwitchover: "device is seen, or the attempt ends"
        case .pausePostcopy: "post-copy is paused, or the attempt ends"
        case .recover, .resume: "post-copy recovers, or the attempt ends"
        case .yank: "nothing is left to yank, or the attempt ends"
        case .run: "the guest is seen running"
        case .hold: "the guest is seen stopped"
        case .kill: "the process ends"
        }
    }
}

/// What the printed tables say of events.
extension EventKind {
    /// From where it can come.
    public var sources: [ObservationSource] {
        switch self {
        case .monitorUp, .monitorLost, .processEnded, .timeout, .channelBroken: [.process]
        case .pass, .reset, .unplugPrimary, .guestShutdown, .hostShutdown, .guestFault: [.event]
        case .yankGone, .neverBegun, .runState: [.query]
        default: [.event, .query]
        }
    }

    /// QEMU's own words that show it: events, and members of what queries return. None for what is seen of the process
    /// or the connection.
    public var words: [String] {
        switch self {
        case .monitorUp, .monitorLost, .processEnded, .timeout, .channelBroken: []
        case .pass: ["MIGRATION_PASS"]
        case .stopped: ["STOP", "query-status"]
        case .resumed, .ran: ["RESUME", "query-status running"]
        case .unknownStatus: ["MIGRATION", "query-migrate status"]
        case .yankGone: ["query-yank"]
        case .guestShutdown: ["SHUTDOWN guest true"]
        case .hostShutdown: ["SHUTDOWN guest false"]
        case .reset: ["RESET"]
        case .guestPanic: ["GUEST_PANICKED", "query-status guest-panicked"]
        case .diskError: ["BLOCK_IO_ERROR", "query-status io-error"]
        case .watchdog: ["WATCHDOG", "query-status watchdog"]
        case .guestFault: ["another event of trouble"]
        case .runState: ["query-status"]
        case .unplugPrimary: ["UNPLUG_PRIMARY"]
        case .neverBegun, .anotherAttempt: ["query-migrate"]
        default: ["MIGRATION \(rawValue)", "query-migrate status \(rawValue)"]
        }
    }
}
