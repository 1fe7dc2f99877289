public import ArgumentParser
import Controller
import GuestLab
import Migration
import Phases
import QMPTransport

/// `godwit demo`
public struct DemoCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Boot two QEMUs with a small guest, migrate it live, show what happened, clean up.",
        discussion: """
            Needs qemu-system-x86_64 and binutils, no KVM. The guest is a boot sector that writes to its memory at a set \
            rate and counts heartbeats on its serial line: the numbers before and after the migration show that it went on \
            and lost nothing.
            """)

    @Option(name: .long, help: ArgumentHelp("How much memory the guest writes to each second.", valueName: "size"))
    var dirtyRate = ByteQuantity(bytes: 16 << 20)

    @Option(name: .long, help: ArgumentHelp("The guest's memory.", valueName: "size"))
    var memory = ByteQuantity(bytes: 128 << 20)

    @Option(name: .long, help: ArgumentHelp("Most bytes per second for the migration.", valueName: "size"))
    var bandwidth = ByteQuantity(bytes: 64 << 20)

    @Option(name: .long, help: ArgumentHelp("Record the attempt in this file.", valueName: "file"))
    var trace: String?

    @Flag(name: .long, help: "Say also phases and reasons while it runs.")
    var verbose = false

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if memory.bytes < 96 << 20 || memory.bytes > 64 << 30 {
            throw ValidationError("--memory: between 96MiB and 64GiB")
        }
    }

    /// Runs the demonstration and exits with the migration's code.
    public func run() async throws {
        let missing = missingPrograms()
        guard missing.isEmpty else {
            Console.note(
                "godwit: not installed: \(missing.joined(separator: ", ")). On Debian: apt-get install qemu-system-x86 binutils"
            )
            throw CommandOutcome.unavailable.exitCode
        }
        let status: CommandOutcome
        do {
            status = try await demonstrate()
        } catch let error as LabError {
            Console.note("godwit: \(error)")
            throw CommandOutcome.unavailable.exitCode
        }
        guard status == .completed else { throw status.exitCode }
    }

    private func demonstrate() async throws -> CommandOutcome {
        let directory = try LabDirectory()
        defer { directory.remove() }
        let image = try GuestImage.build(
            in: directory.path, dirtyMiBPerSecond: Int(dirtyRate.bytes >> 20), dirtyMemoryMiB: 32,
            heartbeatMilliseconds: 50, filledMemoryMiB: 64)
        var options = QEMUProcess.Options(label: "source", image: image)
        options.memoryMiB = Int(memory.bytes >> 20)
        Console.note("booting two QEMUs with \(Quantity.bytes(memory.bytes)) each")
        let source = try QEMUProcess.start(options, in: directory)
        defer { source.kill() }
        let destination = try QEMUProcess.start(options.destination(), in: directory)
        defer { destination.kill() }
        let first = try await source.waitForHeartbeat(after: 5)
        Console.note("the guest beats (heartbeat \(first.number)) and writes \(Quantity.bytes(dirtyRate.bytes))/s")

        var migration = MigrateOptions(
            attempt: AttemptIdentifier.make(), uri: "unix:\(directory.file("migration.sock"))")
        migration.parameters = [Setting("max-bandwidth", .integer(bandwidth.bytes))]
        var configuration = MigrationConfiguration(
            source: try QMPAddress(parsing: source.qmpPath), destination: try QMPAddress(parsing: destination.qmpPath),
            options: migration, stateDirectory: directory.path)
        configuration.cacheDirectory = Directories.cache
        configuration.tracePath = trace ?? directory.file("demo.qmptrace")
        configuration.destinationLog = destination.stderrPath
        let run = MigrationRun(
            configuration: configuration,
            presentation: .init(
                format: .text, verbosity: verbose ? .verbose : .normal, source: source.qmpPath,
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

extension ByteQuantity {
    init(bytes: Int64) { self.bytes = bytes }

    /// As it can be typed, for the help.
    public var defaultValueDescription: String {
        bytes > 0 && bytes % (1 << 20) == 0 ? "\(bytes >> 20)MiB" : "\(bytes)B"
    }
}
