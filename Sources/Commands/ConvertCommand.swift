public import ArgumentParser
internal import Glibc
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

            Exit codes: 0, or \(CommandOutcome.data.rawValue) if a file cannot be read or knows no such domain, \
            \(CommandOutcome.output.rawValue) if a trace cannot be written.
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
    public func run() throws {
        let conversion: Conversion
        do throws(TraceError) {
            conversion = try look()
        } catch {
            Console.note("godwit: \(Console.safe("\(error)"))")
            throw CommandOutcome.data.exitCode
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
        do throws(TraceError) {
            for (index, guest) in guests.enumerated() {
                let path = output ?? "\(outputDirectory ?? ".")/\(Self.fileName(guest, index)).qmptrace"
                let records = try write(guest, of: conversion, to: path)
                Console.note("\(Console.safe(path)): \(records) records; \(Self.line(guest))")
            }
        } catch {
            Console.note("godwit: \(Console.safe("\(error)"))")
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

    /// Writes beside the file first and puts it in its place then.
    private func write(
        _ guest: ImportedGuest, of conversion: Conversion, to path: String
    ) throws(TraceError) -> Int {
        let options = Conversion.Options(isRedacted: !noRedact)
        if path == "-" {
            return try conversion.write(guest, to: STDOUT_FILENO, name: "standard output", options: options)
        }
        func failure() -> TraceError { TraceError(file: path, message: String(cString: strerror(errno))) }
        var status = stat()
        let exists = stat(path, &status) == 0
        // A pipe or a device cannot be replaced.
        if exists, status.st_mode & S_IFMT != S_IFREG {
            let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY)
            guard descriptor >= 0 else { throw failure() }
            defer { close(descriptor) }
            return try conversion.write(guest, to: descriptor, name: path, options: options)
        }
        if exists, !force { throw TraceError(file: path, message: "exists; --force replaces it") }
        let temporary = "\(path).\(getpid()).part"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0o600)
        guard descriptor >= 0 else { throw failure() }
        var isDone = false
        defer {
            close(descriptor)
            if !isDone { unlink(temporary) }
        }
        let records = try conversion.write(guest, to: descriptor, name: path, options: options)
        guard rename(temporary, path) == 0 else { throw failure() }
        isDone = true
        return records
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
