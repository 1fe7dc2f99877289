import Migration

/// What happened in an attempt, as a short list: the turns, not the talk.
struct Chronicle {
    let it: AttemptCase
    let start: Instant

    /// So many lines a person still reads; the middle of more is left out.
    static let maximumClaims = 36

    var claims: [Claim] {
        var claims: [Claim] = []
        var copying: Copying?
        for step in it.log.steps {
            if case .status(let status) = step.what {
                // Where memory moved is told with its numbers.
                if status.word == .copying, copying == nil { copying = Copying(from: step) }
                if status.word != .copying, let begun = copying {
                    claims.append(begun.claim(to: step, it.log))
                    copying = nil
                }
            }
            guard let text = Self.text(step) else { continue }
            claims.append(Claim(text, records: [step.sequence], side: step.side, time: step.time))
        }
        return Self.shortened(
            claims.sorted { ($0.time ?? Instant(microseconds: 0)) < ($1.time ?? Instant(microseconds: 0)) })
    }

    /// A stretch of copying.
    private struct Copying {
        var from: Observation

        func claim(to: Observation, _ log: AttemptLog) -> Claim {
            let inside = log.samples.filter { $0.place.time >= from.time && $0.place.time <= to.time }
            let passes = log.passes.filter {
                $0.side == .source && $0.place.time >= from.time && $0.place.time <= to.time
            }
            var text = "memory was copied for \(Measure.span(to.time.microseconds(since: from.time)))"
            if let last = passes.last { text += ", to pass \(last.value)" }
            if let sample = inside.last?.value {
                if let sent = sample.transferredBytes { text += ", \(Measure.bytes(sent)) sent" }
                if let left = sample.remainingBytes { text += ", \(Measure.bytes(left)) left" }
            }
            return Claim(
                text, records: [from.sequence, to.sequence], side: .source, time: to.time)
        }
    }

    private static func shortened(_ claims: [Claim]) -> [Claim] {
        guard claims.count > maximumClaims else { return claims }
        let half = maximumClaims / 2
        let omitted = claims.count - 2 * half
        return claims.prefix(half) + [Claim("(\(omitted) more, see godwit replay)")] + claims.suffix(half)
    }

    private static func text(_ step: Observation) -> String? {
        let side = step.side?.rawValue ?? "it"
        switch step.what {
        case .sent(let command, _):
            switch command {
            case .migrate(let uri, false): return "migrate \(uri) was sent"
            case .migrate(let uri, true): return "migrate with resume \(uri) was sent"
            case .migrateIncoming, .setCapabilities, .setParameters: return nil
            default:
                return command.trigger == nil
                    ? nil : "\(command.name) was sent" + (command.argument.map { " (\($0))" } ?? "")
            }
        case .refused(let command, let text): return "\(command.name) was refused: \(text)"
        case .word(let word, let source):
            return "the \(side) said \(word)" + (source == .query ? ", when asked" : "")
        case .event(.stop): return "STOP: the guest stands still"
        case .event(.resume): return "RESUME: the guest runs"
        case .event(.shutdown(let byGuest, let reason)):
            return byGuest
                ? "SHUTDOWN: the guest shut itself down (\(reason))"
                : "SHUTDOWN: QEMU was ended from outside (\(reason))"
        case .event(.reset): return "RESET: the guest was reset"
        case .event(.guestFault(let name)): return "\(name): trouble in the guest"
        case .event(.unplugPrimary(let device)): return "UNPLUG_PRIMARY: the guest shall release \(device)"
        case .process(let end): return "the process \(end)"
        case .monitor(.lost): return "the monitor connection was lost"
        case .monitor(.busy): return "the monitor was busy with another client"
        case .error(let text): return "QEMU told the error: \(text)"
        case .note(let text) where isTold(text): return text
        default: return nil
        }
    }

    /// Notes about single steps are talk; what a recorder marked and what cannot be taken back is not.
    private static func isTold(_ text: String) -> Bool {
        !(text.hasSuffix(" is entered") || text.hasSuffix(" is answered") || text.contains(" asks: "))
    }
}
