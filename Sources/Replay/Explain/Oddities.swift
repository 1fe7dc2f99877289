import Migration

/// What was unusual about an attempt, whether it did harm or not.
enum Oddities {
    /// From here on an answer counts as slow. A QEMU under load answers in some 30 ms.
    static let slowReplyMicroseconds: Int64 = 200_000

    static func list(_ it: AttemptCase, _ anomalies: [Anomaly]) -> [Claim] {
        noted(anomalies) + missing(it) + slow(it) + stray(it)
    }

    /// What the replay itself noticed: unlisted moves, answers to nothing, unknown words, two QEMUs that run.
    private static func noted(_ anomalies: [Anomaly]) -> [Claim] {
        anomalies.map { Claim($0.what, records: [$0.sequence], side: $0.side) }
    }

    // MARK: Events that did not come

    private static func missing(_ it: AttemptCase) -> [Claim] {
        var claims: [Claim] = []
        for side in Side.allCases where it.saw(side) {
            guard it.log.capability("events", side)?.value ?? false, !it.log.hasLostMonitor.contains(side) || it.isOver
            else {
                continue
            }
            let told = it.log.eventWords[side] ?? []
            for note in it.attempt[side].words where note.source == .query && !told.contains(note.word) {
                claims.append(
                    Claim(
                        "no event told the \(side.rawValue)'s '\(note.word)', only a query did, though events are on",
                        records: [it.record(note.sequence)], side: side))
            }
        }
        claims += missingStop(it)
        claims += missingPasses(it)
        return claims
    }

    private static func missingStop(_ it: AttemptCase) -> [Claim] {
        guard it.source.wasRunning == true, let completed = it.source.events[.completed], hasEvents(it, .source),
            !it.log.runs.contains(where: {
                $0.side == .source && !$0.value.isRunning && $0.value.isEvent
                    && $0.place.order < completed.firstSequence
            })
        else { return [] }
        return [it.claim("the source completed and no STOP came before it", .source, completed)]
    }

    private static func missingPasses(_ it: AttemptCase) -> [Claim] {
        var claims: [Claim] = []
        var last: Placed<Int64>?
        for pass in it.log.passes where pass.side == .source {
            defer { last = pass }
            guard let before = last else { continue }
            let (gap, overflow) = pass.value.subtractingReportingOverflow(before.value)
            // Numbers far apart are no passes.
            guard !overflow, (2...1_000_000).contains(gap) else { continue }
            let missing = gap - 1
            claims.append(
                Claim(
                    missing == 1
                        ? "no event told pass \(before.value + 1)"
                        : "no events told passes \(before.value + 1) to \(pass.value - 1)",
                    records: [before.place.record, pass.place.record], side: .source, time: pass.place.time))
            if claims.count >= 5 { break }
        }
        return claims
    }

    private static func hasEvents(_ it: AttemptCase, _ side: Side) -> Bool {
        it.log.capability("events", side)?.value ?? !(it.log.eventWords[side]?.isEmpty ?? true)
    }

    // MARK: Answers and strays

    private static func slow(_ it: AttemptCase) -> [Claim] {
        it.log.slow.map { slow in
            let name = slow.value.command.name
            return Claim(
                "the answer to \(name) took \(Measure.span(slow.value.microseconds))",
                records: [slow.value.sent, slow.place.record], side: slow.side, time: slow.place.time)
        }
    }

    private static func stray(_ it: AttemptCase) -> [Claim] {
        Side.allCases.flatMap { side -> [Claim] in
            it.attempt[side].stale.map { note in
                let word = note.word.map { "'\($0)'" } ?? "a reply"
                return Claim(
                    "\(word) of the \(side.rawValue) was set aside: \(note.why.rawValue)",
                    records: [it.record(note.sequence)], side: side)
            }
        }
    }
}
