import ArgumentParser
import Glibc
import Replay
import Testing
import Trace

@testable import Commands

@Suite("Options of explain, diff, report and what-if")
struct ExplainingTests {
    private func problem(_ arguments: String...) -> String? {
        do {
            _ = try GodwitCommand.parseAsRoot(arguments)
            return nil
        } catch {
            return GodwitCommand.message(for: error)
        }
    }

    @Test("changes are read in the order in which they are made")
    func changes() throws {
        let command = try #require(
            try GodwitCommand.parseAsRoot([
                "replay", "--assume", "cancel@12.5s", "--drop-event", "7", "--unknown-status", "device",
                "--unknown-status",
                "9", "--delay-event", "8=2s", "--duplicate-event", "6", "x",
            ]) as? ReplayCommand)
        #expect(
            command.whatIf.changes == [
                .drop(7), .delay(8, 2_000_000), .duplicate(6), .unknownStatus(.word("device")),
                .unknownStatus(.record(9)),
                .assume(.cancel, 12_500_000),
            ])
    }

    @Test("a record to be put in is a line of the format")
    func insert() throws {
        let command = try #require(
            try GodwitCommand.parseAsRoot(["replay", "--insert", #"{"t":1.5,"side":"source","mark":"here"}"#, "x"])
                as? ReplayCommand)
        guard case .insert(let record)? = command.whatIf.changes.first else {
            Issue.record("nothing is put in")
            return
        }
        #expect(record.microseconds == 1_500_000)
        #expect(record.member == .mark("here"))
    }

    @Test("wrong wishes are named")
    func wrong() {
        #expect(problem("replay", "--assume", "cancel", "x")?.contains("WHAT@TIME") == true)
        #expect(problem("replay", "--delay-event", "8", "x")?.contains("RECORD=TIME") == true)
        #expect(problem("replay", "--insert", "nonsense", "x")?.contains("--insert") == true)
        #expect(problem("replay", "--drive", "--drop-event", "1", "x")?.contains("--drive") == true)
        #expect(problem("explain", "--attempt", "0", "x")?.contains("count from 1") == true)
        #expect(problem("diff", "-", "-")?.contains("standard input") == true)
        #expect(problem("report", "x", "--output", "x")?.contains("one of the traces") == true)
        #expect(problem("report", "x")?.contains("--output") == true)
        #expect(problem("diff", "--only", "triggers", "--only", "events", "x", "y") == nil)
    }

    @Test("a page is there in whole or not at all")
    func output() throws {
        let directory = "/tmp/godwit-output-\(getpid())"
        mkdir(directory, 0o700)
        defer {
            unlink("\(directory)/page")
            rmdir(directory)
        }
        try OutputFile.write(Array("first".utf8), to: "\(directory)/page")
        try OutputFile.write(Array("second".utf8), to: "\(directory)/page")
        var status = stat()
        #expect(stat("\(directory)/page", &status) == 0)
        #expect(status.st_size == 6)
        #expect(throws: OutputError.self) { try OutputFile.write([1], to: "\(directory)/no/page") }
        // Nothing is left beside it: the directory can be removed with the page alone.
        unlink("\(directory)/page")
        #expect(rmdir(directory) == 0)
        #expect(throws: OutputError.self) { try OutputFile.write([1], to: "/dev/full") }
    }
}
