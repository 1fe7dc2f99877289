import Migration
import Testing

@testable import ModelChecking

/// The abstract QEMUs against the table of what real ones do.
@Suite struct AbstractPairTests {
    private struct Move: Hashable, CustomStringConvertible {
        var side: Side
        var from: StatusWord
        var to: StatusWord

        var description: String { "\(side.rawValue) \(from) → \(to)" }
    }

    private static let commands: [(Side, Command, outOfBand: Bool)] = [
        (
            .source, .setCapabilities([CapabilitySetting("events", true), CapabilitySetting("return-path", true)]),
            false
        ),
        (.source, .setCapabilities([CapabilitySetting("pause-before-switchover", true)]), false),
        (.source, .setCapabilities([CapabilitySetting("postcopy-ram", true)]), false),
        (.destination, .stop, false), (.destination, .migrateIncoming(uri: "tcp:a:0", exitOnError: false), false),
        (.source, .migrate(uri: "tcp:a:0", resume: false), false), (.source, .startPostcopy, false),
        (.source, .migrateContinue(state: "pre-switchover"), false), (.source, .migrateCancel, false),
        (.source, .migratePause, true), (.destination, .migrateRecover(uri: "tcp:a:0"), true),
        (.source, .migrate(uri: "tcp:a:0", resume: true), false), (.destination, .cont, false),
    ]

    /// Everything that the pair does when anybody says anything at any time.
    private func explore(_ profile: QEMUProfile) -> (moves: Set<Move>, pairs: Set<AbstractPair>) {
        var seen: Set<AbstractPair> = []
        var open = [AbstractPair(profile)]
        var moves: Set<Move> = []
        while let pair = open.popLast() {
            guard seen.count < 60_000, seen.insert(pair).inserted else { continue }
            var next = pair.moves([.streamBreaks, .loadFails]).map(\.pair)
            for (side, command, outOfBand) in Self.commands {
                var told = pair
                _ = told.receive(command, on: side, outOfBand: outOfBand)
                next.append(told)
            }
            for after in next {
                for side in Side.allCases where pair[side].word != after[side].word && after[side].life != .dead {
                    moves.insert(
                        Move(side: side, from: pair[side].word ?? .none, to: after[side].word ?? .none))
                }
            }
            open += next
        }
        return (moves, seen)
    }

    @Test(arguments: ["7.2", "10.0", "10.2", "11.1"]) func wordsMoveOnlyAlongTheTable(name: String) throws {
        let profile = try #require(QEMUProfile.byName.first { $0.name == name }?.profile)
        let (moves, _) = explore(profile)
        #expect(moves.count > 15)
        for move in moves.sorted(by: { "\($0)" < "\($1)" }) {
            #expect(profile.allows(move.side, move.from, move.to), "\(move) in \(name)")
        }
    }

    @Test func newestOnesMakeTheMovesThatTheyAreKnownFor() throws {
        let (moves, pairs) = explore(QEMUProfile(QEMUVersion(11, 1)))
        for (from, to) in [
            (StatusWord.active, StatusWord.failing), (.failing, .failed), (.failing, .cancelling),
            (.device, .cancelling), (.device, .completed), (.preSwitchover, .device),
        ] {
            #expect(moves.contains(Move(side: .source, from: from, to: to)), "\(from) → \(to)")
        }
        // The pair alone, with somebody who says anything, does run both: that is what has to be prevented.
        #expect(pairs.contains { $0.source.isRunning && $0.destination.isRunning })
    }

    @Test func contInInmigrateAnswersAndRunsNothing() {
        var pair = AbstractPair(QEMUProfile(QEMUVersion(10, 2)))
        _ = pair.receive(.stop, on: .destination, outOfBand: false)
        let sayings = pair.receive(.cont, on: .destination, outOfBand: false)
        #expect(sayings == [Saying(side: .destination, fact: .reply(.cont, .done))])
        #expect(!pair.destination.isRunning)
    }

    @Test func cancelInPostcopyIsRefusedSince10AndDestroysBefore() {
        for (version, isRefused) in [(QEMUVersion(7, 2), false), (QEMUVersion(10, 0), true)] {
            var pair = AbstractPair(QEMUProfile(version))
            pair.source.word = .postcopyActive
            let sayings = pair.receive(.migrateCancel, on: .source, outOfBand: false)
            #expect(pair.wasDestroyed == !isRefused)
            let refused = sayings.contains {
                if case .reply(.migrateCancel, .refused) = $0.fact { true } else { false }
            }
            #expect(refused == isRefused)
        }
    }

    @Test func commandsWaitWhileDeviceStateIsWritten() {
        var pair = AbstractPair(QEMUProfile(QEMUVersion(10, 2)))
        pair.source.word = .device
        pair.source.work = .writing
        #expect(pair.receive(.migrateCancel, on: .source, outOfBand: false).isEmpty)
        #expect(pair.receive(.queryYank, on: .source, outOfBand: true).count == 1)
        #expect(pair.source.blocked == [.migrateCancel])
    }
}
