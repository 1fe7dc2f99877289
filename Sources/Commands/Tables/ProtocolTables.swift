import Migration
import Phases

/// The tables of the steps: phases, jobs, and what follows a crash.
extension ProgramTable {
    static var phases: ProgramTable {
        let phases = TableSection(
            name: "phases", title: "The phases, in the order that \"backwards\" is about",
            columns: ["order", "phase", "side", "protocols", "meaning", "then"],
            rows: PhaseTable.rows.map { row in
                [
                    .number(row.order), .text(row.phase.rawValue), .list(row.sides.map(\.rawValue)),
                    .list(row.protocols.map { "v\($0.rawValue)" }), .text(row.meaning),
                    .list(row.next.map(\.rawValue)),
                ]
            })
        let moves = TableSection(
            name: "moves", title: "The legal moves (none: no job)",
            columns: ["side", "from", "to", "job", "protocols", "modes", "by", "note"],
            rows: PhaseMoves.rows.map { row in
                [
                    .text(row.side.rawValue), .text(row.from.rawValue), .text(row.to.rawValue),
                    .text(row.after.rawValue), .list(row.protocols.map { "v\($0.rawValue)" }),
                    row.modes == MigrationMode.allCases ? "any" : .list(row.modes.map(\.rawValue)), .text(row.trigger),
                    .text(row.note + (row.isOurs ? (row.note.isEmpty ? "" : "; ") + "libvirt has no such move" : "")),
                ]
            },
            isGrouped: true, sentences: ["note"])
        var nodes: [TableGraph.Node] = []
        var edges: [TableGraph.Edge] = []
        for row in PhaseMoves.rows {
            func id(_ phase: Phase) -> String { "\(row.side.rawValue)-\(phase.rawValue)" }
            for phase in [row.from, row.to] where !nodes.contains(where: { $0.id == id(phase) }) {
                nodes.append(TableGraph.Node(id: id(phase), text: phase.rawValue, group: row.side.rawValue))
            }
            guard !edges.contains(where: { $0.from == id(row.from) && $0.to == id(row.to) }) else { continue }
            edges.append(TableGraph.Edge(from: id(row.from), to: id(row.to), text: row.trigger))
        }
        return ProgramTable(
            name: .phases, sections: [phases, moves],
            graph: TableGraph(title: Name.phases.rawValue, nodes: nodes, edges: edges))
    }

    static var jobs: ProgramTable {
        let calls = TableSection(
            name: "calls", title: "The calls", columns: ["libvirt's name", "ours", "requires", "then"],
            rows: JobTable.calls.map { row in
                [.text(row.call), .text(row.method), .text(row.requires), .text(row.effect)]
            })
        let sequence = TableSection(
            name: "sequence", title: "What each step does, by its place in the protocol",
            columns: ["step", "calls"],
            rows: JobTable.sequence.map { [.text($0.place), .list($0.calls)] })
        let first = TableSection(
            name: "first-steps", title: "Where the job begins",
            columns: ["side", "protocol", "mode", "change protection", "first step"],
            rows: JobTable.firstSteps.map { row in
                [
                    .text(row.side.rawValue), .text("v\(row.protocolVersion.rawValue)"), .text(row.mode.rawValue),
                    .flag(row.hasChangeProtection), .text(row.step?.rawValue ?? "none"),
                ]
            },
            isGrouped: true)
        let normal = TableSection(
            name: "allowed-jobs", title: "Which normal jobs may run beside a migration job",
            columns: ["job", "out", "in", "after a restart"],
            rows: JobTable.normalJobs.map { row in
                [.text(row.job.rawValue), .flag(row.besideOut), .flag(row.besideIn), .flag(row.besideRestored)]
            })
        let nets = TableSection(
            name: "nets", title: "What happens to a job that nobody is inside of",
            columns: ["event", "side", "phase", "if", "phase then", "job", "done"],
            rows: NetTable.rows.map { row in
                [
                    .text(row.event.rawValue), .text(row.side.rawValue), .text(row.phase.rawValue),
                    .text(row.condition.rawValue), .text(row.outcome.to?.rawValue ?? "the same"),
                    .text(row.outcome.after.rawValue), .list(row.outcome.acts.map(\.rawValue)),
                ]
            })
        return ProgramTable(name: .jobs, sections: [calls, sequence, first, normal, nets])
    }

    static var recovery: ProgramTable {
        let rows = RecoveryTable.rows.map { row -> [TableCell] in
            let ledger: [(String, Bool?)] = [
                ("opened", row.isOpened), ("answered", row.isAnswered), ("surrendered", row.isSurrendered),
                ("run", row.isRunRecorded), ("refused", row.isRefused),
            ]
            let known = ledger.compactMap { name, value in value.map { $0 ? name : "not \(name)" } }
            return [
                .text(row.side.rawValue), orAny(row.phases.map(\.rawValue)), orAny(row.guests.map(\.rawValue)),
                orAny(row.statuses.map(\.rawValue)), orAny(known), .text(row.decision.rawValue), .text(row.sentence),
                .text(row.libvirt),
            ]
        }
        return ProgramTable(
            name: .recovery,
            sections: [
                TableSection(
                    name: "recovery", title: "After a restart (the first row that matches decides)",
                    columns: ["side", "phase", "guest", "status", "on record", "decision", "why", "libvirt"],
                    rows: rows, isGrouped: true, sentences: ["why", "libvirt"])
            ])
    }
}
