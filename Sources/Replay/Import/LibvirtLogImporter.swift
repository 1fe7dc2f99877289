import Trace

/// Reads a debug log of libvirtd or virtqemud: what it wrote to each monitor, which replies and events came back.
///
/// Needs `log_filters` that let through `QEMU_MONITOR_IO_WRITE` or `QEMU_MONITOR_SEND_MSG`, `QEMU_MONITOR_RECV_REPLY`
/// and `QEMU_MONITOR_RECV_EVENT` (level info of `qemu.qemu_monitor`). Debug lines tell in addition which domain a
/// monitor belongs to, the greeting, and when a QEMU was killed.
final class LibvirtLogImporter: LineImporter {
    private struct Monitor {
        var channel: Int
        /// What libvirt wants to send, until it is seen to be written.
        var pending: (bytes: [UInt8], line: Int, time: Int64?, descriptors: Int)?
        /// What was written of it so far.
        var written: [UInt8] = []
        /// Whether writes are in the log at all.
        var isWriteLogged = false
        var isGreeted = false
        var vm: String?
    }

    /// A message of the log over several lines.
    private struct Message {
        var bytes: [UInt8] = []
        var line = 0
        var time: Int64?
    }

    private(set) var channels: [ImportedChannel] = []
    private var monitors: [String: Monitor] = [:]
    private var names: [String: String] = [:]
    /// A greeting is logged without its monitor: it is held until its thread speaks of one.
    private var greetings: [String: (bytes: [UInt8], line: Int, time: Int64?, look: MessageLook)] = [:]
    /// Those of each machine that have not seen its end.
    private var ofVM: [String: [Int]] = [:]
    private var message: Message?
    private var time: Int64?
    /// The machine that the last line spoke of, for the XML that follows it.
    private var lastVM: String?
    private let inspector = MessageInspector()

    func take(_ line: ArraySlice<UInt8>, number: Int, into entries: inout [ImportedEntry]) throws(ImportProblem) {
        guard let header = Self.header(of: line) else {
            if message != nil {
                guard (message?.bytes.count ?? 0) + line.count < ImportLimits.messageBytes else {
                    message = nil
                    throw ImportProblem(
                        line: number, message: "a message of more than \(ImportLimits.messageBytes >> 20) MiB")
                }
                message?.bytes.append(0x0A)
                message?.bytes.append(contentsOf: line)
            } else if let lastVM, names[lastVM] == nil {
                let text = line.drop { $0 == 0x20 }
                if text.hasPrefix("<name>"), let name = text.value(after: "<name>", until: [0x3C]) {
                    learn(name, of: lastVM)
                }
            }
            return
        }
        var failure: ImportProblem?
        do throws(ImportProblem) { try finishMessage(into: &entries) } catch { failure = error }
        if let new = header.time { time = new }
        do throws(ImportProblem) {
            try begin(line, header, number, into: &entries)
        } catch {
            failure = failure ?? error
        }
        if let failure { throw failure }
    }

    func finish(into entries: inout [ImportedEntry]) throws(ImportProblem) {
        var failure: ImportProblem?
        do throws(ImportProblem) { try finishMessage(into: &entries) } catch { failure = error }
        // Sent, and the log ends before it says so: without writes in the log this is all there is.
        for (_, monitor) in monitors.sorted(by: { $0.value.channel < $1.value.channel }) where !monitor.isWriteLogged {
            try flush(monitor, into: &entries)
        }
        if var failure {
            failure.isTorn = true
            throw failure
        }
    }

    // MARK: Lines

    private func begin(
        _ line: ArraySlice<UInt8>, _ header: (thread: String, time: Int64?), _ number: Int,
        into entries: inout [ImportedEntry]
    ) throws(ImportProblem) {
        if line.end(of: " : QEMU_MONITOR_") != nil || line.hasPrefix("QEMU_MONITOR_") {
            // The greeting comes before whatever is said on its monitor.
            if let name = line.value(after: "mon=") { try greet(name, header.thread, into: &entries) }
            message = Message(bytes: Array(line), line: number, time: time)
            return
        }
        if let start = line.end(of: ": Line [{\"QMP\""), line.last == UInt8(ascii: "]") {
            let column = start - 6
            let bytes = Array(line[column..<(line.endIndex - 1)])
            let look = try inspector.look(bytes, line: number, column: column - line.startIndex + 1)
            if greetings.count < ImportLimits.openMonitors, bytes.count <= ImportLimits.heldBytes {
                greetings[header.thread] = (bytes, number, time, look)
            }
            return
        }
        try tellOfMachine(line, number, into: &entries)
    }

    private func finishMessage(into entries: inout [ImportedEntry]) throws(ImportProblem) {
        guard let message else { return }
        self.message = nil
        let text = message.bytes[...]
        guard let name = text.value(after: "mon=", until: [0x20, 0x0A, 0x0D, 0x2C]) else { return }
        if text.end(of: "QEMU_MONITOR_RECV_REPLY: ") != nil {
            try received(message, "reply=", name, into: &entries)
        } else if text.end(of: "QEMU_MONITOR_RECV_EVENT: ") != nil {
            try received(message, "event=", name, into: &entries)
        } else if text.end(of: "QEMU_MONITOR_IO_WRITE: ") != nil {
            try written(message, name, into: &entries)
        } else if text.end(of: "QEMU_MONITOR_SEND_MSG: ") != nil {
            try sending(message, name, into: &entries)
        } else if text.end(of: "QEMU_MONITOR_NEW: ") != nil {
            monitors[name] = nil
            let channel = try open(name, message.line)
            add(.monitor("connected"), channel, message, into: &entries)
        } else if text.end(of: "QEMU_MONITOR_CLOSE: ") != nil, let monitor = monitors[name] {
            if !monitor.isWriteLogged { try flush(monitor, into: &entries) }
            monitors[name] = nil
            add(.monitor("lost"), monitor.channel, message, into: &entries)
        }
    }

    private func received(
        _ message: Message, _ key: StaticString, _ name: String, into entries: inout [ImportedEntry]
    ) throws(ImportProblem) {
        let channel = try open(name, message.line)
        guard let start = message.bytes[...].end(of: key) else {
            throw ImportProblem(line: message.line, message: "a line of libvirt's log that is cut short")
        }
        let bytes = Array(message.bytes[start...].trimmedEnd)
        let look = try inspector.look(bytes, line: message.line, column: start + 1)
        if let monitor = monitors[name], !monitor.isWriteLogged {
            try flush(monitor, into: &entries)
            monitors[name]?.pending = nil
        }
        if let domain = look.domain, channels[channel].domain == nil { channels[channel].domain = domain }
        add(.recv(bytes), channel, message, look, into: &entries)
    }

    /// `msg=` the command, and on the next line ` fd=`, -1 or the descriptor that goes with it.
    private func sending(
        _ message: Message, _ name: String, into entries: inout [ImportedEntry]
    ) throws(ImportProblem) {
        _ = try open(name, message.line)
        guard let start = message.bytes[...].end(of: "msg=") else {
            throw ImportProblem(line: message.line, message: "a line of libvirt's log that is cut short")
        }
        var text = message.bytes[start...]
        var hasDescriptor = false
        if let last = text.lastIndex(of: 0x0A), text[last...].hasPrefix("\n fd=") {
            hasDescriptor = !text[last...].hasPrefix("\n fd=-")
            text = text[..<last]
        }
        if let monitor = monitors[name], !monitor.isWriteLogged { try flush(monitor, into: &entries) }
        let bytes = Array(text.trimmedEnd)
        guard bytes.count <= ImportLimits.heldBytes || !isHoldingMuch else {
            throw ImportProblem(line: message.line, message: "large commands to many monitors at once")
        }
        monitors[name]?.pending = (bytes, message.line, message.time, hasDescriptor ? 1 : 0)
    }

    /// `buf=` what was to be written, and on the next line ` len=LENGTH ret=WRITTEN errno=NUMBER`.
    private func written(
        _ message: Message, _ name: String, into entries: inout [ImportedEntry]
    ) throws(ImportProblem) {
        let channel = try open(name, message.line)
        let text = message.bytes[...]
        guard let start = text.end(of: "buf="), let last = text.lastIndex(of: 0x0A),
            text[last...].hasPrefix("\n len="), let length = text.number(at: last + 6),
            let key = text[length.end...].end(of: "ret=")
        else { throw ImportProblem(line: message.line, message: "a write in libvirt's log that is cut short") }
        monitors[name]?.isWriteLogged = true
        // A negative number: nothing was written.
        guard let count = text.number(at: key)?.value, count > 0 else { return }
        let part = text[start..<last]
        let isWhole = count >= length.value
        guard (monitors[name]?.written.count ?? 0) + part.count <= ImportLimits.messageBytes else {
            monitors[name]?.written = []
            throw ImportProblem(
                line: message.line, message: "a command of more than \(ImportLimits.messageBytes >> 20) MiB")
        }
        guard isWhole || part.count <= ImportLimits.heldBytes || !isHoldingMuch else {
            throw ImportProblem(line: message.line, message: "large commands to many monitors at once")
        }
        monitors[name]?.written += isWhole ? part : part.prefix(Int(clamping: count))
        guard isWhole else { return }
        let bytes = Array((monitors[name]?.written ?? [])[...].trimmedEnd)
        monitors[name]?.written = []
        let pending = monitors[name]?.pending
        monitors[name]?.pending = nil
        let look = try inspector.look(bytes, line: message.line, column: start + 1)
        if let pending, pending.bytes == bytes, pending.descriptors > 0 {
            add(.descriptors(pending.descriptors), channel, message, into: &entries)
        }
        add(.send(bytes), channel, message, look, into: &entries)
    }

    // MARK: Monitors

    private func open(_ name: String, _ line: Int) throws(ImportProblem) -> Int {
        if let monitor = monitors[name] { return monitor.channel }
        guard channels.count < ImportLimits.names, monitors.count < ImportLimits.openMonitors else {
            throw ImportProblem(
                line: line,
                message: "more than \(ImportLimits.names) monitors, or \(ImportLimits.openMonitors) at once")
        }
        channels.append(ImportedChannel(name: name))
        monitors[name] = Monitor(channel: channels.count - 1)
        return channels.count - 1
    }

    /// Whether so much of commands is held that no large one may be added.
    private var isHoldingMuch: Bool {
        monitors.values.reduce(0) { $0 + $1.written.count + ($1.pending?.bytes.count ?? 0) } > ImportLimits.messageBytes
    }

    private func add(
        _ what: ImportedEntry.What, _ channel: Int, _ message: Message, _ look: MessageLook? = nil,
        into entries: inout [ImportedEntry]
    ) {
        entries.append(
            ImportedEntry(line: message.line, microseconds: message.time, channel: channel, what: what, look: look))
    }

    /// A command of which the log has no write.
    private func flush(_ monitor: Monitor, into entries: inout [ImportedEntry]) throws(ImportProblem) {
        guard let pending = monitor.pending else { return }
        let look = try inspector.look(pending.bytes, line: pending.line, column: 1)
        let message = Message(line: pending.line, time: pending.time)
        if pending.descriptors > 0 { add(.descriptors(pending.descriptors), monitor.channel, message, into: &entries) }
        add(.send(pending.bytes), monitor.channel, message, look, into: &entries)
    }

    private func greet(_ name: String, _ thread: String, into entries: inout [ImportedEntry]) throws(ImportProblem) {
        guard let greeting = greetings[thread], monitors[name]?.isGreeted != true else { return }
        greetings[thread] = nil
        let channel = try open(name, greeting.line)
        monitors[name]?.isGreeted = true
        entries.append(
            ImportedEntry(
                line: greeting.line, microseconds: greeting.time, channel: channel, what: .recv(greeting.bytes),
                look: greeting.look))
    }

    // MARK: Machines

    /// Debug lines that tell whose monitor it is, and what became of the machine.
    private func tellOfMachine(
        _ line: ArraySlice<UInt8>, _ number: Int, into entries: inout [ImportedEntry]
    ) throws(ImportProblem) {
        guard let vm = line.value(after: "vm=") ?? line.value(after: "vm:"), vm.hasPrefix("0x") else { return }
        lastVM = vm
        if let name = line.value(after: " name="), !name.hasPrefix("<"), !name.hasPrefix("(") {
            learn(name.filter { $0 != "'" }, of: vm)
        }
        if let name = line.value(after: "mon:") ?? line.value(after: "mon="), name.hasPrefix("0x") {
            let channel = try open(name, number)
            if monitors[name]?.vm != vm, ofVM.count < ImportLimits.names {
                monitors[name]?.vm = vm
                ofVM[vm, default: []].append(channel)
                if let domain = names[vm] { channels[channel].domain = domain }
            }
        }
        let message = Message(line: number, time: time)
        guard let channel = ofVM[vm]?.last else { return }
        if let start = line.end(of: " : Shutting down vm=") {
            add(.mark("libvirt: " + line[(start - 17)...].excerpt()), channel, message, into: &entries)
        } else if line.end(of: " : qemuProcessKill:") != nil {
            ofVM[vm] = nil
            add(.process(.unknown), channel, message, into: &entries)
        } else if let start = line.end(of: " : qemuMigration") {
            let function = line[start...].prefix { $0 != 0x3A }
            guard Self.steps.contains(where: { function.elementsEqual($0.utf8) }) else { return }
            add(.mark("libvirt: qemuMigration" + function.excerpt()), channel, message, into: &entries)
        }
    }

    /// The functions that carry out the steps of a migration.
    private static let steps: Set<String> = [
        "SrcBeginPhase", "SrcPerform", "SrcConfirmPhase", "DstPrepareFresh", "DstFinish",
    ]

    private func learn(_ name: String, of vm: String) {
        guard !name.isEmpty, names.count < ImportLimits.names || names[vm] != nil else { return }
        names[vm] = name
        for channel in ofVM[vm] ?? [] { channels[channel].domain = name }
    }

    /// `DATE TIME+0000: THREAD: LEVEL : FUNCTION:LINE : …`, possibly behind the name that a system log writes;
    /// also the bare probe.
    static func header(of line: ArraySlice<UInt8>) -> (thread: String, time: Int64?)? {
        if line.hasPrefix("QEMU_MONITOR_") { return ("", nil) }
        if let found = own(line, at: line.startIndex) { return (found.thread, found.time) }
        // `Nov 21 01:41:17 host libvirtd[123]: 2700: info : …`
        guard let level = [" : QEMU_MONITOR_", ": debug : ", ": info : "].lazy.compactMap({ line.end(of: $0) }).first,
            let process = line[..<level].end(of: "]: ") ?? nil, let thread = line.number(at: process)
        else { return nil }
        return (String(thread.value), LogTime.parse(line, at: line.startIndex)?.microseconds)
    }

    private static func own(_ line: ArraySlice<UInt8>, at start: Int) -> (thread: String, time: Int64)? {
        guard let time = LogTime.parse(line, at: start), line[time.end...].hasPrefix(": "),
            let thread = line.number(at: time.end + 2), line[thread.end...].hasPrefix(": ")
        else { return nil }
        return (String(thread.value), time.microseconds)
    }

    /// Whether a line is one of libvirt's log.
    static func recognises(_ line: ArraySlice<UInt8>) -> Bool {
        if line.end(of: "QEMU_MONITOR_") != nil, header(of: line) != nil { return true }
        guard own(line, at: line.startIndex) != nil else { return false }
        return ["debug", "info", "warning", "error"].contains { (level: String) in
            line.prefix(80).split(separator: 0x20).contains { $0.elementsEqual(level.utf8) }
        }
    }
}
