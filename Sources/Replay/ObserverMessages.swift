import JSONC
import Migration
import MigrationQMP
import Phases
import Trace

extension Observer {
    // MARK: Commands

    mutating func sent(_ message: JSONValue, _ side: Side, _ key: ConversationKey) {
        guard let command = Command(message: message) else {
            anomaly("a message to QEMU that is no command: \(Self.excerpt(message))", side)
            return
        }
        sent(command, MessageID(message["id"]), side, key)
    }

    mutating func sent(_ command: Command, _ id: MessageID, _ side: Side, _ key: ConversationKey) {
        let opens = open(for: command, side)
        var pending = PendingCommand(
            command: command, order: order, time: time, attempt: command == .quit ? closing(side) : current)
        if case .migrate(_, false) = command, !opens, side == .source {
            pending.isContested = true
            contested = pending
        } else if counts(command, side) {
            note(sent: command, side, in: pending.attempt)
        }
        if opens, side == .source { attempts.last.migrateOrder = order }
        observe(.sent(command, opens: opens), side)
        if let lost = conversations.sent(pending, id: id, on: key) {
            anomaly("the id of \(lost.command.name) (record \(name(of: lost.order))) is used again", side)
        } else if pending.isContested {
            keepChanges()
        }
        if case .stop = command, side == .source { pausedOnTheWay() }
        if case .cont = command, side == .source { attempts.last.context.wasPausedOnTheWay = false }
    }

    /// Begins the attempt that a command belongs to, if it is not the one going on. Tells whether it opens this side.
    private mutating func open(for command: Command, _ side: Side) -> Bool {
        switch (side, command) {
        case (.source, .migrate(_, false)):
            if attempts.last.migrateOrder != nil {
                guard attempts.last.hasSourceEnded else { return false }
                begin(keepingListener: true)
            }
            return true
        case (.destination, .migrateIncoming):
            if attempts.last.hasEnded { begin() }
            return true
        default: return false
        }
    }

    /// Whether a command is part of the attempt: a cancel of something that was not begun is not.
    private mutating func counts(_ command: Command, _ side: Side) -> Bool {
        guard side == .source, command == .migrateCancel || command == .yank else { return true }
        guard attempts.last.migrateOrder != nil || attempts.last.source.openedSequence != nil else {
            return command == .yank
        }
        let isCancel = command == .migrateCancel || attempts.last.source.triggers[.cancel]?.state == .requested
        if isCancel, !attempts.last.source.triggers.wasSent(.cancel),
            attempts.last.isDestinationOutOfSight(isOurs)
        {
            attempts.last.source.note(otherSideFailed: order - 1)
        }
        return true
    }

    private mutating func pausedOnTheWay() {
        guard !isOurs, attempts.last.source.triggers[.hold]?.origin != .policy,
            case .copying = attempts.last.source.stage
        else { return }
        attempts.last.context.wasPausedOnTheWay = true
    }

    // MARK: Attempts

    /// Begins another attempt: nothing of the one before counts, but the QEMUs are what they are.
    mutating func begin(keepingListener: Bool = false) {
        let last = attempts.last
        var next = ObservedAttempt()
        for side in Side.allCases {
            guard let machine = machines[side], !machine.isGone else { continue }
            if let version = machine.version { next[side].note(.greeting(version), sequence: order, at: time) }
            if machine.isConnected ?? false { next[side].note(.monitor(.connected), sequence: order, at: time) }
            // On a destination this would mean that the guest of this attempt ran.
            if side == .source, let isRunning = machine.isRunning {
                next.source.note(.event(isRunning ? .resume : .stop), sequence: order, at: time)
            }
        }
        if keepingListener, last.isListening {
            next.destination = last.destination
            next.seen.insert(.destination)
            next.inference.keepDestination(of: last.inference)
        }
        attempts.append(next)
        archive()
        let number = attempts.count
        observe(.attempt(number), nil)
    }

    /// The second `migrate` was none within the running attempt: it begins another one, from where it was sent.
    private mutating func adopt(_ pending: PendingCommand) {
        contested = nil
        begin(keepingListener: true)
        adopted = (pending.order, current)
        attempts.last.seen.insert(.source)
        attempts.last.migrateOrder = pending.order
        note(sent: pending.command, .source, in: current, since: pending)
    }

    // MARK: Messages

    mutating func received(_ message: JSONValue, _ side: Side, _ key: ConversationKey) {
        switch RecordedMessage(message) {
        case .greeting(let version): greeted(version, side, key)
        case .event(let event): self.event(event, side)
        case .reply(let value): returned(MessageID(message["id"]), side, key) { Reply(to: $0, value: value) }
        case .error(let errorClass, let description):
            refused(errorClass, description, MessageID(message["id"]), side, key)
        case .rubbish: anomaly("a message that is none of QMP's: \(Self.excerpt(message))", side)
        }
    }

    /// QEMU answered; what it said depends on what it was asked.
    mutating func returned(_ id: MessageID, _ side: Side, _ key: ConversationKey, _ reply: (Command) -> Reply) {
        guard let pending = answered(id, side, key) else { return }
        replied(reply(pending.command), pending, side)
    }

    mutating func refused(
        _ errorClass: String, _ description: String, _ id: MessageID, _ side: Side, _ key: ConversationKey
    ) {
        guard let pending = answered(id, side, key) else { return }
        replied(.refused(errorClass: errorClass, description: description), pending, side)
    }

    private mutating func greeted(_ version: QEMUVersion, _ side: Side, _ key: ConversationKey) {
        forget(key, side)
        if attempts.last.hasEnded, side == .destination || machines[side]?.isGone ?? false {
            begin()
            attempts.last.seen.insert(side)
        }
        if machines[side]?.isGone ?? false { machines[side] = Machine(connections: machines[side]?.connections ?? []) }
        machines[side]?.isConnected = true
        machines[side]?.version = version
        attempts.last.greetings[side] = order
        note(.greeting(version), side, in: current)
        observe(.greeting(version), side)
    }

    mutating func event(_ event: QEMUEvent, _ side: Side) {
        var attempt = current
        switch event {
        case .migration(let word):
            if word == .setup { restart(side) }
            attempt = current
            self.word(word, .event, side) { $0.note(.event(event), side, in: $0.current) }
            return
        case .stop: machines[side]?.isRunning = false
        case .resume: machines[side]?.isRunning = true
        case .shutdown(false, _): attempt = closing(side)
        default: break
        }
        note(.event(event), side, in: attempt)
        observe(.event(event), side)
        noticeRunning(side)
    }

    /// Status `setup` begins an attempt, whether its command was recorded or not.
    private mutating func restart(_ side: Side) {
        if side == .source, let pending = contested, pending.attempt == current {
            adopt(pending)
        } else if attempts.last.read(side, { !$0.words.isEmpty }), attempts.last.hasEnded {
            begin()
            attempts.last.seen.insert(side)
        }
    }

    /// Notes a status word and tells it if it is a change.
    private mutating func word(
        _ word: StatusWord, _ source: ObservationSource, _ side: Side, _ note: (inout Observer) -> Void
    ) {
        let attempt = current
        let (before, count) = attempts.last.read(side) { ($0.words.last, $0.words.count) }
        note(&self)
        guard attempts.last.read(side, { $0.words.count }) != count else { return }
        observe(.word(word, from: source), side)
        if EventKind(word: word) == .unknownStatus { anomaly(once: "unknown status word '\(word)'", side, in: attempt) }
        if source == .event, let before, before.source == .event,
            let move = TransitionTable.anomaly(
                from: before.word, to: word, on: side, version: attempts.last.read(side) { $0.version })
        {
            anomaly(once: move, side, in: attempt)
        }
    }

    mutating func answered(_ id: MessageID, _ side: Side, _ key: ConversationKey) -> PendingCommand? {
        guard var pending = conversations.answer(id: id, on: key) else {
            var text = ""
            switch id {
            case .short(let short): text = short.value.map { ", id \(Self.excerpt($0))" } ?? ""
            case .long(let value): text = ", id \(Self.excerpt(value))"
            }
            anomaly("an answer to no command" + text, side)
            return nil
        }
        if let adopted, adopted.order == pending.order {
            pending.isContested = false
            pending.attempt = adopted.attempt
            self.adopted = nil
        }
        return pending
    }

    // MARK: Replies

    mutating func replied(_ reply: Reply, _ given: PendingCommand, _ side: Side) {
        exchange = Exchange(pending: given, reply: reply, side: side)
        var pending = given
        if pending.isContested {
            guard settle(reply, &pending) else { return }
        }
        if case .refused(_, let text) = reply { observe(.refused(pending.command, text), side) }
        if case .unreadable(let text) = reply { anomaly("an answer that cannot be read: \(text)", side) }
        switch (pending.command, reply) {
        case (.queryMigrate, .migration(let sample)):
            inferListening(sample, pending, side)
            guard isFresh(pending, side) else {
                // What it tells is of an earlier attempt; that it was answered is not.
                note(.reply(.queryMigrate, .done), side, in: pending.attempt)
                observe(.poll(.queryMigrate, nil), side)
                return
            }
            sampled(sample, reply, side)
        case (.queryStatus, .status(let state)):
            let isNews = machines[side]?.runState != state
            machines[side]?.runState = state
            machines[side]?.isRunning = state == .running
            note(.reply(.queryStatus, reply), side, in: current)
            observe(isNews ? .runState(state) : .poll(.queryStatus, nil), side)
            noticeRunning(side)
        default:
            note(.reply(pending.command, reply), side, in: pending.attempt)
            if pending.command.trigger == nil, !pending.command.changesSomething, pending.command != Self.negotiation {
                observe(.poll(pending.command, nil), side)
            }
        }
    }

    /// Finds out what a second `migrate` was. Returns false if it was refused because the first one goes on.
    private mutating func settle(_ reply: Reply, _ pending: inout PendingCommand) -> Bool {
        if contested?.order == pending.order { contested = nil }
        if case .refused(_, let text) = reply,
            attempts[pending.attempt].isUnderWay || text.contains("migration process in progress")
        {
            observe(.refused(pending.command, text), .source)
            keepChanges()
            return false
        }
        adopt(pending)
        adopted = nil
        pending.isContested = false
        pending.attempt = current
        return true
    }

    /// Whether a reply to `query-migrate` tells of the attempt going on.
    func isFresh(_ pending: PendingCommand, _ side: Side) -> Bool {
        guard pending.attempt == current else { return false }
        guard let opened = attempts.last[side].openedSequence, opened < pending.order else { return false }
        // A `migrate` refused at once has touched nothing.
        return side == .destination || attempts.last.source.triggers[.migrate]?.refusal == nil
            || !attempts.last.source.words.isEmpty
    }

    /// A destination that was started with an address (`-incoming URI`, or a CPR channel) never got a
    /// `migrate-incoming`: whoever started it has asked.
    ///
    /// Only a QEMU that greeted in this attempt cannot be telling of an earlier one.
    private mutating func inferListening(_ sample: MigrationSample, _ pending: PendingCommand, _ side: Side) {
        guard side == .destination, let word = sample.status, word != .none, pending.attempt == current,
            attempts.last.destination.openedSequence == nil, let greeted = attempts.last.greetings[side],
            let migrate = attempts.last.migrateOrder, migrate < pending.order
        else { return }
        let command = Command.migrateIncoming(uri: "as QEMU was started", exitOnError: nil)
        let start = PendingCommand(command: command, order: greeted, time: time, attempt: current)
        // The query itself left before anything was known to be open, and yet it does not tell of something older.
        note(.unanswered(.queryMigrate), side, in: current)
        note(sent: command, side, in: current, since: start)
    }

    private mutating func sampled(_ sample: MigrationSample, _ reply: Reply, _ side: Side) {
        let attempt = current
        let (error, count) = attempts.last.read(side) { ($0.errorDescription, $0.words.count) }
        if let word = sample.status {
            self.word(word, .query, side) { $0.note(.reply(.queryMigrate, reply), side, in: attempt) }
        } else {
            note(.reply(.queryMigrate, reply), side, in: attempt)
        }
        if side == .source {
            attempts.last.totalMilliseconds = sample.totalMilliseconds
            attempts.last.downtimeMilliseconds = sample.downtimeMilliseconds
        }
        if let text = attempts.last.read(side, { $0.errorDescription }), text != error {
            observe(.error(text), side)
        } else if attempts.last.read(side, { $0.words.count }) == count {
            observe(.poll(.queryMigrate, sample), side)
        }
    }

    // MARK: What deserves a look

    mutating func noticeRunning(_ side: Side) {
        noticed[side] = changes
        guard attempts.last.read(side, { $0.isRunning }) ?? false else { return }
        guard attempts.last.destination.openedSequence != nil else { return }
        let hasRun = attempts.last.destination.events.has(.ran)
        if side == .destination, hasRun, !attempts.last.destination.triggers.wasSent(.run) {
            anomaly(once: "the destination runs the guest without a recorded cont", .destination, in: current)
        }
        if hasRun, attempts.last.source.isRunning ?? false, attempts.last.destination.isRunning ?? false {
            anomaly(once: "both QEMUs run the guest", nil, in: current)
        }
    }

    /// Part of every connection, worth no line.
    static let negotiation = Command.other("qmp_capabilities")

    /// The beginning of a value, for a message.
    private static func excerpt(_ value: JSONValue) -> String {
        let text = value.text()
        return text.utf8.count <= 80 ? text : String(text.prefix(77)) + "..."
    }
}

extension Command {
    /// Whether a command without a meaning for the migration does something, by the habit that queries are named so.
    var changesSomething: Bool {
        if case .storage(let command) = self { return command != .queryJobs }
        guard case .other(let name) = self else { return false }
        return
            !(name.hasPrefix("query-") || name.hasPrefix("qom-list") || name == "qom-get" || name == "qmp_capabilities"
            || name == "device-list-properties")
    }
}
