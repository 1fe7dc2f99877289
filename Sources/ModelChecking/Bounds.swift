import Migration
import Phases

/// What may go wrong, as a kind that a budget is kept for.
enum FaultKind: Int, CaseIterable, Sendable {
    case crashSource, crashDestination, crashCoordinator, killSource, killDestination
    case lose, duplicate, delay, breakLink
    case request, earlyTimeout
    case loseMonitor, breakStream, failLoading, shutDownGuest, refuseRun

    /// Whether it counts towards the bound on all faults together.
    var isFault: Bool { self != .request && self != .earlyTimeout }

    var name: String { "\(self)" }
}

/// How often each kind may still happen: four bits for each, at most seven times.
struct Budget: Hashable, Sendable {
    private(set) var bits: UInt64 = 0
    /// How many faults of any kind may still happen together.
    var faults: UInt8 = 0

    func left(_ kind: FaultKind) -> Int { Int(bits >> UInt64(kind.rawValue * 4) & 7) }

    func allows(_ kind: FaultKind) -> Bool { left(kind) > 0 && (!kind.isFault || faults > 0) }

    mutating func set(_ kind: FaultKind, _ count: Int) {
        let shift = UInt64(kind.rawValue * 4)
        bits = bits & ~(15 << shift) | UInt64(max(0, min(7, count))) << shift
    }

    mutating func spend(_ kind: FaultKind) {
        set(kind, left(kind) - 1)
        if kind.isFault { faults -= 1 }
        // What cannot be spent any more must not tell states apart.
        if faults == 0 { for other in FaultKind.allCases where other.isFault { set(other, 0) } }
    }
}

/// One exploration: which QEMU, which protocol, what may go wrong and how often.
struct Configuration: Sendable {
    var name: String
    var profile = QEMUProfile(QEMUVersion(10, 2))
    var options: MigrateOptions
    var isGuestRunning = true
    var budget = Budget()
    /// What an operator may ask.
    var requests: [Request] = []
    /// The sides whose link to the coordinator is a call: delivered at once, never lost.
    var calledDirectly: Set<Side> = []
    /// How much a program may leave unread on its monitor before its QEMU says more; `nil` for anything. A bound as of a channel: what lies
    /// between the last word read and the last word said is explored up to it.
    var unread: Int?
    /// A state that was visited with as much to spend or more is not visited again.
    var isPruned = true
    /// Carry out what follows from an input in one step, where nobody could tell the difference.
    var isReduced = true
    var mutant: Mutant?
    /// Which troubles are tried, where a hunt for one bug would take too long with all of them; `nil` for all.
    var permits: (@Sendable (JointAction) -> Bool)?
    /// The only words that may end it, where that is known.
    var allowedEnds: Set<PublishedWord>?
    /// How many random walks instead of an exploration, for what is too large for one; 0 for none.
    var walks = 0
    /// Violations that are wanted, by property: they end the way they are on and are counted.
    var tolerated: Set<String> = []

    init(_ name: String, _ faults: [FaultKind: Int] = [:], together: Int = 15) {
        self.name = name
        options = MigrateOptions(attempt: "a1", uri: "tcp:host:0")
        for (kind, count) in faults { budget.set(kind, count) }
        budget.faults = UInt8(max(0, min(15, together)))
        if !faults.keys.contains(where: \.isFault) { budget.faults = 0 }
    }
}
