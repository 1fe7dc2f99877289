import Migration

/// The moves of QEMU's status word that are known from its sources and from recordings, by side, over all releases since 2.11.
///
/// For spotting what deserves a look; nothing is decided by it.
enum KnownMoves {
    /// Whether nobody has seen this move before. A word that nobody knows is a matter of its own.
    static func isStrange(from old: StatusWord, to new: StatusWord, on side: Side) -> Bool {
        let table = side == .source ? source : destination
        guard let known = table[old], EventKind(word: new) != .unknownStatus else { return false }
        return !known.contains(new)
    }

    private static let source: [StatusWord: Set<StatusWord>] = [
        .setup: [.active, .waitUnplug, .failing, .failed, .cancelling, .completed],
        .waitUnplug: [.active, .cancelling],
        .active: [
            .preSwitchover, .device, .postcopyActive, .colo, .completed, .failing, .failed, .cancelling,
        ],
        .preSwitchover: [.device, .postcopyActive, .failing, .failed, .cancelling],
        .device: [.completed, .postcopyDevice, .postcopyActive, .colo, .failing, .failed, .cancelling],
        .postcopyDevice: [.postcopyActive, .failing, .failed],
        .postcopyActive: [.postcopyPaused, .completed, .failed, .cancelling],
        .postcopyPaused: [.postcopyRecoverSetup, .postcopyRecover, .cancelling],
        .postcopyRecoverSetup: [.postcopyRecover, .postcopyPaused],
        .postcopyRecover: [.postcopyActive, .postcopyPaused, .cancelling],
        .failing: [.failed, .cancelling],
        .cancelling: [.cancelled, .failed, .completed],
        .colo: [.completed],
        .completed: [.setup, .failed],
        .failed: [.setup],
        .cancelled: [.setup],
    ]

    private static let destination: [StatusWord: Set<StatusWord>] = [
        .setup: [.active, .failed, .postcopyRecover],
        .active: [.completed, .failed, .postcopyDevice, .postcopyActive, .colo],
        .postcopyDevice: [.postcopyActive, .failed],
        .postcopyActive: [.completed, .failed, .postcopyPaused],
        .postcopyPaused: [.postcopyRecover, .setup],
        .postcopyRecover: [.postcopyActive, .postcopyPaused],
        .colo: [.completed],
        .completed: [],
        .failed: [.setup],
    ]
}
