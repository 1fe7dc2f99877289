public import ArgumentParser
import Replay
import Trace

/// Named as on the command line.
extension ImportFormat: ExpressibleByArgument {}

/// `godwit convert`
public struct ConvertCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Make a trace of what others recorded: libvirt's logs, QMP streams, qmp-shell, QEMU's tracing.",
        discussion: """
            What a file is, is found by looking into it, never by its name; gzip and zstd are undone. It can be

            \(ImportFormat.allCases.map { "  \($0.rawValue): \($0.description)" }.joined(separator: "\n"))

            Several files become one trace, put together by the times in them: the log of the daemon that the guest \
            left and that of the one it went to. Which side a QEMU is on follows from what was said to it; --source \
            and --destination say it of a whole file where it does not. Of many domains in a log, --domain takes one, \
            --output-directory makes a trace of each.

            Messages stay as they are spelt, but secrets in them are masked (--no-redact keeps them). `godwit replay`, \
            explain, diff and report read one such file directly, and call its records by its lines.

            Exit codes: 0, \(CommandOutcome.data.rawValue) if a file makes no sense or knows no such domain, \
            \(CommandOutcome.noInput.rawValue) if one is not there, \(CommandOutcome.output.rawValue) if a trace cannot \
            be written.
            """)

    @Option(name: .shortAndLong, help: ArgumentHelp("Where the trace goes; - is standard output.", valueName: "file"))
    var output: String?

    @Option(name: .long, help: ArgumentHelp("Write NAME.qmptrace for each domain in here.", valueName: "directory"))
    var outputDirectory: String?

    @Option(name: .long, help: ArgumentHelp("Only this domain.", valueName: "name"))
    var domain: String?

    @Option(name: .long, help: ArgumentHelp("What the files are, instead of looking.", valueName: "format"))
    var from: ImportFormat?

    @Option(name: .long, help: ArgumentHelp("A file in which all QEMUs are the source.", valueName: "file"))
    var source: [String] = []

    @Option(name: .long, help: ArgumentHelp("A file in which all QEMUs are the destination.", valueName: "file"))
    var destination: [String] = []

    @Flag(name: .long, help: "List the domains, write nothing.")
    var list = false

    @Flag(name: .long, help: "Replace traces that exist.")
    var force = false

    @Flag(name: .long, help: "Leave passwords and keys in the messages.")
    var noRedact = false

    @Flag(name: .long, help: "Skip what cannot be understood, and count it.")
    var lenient = false

    @Argument(help: ArgumentHelp("Recordings; - is standard input.", valueName: "file"))
    var files: [String] = []

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        let all = files + source + destination
        guard !all.isEmpty else { throw ValidationError("Name a recording to convert.") }
        guard [output != nil, outputDirectory != nil, list].count(where: { $0 }) == 1 else {
            throw ValidationError("Say where it goes: one of --output, --output-directory, --list")
        }
        if let output, output != "-", all.contains(output) {
            throw ValidationError("--output \(output): that is one of the recordings")
        }
        if all.count(where: { $0 == "-" }) > 1 { throw ValidationError("only one recording can be standard input") }
        if from == .qmptrace { throw ValidationError("--from qmptrace: a trace need not be converted") }
    }

    /// Looks through the files, then writes.
    public func run() throws { try Console.telling(tell) }

    private func tell() throws {
        let conversion: Conversion
        do throws(TraceError) {
            conversion = try look()
        } catch {
            throw error.told()
        }
        conversion.warnings.forEach { Console.note("godwit: warning: \(Console.safe($0.description))") }
        if list { return conversion.guests.forEach { Console.print(Self.line($0)) } }
        var guests = conversion.guests
        if let domain {
            guests = guests.filter { $0.name == domain }
            guard !guests.isEmpty else {
                Console.note("godwit: no domain '\(Console.safe(domain))' is in it; there are:")
                conversion.guests.forEach { Console.note(Self.line($0)) }
                throw CommandOutcome.data.exitCode
            }
        }
        if output != nil, guests.count > 1 {
            Console.note(
                "godwit: \(guests.count) domains are in it; --domain takes one, --output-directory writes each:")
            guests.forEach { Console.note(Self.line($0)) }
            throw CommandOutcome.data.exitCode
        }
        do {
            for (index, guest) in guests.enumerated() {
                let path = output ?? "\(outputDirectory ?? ".")/\(Self.fileName(guest, index)).qmptrace"
                let records = try OutputFile.make(path, isReplaced: force) { descriptor, name in
                    try conversion.write(
                        guest, to: descriptor, name: name, options: Conversion.Options(isRedacted: !noRedact))
                }
                Console.note("\(Console.safe(path)): \(records) records; \(Self.line(guest))")
            }
        } catch let problem as any CommandProblem {
            Console.note(problem.note)
            throw CommandOutcome.output.exitCode
        }
    }

    private func look() throws(TraceError) -> Conversion {
        var inputs: [ImportFile] = []
        for path in files { inputs.append(try ImportFile(path: path, format: from)) }
        for path in source { inputs.append(try ImportFile(path: path, format: from, side: .source)) }
        for path in destination { inputs.append(try ImportFile(path: path, format: from, side: .destination)) }
        if let trace = inputs.first(where: { $0.format == .qmptrace }) {
            throw TraceError(file: trace.name, message: "is a trace already, and need not be converted")
        }
        return try Conversion(inputs, lenient: lenient)
    }

    /// A domain's name may hold anything; a file's must not lead elsewhere.
    private static func fileName(_ guest: ImportedGuest, _ index: Int) -> String {
        guard let name = guest.name?.split(separator: "/").last.map(String.init) else { return "guest-\(index + 1)" }
        let safe = String(Console.safe(name).map { $0 == "\n" ? "_" : $0 }.prefix(100))
        return safe.hasPrefix(".") || safe.isEmpty ? "guest-\(index + 1)" : safe
    }

    private static func line(_ guest: ImportedGuest) -> String {
        let sides = TraceSide.allCases.filter { guest.sides.contains($0) }.map(\.rawValue).joined(separator: " and ")
        return Console.safe(
            "\(guest.name ?? "one guest"): \(sides), \(guest.commands) \(guest.commands == 1 ? "command" : "commands"), "
                + "\(guest.messages) \(guest.messages == 1 ? "message" : "messages") from QEMU")
    }
}
