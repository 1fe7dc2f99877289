import Migration
import Testing

/// The transition table against the same table in another form, and what it says of moves.
@Suite struct TransitionTableTests {
    /// A row of `Fixtures/transitions.tsv`, as far as it is not prose.
    struct Row: Hashable {
        var side: Side
        var from: StatusWord
        var to: StatusWord
        var releases: ReleaseRange
        var movers: Set<StatusMover>
        var basis: EdgeBasis
    }

    private static let movers: [Substring: StatusMover] = [
        "main": .mainLoop, "mig": .migrationThread, "rp": .returnPathThread, "load": .loader,
    ]

    /// `*`, `2.11..`, `..9.2`, `2.5..9.2`, and with `*` or more dots than needed between the two ends.
    static func range(_ text: String) -> ReleaseRange? {
        var first = ""
        var last = ""
        var hasGap = false
        var rest = text[...]
        while let character = rest.popFirst() {
            if character == ".", rest.first == "." {
                hasGap = true
                while rest.first == "." { rest.removeFirst() }
            } else if hasGap {
                last.append(character)
            } else {
                first.append(character)
            }
        }
        if !hasGap, first != "*" { return nil }
        func release(_ text: String) -> QEMURelease?? {
            if text.isEmpty || text == "*" { return .some(nil) }
            let parts = text.split(separator: ".").map { Int($0) }
            guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return nil }
            return QEMURelease(major, minor)
        }
        guard let first = release(first), let last = release(last) else { return nil }
        return ReleaseRange(first: first, last: last)
    }

    private static func rows() throws -> [Row] {
        var rows: [Row] = []
        var basis = EdgeBasis.sources
        for line in try fixtureLines("transitions.tsv") {
            if line.hasPrefix("# seen in the lab") { basis = .recordings }
            if line.hasPrefix("#") { continue }
            let fields = line.split(separator: "\t").map(String.init)
            try #require(fields.count == 6, "\(line)")
            rows.append(
                Row(
                    side: fields[0] == "src" ? .source : .destination, from: StatusWord(rawValue: fields[1]),
                    to: StatusWord(rawValue: fields[2]), releases: try #require(range(fields[3]), "\(line)"),
                    movers: Set(try fields[4].split(separator: "/").map { try #require(movers[$0]) }), basis: basis))
        }
        return rows
    }

    @Test func theFormsOfARange() {
        #expect(Self.range("*") == .all)
        #expect(Self.range("2.11..") == ReleaseRange(first: QEMURelease(2, 11)))
        #expect(Self.range("..9.2") == ReleaseRange(last: QEMURelease(9, 2)))
        #expect(Self.range("*..9.2") == ReleaseRange(last: QEMURelease(9, 2)))
        #expect(Self.range("*....11.0") == ReleaseRange(last: QEMURelease(11, 0)))
        #expect(Self.range("10.2....11.0") == ReleaseRange(first: QEMURelease(10, 2), last: QEMURelease(11, 0)))
        #expect(Self.range("9.2") == nil)
        #expect(Self.range("x..") == nil)
    }

    /// Row by row, in the same order.
    @Test func theTableIsTheOneOfTheFixture() throws {
        let rows = try Self.rows()
        #expect(rows.count > 70)
        let own = TransitionTable.edges.map {
            Row(
                side: $0.side, from: $0.from, to: $0.to, releases: $0.releases, movers: Set($0.movers), basis: $0.basis)
        }
        #expect(own.count == rows.count)
        for (row, other) in zip(own, rows) { #expect(row == other) }
    }

    @Test func everyRowSaysWhenAndByWhom() {
        for edge in TransitionTable.edges {
            #expect(!edge.condition.isEmpty)
            #expect(!edge.movers.isEmpty)
            #expect(!edge.from.isUnknown && !edge.to.isUnknown)
            if let first = edge.releases.first {
                let words = [edge.from.introduced, edge.to.introduced].compactMap(\.self)
                // `migrate_cancel` in a post-copy that could already be paused is listed with post-copy itself.
                #expect(edge.to == .cancelling || words.allSatisfy { $0 <= first }, "\(edge.from) \(edge.to)")
            }
        }
    }

    @Test func everyKnownWordHasARelease() {
        #expect(Set(StatusWord.known).count == StatusWord.known.count)
        for word in StatusWord.known {
            #expect(!word.isUnknown)
            #expect(word.introduced != nil)
        }
        let ages = StatusWord.known.compactMap(\.introduced)
        #expect(ages == ages.sorted(), "in the order in which they came")
        #expect(Set(StatusWord.known) == Set(knownWords + [.none]))
        #expect(StatusWord(rawValue: "never-heard-of").introduced == nil)
    }

    /// `none` is where both sides begin, and what they never come back to.
    @Test(arguments: Side.allCases) func noneIsTheBeginning(side: Side) {
        #expect(!TransitionTable.edges(from: .none, on: side).isEmpty)
        #expect(TransitionTable.edges.allSatisfy { $0.to != .none })
    }

    /// From the beginning every word that a release has on a side can be reached, and from every word an end.
    @Test(arguments: [
        QEMUVersion(5, 2), QEMUVersion(7, 2, 22), QEMUVersion(9, 2), QEMUVersion(10, 0, 13), QEMUVersion(10, 2),
        QEMUVersion(11, 1, 3),
    ])
    func everyWordIsOnAWay(version: QEMUVersion) {
        func reach(_ start: StatusWord, _ side: Side) -> Set<StatusWord> {
            var seen: Set<StatusWord> = [start]
            var open = [start]
            while let word = open.popLast() {
                for edge in TransitionTable.edges(from: word, on: side, version: version)
                where seen.insert(edge.to).inserted {
                    open.append(edge.to)
                }
            }
            return seen
        }
        let notOnDestination: Set<StatusWord> = [
            .cancelling, .cancelled, .failing, .device, .preSwitchover, .waitUnplug, .postcopyRecoverSetup,
        ]
        for side in Side.allCases {
            var expected = StatusWord.known.filter { QEMURelease(version) >= ($0.introduced ?? QEMURelease(99, 0)) }
            if side == .destination { expected.removeAll(where: notOnDestination.contains) }
            // Before 8.2 a listening destination has no status; 10.0 and 10.1 have no way into checkpointing.
            if side == .destination, version < QEMUVersion(8, 0) { expected.removeAll { $0 == .setup } }
            if side == .source, version.major == 10, version.minor < 2 { expected.removeAll { $0 == .colo } }
            let reached = reach(.none, side)
            #expect(Set(expected).isSubset(of: reached), "\(side) \(Set(expected).subtracting(reached))")
            for word in reached {
                #expect(reach(word, side).contains { $0.isTerminal && $0 != .none }, "\(side) \(word)")
            }
        }
    }

    @Test func releasesDiffer() {
        func listed(_ from: StatusWord, _ to: StatusWord, _ version: QEMUVersion, on side: Side = .source) -> Bool {
            TransitionTable.isListed(from: from, to: to, on: side, version: version)
        }
        #expect(listed(.active, .completed, QEMUVersion(5, 2)))
        // A background snapshot never leaves `active`.
        #expect(listed(.active, .completed, QEMUVersion(11, 1, 3)))
        #expect(!listed(.active, .device, QEMUVersion(7, 2, 22)))
        #expect(listed(.active, .device, QEMUVersion(10, 0, 13)))
        #expect(listed(.postcopyActive, .cancelling, QEMUVersion(9, 2, 4)))
        #expect(!listed(.postcopyActive, .cancelling, QEMUVersion(10, 0)))
        #expect(listed(.active, .failed, QEMUVersion(11, 0)))
        #expect(!listed(.active, .failed, QEMUVersion(11, 1)))
        #expect(listed(.active, .failing, QEMUVersion(11, 1)))
        #expect(!listed(.active, .failing, QEMUVersion(10, 2)))
        #expect(!listed(.none, .setup, QEMUVersion(8, 1), on: .destination))
        #expect(listed(.none, .setup, QEMUVersion(8, 2), on: .destination))
        #expect(listed(.none, .active, QEMUVersion(8, 1), on: .destination))
        // A range that began before one of its words existed begins with the word.
        #expect(!listed(.postcopyPaused, .cancelling, QEMUVersion(2, 12)))
        #expect(listed(.postcopyPaused, .cancelling, QEMUVersion(3, 0)))
    }

    /// 10.2.50 is on the way to 11.0: what either does is no surprise.
    @Test func developmentVersionsMayDoWhatTheNextReleaseDoes() {
        let range = ReleaseRange(first: QEMURelease(11, 0))
        #expect(range.covers(QEMUVersion(10, 2, 50)))
        #expect(!range.covers(QEMUVersion(10, 2, 49)))
        #expect(!range.covers(QEMUVersion(10, 1, 91)))
        #expect(ReleaseRange(first: QEMURelease(11, 1)).covers(QEMUVersion(11, 0, 50)))
        #expect(ReleaseRange(last: QEMURelease(10, 2)).covers(QEMUVersion(10, 2, 50)))
        #expect(range.covers(QEMUVersion(.max, .max, .max)), "no number overflows")
        #expect(ReleaseRange(last: QEMURelease(1, 0)).covers(QEMUVersion(.max, .max, .max)) == false)
    }

    @Test func whatIsSaidOfAMove() {
        let version = QEMUVersion(10, 0, 13)
        func verdict(_ from: StatusWord, _ to: StatusWord) -> EdgeVerdict {
            TransitionTable.verdict(from: from, to: to, on: .source, version: version)
        }
        func anomaly(_ from: StatusWord, _ to: StatusWord) -> String? {
            TransitionTable.anomaly(from: from, to: to, on: .source, version: version)
        }
        let odd = StatusWord(rawValue: "never-heard-of")
        #expect(verdict(.setup, .active) == .listed)
        #expect(verdict(.preSwitchover, .active) == .unlisted)
        #expect(
            verdict(.postcopyActive, .cancelling)
                == .otherReleases([ReleaseRange(first: QEMURelease(2, 5), last: QEMURelease(9, 2))]))
        #expect(verdict(.active, odd) == .unknownWord)
        #expect(verdict(odd, .active) == .unknownWord)
        #expect(anomaly(.setup, .active) == nil)
        #expect(anomaly(.active, odd) == nil)
        #expect(
            anomaly(.preSwitchover, .active)
                == "the source's status went from pre-switchover to active, which no known QEMU does")
        #expect(
            anomaly(.postcopyActive, .cancelling)
                == "the source's status went from postcopy-active to cancelling, which QEMU 10.0 is not known to do "
                + "(known: 2.5 to 9.2)")
        #expect(TransitionTable.anomaly(from: .postcopyActive, to: .cancelling, on: .source) == nil, "any release")
    }
}
