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
/// Within an attempt the tables are only ever added to. `advance` reads them; nothing in here decides what they mean.
/// The command that opens the next attempt empties them; what belongs to none or to another attempt is set aside as
/// stale.
public struct Evidence: Hashable, Sendable {
    /// Which end this QEMU is.
    public let side: Side
    /// What was asked.
    public internal(set) var triggers = TriggerTable()
    /// What was seen.
    public internal(set) var events = EventTable()
    /// QEMU's status words in the order they changed.
    public internal(set) var words: [WordNote] = []
    /// The last run state a query showed.
    public internal(set) var runState: RunState?
    /// Whether the guest's vCPUs run here, by the last event or query that tells.
    public internal(set) var isRunning: Bool?
    /// The connection was lost after the last sign of it.
    public internal(set) var isRunningInDoubt = false
    /// Whether the guest ran when this attempt opened; `nil` where nothing told.
    public internal(set) var wasRunning: Bool?
    /// The last numbers QEMU gave; `failed` and `cancelled` replies carry none, so these are kept.
    public internal(set) var sample: MigrationSample?
    /// QEMU's error text in this attempt, as far as one was shown.
    public internal(set) var errorDescription: String?
    /// The monitor's condition by the last thing seen of it.
    public internal(set) var monitor: MonitorState?
    /// How the process ended.
    public internal(set) var processEnd: ProcessEnd?
    /// QEMU's version, from its greeting.
    public internal(set) var version: QEMUVersion?
    /// The first failure that this QEMU does not show itself: the other side's, or that the attempt was given up.
    public internal(set) var failureElsewhere: Int?
    /// Where this side is in post-copy.
    public internal(set) var postcopy = PostcopyState.off
    /// The number of the attempt: 0 before anything was opened, one more for every command that opens one. `migrate`
    /// with `resume` goes on with the same.
    public internal(set) var epoch = 0
    /// What was seen and belongs to no attempt or to another one, the last few of it, oldest first.
    public internal(set) var stale: [StaleNote] = []
    /// How often that happened in all.
    public internal(set) var staleCount = 0

    /// `query-migrate` commands under way; how many of them left before the attempt opened, so that their replies tell
    /// of an earlier one; and how many before the last change of the status word, so that theirs may be older than
    /// that.
    var queriesUnderWay = 0
    var staleQueries = 0
    var olderQueries = 0
    /// Words that a query told and whose own events are still to come, by kind. It is never the event that is news
    /// then.
    var owedEvents: UInt64 = 0
    /// Whether the connection was lost since the last word: events can be missing in between.
    var isWordInDoubt = false
    /// Whether the connection was lost while the command that opens the attempt had no reply and no effect: it may
    /// never have arrived.
    var isOpenerCutOff = false
    /// What QEMU told before the attempt was opened.
    var wordBefore: StatusWord?
    var totalBefore: Int64?
    /// Whether a query has shown the run state since the attempt was over.
    var isRunStateFresh = false
    /// Whether a wait ran out since then.
    var hasWaitedSinceEnd = false

    /// No evidence yet.
    public init(side: Side) { self.side = side }

    /// The command that opens an attempt on this side.
    public var opener: TriggerKind { side == .source ? .migrate : .listen }

    /// The record in which the attempt was opened here: its command, or the first status word if somebody else's
    /// command was not seen.
    public var openedSequence: Int? {
        if let sent = triggers[opener]?.sentSequence { return sent }
        return words.first?.sequence
    }

    /// Somebody asked for something that is not sent yet.
    public mutating func note(request kind: TriggerKind, origin: Origin, sequence: Int, at time: Instant) {
        triggers.request(kind, origin: origin, sequence: sequence, at: time)
        if isOver { triggers.keepForNext(kind) }
    }

    /// A command left for this QEMU.
    public mutating func note(sent command: Command, origin: Origin, sequence: Int, at time: Instant) {
        defer { settle() }
        if command == .queryMigrate { queriesUnderWay &+= 1 }
        guard let kind = command.trigger else { return }
        if kind == opener { open() }
        triggers.send(kind, argument: command.argument, origin: origin, sequence: sequence, at: time)
        if kind == .yank, let cancel = triggers[.cancel], cancel.state == .requested {
            // In `device` a cancel can only be carried by a yank: in-band commands wait for the migration thread.
            triggers.send(.cancel, argument: "by yank", origin: cancel.origin, sequence: sequence, at: time)
        }
        if isOver { triggers.keepForNext(kind) }
        if kind == .startPostcopy, isUnderWay { move(.started, sequence: sequence, at: time) }
    }

    /// A ledger tells whether the guest ran when the attempt opened, which nothing can show after a restart.
    public mutating func note(wasRunning: Bool) { self.wasRunning = wasRunning }

    /// The other side showed a failure: a cancel after that is not the cause of it.
    public mutating func note(otherSideFailed sequence: Int) {
        failureElsewhere = min(failureElsewhere ?? sequence, sequence)
    }

    /// The first sign that nothing comes of the attempt on this side any more, which makes it fail on the other one.
    public var lossSequence: Int? { events.earliest(.failed, .processEnded)?.firstSequence }

    /// A wait ran out and the attempt is given up for it, as an error: a cancel after that is not the cause of it, nor
    /// is one by which the controller itself ends the migration.
    public mutating func note(givenUp sequence: Int) { note(otherSideFailed: sequence) }

    /// What the other side shows. Every driver that sees both sides tells it after each observation of the other one,
    /// so that all of them name a failure and a cancel alike; records of both sides have to be numbered together.
    public mutating func note(otherSide: Evidence) {
        if let sequence = otherSide.lossSequence { note(otherSideFailed: sequence) }
    }

    /// A bounded wait ran out.
    ///
    /// - Parameter name: Which one, for a person.
    public mutating func note(timeout name: String, sequence: Int, at time: Instant) {
        events.note(.timeout, from: .process, payload: name, sequence: sequence, at: time)
        if isOver { hasWaitedSinceEnd = true }
    }

    /// Something was observed.
    public mutating func note(_ fact: Fact, sequence: Int, at time: Instant) {
        switch fact {
        case .monitor(let state): note(state, sequence: sequence, at: time)
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
        settle()
    }

    private mutating func note(_ state: MonitorState, sequence: Int, at time: Instant) {
        monitor = state
        events.note(state == .connected ? .monitorUp : .monitorLost, from: .process, sequence: sequence, at: time)
        guard state != .connected else { return }
        isRunningInDoubt = true
        isWordInDoubt = true
        // A new session starts with empty pipes: no reply and no event of the old one comes any more.
        queriesUnderWay = 0
        staleQueries = 0
        olderQueries = 0
        owedEvents = 0
        if let row = triggers[opener], row.wasSent, !row.wasAccepted, row.refusal == nil, words.isEmpty {
            isOpenerCutOff = true
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
            inferRun(sequence: sequence, at: time)
            note(running: true, from: .event, sequence: sequence, at: time)
        case .shutdown(let byGuest, let reason):
            isRunning = false
            if !byGuest { triggers.infer(.kill, sequence: sequence, at: time) }
            events.note(
                byGuest ? .guestShutdown : .hostShutdown, from: .event, payload: reason, sequence: sequence, at: time)
        case .reset:
            events.note(.reset, from: .event, sequence: sequence, at: time)
        case .guestFault(let name):
            events.note(EventKind(guestFault: name), from: .event, payload: name, sequence: sequence, at: time)
        case .unplugPrimary(let device):
            events.note(.unplugPrimary, from: .event, payload: device, sequence: sequence, at: time)
        case .blockJob, .other:
            break
        }
    }

    private mutating func note(_ reply: Reply, to command: Command, sequence: Int, at time: Instant) {
        let age = command == .queryMigrate ? closeQuery() : .fresh
        if let kind = command.trigger { note(answer: reply, to: kind, sequence: sequence, at: time) }
        switch reply {
        case .status(let state): note(state, sequence: sequence, at: time)
        case .migration(let sample): note(sample, age, sequence: sequence, at: time)
        case .yankInstances(let migration):
            if !migration, events.has(.failed) || events.has(.cancelled) || events.has(.completed) {
                events.note(.yankGone, from: .query, sequence: sequence, at: time)
            }
        case .done, .capabilities, .parameters, .jobs, .refused, .unreadable:
            break
        }
    }

    private mutating func note(answer reply: Reply, to kind: TriggerKind, sequence: Int, at time: Instant) {
        let state: TriggerRow.State =
            switch reply {
            case .refused(_, let text): .refused(text)
            // It was heard, and it was no error; what it was nobody can tell. That proves neither that it was done nor
            // that it was not.
            case .unreadable: .unanswered
            default: .accepted
            }
        triggers.answer(kind, state, sequence: sequence, at: time)
        switch (kind, state) {
        case (.startPostcopy, .refused): move(.startRefused, sequence: sequence, at: time)
        case (.recover, .accepted): move(.listening, sequence: sequence, at: time)
        default: break
        }
    }

    private mutating func note(_ state: RunState, sequence: Int, at time: Instant) {
        events.note(.runState, from: .query, payload: state.rawValue, sequence: sequence, at: time)
        if let trouble = state.trouble, runState != state {
            events.note(trouble, from: .query, payload: state.rawValue, sequence: sequence, at: time)
        }
        runState = state
        if isOver { isRunStateFresh = true }
        if state == .running {
            inferRun(sequence: sequence, at: time)
        } else if state == .paused, side == .source, wasRunning == true, isCopying {
            // The switchover's own stop shows as `finish-migrate`; this is somebody's.
            triggers.infer(.hold, sequence: sequence, at: time)
        }
        note(running: state == .running, from: .query, sequence: sequence, at: time)
    }

    private mutating func note(running: Bool, from source: ObservationSource, sequence: Int, at time: Instant) {
        defer {
            isRunning = running
            isRunningInDoubt = false
        }
        if running, side == .destination {
            events.note(.ran, from: source, sequence: sequence, at: time)
        }
        guard openedSequence != nil, isRunning != running || source == .event else { return }
        events.note(running ? .resumed : .stopped, from: source, sequence: sequence, at: time)
    }

    /// The STOP that goes before a word was missed.
    mutating func stopImplied(from source: ObservationSource, sequence: Int, at time: Instant) {
        if side == .source, isRunning == true { note(running: false, from: source, sequence: sequence, at: time) }
    }

    /// The canonical form. Commands under way stay counted: each of them still gets its reply.
    mutating func rewrite(_ ranks: Ranks) {
        triggers.canonicalise(ranks)
        events.canonicalise(ranks)
        // Which words came between the first and the last is told to people alone.
        if words.count > 2 { words.removeSubrange(1..<words.count - 1) }
        for index in words.indices {
            words[index].canonicalise(index == 0 ? ranks : Ranks([]))
        }
        sample = sample.map {
            var kept = MigrationSample(status: $0.status)
            // Whether a clock was set back is read of it.
            kept.totalMilliseconds = $0.totalMilliseconds
            return kept
        }
        if errorDescription != nil { errorDescription = "" }
        if processEnd != nil { processEnd = .gone }
        version = nil
        failureElsewhere = ranks[failureElsewhere]
        epoch = epoch.canonicalCount
        stale = []
        staleCount = 0
    }
}
