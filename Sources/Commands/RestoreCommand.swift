public import ArgumentParser
import Controller
internal import Glibc
import JSONC
import Migration
import MigrationQMP
import Phases
import QMP
import QMPTransport

/// `godwit restore`
public struct RestoreCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Let a guest that was saved go on.",
        discussion: """
            The destination must have been started with the guest's devices and `-S -incoming defer`. What is written in \
            FILE.godwit is compared with it first; without that, QEMU's own words have to do. The guest runs if it ran \
            when it was saved. The file stays.
            """)

    @Option(name: .long, help: ArgumentHelp("The QMP socket of the QEMU that waits for it.", valueName: "qmp-socket"))
    var destination: String

    @Argument(help: "The file.")
    var file: String

    @OptionGroup(title: "The file, where FILE.godwit does not say it")
    var form: FileArguments

    @Flag(name: .long, help: "Leave the guest paused.")
    var paused = false

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
        do throws(QMPError) { _ = try QMPAddress(parsing: destination) } catch {
            throw ValidationError("--destination: \(error.message)")
        }
        if file.isEmpty { throw ValidationError("no file") }
    }

    private func fail(_ outcome: CommandOutcome, _ why: String) -> ExitCode {
        Console.note("godwit: \(why)")
        return outcome.exitCode
    }

    /// What is known of the guest, and whether the file can be one at all: a QEMU that began to read rubbish is spent.
    private func look(_ path: String) throws -> SavedGuest? {
        guard let stream = fopen(path, "r") else {
            throw fail(.noInput, "\(file): \(String(cString: strerror(errno)))")
        }
        defer { fclose(stream) }
        var magic = [UInt8](repeating: 0, count: 8)
        // QEMU's mark of a stream, and the only version there is.
        guard fread(&magic, 1, 8, stream) == 8, magic == Array("QEVM".utf8) + [0, 0, 0, 3] else {
            throw fail(.data, "\(file): no guest of QEMU's is in it")
        }
        do throws(DocumentError) { return try SavedGuest.read(beside: path) } catch {
            throw fail(.data, error.description)
        }
    }

    /// Runs it and exits with its code.
    public func run() async throws {
        let path = FilePlace.absolute(file)
        let saved = try look(path)
        let attempt = AttemptIdentifier.make()
        var options = MigrateOptions(attempt: attempt, uri: "file:\(path)")
        options.mode = .restore
        var wish = FileWish(path: path)
        wish.description = saved?.description
        wish.wasRunning = saved?.wasRunning
        options.file = wish
        options.capabilities = saved?.capabilities ?? []
        options.parameters = (saved?.parameters ?? [:]).map { Setting($0.key, SettingValue($0.value)) }
        form.apply(to: &options)
        options.isPausedIntended = paused
        options.hostName = Host.name
        options.hostUUID = Host.uuid
        var configuration = MigrationConfiguration(
            source: nil, destination: try QMPAddress(parsing: destination), options: options,
            stateDirectory: Directories.state)
        configuration.cacheDirectory = Directories.cache
        configuration.controlPath = RunningAttempts.path(of: attempt)
        configuration.tracePath = telling.trace
        configuration.destinationLog = destinationLog
        do {
            configuration.file = try GuestFile(restoring: path, isDirect: options.file?.isDirect ?? false)
        } catch {
            throw fail(.noInput, OutputError(error).description)
        }
        let run = MigrationRun(
            configuration: configuration, presentation: telling.presentation(from: file, to: destination))
        let status = try await run.run()
        guard status == .completed else { throw status.exitCode }
    }
}
