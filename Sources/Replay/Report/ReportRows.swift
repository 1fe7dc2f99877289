import JSONC
import Migration
import MigrationQMP
import Trace

/// The table of messages of one trace, as JSON text: each row is `[record, microseconds, side, kind, label, text]`.
///
/// Rows are written as they come, so that a large trace is not held twice.
struct ReportRows {
    /// What a row is, for filters; the place in this list stands in the row.
    static let kinds = ["command", "reply", "error", "event", "decision", "step", "state", "deadline", "note"]

    /// So much of a message is shown; a `query-qmp-schema` has 200 kB.
    static let maximumTextBytes = 4000
    /// So many records are in the table at most: beyond it a page is no longer the right tool.
    static let maximumRows = 1_000_000

    private var writer = JSONWriter(reservingCapacity: 1 << 16)
    private(set) var count = 0
    private(set) var omitted = 0

    /// The rows, separated by commas.
    var bytes: [UInt8] { writer.bytes }

    /// Takes the next record.
    ///
    /// - Parameter answered: The command that it answers, by name.
    mutating func append(_ record: TraceRecord, answered: String?) {
        guard count < Self.maximumRows else {
            omitted += 1
            return
        }
        let (kind, label) = Self.describe(record, answered)
        count += 1
        let text = record.member.value.text()
        writer.array { row in
            row.value(record.seq)
            row.value(record.microseconds)
            row.value(record.side.map { $0 == .source ? 1 : 2 } ?? 0)
            row.value(Self.kinds.firstIndex(of: kind) ?? 0)
            row.value(label)
            row.value(Self.shortened(text))
        }
    }

    private static func shortened(_ text: String) -> String {
        let bytes = text.utf8
        guard bytes.count > maximumTextBytes else { return text }
        return String(decoding: bytes.prefix(maximumTextBytes), as: UTF8.self) + " … (\(bytes.count) bytes in all)"
    }

    private static func describe(_ record: TraceRecord, _ answered: String?) -> (kind: String, label: String) {
        switch record.member {
        case .send(let message): return ("command", message["execute"]?.string ?? message["exec-oob"]?.string ?? "?")
        case .recv(let message):
            if let event = message["event"]?.string { return ("event", self.event(event, message)) }
            if message["error"] != nil { return ("error", answered ?? "error") }
            if message["QMP"] != nil { return ("state", "greeting") }
            return ("reply", answered ?? "return")
        case .status(let value): return ("decision", value["status"]?.string ?? "status")
        case .phase(let value): return ("decision", "phase \(value["to"]?.string ?? "")")
        case .intent, .saved, .run, .refused, .surrendered, .kill, .lease, .hook, .policy, .result, .survey:
            return ("decision", record.member.name)
        case .request(let value):
            return ("step", "\(value["origin"]?.string ?? "somebody"): \(value["do"]?.string ?? "")")
        case .call(let value), .answer(let value):
            return ("step", "\(record.member.name) \(value["step"]?.string ?? "")")
        case .peer, .restarted: return ("step", record.member.name)
        case .monitor(let word): return ("state", "monitor \(word)")
        case .process, .raw, .fds: return ("state", record.member.name)
        case .timeout(let name): return ("deadline", "timeout \(name)")
        case .arm(let value): return ("deadline", "arm \(value["deadline"]?.string ?? "")")
        case .disarm(let value): return ("deadline", "disarm \(value.string ?? "")")
        case .mark(let text): return ("note", text)
        case .unknown(let name, _): return ("note", name)
        }
    }

    private static func event(_ name: String, _ message: JSONValue) -> String {
        let data = message["data"]
        switch name {
        case "MIGRATION": return "MIGRATION \(data?["status"]?.string ?? "")"
        case "MIGRATION_PASS": return "MIGRATION_PASS \(data?["pass"]?.int64.map(String.init) ?? "")"
        default: return name
        }
    }
}
