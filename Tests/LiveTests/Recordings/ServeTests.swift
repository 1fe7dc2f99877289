import Glibc
import GuestLab
import JSONC
import Testing

private let fixtures = #filePath.split(separator: "/").dropLast(4).reduce("") { "\($0)/\($1)" } + "/Fixtures/driven"
private let foreign = fixtures.dropLast("driven".count) + "foreign"

/// Migrations between two recordings. No QEMU takes part.
@Suite(.serialized) struct ServeTests {
    struct Case: CustomTestStringConvertible {
        var name: String
        var code: Int32
        var arguments: [String] = []
        var speed = "1"
        /// Sent to the program once it copies.
        var isInterrupted = false
        /// Two processes end at once: fractions of a millisecond decide which of them Godwit sees first, and thereby on which way it
        /// comes to the same end.
        var isClose = false
        var testDescription: String { "\(name) at \(speed)" }
    }

    static let cases: [Case] = [
        Case(name: "completed", code: 0), Case(name: "completed", code: 0, speed: "max"),
        Case(name: "completed-paused", code: 0, arguments: ["--paused", "--keep-source"]),
        Case(name: "cancelled", code: 11, arguments: ["--bandwidth", "64KiB"], isInterrupted: true),
        Case(name: "cancelled-timeout", code: 11, arguments: ["--bandwidth", "64KiB", "--timeout", "700ms"]),
        Case(
            name: "completed-paused-by-timeout", code: 0,
            arguments: [
                "--bandwidth", "256KiB", "--downtime-limit", "1ms", "--timeout", "700ms", "--timeout-action",
                "pause-guest",
            ]),
        Case(name: "failed-other-device", code: 10),
        Case(name: "failed-destination-killed", code: 10, arguments: ["--bandwidth", "64KiB"]),
        Case(name: "lost-source-killed", code: 15, arguments: ["--bandwidth", "64KiB"], isClose: true),
        Case(name: "ended-guest-shutdown", code: 16, arguments: ["--bandwidth", "64KiB"], isClose: true),
    ]

    /// Everything is as it was: each command, phase, step and record of either side, the published words, the end.
    @Test(.timeLimit(.minutes(2)), arguments: cases)
    func migratesAsItDid(_ given: Case) async throws {
        try await onThread {
            let trace = "\(fixtures)/\(given.name).qmptrace"
            let played = try Played(trace, speed: given.speed)
            let run = try played.migrate(given.arguments)
            if given.isInterrupted {
                try run.waitForNote("copying")
                run.interrupt()
            }
            let outcome = try run.finish()
            #expect(outcome.code == given.code, "\(outcome)")
            let (expected, found) = (try Deeds(trace), try Deeds(played.trace))
            #expect(found.source.acts == expected.source.acts)
            #expect(found.result == expected.result)
            guard !given.isClose else { return }
            #expect(found.source.steps == expected.source.steps)
            #expect(found.destination == expected.destination)
            #expect(found.statuses == expected.statuses)
        }
    }

    /// The recording is not just repeated: without the word that it waits for, Godwit looks for itself.
    @Test(
        .timeLimit(.minutes(2)), arguments: ["drop:MIGRATION/completed", "duplicate:STOP", "garbage:MIGRATION/device"])
    func faultsDoNotMatter(_ fault: String) async throws {
        try await onThread {
            let played = try Played("\(fixtures)/completed.qmptrace", speed: "1", faults: [fault])
            let outcome = try played.migrate([]).finish()
            #expect(outcome.code == 0, "\(outcome)")
        }
    }

    /// What others recorded, of which this is one half: a log of libvirt's has no greeting.
    @Test func whatOthersRecordedIsServed() async throws {
        try await onThread {
            let directory = try LabDirectory()
            let (log, socket) = ("\(foreign)/libvirtd-live-src.log.gz", directory.file("s"))
            let server = try Godwit(
                ["serve", log, "--side", "source", "--listen", socket, "--speed", "max"], in: directory, number: 1)
            try server.waitForNote("listens at")
            #expect(server.errors.contains("has no greeting of the source"))
            let client = try BlockingQMP(socket)
            try client.execute("migrate-set-parameters", ["downtime-limit": 123])
            #expect(try client.execute("query-migrate-parameters")["downtime-limit"] == 123)
            try client.execute("migrate", ["uri": "fd:migrate"])
            try client.waitForEvent("STOP")
            server.interrupt()
            #expect(try server.finish().code == 0)
            #expect(access(socket, F_OK) != 0)
        }
    }

    /// Addresses that two processes cannot meet at are named, and neither waits; where they could, no socket is left.
    @Test func whereTwoProcessesDoNotMeet() async throws {
        try await onThread {
            let directory = try LabDirectory()
            func destination(_ number: Int, listensAt uri: String) throws -> (Godwit, BlockingQMP) {
                let socket = directory.file("d\(number)")
                let server = try Godwit(
                    ["serve", "\(fixtures)/completed.qmptrace", "--side", "destination", "--listen", socket],
                    in: directory, number: number)
                try server.waitForNote("listens at")
                let client = try BlockingQMP(socket)
                try client.execute("migrate-incoming", ["uri": .string(uri)])
                return (server, client)
            }
            let (tcp, client) = try destination(1, listensAt: "tcp:127.0.0.1:4444")
            try tcp.waitForNote("meet at unix:PATH, not at tcp:127.0.0.1:4444")
            // The source would have been waited for.
            try eventually("the migration arrives") {
                try client.execute("query-migrate")["status"] == "completed"
            }
            tcp.interrupt()
            #expect(try tcp.finish().code == 0)
            let path = directory.file("m")
            let (unix, _) = try destination(2, listensAt: "unix:\(path)")
            #expect(access(path, F_OK) == 0, "it listens before it answers")
            unix.child.signal(SIGTERM)
            #expect(try unix.finish().code == 0)
            #expect(access(path, F_OK) != 0)
            let (nowhere, _) = try destination(3, listensAt: "unix:\(directory.path)/no/m")
            try nowhere.waitForNote("no such directory: going on by recorded times alone")
        }
    }

    @Test func whatCannotBeServed() async throws {
        try await onThread {
            let directory = try LabDirectory()
            func run(_ number: Int, _ arguments: String...) throws -> Godwit.Outcome {
                try Godwit(["serve"] + arguments, in: directory, number: number).finish()
            }
            let socket = directory.file("s")
            let none = try run(1, directory.file("none"), "--side", "source", "--listen", socket)
            #expect(none.code == 66 && none.errors.contains("No such file"), "\(none)")
            let usage = try run(
                2, "\(fixtures)/completed.qmptrace", "--side", "source", "--listen", socket, "--speed", "0")
            #expect(usage.code == 64, "\(usage)")
            let fault = try run(
                3, "\(fixtures)/completed.qmptrace", "--side", "source", "--listen", socket, "--fault", "drop:")
            #expect(fault.code == 64, "\(fault)")
            let nowhere = try run(
                4, "\(fixtures)/completed.qmptrace", "--side", "source", "--listen", "\(directory.path)/no/s")
            #expect(nowhere.code == 75 && nowhere.errors.contains("no such directory"), "\(nowhere)")
        }
    }
}
