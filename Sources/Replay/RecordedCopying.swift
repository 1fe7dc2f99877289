public import Migration
public import Policy
public import Trace

/// The copying of the attempts in a recording, as a policy would have seen it.
public struct RecordedCopying {
    /// One attempt.
    public struct Attempt: Sendable {
        /// Its number, from 1.
        public var number: Int
        /// How it ended; where the recording stops before the end, the last status.
        public var word: PublishedWord
        /// Whether it came to its end in the recording.
        public var isOver: Bool
        /// What was seen of the copying.
        public var copy: RecordedCopy
    }

    /// The trace's name.
    public var trace: String
    /// The attempts in the order of their beginning.
    public var attempts: [Attempt]
    /// What was left out while reading, each with its place.
    public var warnings: [String]

    /// Reads a whole recording of any format; `-` is standard input.
    public init(path: String, lenient: Bool = false) throws(TraceError) {
        trace = path == "-" ? "standard input" : path
        let (analysis, warnings) = try TraceAnalysis.read(
            try TraceReader(opening: path, lenient: lenient), name: trace)
        self.warnings = warnings.map(\.description)
        attempts = analysis.attemptCases.enumerated().map { index, attempt in
            Attempt(number: index + 1, word: attempt.word, isOver: attempt.isOver, copy: attempt.copy)
        }
    }
}

extension AttemptCase {
    /// QEMU's usual limits, where a recording does not tell them.
    private static let usualDowntime: Int64 = 300

    private func limit(at time: Instant) -> Int64 { integer("downtime-limit", at: time) ?? Self.usualDowntime }

    private func integer(_ name: String, at time: Instant) -> Int64? {
        let known = log.parameters.last { $0.value.name == name && $0.place.time <= time }
        guard case .integer(let value)? = known?.value.value, value >= 0 else { return nil }
        return value
    }

    /// When post-copy began.
    private var postcopy: Instant? {
        log.steps.first { step in
            guard step.side == .source, step.time >= start, case .word(let word, _) = step.what else { return false }
            return [.postcopyDevice, .postcopyActive].contains(word)
        }?.time
    }

    /// When the guest was stopped for the switchover, or what shows that it came.
    private var switchover: Instant? {
        guard word == .completed || word == .switchover, postcopy == nil else { return nil }
        let stop = log.runs.first { $0.side == .source && !$0.value.isRunning && $0.place.time >= start }
        if let stop { return stop.place.time }
        return log.steps.first { step in
            guard step.side == .source, step.time >= start, case .word(let word, _) = step.what else { return false }
            return [.preSwitchover, .device, .completed].contains(word)
        }?.time
    }

    /// What a policy would have seen of the copying.
    var copy: RecordedCopy {
        func elapsed(_ time: Instant) -> Int64 { time.milliseconds(since: start) }
        var told: [(time: Instant, input: PolicyInput)] = log.samples.compactMap { placed in
            // The numbers of the switchover and of post-copy tell nothing about how the guest writes.
            guard placed.value.status == .active else { return nil }
            let time = placed.place.time
            return (time, .sample(PolicySample(placed.value, elapsedMilliseconds: elapsed(time))))
        }
        told += log.steps.compactMap { step in
            guard step.side == .source, case .word(let word, _) = step.what else { return nil }
            return (step.time, .status(word, elapsedMilliseconds: elapsed(step.time)))
        }
        let moments = told.filter { $0.time >= start }.sorted { $0.time < $1.time }
            .map { RecordedCopy.Moment(input: $0.input, limitMilliseconds: limit(at: $0.time)) }
        var context = PolicyContext()
        context.downtimeMilliseconds = limit(at: start)
        context.bandwidthLimitBytesPerSecond = integer("max-bandwidth", at: start) ?? 0
        context.isPostcopyPossible = Side.allCases.allSatisfy { log.capability("postcopy-ram", $0)?.value == true }
        let capabilities = (log.capabilities[.source] ?? [:]).map { CapabilitySetting($0.key, $0.value.value) }
        return RecordedCopy(
            moments: moments, switchoverMilliseconds: switchover.map(elapsed),
            postcopyMilliseconds: postcopy.map(elapsed), downtimeMilliseconds: report.downtimeMilliseconds,
            endMilliseconds: elapsed(log.last?.time ?? start), context: context,
            capabilities: capabilities.sorted { $0.name < $1.name })
    }
}
