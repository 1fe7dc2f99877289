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
    /// The guest panicked (`GUEST_PANICKED`, run state `guest-panicked`).
    case guestPanic = "guest panic"
    /// The guest's disk is in trouble (`BLOCK_IO_ERROR`, run state `io-error`).
    case diskError = "disk error"
    /// The guest's watchdog fired (`WATCHDOG`, run state `watchdog`).
    case watchdog
    /// Other trouble in the guest, by name.
    case guestFault = "guest fault"
    /// A run state that a query showed; the payload is the last one.
    case runState = "run state"
    /// `UNPLUG_PRIMARY`: the guest was asked to release a failover device.
    case unplugPrimary = "unplug primary"
    /// The channel broke in post-copy; counts how often, not how often it was told.
    case channelBroken = "channel broken"
    /// A bounded wait ran out; the payload names the last one. This is how time enters.
    case timeout
    /// After a lost connection QEMU tells nothing newer than what was before the command that opens the attempt: it
    /// never arrived.
    case neverBegun = "never begun"
    /// Another attempt than this one was seen in this QEMU after this one had begun.
    case anotherAttempt = "another attempt"
    /// The guest was seen running on the destination.
    case ran

    /// The kind of a trouble in the guest, from the event's name.
    public init(guestFault name: String) {
        switch name {
        case "GUEST_PANICKED": self = .guestPanic
        case "BLOCK_IO_ERROR": self = .diskError
        case "WATCHDOG": self = .watchdog
        default: self = .guestFault
        }
    }

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

/// All observations of one attempt on one side. First and last are kept apart because "which came first" decides who is
/// to blame.
public struct EventTable: Hashable, Sendable {
    private var table = DenseTable<EventKind, EventRow>()

    /// An empty table.
    public init() {}

    /// The row of a kind.
    public subscript(_ kind: EventKind) -> EventRow? { table[kind] }

    /// Whether it was observed.
    public func has(_ kind: EventKind) -> Bool { table.has(kind) }

    /// The rows, oldest first.
    public var ordered: [EventRow] { table.rows.sorted { $0.firstSequence < $1.firstSequence } }

    /// Notes an observation.
    public mutating func note(
        _ kind: EventKind, from source: ObservationSource, payload: String? = nil, sequence: Int, at time: Instant
    ) {
        let fresh = EventRow(
            kind: kind, source: source, firstSequence: sequence, firstTime: time, lastSequence: sequence,
            lastTime: time, count: 1, payload: payload)
        table.update(kind, orInsert: fresh) { row in
            row.lastSequence = sequence
            row.lastTime = time
            row.count &+= 1
            if let payload { row.payload = payload }
        }
    }

    /// Counts an observation that was made before.
    mutating func noteAgain(
        _ kind: EventKind, payload: String? = nil, count: Int = 1, sequence: Int, at time: Instant
    ) {
        table.update(kind, orInsert: nil) { row in
            row.lastSequence = sequence
            row.lastTime = time
            row.count &+= count
            if let payload { row.payload = payload }
        }
    }

    /// The earliest of several kinds.
    public func earliest(_ kinds: EventKind...) -> EventRow? {
        kinds.compactMap { table[$0] }.min { $0.firstSequence < $1.firstSequence }
    }
}

extension EventTable: CanonicalForm {
    /// Adds the sequence numbers that rules compare.
    public func collectSequences(into sequences: inout [Int]) {
        for row in table.rows { row.collectSequences(into: &sequences) }
    }

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) { table.updateAll { $0.canonicalise(ranks) } }
}

extension EventRow: CanonicalForm {
    /// Of most observations it matters only that they were made.
    public func collectSequences(into sequences: inout [Int]) {
        if isFirstCompared { sequences.append(firstSequence) }
        if isLastCompared { sequences.append(lastSequence) }
    }

    private var isFirstCompared: Bool {
        switch kind {
        case .completed, .failing, .failed, .cancelled, .processEnded, .guestShutdown, .ran, .stopped: true
        default: false
        }
    }

    private var isLastCompared: Bool { kind == .resumed }

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) {
        firstSequence = isFirstCompared ? ranks[firstSequence] : 0
        lastSequence = isLastCompared ? ranks[lastSequence] : 0
        firstTime = .zero
        lastTime = .zero
        count = count.canonicalCount
        payload = nil
    }
}

extension EventKind: TableKind {
    var place: Int {
        switch self {
        case .monitorUp: 0
        case .monitorLost: 1
        case .processEnded: 2
        case .setup: 3
        case .waitUnplug: 4
        case .active: 5
        case .pass: 6
        case .stopped: 7
        case .resumed: 8
        case .preSwitchover: 9
        case .device: 10
        case .postcopyDevice: 11
        case .postcopyActive: 12
        case .postcopyPaused: 13
        case .postcopyRecoverSetup: 14
        case .postcopyRecover: 15
        case .colo: 16
        case .completed: 17
        case .failing: 18
        case .failed: 19
        case .cancelling: 20
        case .cancelled: 21
        case .unknownStatus: 22
        case .yankGone: 23
        case .guestShutdown: 24
        case .hostShutdown: 25
        case .reset: 26
        case .guestPanic: 27
        case .diskError: 28
        case .watchdog: 29
        case .guestFault: 30
        case .runState: 31
        case .unplugPrimary: 32
        case .channelBroken: 33
        case .timeout: 34
        case .neverBegun: 35
        case .anotherAttempt: 36
        case .ran: 37
        }
    }
}
