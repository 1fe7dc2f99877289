/// What somebody can ask of one QEMU in a migration.
public enum TriggerKind: String, Hashable, Sendable, CaseIterable {
    /// Capabilities or parameters are set.
    case configure
    /// `migrate-incoming`
    case listen
    /// `migrate`
    case migrate
    /// `migrate-start-postcopy`
    case startPostcopy = "start-postcopy"
    /// `migrate-continue`
    case continueSwitchover = "continue-switchover"
    /// `migrate_cancel`, or a yank that carries out somebody's cancel.
    case cancel
    /// `migrate-pause`
    case pausePostcopy = "pause-postcopy"
    /// `migrate-recover`
    case recover
    /// `migrate` with `resume`
    case resume
    /// `yank` of the migration instance.
    case yank
    /// `cont`
    case run
    /// `stop`
    case hold
    /// `quit`
    case kill
}

/// A row of the trigger table: one kind of request within one attempt on one side.
public struct TriggerRow: Hashable, Sendable {
    /// How far it got.
    public enum State: Hashable, Sendable {
        /// Asked for, not sent yet.
        case requested
        /// Its bytes left.
        case sent
        /// QEMU answered without an error. For most commands this means *heard*, not *done*.
        case accepted
        /// QEMU said no.
        case refused(String)
        /// No answer came in time, or the connection was lost before one.
        case unanswered
    }

    /// What was asked.
    public var kind: TriggerKind
    /// How far the last one of this kind got.
    public var state: State
    /// Who asked first.
    public var origin: Origin
    /// The record in which it was first asked for or sent.
    public var firstSequence: Int
    /// When that was.
    public var firstTime: Instant
    /// The record in which it first left for QEMU.
    public var sentSequence: Int?
    /// The last record about it.
    public var lastSequence: Int
    /// When that was.
    public var lastTime: Instant
    /// How often it was sent.
    public var count: Int
    /// What was asked for, for a person.
    public var argument: String?

    /// Whether it left for QEMU at least once.
    public var wasSent: Bool { sentSequence != nil }

    /// QEMU's words if it refused the last one.
    public var refusal: String? { if case .refused(let text) = state { text } else { nil } }
}

/// All triggers of one attempt on one side. A row is never removed, so that "why" can be told afterwards.
public struct TriggerTable: Hashable, Sendable {
    private var rows: [TriggerKind: TriggerRow] = [:]

    /// An empty table.
    public init() {}

    /// The row of a kind.
    public subscript(_ kind: TriggerKind) -> TriggerRow? { rows[kind] }

    /// The rows, oldest first.
    public var ordered: [TriggerRow] { rows.values.sorted { $0.firstSequence < $1.firstSequence } }

    /// Whether anything of this kind left for QEMU.
    public func wasSent(_ kind: TriggerKind) -> Bool { rows[kind]?.wasSent ?? false }

    /// Somebody asked; nothing was sent yet.
    public mutating func request(_ kind: TriggerKind, origin: Origin, sequence: Int, at time: Instant) {
        if var row = rows[kind] {
            row.lastSequence = sequence
            row.lastTime = time
            rows[kind] = row
        } else {
            rows[kind] = TriggerRow(
                kind: kind, state: .requested, origin: origin, firstSequence: sequence, firstTime: time,
                sentSequence: nil, lastSequence: sequence, lastTime: time, count: 0, argument: nil)
        }
    }

    /// A command of this kind left for QEMU.
    public mutating func send(
        _ kind: TriggerKind, argument: String?, origin: Origin, sequence: Int, at time: Instant
    ) {
        request(kind, origin: origin, sequence: sequence, at: time)
        guard var row = rows[kind] else { return }
        row.state = .sent
        row.sentSequence = row.sentSequence ?? sequence
        row.count += 1
        row.argument = argument ?? row.argument
        rows[kind] = row
    }

    /// QEMU answered, or did not.
    public mutating func answer(_ kind: TriggerKind, _ state: TriggerRow.State, sequence: Int, at time: Instant) {
        guard var row = rows[kind] else { return }
        row.state = state
        row.lastSequence = sequence
        row.lastTime = time
        rows[kind] = row
    }
}
