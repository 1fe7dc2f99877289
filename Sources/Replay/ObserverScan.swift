import JSONC
import Migration
import MigrationQMP
import Phases
import Trace

/// What a side repeats: as long as nothing else happens, it is counted only.
struct Steady {
    /// When it was found that another reply to `query-migrate` changes counts only, by the observer's count of changes.
    var pollChanges = -1
    /// The sample that was found so.
    var word: StatusWord?
    var errorDescription: String?
    /// The record that opened the attempt.
    var opened = 0
    /// The same of `query-status`.
    var stateChanges = -1
    var state: RunState?
}

/// What the last line that was taken shortly was compared with, so that others of its shape need not be; everything
/// that may change something forgets it. It has no references, so that it is read at no cost.
struct Repeated {
    /// The number of the shape of the last reply to `query-migrate`.
    var migration = -1
    /// What that reply left in the sample.
    var total: Int64?
    /// The record that opened the attempt.
    var opened = 0
    /// The number of the shape of the last reply to `query-status`.
    var state = -1
    /// Whether a `MIGRATION_PASS` was counted.
    var hasPass = false
}

/// The observer's short ways: each does what the long way would do, and is only taken where that was compared before
/// or nothing can change.
extension Observer {
    /// Takes the next line of a scanned block.
    ///
    /// - Parameter decoder: Decodes a line in full where its shape does not say enough.
    mutating func apply(
        _ line: ScannedLine, of shape: ObservedShape, in block: TraceBlock, named name: Int,
        _ decoder: inout RecordDecoder
    ) {
        guard shape.way != .none, let side = shape.side, attempts.last.seen.contains(side),
            applyShortly(line, shape, block, side, name)
        else {
            applyAtLength(line, shape, block, name, &decoder)
            return
        }
    }

    private mutating func applyAtLength(
        _ line: ScannedLine, _ shape: ObservedShape, _ block: TraceBlock, _ name: Int, _ decoder: inout RecordDecoder
    ) {
        guard let side = shape.side, let key = shape.key, let kind = shape.directKind else {
            if let record = try? decoder.record(block.bytes(of: line), line: name) { _ = apply(record) }
            return
        }
        let id = MessageID(line, in: block)
        if case .returned = kind {
            replied(line, shape, block, side, key, id, name, &decoder)
            return
        }
        begin(name, line.microseconds)
        attempts.last.seen.insert(side)
        switch kind {
        case .sent(let command): sent(command, id, side, key)
        case .event(let event): self.event(event, side)
        case .pass: self.event(.pass(block.number(0, of: line)), side)
        case .refused(let errorClass, let description): refused(errorClass, description, id, side, key)
        case .returned, .constant, .each: break
        }
        finish()
    }

    // MARK: Replies

    private mutating func replied(
        _ line: ScannedLine, _ shape: ObservedShape, _ block: TraceBlock, _ side: Side, _ key: ConversationKey,
        _ id: MessageID, _ name: Int, _ decoder: inout RecordDecoder
    ) {
        // What is asked of the shape is the same as what is asked of the record.
        let command = conversations.pending(of: id, on: key)?.command
        let reply = command.map { shape.reply(to: $0, line, block) } ?? .done
        guard let reply else {
            if let record = try? decoder.record(block.bytes(of: line), line: name) { _ = apply(record) }
            return
        }
        let before = candidate(reply, side)
        begin(name, line.microseconds)
        attempts.last.seen.insert(side)
        returned(id, side, key) { _ in reply }
        if let before { certify(before, reply, side) }
        finish()
    }

    /// How things are before a reply that may be a repetition.
    private func candidate(
        _ reply: Reply, _ side: Side
    ) -> (attempt: Int, evidence: Evidence, inference: PhaseInference)? {
        let evidence = attempts.last[side]
        switch reply {
        case .migration(let sample):
            guard evidence.canRepeat(sample.status, total: sample.totalMilliseconds) else { return nil }
        case .status(let state): guard machines[side]?.runState == state else { return nil }
        default: return nil
        }
        return (current, evidence, attempts.last.inference)
    }

    /// Compares what the long way made of a reply with what the short one would have made of it.
    private mutating func certify(
        _ before: (attempt: Int, evidence: Evidence, inference: PhaseInference), _ reply: Reply, _ side: Side
    ) {
        var (evidence, inference) = (before.evidence, before.inference)
        guard before.attempt == current, let opened = evidence.openedSequence else { return }
        switch reply {
        case .migration(let sample):
            evidence.repeat(sample, sequence: order, at: time)
            guard inference.canRepeatAnswer(of: side) else { return }
            inference.repeatAnswer(of: side)
        case .status(let state): evidence.repeat(state, sequence: order, at: time)
        default: return
        }
        guard evidence == attempts.last[side], inference == attempts.last.inference else { return }
        // Nothing that rules read has changed.
        let isNoticed = noticed[side] == changes
        changes &-= 1
        if isNoticed { noticed[side] = changes }
        switch reply {
        case .migration(let sample):
            steady[side].pollChanges = changes
            steady[side].word = sample.status
            steady[side].errorDescription = sample.errorDescription
            steady[side].opened = opened
        case .status(let state) where isNoticed:
            steady[side].stateChanges = changes
            steady[side].state = state
        default: break
        }
    }

    // MARK: Short ways

    /// Takes a line that changes counts only; returns false, having done nothing, for any other.
    @inline(__always)
    private mutating func applyShortly(
        _ line: ScannedLine, _ shape: ObservedShape, _ block: TraceBlock, _ side: Side, _ name: Int
    ) -> Bool {
        switch shape.way {
        case .none: return false
        case .query, .queryMigrate, .queryStatus: return sentShortly(line, shape, side, name)
        case .returned: return repliedShortly(line, shape, block, side, name)
        case .event:
            step(name, line.microseconds)
            if isTold, case .event(let event) = shape.kind { observe(.event(event), side) }
            if noticed.value(side) != changes { noticeRunning(side) }
            return true
        case .pass:
            guard noticed.value(side) == changes else { return false }
            let number = block.number(0, of: line)
            let time = Instant(microseconds: line.microseconds)
            guard attempts.last[side].repeatPass(number, sequence: order &+ 1, at: time) else { return false }
            repeated[side].hasPass = true
            step(name, line.microseconds)
            observe(.event(.pass(number)), side)
            return true
        }
    }

    /// Where the connection of a shape is.
    @inline(__always)
    func place(of shape: ObservedShape) -> Int? {
        if shape.version == conversations.version { return shape.place >= 0 ? shape.place : nil }
        shape.version = conversations.version
        shape.place = shape.key.flatMap { conversations.place(of: $0) } ?? -1
        return shape.place >= 0 ? shape.place : nil
    }

    @inline(__always)
    private mutating func sentShortly(
        _ line: ScannedLine, _ shape: ObservedShape, _ side: Side, _ name: Int
    ) -> Bool {
        guard !line.identifier.isLong, !line.identifier.isNone, let place = place(of: shape) else { return false }
        if shape.way == .query, shape.name < 0 {
            guard case .sent(let command) = shape.kind, let name = conversations.name(of: command) else { return false }
            shape.name = name
        }
        let ask = Conversation.Query.Ask(shape.way)
        let query = Conversation.Query(
            id: line.identifier, ask: ask, name: shape.name, order: order &+ 1, microseconds: line.microseconds,
            attempt: current)
        guard conversations.sent(query, at: place) else { return false }
        step(name, line.microseconds)
        if ask == .migration {
            if side == .source { attempts.last.source.repeatQuery() } else { attempts.last.destination.repeatQuery() }
            attempts.last.inference.repeatQuery(to: side)
        }
        if isTold, case .sent(let command) = shape.kind { observe(.sent(command, opens: false), side) }
        return true
    }

    @inline(__always)
    private mutating func repliedShortly(
        _ line: ScannedLine, _ shape: ObservedShape, _ block: TraceBlock, _ side: Side, _ name: Int
    ) -> Bool {
        guard adopted == nil, !line.identifier.isLong, !line.identifier.isNone, let place = place(of: shape) else {
            return false
        }
        guard let (number, open) = conversations.query(line.identifier, at: place) else { return false }
        let attempt = current
        switch open.ask {
        case .migration:
            guard open.attempt == attempt, isRepeated(shape, line, block, side, since: open.order) else { return false }
            step(name, line.microseconds)
            repeatSample(shape, line, block, side)
        case .state:
            guard isRepeatedState(shape, side), let state = shape.runState else { return false }
            step(name, line.microseconds)
            if side == .source {
                attempts.last.source.repeat(state, sequence: order, at: time)
            } else {
                attempts.last.destination.repeat(state, sequence: order, at: time)
            }
            observe(.poll(.queryStatus, nil), side)
        case .other:
            step(name, line.microseconds)
            if isTold {
                let command = conversations.command(open)
                if !command.changesSomething, command != Self.negotiation { observe(.poll(command, nil), side) }
            }
        }
        conversations.answer(number, at: place)
        return true
    }

    /// Whether a reply to `query-migrate` shows what the one before showed, but for numbers that decide nothing.
    ///
    /// - Parameter asked: The record of its command.
    @inline(__always)
    private func isRepeated(
        _ shape: ObservedShape, _ line: ScannedLine, _ block: TraceBlock, _ side: Side, since asked: Int
    ) -> Bool {
        let last = repeated.value(side)
        if last.migration == shape.number {
            guard last.opened < asked else { return false }
            // The last one was of the same shape, and taken shortly: nothing has changed, so only the total can tell.
            guard let before = last.total, let total = shape.total(line, block) else { return true }
            return total >= before
        }
        guard steady[side].pollChanges == changes, steady[side].opened < asked,
            attempts.last.inference.canRepeatAnswer(of: side), let summary = shape.summary,
            summary.word == steady[side].word, summary.errorDescription == steady[side].errorDescription
        else { return false }
        let total = shape.total(line, block)
        return attempts.last.read(side) { $0.canRepeat(summary.word, total: total) }
    }

    /// Counts a reply to `query-migrate` that is a repetition.
    @inline(__always)
    private mutating func repeatSample(
        _ shape: ObservedShape, _ line: ScannedLine, _ block: TraceBlock, _ side: Side
    ) {
        guard let sample = shape.sample else { return }
        if side == .source {
            attempts.last.source.repeat(sample, sequence: order, at: time) { shape.fill(&$0, line, block) }
            attempts.last.inference.repeatAnswer(of: side)
            attempts.last.totalMilliseconds = shape.total(line, block)
            attempts.last.downtimeMilliseconds = shape.downtime(line, block)
            repeated.source.migration = shape.number
            repeated.source.opened = steady.source.opened
            repeated.source.total = attempts.last.source.sample?.totalMilliseconds
        } else {
            attempts.last.destination.repeat(sample, sequence: order, at: time) { shape.fill(&$0, line, block) }
            repeated.destination.migration = shape.number
            repeated.destination.opened = steady.destination.opened
            repeated.destination.total = attempts.last.destination.sample?.totalMilliseconds
        }
        if isTold {
            var told = sample
            shape.fill(&told, line, block)
            observe(.poll(.queryMigrate, told), side)
        }
    }

    /// Whether a reply to `query-status` shows what the one before showed.
    @inline(__always)
    private mutating func isRepeatedState(_ shape: ObservedShape, _ side: Side) -> Bool {
        if repeated.value(side).state == shape.number { return true }
        guard steady[side].stateChanges == changes, let state = shape.runState, state == steady[side].state else {
            return false
        }
        repeated[side].state = shape.number
        return true
    }
}

extension ObservedShape {
    /// The kind, if a line of it can be applied without its record.
    fileprivate var directKind: Kind? {
        switch kind {
        case .constant, .each: nil
        default: kind
        }
    }
}
