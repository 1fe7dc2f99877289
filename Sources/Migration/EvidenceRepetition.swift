// What is told again and again while memory moves: that it is told once more changes a few counts and nothing that
// rules read.
//
// Each of these does what `note` would do, in a few steps. Whether it does is not taken on trust: a driver compares
// both before it relies on one, and has to ask anew after everything else that it noted.
extension Evidence {
    /// Whether another reply to `query-migrate` can be counted only: it cannot be of another attempt or older than
    /// what is known.
    ///
    /// - Parameter total: Its `total-time`.
    public func canRepeat(_ word: StatusWord?, total: Int64?) -> Bool {
        guard staleQueries == 0, olderQueries == 0, let word, words.last?.word == word else { return false }
        guard let before = sample?.totalMilliseconds, let total else { return true }
        return total >= before
    }

    /// Counts more replies to `query-migrate` with the word that was noted last.
    ///
    /// - Parameters:
    ///   - new: The last one, or one that differs from it in its numbers.
    ///   - count: How many there were, all with the same members.
    ///   - sequence: The record of the last one.
    ///   - fill: Sets the numbers.
    public mutating func `repeat`(
        _ new: MigrationSample, count: Int = 1, sequence: Int, at time: Instant,
        fill: (inout MigrationSample) -> Void = { _ in }
    ) {
        guard let word = new.status else { return }
        queriesUnderWay = max(queriesUnderWay - count, 0)
        let before = sample?.totalMilliseconds
        if new.totalBytes != nil || sample == nil {
            sample = new
            sample?.change(fill)
            if sample?.totalMilliseconds == nil { sample?.totalMilliseconds = before }
        } else {
            var told = new
            fill(&told)
            sample?.totalMilliseconds = told.totalMilliseconds ?? before
        }
        sample?.status = word
        events.noteAgain(EventKind(word: word), count: count, sequence: sequence, at: time)
    }

    /// Counts more replies to `query-status` with the run state that was noted last.
    public mutating func `repeat`(_ state: RunState, count: Int = 1, sequence: Int, at time: Instant) {
        events.noteAgain(.runState, count: count, sequence: sequence, at: time)
        if side == .destination, state == .running {
            events.noteAgain(.ran, count: count, sequence: sequence, at: time)
        }
    }

    /// Counts more of `MIGRATION_PASS`, the last one with this number; returns false if there was none yet.
    public mutating func repeatPass(_ number: Int64, count: Int = 1, sequence: Int, at time: Instant) -> Bool {
        guard events.has(.pass) else { return false }
        events.noteAgain(.pass, payload: String(number), count: count, sequence: sequence, at: time)
        return true
    }

    /// Counts `query-migrate` commands that left.
    public mutating func repeatQuery(count: Int = 1) { queriesUnderWay &+= count }
}

extension MigrationSample {
    fileprivate mutating func change(_ body: (inout MigrationSample) -> Void) { body(&self) }
}
