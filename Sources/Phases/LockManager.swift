public import Migration

/// Which lock manager a host uses.
public struct LockManagerKind: Hashable, Sendable {
    /// Its name; both sides must use the same one.
    public var driver: String
    /// Whether it hands out a state with each release, without which nobody acquires again. Such a manager needs the
    /// cookies of protocol 3.
    public var usesState: Bool

    /// A kind.
    public init(driver: String, usesState: Bool) {
        self.driver = driver
        self.usesState = usesState
    }

    /// No leases at all, by the name that libvirt gives it.
    public static let none = LockManagerKind(driver: "nop", usesState: false)
}

/// What a lock manager says of a guest's leases, so that the other side can tell whether somebody acquired them in
/// between.
public struct LeaseState: Hashable, Sendable {
    /// The manager that says so.
    public var driver: String
    /// Its own words, which nobody else understands; `nil` where it has none to say. An empty text is none.
    public var state: String?

    /// A state.
    public init(driver: String, state: String? = nil) {
        self.driver = driver
        self.state = state?.isEmpty == true ? nil : state
    }
}

/// What is asked of a lock manager.
public enum LeaseAction: Hashable, Sendable {
    /// Tell the state; the leases stay held.
    case inquire
    /// Give the leases back; the guest is stopped.
    case release
    /// Take the leases, if they are still as the state says; the guest is about to run.
    case acquire(LeaseState?)
}

/// What a lock manager answers.
public enum LeaseResult: Hashable, Sendable {
    /// The state; the leases are held.
    case inquired(LeaseState)
    /// The leases are free, and this is their state.
    case released(LeaseState)
    /// The leases are held.
    case acquired
    /// No, and why.
    case refused(String)
}

/// Who keeps two hosts from using a guest's disks at once.
///
/// It is asked at three places: in Begin it tells the state, when the guest has stopped it gives its leases back, and
/// just before the guest runs, on the destination or again on the source, it takes them.
public protocol LockManager: Sendable {
    /// Which one it is.
    var kind: LockManagerKind { get }
    /// Does what is asked.
    mutating func perform(_ action: LeaseAction, on side: Side) -> LeaseResult
}

/// Nobody locks anything.
public struct NullLockManager: LockManager, Hashable {
    /// No locks.
    public init() {}

    /// Which one it is.
    public var kind: LockManagerKind { .none }

    /// Says yes to everything.
    public mutating func perform(_ action: LeaseAction, on side: Side) -> LeaseResult {
        switch action {
        case .inquire: .inquired(LeaseState(driver: kind.driver))
        case .release: .released(LeaseState(driver: kind.driver))
        case .acquire: .acquired
        }
    }
}

/// Leases that both sides see, as on shared storage. Each acquisition has a number, which is the state: whoever comes
/// with an older one is refused.
///
/// It also keeps a list of everything that was asked out of order, so that a test or the model checker finds it.
public struct MemoryLockManager: LockManager, Hashable {
    /// Something that was asked out of order.
    public struct Violation: Hashable, Sendable, CustomStringConvertible {
        /// Who asked.
        public var side: Side
        /// For what.
        public var action: LeaseAction
        /// What was wrong with it.
        public var description: String

        /// A violation.
        public init(side: Side, action: LeaseAction, description: String) {
            self.side = side
            self.action = action
            self.description = description
        }
    }

    /// Who holds the leases.
    public private(set) var holder: Side?
    /// How often they were acquired.
    public private(set) var version = 1
    /// What was asked out of order.
    public private(set) var violations: [Violation] = []

    /// Leases that a side holds, whose guest runs.
    public init(heldBy holder: Side?) { self.holder = holder }

    /// Which one it is.
    public var kind: LockManagerKind { LockManagerKind(driver: "memory", usesState: true) }

    private var state: LeaseState { LeaseState(driver: kind.driver, state: "version=\(version)") }

    /// Does what is asked, if it is in order.
    public mutating func perform(_ action: LeaseAction, on side: Side) -> LeaseResult {
        switch action {
        case .inquire:
            // Whoever has lost his memory asks just this; it is in order whatever the answer.
            return holder == side ? .inquired(state) : .refused("the \(side.rawValue) does not hold the leases")
        case .release:
            guard holder == side else { return refuse(action, side, "released without holding the leases") }
            holder = nil
            return .released(state)
        case .acquire(let wanted):
            if let holder { return refuse(action, side, "acquired while the \(holder.rawValue) holds the leases") }
            guard let wanted, wanted.driver == kind.driver else {
                return refuse(action, side, "acquired without a state of this manager")
            }
            // Not out of order: that somebody else was faster is what the state is there for.
            guard wanted == state else {
                return .refused(
                    "the leases were acquired by somebody else: \(wanted.state ?? "no state") is not version=\(version)"
                )
            }
            holder = side
            version += 1
            return .acquired
        }
    }

    private mutating func refuse(_ action: LeaseAction, _ side: Side, _ what: String) -> LeaseResult {
        violations.append(Violation(side: side, action: action, description: "the \(side.rawValue) \(what)"))
        return .refused("the \(side.rawValue) \(what)")
    }
}
