import Migration

/// What tells one QEMU generation from another in a migration, as far as an abstract QEMU shows it.
struct QEMUProfile: Hashable, Sendable {
    var version: QEMUVersion

    init(_ version: QEMUVersion) { self.version = version }

    /// The generations that are explored, by name.
    static let byName: [(name: String, profile: QEMUProfile)] = [
        ("7.2", QEMUProfile(QEMUVersion(7, 2))), ("10.0", QEMUProfile(QEMUVersion(10, 0))),
        ("10.2", QEMUProfile(QEMUVersion(10, 2))), ("11.1", QEMUProfile(QEMUVersion(11, 1))),
    ]

    private func isSince(_ major: Int, _ minor: Int) -> Bool { version >= QEMUVersion(major, minor) }

    /// An error shows as `failing` first, and the guest is resumed before `failed` instead of after it.
    var hasFailing: Bool { isSince(11, 1) }
    /// `device` is shown by every migration, not only after `pre-switchover`.
    var alwaysShowsDevice: Bool { isSince(10, 0) }
    var hasPostcopyDevice: Bool { isSince(10, 2) }
    /// The destination's `setup` is a status and not an event alone.
    var hasDestinationSetup: Bool { isSince(8, 2) }
    var hasRecoverSetup: Bool { isSince(9, 1) }
    /// `postcopy-recover` can fall back to `postcopy-paused`.
    var recoversFromRecover: Bool { isSince(8, 2) }
    /// `migrate_cancel` is refused in post-copy; before, it destroys the guest.
    var refusesCancelInPostcopy: Bool { isSince(10, 0) }
    var hasExitOnError: Bool { isSince(9, 1) }

    /// Whether QEMU's table has the move.
    func allows(_ side: Side, _ from: StatusWord?, _ to: StatusWord) -> Bool {
        TransitionTable.isListed(from: from ?? .none, to: to, on: side, version: version)
    }
}
