import Glibc
import JSONC
import Testing
import Trace

@testable import Replay

/// What is broken in foreign recordings is named with its place, and never ends the program.
struct BrokenImportTests {
    private static let names = [
        "libvirtd-live-src.log.gz", "libvirt-two-domains.log", "chardev-source.log", "qemu-trace-source.stderr",
        "qemu-trace-plain.stderr", "qmp-shell-verbose.txt", "qmp-shell-logfile-pretty.txt", "qemu-qmp-debug.log",
        "two-probes.replies",
    ]

    private static func error(_ text: String) throws -> TraceError? {
        let file = ForeignFiles.Temporary(text)
        return #expect(throws: TraceError.self) { try ForeignFiles.convert([file.path]) }
    }

    @Test func unknownContentIsDescribed() throws {
        let error = try Self.error("\n# a comment\nDear customer,\nyour guest has moved.\n")
        #expect(error?.message.contains("line 3 begins with 'Dear customer,'") ?? false)
        for format in ImportFormat.allCases { #expect(error?.message.contains(format.rawValue) ?? false) }
        #expect(try Self.error("")?.message.contains("the file is empty") ?? false)
        #expect(try Self.error("{\"a\": 1}\n")?.message.contains("line 1 begins with '{\"a\": 1}'") ?? false)
    }

    @Test func otherEncodings() throws {
        let text = "{\"return\": {}}\n{\"event\": \"STOP\"}\n"
        let wide = ForeignFiles.Temporary([0xFF, 0xFE] + text.utf8.flatMap { [$0, 0] })
        let error = #expect(throws: TraceError.self) { try ImportFile(path: wide.path) }
        #expect(error?.message.contains("UTF-16") ?? false)
        let marked = ForeignFiles.Temporary([0xEF, 0xBB, 0xBF] + Array(text.utf8))
        #expect(try ForeignFiles.records(ForeignFiles.convert([marked.path]).bytes).count == 2)
        // An event's name in Latin-1 is no JSON.
        let latin = ForeignFiles.Temporary(
            Array("{\"event\": \"ST".utf8) + [0xD6] + Array("P\"}\n{\"return\": {}}\n".utf8))
        #expect(throws: TraceError.self) { try ForeignFiles.convert([latin.path]) }
    }

    @Test func lineEndsOfWindows() throws {
        for name in ["qemu-trace-source.stderr", "two-probes.replies", "qmp-shell-verbose.txt"] {
            let plain = String(decoding: Fixtures.bytes(ForeignFiles.path(name)), as: UTF8.self)
            let file = ForeignFiles.Temporary(Array(plain.utf8).flatMap { $0 == 0x0A ? [0x0D, 0x0A] : [$0] })
            let one = try ForeignFiles.records(ForeignFiles.convert([ForeignFiles.path(name)]).bytes)
            let other = try ForeignFiles.records(ForeignFiles.convert([file.path]).bytes)
            #expect(one == other)
        }
    }

    @Test func placesAreNamed() throws {
        let broken = try Self.error("{\"return\": {}}\n{\"return\": {}, \"id\": tru}\n{\"return\": {}}\n")
        #expect(broken?.line == 2)
        #expect(broken?.column ?? 0 > 20)
        let pretty = try Self.error("{\n \"execute\": \"stop\",\n \"id\": oops\n}\n")
        #expect(pretty?.line == 3)
        #expect(pretty?.column == 8)
        let text = try Self.error("{\"return\": {}}\nand then it stopped\n")
        #expect(text?.line == 2)
        #expect(text?.message.contains("and then it stopped") ?? false)
        let foreign = try Self.error("{\"return\": {}}\n  {\"jsonrpc\": \"2.0\"}\n")
        #expect(foreign?.line == 2)
        #expect(foreign?.column == 3)
    }

    /// A write that was cut short in the middle of a file costs that message, at its end nobody is to blame.
    @Test func tornWrites() throws {
        let torn = "{\"return\": {}, \"id\": 1}\n{\"return\": {\"status\"\n{\"return\": {}, \"id\": 2}\n"
        #expect(try Self.error(torn)?.line == 2)
        let file = ForeignFiles.Temporary(torn)
        let lenient = try ForeignFiles.convert([file.path], lenient: true)
        #expect(try ForeignFiles.records(lenient.bytes).count == 2)
        #expect(lenient.conversion.warnings.map(\.kind) == [.skipped])
        #expect(lenient.conversion.warnings.first?.error.line == 2)

        let end = ForeignFiles.Temporary("{\"return\": {}, \"id\": 1}\n{\"return\": {\"sta")
        let strict = try ForeignFiles.convert([end.path])
        #expect(try ForeignFiles.records(strict.bytes).count == 1)
        #expect(strict.conversion.warnings.map(\.kind) == [.torn])
    }

    /// Threads of QEMU share its standard error: what one wrote into another's line is named.
    @Test func interleavedLines() throws {
        let line = "monitor_qmp_respond mon 0x1 resp: {\"return\": {}, \"id\": 1}"
        let mixed =
            "monitor_qmp_respond mon 0x1 resp: {\"return\"migrate_set_state new state active\n: {}, \"id\": 2}\n"
        let file = ForeignFiles.Temporary("\(line)\n\(mixed)\(line)\n")
        let error = #expect(throws: TraceError.self) { try ForeignFiles.convert([file.path]) }
        #expect(error?.line == 2)
        #expect(try ForeignFiles.records(ForeignFiles.convert([file.path], lenient: true).bytes).count == 2)
    }

    /// Libvirt writes a long command in pieces, and says how much of it each time.
    @Test func partialWrites() throws {
        let command = "{\"execute\":\"query-status\",\"id\":\"libvirt-1\"}"
        func write(_ text: Substring, _ written: Int) -> String {
            "2026-11-21 01:41:17.068+0000: 7: info : qemuMonitorIOWrite:366 : QEMU_MONITOR_IO_WRITE: mon=0x1 "
                + "buf=\(text)\r\n len=\(text.utf8.count + 2) ret=\(written) errno=0\n"
        }
        let file = ForeignFiles.Temporary(
            write(command[...], -1) + write(command[...], 10)
                + write(command.dropFirst(10), command.utf8.count - 10 + 2))
        let records = try ForeignFiles.records(ForeignFiles.convert([file.path]).bytes)
        #expect(records.count == 1)
        #expect(records.first?.member.value["execute"]?.string == "query-status")
    }

    /// A filter of the log may leave out the writes: then what libvirt wanted to send counts, before its reply.
    @Test func sendsWithoutWrites() throws {
        let all = String(decoding: Fixtures.bytes(ForeignFiles.path("libvirt-two-domains.log")), as: UTF8.self)
        var isWrite = false
        let lines = all.split(separator: "\n", omittingEmptySubsequences: false).filter { line in
            if line.hasPrefix("2026") { isWrite = line.contains("IO_WRITE") }
            return !isWrite
        }
        let file = ForeignFiles.Temporary(lines.joined(separator: "\n"))
        for domain in ["web", "mail"] {
            let with = try ForeignFiles.replay([ForeignFiles.path("libvirt-two-domains.log")], domain: domain)
            let without = try ForeignFiles.replay([file.path], domain: domain)
            #expect(with.attempts.map(\.outcomeWord) == without.attempts.map(\.outcomeWord))
            #expect(with.attempts.map(\.cancel) == without.attempts.map(\.cancel))
        }
    }

    @Test func logsWithoutMessagesSaySo() throws {
        let log = try Self.error("2026-11-21 01:41:17.068+0000: 2700: info : libvirt version: 9.0.0\n")
        #expect(log?.message.contains("log_filters") ?? false)
        let trace = try Self.error("monitor_qmp_cmd_in_band 1\n")
        #expect(trace?.message.contains("handle_qmp_command") ?? false)
    }

    /// A line without end is skipped without being kept.
    @Test func endlessLine() throws {
        let file = ForeignFiles.Temporary("{\"return\": {}, \"id\": 1}\n")
        let descriptor = open(file.path, O_WRONLY | O_APPEND)
        // A hole reads as zeros and takes no space.
        #expect(ftruncate(descriptor, off_t(ImportLimits.messageBytes + (1 << 20))) == 0)
        let end = "\n{\"return\": {}, \"id\": 2}\n"
        #expect(write(descriptor, end, end.utf8.count) == end.utf8.count)
        close(descriptor)
        let error = #expect(throws: TraceError.self) { try ForeignFiles.convert([file.path]) }
        #expect(error?.line == 2)
        #expect(error?.message.contains("limit") ?? false)
    }

    /// Bytes changed, cut, doubled, exchanged anywhere: an error with a place, or a trace that can be read.
    @Test(arguments: names)
    func mutations(_ name: String) throws {
        let original = try ByteSource.open(path: ForeignFiles.path(name)).head(64 << 10).prefix(12_000)
        var seed = UInt64(name.utf8.reduce(7) { ($0 &* 31) &+ Int($1) } & 0xFFFF) &+ 1
        func random(_ bound: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((seed >> 33) % UInt64(max(bound, 1)))
        }
        for round in 0..<24 {
            var bytes = Array(original)
            for _ in 0...random(6) {
                guard !bytes.isEmpty else { break }
                let place = random(bytes.count)
                let length = min(random(200), bytes.count - place)
                switch random(5) {
                case 0: bytes[place] = UInt8(random(256))
                case 1: bytes.removeSubrange(place..<(place + length))
                case 2: bytes.insert(contentsOf: Array(bytes[place..<(place + length)]), at: random(bytes.count))
                case 3: bytes.insert(contentsOf: [0x0A, 0x7B, 0x00, 0x22, 0xFF].shuffledBy(random(5)), at: place)
                default: bytes.removeLast(length)
                }
            }
            do {
                let files = [try ImportFile(bytes: bytes, name: "mutation")]
                let conversion = try Conversion(files, lenient: round % 2 == 0)
                for guest in conversion.guests {
                    let trace = try conversion.bytes(of: guest)
                    #expect(throws: Never.self) {
                        try ReplayReport(reader: TraceReader(bytes: trace, name: "converted"), name: "converted")
                    }
                }
            } catch {
                #expect(!error.message.isEmpty && error.file == "mutation")
            }
        }
    }
}

extension [UInt8] {
    fileprivate func shuffledBy(_ count: Int) -> [UInt8] { Array(self[count...] + self[..<count]) }
}
