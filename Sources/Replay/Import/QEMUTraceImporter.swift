import Trace

/// Reads what QEMU's own tracing writes to standard error or to the file of `-D`: `handle_qmp_command`,
/// `monitor_qmp_respond` and `migrate_set_state`, with or without times (`-msg timestamp=on`).
///
/// QEMU's other words on standard error become marks, the rest is passed over.
final class QEMUTraceImporter: LineImporter {
    private(set) var channels: [ImportedChannel] = []
    private var known: [String: Int] = [:]
    /// The connection that the process spoke on last, for what has none.
    private var last: [String: Int] = [:]
    private let inspector = MessageInspector()
    private var time: Int64?

    func take(_ line: ArraySlice<UInt8>, number: Int, into entries: inout [ImportedEntry]) throws(ImportProblem) {
        let prefix = Self.prefix(of: line)
        if let own = prefix.time { time = own }
        let text = prefix.text
        if text.hasPrefix("monitor_qmp_respond mon ") {
            try message(text, "resp: ", prefix.process, line, number, into: &entries) { .recv($0) }
        } else if text.hasPrefix("handle_qmp_command mon ") {
            try message(text, "req: ", prefix.process, line, number, into: &entries) { .send($0) }
        } else if text.hasPrefix("migrate_set_state new state ") {
            let word = text.dropFirst(28).trimmedEnd
            guard !word.isEmpty, word.count <= 64 else { return }
            let channel: Int
            if let known = last[prefix.process] {
                channel = known
            } else {
                channel = try self.channel("", prefix.process, number)
            }
            entries.append(
                ImportedEntry(
                    line: number, microseconds: time, channel: channel,
                    what: .statusWord(String(decoding: word, as: UTF8.self))))
        } else if text.hasPrefix("qemu"), text.contains(UInt8(ascii: ":")), let channel = last[prefix.process] {
            entries.append(
                ImportedEntry(
                    line: number, microseconds: time, channel: channel, what: .mark(text.trimmedEnd.excerpt())))
        }
    }

    func finish(into entries: inout [ImportedEntry]) {}

    private func message(
        _ text: ArraySlice<UInt8>, _ key: StaticString, _ process: String, _ line: ArraySlice<UInt8>, _ number: Int,
        into entries: inout [ImportedEntry], _ what: ([UInt8]) -> ImportedEntry.What
    ) throws(ImportProblem) {
        guard let start = text.end(of: key), let monitor = text.value(after: " mon ") else {
            throw ImportProblem(line: number, message: "a line of QEMU's tracing that is cut short")
        }
        let column = start - line.startIndex + 1
        // Threads of QEMU share its standard error without a lock: another one's line may be in the middle.
        let bytes = Array(text[start...].trimmedEnd)
        guard bytes.last == UInt8(ascii: "}") else {
            throw ImportProblem(line: number, column: column, message: "a QMP message that is cut short")
        }
        let look = try inspector.look(bytes, line: number, column: column)
        if time == nil || Self.prefix(of: line).time == nil, let own = look.microseconds { time = own }
        let channel = try self.channel(monitor, process, number)
        last[process] = channel
        entries.append(
            ImportedEntry(line: number, microseconds: time, channel: channel, what: what(bytes), look: look))
    }

    private func channel(_ monitor: String, _ process: String, _ number: Int) throws(ImportProblem) -> Int {
        let key = "\(process) \(monitor)"
        if let index = known[key] { return index }
        guard channels.count < ImportLimits.names else {
            throw ImportProblem(line: number, message: "more than \(ImportLimits.names) monitors")
        }
        channels.append(ImportedChannel(name: monitor, process: process))
        known[key] = channels.count - 1
        return channels.count - 1
    }

    /// `PID@SECONDS.MICROSECONDS:` of the log backend with times, a time of day, or nothing.
    static func prefix(of line: ArraySlice<UInt8>) -> (process: String, time: Int64?, text: ArraySlice<UInt8>) {
        if let process = line.number(at: line.startIndex), process.end < line.endIndex, line[process.end] == 0x40,
            let seconds = line.number(at: process.end + 1), seconds.value < 1 << 40, seconds.end < line.endIndex,
            line[seconds.end] == 0x2E, let micro = line.number(at: seconds.end + 1),
            micro.end - seconds.end == 7, micro.end < line.endIndex, line[micro.end] == 0x3A
        {
            return (
                String(process.value), seconds.value * 1_000_000 + micro.value, line[(micro.end + 1)...]
            )
        }
        if let time = LogTime.parse(line, at: line.startIndex) {
            return ("", time.microseconds, line[time.end...].drop { $0 == 0x20 || $0 == 0x3A })
        }
        return ("", nil, line)
    }

    /// Whether a line is one of those that this importer reads.
    static func recognises(_ line: ArraySlice<UInt8>) -> Bool {
        let text = prefix(of: line).text
        return text.hasPrefix("monitor_qmp_") || text.hasPrefix("handle_qmp_command mon ")
            || text.hasPrefix("migrate_set_state new state ")
    }
}
