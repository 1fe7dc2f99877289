public import ArgumentParser
import Controller
import Migration
import Phases
import QMP
import QMPTransport

/// `godwit save`
public struct SaveCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "save",
        abstract: "Put a guest into a file and end its QEMU.",
        discussion: """
            The guest stands still while it is written. The file has its name when all of it is safe on the disk; until \
            then the guest can go on, and does if anything fails or somebody cancels. Disks are no part of the file. What \
            the guest is made of is written beside it, in FILE.godwit.
            """)

    @Option(name: .long, help: ArgumentHelp("The QMP socket of the guest's QEMU.", valueName: "qmp-socket"))
    var source: String

    @Argument(help: "The file.")
    var file: String

    @Flag(name: .long, help: "Replace a file of that name.")
    var force = false

    @OptionGroup(title: "The file")
    var form: FileArguments

    @Option(name: .long, help: ArgumentHelp("Most bytes per second, e.g. 100MiB.", valueName: "size"))
    var bandwidth: ByteQuantity?

    @Option(
        name: .long, help: ArgumentHelp("How long it may take, e.g. 5min; then it is cancelled.", valueName: "time"))
    var timeout: TimeQuantity?

    @Flag(name: .long, help: "Leave the QEMU in postmigrate instead of ending it.")
    var keepSource = false

    @OptionGroup(title: "Output")
    var telling: TellingArguments

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        do throws(QMPError) { _ = try QMPAddress(parsing: source) } catch {
            throw ValidationError("--source: \(error.message)")
        }
        if file.isEmpty { throw ValidationError("no file") }
        if form.multifdChannels != nil, !form.mappedRam {
            throw ValidationError("--multifd-channels needs --mapped-ram: else QEMU writes one page after the other")
        }
        if form.directIo, form.multifdChannels == nil { throw ValidationError("--direct-io needs --multifd-channels") }
        if let timeout, timeout.milliseconds == 0 { throw ValidationError("--timeout: no time at all") }
    }

    /// Runs it and exits with its code.
    public func run() async throws {
        let path = FilePlace.absolute(file)
        let attempt = AttemptIdentifier.make()
        var options = MigrateOptions(attempt: attempt, uri: "file:\(path)")
        options.mode = .save
        options.file = FileWish(path: path)
        // A network is shared, a disk is waited for.
        options.parameters = [Setting("max-bandwidth", .integer(bandwidth?.bytes ?? 0))]
        form.apply(to: &options)
        options.timeoutMilliseconds = timeout.map { Int($0.milliseconds) }
        options.keepsSource = keepSource
        options.hostName = Host.name
        options.hostUUID = Host.uuid
        var configuration = MigrationConfiguration(
            source: try QMPAddress(parsing: source), destination: nil, options: options,
            stateDirectory: Directories.state)
        configuration.cacheDirectory = Directories.cache
        configuration.controlPath = RunningAttempts.path(of: attempt)
        configuration.tracePath = telling.trace
        do {
            configuration.file = try GuestFile(
                saving: path, isReplaced: force, isDirect: options.file?.isDirect ?? false)
        } catch {
            Console.note("godwit: \(OutputError(error).description)")
            throw CommandOutcome.output.exitCode
        }
        let run = MigrationRun(
            configuration: configuration, presentation: telling.presentation(from: source, to: file))
        let status = try await run.run()
        guard status == .completed else { throw status.exitCode }
    }
}
