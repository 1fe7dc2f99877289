import JSONC
import Migration
import MigrationQMP
import Phases
import QMP
import Trace

/// Takes a copy of the machine through the switchover, with made-up events and nobody to hear what it wants done.
///
/// Code that runs for the first time is slow: its pages are mapped in, its types are put together, its allocations miss
/// every cache. The guest stands still while ours runs, so that is done before, while memory is copied and there is
/// nothing else to do. The machine is a value, so the copy takes nothing with it and leaves nothing behind.
final class Rehearsal {
    private var parser = JSONParser()
    private var scratch = TraceWriter(continuingAfterLines: 0)
    /// What the real one holds in common with this: so that the optimizer cannot leave anything out.
    private(set) var bytesWritten = 0

    /// The two ways on which the guest waits for us.
    enum Part {
        /// From pre-switchover to `migrate-continue`.
        case toContinue
        /// From both completed to `cont`.
        case toRun
    }

    private typealias Script = [(side: Side, line: StaticString)]

    private static let toContinue: Script = [
        (.source, #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "STOP"}"#),
        (
            .source,
            #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "MIGRATION", "data": {"status": "pre-switchover"}}"#
        ),
    ]

    private static let toRun: Script = [
        (
            .source,
            #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "MIGRATION", "data": {"status": "pre-switchover"}}"#
        ),
        (
            .source,
            #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "MIGRATION", "data": {"status": "device"}}"#
        ),
        (.source, #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "MIGRATION_PASS", "data": {"pass": 3}}"#),
        (
            .destination,
            #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "MIGRATION", "data": {"status": "completed"}}"#
        ),
        (
            .source,
            #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "MIGRATION", "data": {"status": "completed"}}"#
        ),
        (.destination, #"{"timestamp": {"seconds": 1, "microseconds": 1}, "event": "RESUME"}"#),
    ]

    /// Goes through it once.
    ///
    /// - Parameters:
    ///   - part: Which way.
    ///   - machine: The attempt as it stands.
    ///   - sequence: Of the last record.
    ///   - time: Now.
    func run(_ part: Part, _ machine: AttemptMachine, sequence: Int, at time: Instant) {
        var machine = machine
        for entry in part == .toContinue ? Self.toContinue : Self.toRun {
            entry.line.withUTF8Buffer { text in
                let line = UnsafeRawBufferPointer(text)
                scratch.appendMessage(
                    microseconds: time.microseconds, side: TraceSide(entry.side), member: "recv", bytes: line,
                    checkedBy: &parser)
                do throws(JSONError) {
                    let document = try parser.parse(line)
                    document.withRoot { view in
                        guard case .event(let name) = QMPMessage(view) else { return }
                        let event = QEMUEvent(name: name, message: view)
                        apply(.fact(entry.side, .event(event)), to: &machine, sequence, time)
                    }
                } catch {}
            }
        }
        bytesWritten += scratch.pending.count
        scratch.removePending(scratch.pending.count)
    }

    private func apply(_ input: Input, to machine: inout AttemptMachine, _ sequence: Int, _ time: Instant) {
        for effect in machine.apply(input, sequence: sequence, at: time) {
            switch effect {
            case .send(let side, let command, let outOfBand):
                let bytes = command.request(outOfBand: outOfBand).encoded(id: 1)
                bytes.withUnsafeBytes { bytes in
                    _ = scratch.appendMessage(
                        microseconds: time.microseconds, side: TraceSide(side), member: "send", bytes: bytes,
                        checkedBy: &parser)
                }
                _ = machine.apply(.sent(side, command), sequence: sequence, at: time)
            case .persist(let persisted):
                let record = persisted.record
                write(record.member, record.side, record.value, time)
            case .call(let step, let cookie): write("call", step.side, step.callJSON(cookie), time)
            case .answer(let step, let result): write("answer", step.side, step.answerJSON(result), time)
            case .publish(let status, let reasons): write("status", nil, status.json(reasons: reasons), time)
            case .phase(let move): write("phase", move.side, move.json, time)
            case .accepted, .refused, .arm, .disarm, .survey, .kill, .lease, .hook, .decided, .finished: break
            }
        }
    }

    private func write(_ member: StaticString, _ side: Side?, _ value: JSONValue, _ time: Instant) {
        scratch.append(
            microseconds: time.microseconds, side: side.map(TraceSide.init), member: member,
            rawJSON: value.serialized())
    }
}
