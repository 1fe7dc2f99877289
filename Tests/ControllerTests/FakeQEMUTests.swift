import Glibc
import JSONC
import Migration
import Phases
import Testing
import TraceServer

private let sourceWords: [FaultPoint] = [
    .migration("setup"), .migration("active"), .event("STOP"), .migration("pre-switchover"), .migration("device"),
    .migration("completed"),
]
private let destinationWords: [FaultPoint] = [
    .migration("setup"), .migration("active"), .migration("completed"), .event("RESUME"),
]
private let noises: [Fault.Noise] = [
    .garbage, .resynchronisation, .halfMessage, .brokenJSON, .strangeObject, .giant(bytes: 1 << 20),
]
private let sourceCommands = [
    "qmp_capabilities", "query-migrate-capabilities", "query-migrate-parameters", "query-qmp-schema", "query-status",
    "query-migrate", "migrate-set-capabilities", "migrate-set-parameters", "migrate", "migrate-continue", "quit",
]
private let destinationCommands = [
    "qmp_capabilities", "query-status", "query-cpus-fast", "stop", "migrate-set-capabilities", "migrate-incoming",
    "query-migrate", "cont",
]

/// Whether there is time: with `GODWIT_THOROUGH` set, sweeps leave nothing out.
private let isThorough = getenv("GODWIT_THOROUGH") != nil

/// Attempts that run side by side.
struct Batch: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var attempts: [FakeAttempt]

    init(_ name: String, _ attempts: [FakeAttempt]) {
        testDescription = name
        self.attempts = attempts
    }

    /// Each attempt with one release.
    var rotating: [(FakeAttempt, FakeRelease)] {
        attempts.enumerated().map { ($0.element, FakeRelease.all[$0.offset % FakeRelease.all.count]) }
    }

    /// Some of them; which, differs from batch to batch.
    func rotating(keepingEvery step: Int) -> [(FakeAttempt, FakeRelease)] {
        let first = testDescription.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xffff } % step
        return rotating.enumerated().filter { $0.offset % step == first }.map(\.element)
    }

    /// One attempt for each point of one side, with a fault there.
    init(
        _ name: String, _ side: Side, _ points: [FaultPoint], ends: Set<PublishedWord> = [],
        _ fault: (FaultPoint) -> Fault
    ) {
        self.init(
            "\(name), \(side.rawValue)",
            points.map { point in
                var attempt = FakeAttempt(name: "\(name), \(side.rawValue) \(point)", ends: ends)
                if side == .source { attempt.source = [fault(point)] } else { attempt.destination = [fault(point)] }
                return attempt
            })
    }
}

@Suite(.serialized) struct FakeQEMUTests {
    /// What a controller must get over: the guest arrives all the same.
    static let harmless: [Batch] = {
        var batches = [
            Batch(
                "both sides",
                [
                    FakeAttempt(name: "undisturbed", ends: [.completed]),
                    FakeAttempt(
                        name: "no events at all",
                        source: [.drop(.event("MIGRATION", number: nil)), .drop(.event("STOP"))],
                        destination: [.drop(.event("MIGRATION", number: nil)), .drop(.event("RESUME"))],
                        ends: [.completed]),
                    FakeAttempt(
                        name: "events before the greeting",
                        source: [.beforeGreeting(connection: 1, Fault.event("MIGRATION_PASS", ["pass": 7]))],
                        destination: [.beforeGreeting(connection: 1, Fault.event("NOVEL"))], ends: [.completed]),
                    FakeAttempt(
                        name: "a destination without -S", destinationOptions: { $0.isPaused = false },
                        ends: [.completed]),
                ])
        ]
        for (side, words, commands) in [
            (Side.source, sourceWords, sourceCommands), (.destination, destinationWords, destinationCommands),
        ] {
            let ends: Set<PublishedWord> = [.completed]
            batches.append(Batch("dropped", side, words, ends: ends) { .drop($0) })
            batches.append(Batch("twice", side, words, ends: ends) { .duplicate($0) })
            batches.append(Batch("in another order", side, words, ends: ends) { .swap($0) })
            batches.append(Batch("late", side, words, ends: ends) { .delay($0, .milliseconds(150)) })
            batches.append(Batch("after the next command", side, words, ends: ends) { .delay($0, .nextCommand) })
            let migrationWords = words.filter { if case .event("MIGRATION", _, _) = $0 { true } else { false } }
            batches.append(Batch("unknown word", side, migrationWords, ends: ends) { .rename($0, to: "novel") })
            batches.append(Batch("answered twice", side, commands.map { .reply($0) }, ends: ends) { .duplicate($0) })
            for noise in noises {
                let points: [FaultPoint] = [.migration("active"), .migration("completed"), .reply("query-migrate")]
                batches.append(Batch("\(noise)", side, points, ends: ends) { .noise($0, noise) })
            }
        }
        return batches
    }()

    @Test(.timeLimit(.minutes(2)), arguments: harmless)
    func getsOver(_ batch: Batch) async throws {
        guard isThorough else { return try await FakeAttempt.check(batch.rotating) }
        for release in FakeRelease.all { try await FakeAttempt.check(batch.attempts.map { ($0, release) }) }
    }

    /// What ends an attempt with the guest on the source.
    static let failing: [FakeAttempt] = [
        FakeAttempt(name: "loading fails early", destinationOptions: { $0.load = .failsWhileActive }, ends: [.failed]),
        FakeAttempt(name: "loading fails late", destinationOptions: { $0.load = .failsInDevice }, ends: [.failed]),
        FakeAttempt(name: "loading hangs", destinationOptions: { $0.load = .hangs }, isStuck: true, ends: [.failed]),
        FakeAttempt(name: "a blocker", sourceOptions: { $0.blockers = ["a device cannot move"] }, ends: [.failed]),
        FakeAttempt(name: "other RAM", destinationOptions: { $0.memoryBytes *= 2 }, ends: [.failed]),
        FakeAttempt(name: "no destination", destinationOptions: { $0.isIncoming = false }, ends: [.failed]),
        FakeAttempt(
            name: "a source that is held up in device", sourceOptions: { $0.blocksInDevice = true }, isStuck: true,
            ends: [.failed]),
        // The guest stays stopped, and up to 9.0 a destination ends by itself: of a fake that is not seen, so that nothing is proven.
        FakeAttempt(
            name: "the guest's disk fails, and that shall end it",
            sourceOptions: {
                $0.passes = nil
                $0.diskFailsInPass = 3
            }, wishes: { $0.isAbortedOnError = true }, ends: [.failed, .undecided]),
        FakeAttempt(
            name: "cancelled while it starts", sourceOptions: { $0.passes = nil }, cancelAt: .starting,
            ends: [.cancelled]),
        FakeAttempt(
            name: "cancelled while copying", sourceOptions: { $0.passes = nil }, cancelAt: .copying, ends: [.cancelled]),
    ]

    @Test(.timeLimit(.minutes(2)), arguments: failing)
    func keepsTheGuestOnTheSource(_ attempt: FakeAttempt) async throws {
        try await FakeAttempt.check(FakeRelease.all.map { (attempt, $0) })
    }

    /// A clock that was set back by years between two events: nothing is ordered by the time that QEMU tells.
    @Test func aClockThatJumps() async throws {
        func old(_ words: [String]) -> [Fault] {
            words.flatMap { word -> [Fault] in
                [.say(.migration(word), Fault.event("MIGRATION", ["status": .string(word)])), .drop(.migration(word))]
            }
        }
        let attempt = FakeAttempt(
            name: "old words", source: old(["active", "completed"]), destination: old(["active", "completed"]),
            ends: [.completed])
        try await FakeAttempt.check(FakeRelease.all.map { (attempt, $0) })
    }

    /// What may end in more than one way, but in none with two running guests, or without an end.
    static let severe: [Batch] = {
        var batches = [
            Batch(
                "lies before the greeting",
                [
                    FakeAttempt(
                        name: "completed",
                        source: [.beforeGreeting(connection: 1, Fault.event("MIGRATION", ["status": "completed"]))]),
                    FakeAttempt(
                        name: "completed there",
                        destination: [
                            .beforeGreeting(connection: 1, Fault.event("MIGRATION", ["status": "completed"]))
                        ]),
                    FakeAttempt(
                        name: "running there", destination: [.beforeGreeting(connection: 1, Fault.event("RESUME"))]),
                ])
        ]
        for (side, words, commands) in [
            (Side.source, sourceWords, sourceCommands), (.destination, destinationWords, destinationCommands),
        ] {
            let arriving = commands.map { FaultPoint.command($0) }
            let replies = commands.map { FaultPoint.reply($0) }
            batches.append(Batch("exit", side, words + arriving) { .exit($0, code: 1) })
            batches.append(Batch("close", side, words + arriving) { .close($0) })
            batches.append(Batch("freeze", side, words + arriving) { .freeze($0) })
            batches.append(Batch("mute", side, words + arriving) { .mute($0) })
            batches.append(Batch("never answered", side, replies) { .drop($0) })
            batches.append(Batch("wrong id", side, replies) { .wrongID($0) })
            batches.append(Batch("late answer", side, replies) { .delay($0, .milliseconds(500)) })
            batches.append(
                Batch("refused", side, arriving) { .refuse($0, errorClass: "GenericError", desc: "refused on purpose") }
            )
            batches.append(
                Batch("done, but answered with an error", side, replies) {
                    .answerWithError($0, errorClass: "GenericError", desc: "an error on purpose")
                })
            batches.append(Batch("not done, but answered", side, arriving) { .pretend($0) })
            batches.append(Batch("a second greeting", side, words) { .greetAgain($0) })
        }
        return batches
    }()

    @Test(.timeLimit(.minutes(3)), arguments: severe)
    func neverRunsTwice(_ batch: Batch) async throws {
        // Each attempt with one release, each batch with all.
        try await FakeAttempt.check(isThorough ? batch.rotating : batch.rotating(keepingEvery: 3))
    }
}
