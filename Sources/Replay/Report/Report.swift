import JSONC
import Migration
public import Trace

/// A page about one recording or several, for a browser: one file that needs nothing else.
public struct Report {
    /// One recording in it.
    struct Entry {
        var analysis: TraceAnalysis
        var explanation: Explanation
        var rows: ReportRows
    }

    private var entries: [Entry] = []

    /// Nothing yet.
    public init() {}

    /// How many recordings are in it.
    public var count: Int { entries.count }

    /// What was left out while reading, each with its place.
    public var warnings: [String] { entries.flatMap(\.explanation.warnings) }

    /// Adds a file; `-` is standard input.
    public mutating func add(path: String, lenient: Bool = false) throws(TraceError) {
        try add(
            reader: try TraceReader(opening: path, lenient: lenient),
            name: path == "-" ? "standard input" : path)
    }

    /// Adds everything a reader has.
    public mutating func add(reader: TraceReader, name: String) throws(TraceError) {
        var reader = reader
        var analysis = TraceAnalysis(name: name, header: reader.header)
        var rows = ReportRows()
        while let record = try reader.next() {
            analysis.apply(record)
            rows.append(record, answered: analysis.observer.exchange?.pending.command.name)
        }
        entries.append(
            Entry(analysis: analysis, explanation: analysis.explanation(warnings: reader.warnings), rows: rows))
    }

    /// The page, UTF-8.
    public var html: [UInt8] {
        var page = ReportPage(title: title, fallback: entries.map { $0.explanation.text() }.joined(separator: "\n\n"))
        page.append(
            data:
                "{\"version\":1,\"kinds\":\(JSONValue.array(ReportRows.kinds.map { .string($0) }).text()),\"traces\":[")
        for (index, entry) in entries.enumerated() {
            if index > 0 { page.append(data: ",") }
            page.append(data: head(of: entry))
            page.append(data: entry.rows.bytes)
            page.append(data: "]}\n")
        }
        page.append(data: "],\"diffs\":\(JSONValue.array(diffs).text())}")
        return page.finish()
    }

    private var title: String {
        switch entries.count {
        case 0: return "No migration"
        case 1: return entries[0].explanation.title ?? entries[0].explanation.trace
        default: return "\(entries.count) migrations"
        }
    }

    /// Each recording against the first one.
    private var diffs: [JSONValue] {
        guard let first = entries.first, entries.count > 1 else { return [] }
        return entries.dropFirst().map { TraceDiff(first.analysis, $0.analysis).json }
    }

    /// The object of a recording, up to and with the bracket that opens its rows.
    private func head(of entry: Entry) -> String {
        let cases = entry.analysis.attemptCases
        let attempts: [JSONValue] = zip(cases, entry.explanation.attempts).map { attempt, explained in
            let last = attempt.log.last?.time.microseconds ?? 0
            let lanes = ReportLanes(it: attempt, end: last)
            return [
                "begin": .integer(attempt.log.first?.time.microseconds ?? 0), "end": .integer(last),
                "start": .integer(explained.start.microseconds), "source": lanes.side(.source),
                "destination": lanes.side(.destination), "published": lanes.published, "triggers": lanes.triggers,
                "samples": lanes.samples,
            ]
        }
        let head: JSONValue = [
            "explanation": entry.explanation.json, "lanes": .array(attempts),
            "omittedRows": .integer(Int64(entry.rows.omitted)),
        ]
        return head.text().dropLast() + ",\"rows\":["
    }
}
