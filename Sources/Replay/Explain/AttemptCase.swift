import JSONC
import Migration

/// One attempt with everything that is known of it, as the rules of the explanation read it.
struct AttemptCase {
    let attempt: ObservedAttempt
    let log: AttemptLog
    let report: AttemptReport
    /// Whether the commands are Godwit's own.
    let isOurs: Bool
    /// What records are called, by their order.
    let names: Observer

    var source: Evidence { attempt.source }
    var destination: Evidence { attempt.destination }

    /// The end, or the last status where there was none: the recorder's own where nothing ever reached QEMU.
    var word: PublishedWord {
        if !attempt.isOpened, let own = log.result?.value["outcome"]?.string.flatMap(PublishedWord.init(rawValue:)) {
            return own
        }
        return report.status.word
    }

    /// Whether it came to an end, or to the rest from which only a person can move it.
    var isOver: Bool { word.isEnd || word == .postcopyPaused }

    /// Where its times count from.
    var start: Instant { log.migrate?.time ?? log.first?.time ?? Instant(microseconds: 0) }

    func saw(_ side: Side) -> Bool { attempt.seen.contains(side) }

    func record(_ order: Int?) -> Int { order.map { names.name(of: $0) } ?? 0 }

    /// A sentence about something that was observed.
    func claim(_ text: String, _ side: Side?, _ rows: EventRow?..., also records: [Int] = []) -> Claim {
        let shown = rows.compactMap(\.self)
        return Claim(
            text, records: (shown.map { record($0.firstSequence) } + records).sorted(), side: side,
            time: shown.first?.firstTime)
    }

    /// The first word of an error on a side.
    func failure(_ side: Side) -> EventRow? { attempt[side].events.earliest(.failing, .failed) }

    /// The end of a QEMU.
    func end(_ side: Side) -> EventRow? { attempt[side].events[.processEnded] }

    /// How a QEMU ended, with the reason that a mark near it tells.
    func ending(_ side: Side) -> (text: String, records: [Int])? {
        guard let row = end(side), let end = attempt[side].processEnd else { return nil }
        let place = Place(record: record(row.firstSequence), order: row.firstSequence, time: row.firstTime)
        var text = "\(end)"
        var records = [place.record]
        if let mark = log.mark(side, before: place) {
            text += "; the recording notes '\(mark.value)'"
            records.append(mark.place.record)
        }
        return (text, records.sorted())
    }

    /// Who wanted something that was sent, as far as it can be told.
    func origin(of kind: TriggerKind, _ side: Side) -> (party: Party, certainty: Certainty, words: String)? {
        guard let row = attempt[side].triggers[kind] else { return nil }
        switch row.origin {
        case .operator: return (.operator, .proven, "an operator asked for it")
        case .peer: return (.controller, .proven, "the other party of the steps asked for it")
        case .policy: return (.policy, .proven, "a policy asked for it")
        case .controller:
            if let timeout = log.timeouts.last(where: { $0.place.order <= row.firstSequence }) {
                return (.policy, .proven, "the wait '\(timeout.value)' had run out")
            }
            return (.controller, .proven, "Godwit sent it on its own account")
        case .external:
            return row.wasSent
                ? (.operator, .likely, "whoever drove the migration sent it, on whose wish is not recorded")
                : (.operator, .likely, "somebody who is not in the recording did it")
        }
    }

    /// Who else that can have been, where only the sender is known.
    func alternatives(to certainty: Certainty) -> [Party] { certainty == .proven ? [] : [.policy, .controller] }

    /// A capability that is on at one side only and has to be on at both.
    var unpairedCapability: (name: String, side: Side, record: Int)? {
        for name in KnownError.pairedCapabilities {
            let source = log.capability(name, .source)
            let destination = log.capability(name, .destination)
            let isOn = (source?.value ?? false, destination?.value ?? false)
            guard isOn.0 != isOn.1, saw(.source), saw(.destination) else { continue }
            let side: Side = isOn.0 ? .source : .destination
            return (name, side, (isOn.0 ? source : destination)?.place.record ?? 0)
        }
        return nil
    }

    /// The guest's last pause in the attempt.
    var pause: GuestPause? { pauses.last }

    var pauses: [GuestPause] { PauseSplit(log: log, isDestinationSeen: saw(.destination)).pauses }
}
