public import ArgumentParser
import Migration

/// Percent of something, 1 to 99, as QEMU takes it for throttling.
public struct Percentage: Hashable, Sendable, ExpressibleByArgument {
    /// The number.
    public var value: Int64

    /// Reads what a person wrote, with or without the sign; `nil` for anything out of range.
    public init?(argument: String) {
        let digits = argument.hasSuffix("%") ? argument.dropLast() : argument[...]
        guard let value = Int64(digits), (1...99).contains(value) else { return nil }
        self.value = value
    }
}

/// How the connections are compressed.
public enum ParallelCompression: String, ExpressibleByArgument, CaseIterable, Sendable {
    /// Not at all.
    case none
    /// zlib
    case zlib
    /// Zstandard
    case zstd
}

/// The options of `godwit migrate` about how memory travels, under QEMU's names for them.
public struct StreamArguments: ParsableArguments {
    @Flag(name: .long, help: "Send memory over several connections.")
    var multifd = false

    @Option(name: .long, help: ArgumentHelp("So many connections, 1 to 255.", valueName: "number"))
    var multifdChannels: Int64?

    @Option(name: .long, help: "How they are compressed: none, zlib or zstd, where QEMU was built with it.")
    var multifdCompression: ParallelCompression?

    @Option(name: .long, help: ArgumentHelp("0 to 9.", valueName: "level"))
    var multifdZlibLevel: Int64?

    @Option(name: .long, help: ArgumentHelp("0 to 20.", valueName: "level"))
    var multifdZstdLevel: Int64?

    @Flag(name: .long, help: "Send pages that were sent before as differences.")
    var xbzrle = false

    @Option(name: .long, help: ArgumentHelp("Keep so many bytes of sent pages; a power of two.", valueName: "size"))
    var xbzrleCacheSize: ByteQuantity?

    @Flag(name: .long, help: "Slow the guest's processors down until it converges.")
    var autoConverge = false

    @Option(name: .long, help: ArgumentHelp("By how much at first.", valueName: "percent"))
    var cpuThrottleInitial: Percentage?

    @Option(name: .long, help: ArgumentHelp("By how much more each time.", valueName: "percent"))
    var cpuThrottleIncrement: Percentage?

    @Option(name: .long, help: ArgumentHelp("By how much at most.", valueName: "percent"))
    var maxCpuThrottle: Percentage?

    @Flag(name: .long, help: "Use smaller steps as the end comes near.")
    var cpuThrottleTailslow = false

    @Flag(name: .long, help: "Send without copying; needs --multifd and locked memory.")
    var zeroCopySend = false

    @Flag(name: .long, help: "Slow down the processors that write too much; needs KVM with a dirty ring.")
    var dirtyLimit = false

    @Option(name: .long, help: ArgumentHelp("Most that one processor may write, a second.", valueName: "size"))
    var vcpuDirtyLimit: ByteQuantity?

    // Recognised so that they can be explained.
    @Flag(name: .long, help: .hidden) var compress = false
    @Flag(name: .long, help: .hidden) var block = false
    @Flag(name: .long, help: .hidden) var xColo = false
    @Flag(name: .long, help: .hidden) var backgroundSnapshot = false
    @Flag(name: .long, help: .hidden) var rdmaPinAll = false
    @Option(name: .long, help: .hidden) var mode: String?

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot. What excludes what is the attempt's to say.
    public func validate() throws {
        func check(_ name: String, _ value: Int64?, _ range: ClosedRange<Int64>) throws {
            guard let value, !range.contains(value) else { return }
            throw ValidationError("--\(name) \(value): QEMU takes \(range.lowerBound) to \(range.upperBound)")
        }
        try check("multifd-channels", multifdChannels, 1...255)
        try check("multifd-zlib-level", multifdZlibLevel, 0...9)
        try check("multifd-zstd-level", multifdZstdLevel, 0...20)
        if let size = xbzrleCacheSize?.bytes, size < 4096 || size.nonzeroBitCount != 1 {
            throw ValidationError("--xbzrle-cache-size \(size): QEMU takes a power of two, no less than a page")
        }
        if xbzrleCacheSize != nil, !xbzrle { throw ValidationError("--xbzrle-cache-size needs --xbzrle") }
        let throttles = maxCpuThrottle != nil || cpuThrottleTailslow
        if throttles, !autoConverge { throw ValidationError("throttling is tuned without --auto-converge") }
        if let first = cpuThrottleInitial, let most = maxCpuThrottle, first.value > most.value {
            throw ValidationError("--max-cpu-throttle is less than --cpu-throttle-initial")
        }
        if let limit = vcpuDirtyLimit {
            guard dirtyLimit else { throw ValidationError("--vcpu-dirty-limit needs --dirty-limit") }
            guard limit.bytes >= 1 << 20 else { throw ValidationError("--vcpu-dirty-limit: QEMU takes 1 MiB or more") }
        }
        if dirtyLimit, autoConverge { throw ValidationError("--dirty-limit and --auto-converge exclude each other") }
        if let mode, mode != "normal" { throw ValidationError("--mode \(mode): \(Self.refusal(ofMode: mode))") }
        for (isAsked, why) in refused where isAsked { throw ValidationError(why) }
    }

    private static func refusal(ofMode mode: String) -> String {
        switch mode {
        case "cpr-reboot": "the guest goes through a file: `godwit save --mode cpr-reboot`, and `godwit restore`"
        case "cpr-transfer":
            "the destination's QEMU has no monitor before it was given the source's memory, so that nothing of it could "
                + "be compared, set or refused before"
        case "cpr-exec": "the QEMU replaces itself, and there is no other one that the guest could be proven to be in"
        default: "QEMU has no such mode"
        }
    }

    private var refused: [(Bool, String)] {
        [
            (compress, "--compress: QEMU's first compression was removed in 9.1; --multifd-compression compresses"),
            (block, "--block: QEMU's block migration was removed in 9.1; --copy-storage-all copies disks"),
            (
                xColo,
                "--x-colo: COLO keeps two guests in step and never ends; this program moves a guest and then is done"
            ),
            (
                backgroundSnapshot,
                "--background-snapshot: the guest goes on here and a copy of it goes elsewhere, which is no migration"
            ),
            (rdmaPinAll, "--rdma-pin-all: RDMA is not supported"),
        ]
    }

    /// The capabilities that are asked for.
    var capabilities: [String] {
        [
            ("multifd", multifd), ("xbzrle", xbzrle), ("auto-converge", autoConverge),
            ("zero-copy-send", zeroCopySend), ("dirty-limit", dirtyLimit),
        ].filter(\.1).map(\.0)
    }

    /// The parameters that are asked for.
    var parameters: [Setting] {
        let numbers: [(String, Int64?)] = [
            ("multifd-channels", multifdChannels), ("multifd-zlib-level", multifdZlibLevel),
            ("multifd-zstd-level", multifdZstdLevel), ("xbzrle-cache-size", xbzrleCacheSize?.bytes),
            ("cpu-throttle-initial", cpuThrottleInitial?.value),
            ("cpu-throttle-increment", cpuThrottleIncrement?.value), ("max-cpu-throttle", maxCpuThrottle?.value),
            ("vcpu-dirty-limit", vcpuDirtyLimit.map { $0.bytes >> 20 }),
        ]
        var settings = numbers.compactMap { name, value in value.map { Setting(name, .integer($0)) } }
        if let multifdCompression {
            settings.append(Setting("multifd-compression", .string(multifdCompression.rawValue)))
        }
        if cpuThrottleTailslow { settings.append(Setting("cpu-throttle-tailslow", .bool(true))) }
        return settings
    }
}
