import ArgumentParser
import JSONC
import Migration
import Phases
import Testing

@testable import Commands

/// The printed tables: the same in every form, readable, and never behind the program.
struct TableTests {
    private static let names = ["triggers", "events", "rules", "phases", "jobs", "recovery", "transitions"]
    private static let drawable = ["rules", "phases", "transitions"]

    private func output(_ arguments: String...) throws -> String { try TableCommand.parse(arguments).output() }

    private func json(_ arguments: String...) throws -> JSONValue {
        try JSONValue(parsing: try TableCommand.parse(arguments + ["--format", "json"]).output())
    }

    private func message(_ arguments: String...) -> String {
        do {
            _ = try TableCommand.parse(arguments).output()
            return "no error"
        } catch {
            return TableCommand.message(for: error)
        }
    }

    @Test func thereIsNoOtherTable() throws {
        #expect(ProgramTable.Name.allCases.map(\.rawValue) == Self.names)
        let list = try output()
        for name in Self.names { #expect(list.contains("\n\(name) ")) }
        #expect(try json().array?.count == Self.names.count)
    }

    @Test(arguments: names)
    func textIsAligned(_ name: String) throws {
        let lines = try output(name).split(separator: "\n", omittingEmptySubsequences: false)
        var rules = 0
        for (index, line) in lines.enumerated() {
            #expect(line.last != " ")
            guard line.hasPrefix("---"), index > 0 else { continue }
            rules += 1
            // A column's name begins where its line begins.
            let starts = zip(line.indices, line).filter { position, character in
                character == "-" && (position == line.startIndex || line[line.index(before: position)] == " ")
            }.map { line.distance(from: line.startIndex, to: $0.0) }
            for start in starts { #expect(Array(lines[index - 1])[start] != " ") }
        }
        #expect(rules >= 1)
        if name != "triggers" { #expect(lines.allSatisfy { $0.count <= 120 }) }
    }

    @Test(arguments: names)
    func everyRowIsInEveryForm(_ name: String) throws {
        let kind = try #require(ProgramTable.Name(rawValue: name))
        let table = ProgramTable(kind)
        let object = try json(name)
        #expect(object["table"]?.string == name)
        let markdown = try output(name, "--format", "markdown").split(separator: "\n").filter { $0.hasPrefix("|") }
        #expect(markdown.count == table.sections.reduce(0) { $0 + $1.rows.count + 2 })
        for section in table.sections {
            #expect(!section.rows.isEmpty)
            #expect(object[section.name]?.array?.count == section.rows.count)
            for (row, value) in zip(section.rows, object[section.name]?.array ?? []) {
                #expect(row.count == section.columns.count)
                #expect(value.object?.keys == section.columns)
            }
        }
    }

    @Test func theTablesAreTheProgramsOwn() throws {
        func count(_ name: String, _ section: String) throws -> Int? { try json(name)[section]?.array?.count }
        #expect(try count("events", "events") == EventKind.allCases.count)
        #expect(try count("rules", "rules") == PublishedRules.table.count)
        #expect(try count("rules", "stages") == Evidence.advanceTable.count)
        #expect(try count("rules", "grammar") == PublishedWord.allCases.count)
        #expect(try count("phases", "phases") == 16)
        #expect(try count("phases", "moves") == PhaseMoves.rows.count)
        #expect(try count("jobs", "calls") == JobTable.calls.count)
        #expect(try count("recovery", "recovery") == RecoveryTable.rows.count)
        #expect(try count("transitions", "transitions") == TransitionTable.edges.count)
        let triggers = try json("triggers")
        let kinds = Set(triggers["triggers"]?.array?.compactMap { $0["trigger"]?.string } ?? [])
        #expect(kinds == Set(TriggerKind.allCases.map(\.rawValue)))
        #expect(triggers["permissions"]?.array?.count == PermissionTable.rows.count)
    }

    @Test func transitionsOfOneVersion() throws {
        func words(_ version: String) throws -> Set<String> {
            let edges = try json("transitions", "--qemu-version", version)["transitions"]?.array ?? []
            #expect(!edges.isEmpty)
            return Set(edges.flatMap { [$0["from"]?.string ?? "", $0["to"]?.string ?? ""] })
        }
        #expect(try !words("10.0").contains("postcopy-device"))
        #expect(try !words("10.0.13").contains("failing"))
        #expect(try words("10.0").contains("postcopy-recover-setup"))
        #expect(try !words("7.2").contains("postcopy-recover-setup"))
        #expect(try words("11.1").isSuperset(of: ["failing", "postcopy-device"]))
        #expect(
            try output("transitions", "--qemu-version", "7.2").hasPrefix("The moves of the status word of QEMU 7.2"))
        #expect(try output("transitions", "--qemu-version", "7.2", "--format", "dot").contains("of QEMU 7.2"))
    }

    // MARK: Drawings

    @Test(arguments: drawable)
    func drawings(_ name: String) throws {
        let kind = try #require(ProgramTable.Name(rawValue: name))
        let graph = try #require(ProgramTable(kind).graph)
        let known = Set(graph.nodes.map(\.id))
        #expect(known.count == graph.nodes.count)
        #expect(graph.edges.allSatisfy { known.contains($0.from) && known.contains($0.to) })
        let linked = Set(graph.edges.flatMap { [$0.from, $0.to] })
        #expect(linked == known)
        let dot = try output(name, "--format", "dot")
        #expect(dot.hasPrefix("digraph \"\(name)"))
        #expect(dot.count { $0 == "{" } == dot.count { $0 == "}" })
        #expect(dot.split(separator: "\n").count { $0.contains(" -> ") } == graph.edges.count)
        #expect(dot.split(separator: "\n").allSatisfy { $0.count { $0 == "\"" } % 2 == 0 })
        let mermaid = try output(name, "--format", "mermaid")
        #expect(mermaid.contains("\nflowchart TD\n"))
        #expect(mermaid.split(separator: "\n").count { $0.contains(" -->") } == graph.edges.count)
        #expect(mermaid.split(separator: "\n").allSatisfy { $0.count { $0 == "\"" } % 2 == 0 })
    }

    @Test(arguments: ["dot", "mermaid"])
    func whatIsNoGraphCannotBeDrawn(_ format: String) {
        for name in Self.names where !Self.drawable.contains(name) {
            #expect(
                message(name, "--format", format)
                    == "--format \(format): \(name) is no graph; rules, phases, transitions can be drawn")
        }
    }

    @Test func errorsNameWhatIsWrong() {
        #expect(message("facts").hasPrefix("no table 'facts'; there are: triggers, events"))
        #expect(message("rules", "--qemu-version", "10.0").contains("only transitions differ by version"))
        for version in ["x", "10", "10.", "1.2.3.4", "-1.0", "10.0-rc1", "99999999999999999999.0"] {
            #expect(
                message("transitions", "--qemu-version=\(version)")
                    == "--qemu-version \(version): not a version like 10.0 or 10.0.2")
        }
        #expect(message("--format", "dot") == "--format dot: of which table?")
        #expect(message("--qemu-version", "10.0") == "--qemu-version: for which table?")
    }

    // MARK: The interface

    /// To change this is to change the interface: the version has to go up, and the changelog has to say so.
    @Test func publishedWordsAreAnInterface() throws {
        #expect(PublishedRules.version == 1)
        let words = try json("rules")["grammar"]?.array?.compactMap { $0["word"]?.string }
        #expect(
            words == [
                "idle", "starting", "copying", "switchover", "postcopy", "postcopy-paused", "recovering", "completed",
                "failed", "cancelled", "undecided", "lost", "ended",
            ])
    }

    @Test(arguments: TableFormat.allCases)
    func rulesPrintTheirVersion(_ format: TableFormat) throws {
        let text = try output("rules", "--format", format.rawValue)
        let version = PublishedRules.version
        switch format {
        case .text: #expect(text.hasPrefix("rules, version \(version)\n"))
        case .json: #expect(try JSONValue(parsing: text)["version"]?.int64 == Int64(version))
        case .dot: #expect(text.contains("label=\"rules, version \(version)\""))
        case .mermaid: #expect(text.hasPrefix("---\ntitle: \"rules, version \(version)\"\n---\n"))
        case .markdown: #expect(text.hasPrefix("Version \(version).\n"))
        }
    }
}
