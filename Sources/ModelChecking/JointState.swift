import Migration
import Phases

/// The three programs that take part; the QEMUs are the fourth and fifth part.
enum Part: Int, CaseIterable, Hashable, Sendable, CustomStringConvertible {
    case source, destination, coordinator

    init(_ side: Side) { self = side == .source ? .source : .destination }

    var side: Side? { self == .coordinator ? nil : self == .source ? .source : .destination }

    var description: String { side.map { "\($0.rawValue) side" } ?? "coordinator" }
}

/// A direction between the coordinator and a side.
struct Direction: Hashable, Sendable {
    var side: Side
    var isToCoordinator: Bool

    static let all = Side.allCases.flatMap {
        [Direction(side: $0, isToCoordinator: false), Direction(side: $0, isToCoordinator: true)]
    }
    var index: Int { (side == .source ? 0 : 1) * 2 + (isToCoordinator ? 1 : 0) }
    var receiver: Part { isToCoordinator ? .coordinator : Part(side) }
}

/// Three of the same, by part.
struct ByPart<Value: Hashable & Sendable>: Hashable, Sendable {
    private var values: (Value, Value, Value)

    init(_ value: Value) { values = (value, value, value) }

    subscript(_ part: Part) -> Value {
        get {
            switch part {
            case .source: values.0
            case .destination: values.1
            case .coordinator: values.2
            }
        }
        set {
            switch part {
            case .source: values.0 = newValue
            case .destination: values.1 = newValue
            case .coordinator: values.2 = newValue
            }
        }
    }

    static func == (left: Self, right: Self) -> Bool { left.values == right.values }
    func hash(into hasher: inout Hasher) {
        hasher.combine(values.0)
        hasher.combine(values.1)
        hasher.combine(values.2)
    }
}

/// Two of the same, by side.
struct BySide<Value: Hashable & Sendable>: Hashable, Sendable {
    var source: Value
    var destination: Value

    init(_ value: Value) {
        source = value
        destination = value
    }

    subscript(_ side: Side) -> Value {
        get { side == .source ? source : destination }
        set { if side == .source { source = newValue } else { destination = newValue } }
    }
}

/// What only the observer of the whole knows of the way so far.
struct Chronicle: Hashable, Sendable {
    /// The last published word.
    var published = PublishedWord.idle
    /// The end, once it came.
    var result: PublishedWord?
    /// The guest's processes died by a fault, or the guest shut itself down: a loss is nobody's fault then.
    var isLossExcused = false
    /// The source's QEMU was killed, or its guest shut itself down: not our doing.
    var isSourceKilled = false
    /// The destination has written its tombstone, whatever became of it: it will never run this attempt.
    var wasAbandoned = false
    /// Somebody asked for `migrate`.
    var isAsked = false
}

/// A state of the whole system, as numbers of interned parts.
struct JointState: Hashable, Sendable {
    var pair: UInt32
    /// The programs; 0 for one that crashed.
    var parties = ByPart<UInt32>(0)
    /// What is on their disks.
    var ledgers = ByPart<UInt32>(0)
    /// Effects that are still to be carried out.
    var pending = ByPart<UInt32>(0)
    /// Waits that are running, as bits.
    var armed = ByPart<UInt64>(0)
    /// What a program will read from its monitor.
    var monitors = BySide<UInt32>(0)
    /// Whether a command reaches QEMU.
    var isMonitorOpen = BySide<Bool>(true)
    /// The end of the process was not told yet.
    var isEndUntold = BySide<Bool>(false)
    var isLinkUp = BySide<Bool>(true)
    /// Messages under way, by `Direction.index`.
    var links: SIMD4<UInt32> = .zero
    /// Messages that are late, each with its direction: numbers of `LateMessage`.
    var late: UInt32 = 0
    var budget: Budget
    var chronicle: UInt32 = 0
    var violation: UInt32 = 0

    func feed(_ hasher: inout FingerprintHasher) {
        hasher.feed(UInt64(pair) << 32 | UInt64(late))
        for part in Part.allCases {
            hasher.feed(UInt64(parties[part]) << 32 | UInt64(ledgers[part]))
            hasher.feed(armed[part])
            hasher.feed(UInt64(pending[part]))
        }
        hasher.feed(UInt64(monitors.source) << 32 | UInt64(monitors.destination))
        hasher.feed(UInt64(links[0]) << 32 | UInt64(links[1]))
        hasher.feed(UInt64(links[2]) << 32 | UInt64(links[3]))
        var flags: UInt64 = 0
        for flag in [
            isMonitorOpen.source, isMonitorOpen.destination, isEndUntold.source, isEndUntold.destination,
            isLinkUp.source, isLinkUp.destination,
        ] { flags = flags << 1 | (flag ? 1 : 0) }
        hasher.feed(flags)
        hasher.feed(UInt64(chronicle) << 32 | UInt64(violation))
    }
}

/// What can happen, as a choice; what it leads to is worked out again when somebody wants to read it.
struct JointAction: Hashable, Sendable, CustomStringConvertible {
    enum Delivery: Hashable, Sendable { case normal, lost, twice, late }

    enum Kind: Hashable, Sendable {
        case migrate
        case move(Int)
        case monitor(Side)
        case processEnd(Side)
        case message(Direction, Delivery)
        case lateMessage(Int)
        case timeout(Part, Deadline, isEarly: Bool)
        case tick(Side)
        case execute(Part)
        case crash(Part)
        case restart(Part)
        case loseMonitor(Side, keepsReplies: Bool)
        case reconnectMonitor(Side)
        case breakLink(Side)
        case reconnectLink(Side)
        case request(Request)
        /// Nothing; only to tell that nothing more happens by itself.
        case rest
    }

    /// Whether it happens by itself, sooner or later, without a fault and without anybody's asking.
    var isProgress: Bool {
        switch kind {
        case .request, .crash, .loseMonitor, .breakLink, .tick, .rest, .timeout(_, _, isEarly: true): false
        case .message(_, let delivery): delivery == .normal
        default: true
        }
    }

    var kind: Kind
    /// The program crashes when it has carried out this many of the effects that follow.
    var cut: Int?

    var description: String { "\(kind)" + (cut.map { ", crash after \($0) effects" } ?? "") }
}
