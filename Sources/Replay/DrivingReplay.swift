import JSONC
import Migration
import MigrationQMP
import Phases
import QMP
public import Trace

/// Why a trace cannot be driven.
public struct DriveError: Error, Hashable, Sendable, CustomStringConvertible {
    /// In words, naming the trace.
    public var description: String
}

/// The driving replay: gives the inputs of a recording of our own to the machine, which decides anew, and compares what it wants done with what was recorded.
///
/// A value without I/O and without a clock. The first difference ends it; the machine's later decisions would rest on what never happened.
public struct DrivingReplay {
    /// What is known of one QMP command of the recording.
    private struct Open {
        /// `nil` for a command of the driver itself: negotiation, or the reading of what a QEMU is made of.
        var command: Command?
        var order: Int
        /// Its deadline ran out; its answer, if one comes, is discarded.
        var isOverdue = false
    }

    private struct Key: Hashable {
        var side: Side
        var connection: Int
        var id: JSONValue
    }

    /// Commands that QMP may leave unanswered before the next one waits.
    private static let inBandLimit = QMPLimits.inBand

    private var machine: AttemptMachine
    private let name: String
    private var records = 0
    private var compared = 0
    private var pending: [DrivenOutput] = []
    private var armed: Set<Deadline> = []
    private var open: [Key: Open] = [:]
    private var versions: [Side: QEMUVersion] = [:]
    private var connected: Set<Side> = []
    /// The side that a command has just left for, with nothing after it but messages of that side.
    private var writing: Side?
    private var hasEnded = false
    private var divergence: Divergence?

    /// A driving replay of the trace with this header.
    ///
    /// - Throws: `DriveError` if it is somebody else's recording, or does not hold what is needed.
    public init(header: TraceHeader, name: String) throws(DriveError) {
        guard let recorder = header.recorder, recorder.hasPrefix("godwit") else {
            let who = header.recorder.map { "by '\($0)'" } ?? "by nobody knows whom"
            throw DriveError(
                description: "\(name): recorded \(who), not by Godwit: only its own decisions can be driven again. "
                    + "Without --drive it can be replayed")
        }
        guard header.role == .coordinator else {
            throw DriveError(
                description: "\(name): the journal of one party (role \(header.role?.rawValue ?? "unknown")); only a "
                    + "coordinator's holds both sides")
        }
        guard let value = header.other["options"] else {
            throw DriveError(
                description: "\(name): the header has no options of the attempt, as \(recorder) did not record them yet"
            )
        }
        do throws(DocumentError) {
            machine = AttemptMachine(options: try MigrateOptions(json: value))
        } catch {
            throw DriveError(description: "\(name):1: \(error)")
        }
        self.name = name
    }

    /// What is known by now.
    public var report: DriveReport {
        DriveReport(
            trace: name, records: records, compared: compared, isComplete: hasEnded, status: machine.status.word,
            divergence: divergence)
    }

    /// Takes the next record. Nothing is taken after a difference.
    public mutating func apply(_ record: TraceRecord) {
        guard divergence == nil else { return }
        records += 1
        let side = record.side.map { $0 == .source ? Side.source : .destination }
        defer {
            switch record.member {
            case .send: writing = side
            case .recv where side == writing: break
            default: writing = nil
            }
        }
        switch record.member {
        case .send(let message): sent(message, side, record)
        case .recv(let message): received(message, side, record)
        case .raw(let bytes): unreadable(bytes, side, record)
        case .monitor(let word): monitor(word, side, record)
        case .process(let end): process(end, side, record)
        case .request(let value): request(value, record)
        case .timeout(let name): timeout(name, side, record)
        case .survey(let value): survey(value, side, record)
        case .kill(let value): killed(value, side, record)
        case .restarted, .peer:
            fail(record, "a record of this kind is no part of an attempt that one process drove")
        case .lease(let value): leased(value, side, record)
        case .hook(let value): hooked(value, record)
        case .call, .answer, .arm, .disarm, .intent, .saved, .run, .refused, .surrendered, .phase, .status, .result,
            .policy:
            compare(record)
        case .fds, .mark, .unknown: break
        }
        if case .result = record.member, divergence == nil {
            hasEnded = true
            // Nothing is recorded after the end, so now or never.
            settled(before: nil)
        }
    }

    // MARK: Inputs

    private mutating func feed(_ input: Input, _ record: TraceRecord) {
        let effects = machine.apply(input, sequence: record.seq, at: Instant(microseconds: record.microseconds))
        for var output in DrivenOutput.outputs(of: effects, armed: &armed) {
            if output.command != nil, let side = output.side {
                output.isUncertain = !connected.contains(side)
                // The reply that is being worked on has just made room, perhaps for one of the driver's own.
                let before = pending.count { $0.command != nil && $0.side == side } + open.count { $0.key.side == side }
                output.leavesAtOnce = before < Self.inBandLimit - 1
            }
            pending.append(output)
        }
    }

    private mutating func received(_ message: JSONValue, _ side: Side?, _ record: TraceRecord) {
        guard settled(before: record), let side else { return }
        switch RecordedMessage(message) {
        case .greeting(let version):
            versions[side] = version
            open = open.filter { $0.key.side != side }
        case .event(let event): feed(.fact(side, .event(event)), record)
        case .reply(let value):
            guard let command = answered(message["id"], side, record) else { return }
            feed(.fact(side, .reply(command, Reply(to: command, value: value))), record)
        case .error(let errorClass, let description):
            guard let command = answered(message["id"], side, record) else { return }
            let reply = Reply.refused(errorClass: errorClass, description: description)
            feed(.fact(side, .reply(command, reply)), record)
        case .rubbish: break
        }
    }

    /// The machine's command that is answered; `nil` for one that it does not wait for (any more).
    private mutating func answered(_ id: JSONValue?, _ side: Side, _ record: TraceRecord) -> Command? {
        guard let id else { return nil }
        guard let entry = open.removeValue(forKey: Key(side: side, connection: record.connection ?? 1, id: id)) else {
            // The answer to a command whose record is missing.
            if let missing = pending.first(where: { $0.side == side && $0.missedAt != nil }) {
                diverge(record, missing)
            }
            return nil
        }
        return entry.isOverdue ? nil : entry.command
    }

    private mutating func unreadable(_ bytes: [UInt8], _ side: Side?, _ record: TraceRecord) {
        guard settled(before: record), let side else { return }
        let id = bytes.withUnsafeBytes { QMPMessage.trailingID($0) }
        guard let id, let command = answered(.integer(Int64(clamping: id)), side, record) else { return }
        var what = "nothing"
        do throws(JSONError) { _ = try JSONValue(parsing: bytes) } catch { what = "a line that is not JSON (\(error))" }
        feed(.fact(side, .reply(command, .unreadable("the monitor answered with \(what)"))), record)
    }

    private mutating func monitor(_ word: String, _ side: Side?, _ record: TraceRecord) {
        guard let side else { return }
        switch word {
        case "connected":
            guard settled(before: record) else { return }
            connected.insert(side)
            feed(.fact(side, .monitor(.connected)), record)
            feed(.fact(side, .greeting(versions[side] ?? QEMUVersion(0, 0))), record)
        case "lost":
            // What had not left is gone with the connection.
            connected.remove(side)
            pending.removeAll { $0.command != nil && $0.side == side }
            // A write can show it, so it may stand among the outputs.
            feed(.fact(side, .monitor(.lost)), record)
        default: break
        }
    }

    private mutating func process(_ recorded: TraceProcessEnd, _ side: Side?, _ record: TraceRecord) {
        guard let side else { return }
        let end: ProcessEnd =
            switch recorded {
            case .exited(let code): .exited(code)
            case .signalled(let signal): .signalled(signal)
            case .unknown: .gone
            }
        // It is looked for right after a kill, so it may stand among the outputs.
        feed(.fact(side, .process(end)), record)
    }

    private mutating func request(_ value: JSONValue, _ record: TraceRecord) {
        guard settled(before: record) else { return }
        guard let request = value["do"]?.string.flatMap(Request.init(rawValue:)),
            let origin = value["origin"]?.string.flatMap(Origin.init(rawValue:))
        else { return fail(record, "this version does not know such a request") }
        switch (request, value["uri"]?.string) {
        case (.set, _):
            let settings = (value["parameters"]?.object ?? [:]).map { Setting($0.key, SettingValue($0.value)) }
            feed(.change(settings, origin), record)
        case (.recover, let uri?): feed(.recover(uri: uri, origin), record)
        default: feed(.request(request, origin), record)
        }
    }

    /// The hook program is to be run, which is an output, or has ended. What it does at the end concerns nobody here.
    private mutating func hooked(_ value: JSONValue, _ record: TraceRecord) {
        guard let word = value["ended"]?.string else {
            // By the one at the end everything else was decided.
            if value["run"]?.string == HookPoint.end.rawValue { settled(before: record) } else { compare(record) }
            return
        }
        guard let point = HookPoint(rawValue: word) else {
            return fail(record, "this version does not know such a moment for a hook")
        }
        guard point != .end, settled(before: record) else { return }
        feed(.hooked(point, failure: value["failed"]?.string), record)
    }

    private mutating func timeout(_ name: String, _ side: Side?, _ record: TraceRecord) {
        let reply = "reply to "
        if name.hasPrefix(reply) {
            guard let side else { return }
            return unanswered(String(name.dropFirst(reply.count)), side, record)
        }
        guard settled(before: record) else { return }
        if name == Deadline.tickName { return feed(.tick, record) }
        guard let deadline = Deadline(rawValue: name) else {
            return fail(record, "this version does not know such a wait")
        }
        if armed.remove(deadline) == nil { return fail(record, "the wait '\(name)' was not begun by this version") }
        feed(.timeout(deadline), record)
    }

    /// No answer in time; or the command could not even leave in time.
    private mutating func unanswered(_ name: String, _ side: Side, _ record: TraceRecord) {
        let waiting = open.filter { $0.key.side == side && $0.value.command?.name == name && !$0.value.isOverdue }
        if let (key, entry) = waiting.min(by: { $0.value.order < $1.value.order }), let command = entry.command {
            open[key]?.isOverdue = true
            guard settled(before: record) else { return }
            feed(.fact(side, .unanswered(command)), record)
        } else if let index = pending.firstIndex(where: { $0.side == side && $0.command?.name == name }),
            let command = pending[index].command
        {
            pending.remove(at: index)
            feed(.fact(side, .unanswered(command)), record)
        }
    }

    private mutating func survey(_ value: JSONValue, _ side: Side?, _ record: TraceRecord) {
        guard settled(before: record), let side else { return }
        if let why = value["failed"]?.string { return feed(.surveyFailed(side, why), record) }
        do throws(DocumentError) {
            feed(.surveyed(side, try Survey(json: value)), record)
        } catch {
            fail(record, "\(error)")
        }
    }

    /// A lock manager is asked, which is an output, or answers.
    private mutating func leased(_ value: JSONValue, _ side: Side?, _ record: TraceRecord) {
        do throws(DocumentError) {
            guard let result = try LeaseResult(json: value), let side else {
                compare(record)
                return
            }
            guard settled(before: record) else { return }
            feed(.lease(side, result), record)
        } catch {
            fail(record, "\(error)")
        }
    }

    // MARK: Outputs

    private mutating func sent(_ message: JSONValue, _ side: Side?, _ record: TraceRecord) {
        guard let side, let command = Command(message: message) else { return }
        let key = message["id"].map { Key(side: side, connection: record.connection ?? 1, id: $0) }
        if case .other = command, !pending.contains(where: { $0.side == side && $0.command == command }) {
            // Commands leave in their order.
            for index in pending.indices where pending[index].side == side && pending[index].leavesAtOnce {
                if !mayWait(pending[index]) { pending[index].missedAt = pending[index].missedAt ?? record }
            }
            if let key { open[key] = Open(command: nil, order: records) }
            return
        }
        guard let output = compare(record), let sent = output.command else { return }
        if let key { open[key] = Open(command: sent, order: records) }
        feed(.sent(side, sent), record)
    }

    private mutating func killed(_ value: JSONValue, _ side: Side?, _ record: TraceRecord) {
        guard compare(record) != nil, let side, let why = value["failed"]?.string else { return }
        feed(.fact(side, .unkillable(why)), record)
    }

    /// Whether a command to this side may have to wait for answers to earlier ones, or for a connection.
    private func mayWait(_ output: DrivenOutput) -> Bool {
        guard output.command != nil, let side = output.side else { return false }
        if output.isUncertain || !connected.contains(side) { return true }
        let underWay = open.filter { $0.key.side == side }
        return underWay.count >= Self.inBandLimit || underWay.contains { $0.value.isOverdue }
    }

    /// Takes the output that a record holds off the list.
    @discardableResult
    private mutating func compare(_ record: TraceRecord) -> DrivenOutput? {
        guard let recorded = RecordedOutput(record) else { return nil }
        for (index, output) in pending.enumerated() {
            if output.matches(recorded) {
                compared += 1
                return pending.remove(at: index)
            }
            let isOtherSides = output.command != nil && (output.side != recorded.side || recorded.member != "send")
            guard mayWait(output) || output.missedAt != nil && isOtherSides else {
                diverge(record, output)
                return nil
            }
        }
        diverge(record, nil)
        return nil
    }

    /// Whether everything that had to be recorded by now was.
    ///
    /// A command that is handed to a connection which is broken already may leave no record, and the failing write brings in the messages that were still
    /// on their way: these then stand among the outputs of one input. Until something contradicts, what is missing is only missed.
    @discardableResult
    private mutating func settled(before record: TraceRecord?) -> Bool {
        let side = record?.side.map { $0 == .source ? Side.source : .destination }
        var isWriting = false
        if case .recv = record?.member { isWriting = writing != nil && writing == side }
        for index in pending.indices where !mayWait(pending[index]) {
            guard let record, pending[index].command != nil || isWriting else {
                diverge(record, pending[index])
                return false
            }
            pending[index].missedAt = pending[index].missedAt ?? record
            if pending[index].command != nil, pending[index].side == side { return true }
        }
        return true
    }

    private mutating func diverge(_ record: TraceRecord?, _ output: DrivenOutput?) {
        divergence = Divergence(record: output?.missedAt ?? record, order: records, driven: output)
    }

    private mutating func fail(_ record: TraceRecord, _ why: String) {
        var found = Divergence(record: record, order: records, driven: nil)
        found.note = why
        divergence = found
    }
}
