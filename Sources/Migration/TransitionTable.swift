/// What moves QEMU's status word.
public enum StatusMover: String, Hashable, Sendable, CaseIterable {
    /// QEMU's main loop, where commands are served.
    case mainLoop = "main loop"
    /// The source's thread that sends the stream.
    case migrationThread = "migration thread"
    /// The source's thread that reads the destination's answers.
    case returnPathThread = "return path thread"
    /// The destination's reader of the stream.
    case loader
}

/// From where it is known that QEMU makes a move.
public enum EdgeBasis: String, Hashable, Sendable, CaseIterable {
    /// QEMU's sources and their history.
    case sources
    /// A recording of a real QEMU; the sources alone did not tell.
    case recordings
}

/// One move that QEMU's status word can make on one side: a row of the transition table.
public struct StatusEdge: Hashable, Sendable {
    /// Which end.
    public var side: Side
    /// The word before; ``StatusWord/none`` where QEMU tells no status.
    public var from: StatusWord
    /// The word after.
    public var to: StatusWord
    /// The releases that make this move, as far as they know both words.
    public var releases: ReleaseRange
    /// Who in QEMU makes it. More than one where it depends on how far things are.
    public var movers: [StatusMover]
    /// When it is made, for a person.
    public var condition: String
    /// From where this is known.
    public var basis: EdgeBasis

    /// Whether a version of QEMU can make this move: the range has it and both words exist.
    public func isPossible(in version: QEMUVersion) -> Bool {
        releases.covers(version) && Self.knows(version, from) && Self.knows(version, to)
    }

    private static func knows(_ version: QEMUVersion, _ word: StatusWord) -> Bool {
        guard let introduced = word.introduced else { return false }
        return ReleaseRange(first: introduced).covers(version)
    }
}

/// What the table says of an observed move.
public enum EdgeVerdict: Hashable, Sendable {
    /// This version makes it (or, without a version, some release does).
    case listed
    /// Other releases make it, this version does not.
    case otherReleases([ReleaseRange])
    /// No known release makes it.
    case unlisted
    /// One of the words is none of QEMU's known ones. The table cannot judge; an unknown word means "in progress".
    case unknownWord
}

/// The moves that QEMU's status word makes, by side and release.
///
/// A checker and a model, never a judge: what is observed counts, listed or not. A move that is not listed for a
/// version becomes an anomaly in a report, because it tells of a QEMU nobody has read, of a lost record or of an error
/// of ours; nothing refuses it. The other use is to build an abstract QEMU: ``edges(from:on:version:)`` gives
/// everything that may come next, and nothing of when.
///
/// The table was read from QEMU's sources, 2.3 to 11.1, and completed from recordings.
public enum TransitionTable {
    /// Every edge: the source's first, each from the beginning of an attempt to its end.
    public static let edges: [StatusEdge] =
        sourceStart + sourceCancel + sourceSwitchover + sourcePostcopy + sourceEnd + sourceOther + destination
        + recorded

    /// The edges that lead away from a word.
    ///
    /// - Parameters:
    ///   - word: The word before; ``StatusWord/none`` where QEMU tells no status.
    ///   - side: Which end.
    ///   - version: The QEMU in question, `nil` for any.
    /// - Returns: The edges in the table's order; none for a word that no known QEMU says.
    public static func edges(
        from word: StatusWord, on side: Side, version: QEMUVersion? = nil
    ) -> [StatusEdge] {
        let edges = (side == .source ? sourceIndex : destinationIndex)[word] ?? []
        guard let version else { return edges }
        return edges.filter { $0.isPossible(in: version) }
    }

    /// Whether a move is listed.
    ///
    /// - Parameters:
    ///   - from: The word before; ``StatusWord/none`` where QEMU tells no status.
    ///   - to: The word after.
    ///   - side: Which end.
    ///   - version: The QEMU in question, `nil` for any.
    /// - Returns: Whether there is a row for it. For a word that no known QEMU says there is none;
    ///   ``verdict(from:to:on:version:)`` tells these apart.
    public static func isListed(
        from: StatusWord, to: StatusWord, on side: Side, version: QEMUVersion? = nil
    ) -> Bool {
        verdict(from: from, to: to, on: side, version: version) == .listed
    }

    /// What the table says of a move.
    public static func verdict(
        from: StatusWord, to: StatusWord, on side: Side, version: QEMUVersion? = nil
    ) -> EdgeVerdict {
        if from.isUnknown || to.isUnknown { return .unknownWord }
        let rows = edges(from: from, on: side).filter { $0.to == to }
        if rows.isEmpty { return .unlisted }
        guard let version, !rows.contains(where: { $0.isPossible(in: version) }) else { return .listed }
        return .otherReleases(rows.map(\.releases))
    }

    /// The sentence for a report about a move that this version is not known to make.
    ///
    /// - Returns: `nil` if there is nothing to say: the move is listed, or a word is unknown, which is a matter of its
    ///   own.
    public static func anomaly(
        from: StatusWord, to: StatusWord, on side: Side, version: QEMUVersion? = nil
    ) -> String? {
        let verdict = verdict(from: from, to: to, on: side, version: version)
        // Most often there is nothing to say, so nothing is put together for it.
        if verdict == .listed || verdict == .unknownWord { return nil }
        let move = "the \(side.rawValue)'s status went from \(from) to \(to)"
        switch verdict {
        case .listed, .unknownWord: return nil
        case .unlisted: return "\(move), which no known QEMU does"
        case .otherReleases(let ranges):
            let release = version.map { QEMURelease($0).description } ?? ""
            let known = ranges.map(\.description).joined(separator: ", ")
            return "\(move), which QEMU \(release) is not known to do (known: \(known))"
        }
    }

    private static let sourceIndex = Dictionary(grouping: edges.filter { $0.side == .source }, by: \.from)
    private static let destinationIndex = Dictionary(grouping: edges.filter { $0.side == .destination }, by: \.from)
}
