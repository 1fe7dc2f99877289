public import ArgumentParser
import Controller
internal import Glibc
import JSONC
import QMP
import QMPTransport
import Trace
import TraceServer
import UnixSignals

extension TraceSide: ExpressibleByArgument {}
extension TraceLogOptions.Compression: ExpressibleByArgument {}

/// `godwit record`
public struct RecordCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Stand between a QEMU and its clients and record what they say to each other.",
        discussion: """
            Clients connect to --listen instead of QEMU's monitor. Bytes and descriptors pass in both directions as they \
            are; what is recorded is written beside that, and neither a slow nor a full disk holds a message up. QEMU's \
            monitor stays open when a client leaves: the next one gets QEMU's greeting and goes on in the same session. \
            Without --clients another client waits until the first has left, as it would with QEMU.

            --qmp and --listen may be given more than once: both QEMUs of a migration are recorded in one file that way, the \
            first as the source and the second as the destination unless --side says otherwise. Of a single QEMU it is \
            inferred: one that was started with -incoming is a destination until its guest runs and leaves again.

            Passwords, keys and typed keystrokes are masked in the trace, never in what passes. It ends when QEMU closes \
            its monitor, or by Ctrl-C. Exit codes: \(CommandOutcome.usage.rawValue) usage, \
            \(CommandOutcome.unavailable.rawValue) no QEMU there or no socket to listen on, \
            \(CommandOutcome.output.rawValue) the trace cannot be written or something is missing in it.
            """)

    @Option(name: .long, help: ArgumentHelp("QEMU's QMP socket.", valueName: "socket"))
    var qmp: [String]

    @Option(name: .long, help: ArgumentHelp("Where clients connect instead.", valueName: "socket"))
    var listen: [String]

    @Option(name: .long, help: ArgumentHelp("The trace. It must not exist.", valueName: "file"))
    var output: String

    @Option(name: .long, help: "Which end of a migration the QEMU is: source or destination.")
    var side: [TraceSide] = []

    @Option(
        name: .long, help: ArgumentHelp("Clients at once; with more than one, commands get other ids.", valueName: "n"))
    var clients = 1

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Go on in NAME.2.qmptrace and so on once a file has this size, e.g. 100MiB.", valueName: "size"))
    var rotate: ByteQuantity?

    @Option(name: .long, help: "Compress the trace: none or zstd.")
    var compress: TraceLogOptions.Compression = .none

    @Flag(name: .customLong("no-redact"), help: "Write secrets down too; the header says so.")
    var isUnredacted = false

    @Flag(name: .long, help: "Say only what goes wrong.")
    var quiet = false

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        guard qmp.count == listen.count else { throw ValidationError("one --listen for each --qmp") }
        guard side.isEmpty || side.count == qmp.count else {
            throw ValidationError("one --side for each --qmp, or none")
        }
        guard qmp.count <= 16 else { throw ValidationError("--qmp: at most 16") }
        guard Set(qmp).count == qmp.count else { throw ValidationError("--qmp: the same monitor twice") }
        guard Set(listen).count == listen.count, Set(listen).isDisjoint(with: qmp) else {
            throw ValidationError("--listen: a socket of its own for each QEMU")
        }
        for (name, paths) in [("--qmp", qmp), ("--listen", listen)] {
            for path in paths {
                do throws(QMPError) { _ = try QMPAddress(parsing: path) } catch {
                    throw ValidationError("\(name): \(error.message)")
                }
            }
        }
        if clients < 1 || clients > 64 { throw ValidationError("--clients: between 1 and 64") }
        if let rotate, rotate.bytes < 4096 { throw ValidationError("--rotate: at least 4KiB") }
        if output.isEmpty || output == "-" { throw ValidationError("--output: a file") }
    }

    private func monitors() throws -> [RecordedMonitor] {
        try qmp.indices.map { index in
            var monitor = RecordedMonitor(
                qemu: try QMPAddress(parsing: qmp[index]), listen: try QMPAddress(parsing: listen[index]))
            if !side.isEmpty {
                monitor.side = side[index]
            } else if qmp.count == 2 {
                monitor.side = index == 0 ? .source : .destination
            }
            if qmp.count > 2 || Set(side).count < side.count { monitor.name = monitor.qemu.path }
            return monitor
        }
    }

    /// Records until QEMU ends or somebody interrupts.
    public func run() async throws {
        // A reader of standard error that goes away must not end the recording, nor a limit on the size of files.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
        var options = RecordingOptions()
        options.maximumClients = clients
        options.isRedacted = !isUnredacted
        options.log.compression = compress
        options.log.rotateBytes = rotate?.bytes
        let header = TraceHeader(
            recorded: Controller.Clock.timestamp, recorder: "godwit \(Version.current)", role: "observer",
            title: "recording of \(qmp.joined(separator: " and "))")
        let proxy: RecordingProxy
        do {
            proxy = try RecordingProxy(try monitors(), to: output, header: header, options: options) {
                Console.note("godwit: \($0)")
            }
        } catch let error as ProxyError {
            Console.note("godwit: \(error)")
            throw CommandOutcome.unavailable.exitCode
        } catch let error as TraceError {
            Console.note("godwit: \(error)")
            throw CommandOutcome.output.exitCode
        }
        if !quiet {
            for (qmp, listen) in zip(qmp, listen) { Console.note("recording \(qmp); clients connect to \(listen)") }
            if isUnredacted { Console.note("secrets are written down: keep \(output) as safe as they are") }
        }
        let interruption = Task {
            for await _ in signals {
                proxy.stop()
                return
            }
        }
        await proxy.waitForEnd()
        interruption.cancel()
        if let problem = proxy.close() {
            Console.note("godwit: the trace is not complete: \(problem)")
            throw CommandOutcome.output.exitCode
        }
        if !quiet { Console.note("recorded in \(output)") }
    }
}
