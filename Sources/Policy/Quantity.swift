/// What a policy's expressions can ask for. The raw value is the word in the document.
///
/// Times are milliseconds, amounts bytes, rates bytes each second; what is true is 1, what is not is 0.
public enum Quantity: String, Hashable, Sendable, CaseIterable {
    /// Milliseconds since `migrate`.
    case elapsed
    /// Bytes of guest memory.
    case memory
    /// Bytes left.
    case remaining
    /// Bytes sent.
    case transferred
    /// Bytes that the guest dirties each second, by QEMU's count.
    case dirty
    /// Bytes sent each second, by QEMU's count over its last 100 ms.
    case bandwidth
    /// Milliseconds of pause that QEMU expects.
    case expected
    /// Number of the pass over memory, from 1.
    case iteration
    /// Percent by which auto-converge holds the guest back.
    case throttle
    /// Milliseconds of the downtime limit in force.
    case downtime
    /// Bytes each second of the bandwidth limit in force; 0 is unlimited.
    case bandwidthLimit
    /// Whether a pass began since the last tick.
    case boundary
    /// Whether the stall detector has seen the copying stall.
    case stalled
    /// Bytes left at the best moment that the stall detector hopes for; unknown before a stall.
    case best
    /// Whether post-copy was asked for or runs.
    case postcopy
    /// Whether post-copy could be started.
    case postcopyPossible
    /// Whether host devices (VFIO) forbid pausing the guest from outside.
    case hostDevices
    /// Whether the policy has paused the guest.
    case paused
    /// Whether the policy has asked for a switchover at any price.
    case hard

    /// The unit, for a person.
    public var unit: String {
        switch self {
        case .elapsed, .expected, .downtime: "ms"
        case .memory, .remaining, .transferred, .best: "bytes"
        case .dirty, .bandwidth, .bandwidthLimit: "bytes/s"
        case .iteration: "count"
        case .throttle: "percent"
        case .boundary, .stalled, .postcopy, .postcopyPossible, .hostDevices, .paused, .hard: "0 or 1"
        }
    }

    /// What it is, for a person.
    public var meaning: String {
        switch self {
        case .elapsed: "time since `migrate`"
        case .memory: "guest memory (`ram.total`)"
        case .remaining: "memory left (`ram.remaining`)"
        case .transferred: "memory sent (`ram.transferred`)"
        case .dirty: "how fast the guest writes (`dirty-pages-rate` times `page-size`)"
        case .bandwidth: "how fast memory is sent (`ram.mbps`)"
        case .expected: "the pause that QEMU expects (`expected-downtime`)"
        case .iteration: "the pass over memory (`dirty-sync-count`)"
        case .throttle: "how far auto-converge holds the guest back"
        case .downtime: "the downtime limit in force"
        case .bandwidthLimit: "the bandwidth limit in force; 0 is none"
        case .boundary: "whether a pass began since the last tick"
        case .stalled: "whether the stall detector has seen a stall"
        case .best: "the least memory left that the stall detector hopes for"
        case .postcopy: "whether post-copy was asked for or runs"
        case .postcopyPossible: "whether post-copy could be started"
        case .hostDevices: "whether the guest has host devices (VFIO)"
        case .paused: "whether this policy paused the guest"
        case .hard: "whether this policy asked for a switchover at any price"
        }
    }
}
