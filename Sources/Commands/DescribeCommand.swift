public import ArgumentParser
import Controller
import JSONC
import Migration
import MigrationQMP
import Phases
import QMP
import QMPTransport

/// `godwit describe`
public struct DescribeCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "describe",
        abstract: "Tell what a guest is made of, and how a destination for it is started.",
        discussion: """
            What the steps of a migration tell the destination about the guest: machine, CPU, memory, devices with their \
            places, disks. It is all that can be moved of a guest whose QEMU does not run there yet: with --command-line its \
            QEMU's own command line, made one that waits for the guest. Passwords in it are masked, and sockets, logs and \
            process files are the source's: they must be given other names on the same host. Devices that were plugged in \
            later are not in it; `godwit check` names them.
            """)

    @Option(name: .long, help: ArgumentHelp("The QMP socket of the guest's QEMU.", valueName: "qmp-socket"))
    var qmp: String

    @Flag(name: .long, help: "Only the command line of a destination, quoted for a shell.")
    var commandLine = false

    @Option(name: .long, help: "Output: text, or json (one object).")
    var format: OutputFormat = .text

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        do throws(QMPError) { _ = try QMPAddress(parsing: qmp) } catch {
            throw ValidationError("--qmp: \(error.message)")
        }
    }

    /// Asks and tells.
    public func run() async throws {
        let description: DomainDescription
        do throws(QMPError) {
            let inspection = try await QEMUInspection(try QMPAddress(parsing: qmp))
            description = try await inspection.facts().survey.description
            await inspection.close()
        } catch {
            Console.note("godwit: \(Console.safe(error.message))")
            throw CommandOutcome.unavailable.exitCode
        }
        let line = description.destinationCommandLine
        if commandLine, line == nil {
            Console.note("godwit: \(Console.safe(qmp)): nothing tells the command line of this QEMU")
            throw CommandOutcome.unavailable.exitCode
        }
        try Console.telling {
            if commandLine {
                Console.print(Self.quoted(line ?? []))
            } else if format == .json {
                var object = description.json.object ?? [:]
                if let line { object["destination-command-line"] = .array(line.map { .string($0) }) }
                Console.print(JSONValue.object(object).text())
            } else {
                Self.lines(description).forEach { Console.print(Console.safe($0)) }
            }
        }
    }

    private static func lines(_ description: DomainDescription) -> [String] {
        var lines = [
            "\(description.name ?? "a guest without a name") (UUID \(description.uuid ?? "none")), QEMU \(description.version)",
            "  machine  \(description.machineType), \(description.cpuModel), \(description.cpus.count) processors",
            "  memory   \(Quantity.bytes(description.memoryBytes))"
                + (description.pluggedMemoryBytes > 0
                    ? " and \(Quantity.bytes(description.pluggedMemoryBytes)) plugged in" : ""),
        ]
        for node in description.blockNodes {
            let size = node.bytes.map { ", \(Quantity.bytes($0))" } ?? ""
            lines.append("  disk     \(node.name): \(node.driver)\(size)\(node.isReadOnly ? ", read-only" : "")")
        }
        // What comes with the machine need not be told.
        for device in description.devices where !device.path.hasPrefix("/machine/unattached/") {
            let place = device.properties.map { "\($0.name)=\($0.value)" }.joined(separator: ", ")
            lines.append("  device   \(device.path): \(device.type)\(place.isEmpty ? "" : ", \(place)")")
        }
        return lines
    }

    /// Quoted for a shell where that is needed.
    static func quoted(_ arguments: [String]) -> String {
        arguments.map { argument in
            let isPlain =
                !argument.isEmpty
                && argument.utf8.allSatisfy {
                    switch $0 {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"):
                        true
                    default: "-_./,=:@+%".utf8.contains($0)
                    }
                }
            return isPlain
                ? argument
                : "'" + argument.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''")
                    + "'"
        }.joined(separator: " ")
    }
}

extension DomainDescription {
    /// The command line of this QEMU, made that of one that waits for the guest; `nil` where nothing tells it.
    var destinationCommandLine: [String]? {
        guard var line = commandLine, !line.isEmpty else { return nil }
        // A QEMU that received its guest was told where from, and waits for another one by itself from now on.
        while let place = line.firstIndex(where: { $0 == "-incoming" || $0 == "--incoming" }) {
            line.removeSubrange(place..<min(place + 2, line.count))
        }
        line.removeAll { $0 == "-S" || $0 == "--S" }
        return line + ["-S", "-incoming", "defer"]
    }
}
