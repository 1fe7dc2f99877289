public import ArgumentParser

/// How an attempt is told, for the commands that make one.
public struct TellingArguments: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("Record the attempt in this file.", valueName: "file"))
    var trace: String?

    @Option(name: .long, help: "Output: text, or json (one object on a line for each event).")
    var format: OutputFormat = .text

    @Flag(name: .long, help: "Say only how it ended.")
    var quiet = false

    @Flag(name: .long, help: "Say also phases, reasons and where the journal is.")
    var verbose = false

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if quiet, verbose { throw ValidationError("--quiet and --verbose exclude each other") }
    }

    /// - Parameter downtimeLimitMilliseconds: The limit that was asked for; QEMU's usual one without.
    func presentation(
        from source: String, to destination: String, downtimeLimitMilliseconds: Int64? = nil
    ) -> MigrationRun.Presentation {
        MigrationRun.Presentation(
            format: format, verbosity: quiet ? .quiet : verbose ? .verbose : .normal, source: source,
            destination: destination, downtimeLimitMilliseconds: Double(downtimeLimitMilliseconds ?? 300))
    }
}
