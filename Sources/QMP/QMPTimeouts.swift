/// The classes of commands that differ in how long an answer may take.
public enum QMPCommandKind: Hashable, Sendable, CaseIterable {
    /// Reads state; answered at once unless QEMU's main loop is held up.
    case query
    /// A query repeated on a timer; at most one is outstanding.
    case poll
    /// Changes settings.
    case configure
    /// Makes QEMU do something that usually starts at once: migrate, yank, quit.
    case action
    /// May drain disks or wait for a dead server: stop, cont, migrate_cancel up to 9.2.
    case slow
    /// Large replies such as query-qmp-schema.
    case schema
}

/// How much a session may have under way.
public enum QMPLimits {
    /// In-band commands without an answer; with eight QEMU stops reading the socket.
    public static let inBand = 7
}

/// How long each step of a session may take.
public struct QMPTimeouts: Hashable, Sendable {
    /// From the connection to the greeting. A free monitor greets within milliseconds, a busy one never.
    public var greeting: Duration = .seconds(2)
    /// From `qmp_capabilities` to its reply.
    public var negotiation: Duration = .seconds(5)
    /// For `QMPCommandKind.query`.
    public var query: Duration = .seconds(10)
    /// For `QMPCommandKind.poll`.
    public var poll: Duration = .seconds(10)
    /// For `QMPCommandKind.configure`.
    public var configure: Duration = .seconds(10)
    /// For `QMPCommandKind.action`.
    public var action: Duration = .seconds(30)
    /// For `QMPCommandKind.slow`.
    public var slow: Duration = .seconds(120)
    /// For `QMPCommandKind.schema`.
    public var schema: Duration = .seconds(20)
    /// For every out-of-band command, whatever its kind: these do not wait for QEMU's main loop.
    public var outOfBand: Duration = .seconds(5)

    /// The defaults.
    public init() {}

    /// The same limit for every command, and for greeting and negotiation.
    public init(all duration: Duration) {
        self.greeting = duration
        self.negotiation = duration
        self.query = duration
        self.poll = duration
        self.configure = duration
        self.action = duration
        self.slow = duration
        self.schema = duration
        self.outOfBand = duration
    }

    /// The limit for a request.
    public func limit(for request: QMPRequest) -> Duration {
        if request.outOfBand { return self.outOfBand }
        return switch request.kind {
        case .query: self.query
        case .poll: self.poll
        case .configure: self.configure
        case .action: self.action
        case .slow: self.slow
        case .schema: self.schema
        }
    }
}

extension Duration {
    /// Whole nanoseconds, 0 for negative durations and saturating (QMP clocks are unsigned).
    package var qmpNanoseconds: UInt64 {
        let (seconds, attoseconds) = self.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (product, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return .max }
        let (sum, carry) = product.addingReportingOverflow(UInt64(attoseconds) / 1_000_000_000)
        return carry ? .max : sum
    }
}
