/// What QEMU's log trace backend wrote with `-msg timestamp=on`: "PID@SECONDS.MICROSECONDS:EVENT ARGUMENTS" lines.
public struct QEMUTraceLog: Hashable, Sendable {
    /// One trace event.
    public struct Entry: Hashable, Sendable {
        /// Microseconds since 1970.
        public var microseconds: Int64
        /// The event with its arguments.
        public var text: String
    }

    /// The events in the order of the file. Other lines are left out.
    public let entries: [Entry]

    /// Reads the text of a log.
    public init(_ bytes: [UInt8]) {
        entries = bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let text = String(decoding: line, as: UTF8.self)
            guard let at = text.firstIndex(of: "@"), let colon = text[at...].firstIndex(of: ":") else { return nil }
            let time = text[text.index(after: at)..<colon].split(separator: ".")
            guard time.count == 2, time[1].utf8.count == 6, let seconds = Int64(time[0]), let rest = Int64(time[1]),
                seconds >= 0, seconds < 1 << 40
            else { return nil }
            return Entry(microseconds: seconds * 1_000_000 + rest, text: String(text[text.index(after: colon)...]))
        }
    }

    /// When a command first reached the monitor.
    public func command(_ name: String) -> Int64? {
        entries.first {
            $0.text.hasPrefix("handle_qmp_command ")
                && ($0.text.contains("\"execute\": \"\(name)\"") || $0.text.contains("\"exec-oob\": \"\(name)\""))
        }?.microseconds
    }

    /// When the first command at or after this time reached the monitor.
    public func firstCommand(since time: Int64 = 0) -> Int64? {
        entries.first { $0.text.hasPrefix("handle_qmp_command ") && $0.microseconds >= time }?.microseconds
    }

    /// How many commands reached the monitor from one time until another.
    public func commands(since start: Int64 = 0, before time: Int64) -> Int {
        entries.count { $0.text.hasPrefix("handle_qmp_command ") && $0.microseconds >= start && $0.microseconds < time }
    }

    /// When the migration first had this status.
    public func status(_ word: String) -> Int64? {
        entries.first { $0.text == "migrate_set_state new state \(word)" }?.microseconds
    }

    /// When the guest last entered this run state.
    public func runState(_ word: String) -> Int64? {
        entries.last {
            $0.text.hasPrefix("runstate_set ") && $0.text.contains("(\(word))") && $0.text.hasSuffix("(\(word))")
        }?
        .microseconds
    }
}

/// Where the time of one migration went, from the logs of both QEMUs. All in microseconds.
public struct MigrationTimes: Hashable, Sendable {
    /// From pre-switchover at the source to our migrate-continue there.
    public var toContinue: Int64
    /// From both completed to our cont at the destination.
    public var toRun: Int64
    /// From the guest's stop to its run.
    public var pause: Int64
    /// When the first command reached either QEMU.
    public var firstCommand: Int64
    /// When migrate-incoming reached the destination.
    public var listen: Int64
    /// When migrate reached the source.
    public var migrate: Int64
    /// When the guest ran on the destination.
    public var running: Int64
    /// When quit reached the source, if it did.
    public var quit: Int64?
    /// How many commands both got before migrate.
    public var commandsBefore: Int

    /// The controller's share of the pause.
    public var gap: Int64 { toContinue + toRun }

    /// `nil` if one of the moments is not in the logs: there was no complete migration. Commands before `start` are somebody else's.
    public init?(source: QEMUTraceLog, destination: QEMUTraceLog, since start: Int64 = 0) {
        guard let held = source.status("pre-switchover"), let went = source.command("migrate-continue"),
            let left = source.status("completed"), let arrived = destination.status("completed"),
            let run = destination.command("cont"), let running = destination.runState("running"),
            let stopped = source.runState("finish-migrate"), let migrate = source.command("migrate"),
            let listen = destination.command("migrate-incoming"), let here = source.firstCommand(since: start),
            let there = destination.firstCommand(since: start)
        else { return nil }
        toContinue = went - held
        toRun = run - max(left, arrived)
        pause = running - stopped
        firstCommand = min(here, there)
        self.listen = listen
        self.migrate = migrate
        self.running = running
        quit = source.command("quit")
        commandsBefore =
            source.commands(since: start, before: migrate) + destination.commands(since: start, before: migrate)
    }
}
