import Controller
import Glibc
import Migration
import NIOCore
import NIOPosix
import Phases
import QMP
import QMPTransport
import Replay
import Synchronization
import Testing
import Trace
import TraceServer

/// An attempt between two fakes, and what must be true of every one.
struct FakeAttempt: Sendable, CustomTestStringConvertible {
    var name: String
    var source: [Fault] = []
    var destination: [Fault] = []
    var sourceOptions: @Sendable (inout FakeOptions) -> Void = { _ in }
    var destinationOptions: @Sendable (inout FakeOptions) -> Void = { _ in }
    /// What else the user wants.
    var wishes: @Sendable (inout MigrateOptions) -> Void = { _ in }
    /// Nobody but a deadline can end it: waits for QEMU's migration are short.
    var isStuck = false
    /// The user cancels when this word is published.
    var cancelAt: PublishedWord?
    /// The ends that are right; empty: whatever can be defended.
    var ends: Set<PublishedWord> = []

    var testDescription: String { name }

    struct Outcome: Sendable {
        var result: AttemptResult
        var network: FakeNetwork
        /// The trace, decided anew.
        var driven: DriveReport
    }

    /// Waits that let a test end.
    static func deadlines(_ milliseconds: Int) -> DeadlineTable {
        var table = DeadlineTable()
        for deadline in Deadline.allCases { table.milliseconds[deadline] = milliseconds }
        table.milliseconds[.cleanupPoll] = 10
        table.milliseconds[.resumePoll] = 10
        table.milliseconds[.runPoll] = 20
        return table
    }

    func run(_ release: FakeRelease) async throws -> Outcome {
        var template = Array("/tmp/attempt-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        var here = FakeOptions.source(release)
        sourceOptions(&here)
        var there = FakeOptions.destination(release)
        destinationOptions(&there)
        let server = try FakeQEMUServer(
            FakeNetwork(
                source: FakeQEMU(here, faults: source), destination: FakeQEMU(there, faults: destination)),
            paths: ["\(directory)/source.qmp", "\(directory)/destination.qmp"])
        defer {
            server.close()
            unlink("\(directory)/trace")
            rmdir(directory)
        }
        var options = MigrateOptions(attempt: "attempt", uri: "unix:/nowhere")
        // A copy may take as long as it likes; where a QEMU falls silent during it, the user's own limit has to end it.
        if ends.isEmpty { options.timeoutMilliseconds = 3000 }
        options.deadlines = Self.deadlines(ends.isEmpty ? 700 : 5000)
        wishes(&options)
        if isStuck {
            for deadline in [Deadline.switchover, .cancel, .yank] { options.deadlines.milliseconds[deadline] = 1000 }
        }
        var configuration = MigrationConfiguration(
            source: .unix(path: server.paths[0]), destination: .unix(path: server.paths[1]), options: options,
            stateDirectory: directory)
        configuration.tracePath = "\(directory)/trace"
        // Where only one end is right, a slow machine must not be the fault.
        configuration.qmp.timeouts = QMPTimeouts(all: ends.isEmpty ? .milliseconds(300) : .seconds(5))
        let started = Mutex<EmbeddedMigration?>(nil)
        let early = Mutex(false)
        let cancelAt = cancelAt
        let migration = try await EmbeddedMigration.start(
            configuration, on: MultiThreadedEventLoopGroup.singleton.next()
        ) { event in
            guard case .status(let status, _, _) = event, status.word == cancelAt else { return }
            if let migration = started.withLock({ $0 }) {
                migration.request(.cancel, origin: .operator)
            } else {
                early.withLock { $0 = true }
            }
        }
        started.withLock { $0 = migration }
        if early.withLock({ $0 }) { migration.request(.cancel, origin: .operator) }
        let result: AttemptResult
        do {
            result = try await Self.result(of: migration)
        } catch is Hung {
            throw Hung(trace: Self.lastLines("\(directory)/trace"))
        }
        // For whoever wants to look at one, or keep it: GODWIT_KEEP_TRACES names a directory.
        if let keep = getenv("GODWIT_KEEP_TRACES") {
            let words = "\(result.word.rawValue) \(release) \(name)".map { $0.isLetter || $0.isNumber ? $0 : "-" }
            link("\(directory)/trace", "\(String(cString: keep))/\(String(words)).qmptrace")
        }
        return Outcome(
            result: result, network: server.inspect { $0 }, driven: try DriveReport.drive(path: "\(directory)/trace"))
    }

    /// The attempt never ended.
    struct Hung: Error {
        var trace = ""
    }

    private static func lastLines(_ path: String) -> String {
        guard var reader = try? TraceReader(path: path, lenient: true) else { return "" }
        var lines: [String] = []
        while let record = try? reader.next() {
            lines.append("\(record.microseconds) \(record.side?.rawValue ?? "") \(record.member)")
        }
        return lines.suffix(40).joined(separator: "\n")
    }

    /// The result, or `Hung` after a time in which the slowest attempt ends ten times.
    private static func result(of migration: EmbeddedMigration) async throws -> AttemptResult {
        let (ends, end) = AsyncStream<Result<AttemptResult, any Error>>.makeStream()
        let waiting = Task {
            do { end.yield(.success(try await migration.result())) } catch { end.yield(.failure(error)) }
        }
        let limit = Task {
            try await Task.sleep(for: .seconds(60))
            end.yield(.failure(Hung()))
        }
        defer {
            waiting.cancel()
            limit.cancel()
        }
        for await result in ends { return try result.get() }
        throw Hung()
    }

    /// Runs and checks these side by side.
    static func check(_ attempts: [(FakeAttempt, FakeRelease)]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (attempt, release) in attempts { group.addTask { try await attempt.check(release) } }
            try await group.waitForAll()
        }
    }

    /// Runs and checks the end and every rule.
    func check(_ release: FakeRelease) async throws {
        let outcome: Outcome
        do {
            outcome = try await run(release)
        } catch let error as MigrationError {
            #expect(error.code == .monitor)
            #expect(ends.isEmpty, "\(release), \(name): no attempt was made: \(error)")
            return
        } catch let hung as Hung {
            Issue.record("\(release), \(name): the attempt did not end; its trace ends with\n\(hung.trace)")
            return
        }
        let (result, network) = (outcome.result, outcome.network)
        let what = Comment(
            "\(release), \(name): \(result.word), \(result.error ?? "no error"), problems \(result.problems)")
        if !ends.isEmpty { #expect(ends.contains(result.word), what) }
        #expect(!network.ranTwice, what)
        #expect(result.word.isEnd, what)
        Self.checkOrder(network.history, what)
        // Whatever the fakes did: what was decided about it is decided again.
        #expect(outcome.driven.divergence == nil, "\(what)\n\(outcome.driven.text)")
        #expect(outcome.driven.isComplete, what)
        #expect(outcome.driven.status == result.word, what)

        let source = network.fakes[0]
        let destination = network.fakes[1]
        let runsHere = source.model?.isGuestRunning ?? false
        let runsThere = destination.model?.isGuestRunning ?? false
        // Of a source that fell silent the last word heard is told, which may be older than its end.
        let vouched = result.error?.contains("did not answer") ?? false ? nil : result.isRunning
        switch result.word {
        case .completed:
            #expect(runsThere, what)
            #expect(!runsHere, what)
        case .failed, .cancelled:
            #expect(!runsThere, what)
            #expect(runsHere == (vouched ?? runsHere), what)
            #expect(result.place == .source, what)
        case .undecided:
            // Somebody must be told what to find out.
            #expect(result.error != nil || !result.problems.isEmpty, what)
        default: break
        }
        if result.place == .destination, result.isRunning == true { #expect(runsThere, what) }
        if result.place == .source, vouched == true { #expect(runsHere, what) }
    }

    /// What no order of events may bring a controller to do.
    static func checkOrder(_ history: [FakeNetwork.Entry], _ what: Comment) {
        var isDestinationOver = false
        var hasDestinationCompleted = false
        var hasSourceResumed = false
        var hasDestinationRun = false
        for entry in history {
            switch (entry.fake, entry.note) {
            case (1, .exited): isDestinationOver = true
            case (1, .runState(let state)):
                // It leaves `inmigrate` when everything is loaded, and not before.
                hasDestinationCompleted = true
                if state == "running" { hasDestinationRun = true }
            case (0, .runState("running")): hasSourceResumed = true
            case (0, .executed(let command)) where command.name == "cont":
                #expect(isDestinationOver, "the source was continued while the destination lived: \(what)")
            case (0, .executed(let command)) where command.name == "quit":
                #expect(hasDestinationRun, "the source was ended before the guest ran elsewhere: \(what)")
            case (1, .executed(let command)) where command.name == "cont":
                #expect(hasDestinationCompleted, "the destination was run before it was complete: \(what)")
                #expect(!hasSourceResumed, "the destination was run after the source had resumed: \(what)")
            default: break
            }
        }
    }
}
