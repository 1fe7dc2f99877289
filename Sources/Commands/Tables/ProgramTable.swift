import JSONC
import Migration
import Phases

/// A cell of a table.
enum TableCell: Hashable {
    case text(String)
    case list([String])
    case flag(Bool)
    case number(Int)

    /// The cell for a person.
    var text: String {
        switch self {
        case .text(let text): text
        case .list(let words): words.joined(separator: ", ")
        case .flag(let isSo): isSo ? "yes" : "no"
        case .number(let number): String(number)
        }
    }

    /// The cell for a program.
    var json: JSONValue {
        switch self {
        case .text(let text): .string(text)
        case .list(let words): .array(words.map { .string($0) })
        case .flag(let isSo): .bool(isSo)
        case .number(let number): .integer(Int64(number))
        }
    }
}

extension TableCell: ExpressibleByStringLiteral {
    init(stringLiteral text: String) { self = .text(text) }
}

/// Rows of one kind.
struct TableSection {
    /// The name for a program; the words of a command line, small and with hyphens.
    var name: String
    /// What the rows tell, for a person.
    var title: String
    /// The names of the columns.
    var columns: [String]
    var rows: [[TableCell]]
    /// Whether a terminal is better off with a heading for each value of the first column.
    var isGrouped = false
    /// The columns with whole sentences: on a terminal they stand below their row.
    var sentences: Set<String> = []
}

/// Something to draw.
struct TableGraph {
    struct Node {
        var id: String
        var text: String
        /// Whether it is a box with words (else the word of a state).
        var isBox = false
        /// The group it stands in.
        var group = ""
    }

    struct Edge {
        var from: String
        var to: String
        var text: String
    }

    var title: String
    var nodes: [Node]
    var edges: [Edge]
}

/// One of the program's own tables, in a form that can be printed in any way.
struct ProgramTable {
    /// The name of a table.
    enum Name: String, CaseIterable {
        case triggers, events, rules, phases, jobs, recovery, transitions

        /// What it holds.
        var title: String {
            switch self {
            case .triggers: "what can be asked of a QEMU, and when"
            case .events: "what can be observed of a QEMU"
            case .rules: "at what moments the outside sees what: the evidence that publishes each word"
            case .phases: "libvirt's sixteen phases and their legal moves"
            case .jobs: "the locking rules of the migration jobs"
            case .recovery: "what each side does after a restart"
            case .transitions: "the moves of QEMU's status word, by release"
            }
        }
    }

    var name: Name
    /// The version of the list, where a change is a change of the interface.
    var version: Int?
    var sections: [TableSection]
    var graph: TableGraph?

    /// The name, with the version where there is one.
    var heading: String { name.rawValue + (version.map { ", version \($0)" } ?? "") }

    /// The table of that name.
    ///
    /// - Parameter qemu: Only what holds for this version of QEMU; `transitions` alone knows of versions.
    init(_ name: Name, qemu: QEMUVersion? = nil) {
        switch name {
        case .triggers: self = .triggers
        case .events: self = .events
        case .rules: self = .rules
        case .phases: self = .phases
        case .jobs: self = .jobs
        case .recovery: self = .recovery
        case .transitions: self = .transitions(qemu)
        }
    }

    init(
        name: Name, version: Int? = nil, sections: [TableSection], graph: TableGraph? = nil
    ) {
        self.name = name
        self.version = version
        self.sections = sections
        self.graph = graph
    }
}

extension ProgramTable {
    /// Rows without a word for "whatever it is" would look as if something were missing.
    static func orAny(_ words: [String]) -> TableCell { words.isEmpty ? "any" : .list(words) }

    static func known(_ value: Bool?) -> TableCell { value.map { .flag($0) } ?? "any" }
}
