public import Migration

/// What guards a job while nobody is inside. `continue` sets the nets up, the next `startPhase` takes them down.
public struct SafetyNet: OptionSet, Hashable, Sendable, CustomStringConvertible {
    /// One bit for each net.
    public let rawValue: UInt8

    /// Nets from their bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The domain dies: drop the job.
    public static let domainDeath = SafetyNet(rawValue: 1)
    /// The peer's or the client's connection closes: what follows depends on the phase.
    public static let connectionClosed = SafetyNet(rawValue: 2)
    /// The connection closes before the guest is complete: end the QEMU that waits for it.
    public static let autoDestroy = SafetyNet(rawValue: 4)

    /// The nets below a job that was left in a phase.
    public init(after phase: Phase, on side: Side) {
        self =
            switch (side, phase) {
            case (.source, .begin3), (.source, .perform3Done), (.source, .beginResume), (.source, .performResume),
                (.destination, .prepareResume):
                [.domainDeath, .connectionClosed]
            case (.destination, .prepare): [.domainDeath, .autoDestroy]
            default: .domainDeath
            }
    }

    /// The names of the nets.
    public var description: String {
        let names = [
            contains(.domainDeath) ? "domain-death" : nil, contains(.connectionClosed) ? "connection-closed" : nil,
            contains(.autoDestroy) ? "auto-destroy" : nil,
        ]
        return names.compactMap(\.self).joined(separator: ", ")
    }
}

/// What a net catches.
public enum NetEvent: String, Hashable, Sendable, CaseIterable {
    /// The domain's QEMU is gone.
    case domainDied = "domain-died"
    /// The connection to the peer, or to the client that calls the steps, is gone.
    case connectionClosed = "connection-closed"
}

/// What is to be done when a net catches, in this order.
public enum NetAct: String, Hashable, Sendable, CaseIterable {
    /// Capabilities and parameters go back to what they were.
    case putBack = "put-back"
    /// The attempt is recorded as refused for ever.
    case refuse
    /// The QEMU that waits for the guest is ended.
    case endQEMU = "end-qemu"
    /// The guest stays as it is, stopped; nothing is proven.
    case stayPaused = "stay-paused"
    /// As soon as the peer is reachable, it is asked.
    case askPeer = "ask-peer"
    /// A person is told what to find out.
    case tellPerson = "tell-person"
    /// The peer is told of the end as soon as it is reachable.
    case tellPeer = "tell-peer"
    /// The domain counts as one whose post-copy failed.
    case markPostcopyFailed = "mark-postcopy-failed"
}

/// What follows when a net catches.
public struct NetOutcome: Hashable, Sendable {
    /// The phase that the job moves to; `nil` keeps it, `none` goes with the job.
    public var to: Phase?
    /// The job afterwards.
    public var after: JobAfter
    /// What is done.
    public var acts: [NetAct]

    /// What follows.
    public init(to: Phase?, after: JobAfter, acts: [NetAct]) {
        self.to = to
        self.after = after
        self.acts = acts
    }
}

/// A row of the table of nets.
public struct NetRow: Hashable, Sendable {
    /// When a row holds.
    public enum Condition: String, Hashable, Sendable, CaseIterable {
        /// Whatever else is.
        case always
        /// Pre-copy.
        case precopy = "pre-copy"
        /// Post-copy.
        case postcopy = "post-copy"
        /// The destination has not everything yet.
        case incomplete
        /// The destination has everything.
        case complete
    }

    /// What the net catches.
    public var event: NetEvent
    /// Whose job.
    public var side: Side
    /// In which phase it was left.
    public var phase: Phase
    /// Under which condition.
    public var condition: Condition
    /// What follows.
    public var outcome: NetOutcome
    /// What libvirt does instead; empty where it does the same.
    public var libvirt: String
}

/// What the nets do, for every phase in which a job can be left.
///
/// Where libvirt guesses, or leaves a guest paused without telling anybody, ours keeps the job and asks: silence and a
/// closed connection prove nothing.
public enum NetTable {
    /// The rows: closed connections, then dead domains.
    public static let rows: [NetRow] = closed + died

    /// What follows in a situation; `nil` where no net is set up, because somebody is inside and notices by himself, or
    /// because the phase needs none.
    ///
    /// - Parameters:
    ///   - event: What happened.
    ///   - side: Whose job.
    ///   - phase: In which phase it was left.
    ///   - isPostcopy: Whether post-copy has begun.
    ///   - isComplete: Whether the destination has everything.
    public static func outcome(
        of event: NetEvent, _ side: Side, _ phase: Phase, isPostcopy: Bool, isComplete: Bool
    ) -> NetOutcome? {
        rows.first { row in
            guard row.event == event, row.side == side, row.phase == phase else { return false }
            return switch row.condition {
            case .always: true
            case .precopy: !isPostcopy
            case .postcopy: isPostcopy
            case .incomplete: !isComplete
            case .complete: isComplete
            }
        }?.outcome
    }

    private static func row(
        _ event: NetEvent, _ side: Side, _ phase: Phase, _ condition: NetRow.Condition, to: Phase?, _ after: JobAfter,
        _ acts: [NetAct], libvirt: String = ""
    ) -> NetRow {
        NetRow(
            event: event, side: side, phase: phase, condition: condition,
            outcome: NetOutcome(to: to, after: after, acts: acts), libvirt: libvirt)
    }

    private static let closed: [NetRow] = [
        row(.connectionClosed, .source, .begin3, .always, to: .confirm3Cancelled, .finished, [.putBack]),
        row(
            .connectionClosed, .source, .perform3Done, .precopy, to: nil, .continued,
            [.stayPaused, .askPeer, .tellPerson],
            libvirt: "confirm3_cancelled and the job finished; the guest is left paused with a warning in the log"),
        row(
            .connectionClosed, .source, .perform3Done, .postcopy, to: nil, .continued, [.stayPaused, .askPeer],
            libvirt: "postcopy_failed; here the memory goes on its way, and what breaks it marks it"),
        row(
            .connectionClosed, .source, .beginResume, .always, to: .postcopyFailed, .continued,
            [.markPostcopyFailed]),
        row(
            .connectionClosed, .source, .performResume, .always, to: nil, .continued, [.stayPaused, .askPeer],
            libvirt: "postcopy_failed; here the memory goes on its way, and what breaks it marks it"),
        row(
            .connectionClosed, .destination, .prepare, .incomplete, to: Phase.none, .discarded, [.refuse, .endQEMU],
            libvirt: "the QEMU is killed; a late Finish finds no domain"),
        row(
            .connectionClosed, .destination, .prepare, .complete, to: nil, .continued,
            [.stayPaused, .askPeer, .tellPerson], libvirt: "the QEMU is killed, complete or not"),
        row(
            .connectionClosed, .destination, .prepareResume, .always, to: .postcopyFailed, .continued,
            [.markPostcopyFailed]),
    ]

    /// The phases in which a job can be left with nobody inside.
    static let left: [(Side, Phase)] =
        [.begin3, .perform3Done, .postcopyFailed, .beginResume, .performResume].map { (.source, $0) }
        + [.prepare, .finish3, .postcopyFailed, .prepareResume].map { (.destination, $0) }

    private static let died: [NetRow] = left.map { side, phase in
        row(
            .domainDied, side, phase, .always, to: Phase.none, .discarded, [.tellPeer],
            libvirt: "the job is dropped; the other side learns it when it is called next")
    }
}

extension JobMachine {
    /// What follows when the domain dies or the connection closes now; `nil` without a net for it.
    ///
    /// - Parameters:
    ///   - event: What happened.
    ///   - isPostcopy: Whether post-copy has begun.
    ///   - isComplete: Whether the destination has everything.
    public func caught(_ event: NetEvent, isPostcopy: Bool, isComplete: Bool) -> NetOutcome? {
        let net: SafetyNet = event == .domainDied ? .domainDeath : [.connectionClosed, .autoDestroy]
        guard isDisowned, !nets.isDisjoint(with: net) else { return nil }
        return NetTable.outcome(of: event, side, phase, isPostcopy: isPostcopy, isComplete: isComplete)
    }

    /// Takes the job for the handling of what a net caught: whoever talks to QEMU has to be inside first. The handler
    /// leaves by `continue` or `finish`, as the outcome says; a job that the domain's death drops is dropped here.
    public mutating func take(_ outcome: NetOutcome, owner: String) throws(JobError) -> PhaseMove {
        let current = phase
        guard outcome.after != .discarded else {
            guard active != nil else {
                throw JobError(code: .notActive, description: "\(owner) found no migration job")
            }
            discard()
            return PhaseMove(side: side, from: current, to: .none, owner: nil)
        }
        return try startPhase(outcome.to ?? current, owner: owner)
    }
}
