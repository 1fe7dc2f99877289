import JSONC
public import Trace

/// How a recorded side is served.
public struct ReplayOptions: Hashable, Sendable {
    /// The answer to a command that the recording does not have.
    public enum Unmatched: Hashable, Sendable {
        /// `{}`
        case empty
        /// The class CommandNotFound.
        case commandNotFound
    }

    /// The factor on the recorded times; 0: as fast as possible.
    public var timeScale = 0.0
    /// What an unrecorded command gets. A query that was recorded elsewhere gets its last answer.
    public var unmatched = Unmatched.empty
    /// Whether events wait for the commands to the other side that were recorded before them; needs the other side's fake in the same
    /// network.
    public var isCoupled = false

    /// The defaults.
    public init() {}
}

/// One side of a recording as a script: says what was recorded, at its place among the commands that arrive. Pure: time is handed in.
public struct TraceReplay: RecordedQEMU {
    typealias Output = RecordedOutput

    private struct Entry: Sendable {
        var microseconds: Int64
        /// Milestones of the other side recorded before; its queries and settings change nothing here.
        var gate: Int
        var line: Int
        var step: RecordedStep
    }

    /// Commands that move a migration: a client that sends another command is not supposed to have left them out.
    private static let milestones: Set<String> = [
        "migrate", "migrate-incoming", "migrate-continue", "migrate_cancel", "migrate-start-postcopy", "migrate-pause",
        "migrate-recover", "cont", "stop", "quit", "yank",
    ]

    /// The settings.
    public var options: ReplayOptions
    /// The commands of the recording, in order.
    public private(set) var recordedCommands: [FakeCommand] = []
    /// How many of those that move the migration have their place behind us.
    public private(set) var progress = 0
    /// Commands that arrived and were not in the recording at their place.
    public private(set) var unmatched: [FakeCommand] = []

    private var entries: [Entry] = []
    private var cursor = 0
    private var matches: [Int: FakeCommand] = [:]
    private var skipped: Set<Int> = []
    private var lastReplies: [String: JSONValue] = [:]
    private var lastGreeting: JSONValue?
    private var isConnected = false
    private var isGreeted = false
    private var otherProgress = 0
    private var lastTime: Int64 = 0
    private var lastRecordedTime: Int64?
    private(set) var nextDeadline: Int64?
    let negotiates = false

    /// The script of one side of a trace.
    public init(_ records: [TraceRecord], side: TraceSide, options: ReplayOptions = ReplayOptions()) {
        self.options = options
        var pending: [(index: Int, id: JSONValue?)] = []
        var others = 0
        for record in records {
            guard record.side == side else {
                if case .send(let message) = record.member, let command = FakeCommand(message),
                    Self.milestones.contains(command.name)
                {
                    others += 1
                }
                continue
            }
            guard let step = step(for: record.member, pending: &pending) else { continue }
            entries.append(Entry(microseconds: record.microseconds, gate: others, line: record.line, step: step))
        }
    }

    /// Reads a trace and makes the scripts of both sides, coupled.
    public static func sides(
        of path: String, options: ReplayOptions = ReplayOptions()
    ) throws(TraceError) -> (source: TraceReplay, destination: TraceReplay) {
        var reader = try TraceReader(path: path)
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        var options = options
        options.isCoupled = true
        return (
            TraceReplay(records, side: .source, options: options),
            TraceReplay(records, side: .destination, options: options)
        )
    }

    /// Whether everything recorded was said.
    public var isAtEnd: Bool { cursor >= entries.count }

    private mutating func step(
        for member: TraceMember, pending: inout [(index: Int, id: JSONValue?)]
    ) -> RecordedStep? {
        switch member {
        case .recv(let message):
            if message["QMP"] != nil {
                pending = []
                return .greeting(message)
            }
            guard message["return"] != nil || message["error"] != nil else { return .say(message) }
            guard let place = pending.firstIndex(where: { $0.id == message["id"] }) else { return .say(message) }
            return .reply(pending.remove(at: place).index, message)
        case .send(let message):
            guard let command = FakeCommand(message) else { return nil }
            let index = recordedCommands.count
            recordedCommands.append(command)
            pending.append((index, command.id))
            return .command(index)
        default: return RecordedStep(member)
        }
    }

    // MARK: Inputs

    mutating func connected(at now: Int64) -> [Output] {
        isConnected = true
        isGreeted = false
        var output: [Output] = []
        // A client that comes back more often than it did in the recording is greeted as before.
        if let lastGreeting, !isAtGreeting {
            isGreeted = true
            output.append(.greet(lastGreeting))
        }
        return output + advance(to: now)
    }

    mutating func opened(at now: Int64) -> [Output] { [] }

    mutating func disconnected() { isConnected = false }

    mutating func received(_ command: FakeCommand, at now: Int64) -> [Output] {
        guard let index = match(command) else {
            unmatched.append(command)
            return [.answer(command, unmatchedAnswer(command))]
        }
        matches[index] = command
        return advance(to: now)
    }

    mutating func otherSideProgressed(to count: Int, at now: Int64) -> [Output] {
        otherProgress = Swift.max(otherProgress, count)
        return advance(to: now)
    }

    mutating func advance(to now: Int64) -> [Output] {
        var output: [Output] = []
        nextDeadline = nil
        while cursor < entries.count {
            let entry = entries[cursor]
            if case .command(let index) = entry.step {
                guard matches[index] != nil || skipped.contains(index) else { break }
                if Self.milestones.contains(recordedCommands[index].name) { progress += 1 }
            } else {
                if options.isCoupled, otherProgress < entry.gate { break }
                if let due = due(entry), due > now {
                    nextDeadline = due
                    break
                }
                guard emit(entry.step, record: entry.line, into: &output) else { break }
            }
            cursor += 1
            lastTime = now
            lastRecordedTime = entry.microseconds
        }
        return output
    }

    // MARK: Details

    private var isAtGreeting: Bool { cursor < entries.count && entries[cursor].step.isGreeting }

    private func due(_ entry: Entry) -> Int64? {
        guard options.timeScale > 0, let lastRecordedTime else { return nil }
        let gap = Double(Swift.max(0, entry.microseconds - lastRecordedTime)) * options.timeScale
        return lastTime + (gap < 3.6e9 ? Int64(gap) : 3_600_000_000)
    }

    private mutating func emit(_ step: RecordedStep, record: Int, into output: inout [Output]) -> Bool {
        switch step {
        case .command: break
        case .greeting(let message):
            guard isConnected, !isGreeted else { return false }
            isGreeted = true
            lastGreeting = message
            output.append(.greet(message, record: record))
        case .reply(let index, let message):
            lastReplies[recordedCommands[index].name] = message
            if let command = matches[index] { output.append(.reply(command, message, record: record)) }
        case .say(let message): output.append(.say(message, record: record))
        case .raw(let bytes): output.append(.raw(bytes))
        case .lost:
            if isConnected { output.append(.close) }
            isConnected = false
        case .ended(let code):
            let returns = entries[cursor...].contains(where: \.step.isGreeting)
            output.append(returns ? .close : .exit(code))
            isConnected = false
        }
        return true
    }

    /// The recorded command that this one is. Queries and settings may be left out, milestones not.
    private mutating func match(_ command: FakeCommand) -> Int? {
        var passed: [Int] = []
        var found: (index: Int, passed: Int)?
        search: for entry in entries[cursor...] {
            guard case .command(let index) = entry.step, matches[index] == nil, !skipped.contains(index) else {
                continue
            }
            let recorded = recordedCommands[index]
            if recorded.name == command.name {
                // The same command with the same arguments is better than its first occurrence.
                if recorded.arguments == command.arguments {
                    found = (index, passed.count)
                    break
                }
                if found == nil { found = (index, passed.count) }
            } else if Self.milestones.contains(recorded.name) {
                break search
            }
            passed.append(index)
        }
        guard let found else { return nil }
        skipped.formUnion(passed.prefix(found.passed))
        return found.index
    }

    private func unmatchedAnswer(_ command: FakeCommand) -> FakeAnswer {
        if command.name.hasPrefix("query-"), let value = lastReplies[command.name]?["return"] { return .success(value) }
        return switch options.unmatched {
        case .empty: .success([:])
        case .commandNotFound:
            .failure(errorClass: "CommandNotFound", desc: "The command \(command.name) has not been found")
        }
    }
}

extension FakeCommand {
    /// The command that a message is; nil if it is none.
    init?(_ message: JSONValue) {
        guard let name = message["execute"]?.string ?? message["exec-oob"]?.string else { return nil }
        self.init(
            name: name, arguments: message["arguments"]?.object ?? [:], id: message["id"],
            isOutOfBand: message["execute"] == nil)
    }
}
