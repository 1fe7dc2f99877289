public import ArgumentParser
import Controller
import Migration
import Phases
import QMP
import QMPTransport

/// How a command's output looks.
public enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    /// For people.
    case text
    /// One JSON object on a line.
    case json
}

extension TimeoutAction: ExpressibleByArgument {}

/// `godwit migrate`
public struct MigrateCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Move a live guest from one QEMU to another.",
        discussion: """
            Both QEMUs run on this host. The destination must have been started with the source's devices and \
            `-S -incoming defer`. What is said on standard error is progress; the last lines, on standard output, say \
            where the guest is.

            Sizes take B, kB, MB, GB, TB (thousands) or KiB, MiB, GiB, TiB (1024), times take ms, s, min, h.

            Exit codes:
            \(CommandOutcome.allCases.map { "  \($0.rawValue)  \($0.meaning)" }.joined(separator: "\n"))
            """)

    @Option(name: .long, help: ArgumentHelp("The QMP socket of the QEMU the guest leaves.", valueName: "qmp-socket"))
    var source: String

    @Option(name: .long, help: ArgumentHelp("The QMP socket of the QEMU it shall arrive at.", valueName: "qmp-socket"))
    var destination: String

    @Option(
        name: .long,
        help:
            "Where the destination listens: tcp:HOST:PORT (port 0: QEMU chooses), unix:PATH, vsock:CID:PORT, exec:COMMAND, or fd:NAME for a socket pair made here. Default: a Unix socket beside the destination's monitor."
    )
    var uri: String?

    @Option(
        name: .long,
        help:
            "Where the source connects, if not to --uri: another name of that host, or the other end of exec:. Port 0 is the port that QEMU chose."
    )
    var connectUri: String?

    @OptionGroup(title: "How memory travels")
    var stream: StreamArguments

    @OptionGroup(title: "Disks that are not shared")
    var storage: StorageArguments

    @Option(name: .long, help: ArgumentHelp("Most bytes per second, e.g. 100MiB; 0 for no limit.", valueName: "size"))
    var bandwidth: ByteQuantity?

    @Option(name: .long, help: ArgumentHelp("Longest wanted stop of the guest, e.g. 200ms.", valueName: "time"))
    var downtimeLimit: TimeQuantity?

    @Option(name: .long, help: ArgumentHelp("How long the migration may take, e.g. 5min.", valueName: "time"))
    var timeout: TimeQuantity?

    @Option(name: .long, help: "What happens then: cancel, or pause-guest so that it can end.")
    var timeoutAction: TimeoutAction = .cancel

    @Flag(
        name: .long,
        help:
            "End the migration when an error of a disk stops the guest; it stays on the source, stopped with the error."
    )
    var abortOnError = false

    @Flag(name: .long, help: "Stop before the switchover, with the guest standing still, until `godwit continue`.")
    var hold = false

    @Option(name: .long, help: ArgumentHelp("How long --hold waits; then the attempt is given up.", valueName: "time"))
    var holdTimeout: TimeQuantity?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Run at the beginning, before the switchover and at the end; what fails before the switchover stops the attempt.",
            valueName: "program"))
    var hook: String?

    @Option(name: .long, help: ArgumentHelp("How long each run of the hook may take. Default: 30s.", valueName: "time"))
    var hookTimeout: TimeQuantity?

    @OptionGroup(title: "Encryption")
    var tls: TLSArguments

    @OptionGroup(title: "Convergence")
    var policyArguments: PolicyArguments

    @OptionGroup(title: "Post-copy")
    var postcopyArguments: PostcopyArguments

    @Flag(name: .long, help: "Leave the guest paused on the destination.")
    var paused = false

    @Flag(name: .long, help: "Leave the source's QEMU in postmigrate instead of ending it.")
    var keepSource = false

    @Option(
        name: .long,
        help: ArgumentHelp("The destination's standard error, for its last words if the load fails.", valueName: "file")
    )
    var destinationLog: String?

    @OptionGroup(title: "Output")
    var telling: TellingArguments

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if let limit = downtimeLimit, limit.milliseconds > 2_000_000 {
            throw ValidationError("--downtime-limit: QEMU takes at most 2000 s")
        }
        try policyArguments.validate(hasLimit: downtimeLimit != nil)
        if holdTimeout != nil, !hold { throw ValidationError("--hold-timeout needs --hold") }
        if hookTimeout != nil, hook == nil { throw ValidationError("--hook-timeout needs --hook") }
        for (name, time) in [("--hold-timeout", holdTimeout), ("--hook-timeout", hookTimeout)] {
            if let time, !(1...86_400_000).contains(time.milliseconds) {
                throw ValidationError("\(name): between 1 ms and 24 h")
            }
        }
        if let hook, hook.isEmpty { throw ValidationError("--hook: no program") }
        if let timeout, timeout.milliseconds == 0 { throw ValidationError("--timeout: no time at all") }
        for (name, path) in [("--source", source), ("--destination", destination)] {
            do throws(QMPError) { _ = try QMPAddress(parsing: path) } catch {
                throw ValidationError("\(name): \(error.message)")
            }
        }
        if let uri, let problem = MigrationURI.problem(uri) { throw ValidationError("--uri \(uri): \(problem)") }
        if let connectUri {
            if let problem = MigrationURI.problem(connectUri) {
                throw ValidationError("--connect-uri \(connectUri): \(problem)")
            }
            guard let uri, MigrationURI.scheme(uri) == MigrationURI.scheme(connectUri), !uri.hasPrefix("fd:") else {
                throw ValidationError("--connect-uri \(connectUri): needs a --uri of the same kind")
            }
        }
    }

    private func migration() throws -> MigrationConfiguration {
        let attempt = AttemptIdentifier.make()
        let address = try QMPAddress(parsing: destination)
        var options = MigrateOptions(attempt: attempt, uri: uri ?? MigrationURI.beside(address.path, attempt: attempt))
        if let bandwidth { options.parameters.append(Setting("max-bandwidth", .integer(bandwidth.bytes))) }
        if let downtimeLimit {
            options.parameters.append(Setting("downtime-limit", .integer(downtimeLimit.milliseconds)))
        }
        options.connectURI = connectUri
        options.tls = tls.wish
        options.isHeld = hold
        options.isAbortedOnError = abortOnError
        options.hasHook = hook != nil
        if let holdTimeout { options.deadlines.milliseconds[.hold] = Int(holdTimeout.milliseconds) }
        postcopyArguments.apply(to: &options)
        options.storage = storage.wish(
            usual: tls.wish == nil
                ? MigrationURI.beside(address.path, attempt: "\(attempt)-disks")
                : StorageArguments.encrypted(beside: uri))
        if storage.bitmaps { options.capabilities.append("dirty-bitmaps") }
        options.capabilities += stream.capabilities
        options.parameters += stream.parameters
        try policyArguments.apply(to: &options, hasLimit: downtimeLimit != nil)
        options.timeoutMilliseconds = timeout.map { Int($0.milliseconds) }
        options.timeoutAction = timeoutAction
        options.isPausedIntended = paused
        options.keepsSource = keepSource
        options.hostName = Host.name
        options.hostUUID = Host.uuid
        var configuration = MigrationConfiguration(
            source: try QMPAddress(parsing: source), destination: address, options: options,
            stateDirectory: Directories.state)
        configuration.cacheDirectory = Directories.cache
        configuration.controlPath = RunningAttempts.path(of: attempt)
        configuration.hook = hook.map {
            HookConfiguration(program: $0, milliseconds: Int(hookTimeout?.milliseconds ?? 30_000))
        }
        configuration.tracePath = telling.trace
        if uri == nil, options.uri.hasPrefix("unix:") {
            configuration.temporarySocket = String(options.uri.dropFirst(5))
        }
        if storage.disksUri == nil, case .unix(let path) = options.storage?.server {
            configuration.temporaryDiskSocket = path
        }
        configuration.destinationLog = destinationLog
        return configuration
    }

    /// Runs the migration and exits with its code.
    public func run() async throws {
        let presentation = telling.presentation(
            from: source, to: destination, downtimeLimitMilliseconds: downtimeLimit?.milliseconds)
        let status = try await MigrationRun(configuration: try migration(), presentation: presentation).run()
        guard status == .completed else { throw status.exitCode }
    }
}
