import JSONC

/// What a recorded QEMU answered to queries and settings, and what it would answer at other moments.
struct ServedAnswers: Sendable {
    /// A recorded command that moves nothing.
    private struct Occurrence: Sendable {
        var command: FakeCommand
        var microseconds: Int64
        /// How many moves were recorded before.
        var moves: Int
        /// How many entries of the recording stand before its answer.
        var entry: Int
        /// Nil: it was never answered.
        var reply: JSONValue?
        var latency: Int64 = 0
        var line = 0
    }

    /// A moment of the play.
    struct Moment {
        var moves: Int
        var entry: Int
        /// The time of the recording that it stands for.
        var recorded: Int64
        /// Whether places count alone.
        var isTimeless: Bool
    }

    enum Answer: Hashable {
        /// What was recorded, so many microseconds after the command.
        case recorded(JSONValue, latency: Int64, line: Int)
        /// What follows from what was said.
        case made(JSONValue)
        /// It was not answered then either.
        case silence
        case unknown
    }

    private var occurrences: [Occurrence] = []
    /// The last word of a MIGRATION event, and whether the guest was last said to run; and as what entries that was said.
    private var word: String?
    private var isRunning: Bool?
    private var wordEntry = -1
    private var runEntry = -1
    /// Whether something was done that the recording does not have: what it says of the state is no guide any more.
    private var hasParted = false

    private static let ends: Set<String> = ["none", "completed", "failed", "cancelled"]

    static func isQuery(_ name: String) -> Bool {
        name.hasPrefix("query-")
            || ["qom-get", "qom-list", "qom-list-properties", "device-list-properties"].contains(name)
    }

    /// Whether a migration was heard of that has not ended.
    var isMigrating: Bool { word.map { !Self.ends.contains($0) } ?? false }

    // MARK: From the recording

    mutating func asked(_ command: FakeCommand, at microseconds: Int64, moves: Int, after entry: Int) -> Int {
        occurrences.append(Occurrence(command: command, microseconds: microseconds, moves: moves, entry: entry))
        return occurrences.count - 1
    }

    mutating func answered(_ index: Int, by message: JSONValue, at microseconds: Int64, line: Int, after entry: Int) {
        occurrences[index].reply = message
        occurrences[index].latency = Swift.max(0, microseconds - occurrences[index].microseconds)
        occurrences[index].line = line
        occurrences[index].entry = entry
    }

    /// A command that the recording does not have took effect.
    mutating func part() { hasParted = true }

    /// Something was said to the client now, as this entry of the recording.
    mutating func noticed(_ message: JSONValue, entry: Int) {
        switch message["event"]?.string {
        case "MIGRATION":
            word = message["data"]?["status"]?.string ?? word
            wordEntry = entry
        case "STOP", "RESUME":
            isRunning = message["event"] == "RESUME"
            runEntry = entry
        default: break
        }
    }

    // MARK: Answers

    /// The answer to a command at a moment; `isSaid` tells of an entry whether it is an event.
    func answer(
        to command: FakeCommand, at moment: Moment, isStrict: Bool, isSaid: (Int) -> Bool
    ) -> Answer {
        var same = occurrences.filter { $0.command.name == command.name && $0.command.arguments == command.arguments }
        if same.isEmpty, !isStrict, !command.name.hasPrefix("qom-") {
            same = occurrences.filter { $0.command.name == command.name }
        }
        guard !same.isEmpty else { return .unknown }
        let isState = command.name == "query-status" || command.name == "query-migrate"
        let here = hasParted && isState ? [] : same.filter { $0.moves == moment.moves }
        func isPassed(_ occurrence: Occurrence) -> Bool {
            occurrence.entry <= moment.entry && (moment.isTimeless || occurrence.microseconds <= moment.recorded)
        }
        let news =
            switch command.name {
            case "query-migrate": wordEntry
            case "query-status": runEntry
            default: -1
            }
        if let last = here.last(where: isPassed), news < last.entry { return answer(last) }
        // Nothing was said between now and then: it would have been the same.
        let next = here.first { !isPassed($0) }
        if let next, !(moment.entry..<Swift.max(moment.entry, next.entry)).contains(where: isSaid) {
            return answer(next)
        }
        let earlier = same.last { $0.moves < moment.moves || (hasParted && $0.moves <= moment.moves) }
        switch command.name {
        case "query-migrate": return migration(same, earlier, next)
        case "query-status": return runState(same, earlier ?? here.first ?? same[0])
        default: return answer(earlier ?? here.first ?? same[0])
        }
    }

    private func answer(_ occurrence: Occurrence) -> Answer {
        guard let reply = occurrence.reply else { return .silence }
        return .recorded(reply, latency: occurrence.latency, line: occurrence.line)
    }

    /// An answer with the word that was said last, recorded or made.
    private func migration(_ same: [Occurrence], _ earlier: Occurrence?, _ next: Occurrence?) -> Answer {
        guard let word else { return answer(earlier ?? next ?? same[0]) }
        let fitting = same.filter { $0.reply?["return"]?["status"]?.string == word }
        if let next, let found = fitting.first(where: { $0.entry >= next.entry }) ?? fitting.last {
            return answer(found)
        }
        if let found = fitting.last { return answer(found) }
        return .made(["status": .string(word)])
    }

    private func runState(_ same: [Occurrence], _ known: Occurrence) -> Answer {
        guard let isRunning, let value = known.reply?["return"]?.object, value["running"]?.bool != isRunning else {
            return answer(known)
        }
        if let fitting = same.last(where: { $0.reply?["return"]?["running"]?.bool == isRunning }) {
            return answer(fitting)
        }
        var made = value
        made["running"] = .bool(isRunning)
        made["status"] = .string(isRunning ? "running" : word == "completed" ? "postmigrate" : "paused")
        return .made(.object(made))
    }
}
