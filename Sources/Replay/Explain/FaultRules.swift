import JSONC
import Migration

/// Says whose doing an end was. The rules are asked in order; the first that has something to say decides.
enum FaultRules {
    /// A rule and what it looks at, for the readers of this list.
    struct Rule: Sendable {
        var name: String
        var words: Set<PublishedWord>
        var judge: @Sendable (AttemptCase) -> FaultAttribution?
    }

    static func fault(of attempt: AttemptCase) -> FaultAttribution {
        for rule in table where rule.words.contains(attempt.word) {
            if let fault = rule.judge(attempt) { return fault }
        }
        guard attempt.isOver else {
            return FaultAttribution(
                party: nil, certainty: .unknown,
                because: Claim("the recording stops before the end", records: [attempt.log.last?.record ?? 0]),
                alternatives: [])
        }
        return FaultAttribution(
            party: nil, certainty: .unknown, because: Claim("no record shows what went wrong first"),
            alternatives: [.source, .destination, .network])
    }

    private static let table: [Rule] = [
        Rule(name: "nothing failed", words: [.completed], judge: completed),
        Rule(name: "somebody's cancel", words: [.cancelled], judge: cancelled),
        Rule(name: "the guest shut itself down", words: [.ended], judge: ended),
        Rule(name: "a step failed before memory moved", words: [.failed, .undecided], judge: stepFailed),
        Rule(name: "QEMU refused to migrate", words: [.failed], judge: refused),
        Rule(name: "the source ran the guest after it had left", words: [.failed], judge: sourceContinued),
        Rule(name: "a cancel in post-copy", words: [.lost], judge: cancelledInPostcopy),
        Rule(name: "somebody paused post-copy", words: [.postcopyPaused], judge: pausedByCommand),
        Rule(name: "the first QEMU to go", words: [.lost, .failed, .postcopyPaused], judge: gone),
        Rule(name: "a yank cut the connection", words: [.failed], judge: yanked),
        Rule(name: "a capability on one side only", words: [.failed], judge: unpaired),
        Rule(name: "nobody can tell who wrote to the port", words: [.failed], judge: destinationAlone),
        Rule(name: "QEMU's words", words: [.failed], judge: byWords),
        Rule(name: "the destination failed first, or the source's stream was closed", words: [.failed], judge: loading),
        Rule(name: "a broken channel", words: [.postcopyPaused, .lost, .failed], judge: channel),
        Rule(name: "nobody answers", words: [.undecided], judge: silent),
    ]

    private static func fault(
        _ party: Party?, _ certainty: Certainty, _ because: Claim, or alternatives: [Party] = []
    ) -> FaultAttribution {
        FaultAttribution(
            party: party, certainty: certainty, because: because, alternatives: alternatives.filter { $0 != party })
    }

    // MARK: Ends without an error

    @Sendable private static func completed(_ it: AttemptCase) -> FaultAttribution? {
        fault(nil, .proven, it.claim("nothing went wrong for good", nil, it.destination.events[.ran]))
    }

    @Sendable private static func cancelled(_ it: AttemptCase) -> FaultAttribution? {
        guard let row = it.source.triggers[.cancel] else { return nil }
        guard let origin = it.origin(of: .cancel, .source) else { return nil }
        var party = origin.party
        var certainty = origin.certainty
        var text = row.wasSent ? "migrate_cancel was sent: \(origin.words)" : "the source cancelled: \(origin.words)"
        var records = [it.record(row.sentSequence ?? row.firstSequence)]
        if let request = it.log.requests.last(where: { $0.value.what == "cancel" }) {
            records.append(request.place.record)
            party = request.value.origin == .policy ? .policy : .operator
            certainty = .proven
            text = "\(request.value.origin.rawValue) asked to cancel"
        } else if row.origin == .controller,
            let timeout = it.log.timeouts.last(where: { $0.place.order <= row.firstSequence })
        {
            records.append(timeout.place.record)
        }
        if row.argument == "by yank" { text += ", and a yank carried it out" }
        return fault(
            party, certainty, Claim(text, records: records.sorted(), side: .source, time: row.firstTime),
            or: it.alternatives(to: certainty))
    }

    @Sendable private static func ended(_ it: AttemptCase) -> FaultAttribution? {
        let side: Side = it.source.events.has(.guestShutdown) ? .source : .destination
        guard let row = it.attempt[side].events[.guestShutdown] else { return nil }
        return fault(
            .guest, .proven,
            it.claim("the guest shut itself down (\(row.payload ?? "no reason given"))", side, row))
    }

    // MARK: Refusals and steps

    @Sendable private static func stepFailed(_ it: AttemptCase) -> FaultAttribution? {
        guard !it.attempt.isOpened || it.source.openedSequence == nil, let failed = it.log.stepErrors.first else {
            return nil
        }
        let text = failed.value.text
        let claim = Claim(
            "\(failed.value.step) failed: \(text)", records: [failed.place.record], side: failed.side,
            time: failed.place.time)
        if text.contains("not made like") { return fault(.operator, .proven, claim) }
        let party: Party = failed.side == .destination ? .destination : .source
        return fault(party, .likely, claim, or: [.operator, .controller])
    }

    @Sendable private static func refused(_ it: AttemptCase) -> FaultAttribution? {
        guard let row = it.source.triggers[.migrate], let text = row.refusal, !row.wasAccepted else { return nil }
        let claim = Claim(
            "the source refused to migrate: \(text)",
            records: [it.record(row.sentSequence), it.record(row.lastSequence)], side: .source, time: row.lastTime)
        switch KnownError.meaning(of: text) {
        case .address?: return fault(.operator, .proven, claim, or: [])
        case .gone?, .busy?: return fault(it.isOurs ? .controller : .operator, .likely, claim, or: [.controller])
        case .blocked?: return fault(.guest, .likely, claim, or: [.operator])
        default: return fault(.source, .likely, claim, or: [.operator])
        }
    }

    @Sendable private static func sourceContinued(_ it: AttemptCase) -> FaultAttribution? {
        guard it.source.stage == .completed || it.source.events.has(.completed),
            it.destination.events.has(.completed), let completed = it.source.events[.completed],
            let resumed = it.source.events[.resumed], resumed.lastSequence > completed.firstSequence,
            let run = it.source.triggers[.run],
            // With the destination gone it is the right thing to do.
            !(it.end(.destination).map { $0.firstSequence < run.firstSequence } ?? false)
        else { return nil }
        let claim = Claim(
            "the guest had left and was complete on the destination, and then the source was told to run it",
            records: [it.record(run.sentSequence ?? run.firstSequence), it.record(resumed.lastSequence)],
            side: .source, time: run.firstTime)
        return fault(it.isOurs ? .controller : .operator, it.isOurs ? .proven : .likely, claim, or: [.controller])
    }

    // MARK: Post-copy

    @Sendable private static func cancelledInPostcopy(_ it: AttemptCase) -> FaultAttribution? {
        guard it.source.events.has(.postcopyActive),
            it.source.events.has(.cancelled) || it.source.events.has(.cancelling),
            let row = it.source.triggers[.cancel], row.refusal == nil,
            // A QEMU that was gone before had lost the guest already.
            !(it.end(.destination).map { $0.firstSequence < row.firstSequence } ?? false)
        else { return nil }
        let origin = it.origin(of: .cancel, .source)
        return fault(
            origin?.party ?? .operator, origin?.certainty ?? .likely,
            Claim(
                "a cancel in post-copy destroys the guest on this QEMU: its memory is on both sides, and the "
                    + "source gave up its part",
                records: [
                    it.record(it.source.events[.postcopyActive]?.firstSequence),
                    it.record(row.sentSequence ?? row.firstSequence),
                ], side: .source, time: row.firstTime),
            or: it.alternatives(to: origin?.certainty ?? .likely))
    }

    @Sendable private static func pausedByCommand(_ it: AttemptCase) -> FaultAttribution? {
        for side in Side.allCases {
            guard let row = it.attempt[side].triggers[.pausePostcopy], row.wasAccepted,
                let origin = it.origin(of: .pausePostcopy, side)
            else { continue }
            return fault(
                origin.party, origin.certainty,
                Claim(
                    "migrate-pause was sent: \(origin.words)", records: [it.record(row.sentSequence)], side: side,
                    time: row.firstTime),
                or: it.alternatives(to: origin.certainty))
        }
        return nil
    }

    /// The end of a process before anything else had failed.
    @Sendable private static func gone(_ it: AttemptCase) -> FaultAttribution? {
        let ends = Side.allCases.compactMap { side in it.end(side).map { (side, $0) } }
            .sorted { $0.1.firstSequence < $1.1.firstSequence }
        for (side, row) in ends {
            guard let ending = it.ending(side), isCause(row, side, it) else { continue }
            let party: Party = side == .source ? .source : .destination
            if let kill = it.attempt[side].triggers[.kill], kill.firstSequence < row.firstSequence {
                // After the attempt had failed a `quit` is tidying up.
                if let failed = it.failure(.source) ?? it.failure(.destination),
                    failed.firstSequence < kill.firstSequence
                {
                    continue
                }
                return fault(
                    it.isOurs ? .controller : .operator, .likely,
                    Claim(
                        "the \(side.rawValue)'s QEMU was told to quit",
                        records: [it.record(kill.sentSequence ?? kill.firstSequence), it.record(row.firstSequence)],
                        side: side, time: kill.firstTime),
                    or: [.controller, party])
            }
            if let shutdown = it.attempt[side].events[.hostShutdown], shutdown.firstSequence < row.firstSequence {
                return fault(
                    .operator, .likely,
                    it.claim(
                        "the \(side.rawValue)'s QEMU was ended from outside (\(shutdown.payload ?? ""))", side,
                        shutdown, row),
                    or: [party])
            }
            // A destination that exits by itself has failed to load, or lost its source.
            if side == .destination, case .exited? = it.destination.processEnd { continue }
            if side == .destination, it.isOurs, case .gone? = it.destination.processEnd, it.failure(.destination) != nil
            {
                continue
            }
            return fault(
                party, .proven,
                Claim(
                    "the \(side.rawValue)'s QEMU \(ending.text)", records: ending.records, side: side,
                    time: row.firstTime))
        }
        return nil
    }

    /// Whether the end of a process came before the other side's own failure, so that it can be the cause of it.
    private static func isCause(_ row: EventRow, _ side: Side, _ it: AttemptCase) -> Bool {
        // A kill is seen at the process within milliseconds, at the other end of the stream it may be seen sooner.
        let slack: Int64 = 100_000
        let others = [it.failure(.source), it.failure(.destination), it.source.events[.cancelling]].compactMap(\.self)
        let isFirst = others.allSatisfy {
            $0.firstSequence > row.firstSequence || row.firstTime.microseconds(since: $0.firstTime) <= slack
        }
        guard case .signalled? = it.attempt[side].processEnd else {
            return isFirst && others.allSatisfy { $0.firstSequence > row.firstSequence }
                || side == .source && it.word == .lost
        }
        return isFirst || side == .source && it.word == .lost
    }

    // MARK: Errors

    @Sendable private static func yanked(_ it: AttemptCase) -> FaultAttribution? {
        guard let row = it.source.triggers[.yank], row.wasSent, let failed = it.failure(.source),
            row.sentSequence ?? .max < failed.firstSequence, let origin = it.origin(of: .yank, .source)
        else { return nil }
        if row.origin == .controller,
            let lost = it.failure(.destination) ?? it.destination.events[.monitorLost],
            lost.firstSequence < row.firstSequence
        {
            return fault(
                .destination, .likely,
                it.claim(
                    "the destination was lost (\(lost.kind.rawValue)), then Godwit cut the source's connection by yank",
                    .destination, lost, also: [it.record(row.sentSequence)]), or: [.network])
        }
        var text = "yank cut the source's connection: \(origin.words)"
        if let last = it.source.events[.device] ?? it.source.events[.active] {
            text +=
                ", \(Measure.span(row.firstTime.microseconds(since: last.firstTime))) after the source had said "
                + "'\(last.kind.rawValue)'"
        }
        return fault(
            origin.party, origin.certainty,
            Claim(
                text, records: [it.record(row.sentSequence), it.record(failed.firstSequence)], side: .source,
                time: row.firstTime),
            or: [.destination, .network] + it.alternatives(to: origin.certainty))
    }

    @Sendable private static func unpaired(_ it: AttemptCase) -> FaultAttribution? {
        guard let unpaired = it.unpairedCapability, it.failure(.source) != nil || it.failure(.destination) != nil else {
            return nil
        }
        return fault(
            it.isOurs ? .controller : .operator, .likely,
            Claim(
                "\(unpaired.name) was on at the \(unpaired.side.rawValue) only; QEMU needs it on both sides or "
                    + "on neither",
                records: [unpaired.record], side: unpaired.side),
            or: [.controller, .destination])
    }

    @Sendable private static func destinationAlone(_ it: AttemptCase) -> FaultAttribution? {
        guard it.report.status.basis == .destination, let failed = it.failure(.destination) else { return nil }
        return fault(
            nil, .unknown,
            it.claim(
                "the destination gave up what came in; who wrote to it, and what, was not recorded", .destination,
                failed),
            or: [.source, .network, .operator])
    }

    @Sendable private static func byWords(_ it: AttemptCase) -> FaultAttribution? {
        guard let failed = it.failure(.source) else { return nil }
        let text = it.source.errorDescription
        let records =
            it.log.steps.last { if case .error = $0.what { $0.side == .source } else { false } }.map { [$0.sequence] }
            ?? []
        func claim(_ words: String) -> Claim {
            it.claim("\(words): \(text ?? "")", .source, failed, also: records)
        }
        switch KnownError.meaning(of: text) {
        case .address?: return fault(.operator, .likely, claim("the source could not use the address"), or: [.network])
        case .nobodyThere?:
            let hasListener = it.destination.triggers[.listen]?.wasAccepted ?? false
            return hasListener
                ? fault(
                    .network, .likely, claim("the source did not reach the destination, which listened"),
                    or: [.operator])
                : fault(
                    .destination, .likely, claim("nobody listened where the source was told to connect"),
                    or: [.operator, .network])
        case .tls?: return fault(.operator, .likely, claim("TLS did not come about"), or: [.network])
        case .silent?: return fault(.network, .likely, claim("nothing came through"), or: [.destination])
        case .helper?:
            return fault(.operator, .likely, claim("the program that took the stream failed"), or: [.source])
        case .blocked?:
            return fault(.guest, .likely, claim("something in the guest cannot be migrated"), or: [.operator])
        case .loadReported?:
            let own = it.failure(.destination)
            return fault(
                .destination, .proven,
                it.claim(
                    "the destination told the source that it could not load the guest", .destination, failed, own,
                    also: records))
        case .load?, .closed?, .gone?, .busy?, nil: return nil
        }
    }

    /// An error without a text that tells, or with one that only tells of a closed stream.
    @Sendable private static func loading(_ it: AttemptCase) -> FaultAttribution? {
        guard let failed = it.failure(.destination) ?? it.destination.events[.processEnded] else { return nil }
        let text = it.destination.errorDescription
        if KnownError.meaning(of: text) == .load || KnownError.meaning(of: text) == .loadReported {
            return fault(
                .destination, .proven,
                it.claim("the destination could not load the guest: \(text ?? "")", .destination, failed))
        }
        if let completed = it.source.events[.completed], it.word == .failed {
            return fault(
                .destination, .proven,
                it.claim(
                    "the source had sent everything, and the destination failed to load it", .destination, failed,
                    completed))
        }
        let own = it.failure(.source)
        let isFirst = own.map { failed.firstSequence < $0.firstSequence } ?? true
        if isFirst {
            return fault(
                .destination, .likely,
                it.claim("the destination failed first, then the source", .destination, failed, own), or: [.network])
        }
        guard KnownError.meaning(of: it.source.errorDescription) == .closed else { return nil }
        return fault(
            .destination, .likely,
            it.claim(
                "the source found its stream closed from the other end (\(it.source.errorDescription ?? "")), "
                    + "and the destination failed with it",
                .destination, own, failed), or: [.network])
    }

    @Sendable private static func channel(_ it: AttemptCase) -> FaultAttribution? {
        let row =
            it.source.events[.channelBroken] ?? it.destination.events[.channelBroken] ?? it.failure(.source)
            ?? it.failure(.destination)
        guard let row else { return nil }
        if row.kind != .channelBroken {
            let meaning = KnownError.meaning(of: it.report.error)
            guard meaning == .closed || meaning == .silent else { return nil }
        }
        let side: Side = it.source.events.has(row.kind) ? .source : .destination
        var text = "the \(side.rawValue)'s channel broke, and neither QEMU was seen to end before that"
        if let error = it.attempt[side].errorDescription { text += ": \(error)" }
        return fault(.network, .likely, it.claim(text, side, row), or: [.source, .destination])
    }

    @Sendable private static func silent(_ it: AttemptCase) -> FaultAttribution? {
        let lost = Side.allCases.compactMap { side in it.attempt[side].events[.monitorLost].map { (side, $0) } }
            .filter { !it.attempt[$0.0].triggers.wasSent(.kill) }.min { $0.1.firstSequence < $1.1.firstSequence }
        if let (side, row) = lost {
            return fault(
                side == .source ? .source : .destination, .likely,
                it.claim(
                    "the \(side.rawValue)'s monitor was lost, and its QEMU was not seen to end", side, row,
                    also: it.log.result.map { [$0.place.record] } ?? []),
                or: [.network, .controller])
        }
        if let timeout = it.log.timeouts.first(where: { $0.side != nil }), let side = timeout.side {
            return fault(
                side == .source ? .source : .destination, .likely,
                Claim(
                    "the \(side.rawValue) did not answer: the wait '\(timeout.value)' ran out",
                    records: [timeout.place.record], side: side, time: timeout.place.time), or: [.network])
        }
        return nil
    }
}
