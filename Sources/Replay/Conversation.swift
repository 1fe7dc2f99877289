import JSONC
import Migration
import MigrationQMP

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

/// One QMP connection of a recording: which reply belongs to which command, by ids of any JSON type.
struct Conversation {
    private var named: [JSONValue: PendingCommand] = [:]
    /// Commands without an id are answered in their order.
    private var nameless: [PendingCommand] = []
    private var answered = 0

    /// Notes a command; returns one of the same id that is still open and can now never be told apart.
    mutating func sent(_ pending: PendingCommand, id: JSONValue?) -> PendingCommand? {
        guard let id else {
            nameless.append(pending)
            return nil
        }
        return named.updateValue(pending, forKey: id)
    }

    /// The command that a reply belongs to.
    mutating func answer(id: JSONValue?) -> PendingCommand? {
        if let id { return named.removeValue(forKey: id) }
        guard answered < nameless.count else { return nil }
        defer { answered += 1 }
        return nameless[answered]
    }

    /// The commands without an answer, in their order.
    var open: [PendingCommand] {
        (named.values + nameless[answered...]).sorted { $0.order < $1.order }
    }
}

/// Names one QMP connection of a recording.
struct ConversationKey: Hashable {
    var side: Side
    var qemu: String?
    var connection: Int
}

/// A message of QEMU.
enum RecordedMessage {
    case greeting(QEMUVersion)
    case event(String)
    case reply(JSONValue)
    case error(errorClass: String, description: String)
    case rubbish

    init(_ message: JSONValue) {
        if let name = message["event"]?.string {
            self = .event(name)
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
