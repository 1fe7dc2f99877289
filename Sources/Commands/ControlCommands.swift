public import ArgumentParser
import JSONC
import Migration
import MigrationQMP
import Phases

/// Which of the running attempts is meant.
public struct AttemptArgument: ParsableArguments {
    @Argument(help: "The attempt's id or how it begins; not needed where only one runs.")
    var attempt: String?

    /// Made by the parser.
    public init() {}

    /// Asks it for something and exits with the answer's code.
    func ask(_ command: String, _ arguments: JSONObject = [:]) async throws {
        do throws(RunningAttemptError) {
            _ = try await RunningAttempts.connect(attempt).ask(command, arguments)
        } catch {
            Console.note("godwit: \(error.description)")
            throw error.outcome.exitCode
        }
    }
}

/// `godwit cancel`
public struct CancelCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel a running migration; how it ends, it tells itself.")

    @OptionGroup var which: AttemptArgument

    /// Made by the parser.
    public init() {}

    /// Asks for it.
    public func run() async throws { try await which.ask("cancel") }
}

/// `godwit continue`
public struct ContinueCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "continue", abstract: "Let a guest go that `migrate --hold` holds before the switchover.")

    @OptionGroup var which: AttemptArgument

    /// Made by the parser.
    public init() {}

    /// Asks for it.
    public func run() async throws { try await which.ask("continue") }
}

/// `godwit pause-guest`
public struct PauseGuestCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "pause-guest",
        abstract: "Stop the guest of a running migration, so that it converges; it runs again where it arrives.")

    @OptionGroup var which: AttemptArgument

    /// Made by the parser.
    public init() {}

    /// Asks for it.
    public func run() async throws { try await which.ask("pause-guest") }
}

/// `godwit postcopy`
public struct PostcopyCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "postcopy",
        abstract: "Let the guest of a running migration go before its memory; it has to have been allowed.")

    @OptionGroup var which: AttemptArgument

    /// Made by the parser.
    public init() {}

    /// Asks for it.
    public func run() async throws { try await which.ask("postcopy") }
}

/// `godwit pause-postcopy`
public struct PausePostcopyCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "pause-postcopy",
        abstract: "Interrupt a post-copy, so that it can go on over another connection.",
        discussion: """
            The guest goes on until it touches memory that has not arrived. From then on the destination's QEMU answers \
            nothing but `godwit recover`; the `godwit migrate` that runs must not be ended, as no new connection can be made.
            """)

    @OptionGroup var which: AttemptArgument

    /// Made by the parser.
    public init() {}

    /// Asks for it.
    public func run() async throws { try await which.ask("pause-postcopy") }
}

/// `godwit recover`
public struct RecoverCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "recover", abstract: "Go on with a post-copy that was interrupted.")

    @OptionGroup var which: AttemptArgument

    @Option(
        name: .long,
        help: "Where the destination listens now: tcp:HOST:PORT or unix:PATH. Default: the address as it was, afresh.")
    var uri: String?

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        guard let uri else { return }
        if let problem = MigrationURI.problem(uri) { throw ValidationError("--uri \(uri): \(problem)") }
        guard ["tcp", "unix", "vsock"].contains(MigrationURI.scheme(uri)) else {
            throw ValidationError("--uri \(uri): a recovery needs an address that can be connected to")
        }
    }

    /// Asks for it.
    public func run() async throws {
        try await which.ask("recover", uri.map { ["uri": .string($0)] } ?? [:])
    }
}

/// `godwit set`
public struct SetCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change a running migration's limits.",
        discussion: "Done when QEMU has said so. What the limits were before is put back at the end as usual.")

    @OptionGroup var which: AttemptArgument

    @Option(name: .long, help: ArgumentHelp("Most bytes per second; 0 for no limit.", valueName: "size"))
    var bandwidth: ByteQuantity?

    @Option(name: .long, help: ArgumentHelp("Most bytes per second in post-copy; 0 for no limit.", valueName: "size"))
    var maxPostcopyBandwidth: ByteQuantity?

    @Option(name: .long, help: ArgumentHelp("Longest wanted stop of the guest.", valueName: "time"))
    var downtimeLimit: TimeQuantity?

    @Option(name: .long, help: ArgumentHelp("Throttling, at first.", valueName: "percent"))
    var cpuThrottleInitial: Percentage?

    @Option(name: .long, help: ArgumentHelp("Throttling, each time more.", valueName: "percent"))
    var cpuThrottleIncrement: Percentage?

    @Option(name: .long, help: ArgumentHelp("Throttling, at most.", valueName: "percent"))
    var maxCpuThrottle: Percentage?

    @Option(name: .long, help: ArgumentHelp("Bytes of sent pages to keep; a power of two.", valueName: "size"))
    var xbzrleCacheSize: ByteQuantity?

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if parameters.isEmpty { throw ValidationError("nothing to be set") }
        if let limit = downtimeLimit, limit.milliseconds > 2_000_000 {
            throw ValidationError("--downtime-limit: QEMU takes at most 2000 s")
        }
    }

    private var parameters: JSONObject {
        var object: JSONObject = [:]
        for (name, value) in [
            ("max-bandwidth", bandwidth?.bytes), ("max-postcopy-bandwidth", maxPostcopyBandwidth?.bytes),
            ("downtime-limit", downtimeLimit?.milliseconds), ("cpu-throttle-initial", cpuThrottleInitial?.value),
            ("cpu-throttle-increment", cpuThrottleIncrement?.value), ("max-cpu-throttle", maxCpuThrottle?.value),
            ("xbzrle-cache-size", xbzrleCacheSize?.bytes),
        ] {
            if let value { object[name] = .integer(value) }
        }
        return object
    }

    /// Asks for it.
    public func run() async throws { try await which.ask("set", ["parameters": .object(parameters)]) }
}
