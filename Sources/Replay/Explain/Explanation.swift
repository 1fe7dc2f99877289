public import JSONC
public import Migration
public import Trace

/// What a recording means, for a person who was not there: each statement with the records that prove it.
public struct Explanation: Hashable, Sendable {
    /// The trace's name.
    public var trace: String
    /// What was recorded, as the recorder called it.
    public var title: String?
    /// Who recorded it.
    public var recorder: String?
    /// How many records there are.
    public var records: Int
    /// The attempts in the order of their beginning.
    public var attempts: [AttemptExplanation]
    /// What was left out while reading, each with its place.
    public var warnings: [String]

    /// One object for a program, with the same content as the text.
    public var json: JSONValue {
        var object: JSONObject = ["trace": .string(trace)]
        if let title { object["title"] = .string(title) }
        if let recorder { object["recorder"] = .string(recorder) }
        object["records"] = .integer(Int64(records))
        object["attempts"] = .array(attempts.map(\.json))
        object["warnings"] = .array(warnings.map { .string($0) })
        return .object(object)
    }
}

/// One attempt, explained.
public struct AttemptExplanation: Hashable, Sendable {
    /// Its number, from 1.
    public var number: Int
    /// How it ended; where the recording stops before the end, the last status.
    public var word: PublishedWord
    /// Whether it came to its end in the recording.
    public var isOver: Bool
    /// On whose word that rests.
    public var basis: StatusBasis
    /// The end in one sentence.
    public var verdict: Claim
    /// What was asked for.
    public var asked: [Claim]
    /// What happened, oldest first.
    public var happened: [Claim]
    /// Why it ended so.
    public var why: [Claim]
    /// Whose doing it was.
    public var fault: FaultAttribution
    /// The spans in which the guest ran nowhere.
    public var pauses: [GuestPause]
    /// QEMU's own count of the pause, in milliseconds.
    public var downtimeMilliseconds: Int64?
    /// From `migrate` to the end, in microseconds; `nil` if one of them was not seen.
    public var totalMicroseconds: Int64?
    /// QEMU's own count of it, in milliseconds.
    public var totalMilliseconds: Int64?
    /// The time by published words.
    public var spans: [WordSpan]
    /// The time by passes over memory.
    public var iterations: [Iteration]
    /// What was unusual.
    public var anomalies: [Claim]
    /// What to try next.
    public var advice: [Claim]
    /// What the record does not tell, and what would.
    public var gaps: [Gap]
    /// When it began: `migrate`, or its first record.
    public var start: Instant

    /// One object for a program.
    public var json: JSONValue {
        func number(_ value: Int64?) -> JSONValue { value.map { .integer($0) } ?? .null }
        var object: JSONObject = [
            "attempt": .integer(Int64(self.number)), "outcome": .string(isOver ? word.rawValue : "unfinished"),
            "status": .string(word.rawValue), "basis": .string(basis.rawValue), "verdict": verdict.json,
            "asked": .array(asked.map(\.json)), "happened": .array(happened.map(\.json)),
            "why": .array(why.map(\.json)), "fault": fault.json,
        ]
        object["start"] = start.json
        object["pauses"] = .array(pauses.map(\.json))
        object["downtimeMilliseconds"] = number(downtimeMilliseconds)
        object["totalMicroseconds"] = number(totalMicroseconds)
        object["totalMilliseconds"] = number(totalMilliseconds)
        object["spans"] = .array(spans.map(\.json))
        object["iterations"] = .array(iterations.map(\.json))
        object["anomalies"] = .array(anomalies.map(\.json))
        object["advice"] = .array(advice.map(\.json))
        object["gaps"] = .array(gaps.map(\.json))
        return .object(object)
    }
}

extension Explanation {
    /// Reads a whole trace and explains it; `-` is standard input.
    public init(path: String, lenient: Bool = false) throws(TraceError) {
        try self.init(
            reader: try TraceReader(opening: path, lenient: lenient),
            name: path == "-" ? "standard input" : path)
    }

    /// Explains everything a reader has.
    public init(reader: TraceReader, name: String) throws(TraceError) {
        let (analysis, warnings) = try TraceAnalysis.read(reader, name: name)
        self = analysis.explanation(warnings: warnings)
    }
}

extension TraceAnalysis {
    /// What is known by now. It may be asked for at any time.
    public func explanation(warnings: [TraceWarning] = []) -> Explanation {
        let cases = attemptCases
        let report = observer.report(trace: name)
        return Explanation(
            trace: name, title: header.title, recorder: header.recorder, records: observer.order,
            attempts: cases.enumerated().map { index, attempt in
                Explainer(
                    it: attempt, number: index + 1, header: header,
                    anomalies: anomalies(report.anomalies, of: index, in: cases),
                    isTorn: warnings.contains { $0.kind == .torn }
                ).explanation
            },
            warnings: warnings.map(\.description))
    }

    /// The attempts that deserve the name: something was begun, or somebody asked for it and it came to nothing.
    var attemptCases: [AttemptCase] {
        zip(observer.attempts.open, logs).compactMap { attempt, log in
            let wasAsked = log.requests.contains { $0.value.what == "migrate" }
            guard attempt.isOpened || wasAsked || log.result != nil else { return nil }
            return AttemptCase(
                attempt: attempt, log: log, report: observer.report(of: attempt), isOurs: observer.isOurs,
                names: observer)
        }
    }

    /// Anomalies have a record's number; they belong to the attempt that has that record, those before all to the
    /// first.
    private func anomalies(_ all: [Anomaly], of index: Int, in cases: [AttemptCase]) -> [Anomaly] {
        func begin(_ number: Int) -> Int { cases[number].log.first?.record ?? 0 }
        return all.filter { anomaly in
            // What concerns no record concerns the end.
            guard anomaly.sequence > 0 else { return index == cases.count - 1 }
            let isAfter = index == 0 || anomaly.sequence >= begin(index)
            let isBefore = index + 1 >= cases.count || anomaly.sequence < begin(index + 1)
            return isAfter && isBefore
        }
    }
}
