import JSONC
import Migration
import MigrationQMP
import Trace

/// A command on its way.
struct PendingCommand {
    var command: Command
    /// The record that sent it, counted from 1.
    var order: Int
    var time: Instant
    /// The attempt in which it was sent.
    var attempt: Int
    /// Whether it is a second `migrate` in an attempt of which nobody knows yet what it is.
    var isContested = false
}

/// A command with its answer.
struct Exchange {
    var pending: PendingCommand
    var reply: Reply
    var side: Side
}

/// The id of a message, which can be any JSON.
enum MessageID: Hashable {
    /// None, a short string or an integer.
    case short(ScannedIdentifier)
    /// Anything else.
    case long(JSONValue)

    init(_ value: JSONValue?) {
        if let short = ScannedIdentifier(value) { self = .short(short) } else { self = .long(value ?? .null) }
    }

    /// The id of a scanned line.
    @inline(__always)
    init(_ line: ScannedLine, in block: TraceBlock) {
        self = line.identifier.isLong ? .long(.string(block.longIdentifier(of: line) ?? "")) : .short(line.identifier)
    }
}

/// One QMP connection of a recording: which reply belongs to which command, by ids of any JSON type.
struct Conversation {
    /// A command whose answer may be taken shortly; without references, so that it is kept and found at no cost.
    struct Query {
        var id: ScannedIdentifier
        var ask: Ask
        /// Its place in ``QueryNames``.
        var name: Int32
        var order: Int
        var microseconds: Int64
        var attempt: Int

        /// What it asks for.
        enum Ask: UInt8 {
            case migration
            case state
            /// Something that nothing reads.
            case other
        }

        func pending(_ names: QueryNames) -> PendingCommand {
            let command: Command =
                switch ask {
                case .migration: .queryMigrate
                case .state: .queryStatus
                case .other: names[name]
                }
            return PendingCommand(
                command: command, order: order, time: Instant(microseconds: microseconds), attempt: attempt)
        }
    }

    /// Queries with a short id; there rarely is more than one.
    private var queries: [Query] = []
    /// Other commands and those with other ids.
    private var others: [MessageID: PendingCommand] = [:]
    /// Commands without an id are answered in their order.
    private var nameless: [PendingCommand] = []
    private var answered = 0
    /// How many commands without an answer were forgotten, because there are too many.
    private(set) var forgotten = 0

    private static let maximumQueries = 16
    private static let maximumOthers = 1 << 14

    /// Notes a command; returns one of the same id that is still open and can now never be told apart.
    mutating func sent(_ pending: PendingCommand, id: MessageID, _ names: QueryNames) -> PendingCommand? {
        if case .short(let short) = id {
            guard !short.isNone else {
                if nameless.count - answered < Self.maximumOthers { nameless.append(pending) } else { forgotten += 1 }
                return nil
            }
            if let place = place(of: short) {
                let lost = queries.remove(at: place).pending(names)
                keep(pending, id)
                return lost
            }
        }
        let lost = others.removeValue(forKey: id)
        keep(pending, id)
        return lost
    }

    /// Notes a query; returns false, having done nothing, if there is no room for it or its id is taken.
    @inline(__always)
    mutating func sent(_ query: Query) -> Bool {
        guard queries.count < Self.maximumQueries, place(of: query.id) == nil,
            others.isEmpty || others[.short(query.id)] == nil
        else { return false }
        queries.append(query)
        return true
    }

    private mutating func keep(_ pending: PendingCommand, _ id: MessageID) {
        if others.count < Self.maximumOthers { others[id] = pending } else { forgotten += 1 }
    }

    @inline(__always)
    func place(of id: ScannedIdentifier) -> Int? {
        for place in queries.indices where queries[place].id == id { return place }
        return nil
    }

    /// A query at its place.
    @inline(__always)
    func query(at place: Int) -> Query { queries[place] }

    /// Takes a query off.
    @inline(__always)
    mutating func answer(at place: Int) {
        if place == queries.count &- 1 { queries.removeLast() } else { queries.remove(at: place) }
    }

    /// The command that a reply belongs to.
    mutating func answer(id: MessageID, _ names: QueryNames) -> PendingCommand? {
        if case .short(let short) = id {
            if short.isNone { return answerNameless() }
            if let place = place(of: short) { return queries.remove(at: place).pending(names) }
        }
        return others.removeValue(forKey: id)
    }

    /// The command that a reply would belong to.
    func pending(of id: MessageID, _ names: QueryNames) -> PendingCommand? {
        if case .short(let short) = id {
            if short.isNone { return answered < nameless.count ? nameless[answered] : nil }
            if let place = place(of: short) { return queries[place].pending(names) }
        }
        return others[id]
    }

    private mutating func answerNameless() -> PendingCommand? {
        guard answered < nameless.count else { return nil }
        let pending = nameless[answered]
        answered += 1
        if answered >= 64, answered * 2 >= nameless.count {
            nameless.removeFirst(answered)
            answered = 0
        }
        return pending
    }

    /// Whether no command with an id is under way.
    var isClear: Bool { queries.isEmpty && others.isEmpty }

    /// Goes on with a query that was kept elsewhere while nothing else was under way.
    mutating func resume(_ query: Query) { queries.append(query) }

    /// The commands without an answer, in their order.
    func open(_ names: QueryNames) -> [PendingCommand] {
        (queries.map { $0.pending(names) } + others.values + nameless[answered...]).sorted { $0.order < $1.order }
    }

    /// The oldest attempt that a command without an answer belongs to.
    var oldestAttempt: Int? {
        [
            queries.lazy.map(\.attempt).min(), others.values.lazy.map(\.attempt).min(),
            nameless[answered...].lazy.map(\.attempt).min(),
        ].compactMap(\.self).min()
    }
}

/// The commands without a meaning of their own, by numbers.
struct QueryNames {
    private var commands: [Command] = []
    private var places: [Command: Int32] = [:]

    private static let maximum = 4096

    subscript(_ place: Int32) -> Command { commands[Int(place)] }

    /// The number of a command; `nil` if there are too many.
    mutating func place(of command: Command) -> Int32? {
        if let known = places[command] { return known }
        guard commands.count < Self.maximum else { return nil }
        commands.append(command)
        places[command] = Int32(commands.count - 1)
        return Int32(commands.count - 1)
    }
}

/// Names one QMP connection of a recording.
struct ConversationKey: Hashable {
    var side: Side
    var qemu: String?
    var connection: Int
}

extension ConversationKey {
    init(_ side: Side, _ record: TraceRecord) {
        self.init(side: side, qemu: record.qemu, connection: record.connection ?? 1)
    }
}

/// All QMP connections of a recording that have commands without an answer, or had.
struct ConversationList {
    private struct Entry {
        var key: ConversationKey
        var conversation: Conversation
    }

    private var entries: [Entry] = []
    private var names = QueryNames()

    private static let maximum = 1024

    /// Changes whenever the places of the connections may have changed.
    private(set) var version = 0

    /// Where a connection is, as long as ``version`` is the same.
    func place(of key: ConversationKey) -> Int? {
        for place in entries.indices where entries[place].key == key { return place }
        return nil
    }

    /// Notes a query on a connection by its place; see `Conversation`.
    @inline(__always)
    mutating func sent(_ query: Conversation.Query, at place: Int) -> Bool { entries[place].conversation.sent(query) }

    /// Looks up a query on a connection by its place.
    @inline(__always)
    func query(_ id: ScannedIdentifier, at place: Int) -> (place: Int, query: Conversation.Query)? {
        entries[place].conversation.place(of: id).map { ($0, entries[place].conversation.query(at: $0)) }
    }

    /// Takes a query off.
    @inline(__always)
    mutating func answer(_ query: Int, at place: Int) { entries[place].conversation.answer(at: query) }

    /// Whether there is a connection at a place and no command with an id is under way on it.
    func isClear(at place: Int) -> Bool { place < entries.count && entries[place].conversation.isClear }

    /// Goes on with a query that was kept elsewhere.
    mutating func resume(_ query: Conversation.Query, at place: Int) { entries[place].conversation.resume(query) }

    /// The number of a command without a meaning of its own; `nil` if there are too many.
    mutating func name(of command: Command) -> Int32? { names.place(of: command) }

    /// The command of a query.
    func command(_ query: Conversation.Query) -> Command { query.pending(names).command }

    /// Notes a command; returns one of the same id that is still open.
    mutating func sent(_ pending: PendingCommand, id: MessageID, on key: ConversationKey) -> PendingCommand? {
        if let place = place(of: key) { return entries[place].conversation.sent(pending, id: id, names) }
        version &+= 1
        // A trace with ever new connections that never end shall not fill the memory.
        if entries.count >= Self.maximum { entries.removeFirst(Self.maximum / 2) }
        entries.append(Entry(key: key, conversation: Conversation()))
        return entries[entries.count - 1].conversation.sent(pending, id: id, names)
    }

    /// The command that a reply belongs to.
    mutating func answer(id: MessageID, on key: ConversationKey) -> PendingCommand? {
        place(of: key).flatMap { entries[$0].conversation.answer(id: id, names) }
    }

    /// The command that a reply would belong to.
    func pending(of id: MessageID, on key: ConversationKey) -> PendingCommand? {
        place(of: key).flatMap { entries[$0].conversation.pending(of: id, names) }
    }

    mutating func remove(_ key: ConversationKey) -> Conversation? {
        version &+= 1
        return place(of: key).map { entries.remove(at: $0).conversation }
    }

    /// The commands of a connection that have no answer.
    func open(_ conversation: Conversation) -> [PendingCommand] { conversation.open(names) }

    /// The commands without an answer.
    var open: [(Side, PendingCommand)] {
        entries.flatMap { entry in entry.conversation.open(names).map { (entry.key.side, $0) } }
    }

    var oldestAttempt: Int? { entries.compactMap(\.conversation.oldestAttempt).min() }
}

/// A message of QEMU.
enum RecordedMessage {
    case greeting(QEMUVersion)
    case event(QEMUEvent)
    case reply(JSONValue)
    case error(errorClass: String, description: String)
    case rubbish

    init(_ message: JSONValue) {
        if let name = message["event"]?.string {
            self = .event(QEMUEvent(name: name, message: message))
        } else if let value = message["return"] {
            self = .reply(value)
        } else if let error = message["error"] {
            self = .error(
                errorClass: error["class"]?.string ?? "GenericError", description: error["desc"]?.string ?? error.text()
            )
        } else if let greeting = message["QMP"] {
            let version = greeting["version"]?["qemu"]
            func number(_ key: String) -> Int { Int(clamping: version?[key]?.int64 ?? 0) }
            self = .greeting(QEMUVersion(number("major"), number("minor"), number("micro")))
        } else {
            self = .rubbish
        }
    }
}
