import Controller
import GuestLab
import Migration
import Phases
import QMPTransport

/// What `godwit demo` shows: two QEMUs, one guest, one migration, and the guest's own word that it lost nothing.
struct Demonstration: Sendable {
    let dirtyBytesPerSecond: Int64
    let memoryBytes: Int64
    let bandwidth: Int64
    let trace: String?
    let verbosity: Verbosity

    func run() async throws -> CommandOutcome {
        let directory = try LabDirectory()
        defer { directory.remove() }
        let image = try GuestImage.build(
            in: directory.path, dirtyMiBPerSecond: Int(dirtyBytesPerSecond >> 20), dirtyMemoryMiB: 32,
            heartbeatMilliseconds: 50, filledMemoryMiB: 64)
        var options = QEMUProcess.Options(label: "source", image: image)
        options.memoryMiB = Int(memoryBytes >> 20)
        Console.note("booting two QEMUs with \(Quantity.bytes(memoryBytes)) each")
        let source = try QEMUProcess.start(options, in: directory)
        defer { source.kill() }
        let destination = try QEMUProcess.start(options.destination(), in: directory)
        defer { destination.kill() }
        let first = try await source.waitForHeartbeat(after: 5)
        Console.note("the guest beats (heartbeat \(first.number)) and writes \(Quantity.bytes(dirtyBytesPerSecond))/s")

        var migration = MigrateOptions(
            attempt: AttemptIdentifier.make(), uri: "unix:\(directory.file("migration.sock"))")
        migration.parameters = [Setting("max-bandwidth", .integer(bandwidth))]
        var configuration = MigrationConfiguration(
            source: try QMPAddress(parsing: source.qmpPath), destination: try QMPAddress(parsing: destination.qmpPath),
            options: migration, stateDirectory: directory.path)
        configuration.cacheDirectory = Directories.cache
        configuration.tracePath = trace ?? directory.file("demo.qmptrace")
        configuration.destinationLog = destination.stderrPath
        try Task.checkCancellation()
        let run = MigrationRun(
            configuration: configuration,
            presentation: .init(
                format: .text, verbosity: verbosity, source: source.qmpPath,
                destination: destination.qmpPath, downtimeLimitMilliseconds: 300))
        let status = try await run.run()
        if status == .completed {
            let last = source.heartbeats().last?.number ?? 0
            try await destination.waitForHeartbeat(after: last + 10)
        }
        Console.print("")
        if let path = configuration.tracePath { try ReplayCommand.tell(path, lenient: false) }
        let continuity = HeartbeatLog.continuity(source: source.heartbeatLog(), destination: destination.heartbeatLog())
        Console.print("")
        Console.print("the guest's own word: \(continuity)")
        if let trace { Console.print("the trace: \(trace) (see it again with `godwit replay \(trace)`)") }
        guard status != CommandOutcome.completed || continuity.isUnbroken else {
            Console.note("godwit: the guest lost something on the way")
            return .internal
        }
        return status
    }
}
