import Glibc
import GuestLab
import JSONC
import QMP
import QMPTransport
import Testing
import Trace

/// A QEMU with a recorder in front of it.
private final class Recorded {
    let directory: LabDirectory
    let qemu: QEMUProcess
    let recorder: Godwit
    let trace: String
    let socket: String

    init(
        _ arguments: [String] = [], sockets: Int = 1, incoming: QEMUProcess.Options.Incoming? = nil
    ) throws {
        directory = try LabDirectory()
        var options = QEMUProcess.Options(label: "recorded")
        options.paused = true
        options.qmpSockets = sockets
        options.incoming = incoming
        qemu = try QEMUProcess.start(options, in: directory)
        trace = directory.file("recorded.qmptrace")
        socket = directory.file("recorder.qmp")
        recorder = try Godwit(
            ["record", "--qmp", qemu.qmpPath, "--listen", socket, "--output", trace] + arguments, in: directory,
            number: 1)
        try recorder.waitForNote("clients connect to")
    }

    /// Ends the recorder and reads what it wrote.
    func end() throws -> [TraceRecord] {
        recorder.interrupt()
        let outcome = try recorder.finish()
        #expect(outcome.code == 0, "\(outcome)")
        return try records()
    }

    func records(_ path: String? = nil) throws -> [TraceRecord] {
        var reader = try TraceReader(path: path ?? trace)
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }
}

extension [TraceRecord] {
    fileprivate var sent: [String] {
        compactMap { record in
            guard case .send(let message) = record.member else { return nil }
            return message["execute"]?.string ?? message["exec-oob"]?.string
        }
    }

    fileprivate var events: [String] {
        compactMap { if case .recv(let message) = $0.member { message["event"]?.string } else { nil } }
    }

    fileprivate var greetings: Int {
        count { if case .recv(let message) = $0.member { message["QMP"] != nil } else { false } }
    }
}

extension MigrationTests {
    /// The recorder with real QEMUs.
    @Suite struct Recording {
        /// Godwit migrates through the recorder; the recording tells the same story as its own trace, and a second migration
        /// between two programs that play it goes the same way.
        @Test func aMigrationIsRecordedReplayedAndPlayed() throws {
            let lab = try MigrationLab()
            let trace = lab.directory.file("recording.qmptrace")
            let (source, destination) = (lab.directory.file("s.rec"), lab.directory.file("d.rec"))
            let recorder = try lab.godwit(
                "record", "--qmp", lab.source.qmpPath, "--listen", source, "--qmp", lab.destination.qmpPath, "--listen",
                destination, "--output", trace)
            try recorder.waitForNote("clients connect to \(destination)")
            let own = lab.directory.file("own.qmptrace")
            let outcome = try lab.godwit(
                "migrate", "--source", source, "--destination", destination, "--trace", own, "--policy", "none",
            ).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            recorder.interrupt()
            #expect(try recorder.finish().code == 0)
            func told(_ path: String) throws -> JSONValue {
                let text = try lab.godwit("replay", "--format", "json", path).finish().output
                return try JSONValue(parsing: text)["attempts"]?.array?.first ?? .null
            }
            let (recorded, journal) = (try told(trace), try told(own))
            for key in ["outcome", "basis", "cancel", "error", "totalMilliseconds", "downtimeMilliseconds"] {
                #expect(recorded[key] == journal[key], "\(key)")
            }
            #expect(recorded["outcome"] == "completed")
            #expect(recorded["source"]?["statuses"] == journal["source"]?["statuses"])
            #expect(recorded["destination"]?["statuses"] == journal["destination"]?["statuses"])
            // Both sides once more, without any QEMU.
            let played = try Played(trace, speed: "max")
            let again = try played.migrate([]).finish()
            #expect(again.code == 0, "\(again)")
            let (expected, found) = (try Deeds(own), try Deeds(played.trace))
            #expect(found == expected)
        }

        @Test func descriptorsPass() async throws {
            let recorded = try Recorded()
            let file = recorded.directory.file("given")
            let descriptor = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
            defer { close(descriptor) }
            let client = try await QMPClient.connect(to: try QMPAddress(parsing: recorded.socket))
            try await client.execute(GetFD(fdname: "given"), descriptors: [descriptor])
            #expect(QEMUFiles.of(recorded.qemu.pid).contains(file))
            _ = try await client.execute(
                QMPRequest(name: "closefd", arguments: Array(#"{"fdname":"given"}"#.utf8), kind: .query))
            #expect(!QEMUFiles.of(recorded.qemu.pid).contains(file))
            await client.close()
            let records = try recorded.end()
            let place = try #require(records.firstIndex { $0.member == .fds(1) })
            guard case .send(let message) = records[place + 1].member else {
                Issue.record("the descriptor is not followed by its command")
                return
            }
            #expect(message["execute"] == "getfd")
        }

        /// The monitor lives on: what happens meanwhile is recorded, and the next client takes part in the session.
        @Test func clientsComeAndGo() throws {
            let recorded = try Recorded(sockets: 2)
            let other = try BlockingQMP(recorded.qemu.secondQMPPath)
            do {
                let first = try BlockingQMP(recorded.socket, outOfBand: true)
                try first.execute("query-status")
                try first.execute("cont")
            }
            try other.execute("stop")
            let second = try BlockingQMP(recorded.socket)
            #expect(second.greeting["QMP"]?["capabilities"] == ["oob"])
            #expect(try second.runState() == "paused")
            try second.execute("cont")
            try second.waitForEvent("RESUME")
            let records = try recorded.end()
            #expect(records.greetings == 1)
            #expect(records.sent.filter { $0 == "qmp_capabilities" }.count == 1)
            #expect(records.events.filter { $0 == "STOP" || $0 == "RESUME" } == ["RESUME", "STOP", "RESUME"])
        }

        @Test func twoClientsAtOnce() throws {
            let recorded = try Recorded(["--clients", "2"])
            let (first, second) = (try BlockingQMP(recorded.socket), try BlockingQMP(recorded.socket))
            // The same ids on both sides, in flight together.
            for _ in 0..<50 {
                let here = try first.send("query-name")
                let there = try second.send("query-status")
                #expect(try second.reply(to: there)["status"] == "prelaunch")
                #expect(try first.reply(to: here)["status"] == nil)
            }
            try first.execute("cont")
            try first.waitForEvent("RESUME")
            try second.waitForEvent("RESUME")
            let records = try recorded.end()
            #expect(records.sent.filter { $0 == "query-name" }.count == 50)
            #expect(records.events.filter { $0 == "RESUME" }.count == 1)
        }

        @Test func theEndOfQEMUIsTheEnd() throws {
            let recorded = try Recorded(["--side", "source"])
            let client = try BlockingQMP(recorded.socket)
            try client.quit()
            let outcome = try recorded.recorder.finish()
            #expect(outcome.code == 0, "\(outcome)")
            let records = try recorded.records()
            #expect(records.events.last == "SHUTDOWN")
            #expect(records.contains { $0.member == .monitor("lost") && $0.side == .source })
            #expect(records.contains { $0.member == .process(.unknown) })
            #expect(access(recorded.socket, F_OK) != 0)
        }

        /// Killed in the midst of it: what was written is there, and the session was never the recorder's to lose.
        @Test func aKilledRecorderLeavesWhatItHas() throws {
            let recorded = try Recorded()
            do {
                let client = try BlockingQMP(recorded.socket)
                for _ in 0..<20 { try client.execute("query-status") }
                try eventually("the trace") { fileText(recorded.trace).contains("\"id\": 21}") }
            }
            recorded.recorder.child.signal(SIGKILL)
            _ = try recorded.recorder.finish()
            #expect(try recorded.records().sent.filter { $0 == "query-status" }.count == 20)
            #expect(try BlockingQMP(recorded.qemu.qmpPath).runState() == "prelaunch")
        }

        /// Nobody said which end it is: its command line does, so that the recording can be replayed.
        @Test(arguments: [TraceSide.source, .destination]) func theSideIsInferred(_ side: TraceSide) throws {
            let recorded = try Recorded(incoming: side == .destination ? .deferred : nil)
            let client = try BlockingQMP(recorded.socket)
            try client.execute("query-status")
            let records = try recorded.end()
            let talk = records.filter { record in
                switch record.member {
                case .send, .recv: true
                default: false
                }
            }
            #expect(!talk.isEmpty && talk.allSatisfy { $0.side == side })
            #expect(fileText(recorded.trace).contains(#""sides":"inferred""#))
        }

        @Test func secretsAreMasked() throws {
            let recorded = try Recorded()
            let client = try BlockingQMP(recorded.socket)
            try client.execute("object-add", ["qom-type": "secret", "id": "s", "data": "hunter2-clear"])
            #expect(try client.execute("qom-get", ["path": "/objects/s", "property": "data"]) == "hunter2-clear")
            _ = try recorded.end()
            #expect(!fileText(recorded.trace).contains("hunter2"))
            #expect(fileText(recorded.trace).contains(#""redacted":true"#))
            let open = try Recorded(["--no-redact"])
            let other = try BlockingQMP(open.socket)
            try other.execute("object-add", ["qom-type": "secret", "id": "s", "data": "hunter2-clear"])
            _ = try open.end()
            #expect(fileText(open.trace).contains("hunter2-clear"))
            #expect(fileText(open.trace).contains(#""redacted":false"#))
        }

        /// A limit on the size of files stands for the full disk: the conversation goes on, and it is said.
        @Test func aFullDiskStopsNobody() throws {
            let directory = try LabDirectory()
            var options = QEMUProcess.Options(label: "recorded")
            options.paused = true
            let qemu = try QEMUProcess.start(options, in: directory)
            let (trace, socket) = (directory.file("t.qmptrace"), directory.file("r.qmp"))
            let recorder = try Godwit(
                [
                    "-c", "ulimit -f 16; exec \"$@\"", "sh", Godwit.path, "record", "--qmp", qemu.qmpPath, "--listen",
                    socket,
                    "--output", trace,
                ], in: directory, number: 1, program: "sh")
            try recorder.waitForNote("clients connect to")
            let client = try BlockingQMP(socket)
            for _ in 0..<200 { #expect(try client.runState() == "prelaunch") }
            try recorder.waitForNote("the trace cannot be written")
            #expect(try client.runState() == "prelaunch")
            recorder.interrupt()
            let outcome = try recorder.finish()
            #expect(outcome.code == 74, "\(outcome)")
            #expect(outcome.errors.contains("File too large"), "\(outcome)")
            var reader = try TraceReader(path: trace)
            var count = 0
            while try reader.next() != nil { count += 1 }
            #expect(count > 20)
            #expect(reader.warnings.map(\.kind) == [.torn])
        }

        @Test func filesOfASize() throws {
            let recorded = try Recorded(["--rotate", "8KiB"])
            let client = try BlockingQMP(recorded.socket)
            for _ in 0..<300 { try client.execute("query-status") }
            _ = try recorded.end()
            let files = names(in: recorded.directory.path).filter {
                $0.hasPrefix("recorded.") && $0.hasSuffix("qmptrace")
            }
            #expect(files.count > 3)
            let all = try files.flatMap { try recorded.records(recorded.directory.file($0)).sent }
            #expect(all.filter { $0 == "query-status" }.count == 300)
        }

        @Test func whatCannotBeRecorded() throws {
            let directory = try LabDirectory()
            func run(_ number: Int, _ arguments: String...) throws -> Godwit.Outcome {
                try Godwit(["record"] + arguments, in: directory, number: number).finish()
            }
            let (socket, trace) = (directory.file("s"), directory.file("t"))
            let none = try run(1, "--qmp", directory.file("none"), "--listen", socket, "--output", trace)
            #expect(none.code == 75 && none.errors.contains("no such socket"), "\(none)")
            #expect(access(trace, F_OK) != 0)
            let usage = try run(2, "--qmp", "a", "--listen", "a", "--output", trace)
            #expect(usage.code == 64, "\(usage)")
            var options = QEMUProcess.Options(label: "recorded")
            options.paused = true
            let qemu = try QEMUProcess.start(options, in: directory)
            close(open(trace, O_CREAT | O_WRONLY, 0o600))
            let exists = try run(3, "--qmp", qemu.qmpPath, "--listen", socket, "--output", trace)
            #expect(exists.code == 74 && exists.errors.contains("File exists"), "\(exists)")
            #expect(access(socket, F_OK) != 0)
        }
    }
}

/// What a process holds open.
private enum QEMUFiles {
    static func of(_ pid: Int32) -> [String] {
        names(in: "/proc/\(pid)/fd").compactMap { name in
            var buffer = [UInt8](repeating: 0, count: 4096)
            let length = buffer.withUnsafeMutableBytes { bytes in
                bytes.withMemoryRebound(to: CChar.self) { chars in
                    chars.baseAddress.map { readlink("/proc/\(pid)/fd/\(name)", $0, chars.count) } ?? -1
                }
            }
            return length > 0 ? String(decoding: buffer[..<length], as: UTF8.self) : nil
        }
    }
}
