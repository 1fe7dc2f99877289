import Migration
import Phases
import Testing

/// The legal moves of each side, written down once more and in another form than the table's.
private let legal: [Side: [Phase: [Phase]]] = [
    .source: [
        .none: [.perform2, .begin3, .perform3, .confirm3Cancelled],
        .begin3: [.perform3, .confirm3Cancelled, .confirm3],
        .perform3: [.perform3Done, .confirm3Cancelled, .postcopyFailed],
        .perform3Done: [.confirm3Cancelled, .confirm3, .postcopyFailed, .beginResume],
        .confirm3Cancelled: [.postcopyFailed, .beginResume],
        .postcopyFailed: [.beginResume, .performResume, .confirmResume],
        .beginResume: [.performResume, .postcopyFailed],
        .performResume: [.confirmResume, .postcopyFailed],
        .confirmResume: [.postcopyFailed],
    ],
    .destination: [
        .none: [.prepare],
        .prepare: [.finish2, .finish3, .postcopyFailed],
        .finish3: [.postcopyFailed, .prepareResume],
        .postcopyFailed: [.prepareResume, .finishResume],
        .prepareResume: [.finishResume, .postcopyFailed],
        .finishResume: [.postcopyFailed],
    ],
]

/// The phases of each side that a job can reach, and a way there.
private func way(to phase: Phase, on side: Side) throws -> [Phase] {
    var ways: [Phase: [Phase]] = [.none: []]
    var queue: [Phase] = [.none]
    while let from = queue.first {
        queue.removeFirst()
        for next in legal[side]?[from] ?? [] where ways[next] == nil {
            ways[next] = (ways[from] ?? []) + [next]
            queue.append(next)
        }
    }
    return try #require(ways[phase], "\(phase) is never reached on the \(side)")
}

private func code(_ body: () throws(JobError) -> Void) -> JobError.Code? {
    do throws(JobError) {
        try body()
        return nil
    } catch {
        return error.code
    }
}

@Suite struct PhaseMovesTests {
    /// The job machine makes exactly the legal moves, by both ways in: from every phase to every phase.
    @Test(arguments: Side.allCases) func everyMove(side: Side) throws {
        for from in Phase.allCases where from.belongs(to: side) {
            var inside = JobMachine(side: side)
            try inside.start(side == .source ? .out : .in, owner: "first")
            for phase in try way(to: from, on: side) { _ = try inside.setPhase(phase) }
            #expect(inside.phase == from)
            var between = inside
            try between.continue()
            for to in Phase.allCases {
                var expected: JobError.Code?
                if !to.belongs(to: side) {
                    expected = .wrongSide
                } else if to != from, legal[side]?[from]?.contains(to) != true {
                    expected = to < from && to < .postcopyFailed ? .backwards : .illegal
                }
                var (set, entered) = (inside, between)
                let how = "\(side): \(from) => \(to)"
                #expect(code { () throws(JobError) in _ = try set.setPhase(to) } == expected, "\(how)")
                #expect(
                    code { () throws(JobError) in _ = try entered.startPhase(to, owner: "second") } == expected,
                    "\(how)")
                #expect(set.phase == (expected == nil ? to : from))
                #expect(entered.phase == (expected == nil ? to : from))
                #expect(entered.owner == (expected == nil ? "second" : nil))
                #expect(expected == nil || set == inside && entered == between, "a refusal changes nothing")
            }
        }
    }

    @Test func theTableHasTheseMovesAndNoOther() {
        for side in Side.allCases {
            for from in Phase.allCases {
                let next = Set(PhaseMoves.rows.filter { $0.side == side && $0.from == from }.map(\.to))
                #expect(next.subtracting([.none]) == Set(legal[side]?[from] ?? []), "\(side) \(from)")
                for to in Phase.allCases {
                    #expect(
                        PhaseMoves.isLegal(side, from: from, to: to) == (to == from || next.contains(to) && to != .none)
                    )
                    #expect(PhaseMoves.rows(side, from: from, to: to).isEmpty == !next.contains(to))
                }
            }
        }
    }

    /// Every row is plausible in itself: its side, its modes, what it does to the job.
    @Test func rowsAreSound() {
        for row in PhaseMoves.rows {
            #expect(row.from.belongs(to: row.side) && row.to.belongs(to: row.side), "\(row)")
            #expect(!row.trigger.isEmpty)
            #expect(!row.protocols.isEmpty && !row.modes.isEmpty)
            #expect((row.to == .none) == (row.after == .discarded || row.after == .finished && row.to == .none))
            #expect(row.side == .source || !row.modes.contains(.direct), "direct has no destination side: \(row)")
            for phase in [row.from, row.to] where phase != .none {
                #expect(
                    phase.protocols.contains { row.protocols.contains($0) }, "\(phase) is of another protocol: \(row)")
            }
            // Nothing goes back but into the recovery, from where a broken post-copy starts over.
            #expect(row.to == .none || row.to > row.from || row.to >= .postcopyFailed, "\(row)")
            #expect(row.after != .owned || row.to != .none)
        }
        #expect(Set(PhaseMoves.rows).count == PhaseMoves.rows.count, "a row is there twice")
    }

    /// Every phase can be reached, and from each the job can end.
    @Test func everyPhaseBeginsAndEnds() throws {
        for side in Side.allCases {
            for phase in Phase.allCases where phase.belongs(to: side) && phase != .none {
                _ = try way(to: phase, on: side)
                var open = [phase]
                var seen: Set<Phase> = [phase]
                var isEnding = false
                while let next = open.popLast() {
                    for row in PhaseMoves.rows where row.side == side && row.from == next {
                        if row.to == .none { isEnding = true }
                        if seen.insert(row.to).inserted { open.append(row.to) }
                    }
                }
                #expect(isEnding, "\(side) \(phase) never ends")
            }
        }
    }

    @Test func thePhaseTable() throws {
        #expect(PhaseTable.rows.map(\.phase) == Phase.allCases)
        #expect(PhaseTable.rows.map(\.order) == Array(0..<16))
        #expect(Set(PhaseTable.rows.map(\.meaning)).count == 16)
        for row in PhaseTable.rows {
            #expect(row.sides == Side.allCases.filter { row.phase.belongs(to: $0) })
            let next = Set(row.sides.flatMap { legal[$0]?[row.phase] ?? [] })
            #expect(Set(row.next) == next, "\(row.phase)")
            // A phase in which a call is left by `continue` has nets, and only such a one.
            for side in row.sides {
                let isLeft = PhaseMoves.rows.contains {
                    $0.side == side && $0.to == row.phase && $0.after == .continued
                }
                // Finish of a post-copy migration is answered long after it was called.
                let isFinish3 = side == .destination && row.phase == .finish3
                #expect((row.nets[side] != nil) == (isLeft || isFinish3), "\(side) \(row.phase)")
            }
        }
        #expect(Phase.perform2.protocols == [.v2] && Phase.finish2.protocols == [.v2])
        #expect(Phase.none.protocols == [.v2, .v3] && Phase.prepare.protocols == [.v2, .v3])
    }
}
