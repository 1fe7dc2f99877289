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

    private static let preparation: [(Side, Command)] = [
        (.source, .setCapabilities(["events", "return-path", "postcopy-ram"].map { CapabilitySetting($0, true) })),
        (.destination, .setCapabilities([CapabilitySetting("events", true)])), (.destination, .stop),
        (.destination, .migrateIncoming(uri: "tcp:a:0", exitOnError: false)),
        (.source, .migrate(uri: "tcp:a:0", resume: false)),
    ]

    private static let commands: [(Side, Command, outOfBand: Bool)] = [
        (.source, .startPostcopy, false), (.source, .migrateContinue(state: "pre-switchover"), false),
        (.source, .migrateCancel, false), (.source, .migratePause, true),
        (.destination, .migrateRecover(uri: "tcp:a:0"), true), (.source, .migrate(uri: "tcp:a:0", resume: true), false),
        (.destination, .cont, false), (.source, .yank, true),
    ]

    /// A generator with a seed, so that a walk can be walked again.
    private struct Dice: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    /// The moves of many walks, where anybody says anything at any time.
    private func walk(_ profile: QEMUProfile) -> (moves: Set<Move>, wereBothRunning: Bool) {
        var dice = Dice(state: 20_261_121)
        var moves: Set<Move> = []
        var wereBothRunning = false
        for number in 0..<160 {
            var pair = AbstractPair(profile)
            for (side, command) in Self.preparation { _ = pair.receive(command, on: side, outOfBand: false) }
            if number % 2 == 0 { pair.source.set([CapabilitySetting("pause-before-switchover", true)]) }
            for _ in 0..<40 {
                let before = pair
                let choices = pair.moves(Int.random(in: 0..<8, using: &dice) == 0 ? [.streamBreaks, .loadFails] : [])
                if let move = choices.randomElement(using: &dice), Int.random(in: 0..<5, using: &dice) > 0 {
                    pair = move.pair
                } else if let (side, command, outOfBand) = Self.commands.randomElement(using: &dice) {
                    _ = pair.receive(command, on: side, outOfBand: outOfBand)
                }
                wereBothRunning = wereBothRunning || pair.areBothRunning
                for side in Side.allCases where before[side].word != pair[side].word && pair[side].life != .dead {
                    moves.insert(Move(side: side, from: before[side].word ?? .none, to: pair[side].word ?? .none))
                }
            }
        }
        return (moves, wereBothRunning)
    }

    @Test(arguments: ["7.2", "10.0", "10.2", "11.1"]) func wordsMoveOnlyAlongTheTable(name: String) throws {
        let profile = try #require(QEMUProfile.byName.first { $0.name == name }?.profile)
        let (moves, _) = walk(profile)
        #expect(moves.count > 15)
        for move in moves.sorted(by: { "\($0)" < "\($1)" }) {
            #expect(profile.allows(move.side, move.from, move.to), "\(move) in \(name)")
        }
    }

    @Test func newestOnesMakeTheMovesThatTheyAreKnownFor() throws {
        let (moves, wereBothRunning) = walk(QEMUProfile(QEMUVersion(11, 1)))
        for (from, to) in [
            (StatusWord.active, StatusWord.failing), (.failing, .failed), (.failing, .cancelling),
            (.device, .cancelling), (.device, .completed), (.preSwitchover, .device),
        ] {
            #expect(moves.contains(Move(side: .source, from: from, to: to)), "\(from) → \(to)")
        }
        // The pair alone, with somebody who says anything, does run both: that is what has to be prevented.
        #expect(wereBothRunning)
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
