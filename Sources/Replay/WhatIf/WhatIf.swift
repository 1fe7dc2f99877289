public import JSONC
import Migration
public import Trace

/// What would have come of a recording if it had been another one.
public struct WhatIf: Sendable {
    /// The trace's name.
    public var trace: String
    /// What was changed.
    public var changes: [Change]
    /// The recording as changed.
    public var changed: ChangedRecord
    /// What the recording shows as it is.
    public var before: Explanation
    /// What it shows as changed.
    public var after: Explanation
    /// Where the two part.
    public var diff: TraceDiff
    /// What Godwit itself decides otherwise, where the recording is one of its own and its decisions can be made
    /// anew; else `nil`.
    public var decision: Divergence?
    /// Whether that was tried.
    public var isDriven: Bool

    /// Changes what a reader has and looks at both.
    ///
    /// - Throws: `TraceError` if it cannot be read, `ChangeError` if a change cannot be made.
    public init(reader: TraceReader, name: String, changes: [Change]) throws {
        var reader = reader
        var records: [TraceRecord] = []
        while let record = try reader.next() {
            guard records.count < ChangedRecord.maximumRecords else {
                throw ChangeError("more than \(ChangedRecord.maximumRecords) records cannot be changed")
            }
            records.append(record)
        }
        trace = name
        self.changes = changes
        changed = try ChangedRecord(records, header: reader.header, changes: changes)
        let original = Self.analysis(of: records, reader.header, "\(name), as recorded")
        let other = Self.analysis(of: changed.records, reader.header, "\(name), as changed")
        before = original.explanation(warnings: reader.warnings)
        after = other.explanation()
        diff = TraceDiff(original, other)
        // What somebody else's QEMU would have said to other commands is not known: only what was heard can be changed.
        let isHeardOnly = changes.allSatisfy { if case .assume = $0 { false } else { true } }
        let driven = isHeardOnly ? Self.drive(records, changed.records, reader.header, name) : nil
        isDriven = driven != nil
        decision = driven ?? nil
    }

    private static func analysis(of records: [TraceRecord], _ header: TraceHeader, _ name: String) -> TraceAnalysis {
        var analysis = TraceAnalysis(name: name, header: header)
        for record in records { analysis.apply(record) }
        return analysis
    }

    /// The first other decision; `nil` if the recording as it is cannot be driven.
    private static func drive(
        _ original: [TraceRecord], _ changed: [TraceRecord], _ header: TraceHeader, _ name: String
    ) -> Divergence?? {
        func report(_ records: [TraceRecord]) -> DriveReport? {
            guard var replay = try? DrivingReplay(header: header, name: name) else { return nil }
            for record in records {
                replay.apply(record)
                if replay.report.divergence != nil { break }
            }
            return replay.report
        }
        guard let before = report(original), before.divergence == nil, let after = report(changed) else { return nil }
        return .some(after.divergence)
    }

    /// Changes a file; `-` is standard input.
    public init(path: String, lenient: Bool = false, changes: [Change]) throws {
        try self.init(
            reader: try TraceReader(opening: path, lenient: lenient),
            name: path == "-" ? "standard input" : path,
            changes: changes)
    }

    /// One object for a program.
    public var json: JSONValue {
        var object: JSONObject = [
            "trace": .string(trace), "changes": .array(changes.map { .string($0.description) }),
            "assumed": .array(changed.notes.map { .string($0) }),
            "inserted": .array(
                changed.inserted.map { record in
                    var entry: JSONObject = ["seq": .integer(Int64(record.seq))]
                    entry["t"] = JSONValue(Double(record.microseconds) / 1e6)
                    if let side = record.side { entry["side"] = .string(side.rawValue) }
                    entry[record.member.name] = record.member.value
                    return .object(entry)
                }),
            "dropped": .integer(Int64(changed.droppedCount)),
        ]
        object["before"] = before.json
        object["after"] = after.json
        object["diff"] = diff.json
        if isDriven { object["decision"] = decision?.json ?? .null }
        return .object(object)
    }

    /// Some lines for a person, without the last line feed.
    public var text: String {
        var page = TextPage()
        page.line(trace)
        for change in changes { page.line("what if \(change.description)?") }
        for note in changed.notes { page.item("assumed: \(note)") }
        for record in changed.inserted.prefix(20) {
            let side = record.side.map { "\($0.rawValue) " } ?? ""
            page.item(
                "put in: [\(record.seq)] \(Measure.decimal(Double(record.microseconds) / 1e6, 3)) s "
                    + "\(side)\(record.member.name) "
                    + Divergence.excerpt(record.member.value, 160))
        }
        if changed.droppedCount > 0 {
            page.item("taken out: \(Measure.count(changed.droppedCount, "record", "records"))")
        }
        page.blank()
        for index in 0..<max(before.attempts.count, after.attempts.count) {
            let number = max(before.attempts.count, after.attempts.count) > 1 ? "attempt \(index + 1) " : ""
            func verdict(_ explanation: Explanation) -> String {
                guard index < explanation.attempts.count else { return "no such attempt" }
                let attempt = explanation.attempts[index]
                let fault = attempt.fault
                let who = fault.party.map {
                    " (\(fault.certainty == .proven ? "" : "most likely ")the \($0.rawValue)'s doing: "
                        + "\(fault.because.text))"
                }
                return attempt.verdict.text + (who ?? "")
            }
            page.line("\(number)before: \(verdict(before))")
            page.line("\(number)after:  \(verdict(after))")
        }
        page.blank()
        for line in diff.text.split(separator: "\n") { page.raw(String(line)) }
        if isDriven {
            page.blank()
            guard let decision else {
                page.line("Godwit decides the same: every act of its own stays as recorded")
                return page.text
            }
            page.line("Godwit decides otherwise from record \(decision.sequence) on:")
            page.item("recorded: \(Divergence.excerpt(decision.recorded, 300))")
            page.item("now:      \(decision.note ?? Divergence.excerpt(decision.driven, 300))")
        }
        return page.text
    }
}
