public import JSONC

/// Reply of `query-migrate`. Everything is optional: `{}` before the first migration, no numbers after `failed` or
/// `cancelled`, little on a destination. Numbers are read whether QEMU writes them as integers or as doubles; a member
/// of an unexpected type counts as missing, unknown members are ignored.
public struct MigrationInfo: Hashable, Sendable {
    /// The member `ram`.
    public struct RAM: Hashable, Sendable {
        /// Bytes sent; may exceed `total`.
        public var transferred: Int64?
        /// Bytes still to send; may grow.
        public var remaining: Int64?
        /// Bytes of guest RAM.
        public var total: Int64?
        /// Zero pages.
        public var duplicate: Int64?
        /// Pages sent.
        public var normal: Int64?
        /// Bytes of `normal`.
        public var normalBytes: Int64?
        /// Pages per second that the guest dirties, measured at most once a second.
        public var dirtyPagesRate: Int64?
        /// Megabits per second over the last 100 ms.
        public var mbps: Double?
        /// Passes over the dirty bitmap, as MIGRATION_PASS counts them.
        public var dirtySyncCount: Int64?
        /// Bytes.
        public var pageSize: Int64?
        /// Pages asked for by the destination in post-copy.
        public var postcopyRequests: Int64?
        /// Bytes through multifd channels.
        public var multifdBytes: Int64?
        /// Pages sent per second.
        public var pagesPerSecond: UInt64?
        /// Bytes sent before the guest was stopped (7.0).
        public var precopyBytes: Int64?
        /// Bytes sent while it was stopped (7.0).
        public var downtimeBytes: Int64?
        /// Bytes sent in post-copy (7.0).
        public var postcopyBytes: Int64?

        /// Nothing known.
        public init() {}
    }

    /// One listening address of a destination.
    public struct SocketAddress: Hashable, Sendable {
        /// `inet`, `unix`, `vsock` or `fd`.
        public var type: String
        /// Host name or address, for `inet`.
        public var host: String?
        /// The real port in text, for `inet` and `vsock`.
        public var port: String?
        /// The socket's path, for `unix`.
        public var path: String?

        /// An address by its members.
        public init(type: String, host: String? = nil, port: String? = nil, path: String? = nil) {
            self.type = type
            self.host = host
            self.port = port
            self.path = path
        }
    }

    /// QEMU's status word.
    public var status: String?
    /// Milliseconds since `migrate`.
    public var totalTime: Int64?
    /// Milliseconds that the guest stood still.
    public var downtime: Int64?
    /// Milliseconds that it would stand still; nil too when QEMU says 9223372036854775807, its word for unknown.
    public var expectedDowntime: Int64?
    /// Milliseconds.
    public var setupTime: Int64?
    /// Text for people, not to be parsed. It may be stale or belong to a cancel.
    public var errorDesc: String?
    /// Why a migration would be refused.
    public var blockedReasons: [String] = []
    /// Where a destination listens.
    public var socketAddresses: [SocketAddress] = []
    /// Progress of guest RAM.
    public var ram: RAM?
    /// Percent.
    public var cpuThrottlePercentage: Int64?
    /// Milliseconds that all processors of a post-copy's destination waited for pages.
    public var postcopyBlocktime: Int64?
    /// Bytes still to send, devices included (proposed for QEMU, not in all releases).
    public var remaining: Int64?

    /// The reply to a source or destination that never migrated.
    public init() {}

    /// Reads what is there.
    public init(_ view: JSONView) {
        self.status = view["status"]?.string
        self.totalTime = view["total-time"]?.wholeNumber
        self.downtime = view["downtime"]?.wholeNumber
        self.expectedDowntime = view["expected-downtime"]?.wholeNumber
        if self.expectedDowntime == .max { self.expectedDowntime = nil }
        self.setupTime = view["setup-time"]?.wholeNumber
        self.errorDesc = view["error-desc"]?.string
        view["blocked-reasons"]?.forEachElement { reason in
            if let text = reason.string { self.blockedReasons.append(text) }
        }
        view["socket-address"]?.forEachElement { address in
            guard let type = address["type"]?.string else { return }
            self.socketAddresses.append(
                SocketAddress(
                    type: type,
                    host: address["host"]?.string ?? address["cid"]?.string,
                    port: address["port"]?.string ?? address["port"]?.int64.map { String($0) },
                    path: address["path"]?.string
                ))
        }
        self.ram = view["ram"].flatMap { $0.kind == .object ? RAM($0) : nil }
        self.cpuThrottlePercentage = view["cpu-throttle-percentage"]?.wholeNumber
        self.postcopyBlocktime = view["postcopy-blocktime"]?.wholeNumber
        self.remaining = view["remaining"]?.wholeNumber
    }
}

extension MigrationInfo.RAM {
    init(_ view: JSONView) {
        self.transferred = view["transferred"]?.wholeNumber
        self.remaining = view["remaining"]?.wholeNumber
        self.total = view["total"]?.wholeNumber
        self.duplicate = view["duplicate"]?.wholeNumber
        self.normal = view["normal"]?.wholeNumber
        self.normalBytes = view["normal-bytes"]?.wholeNumber
        self.dirtyPagesRate = view["dirty-pages-rate"]?.wholeNumber
        self.mbps = view["mbps"]?.double
        self.dirtySyncCount = view["dirty-sync-count"]?.wholeNumber
        self.pageSize = view["page-size"]?.wholeNumber
        self.postcopyRequests = view["postcopy-requests"]?.wholeNumber
        self.multifdBytes = view["multifd-bytes"]?.wholeNumber
        self.pagesPerSecond = view["pages-per-second"]?.uint64
        self.precopyBytes = view["precopy-bytes"]?.wholeNumber
        self.downtimeBytes = view["downtime-bytes"]?.wholeNumber
        self.postcopyBytes = view["postcopy-bytes"]?.wholeNumber
    }
}
