import Migration

/// What to try next, each from a fact of the record.
enum Advice {
    static func list(_ it: AttemptCase, _ fault: FaultAttribution, _ iterations: [Iteration]) -> [Claim] {
        ending(it, fault) + settings(it) + convergence(it, iterations) + pause(it)
    }

    // MARK: By the end

    private static func ending(_ it: AttemptCase, _ fault: FaultAttribution) -> [Claim] {
        switch it.word {
        case .failed: return failed(it, fault)
        case .undecided:
            return [
                Claim(
                    "Find out by hand whether the destination's QEMU exists and what its query-status says. If "
                        + "it runs the guest, quit the source; if it never ran it, end it, see its process "
                        + "gone, then cont the source. Never let both run",
                    records: fault.because.records)
            ]
        case .lost:
            return [
                Claim(
                    "The guest has to be started anew from its disks"
                        + (it.source.events.has(.postcopyActive)
                            ? "; in post-copy either QEMU's end loses it, so use pre-copy where that is not acceptable"
                            : ""),
                    records: fault.because.records)
            ]
        case .postcopyPaused: return recovery(it)
        case .cancelled, .ended, .completed: return stopped(it)
        default: return []
        }
    }

    private static func failed(_ it: AttemptCase, _ fault: FaultAttribution) -> [Claim] {
        var claims: [Claim] = []
        let records = fault.because.records
        if let unpaired = it.unpairedCapability {
            claims.append(
                Claim("Set \(unpaired.name) on both sides before migrate-incoming", records: [unpaired.record]))
        }
        if it.log.stepErrors.contains(where: { $0.value.text.contains("not made like") }) {
            return [Claim("Start the destination with what is named there made like the source's", records: records)]
        }
        switch (fault.party, KnownError.meaning(of: it.report.error)) {
        case (_, .tls?):
            claims.append(
                Claim(
                    "Compare the destination's certificate with tls-hostname, and the credentials of both sides",
                    records: records))
        case (_, .address?):
            claims.append(
                Claim("Correct the address: tcp:HOST:PORT or unix:PATH, and give it to both sides", records: records))
        case (_, .nobodyThere?):
            claims.append(
                Claim(
                    "Send migrate-incoming to the destination first, and migrate to the address that its "
                        + "query-migrate names (socket-address)",
                    records: records))
        case (_, .gone?):
            claims.append(
                Claim(
                    "This guest was sent away before and stands still here: it runs elsewhere, or cont has to "
                        + "start it here first",
                    records: records))
        case (_, .blocked?):
            claims.append(
                Claim(
                    "Ask query-migrate for blocked-reasons, and unplug or replace what is named there", records: records
                ))
        case (.destination?, _):
            if isKilled(it.destination.processEnd), it.failure(.destination) == nil {
                claims.append(
                    Claim(
                        "Look for what ended the destination's QEMU: the kernel's log (out of memory), the "
                            + "host's shutdown, its manager",
                        records: records))
            } else if it.unpairedCapability == nil {
                claims.append(
                    Claim(
                        "Read the destination's standard error: QEMU names there what it could not load. "
                            + "Compare machine type, memory size and devices of both command lines",
                        records: records))
            }
        case (.network?, _):
            claims.append(
                Claim(
                    "Check the path between the hosts (MTU, firewall, idle timeouts), then try again: the "
                        + "source runs the guest",
                    records: records))
        default: break
        }
        if let run = it.source.isRunning, !run, it.source.wasRunning == true, it.end(.source) == nil {
            claims.append(
                Claim(
                    "The guest ran on the source before and was not seen to run there again: ask its query-status",
                    records: records))
        }
        return claims
    }

    /// Whether a process did not end by itself, as far as that was seen.
    private static func isKilled(_ end: ProcessEnd?) -> Bool {
        switch end {
        case .signalled?, .gone?: true
        case .exited?, nil: false
        }
    }

    private static func recovery(_ it: AttemptCase) -> [Claim] {
        let broken = it.source.events[.channelBroken] ?? it.destination.events[.channelBroken]
        let record = it.record(broken?.firstSequence)
        var claims = [
            Claim(
                "Recover: migrate-recover with a new address on the destination, then migrate with resume on "
                    + "the source, over the monitor connections that are still open",
                records: [record])
        ]
        if let version = it.destination.version, version < QEMUVersion(8, 0) {
            claims.append(
                Claim(
                    "On QEMU \(version) do not cut the new channel while the destination says postcopy-recover: "
                        + "it was seen to kill that QEMU",
                    records: [record]))
        }
        return claims
    }

    private static func stopped(_ it: AttemptCase) -> [Claim] {
        guard it.word == .cancelled, let pause = it.pauses.last, let long = pause.microseconds, long > 1_000_000,
            it.source.events.has(.device) || it.source.events.has(.preSwitchover)
        else { return [] }
        return [
            Claim(
                "The guest stood still for \(Measure.span(long)) before the cancel was through. Bound the "
                    + "switchover: --timeout, or a yank when the destination takes nothing",
                records: [pause.from.record, pause.to?.record ?? 0])
        ]
    }

    // MARK: By what was set

    private static func settings(_ it: AttemptCase) -> [Claim] {
        guard it.saw(.source), it.log.migrate != nil else { return [] }
        var claims: [Claim] = []
        for side in Side.allCases where it.saw(side) {
            let isOn = it.log.capability("events", side)
            if !(isOn?.value ?? false), it.log.eventWords[side]?.subtracting([.setup]).isEmpty ?? true,
                !it.attempt[side].words.isEmpty
            {
                claims.append(
                    Claim(
                        "Switch the capability events on at the \(side.rawValue): without it QEMU says nothing "
                            + "by itself, and a switchover is seen only by the next query",
                        records: [isOn?.place.record ?? 0], side: side))
            }
        }
        if it.word == .failed, it.source.events.has(.completed), !it.destination.events.has(.completed),
            !(it.log.capability("return-path", .source)?.value ?? false)
        {
            claims.append(
                Claim(
                    "Switch return-path on at the source: then it does not complete before the destination has "
                        + "loaded, and runs the guest again by itself when that fails",
                    records: [it.record(it.source.events[.completed]?.firstSequence)], side: .source))
        }
        if it.destination.events.has(.ran), !it.destination.triggers.wasSent(.run),
            it.destination.triggers.wasSent(.listen) || it.destination.events.has(.completed)
        {
            claims.append(
                Claim(
                    "Start the destination with -S and send cont when both sides have completed: a destination "
                        + "that starts by itself can run together with a source that gave up late",
                    records: [it.record(it.destination.events[.ran]?.firstSequence)], side: .destination))
        }
        return claims
    }

    // MARK: By the numbers

    private static func convergence(_ it: AttemptCase, _ iterations: [Iteration]) -> [Claim] {
        guard it.word != .lost,
            let last = iterations.last(where: { $0.bytesPerSecond != nil && $0.dirtyBytesPerSecond != nil }),
            let rate = last.bytesPerSecond, let dirty = last.dirtyBytesPerSecond, dirty > rate * 0.8,
            iterations.count >= 4
        else { return [] }
        let records = [last.from.record, last.to.record]
        var tips: [String] = []
        if let limit = it.log.parameter("max-bandwidth"), case .integer(let bytes) = limit.value.value, bytes > 0,
            Double(bytes) < rate * 1.3
        {
            tips.append("raise max-bandwidth, which is \(Measure.rate(Double(bytes)))")
        }
        if !(it.log.capability("auto-converge", .source)?.value ?? false) { tips.append("switch auto-converge on") }
        if !(it.log.capability("postcopy-ram", .source)?.value ?? false) { tips.append("allow post-copy") }
        tips.append("allow a longer pause (downtime-limit)")
        return [
            Claim(
                "The guest dirtied \(Measure.rate(dirty)) while \(Measure.rate(rate)) went over, in pass "
                    + "\(last.number) of \(iterations.count): it hardly converges. "
                    + tips.joined(separator: "; or ").capitalizedFirst, records: records)
        ]
    }

    private static func pause(_ it: AttemptCase) -> [Claim] {
        guard it.word == .completed, let pause = it.pauses.last, let long = pause.microseconds, long > 0 else {
            return []
        }
        var claims: [Claim] = []
        let own = pause.microseconds(of: .awaitingContinue) &+ pause.microseconds(of: .awaitingRun)
        if own > 20_000, own > long / 5 {
            claims.append(
                Claim(
                    "\(Measure.span(own)) of the pause are the controller's: it should act on the events "
                        + "pre-switchover and completed, not on a clock",
                    records: pause.parts.filter { $0.kind == .awaitingContinue || $0.kind == .awaitingRun }.map(
                        \.from.record)))
        }
        let waiting = pause.microseconds(of: .awaitingDestination)
        let isFile = ["exec:", "file:", "fd:"].contains {
            it.source.triggers[.migrate]?.argument?.hasPrefix($0) ?? false
        }
        if waiting > 50_000, waiting > long / 2, !isFile {
            claims.append(
                Claim(
                    "\(Measure.span(waiting)) of the pause the source was done and the destination still "
                        + "loaded: look at the destination's host (memory, CPU, storage of its block devices)",
                    records: pause.parts.filter { $0.kind == .awaitingDestination }.map(\.from.record)))
        }
        if case .integer(let limit)? = it.log.parameter("downtime-limit")?.value.value,
            pause.microseconds(of: .deviceState) / 2000 > max(limit, 1),
            pause.microseconds(of: .deviceState) > 20_000
        {
            claims.append(
                Claim(
                    "Device state and last pages took \(Measure.span(pause.microseconds(of: .deviceState))), "
                        + "downtime-limit is \(limit) ms: that limit counts memory only. Many or large devices "
                        + "need time of their own",
                    records: pause.parts.filter { $0.kind == .deviceState }.map(\.from.record)))
        }
        return claims
    }
}

extension String {
    /// With a capital letter at the front.
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
