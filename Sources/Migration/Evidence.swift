/// A status word and the record that showed it.
public struct WordNote: Hashable, Sendable {
    /// QEMU's word.
    public var word: StatusWord
    /// The record.
    public var sequence: Int
    /// From where it came.
    public var source: ObservationSource

    /// A note of a word.
    public init(word: StatusWord, sequence: Int, source: ObservationSource) {
        self.word = word
        self.sequence = sequence
        self.source = source
    }
}

/// Everything known about one QEMU in one attempt: what was asked of it and what was seen.
///
/// The tables are only ever added to. `advance` reads them; nothing in here decides what they mean.
public struct Evidence: Hashable, Sendable {
    /// Which end this QEMU is.
    public let side: Side
    /// What was asked.
    public private(set) var triggers = TriggerTable()
    /// What was seen.
    public private(set) var events = EventTable()
    /// QEMU's status words in the order they changed.
    public private(set) var words: [WordNote] = []
    /// The last run state a query showed.
    public private(set) var runState: RunState?
    /// Whether the guest's vCPUs run here, by the last event or query that tells.
    public private(set) var isRunning: Bool?
    /// The connection was lost after the last sign of it.
    public private(set) var isRunningInDoubt = false
    /// Whether the guest ran when this attempt opened; `nil` where nothing told.
    public private(set) var wasRunning: Bool?
    /// The last numbers QEMU gave; `failed` and `cancelled` replies carry none, so these are kept.
    public private(set) var sample: MigrationSample?
    /// QEMU's error text in this attempt, as far as one was shown.
    public private(set) var errorDescription: String?
    /// The monitor's condition by the last thing seen of it.
    public private(set) var monitor: MonitorState?
    /// How the process ended.
    public private(set) var processEnd: ProcessEnd?
    /// QEMU's version, from its greeting.
    public private(set) var version: QEMUVersion?
    /// The first sign of failure on the other side, where whoever sees both has told.
    public private(set) var otherSideFailure: Int?

    /// `query-migrate` commands under way; and how many of them left before the attempt opened, so that their replies tell of an earlier one.
    private var queriesUnderWay = 0
    private var staleQueries = 0

    /// No evidence yet.
    public init(side: Side) { self.side = side }

    /// The command that opens an attempt on this side.
    public var opener: TriggerKind { side == .source ? .migrate : .listen }

    /// The record in which the attempt was opened here: its command, or the first status word if somebody else's command was not seen.
    public var openedSequence: Int? {
        if let sent = triggers[opener]?.sentSequence { return sent }
        return words.first?.sequence
    }

    /// Somebody asked for something that is not sent yet.
    public mutating func note(request kind: TriggerKind, origin: Origin, sequence: Int, at time: Instant) {
        triggers.request(kind, origin: origin, sequence: sequence, at: time)
    }

    /// A command left for this QEMU.
    public mutating func note(sent command: Command, origin: Origin, sequence: Int, at time: Instant) {
        if command == .queryMigrate { queriesUnderWay += 1 }
        guard let kind = command.trigger else { return }
        if kind == opener, !triggers.wasSent(opener) {
            wasRunning = isRunning
            staleQueries = queriesUnderWay
        }
        triggers.send(kind, argument: command.argument, origin: origin, sequence: sequence, at: time)
        if kind == .yank, let cancel = triggers[.cancel], cancel.state == .requested {
            // In `device` a cancel can only be carried by a yank: in-band commands wait for the migration thread.
            triggers.send(.cancel, argument: "by yank", origin: cancel.origin, sequence: sequence, at: time)
        }
    }

    /// The other side showed a failure: a cancel after that is not the cause of it.
    public mutating func note(otherSideFailed sequence: Int) {
        otherSideFailure = min(otherSideFailure ?? sequence, sequence)
    }

    /// Something was observed.
    public mutating func note(_ fact: Fact, sequence: Int, at time: Instant) {
        switch fact {
        case .monitor(let state):
            monitor = state
            if state != .connected {
                isRunningInDoubt = true
                // A new session starts with empty pipes.
                queriesUnderWay = 0
                staleQueries = 0
            }
            events.note(
                state == .connected ? .monitorUp : .monitorLost, from: .process, sequence: sequence, at: time)
        case .process(let end):
            processEnd = processEnd ?? end
            isRunning = false
            isRunningInDoubt = false
            events.note(.processEnded, from: .process, payload: end.description, sequence: sequence, at: time)
        case .greeting(let version):
            self.version = version
        case .event(let event):
            note(event, sequence: sequence, at: time)
        case .reply(let command, let reply):
            note(reply, to: command, sequence: sequence, at: time)
        case .unanswered(let command):
            if command == .queryMigrate { closeQuery() }
            if let kind = command.trigger { triggers.answer(kind, .unanswered, sequence: sequence, at: time) }
        case .unkillable:
            break
        }
    }

    private mutating func note(_ event: QEMUEvent, sequence: Int, at time: Instant) {
        switch event {
        case .migration(let word):
            note(word: word, from: .event, sequence: sequence, at: time)
        case .pass(let number):
            events.note(.pass, from: .event, payload: String(number), sequence: sequence, at: time)
        case .stop:
            note(running: false, from: .event, sequence: sequence, at: time)
        case .resume:
            runState = .running
            note(running: true, from: .event, sequence: sequence, at: time)
        case .shutdown(let byGuest, let reason):
            isRunning = false
            events.note(
                byGuest ? .guestShutdown : .hostShutdown, from: .event, payload: reason, sequence: sequence, at: time)
        case .reset:
            events.note(.reset, from: .event, sequence: sequence, at: time)
        case .guestFault(let name):
            events.note(.guestFault, from: .event, payload: name, sequence: sequence, at: time)
        case .other:
            break
        }
    }

    private mutating func note(_ reply: Reply, to command: Command, sequence: Int, at time: Instant) {
        let isStale = command == .queryMigrate && closeQuery()
        if let kind = command.trigger {
            let state: TriggerRow.State =
                switch reply {
                case .refused(_, let text): .refused(text)
                case .unreadable(let text): .refused("unreadable reply: \(text)")
                default: .accepted
                }
            triggers.answer(kind, state, sequence: sequence, at: time)
        }
        switch reply {
        case .status(let state):
            runState = state
            note(running: state == .running, from: .query, sequence: sequence, at: time)
        case .migration(let new):
            guard !isStale, openedSequence != nil, !isNeverBegun else { return }
            if new.totalBytes != nil || sample == nil { sample = new }
            if let word = new.status {
                sample?.status = word
                if [.failed, .failing, .cancelled, .postcopyPaused].contains(word) {
                    errorDescription = new.errorDescription ?? errorDescription
                }
                note(word: word, from: .query, sequence: sequence, at: time)
            }
        case .yankInstances(let migration):
            if !migration, events.has(.failed) || events.has(.cancelled) || events.has(.completed) {
                events.note(.yankGone, from: .query, sequence: sequence, at: time)
            }
        case .done, .capabilities, .parameters, .refused, .unreadable:
            break
        }
    }

    /// Whether QEMU refused `migrate` before it touched anything: `query-migrate` still tells of the migration before.
    private var isNeverBegun: Bool { side == .source && words.isEmpty && triggers[.migrate]?.refusal != nil }

    /// Takes one `query-migrate` off the list; tells whether its reply speaks of an earlier attempt.
    @discardableResult
    private mutating func closeQuery() -> Bool {
        if queriesUnderWay > 0 { queriesUnderWay -= 1 }
        guard staleQueries > 0 else { return false }
        staleQueries -= 1
        return true
    }

    private mutating func note(running: Bool, from source: ObservationSource, sequence: Int, at time: Instant) {
        defer {
            isRunning = running
            isRunningInDoubt = false
        }
        if running, side == .destination {
            events.note(.ran, from: source, sequence: sequence, at: time)
        }
        guard triggers.wasSent(opener), isRunning != running || source == .event else { return }
        events.note(running ? .resumed : .stopped, from: source, sequence: sequence, at: time)
    }

    private mutating func note(
        word: StatusWord, from source: ObservationSource, sequence: Int, at time: Instant
    ) {
        guard word != .none else { return }
        events.note(EventKind(word: word), from: source, payload: word.rawValue, sequence: sequence, at: time)
        guard !isBehind(word, from: source) else { return }
        words.append(WordNote(word: word, sequence: sequence, source: source))
        let isLeaving = word == .preSwitchover || word == .device || word == .completed
        if side == .source, isLeaving, isRunning == true {
            // The STOP that goes before these words was missed.
            note(running: false, from: source, sequence: sequence, at: time)
        }
    }

    /// Whether a word is no news. QEMU changes the word first and sends the event afterwards, without a lock around both: an event can be older
    /// than what is known.
    private func isBehind(_ word: StatusWord, from source: ObservationSource) -> Bool {
        guard let last = words.last else { return false }
        if last.word == word { return true }
        if last.word == .cancelling, !word.isTerminal { return true }
        guard source == .event else { return false }
        if last.word.isTerminal, !word.isTerminal { return !recoversFromEnd(word) }
        return last.source == .query && word.isEarlier(than: last.word)
    }

    /// Whether a word may honestly follow an ending: a repeated attempt on a listening destination starts over with `setup`.
    private func recoversFromEnd(_ word: StatusWord) -> Bool { side == .destination && word == .setup }

    /// The canonical form. Commands under way stay counted: each of them still gets its reply.
    mutating func rewrite(_ ranks: Ranks) {
        triggers.canonicalise(ranks)
        events.canonicalise(ranks)
        // Which words came between the first and the last is told to people alone.
        if words.count > 2 { words.removeSubrange(1..<words.count - 1) }
        for index in words.indices {
            if words[index].word.isUnknown { words[index].word = .unheardOf }
            words[index].canonicalise(index == 0 ? ranks : Ranks([]))
        }
        sample = sample.map { MigrationSample(status: $0.status?.isUnknown == true ? .unheardOf : $0.status) }
        if errorDescription != nil { errorDescription = "" }
        if processEnd != nil { processEnd = .gone }
        version = nil
        otherSideFailure = ranks[otherSideFailure]
    }
}
