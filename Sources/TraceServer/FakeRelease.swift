/// The release that a fake imitates: it decides the order of words and which commands and members there are.
public struct FakeRelease: Hashable, Sendable, CustomStringConvertible {
    /// The numbers of the greeting.
    public var major: Int64
    /// The numbers of the greeting.
    public var minor: Int64
    /// The numbers of the greeting.
    public var micro: Int64

    /// A release by its numbers.
    public init(_ major: Int64, _ minor: Int64, _ micro: Int64) {
        self.major = major
        self.minor = minor
        self.micro = micro
    }

    /// No `setup` status on a destination, no `device` without a pause, `failed` as the first word of a failure.
    public static let v7 = FakeRelease(7, 2, 22)
    /// `device` always, `setup` is a real status of a destination, `exit-on-error`.
    public static let v10 = FakeRelease(10, 0, 13)
    /// `failing` before `failed`, which then means that the cleanup is done.
    public static let v11 = FakeRelease(11, 1, 3)

    /// The three above.
    public static let all: [FakeRelease] = [.v7, .v10, .v11]

    /// As in `7.2.22`.
    public var description: String { "\(major).\(minor).\(micro)" }

    private func isAtLeast(_ major: Int64, _ minor: Int64) -> Bool { (self.major, self.minor) >= (major, minor) }

    /// `setup` of a destination is a status, and its event obeys the capability (8.2).
    var hasIncomingSetup: Bool { isAtLeast(8, 2) }
    /// A failed or cancelled migration restores the run state of a paused guest (8.1); earlier it became `postmigrate`.
    var restoresRunState: Bool { isAtLeast(8, 1) }
    /// `migrate-incoming` takes `exit-on-error` (9.1).
    var hasExitOnError: Bool { isAtLeast(9, 1) }
    /// `device` also without pause-before-switchover (10.0).
    var alwaysHasDevice: Bool { isAtLeast(10, 0) }
    /// `failing` (11.1).
    var hasFailing: Bool { isAtLeast(11, 1) }
    /// `query-status` has `singlestep` (up to 8.2).
    var hasSinglestep: Bool { !isAtLeast(9, 0) }
    /// `error-desc` in every status, and on destinations (9.1).
    var alwaysHasErrorDesc: Bool { isAtLeast(9, 1) }
    /// The first pass belongs to the setup and has no event.
    var startsWithPassTwo: Bool { isAtLeast(11, 0) }
    /// The capability `dirty-limit` and its parameters (8.1).
    var hasDirtyLimit: Bool { isAtLeast(8, 1) }
    /// Capabilities in the order of the reply.
    var capabilities: [String] {
        var names = ["xbzrle", "rdma-pin-all", "auto-converge"]
        if !isAtLeast(11, 0) { names.append("zero-blocks") }
        if !isAtLeast(9, 1) { names.append("compress") }
        names += ["events", "postcopy-ram", "x-colo", "release-ram"]
        if !isAtLeast(9, 1) { names.append("block") }
        names += [
            "return-path", "pause-before-switchover", "multifd", "dirty-bitmaps", "postcopy-blocktime",
            "late-block-activate", "x-ignore-shared", "validate-uuid", "background-snapshot", "zero-copy-send",
            "postcopy-preempt",
        ]
        if hasDirtyLimit { names += ["switchover-ack", "dirty-limit"] }
        if isAtLeast(9, 0) { names.append("mapped-ram") }
        return names
    }
}
