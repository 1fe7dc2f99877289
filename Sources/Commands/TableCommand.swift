public import ArgumentParser
import JSONC
import Migration

/// How a table looks.
public enum TableFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    /// Aligned columns.
    case text
    /// One object.
    case json
    /// For Graphviz.
    case dot
    /// For Mermaid.
    case mermaid
    /// For documentation.
    case markdown
}

/// `godwit table`
public struct TableCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "table",
        abstract: "Print the tables that the program itself goes by.",
        discussion: """
            Tables:
            \(ProgramTable.Name.allCases
                .map { "  \($0.rawValue)\(String(repeating: " ", count: 13 - $0.rawValue.count))\($0.title)" }
                .joined(separator: "\n"))

            Without a name their names are printed. rules has a version: a change of it is a change of the interface. \
            phases, rules and transitions can be drawn (dot, mermaid).
            """)

    @Option(name: .long, help: "Output: text, json, dot, mermaid, or markdown.")
    var format: TableFormat = .text

    @Option(
        name: .long,
        help: ArgumentHelp("Only the moves that this version of QEMU makes (transitions).", valueName: "version"))
    var qemuVersion: String?

    @Argument(help: ArgumentHelp("Which table.", valueName: "table"))
    var table: String?

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws { _ = try output() }

    /// Prints the table.
    public func run() throws { try Console.telling { Console.print(try output()) } }

    /// What is printed, without the last line feed.
    func output() throws -> String {
        guard let table else { return try list() }
        guard let name = ProgramTable.Name(rawValue: table) else {
            throw ValidationError("no table '\(table)'; there are: \(Self.names(ProgramTable.Name.allCases))")
        }
        let made = ProgramTable(name, qemu: try qemu(for: name))
        switch format {
        case .text: return made.text
        case .json: return made.json.text()
        case .markdown: return made.markdown
        case .dot: return try graph(of: made).dot
        case .mermaid: return try graph(of: made).mermaid
        }
    }

    private func graph(of table: ProgramTable) throws -> TableGraph {
        if let graph = table.graph { return graph }
        let drawable = ProgramTable.Name.allCases.filter { ProgramTable($0).graph != nil }
        throw ValidationError(
            "--format \(format.rawValue): \(table.name.rawValue) is no graph; \(Self.names(drawable)) can be drawn")
    }

    private func qemu(for name: ProgramTable.Name) throws -> QEMUVersion? {
        guard let qemuVersion else { return nil }
        guard name == .transitions else {
            throw ValidationError("--qemu-version: only transitions differ by version, not \(name.rawValue)")
        }
        let numbers = qemuVersion.split(separator: ".", omittingEmptySubsequences: false).map { UInt16($0) }
        guard (2...3).contains(numbers.count), let major = numbers[0], let minor = numbers[1],
            let micro = numbers.count == 3 ? numbers[2] : 0
        else { throw ValidationError("--qemu-version \(qemuVersion): not a version like 10.0 or 10.0.2") }
        return QEMUVersion(Int(major), Int(minor), Int(micro))
    }

    private func list() throws -> String {
        if qemuVersion != nil { throw ValidationError("--qemu-version: for which table?") }
        let section = TableSection(
            name: "tables", title: "Tables", columns: ["table", "what it holds"],
            rows: ProgramTable.Name.allCases.map { [.text($0.rawValue), .text($0.title)] })
        switch format {
        case .text: return section.textLines.joined(separator: "\n")
        case .json: return section.json.text()
        case .dot, .mermaid, .markdown: throw ValidationError("--format \(format.rawValue): of which table?")
        }
    }

    private static func names(_ names: [ProgramTable.Name]) -> String {
        names.map(\.rawValue).joined(separator: ", ")
    }
}
