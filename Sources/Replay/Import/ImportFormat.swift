/// A format that can be read, told by what is in the file.
public enum ImportFormat: String, Sendable, CaseIterable {
    /// A trace of this program's own.
    case qmptrace
    /// QMP messages and nothing else.
    case qmp
    /// What libvirt keeps for its tests: commands and replies by turns, several probes in one file.
    case replies
    /// A debug log of libvirtd or virtqemud.
    case libvirt
    /// What qmp-shell, or a program with python's qemu.qmp, writes down.
    case qmpShell = "qmp-shell"
    /// QEMU's own tracing on its standard error.
    case qemuTrace = "qemu-trace"

    /// What is looked for in a file.
    public var description: String {
        switch self {
        case .qmptrace: "a trace: its first line has \"qmptrace\""
        case .qmp: "QMP messages, one after the other, as in the log file of a chardev"
        case .replies: "libvirt's .replies: commands and replies of libvirt's by turns, over several lines"
        case .libvirt: "a debug log of libvirtd or virtqemud: lines with a time, a thread, a level, QEMU_MONITOR_…"
        case .qmpShell: "qmp-shell: its prompt (QEMU), its --logfile, or lines with --> { and <-- {"
        case .qemuTrace: "QEMU's tracing: monitor_qmp_respond, handle_qmp_command, migrate_set_state"
        }
    }

    /// Who recorded, for the header. Whatever it is: not this program, which did not decide anything here.
    var recorder: String {
        switch self {
        case .qmptrace: "unknown"
        case .qmp: "QMP stream"
        case .replies, .libvirt: "libvirt"
        case .qmpShell: "qmp-shell"
        case .qemuTrace: "QEMU"
        }
    }

    func importer() -> any LineImporter {
        switch self {
        case .qmptrace, .qmp: StreamImporter(allowsText: false, isProbes: false)
        case .replies: StreamImporter(allowsText: false, isProbes: true)
        case .qmpShell: StreamImporter(allowsText: true, isProbes: false)
        case .libvirt: LibvirtLogImporter()
        case .qemuTrace: QEMUTraceImporter()
        }
    }
}

/// Tells a format by the beginning of a file, never by its name.
enum FormatRecogniser {
    /// So much of a file is looked at.
    static let bytes = 1 << 20

    /// What was found instead.
    struct Unknown: Error {
        var message: String
    }

    static func recognise(_ head: [UInt8]) throws(Unknown) -> ImportFormat {
        var text = head[...]
        if text.starts(with: [0xEF, 0xBB, 0xBF]) { text = text.dropFirst(3) }
        if text.starts(with: [0xFF, 0xFE]) || text.starts(with: [0xFE, 0xFF]) {
            throw Unknown(message: "text in UTF-16, which no format uses; convert it first: iconv -f UTF-16 -t UTF-8")
        }
        var first: (line: Int, text: ArraySlice<UInt8>)?
        var number = 0
        var isShell = false
        for line in text.split(separator: 0x0A, omittingEmptySubsequences: false) {
            number += 1
            let content = line.drop { $0 <= 0x20 }
            guard !content.isEmpty else { continue }
            if LibvirtLogImporter.recognises(line) { return .libvirt }
            if QEMUTraceImporter.recognises(line) { return .qemuTrace }
            if content.hasPrefix("(QEMU)") || content.hasPrefix("Welcome to the QMP low-level shell")
                || content.first != 0x7B && content.first != 0x2D && content.first != 0x3C
                    && (line.end(of: "--> {") != nil || line.end(of: "<-- {") != nil)
            {
                isShell = true
                break
            }
            if first == nil {
                if content.first == 0x23 { continue }
                first = (number, content)
            }
        }
        if isShell { return .qmpShell }
        guard let first else {
            throw Unknown(
                message: head.isEmpty ? "the file is empty" : "\(number) lines without a word in them")
        }
        if let format = stream(first.text, text) { return format }
        let excerpt = first.text.prefix { $0 != 0x0D }.excerpt(60)
        throw Unknown(message: "line \(first.line) begins with '\(excerpt)'")
    }

    /// What a file is that begins with an object, or an arrow and an object.
    private static func stream(_ first: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> ImportFormat? {
        var start = first
        for arrow in ["-->", "<--", "->", "<-"] as [StaticString] where start.hasPrefix(arrow) {
            start = start.dropFirst(arrow.utf8CodeUnitCount).drop { $0 <= 0x20 }
            break
        }
        guard start.first == 0x7B else { return nil }
        var assembler = MessageAssembler()
        let isWhole = whole(&assembler, text[start.startIndex...])
        let bytes = assembler.finish()
        guard isWhole, let look = try? MessageInspector().look(bytes, line: 1, column: 1) else {
            // A large first message, or a broken one, or none of QMP's: its keys tell.
            if start.prefix(4096).end(of: "\"qmptrace\"") != nil { return .qmptrace }
            let key = text[start.startIndex...].dropFirst().drop { $0 <= 0x20 }
            return ["\"QMP\"", "\"return\"", "\"error\"", "\"execute\"", "\"exec-oob\"", "\"timestamp\"", "\"event\""]
                .contains { key.hasPrefix($0) } ? .qmp : nil
        }
        switch look.kind {
        case .exchange: return .qmpShell
        case .command("qmp_capabilities"), .reply:
            // Of libvirt's making: its ids, over several lines.
            return bytes.contains(0x0A) && bytes[...].end(of: "\"libvirt-") != nil ? .replies : .qmp
        default: return .qmp
        }
    }

    private static func whole(_ assembler: inout MessageAssembler, _ text: ArraySlice<UInt8>) -> Bool {
        for line in text.split(separator: 0x0A, omittingEmptySubsequences: false) {
            switch assembler.take(line, line: 1, column: 1) {
            case .open: continue
            case .complete: return true
            case .tooLarge: return false
            }
        }
        return false
    }
}
