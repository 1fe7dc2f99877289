import JSONC

/// Reads QMP messages that follow each other: a chardev's log file, a socket's dump with or without arrows for the
/// direction, libvirt's `.replies`, and what qmp-shell writes down.
///
/// The direction follows from the message. There are no times but those of QEMU's events.
final class StreamImporter: LineImporter {
    private(set) var channels: [ImportedChannel] = []
    /// Text between the messages is passed over; otherwise it is a problem.
    private let allowsText: Bool
    /// A negotiation that was not preceded by a greeting is another QEMU's.
    private let isProbes: Bool
    private let inspector = MessageInspector()
    private var assembler = MessageAssembler()
    private var isNegotiated = false
    private var isGreeted = false
    private var time: Int64?
    /// The command typed last at qmp-shell's prompt, which shows it as a message only if asked to.
    private var typed: (text: String, line: Int)?

    init(allowsText: Bool, isProbes: Bool) {
        self.allowsText = allowsText
        self.isProbes = isProbes
    }

    func take(_ line: ArraySlice<UInt8>, number: Int, into entries: inout [ImportedEntry]) throws(ImportProblem) {
        var rest = line
        if assembler.isOpen {
            if Self.beginsMessage(rest) {
                // The message before never ended: its writer was killed, or the log was rotated.
                let lost = cut()
                try takeText(rest, of: line, number, into: &entries)
                throw lost
            }
            switch assembler.take(rest, line: number, column: 1) {
            case .open: return
            case .tooLarge: throw tooLarge()
            case .complete(let end):
                rest = rest[end...]
                try takeMessage(into: &entries)
            }
        }
        try takeText(rest, of: line, number, into: &entries)
    }

    func finish(into entries: inout [ImportedEntry]) throws(ImportProblem) {
        guard assembler.isOpen else { return }
        var problem = cut()
        problem.isTorn = true
        throw problem
    }

    /// What stands outside of messages, and the messages that begin in it.
    private func takeText(
        _ text: ArraySlice<UInt8>, of line: ArraySlice<UInt8>, _ number: Int, into entries: inout [ImportedEntry]
    ) throws(ImportProblem) {
        var rest = text
        while true {
            rest = rest.drop { $0 <= 0x20 }
            for arrow in ["-->", "<--", "->", "<-"] as [StaticString] where rest.hasPrefix(arrow) {
                rest = rest.dropFirst(arrow.utf8CodeUnitCount).drop { $0 <= 0x20 }
                break
            }
            guard !rest.isEmpty else { return }
            if rest.first != UInt8(ascii: "{") {
                guard allowsText else {
                    throw ImportProblem(
                        line: number, column: rest.startIndex - line.startIndex + 1,
                        message: "neither a QMP message nor white space: '\(rest.excerpt(40))'")
                }
                guard let next = passOver(rest, number) else { return }
                rest = next
                continue
            }
            switch assembler.take(rest, line: number, column: rest.startIndex - line.startIndex + 1) {
            case .open: return
            case .tooLarge: throw tooLarge()
            case .complete(let end):
                rest = rest[end...]
                try takeMessage(into: &entries)
            }
        }
    }

    /// Returns where a message begins behind text, if one does.
    private func passOver(_ text: ArraySlice<UInt8>, _ number: Int) -> ArraySlice<UInt8>? {
        var rest = text
        // Without a terminal the shell's prompts stand before its output.
        while rest.hasPrefix("(QEMU) ") {
            rest = rest.dropFirst(7)
            if rest.first == UInt8(ascii: "{") { return rest }
        }
        if rest.startIndex != text.startIndex {
            let command = rest.trimmedEnd
            if !command.isEmpty, command.count <= 4096 {
                typed = (String(decoding: command, as: UTF8.self), number)
            }
            return nil
        }
        // What Python's logging writes before the arrow is the user's choice.
        for arrow in ["--> {", "<-- {"] as [StaticString] {
            if let end = rest.end(of: arrow) { return rest[(end - 1)...] }
        }
        return nil
    }

    private func takeMessage(into entries: inout [ImportedEntry]) throws(ImportProblem) {
        let (line, column) = (assembler.line, assembler.column)
        let bytes = assembler.finish()
        let look = try inspector.look(bytes, line: line, column: column)
        if let new = look.microseconds { time = new }
        func add(_ what: ImportedEntry.What, _ look: MessageLook?) {
            entries.append(
                ImportedEntry(
                    line: line, microseconds: time, channel: channels.count - 1, what: what, look: look))
        }
        switch look.kind {
        case .command("qmp_capabilities"):
            if isProbes, isNegotiated, !isGreeted { beginProbe() }
            isNegotiated = true
            isGreeted = false
        case .greeting:
            if isProbes, isNegotiated { beginProbe() }
            isGreeted = true
        default: break
        }
        if channels.isEmpty { beginProbe() }
        if channels.count > ImportLimits.names {
            channels.removeLast()
            throw ImportProblem(line: line, message: "more than \(ImportLimits.names) probes")
        }
        switch look.kind {
        case .exchange:
            typed = nil
            guard let object = (try? JSONValue(parsing: bytes))?.object else { return }
            var (command, reply) = (JSONObject(), JSONObject())
            for (key, value) in object {
                switch key {
                case "return", "error": reply[key] = value
                case "id":
                    command[key] = value
                    reply[key] = value
                case "timestamp", "event", "data": break
                default: command[key] = value
                }
            }
            add(.send(JSONValue.object(command).serialized()), look)
            add(.recv(JSONValue.object(reply).serialized()), nil)
        case .command:
            typed = nil
            add(.send(bytes), look)
        case .reply:
            if let typed, let command = TypedCommand.message(typed.text) {
                let look = try inspector.look(command, line: typed.line, column: 1)
                entries.append(
                    ImportedEntry(
                        line: typed.line, microseconds: time, channel: channels.count - 1, what: .send(command),
                        look: look))
            }
            typed = nil
            add(.recv(bytes), look)
        case .greeting, .event:
            add(.recv(bytes), look)
        }
    }

    private func beginProbe() {
        channels.append(ImportedChannel(name: isProbes ? "probe \(channels.count + 1)" : ""))
    }

    private func cut() -> ImportProblem {
        let problem = ImportProblem(
            line: assembler.line, column: assembler.column, message: "a QMP message that is cut short")
        _ = assembler.finish()
        return problem
    }

    private func tooLarge() -> ImportProblem {
        let problem = ImportProblem(
            line: assembler.line, column: assembler.column,
            message: "a message of more than \(ImportLimits.messageBytes >> 20) MiB")
        _ = assembler.finish()
        return problem
    }

    /// Whether a line begins like a message does and no object inside of one.
    private static func beginsMessage(_ line: ArraySlice<UInt8>) -> Bool {
        guard line.first == UInt8(ascii: "{") else {
            return line.hasPrefix("(QEMU) ") || line.hasPrefix("-> {") || line.hasPrefix("<- {")
                || line.hasPrefix("--> {") || line.hasPrefix("<-- {")
        }
        return ["{\"QMP\":", "{\"return\":", "{\"error\":", "{\"timestamp\":", "{\"execute\":", "{\"exec-oob\":"]
            .contains { line.hasPrefix($0) }
    }
}

/// A command as it is typed at qmp-shell's prompt.
enum TypedCommand {
    /// The message that qmp-shell makes of it; nil if it is none.
    ///
    /// `name key=value key.inner=value`: values are JSON, `true`, numbers, or else text.
    static func message(_ text: String) -> [UInt8]? {
        if text.hasPrefix("{") {
            guard (try? JSONValue(parsing: text))?.object != nil else { return nil }
            return Array(text.utf8)
        }
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\t" })
        guard let name = words.first, !name.contains("="),
            name.utf8.allSatisfy({ $0 == 0x2D || $0 == 0x5F || $0 == 0x2E || isAlphanumeric($0) })
        else { return nil }
        var arguments = JSONObject()
        for word in words.dropFirst() {
            guard let sign = word.firstIndex(of: "="), sign > word.startIndex else { return nil }
            let path = word[..<sign].split(separator: ".").map(String.init)
            guard !path.isEmpty, path.count <= 16 else { return nil }
            set(&arguments, path[...], value(String(word[word.index(after: sign)...])))
        }
        var command: JSONObject = ["execute": .string(String(name))]
        if !arguments.isEmpty { command["arguments"] = .object(arguments) }
        return JSONValue.object(command).serialized()
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }

    private static func value(_ text: String) -> JSONValue {
        switch text.lowercased() {
        case "true": return true
        case "false": return false
        default: return (try? JSONValue(parsing: text)) ?? .string(text)
        }
    }

    private static func set(_ object: inout JSONObject, _ path: ArraySlice<String>, _ value: JSONValue) {
        guard let key = path.first else { return }
        guard path.count > 1 else {
            object[key] = value
            return
        }
        var inner = object[key]?.object ?? JSONObject()
        set(&inner, path.dropFirst(), value)
        object[key] = .object(inner)
    }
}
