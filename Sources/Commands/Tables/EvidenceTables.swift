import Migration
import Phases

/// The tables of what is asked and seen.
extension ProgramTable {
    static var triggers: ProgramTable {
        let kinds = TableSection(
            name: "triggers", title: "What can be asked",
            columns: ["trigger", "command", "of", "allowed in", "under conditions", "waits until"],
            rows: TriggerKind.allCases.flatMap { kind in
                Side.allCases.compactMap { side -> [TableCell]? in
                    let rows = PermissionTable.rows(for: .trigger(kind), on: side).filter { $0.answer == .allowed }
                    guard !rows.isEmpty else { return nil }
                    return [.text(kind.rawValue), .list(kind.commands), .text(side.rawValue)] + stages(rows) + [
                        .text(kind.clearsWhen)
                    ]
                }
            },
            sentences: ["waits until"])
        let permissions = TableSection(
            name: "permissions",
            title: "What may be asked when (of the rows of one act and side the first that applies decides)",
            columns: ["act", "of", "in", "releases", "if", "answer"],
            rows: PermissionTable.rows.map { row in
                let answer =
                    switch row.answer {
                    case .allowed: "allowed"
                    case .refused(let why, let instead): "refused: " + (why.map { "\($0). " } ?? "") + instead
                    }
                return [
                    .text(row.act.description), .text(row.side.rawValue), orAny(row.stages.map(\.rawValue)),
                    .text(row.releases.description), .text(row.condition?.name ?? ""), .text(answer),
                ]
            },
            sentences: ["answer"])
        return ProgramTable(name: .triggers, sections: [kinds, permissions])
    }

    /// In which stages something is allowed whatever else is so, and in which under conditions.
    private static func stages(_ rows: [PermissionRow]) -> [TableCell] {
        func kinds(_ rows: [PermissionRow]) -> Set<StageKind> {
            Set(rows.flatMap { $0.stages.isEmpty ? StageKind.allCases.filter { $0 != .gone } : $0.stages })
        }
        let free = kinds(rows.filter { $0.condition == nil && $0.releases == .all })
        let bound = kinds(rows).subtracting(free)
        func list(_ kinds: Set<StageKind>) -> TableCell {
            if kinds.count == StageKind.allCases.count - 1 { return "any" }
            return .list(StageKind.allCases.filter(kinds.contains).map(\.rawValue))
        }
        return [list(free), list(bound)]
    }

    static var events: ProgramTable {
        let rows = EventKind.allCases.map { kind -> [TableCell] in
            [.text(kind.rawValue), .list(kind.sources.map(\.rawValue)), .list(kind.words)]
        }
        return ProgramTable(
            name: .events,
            sections: [
                TableSection(
                    name: "events", title: "What can be observed", columns: ["event", "sources", "QEMU's words"],
                    rows: rows)
            ])
    }

    static var transitions: ProgramTable { transitions(nil) }

    static func transitions(_ qemu: QEMUVersion?) -> ProgramTable {
        let edges = TransitionTable.edges.filter { edge in qemu.map { edge.isPossible(in: $0) } ?? true }
        let only = qemu.map { " of QEMU \(QEMURelease($0))" } ?? ""
        let section = TableSection(
            name: "transitions", title: "The moves of the status word\(only)",
            columns: ["side", "from", "to", "releases", "by", "when"],
            rows: edges.map { edge in
                [
                    .text(edge.side.rawValue), .text(edge.from.rawValue), .text(edge.to.rawValue),
                    .text(edge.releases.description), .list(edge.movers.map(\.rawValue)), .text(edge.condition),
                ]
            },
            isGrouped: true)
        return ProgramTable(
            name: .transitions, sections: [section],
            graph: graph(edges, title: "\(Name.transitions.rawValue)\(only)", showsReleases: qemu == nil))
    }

    private static func graph(_ edges: [StatusEdge], title: String, showsReleases: Bool) -> TableGraph {
        var nodes: [TableGraph.Node] = []
        var drawn: [String: Int] = [:]
        var lines: [TableGraph.Edge] = []
        for edge in edges {
            for word in [edge.from, edge.to] {
                let id = "\(edge.side.rawValue)-\(word.rawValue)"
                guard !nodes.contains(where: { $0.id == id }) else { continue }
                nodes.append(TableGraph.Node(id: id, text: word.rawValue, group: edge.side.rawValue))
            }
            let text = showsReleases && edge.releases != .all ? edge.releases.description : ""
            let from = "\(edge.side.rawValue)-\(edge.from.rawValue)"
            let to = "\(edge.side.rawValue)-\(edge.to.rawValue)"
            // Several rows between two words are one line.
            if let index = drawn["\(from) \(to)"] {
                if lines[index].text != text { lines[index].text = "" }
                continue
            }
            drawn["\(from) \(to)"] = lines.count
            lines.append(TableGraph.Edge(from: from, to: to, text: text))
        }
        return TableGraph(title: title, nodes: nodes, edges: lines)
    }

    static var rules: ProgramTable {
        let published = PublishedRules.table
        let words = TableSection(
            name: "rules",
            title:
                "What is published, and by which evidence (the first rule that applies decides; an end, when the last step was answered)",
            columns: ["rule", "word", "seen", "when", "evidence"],
            rows: zip(1..., published).map { number, rule in
                [
                    .number(number), .text(rule.word.rawValue), .text(rule.scope.rawValue), .text(rule.name),
                    .list(rule.because.map(\.description)),
                ]
            })
        let verdicts = TableSection(
            name: "verdicts",
            title:
                "What the coordinator ends with (evidence: any of it; rules' ends: other ones that the rules may name then)",
            columns: ["verdict", "word", "last answer", "when", "evidence", "rules' ends", "why it counts"],
            rows: Verdict.allCases.map { verdict in
                let row = verdict.row
                return [
                    .text(verdict.rawValue), .text(verdict.word.rawValue), .list(row.answers.map(\.description)),
                    .text(row.name), .list(row.because.map(\.description)), .list(row.overrules.map(\.rawValue)),
                    .text(row.reason),
                ]
            },
            sentences: ["why it counts"])
        let grammar = TableSection(
            name: "grammar", title: "Which word may follow which", columns: ["word", "an end", "then"],
            rows: PublishedWord.allCases.map { word in
                let next = PublishedWord.allCases.filter { PublishedGrammar.mayFollow($0, after: word) }
                return [.text(word.rawValue), .flag(word.isEnd), .list(next.map(\.rawValue))]
            })
        let advance = TableSection(
            name: "stages", title: "The stage of one QEMU, by its evidence (the first rule that applies decides)",
            columns: ["rule", "stage", "when", "evidence"],
            rows: zip(1..., Evidence.advanceTable).map { number, rule in
                [
                    .number(number), .list(rule.stages.map(\.rawValue)), .text(rule.name),
                    .list(rule.because.map { JointBasis(nil, $0).description }),
                ]
            })
        var nodes = zip(1..., published).map { TableGraph.Node(id: "rule-\($0)", text: $1.name, isBox: true) }
        nodes += PublishedWord.allCases.filter { word in published.contains { $0.word == word } }
            .map { TableGraph.Node(id: "word-\($0.rawValue)", text: $0.rawValue) }
        var edges: [TableGraph.Edge] = []
        for (number, rule) in zip(1..., published) {
            edges.append(TableGraph.Edge(from: "rule-\(number)", to: "word-\(rule.word.rawValue)", text: "yes"))
            if number < published.count {
                edges.append(TableGraph.Edge(from: "rule-\(number)", to: "rule-\(number + 1)", text: "no"))
            }
        }
        return ProgramTable(
            name: .rules, version: PublishedRules.version, sections: [words, verdicts, grammar, advance],
            graph: TableGraph(
                title: "\(Name.rules.rawValue), version \(PublishedRules.version)", nodes: nodes, edges: edges))
    }
}
