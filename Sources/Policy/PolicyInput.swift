public import Migration

/// What is known of a copying guest at one moment.
public struct PolicySample: Hashable, Sendable {
    /// Milliseconds since `migrate`.
    public var elapsedMilliseconds: Int64
    /// Bytes of guest memory.
    public var memoryBytes: Int64?
    /// Bytes left.
    public var remainingBytes: Int64?
    /// Bytes sent.
    public var transferredBytes: Int64?
    /// Bytes dirtied each second.
    public var dirtyBytesPerSecond: Double?
    /// Bytes sent each second.
    public var bandwidthBytesPerSecond: Double?
    /// Number of the pass, from 1.
    public var iteration: Int64?
    /// The pause that QEMU expects, in milliseconds.
    public var expectedDowntimeMilliseconds: Int64?
    /// How far auto-converge holds the guest back, in percent.
    public var throttlePercentage: Int64?

    /// A sample of which only the time is known.
    public init(elapsedMilliseconds: Int64) { self.elapsedMilliseconds = elapsedMilliseconds }

    /// What `query-migrate` told. A number that cannot be is as good as none.
    public init(_ sample: MigrationSample, elapsedMilliseconds: Int64) {
        func amount(_ value: Int64?) -> Int64? { value.flatMap { $0 >= 0 ? $0 : nil } }
        self.elapsedMilliseconds = elapsedMilliseconds
        memoryBytes = amount(sample.totalBytes)
        remainingBytes = amount(sample.remainingBytes)
        transferredBytes = amount(sample.transferredBytes)
        if let pages = amount(sample.dirtyPagesPerSecond), let page = amount(sample.pageBytes) {
            dirtyBytesPerSecond = Double(pages) * Double(page)
        }
        bandwidthBytesPerSecond = sample.megabitsPerSecond.flatMap { $0.isFinite && $0 >= 0 ? $0 * 125_000 : nil }
        iteration = amount(sample.iteration)
        expectedDowntimeMilliseconds = amount(sample.expectedDowntimeMilliseconds)
        throttlePercentage = amount(sample.throttlePercentage)
    }
}

/// What a policy is told.
public enum PolicyInput: Hashable, Sendable {
    /// What `query-migrate` told.
    case sample(PolicySample)
    /// QEMU's status word, at a time in milliseconds since `migrate`.
    case status(StatusWord, elapsedMilliseconds: Int64)
    /// Nothing new, but time has passed: milliseconds since `migrate`.
    case time(elapsedMilliseconds: Int64)
}

/// What a policy needs to know beforehand.
public struct PolicyContext: Hashable, Sendable {
    /// The downtime limit in force when it begins, in milliseconds.
    public var downtimeMilliseconds: Int64 = 300
    /// The bandwidth limit in force, in bytes each second; 0 is unlimited.
    public var bandwidthLimitBytesPerSecond: Int64 = 0
    /// Whether post-copy could be started: the capability is on, on both sides.
    public var isPostcopyPossible = false
    /// Whether the guest has host devices (VFIO).
    public var hasHostDevices = false

    /// QEMU's own limits, and nothing special.
    public init() {}
}

/// What a policy wants done.
public enum PolicyEffect: Hashable, Sendable {
    /// Set `downtime-limit`, in milliseconds.
    case setDowntime(Int64)
    /// Set `max-bandwidth`, in bytes each second.
    case setBandwidth(Int64)
    /// Throttle the guest, in percent.
    case setThrottle(Int64)
    /// `migrate-start-postcopy`
    case startPostcopy
    /// `stop`
    case pauseGuest
    /// Set `downtime-limit` to the most that QEMU takes, so that it switches over at its next look.
    case hardSwitchover
    /// `migrate_cancel`, and why.
    case cancel(String)
    /// Only something to say.
    case note(String)

    /// The most that QEMU takes as a downtime limit, in milliseconds.
    public static let maximumDowntimeMilliseconds: Int64 = 2_000_000

    /// For a person.
    public var text: String {
        switch self {
        case .setDowntime(let limit): "set downtime \(limit) ms"
        case .setBandwidth(let limit): "set bandwidth \(limit) bytes/s"
        case .setThrottle(let percent): "set throttle \(percent) %"
        case .startPostcopy: "start post-copy"
        case .pauseGuest: "pause the guest"
        case .hardSwitchover: "switch over at any price"
        case .cancel(let why): "cancel: \(why)"
        case .note(let text): "note: \(text)"
        }
    }
}

/// Something that a policy wants done, with the rule and the numbers that led to it.
public struct PolicyDecision: Hashable, Sendable {
    /// A number that was looked at.
    public struct Reading: Hashable, Sendable {
        /// What it is called.
        public var name: String
        /// What it was; `nil` if it was not known.
        public var value: Double?
    }

    /// When, in milliseconds since `migrate`.
    public var elapsedMilliseconds: Int64
    /// What is to be done.
    public var effect: PolicyEffect
    /// The rule's name.
    public var rule: String
    /// The step of the rule, from 1, if it has steps.
    public var step: Int?
    /// What made the rule be tried.
    public var trigger: ConvergencePolicy.Trigger
    /// The rule's conditions, as they are written.
    public var conditions: [String]
    /// The numbers that the conditions and the action looked at.
    public var readings: [Reading]
}
