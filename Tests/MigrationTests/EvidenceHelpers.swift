import Migration

/// One line of a story about one QEMU.
enum Line: Hashable, CustomStringConvertible {
    case send(Command)
    case accept(Command)
    case refuse(Command, String)
    case unanswered(Command)
    case word(StatusWord)
    case look(StatusWord?)
    case event(QEMUEvent)
    case state(RunState)
    case process(ProcessEnd)
    case monitor(MonitorState)
    case request(TriggerKind)
    case yankInstances(Bool)

    var description: String {
        switch self {
        case .send(let command): "send \(command.name)"
        case .accept(let command): "accept \(command.name)"
        case .refuse(let command, _): "refuse \(command.name)"
        case .unanswered(let command): "unanswered \(command.name)"
        case .word(let word): "event \(word)"
        case .look(let word): "query \(word?.rawValue ?? "-")"
        case .event(let event): "\(event)"
        case .state(let state): "state \(state)"
        case .process(let end): "process \(end)"
        case .monitor(let state): "monitor \(state)"
        case .request(let kind): "request \(kind.rawValue)"
        case .yankInstances(let isThere): "yank instance \(isThere)"
        }
    }
}

let migrate = Command.migrate(uri: "unix:/m", resume: false)
let listen = Command.migrateIncoming(uri: "unix:/m", exitOnError: nil)

/// Every status word QEMU is known to say, except `none`.
let knownWords: [StatusWord] = [
    .setup, .waitUnplug, .active, .preSwitchover, .device, .postcopyDevice, .postcopyActive, .postcopyPaused,
    .postcopyRecoverSetup, .postcopyRecover, .colo, .completed, .failing, .failed, .cancelling, .cancelled,
]

extension Evidence {
    init(_ side: Side, _ lines: [Line]) {
        self.init(side: side)
        for (index, line) in lines.enumerated() { take(line, index + 1) }
    }

    mutating func take(_ line: Line, _ sequence: Int) {
        let time = Instant(microseconds: Int64(sequence) * 1000)
        switch line {
        case .send(let command): note(sent: command, origin: .controller, sequence: sequence, at: time)
        case .accept(let command): note(.reply(command, .done), sequence: sequence, at: time)
        case .refuse(let command, let text):
            note(.reply(command, .refused(errorClass: "GenericError", description: text)), sequence: sequence, at: time)
        case .unanswered(let command): note(.unanswered(command), sequence: sequence, at: time)
        case .word(let word): note(.event(.migration(word)), sequence: sequence, at: time)
        case .look(let word):
            note(.reply(.queryMigrate, .migration(MigrationSample(status: word))), sequence: sequence, at: time)
        case .event(let event): note(.event(event), sequence: sequence, at: time)
        case .state(let state): note(.reply(.queryStatus, .status(state)), sequence: sequence, at: time)
        case .process(let end): note(.process(end), sequence: sequence, at: time)
        case .monitor(let state): note(.monitor(state), sequence: sequence, at: time)
        case .request(let kind): note(request: kind, origin: .operator, sequence: sequence, at: time)
        case .yankInstances(let isThere):
            note(.reply(.queryYank, .yankInstances(migration: isThere)), sequence: sequence, at: time)
        }
    }
}

/// All orders of all subsets of `items` with at most `bound` members.
func arrangements<Item>(of items: [Item], upTo bound: Int) -> [[Item]] {
    var all: [[Item]] = [[]]
    var last: [([Item], Set<Int>)] = [([], [])]
    for _ in 0..<min(bound, items.count) {
        var next: [([Item], Set<Int>)] = []
        for (arrangement, used) in last {
            for index in items.indices where !used.contains(index) {
                next.append((arrangement + [items[index]], used.union([index])))
            }
        }
        all += next.map(\.0)
        last = next
    }
    return all
}
