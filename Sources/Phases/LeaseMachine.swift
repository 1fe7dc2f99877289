public import Migration

/// Whether something may go on that depends on the guest's leases.
public enum LeaseGate: Hashable, Sendable {
    /// It may.
    case open
    /// The lock manager is to be asked this; then look again.
    case ask(LeaseAction)
    /// It was asked and has not answered.
    case wait
    /// It refused, and why.
    case closed(String)
}

/// The leases of one side's guest: what the lock manager is to be asked before something may go on.
///
/// Begin of a running guest inquires. Perform is answered only when the leases were given back, so that they are free
/// before Finish is called. `cont` waits for an acquisition, on the destination with the state that came with the
/// cookie, on the source with its own. Without a lock manager every gate is open and nothing is asked.
public struct LeaseMachine: Hashable, Sendable {
    /// Where the leases are, as far as this side knows.
    public enum Standing: Hashable, Sendable {
        /// Nobody asked yet, or a restart has forgotten.
        case unknown
        /// Held here.
        case held
        /// Not held here.
        case free
    }

    /// Whose guest.
    public let side: Side
    /// The lock manager; `nil` for none.
    public let kind: LockManagerKind?
    /// Where the leases are.
    public private(set) var standing = Standing.unknown
    /// What the lock manager, or the source's, said last: goes into the cookie, and into the next acquisition.
    public private(set) var state: LeaseState?
    /// What was asked and is not answered.
    public private(set) var pending: LeaseAction?
    private var refused: LeaseAction?
    private var refusal = ""

    /// The leases of a side.
    public init(side: Side, kind: LockManagerKind?) {
        self.side = side
        self.kind = kind
    }

    /// The state that came from the source, or that outlived a restart. On a destination that has not run anything the
    /// leases are free.
    public mutating func receive(_ state: LeaseState?, isFresh: Bool) {
        self.state = state
        standing = isFresh ? .free : .unknown
    }

    // MARK: Gates

    /// Begin: the state is to go into the cookie. A stopped guest whose leases were given back before has it already.
    public mutating func begin(isRunning: Bool) -> LeaseGate {
        guard kind != nil else { return .open }
        if pending != nil { return .wait }
        if !isRunning, standing != .held, state != nil {
            standing = .free
            return .open
        }
        return standing == .held ? .open : ask(.inquire)
    }

    /// The guest has stopped: its leases are to be given back.
    public mutating func release() -> LeaseGate {
        guard kind != nil else { return .open }
        if pending != nil { return .wait }
        switch standing {
        case .free: return .open
        case .held: return ask(.release)
        case .unknown: return ask(.inquire)
        }
    }

    /// The guest is about to run, or was found running: its leases are to be held.
    public mutating func acquire() -> LeaseGate {
        guard kind != nil else { return .open }
        if pending != nil { return .wait }
        switch standing {
        case .held: return .open
        case .free: return ask(.acquire(state))
        case .unknown: return ask(.inquire)
        }
    }

    private mutating func ask(_ action: LeaseAction) -> LeaseGate {
        // What was refused once is not asked again: nothing has changed since.
        if refused == action { return .closed(refusal) }
        pending = action
        return .ask(action)
    }

    // MARK: Answers

    /// The lock manager answered. An answer that nobody waits for changes nothing.
    public mutating func answered(_ result: LeaseResult) {
        guard let asked = pending else { return }
        pending = nil
        switch (asked, result) {
        case (.inquire, .inquired(let state)):
            standing = .held
            self.state = state
        case (.release, .released(let state)):
            standing = .free
            self.state = state
        case (.acquire, .acquired): standing = .held
        case (.inquire, .refused) where state != nil:
            // Not held, and what was said when they were given back is known.
            standing = .free
        case (_, .refused(let why)):
            refused = asked
            refusal = why
        default:
            refused = asked
            refusal = "the lock manager answered something else than it was asked"
        }
    }

    /// The lock manager did not answer in time. Whatever it did all the same, it will not be built upon.
    public mutating func timedOut() { answered(.refused("the lock manager did not answer in time")) }
}

/// When the lock manager is asked what.
public struct LeaseRow: Hashable, Sendable {
    /// On which side.
    public var side: Side
    /// When.
    public var moment: String
    /// What is asked for.
    public var action: String
    /// What waits for the answer.
    public var gate: String
    /// What follows when it is refused.
    public var refusal: String
}

/// The hook points of the lock manager as data.
public enum LeaseTable {
    /// The rows, in the order of an attempt.
    public static let rows: [LeaseRow] = [
        LeaseRow(
            side: .source, moment: "Begin", action: "inquire", gate: "Begin's answer", refusal: "Begin fails"),
        LeaseRow(
            side: .source, moment: "the guest has stopped", action: "release", gate: "Perform's answer",
            refusal: "the destination will not get the leases: Finish fails and the guest goes on here"),
        LeaseRow(
            side: .destination, moment: "the guest is complete", action: "acquire, with the cookie's state",
            gate: "the record `run` and `cont`", refusal: "Finish fails; the guest goes on at the source"),
        LeaseRow(
            side: .source, moment: "Confirm of a failure", action: "acquire, with its own state", gate: "`cont`",
            refusal: "the guest stays stopped and a person is told"),
        LeaseRow(
            side: .source, moment: "QEMU continued the guest by itself", action: "acquire, with its own state",
            gate: "nothing: the guest runs", refusal: "nothing can be undone; whoever took the leases is in the way"),
    ]
}
