import Glibc
import GuestLab
import JSONC
import Testing
import Trace

extension MigrationTests {
    /// What the program writes.
    @Suite struct Output {
        @Test func aTrace() throws {
            let lab = try MigrationLab(extra: ["-object", "secret,id=masked,data=tellnobody"])
            let path = lab.directory.file("attempt.qmptrace")
            let outcome = try lab.migrate(["--trace", path]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            let text = fileText(path)
            #expect(!text.contains("tellnobody"))
            #expect(text.contains("id=masked"))
            let trace = try readTrace(path)
            #expect(trace.steps == ["begin", "prepare", "perform", "finish", "confirm"])
            #expect(trace.lastStatus == "completed")
            #expect(trace.names.contains("run"))
            // The commit point stands before the command that follows from it.
            let run = try #require(text.firstRange(of: "\"run\":"))
            let cont = try #require(text.firstRange(of: "\"execute\":\"cont\""))
            #expect(run.lowerBound < cont.lowerBound)
            try lab.expectGuest(runsOn: .destination)
        }

        @Test func aTraceOfAFailure() throws {
            let lab = try MigrationLab()
            let path = lab.directory.file("attempt.qmptrace")
            let run = try lab.migrateSlowly(["--trace", path])
            lab.destination.kill()
            #expect(try run.finish().code == 10)
            let trace = try readTrace(path)
            #expect(trace.steps == ["begin", "prepare", "perform", "abandon"])
            #expect(trace.lastStatus == "failed")
            #expect(trace.names.contains("refused"))
            #expect(!trace.names.contains("run"))
        }

        /// Somebody's recording is not overwritten, and a file that cannot be made is told before anything is done.
        @Test(arguments: ["existing", "no/such/directory/trace"]) func aTraceThatCannotBeMade(name: String) throws {
            let lab = try MigrationLab()
            let path = lab.directory.file(name)
            if name == "existing" { try writeText("precious\n", to: path) }
            let outcome = try lab.migrate(["--trace", path]).finish()
            #expect(outcome.code == 64, "\(outcome)")
            #expect(outcome.errors.contains(path), "\(outcome)")
            #expect(fileText(path) == (name == "existing" ? "precious\n" : ""))
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
            #expect(try MigrationLab.settings(lab.sourceMonitor) == lab.settings)
        }

        @Test func json() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(["--format", "json", "--bandwidth", "24MiB"]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            let objects = try outcome.lines.map { try JSONValue(parsing: String($0)) }
            #expect(objects.allSatisfy { $0["event"]?.string != nil })
            #expect(objects.first?["event"] == "started")
            let last = try #require(objects.last)
            #expect(last["event"] == "finished")
            #expect(last["outcome"] == "completed")
            #expect(last["guest"] == "destination")
            #expect(last["running"] == true)
            #expect(last["exit"] == 0)
            #expect((last["totalMilliseconds"]?.int64 ?? 0) > 0)
            #expect((last["pauseMicroseconds"]?.int64 ?? 0) >= (last["ownGapMicroseconds"]?.int64 ?? .max))
            #expect(objects.contains { $0["event"] == "progress" && ($0["remainingBytes"]?.int64 ?? 0) > 0 })
            let words = objects.filter { $0["event"] == "status" }.compactMap {
                $0["status"]?.string ?? $0["word"]?.string
            }
            #expect(words.last == "completed", "\(words)")
        }

        @Test func jsonOfAFailure() throws {
            let lab = try MigrationLab { $0.memoryMiB = 64 }
            let outcome = try lab.migrate(["--format", "json"]).finish()
            #expect(outcome.code == 10, "\(outcome)")
            let last = try JSONValue(parsing: String(try #require(outcome.lines.last)))
            #expect(last["event"] == "finished")
            #expect(last["outcome"] == "failed")
            #expect(last["guest"] == "source")
            #expect(last["error"]?.string?.contains("96 MiB") == true)
            #expect(last["exit"] == 10)
        }

        /// Units reach QEMU as numbers, and progress is told as plain lines where nobody watches a terminal.
        @Test func limitsAndProgress() throws {
            let lab = try MigrationLab()
            let run = try lab.migrate(["--bandwidth", "5MiB/s", "--downtime-limit", "0.25s"])
            try lab.waitUntilCopying()
            let parameters = try lab.sourceMonitor.execute("query-migrate-parameters")
            #expect(parameters["max-bandwidth"] == 5_242_880)
            #expect(parameters["downtime-limit"] == 250)
            try run.waitForNote("left")
            run.interrupt()
            let outcome = try run.finish()
            #expect(!outcome.errors.contains("\r"))
            #expect(!outcome.errors.contains("\u{1B}"))
            try lab.expect(outcome, code: 11, says: "cancelled")
        }

        @Test func quiet() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(["--quiet"]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.errors.isEmpty, "\(outcome)")
            #expect(outcome.lines.first?.hasPrefix("completed") == true)
        }

        /// What the destination has to say, told with the failure; a file that is not there does not hide the reason.
        @Test(Live.wide) func aDestinationLogThatIsNotThere() throws {
            let lab = try MigrationLab { $0.memoryMiB = 64 }
            let outcome = try lab.migrate(["--destination-log", lab.directory.file("nothing.log")]).finish()
            #expect(outcome.code == 10, "\(outcome)")
            #expect(outcome.output.contains("96 MiB"))
            #expect(outcome.output.contains("nothing.log cannot be read"))
        }

        /// Wrong words on the command line are told as such, without a look at any monitor.
        @Test(arguments: [
            ["--bandwidth", "10parsecs"], ["--bandwidth", "-1MiB"], ["--bandwidth", "99999999999999999999TiB"],
            ["--downtime-limit", "200"], ["--downtime-limit", "1000h"], ["--timeout", "0s"], ["--timeout", "soon"],
            ["--timeout-action", "panic"], ["--uri", "exec:"], ["--uri", "tcp:nowhere"], ["--uri", "unix:"],
            ["--uri", "tcp:127.0.0.1:65536"], ["--quiet", "--verbose"], ["--format", "xml"], ["--no-such-option"],
        ])
        func usage(arguments: [String]) throws {
            let directory = try LabDirectory()
            let outcome = try Godwit(
                ["migrate", "--source", "/nowhere/a", "--destination", "/nowhere/b"] + arguments, in: directory,
                number: 1
            ).finish()
            #expect(outcome.code == 64, "\(outcome)")
            #expect(outcome.errors.contains("Error: "), "\(outcome)")
            #expect(outcome.errors.contains(arguments[0]), "\(outcome)")
        }

        @Test func aSocketPathThatIsTooLong() throws {
            let directory = try LabDirectory()
            let path = directory.file(String(repeating: "x", count: 200))
            let outcome = try Godwit(
                ["migrate", "--source", path, "--destination", "/nowhere/b"], in: directory, number: 1
            ).finish()
            #expect(outcome.code == 64, "\(outcome)")
            #expect(outcome.errors.contains("107"), "\(outcome)")
        }
    }
}

/// What the tests look at in a trace.
struct TraceSummary {
    var steps: [String] = []
    var names: Set<String> = []
    var lastStatus: String?
}

/// Reads a trace to its end; throws at the first line that is not understood.
func readTrace(_ path: String) throws -> TraceSummary {
    var reader = try TraceReader(path: path)
    var summary = TraceSummary()
    while let record = try reader.next() {
        switch record.member {
        case .call(let value):
            summary.names.insert("call")
            if let step = value["step"]?.string { summary.steps.append(step) }
        case .status(let value):
            summary.names.insert("status")
            summary.lastStatus = value["status"]?.string ?? value["word"]?.string
        case .run: summary.names.insert("run")
        case .refused: summary.names.insert("refused")
        case .surrendered: summary.names.insert("surrendered")
        case .unknown(let name, _): throw Unfulfilled(description: "\(path): unknown member \(name)")
        default: break
        }
    }
    return summary
}
