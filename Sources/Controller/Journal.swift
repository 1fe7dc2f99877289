internal import Glibc
import JSONC
import Migration
import MigrationQMP
import Phases
import QMPTransport
import Trace

/// The journal of an attempt, which is its trace: what came in and what was done about it, in the order in which it was
/// applied.
///
/// Appending only fills a buffer; `flush` hands it to the kernel in one write. The driver flushes before an act that
/// cannot be undone, and otherwise when nothing waits.
final class Journal {
    /// The file.
    let path: String
    private let file: TraceFile
    private let start = Clock.microseconds
    private var parser = JSONParser()

    /// - Throws: `TraceError` if the file cannot be made.
    init(path: String, replacing: Bool, header: TraceHeader) throws(TraceError) {
        self.path = path
        file = try TraceFile(creating: path, header: header, replacing: replacing)
    }

    /// Microseconds since the recording began.
    var now: Instant { Instant(microseconds: Clock.microseconds - start) }

    /// The line the last record stands in.
    private(set) var lastSequence = 1

    /// A message from or to a QEMU, verbatim.
    func message(
        _ member: StaticString, _ side: Side, _ line: UnsafeRawBufferPointer, connection: Int, at time: Instant
    )
        -> Int
    {
        keep(
            file.appendMessage(
                microseconds: time.microseconds, side: TraceSide(side), connection: connection > 1 ? connection : nil,
                member: member, bytes: line, checkedBy: &parser))
    }

    /// Bytes from a QEMU that were no message.
    func garbage(_ side: Side, _ bytes: UnsafeRawBufferPointer, connection: Int, at time: Instant) -> Int {
        keep(
            file.append(
                microseconds: time.microseconds, side: TraceSide(side), connection: connection > 1 ? connection : nil,
                raw: bytes))
    }

    /// Any other record.
    @discardableResult
    func record(_ member: StaticString, _ side: Side?, _ value: JSONValue, at time: Instant) -> Int {
        keep(
            file.append(
                microseconds: time.microseconds, side: side.map(TraceSide.init), member: member,
                rawJSON: value.serialized()))
    }

    /// Hands everything to the kernel.
    func flush() throws(TraceError) { try file.flush() }

    /// Flushes and closes.
    func close() throws(TraceError) { try file.close() }

    /// Removes the file.
    func remove() { unlink(path) }

    private func keep(_ sequence: Int) -> Int {
        lastSequence = sequence
        return sequence
    }
}

extension TraceSide {
    init(_ side: Side) { self = side == .source ? .source : .destination }
}
