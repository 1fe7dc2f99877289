public import JSONC

/// The numbers of an outgoing migration, as libvirt's job statistics have them.
///
/// QEMU forgets most of them when a migration fails or is cancelled; here the last ones of each kind are kept.
public struct JobStatistics: Hashable, Sendable {
    /// A number, by the name that it has in documents.
    public enum Number: String, Hashable, Sendable, CaseIterable {
        /// Since `migrate`.
        case timeElapsedMilliseconds
        /// Until all memory is sent at the last throughput, if nothing were written any more.
        case timeRemainingMilliseconds
        /// The guest's pause; while it runs, what QEMU expects it to be.
        case downtimeMilliseconds
        /// Setting up.
        case setupMilliseconds
        /// The guest's memory.
        case memoryTotalBytes
        /// Sent so far.
        case memoryProcessedBytes
        /// Known to be left.
        case memoryRemainingBytes
        /// Throughput.
        case memoryBytesPerSecond
        /// Pages of nothing but one value, of which only that was sent.
        case memoryConstantPages
        /// Pages sent whole.
        case memoryNormalPages
        /// Their bytes.
        case memoryNormalBytes
        /// Pages written each second.
        case memoryDirtyPagesPerSecond
        /// The pass over memory, from 1.
        case memoryIteration
        /// The size of a page.
        case memoryPageBytes
        /// Pages that the destination asked for in post-copy.
        case memoryPostcopyRequests
        /// Bytes over the connections of multifd.
        case multifdBytes
        /// XBZRLE: its cache.
        case xbzrleCacheBytes
        /// XBZRLE: bytes sent.
        case xbzrleBytes
        /// XBZRLE: pages sent as differences.
        case xbzrlePages
        /// XBZRLE: pages that were not in the cache.
        case xbzrleCacheMisses
        /// XBZRLE: pages whose difference was longer than they are.
        case xbzrleOverflows
        /// How far auto-converge held the guest back.
        case autoConvergeThrottlePercent
        /// Bytes of host devices.
        case vfioBytes
    }

    private var numbers: [Number: Int64] = [:]

    /// Nothing is known yet.
    public init() {}

    /// A number; `nil` if QEMU never told it.
    public subscript(_ number: Number) -> Int64? { numbers[number] }

    /// Whether QEMU has told anything of memory.
    public var isEmpty: Bool { numbers[.memoryTotalBytes] == nil }

    /// Takes what a reply to `query-migrate` tells. A migration that failed tells little: what it leaves out stays.
    public mutating func note(_ view: JSONView) {
        func take(_ number: Number, _ view: JSONView?, times factor: Int64 = 1) {
            guard let value = view?.int64, value >= 0 else { return }
            let (product, overflow) = value.multipliedReportingOverflow(by: factor)
            if !overflow { numbers[number] = product }
        }
        take(.timeElapsedMilliseconds, view["total-time"])
        take(.downtimeMilliseconds, view["downtime"] ?? view["expected-downtime"])
        take(.setupMilliseconds, view["setup-time"])
        take(.autoConvergeThrottlePercent, view["cpu-throttle-percentage"])
        take(.vfioBytes, view["vfio"]?["transferred"])
        if let ram = view["ram"] {
            take(.memoryTotalBytes, ram["total"])
            take(.memoryProcessedBytes, ram["transferred"])
            take(.memoryRemainingBytes, ram["remaining"])
            take(.memoryConstantPages, ram["duplicate"])
            take(.memoryNormalPages, ram["normal"])
            take(.memoryNormalBytes, ram["normal-bytes"])
            take(.memoryDirtyPagesPerSecond, ram["dirty-pages-rate"])
            take(.memoryIteration, ram["dirty-sync-count"])
            take(.memoryPageBytes, ram["page-size"])
            take(.memoryPostcopyRequests, ram["postcopy-requests"])
            take(.multifdBytes, ram["multifd-bytes"])
            // Megabits of a million.
            if let rate = ram["mbps"]?.double, rate.isFinite, rate >= 0, rate < 1e12 {
                numbers[.memoryBytesPerSecond] = Int64(rate * 125_000)
            }
        }
        if let cache = view["xbzrle-cache"] {
            take(.xbzrleCacheBytes, cache["cache-size"])
            take(.xbzrleBytes, cache["bytes"])
            take(.xbzrlePages, cache["pages"])
            take(.xbzrleCacheMisses, cache["cache-miss"])
            take(.xbzrleOverflows, cache["overflow"])
        }
        if let left = numbers[.memoryRemainingBytes], let rate = numbers[.memoryBytesPerSecond], rate > 0 {
            let seconds = Double(left) / Double(rate)
            numbers[.timeRemainingMilliseconds] = seconds < 1e12 ? Int64(seconds * 1000) : nil
        }
    }

    /// The numbers that are known, in their order.
    public var json: JSONObject {
        var object: JSONObject = ["operation": "outgoing"]
        for number in Number.allCases {
            if let value = numbers[number] { object[number.rawValue] = .integer(value) }
        }
        return object
    }
}
