import Controller
internal import Glibc
import Migration
import MigrationQMP
import NIOCore
import NIOPosix
import Phases
import Synchronization
import UnixSignals

/// One run of `godwit migrate`, from the parsed command line to the exit code.
struct MigrationRun {
    /// How it is told.
    struct Presentation: Sendable {
        var format: OutputFormat
        var verbosity: Verbosity
        var source: String
        var destination: String
        var downtimeLimitMilliseconds: Double
    }

    let configuration: MigrationConfiguration
    let presentation: Presentation

    func run() async throws -> CommandOutcome {
        // Before anything is begun: from here on a Ctrl-C finds somebody who tidies up.
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let (events, continuation) = AsyncStream.makeStream(of: AttemptEvent.self)
        let migration: EmbeddedMigration
        let word = Word()
        do {
            migration = try await EmbeddedMigration.start(configuration, on: group.next()) { event in
                switch event {
                case .status(let status, _, _): word.last.withLock { $0 = status.word }
                case .statistics(let statistics, _): word.statistics.withLock { $0 = statistics }
                default: break
                }
                continuation.yield(event)
            }
        } catch let error as MigrationError {
            return fail(error)
        }
        let reporting = Task { await report(events) }
        let cancelling = Task { await cancel(migration, word, on: signals) }
        defer { cancelling.cancel() }
        do {
            let result = try await migration.result()
            continuation.finish()
            await reporting.value
            tell(result, word.statistics.withLock(\.self))
            return CommandOutcome(result.word, hasProblems: !result.problems.isEmpty)
        } catch let error as MigrationError {
            continuation.finish()
            await reporting.value
            return fail(error)
        }
    }

    private func report(_ events: AsyncStream<AttemptEvent>) async {
        if presentation.format == .json {
            let reporter = JSONReporter()
            for await event in events { reporter.report(event) }
            return
        }
        var reporter = ProgressReporter(
            verbosity: presentation.verbosity, isTerminal: Console.isErrorTerminal,
            downtimeLimitMilliseconds: presentation.downtimeLimitMilliseconds)
        for await event in events { reporter.report(event) }
        reporter.close()
    }

    /// Ctrl-C cancels and waits; more of them say what leaving would mean, and then leave.
    private func cancel(_ migration: EmbeddedMigration, _ word: Word, on signals: UnixSignalsSequence) async {
        var count = 0
        for await _ in signals {
            count += 1
            switch count {
            case 1:
                Console.note("cancelling; the attempt ends before this program does")
                migration.request(.cancel, origin: .operator)
            case 2:
                Console.note(
                    """
                    still cancelling. Leaving now would leave behind: the source's QEMU (\(presentation.source)) in whatever state \
                    the migration has reached, perhaps stopped; the destination's QEMU (\(presentation.destination)) waiting; \
                    changed migration capabilities and parameters on both; and the journal. Once more to leave.
                    """)
            default:
                Console.note("left; look at both QEMUs before you continue either")
                // Nobody answers there any more.
                if let control = configuration.controlPath { unlink(control) }
                let isPaused = word.last.withLock { $0 == .postcopyPaused }
                _exit((isPaused ? CommandOutcome.postcopyPaused : .undecided).rawValue)
            }
        }
    }

    /// The last published word, as the one who leaves needs it, and the last numbers.
    private final class Word: Sendable {
        let last = Mutex(PublishedWord.idle)
        let statistics = Mutex(JobStatistics())
    }

    private func tell(_ result: AttemptResult, _ statistics: JobStatistics) {
        guard presentation.format == .text else { return }
        let journal =
            configuration.tracePath ?? "\(configuration.stateDirectory)/\(configuration.options.attempt).qmptrace"
        let text = ResultText(
            result: result, source: presentation.source, destination: presentation.destination,
            keepsSource: configuration.options.keepsSource, mode: configuration.options.mode, journal: journal,
            job: statistics)
        text.lines.forEach { Console.print($0) }
    }

    private func fail(_ error: MigrationError) -> CommandOutcome {
        Console.note("godwit: \(error.description)")
        switch error.code {
        case .monitor: return .unavailable
        case .cancelledEarly: return .cancelled
        case .sameQEMU, .address, .journal: return .usage
        default: return .internal
        }
    }
}
