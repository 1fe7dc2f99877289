public import ArgumentParser
import GuestLab
import UnixSignals

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
        // Trapped before anything is made: from here on Ctrl-C leaves nothing behind.
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
        let demonstration = Demonstration(
            dirtyBytesPerSecond: dirtyRate.bytes, memoryBytes: memory.bytes, bandwidth: bandwidth.bytes, trace: trace,
            verbosity: verbose ? .verbose : .normal)
        let work = Task { try await demonstration.run() }
        let interruption = Task { for await _ in signals { work.cancel() } }
        defer { interruption.cancel() }
        do {
            status = try await work.value
        } catch let error as LabError {
            Console.note("godwit: \(error)")
            throw CommandOutcome.unavailable.exitCode
        } catch is CancellationError {
            Console.note("interrupted; everything was cleaned up")
            throw CommandOutcome.cancelled.exitCode
        }
        guard status == .completed else { throw status.exitCode }
    }
}

extension ByteQuantity {
    init(bytes: Int64) { self.bytes = bytes }

    /// As it can be typed, for the help.
    public var defaultValueDescription: String {
        bytes > 0 && bytes % (1 << 20) == 0 ? "\(bytes >> 20)MiB" : "\(bytes)B"
    }
}
