import ArgumentParser
import Policy

/// How fast a guest writes from a time on, as a person wrote it: `500MiB/s`, or `30s=2GiB/s`.
struct LoadOption: Hashable, ExpressibleByArgument {
    var load: CopyModel.Load

    init?(argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let rate = parts.last.flatMap({ ByteQuantity(argument: String($0)) }) else { return nil }
        var from: Int64 = 0
        if parts.count == 2 {
            guard let time = TimeQuantity(argument: String(parts[0])) else { return nil }
            from = time.milliseconds
        }
        load = CopyModel.Load(fromMilliseconds: from, bytesPerSecond: Double(rate.bytes))
    }
}

/// The model as options.
struct ModelOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The guest's memory (default: 4GiB).", valueName: "size"))
    var memory: ByteQuantity?

    @Option(name: .long, help: ArgumentHelp("What the network carries (default: 1GiB/s).", valueName: "size/s"))
    var bandwidth: ByteQuantity?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How fast the guest writes, or from which time on (30s=2GiB/s); may be said more than once (default: 500MiB/s).",
            valueName: "[time=]size/s"))
    var dirty: [LoadOption] = []

    @Option(name: .long, help: ArgumentHelp("After which time the writing begins anew.", valueName: "time"))
    var period: TimeQuantity?

    @Option(
        name: .long,
        help: ArgumentHelp("What it writes over and over; all of its memory if not said.", valueName: "size"))
    var workingSet: ByteQuantity?

    @Option(name: .long, help: ArgumentHelp("By how many percent the writing varies at random.", valueName: "percent"))
    var jitter = 0

    @Option(name: .long, help: ArgumentHelp("What the random changes begin with.", valueName: "number"))
    var seed: UInt64 = 1

    @Option(name: .long, help: ArgumentHelp("The downtime limit at the beginning (default: 300ms).", valueName: "time"))
    var downtimeLimit: TimeQuantity?

    @Option(name: .long, help: ArgumentHelp("What the devices add to each pause (default: 20ms).", valueName: "time"))
    var deviceTime: TimeQuantity?

    @Option(name: .long, help: ArgumentHelp("When the model stops looking (default: 1h).", valueName: "time"))
    var horizon: TimeQuantity?

    @Flag(name: .long, help: "Post-copy can be started (traces tell it by themselves).")
    var postcopy = false

    @Flag(name: .long, help: "The guest has host devices (VFIO).")
    var hostDevices = false

    private static let maximumHorizon: Int64 = 86_400_000

    private var memoryBytes: Int64 { memory?.bytes ?? 4 << 30 }
    private var bytesPerSecond: Int64 { bandwidth?.bytes ?? 1 << 30 }
    private var horizonMilliseconds: Int64 { horizon?.milliseconds ?? 3_600_000 }
    private var limitMilliseconds: Int64 { downtimeLimit?.milliseconds ?? 300 }
    private var deviceMilliseconds: Int64 { deviceTime?.milliseconds ?? 20 }

    /// Checks what the parser cannot.
    func check() throws {
        guard memoryBytes > 0 else { throw ValidationError("--memory: nothing to copy") }
        guard bytesPerSecond > 0 else { throw ValidationError("--bandwidth: nothing would ever arrive") }
        guard (0...100).contains(jitter) else { throw ValidationError("--jitter \(jitter): 0 to 100 percent") }
        guard horizonMilliseconds > 0, horizonMilliseconds <= Self.maximumHorizon else {
            throw ValidationError("--horizon: more than nothing, a day at most")
        }
        guard limitMilliseconds <= PolicyEffect.maximumDowntimeMilliseconds else {
            throw ValidationError("--downtime-limit: QEMU takes 2000 s at most")
        }
        guard deviceMilliseconds <= Self.maximumHorizon else { throw ValidationError("--device-time: too long") }
        if let period, period.milliseconds < 100 { throw ValidationError("--period: less than 100 ms") }
        guard dirty.count <= 1000 else { throw ValidationError("--dirty: more than 1000") }
    }

    /// The model that the options describe.
    var model: CopyModel {
        var model = CopyModel(
            memoryBytes: Double(memoryBytes), bandwidthBytesPerSecond: Double(bytesPerSecond),
            dirtyBytesPerSecond: Double(500 << 20))
        if !dirty.isEmpty { model.loads = dirty.map(\.load).sorted { $0.fromMilliseconds < $1.fromMilliseconds } }
        model.periodMilliseconds = period?.milliseconds
        if let workingSet { model.workingSetBytes = Double(min(workingSet.bytes, memoryBytes)) }
        model.context.downtimeMilliseconds = limitMilliseconds
        model.context.isPostcopyPossible = postcopy
        model.context.hasHostDevices = hostDevices
        adapt(&model)
        return model
    }

    /// Sets what no recording tells.
    func adapt(_ model: inout CopyModel) {
        model.jitter = Double(jitter) / 100
        model.seed = seed
        model.deviceMilliseconds = Double(deviceMilliseconds)
        model.horizonMilliseconds = horizonMilliseconds
    }

    /// All policies in the model.
    func scenario(_ policies: [ConvergencePolicy]) -> Comparison.Scenario {
        let model = self.model
        return Comparison.Scenario(
            kind: .model, title: "model", note: Self.describe(model), trials: policies.map { model.run($0) })
    }

    /// The model's numbers in a line.
    static func describe(_ model: CopyModel) -> String {
        func bytes(_ value: Double) -> String { Quantity.bytes(Int64(min(max(0, value), 9e18))) }
        var loads = model.loads.prefix(4).map { load in
            let rate = "\(bytes(load.bytesPerSecond))/s"
            guard load.fromMilliseconds > 0 else { return rate }
            return "from \(Quantity.time(milliseconds: Double(load.fromMilliseconds))) \(rate)"
        }
        if model.loads.count > 4 { loads.append("\(model.loads.count - 4) more") }
        var text =
            "\(bytes(model.memoryBytes)) of memory, \(bytes(model.bandwidthBytesPerSecond))/s sent, "
            + "\(loads.joined(separator: ", ")) dirtied within \(bytes(model.workingSetBytes))"
        if let period = model.periodMilliseconds {
            text += ", anew every \(Quantity.time(milliseconds: Double(period)))"
        }
        if model.jitter > 0 { text += ", varying by \(Int(model.jitter * 100)) %, seed \(model.seed)" }
        return text
    }
}
