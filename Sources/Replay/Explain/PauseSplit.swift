import Migration

/// Finds the spans in which the guest ran nowhere, and splits them by what it waited for.
struct PauseSplit {
    /// Something within a pause after which the guest waits for something else.
    private enum Border {
        case switchover
        case preSwitchover
        case continueSent
        case sourceDone
        case destinationDone
        case runSent
        case sourceRunSent
        case givenUp
    }

    /// More than any migration has; each costs a walk over the attempt.
    static let maximumPauses = 100

    let log: AttemptLog
    let isDestinationSeen: Bool

    /// All pauses that began at the source, oldest first.
    var pauses: [GuestPause] {
        var pauses: [GuestPause] = []
        var stop: Placed<AttemptLog.Run>?
        for run in log.runs {
            switch (run.side, run.value.isRunning) {
            case (.source, false):
                // A guest that stood still before anything began has no pause by the migration.
                if stop == nil, hasBegun(run.place) { stop = run }
            case (_, true):
                guard let begun = stop else { continue }
                stop = nil
                pauses.append(pause(from: begun, to: run))
            default: break
            }
            if pauses.count >= Self.maximumPauses { break }
        }
        if let stop { pauses.append(pause(from: stop, to: nil)) }
        return pauses
    }

    /// The first sight of a source that is already stopped is no stop.
    private func hasBegun(_ place: Place) -> Bool {
        guard let migrate = log.migrate else { return true }
        return place.order > migrate.order
            && !(log.runs.last { $0.side == .source && $0.place.order < place.order }.map { !$0.value.isRunning }
                ?? false)
    }

    private func pause(from start: Placed<AttemptLog.Run>, to end: Placed<AttemptLog.Run>?) -> GuestPause {
        GuestPause(
            from: start.place.moment, to: end?.place.moment, side: end?.side,
            isExact: start.value.isEvent && (end?.value.isEvent ?? true),
            parts: end.map { parts(from: start.place, to: $0) } ?? [])
    }

    // MARK: Parts

    private func parts(from start: Place, to end: Placed<AttemptLog.Run>) -> [PausePart] {
        let isHeld = isHeld(before: start)
        let borders = borders(from: start, to: end.place)
        let sendsRun = borders.contains { if case .runSent = $0.1 { true } else { false } } || wasRunSent(before: start)
        var passed: Set<Border> = wasRunSent(before: start) ? [.runSent] : []
        var parts: [PausePart] = []
        var from = start.moment
        func add(_ to: Moment) {
            let kind = kind(passed, isHeld: isHeld, sendsRun: sendsRun, endsOn: end.side)
            // Two things at once leave nothing between them.
            guard to.time.microseconds(since: from.time) > 0 else { return }
            defer { from = to }
            if let last = parts.last, last.kind == kind {
                parts[parts.count - 1].to = to
            } else {
                parts.append(PausePart(kind: kind, from: from, to: to))
            }
        }
        for (place, border) in borders {
            add(place.moment)
            passed.insert(border)
        }
        add(end.place.moment)
        return parts
    }

    private func kind(
        _ passed: Set<Border>, isHeld: Bool, sendsRun: Bool, endsOn side: Side?
    ) -> PausePart.Kind {
        if passed.contains(.givenUp) {
            // After it completed the source does not run the guest by itself.
            guard passed.contains(.sourceDone), side == .source else { return .rollback }
            return passed.contains(.sourceRunSent) ? .resume : .awaitingSourceRun
        }
        let isDone = passed.contains(.sourceDone) || passed.contains(.destinationDone)
        if isHeld, !passed.contains(.switchover), !isDone { return .held }
        if passed.contains(.preSwitchover), !passed.contains(.continueSent), !isDone { return .awaitingContinue }
        switch (passed.contains(.sourceDone), passed.contains(.destinationDone)) {
        case (false, false): return .deviceState
        case (true, false): return isDestinationSeen ? .awaitingDestination : .unseen
        case (false, true): return .handshake
        // Without a `cont` QEMU starts the guest by itself.
        case (true, true): return passed.contains(.runSent) || !sendsRun ? .resume : .awaitingRun
        }
    }

    /// Whether a `stop` made the pause, and not the switchover.
    private func isHeld(before start: Place) -> Bool {
        let commands = log.steps.last { step in
            guard step.side == .source, step.time <= start.time, case .sent(let command, _) = step.what else {
                return false
            }
            return command == .stop || command == .cont
        }
        guard case .sent(.stop, _)? = commands?.what else { return false }
        return true
    }

    private func wasRunSent(before start: Place) -> Bool {
        log.steps.contains { step in
            guard step.side == .destination, step.sequence < start.record, case .sent(.cont, _) = step.what else {
                return false
            }
            return true
        }
    }

    private func borders(from start: Place, to end: Place) -> [(Place, Border)] {
        var borders: [(Place, Border)] = []
        let isToldBySource = log.steps.contains { step in
            guard step.side == .source, case .word(.postcopyActive, _) = step.what else { return false }
            return step.sequence > start.record && step.time >= start.time && step.time <= end.time
        }
        for step in log.steps {
            let place = Place(record: step.sequence, order: 0, time: step.time)
            guard step.time >= start.time, step.time <= end.time, let side = step.side else { continue }
            switch (side, step.what) {
            case (.source, .word(.preSwitchover, _)): borders += [(place, .switchover), (place, .preSwitchover)]
            case (.source, .word(.device, _)), (.source, .word(.postcopyDevice, _)):
                borders.append((place, .switchover))
            case (.source, .sent(.migrateContinue, _)): borders.append((place, .continueSent))
            case (.source, .word(.completed, _)), (.source, .word(.postcopyActive, _)):
                // Up to 9.2 `postcopy-active` comes before the package: it says nothing of the source being done.
                if step.sequence > start.record { borders.append((place, .sourceDone)) }
            case (.destination, .word(.completed, _)): borders.append((place, .destinationDone))
            case (.destination, .word(.postcopyActive, _)):
                borders.append((place, .destinationDone))
                // From 10.0 on the source says itself when the guest has left it, on 11.1 up to 100 ms later.
                if !isToldBySource { borders.append((place, .sourceDone)) }
            case (.source, .sent(.cont, _)): borders.append((place, .sourceRunSent))
            case (.destination, .sent(.cont, _)): borders.append((place, .runSent))
            case (_, .word(.failing, _)), (_, .word(.failed, _)), (_, .word(.cancelling, _)),
                (_, .word(.cancelled, _)), (_, .process), (.source, .sent(.migrateCancel, _)),
                (.source, .sent(.yank, _)):
                if side == .source || !hasLeft(before: step) { borders.append((place, .givenUp)) }
            default: break
            }
        }
        return borders.sorted { $0.0.time < $1.0.time }
    }

    private func hasLeft(before step: Observation) -> Bool {
        log.eventWords[.destination]?.contains(.completed) ?? false
    }
}

/// Splits the time of an attempt by published words and by passes over memory.
struct TimeSplit {
    let log: AttemptLog

    /// Spans under one published word each, oldest first, from the first word to the end, without the end itself.
    var spans: [WordSpan] {
        var spans: [WordSpan] = []
        var open: (word: PublishedWord, from: Moment)?
        for step in log.steps {
            guard case .status(let status) = step.what else { continue }
            let moment = Moment(time: step.time, record: step.sequence)
            if status.word == open?.word { continue }
            if let span = open { spans.append(WordSpan(word: span.word, from: span.from, to: moment)) }
            open = status.word == .idle || status.word.isEnd ? nil : (status.word, moment)
        }
        if let open, let last = log.last {
            spans.append(WordSpan(word: open.word, from: open.from, to: last.moment))
        }
        return spans
    }

    /// When the attempt was over, or where the recording stops.
    var end: Moment? {
        let end = log.steps.last { if case .status(let status) = $0.what { status.word.isEnd } else { false } }
        return end.map { Moment(time: $0.time, record: $0.sequence) } ?? log.last?.moment
    }

    /// The passes over memory.
    var iterations: [Iteration] {
        guard let end = memoryEnd else { return [] }
        var begins: [(number: Int64, place: Place, isExact: Bool)] = []
        let passes = log.passes.filter { $0.side == .source }
        if passes.isEmpty {
            for sample in log.samples {
                guard let number = sample.value.iteration, number > begins.last?.number ?? 0 else { continue }
                begins.append((number, sample.place, false))
            }
        } else {
            begins = passes.map { ($0.value, $0.place, true) }
        }
        begins = begins.filter { $0.place.time <= end.time }
        // Samples and passes both come by time: one walk is enough.
        var next = 0
        func samples(to time: Instant?) -> ArraySlice<Placed<MigrationSample>> {
            let first = next
            while next < log.samples.count, time.map({ log.samples[next].place.time < $0 }) ?? true { next += 1 }
            return log.samples[first..<next]
        }
        if let first = begins.first { _ = samples(to: first.place.time) }
        return begins.enumerated().map { index, begin in
            let isLast = index + 1 == begins.count
            let to = isLast ? end : begins[index + 1].place.moment
            let before = next > 0 ? log.samples[next - 1].value : nil
            return iteration(
                begin.number, begin.place.moment, to, samples(to: isLast ? nil : to.time), before: before,
                isExact: begin.isExact)
        }
    }

    /// When the last byte of memory had left: the source's end.
    private var memoryEnd: Moment? {
        let step = log.steps.last { step in
            guard step.side == .source, case .word(let word, _) = step.what else { return false }
            return word == .completed || word == .failed || word == .cancelled || word == .failing
                || word == .cancelling
        }
        return step.map { Moment(time: $0.time, record: $0.sequence) } ?? end
    }

    private func iteration(
        _ number: Int64, _ from: Moment, _ to: Moment, _ inside: ArraySlice<Placed<MigrationSample>>,
        before: MigrationSample?, isExact: Bool
    ) -> Iteration {
        let last = inside.last?.value
        var result = Iteration(number: number, from: from, to: to, isExact: isExact)
        if let now = last?.transferredBytes {
            let then = number <= 1 ? 0 : before?.transferredBytes
            result.transferredBytes = then.flatMap { then in
                let (sent, overflow) = now.subtractingReportingOverflow(then)
                return overflow ? nil : max(sent, 0)
            }
        }
        result.remainingBytes = last?.remainingBytes
        result.bytesPerSecond = inside.last { $0.value.megabitsPerSecond ?? 0 > 0 }?.value.bytesPerSecond
        result.dirtyBytesPerSecond = inside.last { $0.value.dirtyPagesPerSecond ?? 0 > 0 }?.value.dirtyBytesPerSecond
        result.throttlePercentage = inside.compactMap(\.value.throttlePercentage).max()
        let limit = log.parameters.last { $0.value.name == "downtime-limit" && $0.place.time <= to.time }
        if case .integer(let milliseconds)? = limit?.value.value { result.downtimeLimitMilliseconds = milliseconds }
        return result
    }
}

extension MigrationSample {
    /// Throughput in bytes each second.
    var bytesPerSecond: Double? { megabitsPerSecond.flatMap { $0.isFinite && $0 >= 0 ? $0 * 125_000 : nil } }

    /// What the guest dirties each second, in bytes.
    var dirtyBytesPerSecond: Double? {
        guard let pages = dirtyPagesPerSecond, pages >= 0 else { return nil }
        return Double(pages) * Double(pageBytes ?? 4096)
    }
}
