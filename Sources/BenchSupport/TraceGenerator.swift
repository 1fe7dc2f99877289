import Glibc

/// What a generated trace consists of.
public enum TraceMix: String, CaseIterable, Sendable {
    /// As a controller records it: polls and their answers, some 200 bytes a record.
    case recorded
    /// Nothing but events.
    case events
    /// Replies of tens and hundreds of kilobytes.
    case large
}

/// Makes traces as long as one likes, the same ones for the same seed, in QEMU's own rendering.
///
/// Migration follows migration: with all kinds of messages, ends and words that recordings have, and with numbers
/// that go the way QEMU's go.
public struct TraceGenerator {
    /// The bytes that were not taken yet.
    public private(set) var pending: [UInt8] = []
    /// How many records were made.
    public private(set) var records = 0

    private let mix: TraceMix
    private var random: SplitMix64
    private var microseconds: Int64 = 28_000
    private var identifiers: [Side: Int] = [:]
    private let schema: String

    private enum Side: String {
        case source, destination

        var short: String { self == .source ? "src" : "dst" }
    }

    /// How a migration ends.
    private enum End: CaseIterable {
        case completed, cancelled, failed, postcopy
    }

    /// A generator that begins with the header.
    public init(mix: TraceMix, seed: UInt64) {
        self.mix = mix
        random = SplitMix64(state: seed)
        schema = mix == .large ? Self.schema() : ""
        line(#"{"qmptrace":1,"recorder":"godwit-bench","title":"generated, \#(mix.rawValue), seed \#(seed)"}"#)
        records = 0
    }

    /// Takes the pending bytes out.
    public mutating func takePending() -> [UInt8] {
        defer { pending.removeAll(keepingCapacity: true) }
        return pending
    }

    /// Makes the next migration.
    public mutating func next() {
        switch mix {
        case .recorded: recordedMigration()
        case .events: eventsOfMigration()
        case .large: largeReplies()
        }
    }

    // MARK: Mixes

    private mutating func recordedMigration() {
        for side in [Side.source, .destination] {
            record(side, "monitor", "\"connected\"")
            greet(side)
            ask(side, "qmp_capabilities", #"{"enable":["oob"]}"#)
            ask(side, "migrate-set-capabilities", #"{"capabilities":[{"capability":"events","state":true}]}"#)
            ask(side, "query-migrate-capabilities", nil, Self.capabilities)
            ask(side, "query-migrate-parameters", nil, Self.parameters)
        }
        ask(.source, "migrate-set-parameters", #"{"max-bandwidth":\#(number(1 << 20, 1 << 33))}"#)
        let port = number(30_000, 60_000)
        listen(port)
        let end: End = End.allCases[Int(number(0, 3))]
        open(port)
        var total: Int64 = 0
        let polls = number(100, 2000)
        for poll in 0..<polls {
            total += number(90, 110)
            ask(.source, "query-migrate", nil, sample("active", total, pass: poll / 8 + 1))
            ask(.source, "query-status", nil, #"{"status": "running", "singlestep": false, "running": true}"#)
            ask(.destination, "query-status", nil, #"{"status": "inmigrate", "singlestep": false, "running": false}"#)
            if poll % 2 == 0 { ask(.destination, "query-migrate", nil, Self.arriving) }
            if poll % 8 == 0 { event(.source, "MIGRATION_PASS", #"{"pass": \#(poll / 8 + 1)}"#) }
            if poll % 5 == 0 { noise(.source) }
            if poll % 40 == 0 { ask(.source, "query-name", nil, #"{"name": "guest"}"#) }
            if poll % 100 == 50 {
                ask(
                    .source, "migrate", #"{"uri":"tcp:127.0.0.1:\#(port)"}"#,
                    refusal: "There's a migration process in progress")
            }
        }
        close(end, total)
    }

    private mutating func eventsOfMigration() {
        event(.destination, "MIGRATION", #"{"status": "setup"}"#)
        event(.source, "MIGRATION", #"{"status": "setup"}"#)
        event(.destination, "MIGRATION", #"{"status": "active"}"#)
        event(.source, "MIGRATION", #"{"status": "active"}"#)
        for pass in 1...number(20, 200) {
            event(.source, "MIGRATION_PASS", #"{"pass": \#(pass)}"#)
            noise(pass % 4 == 0 ? .destination : .source)
            noise(.source)
        }
        event(.source, "STOP", nil)
        event(.source, "MIGRATION", #"{"status": "pre-switchover"}"#)
        event(.source, "MIGRATION", #"{"status": "device"}"#)
        if number(0, 9) == 0 {
            event(.destination, "MIGRATION", #"{"status": "failed"}"#)
            event(.source, "MIGRATION", #"{"status": "failed"}"#)
            event(.source, "RESUME", nil)
        } else {
            event(.destination, "MIGRATION", #"{"status": "completed"}"#)
            event(.source, "MIGRATION", #"{"status": "completed"}"#)
            event(.destination, "RESUME", nil)
            event(.source, "SHUTDOWN", #"{"guest": false, "reason": "host-qmp-quit"}"#)
        }
    }

    private mutating func largeReplies() {
        greet(.source)
        ask(.source, "qmp_capabilities", #"{"enable":["oob"]}"#)
        ask(.source, "query-qmp-schema", nil, schema)
        for _ in 0..<4 {
            for size in [40, 120, 300] {
                ask(.source, "query-blockstats", nil, blockStatistics(size))
                ask(.source, "query-status", nil, #"{"status": "running", "singlestep": false, "running": true}"#)
            }
            noise(.source)
        }
    }

    // MARK: A migration's parts

    private mutating func greet(_ side: Side) {
        record(
            side, "recv",
            #"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2+dfsg-7+deb12u18"}, "capabilities": ["oob"]}}"#
        )
    }

    private mutating func listen(_ port: Int64) {
        let uri = #"{"uri":"tcp:127.0.0.1:\#(port)"}"#
        send(.destination, "migrate-incoming", uri)
        event(.destination, "MIGRATION", #"{"status": "setup"}"#)
        answer(.destination, "{}")
        ask(
            .destination, "query-migrate", nil,
            #"{"socket-address": [{"port": "\#(port)", "ipv4": true, "host": "127.0.0.1", "type": "inet"}], "status": "setup"}"#
        )
    }

    private mutating func open(_ port: Int64) {
        send(.source, "migrate", #"{"uri":"tcp:127.0.0.1:\#(port)"}"#)
        event(.source, "MIGRATION", #"{"status": "setup"}"#)
        answer(.source, "{}")
        event(.destination, "MIGRATION", #"{"status": "active"}"#)
        event(.source, "MIGRATION", #"{"status": "active"}"#)
    }

    private mutating func close(_ end: End, _ total: Int64) {
        switch end {
        case .cancelled:
            ask(.source, "migrate_cancel", nil)
            event(.source, "MIGRATION", #"{"status": "cancelling"}"#)
            event(.source, "MIGRATION", #"{"status": "cancelled"}"#)
            event(.destination, "MIGRATION", #"{"status": "failed"}"#)
            ask(.source, "query-migrate", nil, #"{"status": "cancelled"}"#)
        case .failed:
            event(.source, "MIGRATION", #"{"status": "failed"}"#)
            event(.destination, "MIGRATION", #"{"status": "failed"}"#)
            ask(
                .source, "query-migrate", nil,
                #"{"status": "failed", "error-desc": "Unable to write to socket: Connection reset by peer"}"#)
        case .postcopy, .completed:
            event(.source, "STOP", nil)
            if end == .postcopy {
                ask(.source, "migrate-start-postcopy", nil)
                event(.source, "MIGRATION", #"{"status": "postcopy-active"}"#)
                event(.destination, "MIGRATION", #"{"status": "postcopy-active"}"#)
                ask(.destination, "cont", nil)
                event(.destination, "RESUME", nil)
                for poll in 0..<number(5, 50) {
                    ask(.source, "query-migrate", nil, sample("postcopy-active", total + poll * 100, pass: 9))
                }
            } else {
                event(.source, "MIGRATION", #"{"status": "device"}"#)
            }
            event(.destination, "MIGRATION", #"{"status": "completed"}"#)
            event(.source, "MIGRATION", #"{"status": "completed"}"#)
            if end == .completed {
                ask(.destination, "cont", nil)
                event(.destination, "RESUME", nil)
            }
            ask(.source, "query-migrate", nil, sample("completed", total + 9000, pass: 9))
            ask(.destination, "query-status", nil, #"{"status": "running", "singlestep": false, "running": true}"#)
        }
        for side in [Side.destination, .source] {
            ask(side, "quit", nil)
            event(side, "SHUTDOWN", #"{"guest": false, "reason": "host-qmp-quit"}"#)
            record(side, "monitor", "\"lost\"")
            record(side, "process", #"{"exited":0}"#)
        }
    }

    private mutating func sample(_ status: String, _ total: Int64, pass: Int64) -> String {
        let remaining = number(0, 1 << 30)
        let transferred = total * 1_048_576 + number(0, 1 << 20)
        return """
            {"expected-downtime": \(number(1, 4000)), "status": "\(status)", "setup-time": \(number(0, 9)), \
            "total-time": \(total), "ram": {"total": 2165121024, "postcopy-requests": 0, "dirty-sync-count": \(pass), \
            "multifd-bytes": 0, "pages-per-second": \(number(0, 400_000)), "downtime-bytes": 0, "page-size": 4096, \
            "remaining": \(remaining), "postcopy-bytes": 0, "mbps": \(double(number(0, 1 << 40))), "transferred": \(transferred), \
            "dirty-sync-missed-zero-copy": 0, "precopy-bytes": \(transferred), "duplicate": \(number(0, 1 << 19)), \
            "dirty-pages-rate": \(number(0, 30_000)), "skipped": 0, "normal-bytes": \(number(0, 1 << 33)), \
            "normal": \(number(0, 1 << 21))}}
            """
    }

    /// Events that have nothing to do with the migration.
    private mutating func noise(_ side: Side) {
        switch number(0, 9) {
        case 0, 1:
            event(
                side, "RTC_CHANGE", #"{"offset": \#(number(0, 99)), "qom-path": "/machine/unattached/device[7]/rtc"}"#)
        case 2, 3:
            event(
                side, "NIC_RX_FILTER_CHANGED", #"{"name": "net0", "path": "/machine/peripheral/net0/virtio-backend"}"#)
        case 4: event(side, "BALLOON_CHANGE", #"{"actual": \#(number(1 << 28, 1 << 32))}"#)
        case 5: event(side, "VSERPORT_CHANGE", #"{"open": true, "id": "channel0"}"#)
        case 6: event(side, "JOB_STATUS_CHANGE", #"{"status": "running", "id": "drive-virtio-disk0"}"#)
        case 7:
            event(
                side, "BLOCK_JOB_READY",
                #"{"device": "drive0", "len": 8589934592, "offset": \#(number(0, 1 << 33)), "speed": 0, "type": "mirror"}"#
            )
        case 8:
            event(
                side, "MEMORY_DEVICE_SIZE_CHANGE",
                #"{"id": "vm0", "size": \#(number(0, 1 << 33)), "qom-path": "/machine/peripheral/vm0"}"#)
        default: event(side, "DEVICE_DELETED", #"{"path": "/machine/peripheral/net1/virtio-backend"}"#)
        }
    }

    private mutating func blockStatistics(_ devices: Int) -> String {
        var text = "["
        for device in 0..<devices {
            text += """
                \(device > 0 ? ", " : ""){"device": "drive-virtio-disk", "node-name": "libvirt-storage", "stats": \
                {"flush_total_time_ns": \(number(0, 1 << 36)), "wr_highest_offset": \(number(0, 1 << 36)), \
                "wr_total_time_ns": \(number(0, 1 << 40)), "failed_wr_operations": 0, "failed_rd_operations": 0, \
                "wr_merged": 0, "wr_bytes": \(number(0, 1 << 36)), "timed_stats": [], "failed_flush_operations": 0, \
                "account_invalid": true, "rd_total_time_ns": \(number(0, 1 << 40)), "flush_operations": \(number(0, 1 << 20)), \
                "wr_operations": \(number(0, 1 << 20)), "rd_merged": 0, "rd_bytes": \(number(0, 1 << 36)), \
                "invalid_flush_operations": 0, "account_failed": true, "idle_time_ns": \(number(0, 1 << 40)), \
                "rd_operations": \(number(0, 1 << 20)), "invalid_wr_operations": 0, "invalid_rd_operations": 0}, \
                "qdev": "/machine/peripheral/virtio-disk/virtio-backend"}
                """
        }
        return text + "]"
    }

    /// As large as QEMU's, of the same kinds of entries.
    private static func schema() -> String {
        var text = "["
        var number = 0
        while text.utf8.count < 200_000 {
            number += 1
            text += """
                \(number > 1 ? ", " : ""){"name": "\(number)", "members": [{"name": "node-name", "type": "str"}, \
                {"name": "iothread", "default": null, "type": "\(number + 7)"}, {"name": "force", "default": null, \
                "type": "bool"}], "meta-type": "object"}, {"arg-type": "\(number)", "name": "command-\(number)", \
                "ret-type": "17", "meta-type": "command"}, {"name": "[\(number)]", "element-type": "\(number)", \
                "meta-type": "array"}, {"name": "e\(number)", "members": [{"name": "none"}, {"name": "all"}], \
                "meta-type": "enum", "values": ["none", "all"]}
                """
        }
        return text + "]"
    }

    private static let arriving =
        #"{"status": "active", "socket-address": [{"ipv4": true, "host": "127.0.0.1", "type": "unix", "path": "/m"}]}"#

    private static let capabilities: String = {
        let names = [
            "xbzrle", "rdma-pin-all", "auto-converge", "zero-blocks", "events", "postcopy-ram", "x-colo", "release-ram",
        ]
        return "[" + names.map { #"{"state": \#($0 == "events"), "capability": "\#($0)"}"# }.joined(separator: ", ")
            + "]"
    }()

    private static let parameters = """
        {"cpu-throttle-tailslow": false, "xbzrle-cache-size": 67108864, "cpu-throttle-initial": 20, \
        "announce-max": 550, "decompress-threads": 2, "compress-threads": 8, "compress-level": 1, "multifd-channels": 2, \
        "announce-initial": 50, "block-incremental": false, "compress-wait-thread": true, "downtime-limit": 300, \
        "tls-authz": "", "multifd-compression": "none", "announce-rounds": 5, "announce-step": 100, "tls-creds": "", \
        "max-cpu-throttle": 99, "max-postcopy-bandwidth": 0, "tls-hostname": "", "throttle-trigger-threshold": 50, \
        "max-bandwidth": 134217728, "x-checkpoint-delay": 20000, "cpu-throttle-increment": 10}
        """

    // MARK: Records

    private mutating func ask(_ side: Side, _ name: String, _ arguments: String?, _ value: String = "{}") {
        send(side, name, arguments)
        answer(side, value)
    }

    private mutating func ask(_ side: Side, _ name: String, _ arguments: String?, refusal: String) {
        send(side, name, arguments)
        record(
            side, "recv",
            #"{"id": "\#(side.short)-\#(identifiers[side, default: 0])", "error": {"class": "GenericError", "desc": "\#(refusal)"}}"#
        )
    }

    private mutating func send(_ side: Side, _ name: String, _ arguments: String?) {
        identifiers[side, default: 0] += 1
        let tail = arguments.map { #","arguments":\#($0)"# } ?? ""
        record(side, "send", #"{"execute":"\#(name)","id":"\#(side.short)-\#(identifiers[side, default: 0])"\#(tail)}"#)
    }

    private mutating func answer(_ side: Side, _ value: String) {
        record(side, "recv", #"{"return": \#(value), "id": "\#(side.short)-\#(identifiers[side, default: 0])"}"#)
    }

    private mutating func event(_ side: Side, _ name: String, _ data: String?) {
        let time = microseconds + 1_795_222_534_000_000
        let tail = data.map { #", "data": \#($0)"# } ?? ""
        record(
            side, "recv",
            #"{"timestamp": {"seconds": \#(time / 1_000_000), "microseconds": \#(time % 1_000_000)}, "event": "\#(name)"\#(tail)}"#
        )
    }

    private mutating func record(_ side: Side, _ member: String, _ value: String) {
        microseconds += number(20, 4000)
        let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        line(#"{"t":\#(microseconds / 1_000_000).\#(fraction),"side":"\#(side.rawValue)","\#(member)":\#(value)}"#)
    }

    private mutating func line(_ text: String) {
        pending.append(contentsOf: text.utf8)
        pending.append(0x0A)
        records += 1
    }

    private mutating func number(_ low: Int64, _ high: Int64) -> Int64 { Int64.random(in: low...high, using: &random) }

    /// A throughput as QEMU prints it, with `%.17g`.
    private func double(_ scaled: Int64) -> String {
        var buffer = [CChar](repeating: 0, count: 40)
        let value = Double(scaled) / 1e9
        let count = withVaList([value]) { vsnprintf(&buffer, 40, "%.17g", $0) }
        return String(decoding: buffer.prefix(max(Int(count), 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// The same numbers for the same seed, everywhere.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator with this seed.
    public init(state: UInt64) { self.state = state }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
