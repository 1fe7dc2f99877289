/// An event of QEMU, as far as the migration logic tells events apart.
public enum QEMUEvent: Hashable, Sendable {
    /// `MIGRATION`
    case migration(StatusWord)
    /// `MIGRATION_PASS`
    case pass(Int64)
    /// `STOP`
    case stop
    /// `RESUME`
    case resume
    /// `SHUTDOWN`; `byGuest` as QEMU says.
    case shutdown(byGuest: Bool, reason: String)
    /// `RESET`
    case reset
    /// `GUEST_PANICKED`, `BLOCK_IO_ERROR`, `WATCHDOG`: trouble in the guest, with the event's name.
    case guestFault(String)
    /// `UNPLUG_PRIMARY`: the guest shall release this failover device before it can be migrated.
    case unplugPrimary(String)
    /// `BLOCK_JOB_READY`, `BLOCK_JOB_COMPLETED`, `BLOCK_JOB_CANCELLED`, `BLOCK_JOB_ERROR`
    case blockJob(BlockJobEvent)
    /// Any other event, by name.
    case other(String)
}

/// Something observed about one QEMU.
public enum Fact: Hashable, Sendable {
    /// The monitor connection changed.
    case monitor(MonitorState)
    /// The process ended.
    case process(ProcessEnd)
    /// The greeting, with QEMU's version.
    case greeting(QEMUVersion)
    /// An event.
    case event(QEMUEvent)
    /// The answer to a command that was sent.
    case reply(Command, Reply)
    /// No answer came within the command's deadline. The command may still be carried out.
    case unanswered(Command)
    /// The process that would have to be killed cannot be, and why.
    case unkillable(String)
}

/// A QEMU version.
public struct QEMUVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// First number.
    public var major: Int
    /// Second number.
    public var minor: Int
    /// Third number.
    public var micro: Int

    /// A version.
    public init(_ major: Int, _ minor: Int, _ micro: Int = 0) {
        self.major = major
        self.minor = minor
        self.micro = micro
    }

    /// Older than.
    public static func < (left: QEMUVersion, right: QEMUVersion) -> Bool {
        (left.major, left.minor, left.micro) < (right.major, right.minor, right.micro)
    }

    /// As QEMU prints it.
    public var description: String { "\(major).\(minor).\(micro)" }
}
