import Migration
import Testing

/// The rows of failed against cancelled once more, as every generation of QEMU tells them: the cancel leaves at every
/// moment, and every event that can be missed is missed.
@Suite struct FailedVersusCancelOrderTests {
    /// What one generation of QEMU says when an attempt ends by an error, by a cancel, or not at all.
    struct Generation: CustomTestStringConvertible {
        var testDescription: String
        var endings: [[Line]]
    }

    private static let stop = Line.event(.stop)
    private static let resume = Line.event(.resume)

    static let generations: [Generation] = [
        Generation(
            testDescription: "up to 9.2",
            endings: [
                [.word(.failed)], [stop, .word(.failed), resume], [.word(.cancelling), .word(.cancelled)],
                [stop, .word(.cancelling), resume, .word(.cancelled)], [.word(.cancelling), .word(.failed)],
                [stop, .word(.completed)], [.word(.cancelling), .word(.completed)],
            ]),
        Generation(
            testDescription: "10.0 to 11.0",
            endings: [
                [.word(.failed)], [stop, .word(.device), .word(.failed), resume],
                [.word(.cancelling), .word(.cancelled)],
                [stop, .word(.preSwitchover), .word(.cancelling), resume, .word(.cancelled)],
                [stop, .word(.device), .word(.cancelling), resume, .word(.cancelled)],
                [stop, .word(.device), .word(.completed)],
                [stop, .word(.device), .word(.cancelling), .word(.completed)],
            ]),
        Generation(
            testDescription: "from 11.1",
            endings: [
                [.word(.failing), .word(.failed)], [stop, .word(.device), .word(.failing), resume, .word(.failed)],
                [.word(.failing), .word(.failing), .word(.failed)],
                [.word(.failing), .word(.cancelling), .word(.cancelled)],
                [.word(.cancelling), .word(.cancelled)],
                [stop, .word(.preSwitchover), .word(.cancelling), resume, .word(.cancelled)],
                [stop, .word(.device), .word(.completed)],
            ]),
    ]

    private static let begin: [Line] = [
        .monitor(.connected), .state(.running), .send(migrate), .word(.setup), .accept(migrate), .word(.active),
    ]

    /// What the specification says of a story, by nothing but the order in which things were noted.
    private func expected(_ lines: [Line]) -> (stage: Stage, cancel: CancelOutcome) {
        func first(_ words: StatusWord...) -> Int? {
            lines.firstIndex { line in
                switch line {
                case .word(let word), .look(.some(let word)): words.contains(word)
                default: false
                }
            }
        }
        let cancel = lines.firstIndex(of: .send(.migrateCancel))
        let error = first(.failing, .failed)
        if first(.completed) != nil { return (.completed, cancel == nil ? .none : .tooLate) }
        let isOver = first(.failed, .cancelled) != nil
        guard let cancel else {
            // Somebody else's: known by `cancelling` only after the error, else QEMU's last word decides.
            if first(.cancelled) != nil {
                let isLate = error.map { $0 < first(.cancelling, .cancelled) ?? .max } ?? false
                return (.ended(isLate ? .failed : .cancelled), .none)
            }
            if isOver { return (.ended(.failed), .none) }
            if let cancelling = first(.cancelling) {
                return (.stopping((error ?? .max) < cancelling ? .failed : .cancelled), .none)
            }
            return error == nil ? (Evidence(.source, lines).stage, .none) : (.stopping(.failed), .none)
        }
        let isFailure = error.map { $0 < cancel } ?? false
        let ending: Ending = isFailure ? .failed : .cancelled
        return (isOver ? .ended(ending) : .stopping(ending), isFailure ? .late : .honoured)
    }

    private func check(_ lines: [Line], _ comment: String) {
        let evidence = Evidence(.source, lines)
        let (stage, cancel) = expected(lines)
        let report = evidence.report
        #expect(evidence.stage == stage, "\(comment): \(lines)")
        #expect(report.cancel == cancel, "\(comment): \(lines)")
        // Both kinds of evidence are kept, whichever decides.
        let reasons = evidence.position.reasons.map(\.what).joined(separator: "\n")
        for line in lines {
            if case .word(let word) = line {
                #expect(evidence.events.has(EventKind(word: word)), "\(comment): \(lines)")
            }
        }
        if lines.contains(.send(.migrateCancel)), lines.contains(.word(.failed)), stage != .completed {
            #expect(reasons.contains("cancel") && reasons.contains("failed"), "\(lines)")
        }
    }

    @Test(arguments: generations) func theCancelAtEveryMoment(of generation: Generation) {
        for ending in generation.endings {
            check(Self.begin + ending, generation.testDescription)
            for moment in 0...ending.count {
                var lines = ending
                lines.insert(.send(.migrateCancel), at: moment)
                check(Self.begin + lines, generation.testDescription)
                // Its answer comes when it likes, or not at all.
                for answer in [Line.accept(.migrateCancel), .unanswered(.migrateCancel)] {
                    for place in (moment + 1)...lines.count {
                        var answered = lines
                        answered.insert(answer, at: place)
                        check(Self.begin + answered, generation.testDescription)
                    }
                }
            }
        }
    }

    /// Each event missed, and any set of them; a query tells the last word at the end.
    @Test(arguments: generations) func everyEventMissed(of generation: Generation) throws {
        for ending in generation.endings {
            var last: StatusWord?
            for case .word(let word) in ending { last = word }
            let end = try #require(last)
            for moment in 0...ending.count {
                for missed in 0..<(1 << ending.count) {
                    var lines: [Line] = []
                    for (index, line) in ending.enumerated() {
                        if index == moment { lines.append(.send(.migrateCancel)) }
                        if missed & (1 << index) == 0 { lines.append(line) }
                    }
                    if moment == ending.count { lines.append(.send(.migrateCancel)) }
                    check(Self.begin + lines + [.send(.queryMigrate), .look(end)], generation.testDescription)
                    check(Self.begin + lines, generation.testDescription)
                }
            }
        }
    }

    /// One and the same record shows both, as after a restart: neither is first. QEMU's last word decides; without one
    /// it counts as cancelled.
    @Test func neitherIsFirst() {
        func together(_ words: [StatusWord]) -> Evidence {
            var evidence = Evidence(.source, Self.begin)
            evidence.take(.send(.migrateCancel), 50)
            for word in words { evidence.take(.word(word), 50) }
            return evidence
        }
        let rows: [([StatusWord], Stage, CancelOutcome)] = [
            ([.failed], .ended(.failed), .late), ([.failing, .failed], .ended(.failed), .late),
            ([.cancelled], .ended(.cancelled), .honoured), ([.failing, .cancelled], .ended(.cancelled), .honoured),
            ([.failing, .cancelling, .cancelled], .ended(.cancelled), .honoured),
            ([.failing], .stopping(.cancelled), .honoured), ([.cancelling], .stopping(.cancelled), .honoured),
            ([.failing, .completed], .completed, .tooLate),
        ]
        for (words, stage, cancel) in rows {
            let evidence = together(words)
            #expect(evidence.stage == stage, "\(words)")
            #expect(evidence.report.cancel == cancel, "\(words)")
            #expect(words.allSatisfy { evidence.events.has(EventKind(word: $0)) })
        }
    }

    /// The other side's failure counts like QEMU's own word, where whoever sees both has told.
    @Test func theOtherSidesFailureIsEvidenceToo() {
        for (failure, ending) in [(4, Ending.failed), (90, .cancelled)] {
            var evidence = Evidence(.source, Self.begin + [.send(.migrateCancel)])
            evidence.note(otherSideFailed: failure)
            evidence.take(.word(.cancelled), 100)
            #expect(evidence.stage == .ended(ending))
            evidence.note(otherSideFailed: 95)
            #expect(evidence.stage == .ended(ending), "the first sign counts")
        }
    }

    /// A cancel while QEMU tidies up changes nothing of what it was: an error.
    @Test func theCancelDuringCleanup() {
        let cleaning = Self.begin + [.word(.failed), .send(.queryYank), .yankInstances(true)]
        for late in [[Line.send(.migrateCancel), .accept(.migrateCancel)], [.send(.yank)], [.request(.cancel)]] {
            let evidence = Evidence(.source, cleaning + late + [.yankInstances(false), .state(.running)])
            #expect(evidence.stage == .ended(.failed))
            #expect(evidence.isCleaned)
        }
    }
}
