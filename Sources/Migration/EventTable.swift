/// What can be observed of one QEMU in a migration.
public enum EventKind: String, Hashable, Sendable, CaseIterable {
    /// The monitor was connected and negotiated.
    case monitorUp = "monitor connected"
    /// The monitor connection was lost.
    case monitorLost = "monitor lost"
    /// The process ended.
    case processEnded = "process ended"
    /// Status `setup`
    case setup
    /// Status `wait-unplug`
    case waitUnplug = "wait-unplug"
    /// Status `active`
    case active
    /// `MIGRATION_PASS`
    case pass
    /// `STOP`, or a run state that is not running where it was.
    case stopped
    /// `RESUME`, or run state `running`.
    case resumed
    /// Status `pre-switchover`
    case preSwitchover = "pre-switchover"
    /// Status `device`
    case device
    /// Status `postcopy-device`
    case postcopyDevice = "postcopy-device"
    /// Status `postcopy-active`
    case postcopyActive = "postcopy-active"
    /// Status `postcopy-paused`
    case postcopyPaused = "postcopy-paused"
    /// Status `postcopy-recover-setup`
    case postcopyRecoverSetup = "postcopy-recover-setup"
    /// Status `postcopy-recover`
    case postcopyRecover = "postcopy-recover"
    /// Status `colo`
    case colo
    /// Status `completed`
    case completed
    /// Status `failing`
    case failing
    /// Status `failed`
    case failed
    /// Status `cancelling`
    case cancelling
    /// Status `cancelled`
    case cancelled
    /// A status word that no known QEMU says.
    case unknownStatus = "unknown status"
    /// `query-yank` has no migration instance: nothing of the attempt is left in QEMU.
    case yankGone = "nothing left to yank"
    /// The guest powered itself off.
    case guestShutdown = "guest shutdown"
    /// The guest was ended from outside (quit, a signal).
    case hostShutdown = "host shutdown"
    /// The guest reset itself.
    case reset
    /// The guest or its disk is in trouble.
    case guestFault = "guest fault"
    /// The guest was seen running on the destination.
    case ran

    /// The kind of a status word.
    public init(word: StatusWord) { self = Self.byWord[word] ?? .unknownStatus }

    private static let byWord: [StatusWord: EventKind] = [
        .setup: .setup, .waitUnplug: .waitUnplug, .active: .active, .preSwitchover: .preSwitchover,
        .device: .device, .postcopyDevice: .postcopyDevice, .postcopyActive: .postcopyActive,
        .postcopyPaused: .postcopyPaused, .postcopyRecoverSetup: .postcopyRecoverSetup,
        .postcopyRecover: .postcopyRecover, .colo: .colo, .completed: .completed, .failing: .failing,
        .failed: .failed, .cancelling: .cancelling, .cancelled: .cancelled,
    ]
}

/// From where an observation came.
public enum ObservationSource: String, Hashable, Sendable {
    /// An event of QEMU.
    case event
    /// The reply to a query.
    case query
    /// The reply to another command.
    case reply
    /// The process or the connection itself.
    case process
}

/// A row of the event table: one kind of observation within one attempt on one side.
public struct EventRow: Hashable, Sendable {
    /// What was observed.
    public var kind: EventKind
    /// From where first.
    public var source: ObservationSource
    /// The record that showed it first.
    public var firstSequence: Int
    /// When that was.
    public var firstTime: Instant
    /// The record that showed it last.
    public var lastSequence: Int
    /// When that was.
    public var lastTime: Instant
    /// How often.
    public var count: Int
    /// The last word or text that came with it.
    public var payload: String?
}

/// All observations of one attempt on one side. First and last are kept apart because "which came first" decides who is to blame.
public struct EventTable: Hashable, Sendable {
    private var rows: [EventKind: EventRow] = [:]

    /// An empty table.
    public init() {}

    /// The row of a kind.
    public subscript(_ kind: EventKind) -> EventRow? { rows[kind] }

    /// Whether it was observed.
    public func has(_ kind: EventKind) -> Bool { rows[kind] != nil }

    /// The rows, oldest first.
    public var ordered: [EventRow] { rows.values.sorted { $0.firstSequence < $1.firstSequence } }

    /// Notes an observation.
    public mutating func note(
        _ kind: EventKind, from source: ObservationSource, payload: String? = nil, sequence: Int, at time: Instant
    ) {
        if rows[kind] != nil {
            rows[kind]?.lastSequence = sequence
            rows[kind]?.lastTime = time
            rows[kind]?.count += 1
            if let payload { rows[kind]?.payload = payload }
        } else {
            rows[kind] = EventRow(
                kind: kind, source: source, firstSequence: sequence, firstTime: time, lastSequence: sequence,
                lastTime: time, count: 1, payload: payload)
        }
    }

    /// The earliest of several kinds.
    public func earliest(_ kinds: EventKind...) -> EventRow? {
        kinds.compactMap { rows[$0] }.min { $0.firstSequence < $1.firstSequence }
    }
}
