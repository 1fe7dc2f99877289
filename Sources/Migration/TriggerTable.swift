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
    /// Whether QEMU accepted one of this kind at least once; also where somebody else's command was inferred from its
    /// effect.
    public var wasAccepted = false
    /// Whether what was asked for is still to come. It is over when its effect was seen, when QEMU refused it, or when
    /// the attempt ended.
    public var isPending = true
    /// Whether it was asked for when the attempt was over already.
    var isForNext = false

    /// Whether it left for QEMU at least once. Somebody else's command that was only inferred did not leave from here.
    public var wasSent: Bool { sentSequence != nil }

    /// QEMU's words if it refused the last one.
    public var refusal: String? { if case .refused(let text) = state { text } else { nil } }
}

/// All triggers of one attempt on one side. A row is never removed, so that "why" can be told afterwards.
public struct TriggerTable: Hashable, Sendable {
    private var table = DenseTable<TriggerKind, TriggerRow>()

    /// An empty table.
    public init() {}

    /// The row of a kind.
    public subscript(_ kind: TriggerKind) -> TriggerRow? { table[kind] }

    /// The rows, oldest first.
    public var ordered: [TriggerRow] { table.rows.sorted { $0.firstSequence < $1.firstSequence } }

    /// Whether anything of this kind left for QEMU.
    public func wasSent(_ kind: TriggerKind) -> Bool { table[kind]?.wasSent ?? false }

    /// Somebody asked; nothing was sent yet.
    public mutating func request(_ kind: TriggerKind, origin: Origin, sequence: Int, at time: Instant) {
        let fresh = TriggerRow(
            kind: kind, state: .requested, origin: origin, firstSequence: sequence, firstTime: time,
            sentSequence: nil, lastSequence: sequence, lastTime: time, count: 0, argument: nil)
        table.update(kind, orInsert: fresh) { row in
            row.lastSequence = sequence
            row.lastTime = time
        }
    }

    /// A command of this kind left for QEMU.
    public mutating func send(
        _ kind: TriggerKind, argument: String?, origin: Origin, sequence: Int, at time: Instant
    ) {
        request(kind, origin: origin, sequence: sequence, at: time)
        table.update(kind, orInsert: nil) { row in
            row.state = .sent
            row.isPending = true
            row.sentSequence = row.sentSequence ?? sequence
            row.count &+= 1
            row.argument = argument ?? row.argument
        }
    }

    /// QEMU answered, or did not.
    public mutating func answer(_ kind: TriggerKind, _ state: TriggerRow.State, sequence: Int, at time: Instant) {
        table.update(kind, orInsert: nil) { row in
            row.state = state
            row.lastSequence = sequence
            row.lastTime = time
            switch state {
            case .accepted: row.wasAccepted = true
            case .refused: row.isPending = false
            case .requested, .sent, .unanswered: break
            }
        }
    }

    /// Somebody else's command, known by its effect alone. What was sent or asked for here is never overwritten.
    public mutating func infer(_ kind: TriggerKind, sequence: Int, at time: Instant) {
        let row = TriggerRow(
            kind: kind, state: .accepted, origin: .external, firstSequence: sequence, firstTime: time,
            sentSequence: nil, lastSequence: sequence, lastTime: time, count: 0, argument: nil, wasAccepted: true)
        table.update(kind, orInsert: row) { _ in }
    }

    /// The rows of what is still to come.
    var pending: [TriggerRow] { table.rows.filter(\.isPending) }

    /// Ends the wait for one whose effect was seen.
    mutating func settle(_ kind: TriggerKind) { table.update(kind, orInsert: nil) { $0.isPending = false } }

    /// What is asked for when the attempt is over is for the next one.
    mutating func keepForNext(_ kind: TriggerKind) { table.update(kind, orInsert: nil) { $0.isForNext = true } }

    /// Begins the next attempt with what was asked for it, and with nothing else.
    mutating func beginNext() {
        table.removeAll { !$0.isForNext }
        table.updateAll { $0.isForNext = false }
    }
}

extension TriggerTable: CanonicalForm {
    /// Adds the sequence numbers that rules compare.
    public func collectSequences(into sequences: inout [Int]) {
        for row in table.rows { row.collectSequences(into: &sequences) }
    }

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) { table.updateAll { $0.canonicalise(ranks) } }
}

extension TriggerRow: CanonicalForm {
    /// Only these are compared: what opens an attempt, what may end it, and what runs the guest. A refusal's last
    /// number tells when QEMU said no.
    public func collectSequences(into sequences: inout [Int]) {
        if let sent = comparedSent { sequences.append(sent) }
        if let first = comparedFirst { sequences.append(first) }
        if let last = comparedLast { sequences.append(last) }
    }

    private var comparedSent: Int? {
        switch kind {
        case .migrate, .listen, .cancel, .run: sentSequence
        default: nil
        }
    }

    /// Of somebody else's cancel only the effect was seen; that stands for its sending.
    private var comparedFirst: Int? {
        kind == .cancel && origin == .external && wasAccepted && sentSequence == nil ? firstSequence : nil
    }

    private var comparedLast: Int? {
        switch kind {
        case .cancel: lastSequence
        case .migrate, .listen: refusal == nil ? nil : lastSequence
        default: nil
        }
    }

    /// Keeps only what rules read.
    public mutating func canonicalise(_ ranks: Ranks) {
        let last = ranks[comparedLast] ?? 0
        let first = ranks[comparedFirst] ?? 0
        sentSequence = sentSequence == nil ? nil : ranks[comparedSent] ?? 0
        lastSequence = last
        firstSequence = first
        firstTime = .zero
        lastTime = .zero
        count = count.canonicalCount
        argument = nil
        if case .refused = state { state = .refused("") }
    }
}

extension TriggerKind: TableKind {
    var place: Int {
        switch self {
        case .configure: 0
        case .listen: 1
        case .migrate: 2
        case .startPostcopy: 3
        case .continueSwitchover: 4
        case .cancel: 5
        case .pausePostcopy: 6
        case .recover: 7
        case .resume: 8
        case .yank: 9
        case .run: 10
        case .hold: 11
        case .kill: 12
        }
    }
}
