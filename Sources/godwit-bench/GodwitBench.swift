import ArgumentParser
import CBench

@main
struct GodwitBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-bench",
        abstract: "Measures Godwit beside C programs that do only the least, in one run and interleaved.",
        discussion: """
            Needs qemu-system-x86_64 and binutils; build for release. Every figure is the median of the runs, beside the value that one in a hundred \
            exceeds. The exit code is 0 whether or not goals are met; --strict makes a missed goal 1.
            """,
        subcommands: [
            AllCommand.self, GapCommand.self, StartupCommand.self, RoundTripCommand.self, EventsCommand.self,
            ReplayBenchCommand.self, GenerateCommand.self, FloorCommand.self,
        ],
        defaultSubcommand: AllCommand.self)
}

/// Everything.
struct AllCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "all", abstract: "All benchmarks.")
    @OptionGroup var options: BenchOptions

    func run() async throws {
        var isReached = true
        let events = try EventsBench(options: options).run()
        isReached = options.show([events]) && isReached
        let trips = try await RoundTripBench(options: options).run()
        isReached = options.show([trips]) && isReached
        let bench = MigrationBench(options: options)
        let runs = try bench.run()
        isReached = options.show([bench.gap(runs), bench.startup(runs)]) && isReached
        if options.strict, !isReached { throw ExitCode(1) }
    }
}

/// Our share of the pause.
struct GapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gap", abstract: "Our share of the guest's pause, by the trace logs of both QEMUs.")
    @OptionGroup var options: BenchOptions

    func run() throws {
        let bench = MigrationBench(options: options)
        if !options.show([bench.gap(try bench.run())]), options.strict { throw ExitCode(1) }
    }
}

/// The time before and after.
struct StartupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "startup", abstract: "Command line to `migrate`, RESUME to exit, memory and threads.")
    @OptionGroup var options: BenchOptions

    func run() throws {
        let bench = MigrationBench(options: options)
        if !options.show([bench.startup(try bench.run())]), options.strict { throw ExitCode(1) }
    }
}

/// query-status.
struct RoundTripCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rtt", abstract: "Round trips of query-status.")
    @OptionGroup var options: BenchOptions

    func run() async throws {
        if !options.show([try await RoundTripBench(options: options).run()]), options.strict { throw ExitCode(1) }
    }
}

/// A flood.
struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "events", abstract: "Events parsed each second.")
    @OptionGroup var options: BenchOptions

    func run() throws {
        if !options.show([try EventsBench(options: options).run()]), options.strict { throw ExitCode(1) }
    }
}

/// The C program that only reacts, as a process of its own.
struct FloorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "floor", abstract: "Migrate by reacting only.", shouldDisplay: false)
    @Argument var source: String
    @Argument var destination: String
    @Argument var uri: String
    @Argument var parameters: String

    func run() throws {
        if godwit_bench_react(source, destination, uri, parameters) != 0 { throw ExitCode(1) }
    }
}
