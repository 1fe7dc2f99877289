/// Something that was seen and belongs to no attempt, or to another one.
public struct StaleNote: Hashable, Sendable {
    /// Why it was set aside.
    public enum Why: String, Hashable, Sendable {
        /// The reply to a query that left before the attempt was opened.
        case queryOfBefore = "asked before the attempt was opened"
        /// QEMU refused the command that opens the attempt: what it tells is of another.
        case neverBegun = "the attempt never began"
        /// QEMU tells what it told before the attempt, and cannot know of this one.
        case wordOfBefore = "tells of before the attempt"
        /// The event of a word that a query had told in the attempt before.
        case lateEvent = "the late event of the attempt before"
        /// Another attempt took the place of this one.
        case anotherAttempt = "tells of another attempt"
    }

    /// The word, as far as there was one.
    public var word: StatusWord?
    /// The record.
    public var sequence: Int
    /// From where it came.
    public var source: ObservationSource
    /// The attempt that was open then.
    public var epoch: Int
    /// Why it was set aside.
    public var why: Why
}

/// How old the reply to a `query-migrate` can be.
enum QueryAge: Hashable {
    /// The query left after the last change of the word: what it tells is the newest there is.
    case fresh
    /// It left before that change, and may have been answered before it too.
    case older
    /// It left before the attempt was opened.
    case stale
}

// Words: which are news, which are late, and which are not of this attempt at all.
extension Evidence {
    /// The most words and stale notes kept. QEMU needs a dozen; a peer that talks without end shall not fill the
    /// memory.
    static let bound = 64

    // MARK: Attempts

    /// Whether the attempt was opened here and is not over.
    var isUnderWay: Bool { openedSequence != nil && !isOver }

    /// Whether memory moves and nothing else: neither switchover nor end was seen.
    var isCopying: Bool { if case .copying = stage { true } else { false } }

    /// Whether nothing more comes of this attempt.
    var isOver: Bool { lastTerminal != nil || isRefused || events.has(.neverBegun) || events.has(.anotherAttempt) }

    /// Whether QEMU refused the command that opens the attempt, and never accepted one. On a destination it can be
    /// repeated.
    var isRefused: Bool {
        guard side == .source, let row = triggers[.migrate] else { return false }
        return row.refusal != nil && !row.wasAccepted
    }

    private var lastTerminal: WordNote? {
        guard let last = words.last, last.word.isTerminal else { return nil }
        return last
    }

    /// The command that opens an attempt is about to leave. The first one opens what was prepared; a later one empties
    /// the tables first, unless an attempt of ours goes on: then QEMU will refuse it.
    mutating func open() {
        let isForeign = !triggers.wasSent(opener)
        guard isForeign || isOver else { return }
        if openedSequence != nil { empty() }
        epoch &+= 1
        wasRunning = isRunning
        staleQueries = queriesUnderWay
        olderQueries = 0
    }

    private mutating func empty() {
        wordBefore = words.last?.word ?? wordBefore
        totalBefore = sample?.totalMilliseconds ?? totalBefore
        triggers.beginNext()
        let gone = events[.processEnded]
        events = EventTable()
        if let gone {
            events.note(
                .processEnded, from: .process, payload: gone.payload, sequence: gone.firstSequence, at: gone.firstTime)
        }
        words = []
        sample = nil
        errorDescription = nil
        failureElsewhere = nil
        postcopy = .off
        isWordInDoubt = false
        isOpenerCutOff = false
        isRunStateFresh = false
        hasWaitedSinceEnd = false
    }

    // MARK: Queries

    /// Takes one `query-migrate` off the list; tells how old its reply can be.
    @discardableResult
    mutating func closeQuery() -> QueryAge {
        if queriesUnderWay > 0 { queriesUnderWay -= 1 }
        defer { olderQueries = Swift.max(olderQueries - 1, 0) }
        if staleQueries > 0 {
            staleQueries -= 1
            return .stale
        }
        return olderQueries > 0 ? .older : .fresh
    }

    mutating func note(_ new: MigrationSample, _ age: QueryAge, sequence: Int, at time: Instant) {
        guard openedSequence != nil else {
            wordBefore = new.status
            totalBefore = new.totalMilliseconds
            return
        }
        if age == .stale {
            setAside(new.status, from: .query, .queryOfBefore, sequence: sequence)
            return
        }
        if isRefused, words.isEmpty {
            setAside(new.status, from: .query, .neverBegun, sequence: sequence)
            return
        }
        if tellsOfBefore(new) {
            setAside(new.status, from: .query, .wordOfBefore, sequence: sequence)
            events.note(.neverBegun, from: .query, sequence: sequence, at: time)
            return
        }
        if isAnother(new, age) { events.note(.anotherAttempt, from: .query, sequence: sequence, at: time) }
        if events.has(.anotherAttempt) {
            setAside(new.status, from: .query, .anotherAttempt, sequence: sequence)
            return
        }
        let total = new.totalMilliseconds ?? sample?.totalMilliseconds
        if new.totalBytes != nil || sample == nil { sample = new }
        sample?.totalMilliseconds = total
        guard let word = new.status else { return }
        sample?.status = word
        if [.failed, .failing, .cancelled, .postcopyPaused].contains(word) {
            errorDescription = new.errorDescription ?? errorDescription
        }
        note(word: word, from: .query, isFresh: age == .fresh, sequence: sequence, at: time)
    }

    /// Whether a source that was asked on a new connection knows nothing of the command that opens the attempt. Its
    /// `completed` of before is that of the migration it arrived by, which has no numbers, or of an earlier one, whose
    /// time it repeats.
    private func tellsOfBefore(_ new: MigrationSample) -> Bool {
        guard side == .source, isOpenerCutOff, words.isEmpty else { return false }
        guard let word = new.status else { return true }
        return word == .completed && wordBefore == .completed && new.totalMilliseconds == totalBefore
    }

    /// Whether a reply shows that this attempt's place was taken by another: QEMU works again after its last word, has
    /// another last word, or its clock began anew.
    private func isAnother(_ new: MigrationSample, _ age: QueryAge) -> Bool {
        guard side == .source, age == .fresh, !words.isEmpty else { return false }
        if let last = lastTerminal, let word = new.status, word != last.word {
            // A source that executed a new QEMU in its own place can fail after it completed (10.2).
            return !(last.word == .completed && word == .failed)
        }
        guard !postcopy.isSplit, let before = sample?.totalMilliseconds, let now = new.totalMilliseconds else {
            return false
        }
        return now < before
    }

    // MARK: Words

    mutating func note(
        word: StatusWord, from source: ObservationSource, isFresh: Bool = false, sequence: Int, at time: Instant
    ) {
        guard word != .none else { return }
        let kind = EventKind(word: word)
        let isOwed = source == .event && owedEvents & kind.bit != 0
        if source == .event { owedEvents &= ~kind.bit }
        if let why = strangeness(of: word, from: source, isOwed: isOwed) {
            if why == .anotherAttempt { events.note(.anotherAttempt, from: source, sequence: sequence, at: time) }
            setAside(word, from: source, why, sequence: sequence)
            return
        }
        events.note(kind, from: source, payload: word.rawValue, sequence: sequence, at: time)
        guard !isBehind(word, from: source, isFresh: isFresh),
            let state = postcopy.next(
                .word(word, from: source, isSure: isFresh || isSure(word, isOwed: isOwed)), on: side)
        else { return }
        guard !(isOwed && word != words.last?.word && state.isSplit) else { return }
        append(WordNote(word: word, sequence: sequence, source: source))
        infer(from: word, sequence: sequence, at: time)
        if word.impliesStop { stopImplied(from: source, sequence: sequence, at: time) }
        move(to: state, sequence: sequence, at: time)
    }

    private mutating func append(_ note: WordNote) {
        if words.count >= Self.bound { words.remove(at: 1) }
        words.append(note)
        olderQueries = queriesUnderWay
        if note.source == .query { owedEvents |= EventKind(word: note.word).bit }
        isWordInDoubt = false
        if note.word.isTerminal {
            isRunStateFresh = false
            hasWaitedSinceEnd = false
        }
    }

    /// Why a word is not of this attempt; `nil` if it is.
    private func strangeness(of word: StatusWord, from source: ObservationSource, isOwed: Bool) -> StaleNote.Why? {
        if isRefused, words.isEmpty { return .neverBegun }
        if events.has(.anotherAttempt) { return .anotherAttempt }
        if isOwed, words.allSatisfy({ $0.word == .setup }), word.isTerminal { return .lateEvent }
        guard source == .event, word == .setup, side == .source else { return nil }
        // `setup` is sent within the command that opens an attempt, so it is never late, except that a query was
        // quicker.
        if lastTerminal != nil, !isOwed { return events.has(.setup) || !wasLastTold ? .anotherAttempt : nil }
        return isWordInDoubt && words.contains { $0.word != .setup } ? .anotherAttempt : nil
    }

    private var wasLastTold: Bool { words.last?.source == .query }

    /// Whether a word is no news. QEMU changes the word first and sends the event afterwards, without a lock around
    /// both: an event can be older than what is known.
    private func isBehind(_ word: StatusWord, from source: ObservationSource, isFresh: Bool) -> Bool {
        guard let last = words.last else { return false }
        if last.word == word { return true }
        if last.word == .cancelling, !word.isTerminal { return true }
        if last.word.isTerminal, !word.isTerminal { return !recoversFromEnd(word) }
        if isFresh { return false }
        return (last.source == .query || source == .query) && word.isEarlier(than: last.word)
    }

    /// Whether a word may honestly follow an ending: a repeated attempt on a listening destination starts over with
    /// `setup`.
    private func recoversFromEnd(_ word: StatusWord) -> Bool {
        side == .destination && word == .setup && words.last?.word != .completed
    }

    /// Whether an event is news even where it seems to be a step back: it was missing before, or a resume that QEMU has
    /// not refused makes it likely.
    private func isSure(_ word: StatusWord, isOwed: Bool) -> Bool {
        if isWordInDoubt { return true }
        guard postcopy == .paused, word == .postcopyActive, !isOwed else { return false }
        return triggers[.resume]?.isPending ?? false
    }

    private mutating func setAside(
        _ word: StatusWord?, from source: ObservationSource, _ why: StaleNote.Why, sequence: Int
    ) {
        staleCount &+= 1
        if stale.count >= Self.bound { stale.removeFirst() }
        stale.append(StaleNote(word: word, sequence: sequence, source: source, epoch: epoch, why: why))
    }

    // MARK: Post-copy

    mutating func move(_ input: PostcopyInput, sequence: Int, at time: Instant) {
        if let state = postcopy.next(input, on: side) { move(to: state, sequence: sequence, at: time) }
    }

    private mutating func move(to state: PostcopyState, sequence: Int, at time: Instant) {
        if state == .paused, postcopy != .paused {
            // What was asked for to mend the channel came to nothing.
            if postcopy == .reconnecting || postcopy == .recovering { triggers.settle(.resume) }
            events.note(.channelBroken, from: .process, sequence: sequence, at: time)
        }
        postcopy = state
    }

    // MARK: Other people's commands

    /// Somebody else gave the command that a word follows from, if nobody here did.
    private mutating func infer(from word: StatusWord, sequence: Int, at time: Instant) {
        triggers.infer(opener, sequence: sequence, at: time)
        if epoch == 0 {
            epoch = 1
            wasRunning = isRunning
        }
        let wasHeld = words.count > 1 && words[words.count - 2].word == .preSwitchover
        let kind: TriggerKind? =
            switch (side, word) {
            case (.source, .cancelling), (.source, .cancelled): .cancel
            case (.source, .device) where wasHeld: .continueSwitchover
            case (.source, .postcopyDevice), (.source, .postcopyActive): .startPostcopy
            case (.source, .postcopyRecoverSetup), (.source, .postcopyRecover): .resume
            case (.destination, .postcopyRecover): .recover
            default: nil
            }
        if let kind { triggers.infer(kind, sequence: sequence, at: time) }
    }

    /// Somebody else's `cont`: the guest runs where nothing else makes it run.
    mutating func inferRun(sequence: Int, at time: Instant) {
        guard isRunning != true else { return }
        switch side {
        case .destination: triggers.infer(.run, sequence: sequence, at: time)
        case .source:
            // After an error or a cancel QEMU resumes the guest by itself, at times before it says so.
            guard triggers.wasSent(opener), isRunning == false, isCopying, triggers[.hold] != nil else { return }
            triggers.infer(.run, sequence: sequence, at: time)
        }
    }
}

extension StatusWord {
    /// Whether QEMU stops the guest before it says this word. `postcopy-active` is not among them: up to 9.2 it comes
    /// first.
    fileprivate var impliesStop: Bool {
        switch self {
        case .preSwitchover, .device, .completed, .postcopyDevice, .postcopyPaused, .postcopyRecover: true
        default: false
        }
    }
}

extension EventKind {
    fileprivate var bit: UInt64 { 1 &<< UInt64(truncatingIfNeeded: place) }
}
