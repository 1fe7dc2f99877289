/// Which end of a migration something concerns.
public enum Side: String, Hashable, Sendable, CaseIterable {
    /// The QEMU the guest leaves.
    case source
    /// The QEMU the guest arrives at.
    case destination

    /// The other end.
    public var other: Side { self == .source ? .destination : .source }
}

/// A point on the recorder's monotonic clock, in microseconds since its start. Machines only compare and subtract it.
public struct Instant: Hashable, Comparable, Sendable {
    /// Microseconds since the start of the recording.
    public var microseconds: Int64

    /// A point `microseconds` after the start of the recording.
    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// Earlier than.
    public static func < (left: Instant, right: Instant) -> Bool { left.microseconds < right.microseconds }

    /// Milliseconds from `earlier` to this point, rounded down; a clock that ran backwards gives a negative number.
    public func milliseconds(since earlier: Instant) -> Int64 {
        let (difference, overflow) = microseconds.subtractingReportingOverflow(earlier.microseconds)
        return overflow ? 0 : difference / 1000
    }
}

/// A member of QEMU's `MigrationStatus`, as on the wire. Words that no known QEMU says are kept as they are.
public struct StatusWord: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The word on the wire.
    public var rawValue: String

    /// Any word, known or not.
    public init(rawValue: String) { self.rawValue = rawValue }

    private init(_ word: String) { rawValue = word }

    /// Nothing was ever started. QEMU prints no `status` member instead of this word.
    public static let none = StatusWord("none")
    /// Connecting; on a destination listening.
    public static let setup = StatusWord("setup")
    /// Waiting for the guest to release a failover network device.
    public static let waitUnplug = StatusWord("wait-unplug")
    /// Memory is being copied.
    public static let active = StatusWord("active")
    /// The guest is stopped and QEMU waits for `migrate-continue`.
    public static let preSwitchover = StatusWord("pre-switchover")
    /// Device state is being written.
    public static let device = StatusWord("device")
    /// The post-copy package was sent and is being loaded (QEMU 10.2).
    public static let postcopyDevice = StatusWord("postcopy-device")
    /// The guest may run on the destination while memory follows.
    public static let postcopyActive = StatusWord("postcopy-active")
    /// The channel broke in post-copy.
    public static let postcopyPaused = StatusWord("postcopy-paused")
    /// A recovery connects (QEMU 9.1).
    public static let postcopyRecoverSetup = StatusWord("postcopy-recover-setup")
    /// A recovery shakes hands.
    public static let postcopyRecover = StatusWord("postcopy-recover")
    /// Continuous checkpointing.
    public static let colo = StatusWord("colo")
    /// Finished.
    public static let completed = StatusWord("completed")
    /// An error was seen and is being cleaned up (QEMU 11.1).
    public static let failing = StatusWord("failing")
    /// Ended by an error.
    public static let failed = StatusWord("failed")
    /// A cancel was accepted and is being carried out.
    public static let cancelling = StatusWord("cancelling")
    /// Ended by a cancel.
    public static let cancelled = StatusWord("cancelled")

    /// Whether no known QEMU says this word.
    public var isUnknown: Bool { self != .none && EventKind(word: self) == .unknownStatus }

    /// The words of pre-copy in the only order QEMU says them in.
    private static let precopyOrder: [StatusWord] = [.setup, .waitUnplug, .active, .preSwitchover, .device, .completed]

    /// Whether pre-copy passes through this word before it comes to `other`.
    func isEarlier(than other: StatusWord) -> Bool {
        guard let own = Self.precopyOrder.firstIndex(of: self),
            let others = Self.precopyOrder.firstIndex(of: other)
        else { return false }
        return own < others
    }

    /// Whether nothing more follows this word until the next attempt. Every unknown word means "in progress".
    public var isTerminal: Bool { self == .completed || self == .failed || self == .cancelled || self == .none }

    /// The word itself.
    public var description: String { rawValue }
}

/// A member of QEMU's `RunState`, as on the wire.
public struct RunState: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The word on the wire.
    public var rawValue: String

    /// Any run state, known or not.
    public init(rawValue: String) { self.rawValue = rawValue }

    private init(_ word: String) { rawValue = word }

    /// vCPUs run.
    public static let running = RunState("running")
    /// Stopped by `stop`.
    public static let paused = RunState("paused")
    /// Started with `-S` and never run.
    public static let prelaunch = RunState("prelaunch")
    /// Waiting for, or loading, an incoming migration.
    public static let inMigrate = RunState("inmigrate")
    /// Stopped by the migration's switchover.
    public static let finishMigrate = RunState("finish-migrate")
    /// The guest was sent away.
    public static let postMigrate = RunState("postmigrate")
    /// The guest powered itself off and QEMU stayed (`-no-shutdown`).
    public static let shutdown = RunState("shutdown")
    /// An error of a disk stopped the guest (`rerror=stop`, `werror=stop`).
    public static let ioError = RunState("io-error")

    /// The word itself.
    public var description: String { rawValue }
}

/// How a process ended, as far as it was seen.
public enum ProcessEnd: Hashable, Sendable, CustomStringConvertible {
    /// It exited with a code.
    case exited(Int)
    /// A signal ended it.
    case signalled(Int)
    /// It is gone; how was not to be seen (a pidfd tells the end, not the code, of somebody else's child).
    case gone

    /// A few words for a person.
    public var description: String {
        switch self {
        case .exited(let code): "exited with code \(code)"
        case .signalled(let signal): "ended by signal \(signal)"
        case .gone: "ended"
        }
    }
}

/// The QMP connection's condition.
public enum MonitorState: Hashable, Sendable {
    /// Greeted and negotiated.
    case connected
    /// The connection is gone. This says nothing about the process.
    case lost
    /// Another client has the monitor.
    case busy
}

/// Who wanted something.
public enum Origin: String, Hashable, Sendable {
    /// This controller, following the protocol.
    case controller
    /// A person or the program that called us.
    case `operator`
    /// A deadline or a convergence policy.
    case policy
    /// The other party of the steps.
    case peer
    /// Somebody else who talks to the same QEMU, or a recording's controller.
    case external
}
