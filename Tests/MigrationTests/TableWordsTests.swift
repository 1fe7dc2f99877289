import Migration
import Testing

/// What the printed tables say in words must be what the code does.
struct TableWordsTests {
    private static let time = Instant(microseconds: 0)

    @Test func commandsAreThoseThatAreSent() {
        let commands: [Command] = [
            .setCapabilities([]), .setParameters([]), .migrateIncoming(uri: "", exitOnError: nil),
            .migrate(uri: "", resume: false), .migrate(uri: "", resume: true), .migrateContinue(state: ""),
            .migrateCancel, .startPostcopy, .migratePause, .migrateRecover(uri: ""), .yank, .cont, .stop, .quit,
        ]
        for kind in TriggerKind.allCases {
            let sent = commands.filter { $0.trigger == kind }.map(\.name)
            #expect(Set(kind.commands) == Set(sent), "\(kind)")
        }
    }

    private static let facts: [Fact] = {
        let words = StatusWord.known + [StatusWord(rawValue: "brewing")]
        var facts: [Fact] = [
            .monitor(.connected), .monitor(.lost), .event(.pass(1)), .event(.stop), .event(.resume), .event(.reset),
            .event(.shutdown(byGuest: true, reason: "")), .event(.shutdown(byGuest: false, reason: "")),
            .event(.guestFault("GUEST_PANICKED")), .event(.guestFault("BLOCK_IO_ERROR")),
            .event(.guestFault("WATCHDOG")), .event(.guestFault("OTHER")),
            .reply(.queryYank, .yankInstances(migration: false)),
        ]
        facts += words.map { .event(.migration($0)) }
        facts += words.map { .reply(.queryMigrate, .migration(MigrationSample(status: $0))) }
        let states = ["running", "paused", "guest-panicked", "io-error", "watchdog", "postmigrate", "inmigrate"]
        facts += states.map { .reply(.queryStatus, .status(RunState(rawValue: $0))) }
        return facts + [.process(.gone)]
    }()

    @Test(arguments: Side.allCases)
    func eventsComeFromWhereTheTableSays(_ side: Side) {
        var seen: Set<EventKind> = []
        for first in Self.facts {
            for second in Self.facts {
                var evidence = Evidence(side: side)
                let opener: Command =
                    side == .source ? .migrate(uri: "x", resume: false) : .migrateIncoming(uri: "x", exitOnError: nil)
                evidence.note(sent: opener, origin: .controller, sequence: 1, at: Self.time)
                evidence.note(.reply(opener, .done), sequence: 2, at: Self.time)
                for (index, fact) in [first, second].enumerated() {
                    evidence.note(fact, sequence: 3 + index, at: Self.time)
                }
                for row in evidence.events.ordered {
                    seen.insert(row.kind)
                    #expect(row.kind.sources.contains(row.source), "\(row.kind.rawValue) from \(row.source.rawValue)")
                }
            }
        }
        #expect(seen.count > 25)
    }

    @Test func stagesAreThoseThatFollow() {
        for rule in Evidence.advanceTable { #expect(!rule.stages.isEmpty, "\(rule.name)") }
        for word in StatusWord.known where word != .none {
            var evidence = Evidence(side: .source)
            evidence.note(.event(.migration(word)), sequence: 1, at: Self.time)
            let position = evidence.position
            let rule = Evidence.advanceTable.first { $0.name == position.rule }
            #expect(rule?.stages.contains(StageKind(position.stage)) ?? false, "\(word)")
        }
    }
}
