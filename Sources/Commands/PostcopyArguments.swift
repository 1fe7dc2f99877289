public import ArgumentParser
import Phases

/// After which a migration goes over to post-copy: a number of passes over memory, or a time.
public enum PostcopyMoment: Hashable, Sendable, ExpressibleByArgument {
    /// So many passes.
    case passes(Int)
    /// So long, in milliseconds.
    case milliseconds(Int)

    /// Reads `3` or `20s`; `nil` for anything else.
    public init?(argument: String) {
        if let passes = Int(argument) {
            guard (1...1_000_000).contains(passes) else { return nil }
            self = .passes(passes)
        } else {
            guard let time = TimeQuantity(argument: argument), time.milliseconds <= 86_400_000 else { return nil }
            self = .milliseconds(Int(time.milliseconds))
        }
    }
}

/// The options of `godwit migrate` about post-copy.
public struct PostcopyArguments: ParsableArguments {
    @Flag(name: .long, help: "Allow post-copy, started by `godwit postcopy`: the guest goes before its memory.")
    var postcopy = false

    @Option(
        name: .long, help: ArgumentHelp("Start it after so many passes (3) or so long (20s).", valueName: "moment"))
    var postcopyAfter: PostcopyMoment?

    @Option(
        name: .long,
        help: ArgumentHelp("Most bytes per second in post-copy, beside pages that are asked for.", valueName: "size"))
    var maxPostcopyBandwidth: ByteQuantity?

    @Flag(name: .long, help: "Send pages that are asked for over a connection of their own.")
    var postcopyPreempt = false

    @Flag(name: .long, help: "Let the destination measure how long the guest waited for pages.")
    var postcopyBlocktime = false

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        guard !isAllowed else { return }
        for (name, isGiven) in [
            ("--max-postcopy-bandwidth", maxPostcopyBandwidth != nil), ("--postcopy-preempt", postcopyPreempt),
            ("--postcopy-blocktime", postcopyBlocktime),
        ] where isGiven {
            throw ValidationError("\(name) needs --postcopy or --postcopy-after")
        }
    }

    private var isAllowed: Bool { postcopy || postcopyAfter != nil }

    func apply(to options: inout MigrateOptions) {
        guard isAllowed else { return }
        var wish = PostcopyWish(bytesPerSecond: maxPostcopyBandwidth?.bytes)
        switch postcopyAfter {
        case .passes(let passes): wish.afterPasses = passes
        case .milliseconds(let milliseconds): wish.afterMilliseconds = milliseconds
        case nil: break
        }
        options.postcopy = wish
        if postcopyPreempt { options.capabilities.append("postcopy-preempt") }
        if postcopyBlocktime { options.capabilities.append("postcopy-blocktime") }
    }
}
