import Migration

extension Explanation {
    /// A page for a person, without the last line feed.
    ///
    /// Times count from the attempt's `migrate`. Nothing that came from a peer can steer a terminal.
    ///
    /// - Parameter attempt: Only that attempt, from 1; `nil` for all.
    public func text(attempt: Int? = nil) -> String {
        var page = TextPage()
        page.line(title.map { "\(trace): \($0)" } ?? trace)
        if let recorder { page.line("recorded by \(recorder), \(Measure.count(records, "record", "records"))") }
        for warning in warnings { page.line("warning: \(warning)") }
        if attempts.isEmpty { page.line("No attempt: nobody asked for a migration, and none was seen.") }
        for explained in attempts where attempt == nil || explained.number == attempt {
            page.blank()
            if attempts.count > 1 {
                page.line("Attempt \(explained.number) of \(attempts.count)")
                page.blank()
            }
            explained.write(to: &page)
        }
        return page.text
    }
}

extension AttemptExplanation {
    fileprivate func write(to page: inout TextPage) {
        page.line("\(verdict.text).\(references(verdict))")
        page.line(faultLine)
        section("Asked", asked, to: &page, timed: false)
        section("What happened", happened, to: &page, timed: true)
        section(isOver ? "Why it ended so" : "Why it stands so", why, to: &page, timed: false)
        writePause(to: &page)
        writeTime(to: &page)
        section("Unusual", anomalies, to: &page, timed: false)
        section("What to try next", advice, to: &page, timed: false)
        if !gaps.isEmpty {
            page.heading("What this recording does not tell")
            for gap in gaps {
                page.item("\(gap.what)")
                page.more("would tell: \(gap.remedy)")
            }
        }
    }

    private var faultLine: String {
        let who: String
        switch (fault.party, fault.certainty) {
        case (let party?, .proven): who = "Whose doing: the \(party.rawValue)"
        case (let party?, _): who = "Whose doing: most likely the \(party.rawValue)"
        case (nil, .proven): who = "Whose doing: nobody's"
        case (nil, _): who = "Whose doing: the records do not tell"
        }
        return "\(who); \(fault.because.text).\(references(fault.because))"
    }

    private func section(_ title: String, _ claims: [Claim], to page: inout TextPage, timed: Bool) {
        guard !claims.isEmpty else { return }
        page.heading(title)
        for claim in claims {
            let side = claim.side.map { "\($0.rawValue): " } ?? ""
            let stays = claim.side.map { claim.text.contains($0.rawValue) } ?? true
            let text = "\(stays ? "" : side)\(claim.text)\(references(claim))"
            if timed, let time = claim.time { page.timed(offset(time), text) } else { page.item(text) }
        }
    }

    private func references(_ claim: Claim) -> String {
        guard !claim.records.isEmpty else { return "" }
        let shown = claim.records.prefix(6).map(String.init).joined(separator: ", ")
        return " [\(shown)\(claim.records.count > 6 ? ", ..." : "")]"
    }

    /// A time since `migrate`, with its sign.
    private func offset(_ time: Instant) -> String {
        let (difference, overflow) = time.microseconds.subtractingReportingOverflow(start.microseconds)
        return overflow ? "?" : Measure.decimal(Double(difference) / 1e6, 3)
    }

    // MARK: Tables

    private func writePause(to page: inout TextPage) {
        guard !pauses.isEmpty else { return }
        page.heading("Where the guest's pause went")
        for pause in pauses.suffix(5) {
            guard let long = pause.microseconds else {
                page.item(
                    "from \(offset(pause.from.time)) s on the guest was not seen to run again [\(pause.from.record)]")
                continue
            }
            let place = pause.side.map { " on the \($0.rawValue)" } ?? ""
            var total =
                "from \(offset(pause.from.time)) s for \(Measure.span(long)), until it ran\(place) "
                + "[\(pause.from.record), \(pause.to?.record ?? 0)]"
            if !pause.isExact { total += ", as far as queries tell" }
            page.item(total)
            for part in pause.parts {
                page.row(
                    [Measure.span(part.microseconds), Measure.percent(part.microseconds, of: long), part.kind.title],
                    "[\(part.from.record) to \(part.to.record)]")
            }
        }
        if let downtimeMilliseconds {
            page.item(
                "by QEMU's own count \(downtimeMilliseconds) ms: from the source's stop to its completion, "
                    + "without what came after"
            )
        }
    }

    private func writeTime(to page: inout TextPage) {
        guard !spans.isEmpty else { return }
        page.heading("Where the time went")
        if let totalMicroseconds {
            let qemu = totalMilliseconds.map { ", by QEMU's own count \($0) ms" } ?? ""
            page.item("\(Measure.span(totalMicroseconds)) from migrate to the end\(qemu)")
        }
        for span in spans {
            page.row(
                [Measure.span(span.microseconds), span.word.rawValue], "[\(span.from.record) to \(span.to.record)]")
        }
        guard
            iterations.contains(where: { $0.bytesPerSecond != nil || $0.transferredBytes != nil })
                || iterations.count > 2
        else { return }
        page.blank()
        page.raw("  pass      begins        took         sent        left      sent at  dirtied at")
        let shown = iterations.count <= 24 ? iterations : Array(iterations.prefix(12) + iterations.suffix(12))
        for (index, pass) in shown.enumerated() {
            if iterations.count > 24, index == 12 { page.raw("   ...") }
            page.raw(row(pass))
        }
    }

    private func row(_ pass: Iteration) -> String {
        func cell(_ text: String?, _ width: Int) -> String { TextPage.padded(text ?? "-", width) }
        var line = cell(String(pass.number), 6) + cell("\(offset(pass.from.time)) s", 12)
        line += cell(Measure.span(pass.microseconds), 12) + cell(pass.transferredBytes.map { Measure.bytes($0) }, 13)
        line += cell(pass.remainingBytes.map { Measure.bytes($0) }, 12)
        line += cell(pass.bytesPerSecond.map(Measure.rate), 13) + cell(pass.dirtyBytesPerSecond.map(Measure.rate), 12)
        if let throttle = pass.throttlePercentage { line += "  throttled \(throttle) %" }
        return line
    }
}

extension Measure {
    /// A share as whole percent.
    static func percent(_ part: Int64, of whole: Int64) -> String {
        guard whole > 0 else { return "" }
        return "\(decimal(Double(part) * 100 / Double(whole), 0)) %"
    }
}
