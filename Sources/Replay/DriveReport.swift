public import JSONC
public import Migration
public import Trace

/// The first place at which a driven machine did something else than its recording.
public struct Divergence: Hashable, Sendable {
    /// The record's number; after the last one that was read, if the recording ends without what is missing.
    public var sequence: Int
    /// When, since the start of the recording, in microseconds.
    public var microseconds: Int64
    /// The QEMU it concerns; `nil` for both or none.
    public var side: Side?
    /// What the recording has there: the record's member and its value. `nil` if it has nothing any more.
    public var recorded: JSONValue?
    /// What the machine does there, in the same form. `nil` if it does nothing.
    public var driven: JSONValue?
    /// The first difference within the two, where both are of one kind.
    public var difference: String?
    /// What else is to be said.
    public var note: String?

    init(record: TraceRecord?, order: Int, driven output: DrivenOutput?) {
        sequence = record?.seq ?? order + 1
        microseconds = record?.microseconds ?? 0
        side = output?.side ?? record?.side.map { $0 == .source ? .source : .destination }
        recorded = record.map { .object([$0.member.name: $0.member.value]) }
        driven = output.map { .object([$0.member: $0.value]) }
        guard let record, let output, let value = RecordedOutput(record), value.member == output.member else {
            return
        }
        if value.side != output.side {
            difference = "side: recorded \(value.side?.rawValue ?? "none"), driven \(output.side?.rawValue ?? "none")"
        } else if let found = JSONDifference(value.value, output.value) {
            let place = found.path.isEmpty ? "" : "\(found.path): "
            difference =
                "\(place)recorded \(Self.excerpt(found.recorded)), driven \(Self.excerpt(found.driven))"
        }
    }

    /// The beginning of a value, for a line.
    static func excerpt(_ value: JSONValue?, _ limit: Int = 200) -> String {
        guard let text = value?.text() else { return "nothing" }
        return text.count <= limit ? text : text.prefix(limit - 3) + "..."
    }

    /// One object for a program.
    public var json: JSONValue {
        var object: JSONObject = ["seq": .integer(Int64(sequence)), "t": .init(Double(microseconds) / 1e6)]
        if let side { object["side"] = .string(side.rawValue) }
        object["recorded"] = recorded ?? .null
        object["driven"] = driven ?? .null
        if let difference { object["difference"] = .string(difference) }
        if let note { object["note"] = .string(note) }
        return .object(object)
    }
}

/// What came of driving one trace.
public struct DriveReport: Hashable, Sendable {
    /// The trace's name.
    public var trace: String
    /// How many records were taken.
    public var records: Int
    /// How many outputs were the same.
    public var compared: Int
    /// Whether the recording goes to the end of its attempt.
    public var isComplete: Bool
    /// The last status that the machine published.
    public var status: PublishedWord
    /// Where the machine went another way.
    public var divergence: Divergence?
    /// What was left out while reading, each with its place.
    public var warnings: [String] = []

    /// One object for a program.
    public var json: JSONValue {
        var object: JSONObject = [
            "trace": .string(trace), "records": .integer(Int64(records)), "compared": .integer(Int64(compared)),
            "complete": .bool(isComplete), "status": .string(status.rawValue),
            "divergence": divergence?.json ?? .null,
        ]
        if !warnings.isEmpty { object["warnings"] = .array(warnings.map { .string($0) }) }
        return .object(object)
    }

    /// Some lines for a person, without the last line feed.
    public var text: String {
        guard let divergence else {
            let end = isComplete ? status.rawValue : "stops at \(status.rawValue)"
            return "\(trace): \(compared) outputs as recorded (\(records) records), \(end)"
        }
        let milliseconds = divergence.microseconds / 1000
        let fraction = String(milliseconds % 1000)
        var place = "\(milliseconds / 1000).\(String(repeating: "0", count: 3 - fraction.count))\(fraction) s"
        if let side = divergence.side { place += ", \(side.rawValue)" }
        var lines = ["\(trace): another way at record \(divergence.sequence) (\(place))"]
        lines.append("  recorded: \(Divergence.excerpt(divergence.recorded, 400))")
        if let note = divergence.note {
            lines.append("            \(note)")
        } else {
            lines.append("  driven:   \(Divergence.excerpt(divergence.driven, 400))")
        }
        if let difference = divergence.difference { lines.append("  differs:  \(difference)") }
        lines.append("  before:   \(compared) outputs as recorded")
        return lines.joined(separator: "\n")
    }

    /// Drives a whole trace; `-` is standard input.
    ///
    /// - Throws: `TraceError` if it cannot be read, `DriveError` if it cannot be driven.
    public static func drive(path: String, lenient: Bool = false) throws -> DriveReport {
        try drive(
            reader: try TraceReader(opening: path, lenient: lenient), name: path == "-" ? "standard input" : path)
    }

    /// Drives everything a reader has.
    ///
    /// - Throws: `TraceError` if it cannot be read, `DriveError` if it cannot be driven.
    public static func drive(reader: TraceReader, name: String) throws -> DriveReport {
        var reader = reader
        var replay = try DrivingReplay(header: reader.header, name: name)
        while replay.report.divergence == nil, let record = try reader.next() { replay.apply(record) }
        var report = replay.report
        report.warnings = reader.warnings.map(\.description)
        return report
    }
}
