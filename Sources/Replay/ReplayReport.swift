public import JSONC
public import Migration
public import Phases

/// What a replay made of one trace.
public struct ReplayReport: Hashable, Sendable {
    /// The trace's name.
    public var trace: String
    /// How many records it has, those without a meaning included.
    public var records: Int
    /// The attempts in the order of their beginning.
    public var attempts: [AttemptReport]
    /// What deserves a look, oldest first.
    public var anomalies: [Anomaly]
    /// How many more anomalies there are than are listed.
    public var omittedAnomalies: Int
    /// The outcomes of further attempts, with how often each came; only the first ten thousand are listed.
    public var omittedAttempts: [String: Int] = [:]
    /// What was left out while reading, each with its place.
    public var warnings: [String] = []

    /// One object for a program.
    public var json: JSONValue {
        var object: JSONObject = [
            "trace": .string(trace),
            "records": .integer(Int64(records)),
            "attempts": .array(attempts.map(\.json)),
            "anomalies": .array(anomalies.map { Self.entry($0.sequence, $0.side, $0.what) }),
        ]
        if omittedAnomalies > 0 { object["omittedAnomalies"] = .integer(Int64(omittedAnomalies)) }
        if !omittedAttempts.isEmpty {
            var counts: JSONObject = [:]
            for (word, count) in omittedAttempts.sorted(by: { $0.key < $1.key }) {
                counts[word] = .integer(Int64(count))
            }
            object["omittedAttempts"] = .object(counts)
        }
        if !warnings.isEmpty { object["warnings"] = .array(warnings.map { .string($0) }) }
        return .object(object)
    }

    /// The text of ``json``, attempt by attempt, so that a long list of them is in memory but once.
    public func write(_ sink: (String) -> Void) {
        var rest = self
        rest.attempts = []
        let text = rest.json.text()
        let mark = "\"attempts\":[]"
        // The trace's name comes first and may hold anything, the mark with its quotes included, but then escaped.
        guard !attempts.isEmpty, let place = text.utf8.firstRange(of: mark.utf8) else {
            sink(text)
            return
        }
        var piece = String(text[..<text.utf8.index(place.upperBound, offsetBy: -1)])
        for (number, attempt) in attempts.enumerated() {
            if number > 0 { piece += "," }
            piece += attempt.json.text()
            if piece.utf8.count > 1 << 16 {
                sink(piece)
                piece = ""
            }
        }
        sink(piece + "]" + text[place.upperBound...])
    }

    static func entry(_ sequence: Int, _ side: Side?, _ what: String) -> JSONValue {
        var object: JSONObject = ["seq": .integer(Int64(sequence))]
        if let side { object["side"] = .string(side.rawValue) }
        object["what"] = .string(what)
        return .object(object)
    }
}

/// One side of an attempt.
public struct SideSummary: Hashable, Sendable {
    /// QEMU's words in order.
    public var statuses: [StatusWord]
    /// The phases in order.
    public var phases: [Phase]
    /// Whether the phases were inferred, because the recording does not tell them.
    public var isInferred: Bool
    /// QEMU's version.
    public var version: QEMUVersion?

    var json: JSONValue {
        var object: JSONObject = [
            "statuses": .array(statuses.map { .string($0.rawValue) }),
            "phases": .array(phases.map { .string($0.rawValue) }),
        ]
        if isInferred { object["inferred"] = true }
        if let version { object["version"] = .string(version.description) }
        return .object(object)
    }
}

/// What a replay made of one attempt.
public struct AttemptReport: Hashable, Sendable {
    /// How it ended; `nil` if the recording stops before the end.
    public var outcome: PublishedWord?
    /// The last published status.
    public var status: PublishedStatus
    /// What became of a cancel.
    public var cancel: CancelOutcome
    /// Why the status is what it is, oldest first.
    public var reasons: [Reason]
    /// The reason of a failure as QEMU gave it; `nil` for an attempt that completed, whatever had gone wrong on the
    /// way.
    public var error: String?
    /// The source.
    public var source: SideSummary
    /// The destination.
    public var destination: SideSummary
    /// QEMU's `total-time`.
    public var totalMilliseconds: Int64?
    /// QEMU's `downtime`.
    public var downtimeMilliseconds: Int64?

    /// The outcome's word; `unfinished` if the recording stops before the end.
    public var outcomeWord: String { outcome?.rawValue ?? "unfinished" }

    /// The object of the attempt in the trace's object.
    public var json: JSONValue {
        var object: JSONObject = [
            "outcome": .string(outcomeWord),
            "basis": .string(status.basis.rawValue),
            "status": .string(status.word.rawValue),
            "stopping": .string(status.stopping.rawValue),
            "qemu": (status.qemu?.rawValue).map { .string($0) } ?? .null,
            "cancel": .string(cancel.rawValue),
            "reason": .array(reasons.map { ReplayReport.entry($0.sequence, $0.side, $0.what) }),
            "error": error.map { .string($0) } ?? .null,
            "source": source.json,
            "destination": destination.json,
        ]
        object["totalMilliseconds"] = totalMilliseconds.map { .integer($0) } ?? .null
        object["downtimeMilliseconds"] = downtimeMilliseconds.map { .integer($0) } ?? .null
        return .object(object)
    }
}
