import JSONC
import Migration
import MigrationQMP
public import Trace

/// A recording with changes made to it.
public struct ChangedRecord: Sendable {
    /// Its records as they would have been.
    public private(set) var records: [TraceRecord]
    /// What was put in, in order.
    public private(set) var inserted: [TraceRecord] = []
    /// How many records were taken out.
    public private(set) var droppedCount = 0
    /// What is assumed and why, for a person.
    public private(set) var notes: [String] = []
    private let header: TraceHeader
    private var lastName: Int

    /// The word that nobody knows.
    public static let unknownWord = "godwit-unknown-status"

    /// So many records are changed at most; they are all held in memory.
    public static let maximumRecords = 2_000_000

    /// Makes the changes in their order.
    ///
    /// - Throws: `ChangeError` if one of them names something that is not there.
    public init(_ records: [TraceRecord], header: TraceHeader, changes: [Change]) throws(ChangeError) {
        self.records = records
        self.header = header
        lastName = records.map(\.seq).max() ?? 0
        for change in changes { try make(change) }
    }

    private mutating func make(_ change: Change) throws(ChangeError) {
        switch change {
        case .drop(let name):
            let index = try place(of: name)
            records.remove(at: index)
            droppedCount += 1
        case .delay(let name, let time):
            let index = try place(of: name)
            var record = records.remove(at: index)
            let (later, overflow) = record.microseconds.addingReportingOverflow(time)
            record.microseconds = overflow ? .max / 2 : later
            insert(record)
        case .duplicate(let name):
            let index = try place(of: name)
            var copy = records[index]
            copy.seq = nextName()
            records.insert(copy, at: index + 1)
            inserted.append(copy)
        case .unknownStatus(let selector): try makeUnknown(selector)
        case .insert(var record):
            record.seq = nextName()
            insert(record)
            inserted.append(record)
        case .assume(let what, let time): try assume(what, time)
        }
    }

    private mutating func nextName() -> Int {
        lastName += 1
        return lastName
    }

    /// The place of a record that QEMU said something in.
    private func place(of name: Int) throws(ChangeError) -> Int {
        guard let index = records.firstIndex(where: { $0.seq == name }) else {
            throw ChangeError("no record \(name), they go to \(records.map(\.seq).max() ?? 0)")
        }
        switch records[index].member {
        case .recv, .monitor, .process: return index
        default:
            throw ChangeError(
                "record \(name) is a '\(records[index].member.name)', not something that was heard (recv, "
                    + "monitor, process)"
            )
        }
    }

    /// Puts a record where its time belongs.
    private mutating func insert(_ record: TraceRecord) {
        let index = records.firstIndex { $0.microseconds > record.microseconds } ?? records.count
        records.insert(record, at: index)
    }

    // MARK: Unknown words

    private mutating func makeUnknown(_ selector: Change.StatusSelector) throws(ChangeError) {
        var count = 0
        for index in records.indices {
            guard case .recv(let message) = records[index].member else { continue }
            switch selector {
            case .record(let name) where records[index].seq != name: continue
            case .word(let word) where Self.status(of: message) != word: continue
            default: break
            }
            guard let changed = Self.replacing(message) else { continue }
            records[index].member = .recv(changed)
            count += 1
        }
        guard count == 0 else {
            notes.append("\(Measure.count(count, "status word", "status words")) replaced by '\(Self.unknownWord)'")
            return
        }
        switch selector {
        case .record(let name): throw ChangeError("record \(name) tells no migration status")
        case .word(let word): throw ChangeError("no record tells the status '\(word)'")
        }
    }

    private static func status(of message: JSONValue) -> String? {
        if message["event"]?.string == "MIGRATION" { return message["data"]?["status"]?.string }
        // A run state has `running` beside it.
        guard let reply = message["return"], reply["running"] == nil else { return nil }
        return reply["status"]?.string
    }

    private static func replacing(_ message: JSONValue) -> JSONValue? {
        guard status(of: message) != nil, var object = message.object else { return nil }
        for key in ["data", "return"] {
            guard var inner = object[key]?.object, inner["status"] != nil else { continue }
            inner["status"] = .string(unknownWord)
            object[key] = .object(inner)
        }
        return .object(object)
    }

    // MARK: Assumptions

    private mutating func assume(_ what: Assumption, _ offset: Int64) throws(ChangeError) {
        var analysis = TraceAnalysis(name: "", header: header)
        // `migrate` is where the times of a story count from.
        guard
            let migrate = records.first(where: { record in
                guard case .send(let message) = record.member, record.side != .destination,
                    case .migrate(_, false)? = Command(message: message)
                else { return false }
                return true
            })
        else { throw ChangeError("--assume \(what.rawValue): the recording has no migrate, from which times count") }
        let (sum, overflow) = migrate.microseconds.addingReportingOverflow(offset)
        let time = overflow ? Int64.max / 2 : sum
        let count = records.firstIndex { $0.microseconds > time } ?? records.count
        for record in records[..<count] { analysis.apply(record) }
        let observer = analysis.observer
        let attempt = observer.attempts[observer.current]
        let reaction = Reaction(to: what, attempt)
        notes.append(reaction.note)
        var names: [TraceRecord] = []
        for step in reaction.steps {
            var record = step
            record.microseconds = Swift.min(time, .max / 2) + Int64(names.count + 1) * 1000
            record.seq = nextName()
            names.append(record)
        }
        inserted += names
        switch reaction.rest {
        case .stays: break
        case .goes:
            droppedCount += records.count - count
            records.removeSubrange(count...)
        case .loses(let side):
            let kept = records[count...].filter { $0.side != side }
            droppedCount += records.count - count - kept.count
            records.replaceSubrange(count..., with: kept)
        }
        records.insert(contentsOf: names, at: count)
    }
}
