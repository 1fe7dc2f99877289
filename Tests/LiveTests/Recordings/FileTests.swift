import Glibc
import GuestLab
import JSONC
import Testing
import Trace

private let fixtures = #filePath.split(separator: "/").dropLast(4).reduce("") { "\($0)/\($1)" } + "/Fixtures"

private let completed = "\(fixtures)/driven/completed.qmptrace"

/// Files as a user has them: many, in directories, compressed, of others, not there at all.
@Suite struct FileTests {
    /// A directory with files, and the program run on them.
    private final class Place {
        let directory: LabDirectory
        private var runs = 0

        init() throws { directory = try LabDirectory() }

        func path(_ name: String) -> String { directory.file(name) }

        @discardableResult func write(_ text: String, to name: String) -> String {
            let path = path(name)
            guard let file = fopen(path, "w") else { return path }
            fputs(text, file)
            fclose(file)
            return path
        }

        func copy(_ fixture: String, to name: String) { write(fileText("\(fixtures)/\(fixture)"), to: name) }

        func run(_ arguments: String...) throws -> Godwit.Outcome {
            runs += 1
            return try Godwit(arguments, in: directory, number: runs).finish()
        }

        /// The same records, compressed.
        func compress(_ fixture: String, to name: String) throws {
            var reader = try TraceReader(path: "\(fixtures)/\(fixture)")
            var options = TraceLogOptions()
            options.compression = .zstd
            let log = try TraceLog(creating: path(name), header: reader.header, options: options)
            while let record = try reader.next() { log.append(at: 0) { $0.append(record) } }
            #expect(log.close(at: 0) == nil)
        }

        func gzip(_ name: String) throws {
            let child = try ChildProcess(["gzip", path(name)])
            #expect(child.waitForExit(timeout: .seconds(30)) == .exited(0))
        }
    }

    // MARK: replay

    /// A directory is all traces in it and below, compressed or not, in the order of their names; what is no trace stops none.
    @Test func aDirectoryIsReplayed() throws {
        let place = try Place()
        mkdir(place.path("all"), 0o700)
        mkdir(place.path("all/below"), 0o700)
        place.copy("traces/7.2.22/cancel.qmptrace", to: "all/a.qmptrace")
        place.copy("traces/7.2.22/precopy-unix.qmptrace", to: "all/below/b.qmptrace")
        try place.gzip("all/below/b.qmptrace")
        try place.compress("traces/10.0.13/precopy-unix.qmptrace", to: "all/c.qmptrace.zst")
        place.write("no trace\n", to: "all/notes.txt")
        let paths = ["a.qmptrace", "below/b.qmptrace.gz", "c.qmptrace.zst"].map { place.path("all/\($0)") }
        let json = try place.run("replay", "--format", "json", place.path("all"))
        let objects = try json.lines.map { try JSONValue(parsing: String($0)) }
        #expect(objects.map { $0["trace"]?.string } == paths)
        let outcomes = objects.map { $0["attempts"]?.array?.compactMap { $0["outcome"]?.string } ?? [] }
        #expect(outcomes == [["cancelled", "completed"], ["completed"], ["completed"]])
        for jobs in ["1", "4"] {
            let text = try place.run("replay", "--jobs", jobs, place.path("all"))
            #expect(text.code == 0 && text.errors.isEmpty, "\(text)")
            #expect(text.lines.filter { $0.hasPrefix("== ") } == paths.map { "== \($0)" })
            #expect(text.lines.compactMap(outcome) == outcomes.flatMap(\.self))
        }
        // Alone, each is told as in the crowd.
        let alone = try paths.map { try place.run("replay", "--format", "json", $0).output }
        #expect(alone.joined() == json.output)
        // One is broken, one is not there: they are named, and the others are told.
        place.write("{\"qmptrace\":1}\n{\"t\":0,\n", to: "all/b.qmptrace")
        let broken = try place.run("replay", "--format", "json", place.path("none"), place.path("all"))
        #expect(broken.code == 65, "\(broken)")
        #expect(broken.errors.contains("\(place.path("none")): No such file"))
        #expect(broken.errors.contains("\(place.path("all/b.qmptrace")):2"))
        #expect(broken.output == json.output)
        #expect(try place.run("replay", place.path("none"), paths[0]).code == 66)
    }

    private func outcome(in line: Substring) -> String? {
        guard let range = line.firstRange(of: "outcome: ") else { return nil }
        return String(line[range.upperBound...].prefix { $0 != "," })
    }

    /// Formats of others are read directly, and what only Godwit records is said to be missing in them.
    @Test func whatOthersRecordedIsRead() throws {
        let place = try Place()
        let log = "\(fixtures)/foreign/libvirtd-live-src.log.gz"
        for command in [["replay"], ["explain"], ["diff", log]] {
            let outcome = try Godwit(command + [log], in: place.directory, number: 90).finish()
            #expect(outcome.code == 0, "\(command): \(outcome)")
        }
        let simulated = try place.run(
            "simulate", "--policy", "nova", "\(fixtures)/foreign/libvirtd-postcopy-src.log.gz")
        #expect(simulated.code == 0, "\(simulated)")
        let driven = try place.run("replay", "--drive", log)
        #expect(driven.code == 65 && driven.errors.contains(log), "\(driven)")
        #expect(driven.errors.contains("Godwit"), "\(driven)")
        let index = try place.run("index", log)
        #expect(index.code == 65 && index.errors.contains("gunzip"), "\(index)")
        let plain = "\(fixtures)/foreign/chardev-source.log"
        let other = try place.run("index", plain)
        #expect(other.code == 65 && other.errors.contains("`godwit convert`"), "\(other)")
        #expect(access(plain + ".index", F_OK) != 0)
    }

    // MARK: index

    @Test func anIndexFindsWhatIsInTheTrace() throws {
        let place = try Place()
        place.copy("traces/7.2.22/cancel.qmptrace", to: "x.qmptrace")
        let (trace, index) = (place.path("x.qmptrace"), place.path("x.qmptrace.index"))
        let lines = fileText(trace).split(separator: "\n", omittingEmptySubsequences: false)
        let events = lines.indices.filter { lines[$0].contains("\"event\": \"MIGRATION\"") }.map { $0 + 1 }
        let summary = try place.run("index", trace)
        #expect(summary.code == 0 && summary.output.contains("\(events.count) x MIGRATION\n"), "\(summary)")
        let written = fileText(index)
        #expect(!written.isEmpty)
        // Records stand there with their lines, as they are.
        let found = try place.run("index", trace, "--event", "MIGRATION", "--count", "1000")
        #expect(found.lines.map(String.init) == events.map { "\($0):\(lines[$0 - 1])" })
        let first = try place.run("index", trace, "--event", "MIGRATION", "--count", "1", "--format", "json")
        let object = try JSONValue(parsing: first.output)
        #expect(object["line"]?.int64 == events.first.map(Int64.init))
        #expect(object["record"]?["recv"]?["event"] == "MIGRATION")
        #expect(try place.run("index", trace, "--attempt", "1", "--count", "1").errors.contains("attempt 1: cancelled"))
        let late = try place.run("index", trace, "--at", "0.5s", "--count", "1")
        let time = try #require(
            late.output.firstRange(of: "{\"t\":").map { late.output[$0.upperBound...].prefix { $0 != "," } })
        #expect((Double(time) ?? 0) >= 0.5)
        // A look-up makes the index where there is none, and leaves one that is there alone.
        unlink(index)
        #expect(try place.run("index", trace, "--event", "STOP").code != 70)
        #expect(fileText(index) == written)
        #expect(try place.run("index", trace, "--event", "NONE").code == 65)
        // A trace that has changed is not looked up in an old one.
        place.write(fileText(trace) + "{\"t\":99,\"mark\":\"more\"}\n", to: "x.qmptrace")
        let stale = try place.run("index", trace, "--at", "99s")
        #expect(stale.code == 65 && stale.errors.contains("stale"), "\(stale)")
        #expect(try place.run("index", trace).code == 0)
        #expect(try place.run("index", trace, "--at", "99s").output.contains("more"))
    }

    @Test func anIndexThatCannotBeWritten() throws {
        let place = try Place()
        place.copy("traces/7.2.22/cancel.qmptrace", to: "x.qmptrace")
        mkdir(place.path("x.qmptrace.index"), 0o700)
        let outcome = try place.run("index", place.path("x.qmptrace"))
        #expect(outcome.code == 74 && outcome.errors.contains("x.qmptrace.index: Is a directory"), "\(outcome)")
        #expect(
            names(in: place.directory.path).filter { $0.hasPrefix("x") }.sorted() == ["x.qmptrace", "x.qmptrace.index"])
    }

    // MARK: What is not there, and what makes no sense

    @Test(
        arguments: [
            ["replay"], ["replay", "--drive"], ["replay", "--drop-event", "3"], ["explain"], ["index"],
            ["diff", "\(fixtures)/driven/completed.qmptrace"], ["report", "-o", "-"], ["convert", "-o", "-"],
            ["simulate", "--policy", "godwit"], ["simulate", "--policy"],
            ["serve", "--side", "source", "--listen", "unused.qmp"],
        ])
    func whatCannotBeRead(_ command: [String]) throws {
        let place = try Place()
        let none = place.path("none.json")
        let garbage = place.write("Dear customer,\n", to: "garbage.json")
        let empty = place.write("", to: "empty.json")
        mkdir(place.path("directory.json"), 0o700)
        let expected = [
            (none, 66, "No such file"), (place.path("directory.json"), 66, ""), (garbage, 65, ""), (empty, 65, ""),
        ]
        for (number, (file, code, words)) in expected.enumerated() {
            let outcome = try Godwit(command + [file], in: place.directory, number: 10 + number).finish()
            #expect(outcome.code == Int32(code), "\(outcome)")
            #expect(outcome.output.isEmpty, "\(outcome)")
            #expect(outcome.errors.hasPrefix("godwit: \(file):"), "\(outcome)")
            #expect(outcome.errors.contains(words), "\(outcome)")
        }
    }

    /// A recording without any copying says nothing about policies.
    @Test func whatCannotBeCompared() throws {
        let place = try Place()
        let outcome = try place.run(
            "simulate", "--policy", "nova", "\(fixtures)/driven/completed.qmptrace", "--svg", place.path("x.svg"))
        #expect(outcome.code == 65 && outcome.errors.contains("nothing was seen of the copying"), "\(outcome)")
        #expect(access(place.path("x.svg"), F_OK) != 0)
    }

    /// What is told to a full disk was not told.
    @Test(
        arguments: [
            ["replay", completed], ["replay", "--format", "json", completed], ["replay", "--drive", completed],
            ["replay", "--drop-event", "112", completed], ["explain", completed], ["diff", completed, completed],
            ["table", "rules"], ["simulate", "--list"],
            ["convert", "--list", "\(fixtures)/foreign/chardev-source.log"],
        ])
    func standardOutputIsFull(_ arguments: [String]) throws {
        let directory = try LabDirectory()
        let errors = directory.file("errors")
        let child = try ChildProcess([Godwit.path] + arguments, output: "/dev/full", error: errors)
        #expect(child.waitForExit(timeout: .seconds(30)) == .exited(74))
        #expect(fileText(errors).contains("godwit: standard output: No space left on device"), "\(fileText(errors))")
    }

    /// Nothing that is there is lost, and no part of what could not be written is left.
    @Test func whatCannotBeWritten() throws {
        let place = try Place()
        let (log, trace) = ("\(fixtures)/foreign/chardev-source.log", "\(fixtures)/driven/completed.qmptrace")
        let copying = "\(fixtures)/traces/7.2.22/autoconverge.qmptrace"
        for (number, arguments) in [
            ["convert", log, "-o"], ["report", trace, "-o"], ["simulate", "--policy", "nova", copying, "--svg"],
        ].enumerated() {
            func run(_ output: String, _ extra: [String] = []) throws -> Godwit.Outcome {
                try Godwit(arguments + [output] + extra, in: place.directory, number: 10 + number).finish()
            }
            let full = try run("/dev/full")
            #expect(full.code == 74 && full.errors.contains("/dev/full: No space left on device"), "\(full)")
            let nowhere = try run(place.path("no/file"))
            #expect(nowhere.code == 74 && nowhere.errors.contains("no/file: No such file or directory"), "\(nowhere)")
            let output = place.path("output\(number)")
            #expect(try run(output).code == 0)
            let written = fileText(output)
            #expect(!written.isEmpty)
            let again = try run(output)
            if arguments[0] == "convert" {
                #expect(again.code == 74 && again.errors.contains("exists; --force replaces it"), "\(again)")
                #expect(try run(output, ["--force"]).code == 0)
            } else {
                #expect(again.code == 0, "\(again)")
            }
            #expect(fileText(output) == written)
        }
        #expect(
            names(in: place.directory.path).filter { $0.hasPrefix("output") }.sorted() == [
                "output0", "output1", "output2",
            ])
    }
}
