import JSONC
import Migration
import Phases
import Testing
import Trace

@testable import Replay

/// Each format is told by its content, converted, and replayed to what somebody who read the recording found in it.
struct ImportTests {
    @Test(arguments: [
        ("libvirtd-live-src.log.gz", ImportFormat.libvirt), ("libvirtd-postcopy-dst.log.gz", .libvirt),
        ("libvirt-two-domains.log", .libvirt), ("chardev-source.log", .qmp), ("chardev-destination.log", .qmp),
        ("qemu-trace-source.stderr", .qemuTrace), ("qemu-trace-plain.stderr", .qemuTrace),
        ("qmp-shell-verbose.txt", .qmpShell), ("qmp-shell-logfile.txt", .qmpShell),
        ("qmp-shell-logfile-pretty.txt", .qmpShell), ("qemu-qmp-debug.log", .qmpShell),
        ("two-probes.replies", .replies),
    ])
    func format(_ name: String, _ format: ImportFormat) throws {
        #expect(try ImportFile(path: ForeignFiles.path(name)).format == format)
        // The name does not matter.
        let copy = ForeignFiles.Temporary(Fixtures.bytes(ForeignFiles.path(name)))
        #expect(try ImportFile(path: copy.path).format == format)
    }

    @Test func tracesAreRecognised() throws {
        #expect(try ImportFile(path: Fixtures.trace("7.2.22/precopy-unix")).format == .qmptrace)
    }

    /// Pre-copy with pause-before-switchover, whose stream went through the daemon's descriptor.
    @Test func libvirtLive() throws {
        let report = try ForeignFiles.replay(
            [ForeignFiles.path("libvirtd-live-src.log.gz"), ForeignFiles.path("libvirtd-live-dst.log.gz")])
        let attempt = try #require(report.attempts.first)
        #expect(report.attempts.count == 1)
        #expect(attempt.outcomeWord == "completed")
        #expect(attempt.status.basis.rawValue == "both")
        #expect(attempt.totalMilliseconds == 310)
        #expect(attempt.downtimeMilliseconds == 142)
        #expect(
            attempt.source.statuses.map(\.rawValue) == ["setup", "active", "pre-switchover", "device", "completed"])
        #expect(attempt.destination.statuses.map(\.rawValue) == ["setup", "active", "completed"])
        #expect(attempt.source.phases == [.begin3, .perform3, .perform3Done, .confirm3])
        #expect(attempt.destination.phases == [.prepare, .finish3])
        #expect(attempt.destination.version == QEMUVersion(7, 2, 22))
        #expect(report.anomalies.isEmpty)
    }

    @Test func libvirtPostcopy() throws {
        let report = try ForeignFiles.replay(
            [ForeignFiles.path("libvirtd-postcopy-dst.log.gz"), ForeignFiles.path("libvirtd-postcopy-src.log.gz")])
        let attempt = try #require(report.attempts.first)
        #expect(report.attempts.count == 1)
        #expect(attempt.outcomeWord == "completed")
        #expect(attempt.totalMilliseconds == 2772)
        #expect(attempt.downtimeMilliseconds == 4)
        #expect(
            attempt.source.statuses.map(\.rawValue) == [
                "setup", "active", "pre-switchover", "postcopy-active", "completed",
            ])
        #expect(attempt.destination.statuses.map(\.rawValue) == ["setup", "active", "postcopy-active", "completed"])
        #expect(attempt.destination.phases == [.prepare, .finish3])
        #expect(report.anomalies.isEmpty)
    }

    @Test func oneDaemonAlone() throws {
        let source = try ForeignFiles.replay([ForeignFiles.path("libvirtd-live-src.log.gz")])
        #expect(source.attempts.map(\.outcomeWord) == ["completed"])
        #expect(source.attempts.first?.status.basis.rawValue == "source")
        let destination = try ForeignFiles.replay([ForeignFiles.path("libvirtd-live-dst.log.gz")])
        #expect(destination.attempts.map(\.outcomeWord) == ["completed"])
        #expect(destination.attempts.first?.status.basis.rawValue == "destination")
    }

    @Test func domainsAreKeptApart() throws {
        let path = ForeignFiles.path("libvirt-two-domains.log")
        let conversion = try Conversion([ImportFile(path: path)], lenient: false)
        #expect(conversion.guests.map(\.name) == ["web", "mail"])
        let web = try ForeignFiles.replay([path], domain: "web")
        #expect(web.attempts.map(\.outcomeWord) == ["completed"])
        #expect(web.attempts.first?.cancel.rawValue == "none")
        let mail = try ForeignFiles.replay([path], domain: "mail")
        #expect(mail.attempts.map(\.outcomeWord) == ["cancelled"])
        #expect(mail.attempts.first?.cancel.rawValue == "honoured")
        let error = #expect(throws: TraceError.self) { try TraceInput.open(path: path) }
        #expect(error?.message.contains("web, mail") ?? false)
    }

    @Test(arguments: ["qemu-trace", "chardev"])
    func bothSidesOfQEMU(_ kind: String) throws {
        let ending = kind == "chardev" ? "log" : "stderr"
        let report = try ForeignFiles.replay(
            ["source", "destination"].map { ForeignFiles.path("\(kind)-\($0).\(ending)") })
        let attempt = try #require(report.attempts.first)
        #expect(report.attempts.count == 1)
        #expect(attempt.outcomeWord == "completed")
        #expect(attempt.status.basis.rawValue == "both")
        #expect(attempt.source.statuses.map(\.rawValue) == ["setup", "active", "completed"])
        #expect(attempt.source.version == QEMUVersion(7, 2, 22))
    }

    @Test(arguments: [
        "qemu-trace-plain.stderr", "qmp-shell-verbose.txt", "qmp-shell-logfile.txt", "qmp-shell-logfile-pretty.txt",
        "qemu-qmp-debug.log",
    ])
    func sourceAlone(_ name: String) throws {
        let report = try ForeignFiles.replay([ForeignFiles.path(name)])
        #expect(report.attempts.map(\.outcomeWord) == ["completed"])
        #expect(report.attempts.first?.status.basis.rawValue == "source")
        #expect(!report.anomalies.contains { $0.what.contains("answer to no command") })
    }

    @Test func probes() throws {
        let records = try ForeignFiles.records(
            ForeignFiles.convert([ForeignFiles.path("two-probes.replies")]).bytes)
        #expect(records.map(\.member.name) == (0..<5).flatMap { _ in ["send", "recv"] })
        #expect(records.map { $0.connection ?? 1 } == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2])
    }

    /// What QEMU sent stands in the trace byte for byte.
    @Test func messagesAreVerbatim() throws {
        let bytes = Fixtures.bytes(ForeignFiles.path("chardev-source.log"))
        let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
        var reader = try TraceReader(
            bytes: ForeignFiles.convert([ForeignFiles.path("chardev-source.log")]).bytes, name: "converted")
        var messages: [String] = []
        while try reader.next() != nil {
            messages.append(String(decoding: try #require(reader.verbatimValue), as: UTF8.self))
        }
        #expect(messages == lines)
    }

    /// A recording that is read in its own place calls its records by its lines.
    @Test func recordsAreLines() throws {
        let path = ForeignFiles.path("qemu-trace-source.stderr")
        let lines = String(decoding: Fixtures.bytes(path), as: UTF8.self).split(separator: "\n")
        var reader = try TraceReader(.open(path: path))
        var last = 0
        while let record = try reader.next() {
            #expect(record.seq >= last)
            last = record.seq
            switch record.member {
            case .recv: #expect(lines[record.seq - 1].contains("resp: "))
            case .send: #expect(lines[record.seq - 1].contains("req: "))
            default: break
            }
        }
        #expect(last == 69)
        #expect(try ReplayReport(path: path).attempts.map(\.outcomeWord) == ["completed"])
        #expect(try Explanation(path: path).attempts.count == 1)
    }

    /// A trace goes through the same door, and nothing happens to it.
    @Test func tracesPassUnchanged() throws {
        let path = Fixtures.trace("7.2.22/precopy-unix")
        let direct = try ReplayReport(reader: TraceReader(path: path), name: "x")
        let opened = try ReplayReport(reader: TraceReader(.open(path: path)), name: "x")
        #expect(direct == opened)
    }

    /// Only tracing of the states was on: they stand for the events that nobody recorded.
    @Test func statesWithoutEvents() throws {
        let file = ForeignFiles.Temporary(
            """
            1@1700000000.000001:handle_qmp_command mon 0x1 req: {"execute": "qmp_capabilities"}
            1@1700000000.000002:monitor_qmp_respond mon 0x1 resp: {"return": {}}
            1@1700000000.100000:handle_qmp_command mon 0x1 req: {"execute": "migrate", "id": 1}
            1@1700000000.100100:migrate_set_state new state setup
            1@1700000000.100200:monitor_qmp_respond mon 0x1 resp: {"return": {}, "id": 1}
            1@1700000000.200000:migrate_set_state new state active
            1@1700000000.300000:migrate_set_state new state failed

            """)
        let bytes = try ForeignFiles.convert([file.path]).bytes
        let inferred = try ForeignFiles.records(bytes).filter { $0.other["inferred"] != nil }
        #expect(inferred.count == 3)
        #expect(inferred.last?.microseconds == 299_999)
        let report = try ReplayReport(reader: TraceReader(bytes: bytes, name: "x"), name: "x")
        #expect(report.attempts.map(\.outcomeWord) == ["failed"])
        // Where QEMU sent its events, they are not told twice.
        let told = try ForeignFiles.convert([ForeignFiles.path("qemu-trace-source.stderr")]).bytes
        #expect(try !ForeignFiles.records(told).contains { $0.other["inferred"] != nil })
    }

    /// A guest that came and left again: its QEMU is first the destination, then the source.
    @Test func sidesMayTurn() throws {
        let file = ForeignFiles.Temporary(
            """
            -> {"execute": "migrate-incoming", "arguments": {"uri": "tcp:0:1"}, "id": 1}
            <- {"return": {}, "id": 1}
            <- {"timestamp": {"seconds": 100, "microseconds": 0}, "event": "MIGRATION", "data": {"status": "completed"}}
            <- {"timestamp": {"seconds": 101, "microseconds": 0}, "event": "RESUME"}
            -> {"execute": "migrate", "arguments": {"uri": "tcp:h:2"}, "id": 2}
            <- {"return": {}, "id": 2}

            """)
        let records = try ForeignFiles.records(ForeignFiles.convert([file.path]).bytes)
        #expect(records.map(\.side) == [.destination, .destination, .destination, .destination, .source, .source])
        #expect(Set(records.map(\.qemu)) == ["qemu-1"])
    }

    @Test func sideMayBeSaid() throws {
        let path = ForeignFiles.path("chardev-source.log")
        let records = try ForeignFiles.records(ForeignFiles.convert([path], sides: [.destination]).bytes)
        #expect(records.allSatisfy { $0.side == .destination })
    }

    @Test func secretsAreMasked() throws {
        let file = ForeignFiles.Temporary(
            "{\"execute\":\"set_password\",\"arguments\":{\"protocol\":\"vnc\",\"password\":\"hunter2\"},\"id\":1}\n")
        func text(_ isRedacted: Bool) throws -> String {
            String(decoding: try ForeignFiles.convert([file.path], isRedacted: isRedacted).bytes, as: UTF8.self)
        }
        #expect(try !text(true).contains("hunter2"))
        #expect(try text(false).contains("hunter2"))
    }
}
