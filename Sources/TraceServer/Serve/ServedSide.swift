import JSONC
import Migration
import MigrationQMP
public import Trace

/// How a recorded QEMU is played.
public struct ServeOptions: Hashable, Sendable {
    /// The factor by which it is faster than it was; 0: as fast as possible.
    public var speed = 1.0
    /// Whether a command that was not recorded, with the same arguments, is an error. Otherwise it is answered from what is known.
    public var isStrict = false
    /// Whether what the other side caused waits for the other side, which is played elsewhere.
    public var isCoupled = false

    /// The defaults.
    public init() {}
}

/// One side of a recording as a QEMU that goes on by itself. Pure: time is handed in, in microseconds.
///
/// The commands that move a migration have their places in the recording; events come at their recorded distance from the one before
/// them, whichever side's that was. Everything else may be asked at any time and in any order, and is answered as it was at that moment.
public struct ServedSide: RecordedQEMU {
    /// What was recorded of this side, in order. Queries and settings are not among it: see `ServedAnswers`.
    struct Entry: Sendable {
        var microseconds: Int64
        var line: Int
        /// How many of the other side's moves and events were recorded before.
        var gate: Int
        var step: RecordedStep
    }

    /// A command that moves a migration.
    struct Move: Sendable {
        var command: FakeCommand
        var entry: Int
    }

    /// Commands that a client is not supposed to have left out.
    static let moves: Set<String> = [
        "migrate", "migrate-incoming", "migrate-continue", "migrate_cancel", "migrate-start-postcopy", "migrate-pause",
        "migrate-recover", "cont", "stop", "quit", "yank", "system_powerdown", "system_reset",
    ]

    /// The settings.
    public let options: ServeOptions
    /// The names of commands that arrived and were answered without a place in the recording.
    public private(set) var unmatched: Set<String> = []
    private static let maximumNames = 1000
    private(set) var nextDeadline: Int64?
    /// The progress of a side that has ended, and of one that goes another way than its recording: nobody waits for it.
    static let gone = Int.max
    static let parted = Int.max - 1

    /// How many of this side's moves and events have their place behind us: what the other side waits for.
    private(set) var progress = 0
    /// How many of its moves have.
    private var moved = 0

    let negotiates = true
    private(set) var entries: [Entry] = []
    private(set) var ownMoves: [Move] = []
    private(set) var cursor = 0
    /// Where the distance to what comes next is measured from.
    private(set) var anchor: (live: Int64, recorded: Int64)?
    private var otherSteps: [Int64] = []
    private var otherProgress = 0
    private var answers = ServedAnswers()
    private var schema = ServedSchema()
    private var settings = ServedSettings()
    /// Whether it greets as the recorded one did; false: the recording began later.
    public private(set) var hasOwnGreeting = true
    private var matches: [Int: FakeCommand] = [:]
    private var skipped: Set<Int> = []
    /// The moves that were answered.
    private var answeredMoves: Set<Int> = []
    /// The one whose answer is still to come, and the in-band commands that QEMU does not look at before.
    private var outstanding: Int?
    private var waiting: [FakeCommand] = []
    private var delayed: [(at: Int64, output: RecordedOutput)] = []
    private var lastInBand: Int64 = 0
    private var lastGreeting: JSONValue?
    /// Where it listens for the other side before anybody says so.
    private var standingAddress: String?
    private var isConnected = false
    private var isGreeted = false
    private var isOpen = false

    /// The side of these records.
    init(_ records: [TraceRecord], side: TraceSide, options: ServeOptions = ServeOptions()) {
        self.options = options
        var pending: [(id: JSONValue?, move: Int?, answer: Int?)] = []
        let own = records.filter { $0.side == side }
        if let first = own.first, !own.contains(where: Self.isGreeting) {
            let greeting = ServedSchema.greeting(of: own)
            schema.saw(greeting)
            entries.append(Entry(microseconds: first.microseconds, line: 0, gate: 0, step: .greeting(greeting)))
            hasOwnGreeting = false
        }
        for record in records {
            guard record.side == side else {
                if Self.isStep(record) { otherSteps.append(record.microseconds) }
                continue
            }
            guard let step = step(for: record, &pending) else { continue }
            entries.append(
                Entry(microseconds: record.microseconds, line: record.line, gate: otherSteps.count, step: step))
        }
        // A destination that was started with an address listens there from the beginning.
        guard options.isCoupled,
            !ownMoves.contains(where: { ["migrate", "migrate-incoming"].contains($0.command.name) })
        else { return }
        for case .send(let message) in records.lazy.filter({ $0.side != side }).map(\.member) {
            guard let command = FakeCommand(message), command.name == "migrate" else { continue }
            standingAddress = Self.address(in: command)
            break
        }
    }

    /// A QEMU of one side of a recording. Where the recording knows no sides, as it is of one QEMU, that one is meant.
    ///
    /// - Parameter trace: The recording's name, for errors.
    /// - Throws: `TraceError` if it has nothing of that side.
    public init(
        _ records: [TraceRecord], of trace: String, side: TraceSide, options: ServeOptions = ServeOptions()
    ) throws(TraceError) {
        var records = records
        let sides = Set(records.filter(Self.isTalk).map(\.side))
        if sides == [nil] {
            let names = Set(records.compactMap(\.qemu)).sorted()
            guard names.count <= 1 else {
                throw TraceError(
                    file: trace,
                    message:
                        "\(names.count) QEMUs are in it (\(names.joined(separator: ", "))), and none is said to be a "
                        + "\(side.rawValue): record says so by --side, convert by --source and --destination")
            }
            for index in records.indices { records[index].side = side }
        } else if !sides.contains(side) {
            let known = sides.compactMap { $0?.rawValue }.sorted().joined(separator: " and ")
            throw TraceError(
                file: trace,
                message: known.isEmpty
                    ? "no QMP message is in it" : "nothing of a \(side.rawValue) is in it, only of a \(known)")
        }
        self.init(records, side: side, options: options)
    }

    private static func isGreeting(_ record: TraceRecord) -> Bool {
        if case .recv(let message) = record.member { message["QMP"] != nil } else { false }
    }

    private static func isTalk(_ record: TraceRecord) -> Bool {
        switch record.member {
        case .recv, .send: true
        default: false
        }
    }

    /// Whether the other side has to wait for this.
    private static func isStep(_ record: TraceRecord) -> Bool {
        switch record.member {
        case .send(let message): FakeCommand(message).map { moves.contains($0.name) } ?? false
        case .recv(let message): message["event"] != nil
        case .monitor("lost"), .process: true
        default: false
        }
    }

    private mutating func step(
        for record: TraceRecord, _ pending: inout [(id: JSONValue?, move: Int?, answer: Int?)]
    ) -> RecordedStep? {
        switch record.member {
        case .recv(let message):
            schema.saw(message)
            if message["QMP"] != nil {
                pending = []
                return .greeting(message)
            }
            guard message["return"] != nil || message["error"] != nil else { return .say(message) }
            guard let place = pending.firstIndex(where: { $0.id == message["id"] }) else { return .say(message) }
            let found = pending.remove(at: place)
            if let move = found.move {
                answeredMoves.insert(move)
                return .reply(move, message)
            }
            if let answer = found.answer {
                answers.answered(answer, by: message, at: record.microseconds, line: record.line, after: entries.count)
            }
            return nil
        case .send(let message):
            guard let command = FakeCommand(message) else { return nil }
            schema.saw(command)
            if Self.moves.contains(command.name) {
                pending.append((command.id, ownMoves.count, nil))
                ownMoves.append(Move(command: command, entry: entries.count))
                return .command(ownMoves.count - 1)
            }
            // The greeting's own part of the conversation is had anew with each client.
            guard command.name != "qmp_capabilities" else {
                pending.append((command.id, nil, nil))
                return nil
            }
            let answer = answers.asked(
                command, at: record.microseconds, moves: ownMoves.count, after: entries.count)
            pending.append((command.id, nil, answer))
            return nil
        default: return RecordedStep(record.member)
        }
    }

    /// Whether everything recorded was said.
    public var isAtEnd: Bool { cursor >= entries.count }

    // MARK: Inputs

    mutating func connected(at now: Int64) -> [RecordedOutput] {
        isConnected = true
        isGreeted = false
        isOpen = false
        var output: [RecordedOutput] = []
        if let address = standingAddress {
            standingAddress = nil
            output.append(.meets(address, isListening: true))
        }
        // A client that comes back more often than it did in the recording is greeted as before.
        if let lastGreeting, !isAtGreeting {
            isGreeted = true
            output.append(.greet(lastGreeting, record: 0))
        }
        return output + advance(to: now)
    }

    mutating func opened(at now: Int64) -> [RecordedOutput] {
        isOpen = true
        if let anchor, cursor < entries.count, ownMoves.isEmpty || moved == 0 {
            self.anchor = (now, anchor.recorded)
        }
        return advance(to: now)
    }

    mutating func disconnected() {
        isConnected = false
        delayed = []
        waiting = []
    }

    mutating func received(_ command: FakeCommand, at now: Int64) -> [RecordedOutput] {
        var output = advance(to: now)
        if command.isOutOfBand {
            output += handle(command, at: now)
        } else {
            waiting.append(command)
        }
        return output + advance(to: now)
    }

    private mutating func handle(_ command: FakeCommand, at now: Int64) -> [RecordedOutput] {
        if Self.moves.contains(command.name) { return move(command, at: now) }
        ask(command, at: now)
        return []
    }

    mutating func otherSideProgressed(to count: Int, at now: Int64) -> [RecordedOutput] {
        guard count > otherProgress else { return [] }
        otherProgress = count
        // What comes next is measured from what the other side did before it, if nothing of ours came after that.
        let next = cursor < entries.count ? Swift.min(count, entries[cursor].gate) : 0
        if next > 0, otherSteps[next - 1] > anchor?.recorded ?? -1 { anchor = (now, otherSteps[next - 1]) }
        return advance(to: now)
    }

    mutating func advance(to now: Int64) -> [RecordedOutput] {
        var output = goOn(to: now)
        while outstanding == nil, !waiting.isEmpty {
            output += handle(waiting.removeFirst(), at: now)
            output += goOn(to: now)
        }
        return output
    }

    private mutating func goOn(to now: Int64) -> [RecordedOutput] {
        var output: [RecordedOutput] = []
        nextDeadline = nil
        while cursor < entries.count {
            let entry = entries[cursor]
            if case .command(let index) = entry.step {
                guard matches[index] != nil || skipped.contains(index) else { break }
                moved += 1
                step()
                anchor = (now, entry.microseconds)
            } else {
                if options.isCoupled, otherProgress < entry.gate { break }
                if let due = due(entry.microseconds), due > now {
                    nextDeadline = due
                    break
                }
                // Before the negotiation QEMU says nothing of itself.
                if entry.step.isSaid, isConnected, !isOpen { break }
                guard emit(entry, at: now, into: &output) else { break }
            }
            cursor += 1
        }
        delayed.sort { $0.at < $1.at }
        while let first = delayed.first, first.at <= now {
            output.append(first.output)
            delayed.removeFirst()
        }
        if let first = delayed.first { nextDeadline = Swift.min(nextDeadline ?? .max, first.at) }
        return output
    }

    // MARK: The recording goes on

    private var isAtGreeting: Bool { cursor < entries.count && entries[cursor].step.isGreeting }

    /// When what was recorded then is due; nil: at once.
    private func due(_ recorded: Int64) -> Int64? {
        guard options.speed > 0, let anchor else { return nil }
        return anchor.live + scaled(recorded - anchor.recorded)
    }

    private func scaled(_ microseconds: Int64) -> Int64 {
        guard options.speed > 0 else { return 0 }
        let span = Double(Swift.max(0, microseconds)) / options.speed
        return span < 3.6e10 ? Int64(span) : 36_000_000_000
    }

    private mutating func step() {
        if progress < Self.parted { progress += 1 }
    }

    private mutating func emit(_ entry: Entry, at now: Int64, into output: inout [RecordedOutput]) -> Bool {
        switch entry.step {
        case .command: break
        case .greeting(let message):
            // Whoever did not leave where the recorded client did needs no second one.
            if isGreeted, isConnected { break }
            guard isConnected else { return false }
            isGreeted = true
            lastGreeting = message
            anchor = (now, entry.microseconds)
            output.append(.greet(message, record: entry.line))
        case .reply(let index, let message):
            if outstanding == index { outstanding = nil }
            if let command = matches[index] { output.append(.reply(command, message, record: entry.line)) }
        case .say(let message):
            answers.noticed(message, entry: cursor)
            if message["event"] != nil { step() }
            output.append(.say(message, record: entry.line))
        case .raw(let bytes): output.append(.raw(bytes))
        case .lost:
            outstanding = nil
            step()
            if isConnected { output.append(.close) }
            isConnected = false
        case .ended(let code):
            let returns = entries[cursor...].contains(where: \.step.isGreeting)
            if returns { step() } else { progress = Self.gone }
            output.append(returns ? .close : .exit(code))
            isConnected = false
        }
        return true
    }

    // MARK: Commands

    /// A command that moves the migration takes its place, and what was recorded before it comes first, however early it is.
    private mutating func move(_ command: FakeCommand, at now: Int64) -> [RecordedOutput] {
        let found = ownMoves[moved...].firstIndex { recorded in
            recorded.command.name == command.name
                && (!options.isStrict || recorded.command.arguments == command.arguments)
        }
        guard let found, !options.isStrict || found == moved else { return unrecorded(command, at: now) }
        matches[found] = command
        var output: [RecordedOutput] = []
        skipped.formUnion(moved..<found)
        while cursor < ownMoves[found].entry {
            let entry = entries[cursor]
            if case .command = entry.step {
                moved += 1
                step()
            } else if !emit(entry, at: now, into: &output) {
                break
            }
            cursor += 1
        }
        if answeredMoves.contains(found), !command.isOutOfBand { outstanding = found }
        switch command.name {
        case "migrate": output += meets(at: command, isListening: false)
        case "migrate-incoming": output += meets(at: command, isListening: true)
        default: break
        }
        return output
    }

    /// Where there is another side to wait for, it is met: at an address that nobody can meet at as well, so that the wait ends.
    private func meets(at command: FakeCommand, isListening: Bool) -> [RecordedOutput] {
        guard options.isCoupled, !otherSteps.isEmpty else { return [] }
        return [.meets(Self.address(in: command), isListening: isListening)]
    }

    /// The address as a URI, also where it is spelt as a channel.
    private static func address(in command: FakeCommand) -> String {
        StreamAddress(arguments: .object(command.arguments)).uri
    }

    private mutating func unrecorded(_ command: FakeCommand, at now: Int64) -> [RecordedOutput] {
        noteUnmatched(command)
        guard !options.isStrict else { return [.answer(command, refusal(of: command))] }
        answers.part()
        var output: [RecordedOutput] = [.answer(command, .success([:]))]
        func say(_ event: String, _ data: JSONObject? = nil) {
            let message = Fault.event(event, data)
            answers.noticed(message, entry: cursor)
            output.append(.say(message, record: 0))
        }
        switch command.name {
        case "quit":
            say("SHUTDOWN", ["guest": false, "reason": "host-qmp-quit"])
            output.append(.exit(0))
        case "stop": say("STOP")
        case "cont": say("RESUME")
        case "migrate_cancel" where answers.isMigrating:
            say("MIGRATION", ["status": "cancelling"])
            say("MIGRATION", ["status": "cancelled"])
            // The recorded migration went on; this one does not.
            let next = ownMoves[moved...].firstIndex { $0.command.name == "migrate" }
            skipped.formUnion(moved..<(next ?? ownMoves.count))
            cursor = next.map { ownMoves[$0].entry } ?? entries.count
            moved = next ?? ownMoves.count
            // Nobody waits for what will not be any more.
            progress = Self.parted
        default: break
        }
        return output
    }

    private func refusal(of command: FakeCommand) -> FakeAnswer {
        .failure(
            errorClass: "CommandNotFound",
            desc: "The command \(command.name) is not in the recording at this place, or not with these arguments")
    }

    private mutating func ask(_ command: FakeCommand, at now: Int64) {
        let moment = ServedAnswers.Moment(
            moves: moved, entry: cursor,
            recorded: anchor.map { $0.recorded + Int64(Double(now - $0.live) * options.speed) } ?? 0,
            isTimeless: options.speed <= 0 || anchor == nil)
        let answer = answers.answer(to: command, at: moment, isStrict: options.isStrict) { entries[$0].step.isSaid }
        let output: RecordedOutput
        var latency: Int64 = 0
        switch answer {
        case .recorded(var message, let microseconds, let line):
            if message["return"] != nil {
                settings.executed(command)
                var object = message.object ?? [:]
                object["return"] = settings.shown(by: command.name, recorded: object["return"])
                message = .object(object)
            }
            output = .reply(command, message, record: line)
            latency = scaled(microseconds)
        case .made(let value): output = .reply(command, ["return": value], record: 0)
        case .silence: return
        case .unknown:
            noteUnmatched(command)
            output = .answer(command, unrecordedAnswer(to: command))
        }
        guard options.speed > 0 else {
            delayed.append((now, output))
            return
        }
        // One in-band answer does not overtake another.
        var at = now + latency
        if !command.isOutOfBand {
            at = Swift.max(at, lastInBand)
            lastInBand = at
        }
        delayed.append((at, output))
    }

    private mutating func noteUnmatched(_ command: FakeCommand) {
        if unmatched.count < Self.maximumNames { unmatched.insert(command.name) }
    }

    private mutating func unrecordedAnswer(to command: FakeCommand) -> FakeAnswer {
        if options.isStrict { return refusal(of: command) }
        if let value = schema.answer(to: command.name) { return .success(value) }
        guard ServedAnswers.isQuery(command.name) else {
            settings.executed(command)
            return .success([:])
        }
        if let value = settings.shown(by: command.name, recorded: nil) { return .success(value) }
        return .failure(errorClass: "GenericError", desc: "\(command.name): not in the recording")
    }
}
