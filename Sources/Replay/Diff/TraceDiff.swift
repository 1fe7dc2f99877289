public import JSONC
public import Migration
public import Trace

/// Where two recorded migrations part, in terms of the evidence.
///
/// What the source showed is compared with what the source showed, the destination's with the destination's, what was
/// published with what was published:
/// how the records of two QEMUs fall between each other is a matter of chance.
public struct TraceDiff: Sendable {
    /// The place where they part.
    public struct Parting: Sendable {
        /// The attempt, from 1.
        public var attempt: Int
        /// In whose evidence; `nil` for what was published.
        public var side: Side?
        /// The last steps that both have there, as the first trace has them, oldest first.
        public var common: [EvidenceStep]
        /// What the first trace has next, `nil` if nothing.
        public var left: EvidenceStep?
        /// What the second trace has next, `nil` if nothing.
        public var right: EvidenceStep?
        /// What the first trace has after that.
        public var leftRest: [EvidenceStep]
        /// What the second trace has after that.
        public var rightRest: [EvidenceStep]
    }

    /// The traces' names.
    public var names: (left: String, right: String)
    /// How the attempts ended, in pairs; `nil` where a trace has no such attempt.
    public var outcomes: [(left: PublishedWord?, right: PublishedWord?)]
    /// How many steps were the same up to there.
    public var commonCount: Int
    /// Where they part; `nil` if nowhere.
    public var parting: Parting?
    /// What was left out while reading.
    public var warnings: [String] = []

    static let context = 3

    /// Compares two analyses.
    ///
    /// - Parameters:
    ///   - kinds: What is looked at.
    ///   - attempt: Only that attempt of both, from 1; `nil` for all.
    public init(
        _ left: TraceAnalysis, _ right: TraceAnalysis, kinds: Set<EvidenceStep.Kind> = Set(EvidenceStep.Kind.allCases),
        attempt: Int? = nil
    ) {
        names = (left.name, right.name)
        let cases = (left.attemptCases, right.attemptCases)
        outcomes = []
        commonCount = 0
        let all = 0..<max(cases.0.count, cases.1.count)
        for index in attempt.map({ $0 > 0 ? ($0 - 1)..<$0 : 0..<0 }) ?? all {
            let pair = (
                index < cases.0.count ? cases.0[index] : nil, index < cases.1.count ? cases.1[index] : nil
            )
            outcomes.append((pair.0?.word, pair.1?.word))
            guard parting == nil else { continue }
            compare(
                (pair.0?.log.evidence ?? []).filter { kinds.contains($0.kind) },
                (pair.1?.log.evidence ?? []).filter { kinds.contains($0.kind) }, attempt: index + 1,
                starts: (pair.0?.start, pair.1?.start))
        }
    }

    /// Reads two traces and compares them.
    public static func compare(
        _ left: String, _ right: String, lenient: Bool = false,
        kinds: Set<EvidenceStep.Kind> = Set(EvidenceStep.Kind.allCases), attempt: Int? = nil
    ) throws(TraceError) -> TraceDiff {
        let (first, firstWarnings) = try TraceAnalysis.read(path: left, lenient: lenient)
        let (second, secondWarnings) = try TraceAnalysis.read(path: right, lenient: lenient)
        var diff = TraceDiff(first, second, kinds: kinds, attempt: attempt)
        diff.warnings = (firstWarnings + secondWarnings).map(\.description)
        return diff
    }

    private mutating func compare(
        _ left: [EvidenceStep], _ right: [EvidenceStep], attempt: Int, starts: (left: Instant?, right: Instant?)
    ) {
        var found: [Parting] = []
        for side in [Side.source, .destination, nil] {
            let lanes = (left.filter { $0.side == side }, right.filter { $0.side == side })
            let same = zip(lanes.0, lanes.1).prefix { $0.isSame(as: $1) }.count
            commonCount += same
            guard same < max(lanes.0.count, lanes.1.count) else { continue }
            func next(_ lane: [EvidenceStep]) -> EvidenceStep? { same < lane.count ? lane[same] : nil }
            found.append(
                Parting(
                    attempt: attempt, side: side, common: Array(lanes.0[..<same].suffix(Self.context)),
                    left: next(lanes.0), right: next(lanes.1),
                    leftRest: Array(lanes.0.dropFirst(same + 1).prefix(Self.context)),
                    rightRest: Array(lanes.1.dropFirst(same + 1).prefix(Self.context))))
        }
        // What is published follows from the evidence. Each recording has its own clock: what counts is the time
        // since `migrate`.
        func place(_ parting: Parting) -> (Int64, Int) {
            let times = [(parting.left, starts.left), (parting.right, starts.right)].compactMap { step, start in
                step.map { $0.time.microseconds.subtractingReportingOverflow(start?.microseconds ?? 0).partialValue }
            }
            return (times.min() ?? .max, parting.side == nil ? 1 : 0)
        }
        parting = found.min { place($0) < place($1) }
    }
}

extension TraceAnalysis {
    /// Reads a file; `-` is standard input.
    public static func read(
        path: String, lenient: Bool = false
    ) throws(TraceError) -> (TraceAnalysis, [TraceWarning]) {
        try read(
            try TraceReader(opening: path, lenient: lenient),
            name: path == "-" ? "standard input" : path)
    }
}

// MARK: For people and programs

extension TraceDiff {
    /// One object for a program.
    public var json: JSONValue {
        var object: JSONObject = [
            "left": .string(names.left), "right": .string(names.right), "same": .bool(parting == nil),
            "commonSteps": .integer(Int64(commonCount)),
            "outcomes": .array(
                outcomes.map { pair in
                    [
                        "left": pair.left.map { .string($0.rawValue) } ?? .null,
                        "right": pair.right.map { .string($0.rawValue) } ?? .null,
                    ]
                }),
        ]
        if let parting {
            object["parting"] = [
                "attempt": .integer(Int64(parting.attempt)),
                "lane": .string(parting.side?.rawValue ?? "published"),
                "common": .array(parting.common.map(\.json)), "left": parting.left?.json ?? .null,
                "right": parting.right?.json ?? .null, "leftRest": .array(parting.leftRest.map(\.json)),
                "rightRest": .array(parting.rightRest.map(\.json)),
            ]
        }
        if !warnings.isEmpty { object["warnings"] = .array(warnings.map { .string($0) }) }
        return .object(object)
    }

    /// Some lines for a person, without the last line feed.
    public var text: String {
        var page = TextPage()
        guard let parting else {
            page.line("the same: \(Measure.count(commonCount, "step", "steps")) of evidence, \(endings)")
            return page.text
        }
        page.line("- \(names.left)")
        page.line("+ \(names.right)")
        let lane = parting.side.map { "the \($0.rawValue)" } ?? "what was published"
        let attempt = outcomes.count > 1 ? "attempt \(parting.attempt), " : ""
        page.line("they part in \(attempt)\(lane), after \(Measure.count(commonCount, "common step", "common steps")):")
        for step in parting.common { page.line("    \(Self.line(step))") }
        page.line("  - \(parting.left.map(Self.line) ?? "(nothing more)")")
        for step in parting.leftRest { page.line("  -   \(Self.line(step))") }
        page.line("  + \(parting.right.map(Self.line) ?? "(nothing more)")")
        for step in parting.rightRest { page.line("  +   \(Self.line(step))") }
        page.line("in the end: \(endings)")
        return page.text
    }

    private var endings: String {
        if outcomes.isEmpty { return "no attempt in either" }
        return outcomes.map { pair in
            let (left, right) = (pair.left?.rawValue ?? "no attempt", pair.right?.rawValue ?? "no attempt")
            return left == right ? "both \(left)" : "- \(left), + \(right)"
        }.joined(separator: "; ")
    }

    private static func line(_ step: EvidenceStep) -> String {
        let kind = ["triggers": "asked", "events": "seen", "stages": "stage", "published": "status"]
        var line = "\(kind[step.kind.rawValue] ?? ""): \(step.text)"
        if let detail = step.detail, !step.text.contains(detail) { line += " (\(detail))" }
        return "\(line)  [record \(step.record), \(Measure.decimal(Double(step.time.microseconds) / 1e6, 3)) s]"
    }
}
