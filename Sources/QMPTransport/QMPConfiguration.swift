internal import JSONC
public import QMP

/// How a connection behaves.
public struct QMPConfiguration: Hashable, Sendable {
    /// How long each step may take.
    public var timeouts = QMPTimeouts()
    /// The largest message accepted from the monitor, in bytes.
    public var maximumMessageBytes = 64 << 20
    /// The deepest nesting accepted; QEMU's own limit is 1024.
    public var maximumDepth = 1024
    /// In-band commands in flight; with eight QEMU stops reading the socket.
    public var inBandLimit = QMPLimits.inBand
    /// Enable out-of-band execution when it is offered.
    public var wantsOutOfBand = true
    /// How long to wait for a socket that is not there yet, or that nobody listens on yet. Nil: not at all.
    public var waitForSocket: Duration?
    /// How many bytes of events a subscriber of `QMPClient` may leave unread.
    public var maximumEventBytes = 4 << 20

    /// The defaults.
    public init() {}

    var limits: JSONLimits {
        var limits = JSONLimits()
        limits.maximumDepth = self.maximumDepth
        limits.maximumBytes = self.maximumMessageBytes
        return limits
    }
}
