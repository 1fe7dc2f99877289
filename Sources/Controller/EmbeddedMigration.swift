internal import Glibc
import JSONC
public import Logging
public import Migration
import MigrationQMP
public import NIOCore
public import Phases
import QMP
public import QMPTransport
import Trace

/// What an attempt with its QEMUs on this host needs.
public struct MigrationConfiguration: Sendable {
    /// The monitor of the QEMU the guest leaves; `nil` where it comes out of a file.
    public var source: QMPAddress?
    /// The monitor of the QEMU it shall arrive at; `nil` where it goes into a file.
    public var destination: QMPAddress?
    /// The file; goes with `MigrateOptions.file`.
    public var file: GuestFile?
    /// What the user wants.
    public var options: MigrateOptions
    /// Where to write the trace. `nil` writes a journal in `stateDirectory`, removed when the attempt ended with
    /// nothing left to find out.
    public var tracePath: String?
    /// Whether an existing file may be replaced by the trace.
    public var replacesTrace = false
    /// Where journals go.
    public var stateDirectory: String
    /// Where facts about QEMU binaries are kept; `nil` for nowhere.
    public var cacheDirectory: String?
    /// The destination's standard error, for its last words when a load fails.
    public var destinationLog: String?
    /// A socket file that was made for this attempt's stream and is removed with it.
    public var temporarySocket: String?
    /// The same for its disks.
    public var temporaryDiskSocket: String?
    /// Where the attempt can be steered from outside while it runs, a Unix socket; `nil` for nowhere.
    public var controlPath: String?
    /// The program to be run at the moments of `HookPoint`; goes with `MigrateOptions.hasHook`.
    public var hook: HookConfiguration?
    /// Hears of lost monitors, broken journals and kills. Silent by default: what an attempt does is told as events.
    public var logger = Logger(label: "godwit", factory: { _ in SwiftLogNoOpLogHandler() })
    /// How the monitors are spoken to.
    public var qmp = QMPConfiguration()

    /// A configuration with everything else as usual.
    public init(source: QMPAddress?, destination: QMPAddress?, options: MigrateOptions, stateDirectory: String) {
        self.source = source
        self.destination = destination
        self.options = options
        self.stateDirectory = stateDirectory
    }

    /// Where the guest is at first, for people.
    var sourceName: String { source?.path ?? options.file?.path ?? "" }
    /// Where it goes, for people.
    var destinationName: String { destination?.path ?? options.file?.path ?? "" }

    private var verb: String {
        switch options.mode {
        case .save: "save"
        case .restore: "restore"
        case .managed, .peerToPeer, .direct, .tunnelled: "migration"
        }
    }

    /// What is done, for people.
    var title: String { "\(verb) of \(sourceName) to \(destinationName)" }
}

/// Why no attempt was made.
public struct MigrationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of error.
    public struct Code: Hashable, Sendable {
        private enum Value { case monitor, sameQEMU, journal, cancelledEarly, address }
        private let value: Value
        /// A monitor is busy, not there, or no monitor.
        public static let monitor = Code(value: .monitor)
        /// Both ends are one QEMU.
        public static let sameQEMU = Code(value: .sameQEMU)
        /// The journal or trace cannot be written.
        public static let journal = Code(value: .journal)
        /// Cancelled before anything was started.
        public static let cancelledEarly = Code(value: .cancelledEarly)
        /// An address cannot be used.
        public static let address = Code(value: .address)
    }

    /// The kind.
    public var code: Code
    /// In words, naming what and where.
    public var description: String

    /// An error.
    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    init(_ error: QMPError, side: Side) {
        self.init(.monitor, "\(side.rawValue): \(error.message)")
    }
}

/// A migration whose both QEMUs are driven by this process.
public final class EmbeddedMigration: Sendable {
    private let driver: NIOLoopBound<AttemptDriver>
    private let eventLoop: any EventLoop
    private let future: EventLoopFuture<AttemptResult>
    private let configuration: MigrationConfiguration
    private let journalPath: String

    private init(
        driver: NIOLoopBound<AttemptDriver>, eventLoop: any EventLoop, future: EventLoopFuture<AttemptResult>,
        configuration: MigrationConfiguration, journalPath: String
    ) {
        self.driver = driver
        self.eventLoop = eventLoop
        self.future = future
        self.configuration = configuration
        self.journalPath = journalPath
    }

    /// Begins an attempt. Both monitors are read on the one event loop: the order applied is the order recorded.
    ///
    /// - Parameters:
    ///   - configuration: What to do.
    ///   - eventLoop: Where.
    ///   - watch: Hears what happens, on the event loop; must not block.
    /// - Throws: `MigrationError` if the journal cannot be made or both addresses are one.
    public static func start(
        _ configuration: MigrationConfiguration, on eventLoop: any EventLoop,
        watch: @escaping @Sendable (AttemptEvent) -> Void
    ) async throws -> EmbeddedMigration {
        if configuration.source == configuration.destination {
            throw MigrationError(.sameQEMU, "source and destination are the same monitor (\(configuration.sourceName))")
        }
        return try await eventLoop.submit {
            var configuration = configuration
            let diskSocket = try DiskSocket.make(for: &configuration.options)
            if let control = configuration.controlPath { SmallFile.makeParent(of: control) }
            let journal = try makeJournal(configuration)
            let promise = eventLoop.makePromise(of: AttemptResult.self)
            let driver = AttemptDriver(
                configuration: configuration, journal: journal, diskSocket: diskSocket, eventLoop: eventLoop,
                promise: promise, tell: watch)
            driver.start()
            return EmbeddedMigration(
                driver: NIOLoopBound(driver, eventLoop: eventLoop), eventLoop: eventLoop, future: promise.futureResult,
                configuration: configuration, journalPath: journal.path)
        }.get()
    }

    private static func makeJournal(_ configuration: MigrationConfiguration) throws -> Journal {
        let path: String
        if let trace = configuration.tracePath {
            path = trace
        } else {
            guard SmallFile.makeDirectory(configuration.stateDirectory) else {
                throw MigrationError(
                    .journal, "\(configuration.stateDirectory): \(String(cString: strerror(errno)))")
            }
            path = "\(configuration.stateDirectory)/\(configuration.options.attempt).qmptrace"
        }
        let header = TraceHeader(
            recorded: Clock.timestamp, recorder: "godwit \(Version.current)", role: .coordinator,
            title: configuration.title,
            other: ["attempt": .string(configuration.options.attempt), "options": configuration.options.json])
        do throws(TraceError) {
            return try Journal(path: path, replacing: configuration.replacesTrace, header: header)
        } catch {
            throw MigrationError(.journal, error.description)
        }
    }

    /// Asks the attempt to stop; how it ends, `result` tells.
    public func request(_ request: Request, origin: Origin) {
        eventLoop.execute { self.driver.value.request(request, origin: origin) }
    }

    /// The end of the attempt.
    ///
    /// - Throws: `MigrationError` if none was made.
    public func result() async throws -> AttemptResult {
        do {
            let result = try await future.get()
            if configuration.tracePath == nil, result.word != .undecided { unlink(journalPath) }
            return result
        } catch {
            if configuration.tracePath == nil { unlink(journalPath) }
            throw error
        }
    }
}
