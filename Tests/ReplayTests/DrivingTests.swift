import JSONC
import Migration
import Replay
import Testing
import Trace

/// Recordings of our own, decided anew: nothing may differ, and whatever is changed in them must be noticed where it is.
struct DrivingTests {
    private static let names = Fixtures.list("\(Fixtures.root)/driven").filter { $0.hasSuffix(".qmptrace") }

    /// The same of other generations of QEMU, by directory.
    private static let generations = Fixtures.list("\(Fixtures.root)/driven").filter { !$0.contains("qmptrace") }
        .flatMap { version in Fixtures.list("\(Fixtures.root)/driven/\(version)").map { "\(version)/\($0)" } }

    private static func path(_ name: String) -> String { "\(Fixtures.root)/driven/\(name)" }

    private struct Recording {
        var header: TraceHeader
        var records: [TraceRecord] = []

        init(_ name: String) throws {
            var reader = try TraceReader(path: DrivingTests.path(name))
            header = reader.header
            while let record = try reader.next() { records.append(record) }
        }

        func start() throws -> DrivingReplay { try DrivingReplay(header: header, name: "recording") }
    }

    /// Whether a record holds something that the machine wanted.
    private static func isOutput(_ record: TraceRecord) -> Bool {
        switch record.member {
        case .send(let message):
            // The driver's own questions about what a QEMU is made of are no decisions.
            let name = message["execute"]?.string ?? message["exec-oob"]?.string ?? ""
            let own = ["query-status", "query-yank", "migrate", "cont", "stop", "quit", "yank"]
            return name.hasPrefix("query-migrate") || name.hasPrefix("migrate") || own.contains(name)
        case .call, .answer, .arm, .disarm, .saved, .run, .refused, .surrendered, .phase, .status, .result: return true
        default: return false
        }
    }

    @Test func everyOutcomeIsThere() {
        for word in ["completed", "cancelled", "failed", "lost", "ended", "undecided"] {
            #expect(Self.names.contains { $0.hasPrefix(word) }, "\(word)")
        }
    }

    @Test func everyGenerationIsThere() {
        #expect(Set(Self.generations.compactMap { $0.split(separator: "/").first }).count >= 3)
    }

    @Test(arguments: names + generations)
    func nothingDiffers(in name: String) throws {
        let report = try DriveReport.drive(path: Self.path(name))
        #expect(report.divergence == nil, "\(report.text)")
        #expect(report.isComplete)
        #expect(report.compared > 20)
        #expect(name.split(separator: "/").last?.hasPrefix(report.status.rawValue) == true)
        #expect(report.json["divergence"] == .null)
    }

    /// Whoever only watches names the end, and what became of a cancel, as the one who drove it.
    @Test(arguments: names)
    func watchedAndDrivenAgree(on name: String) throws {
        let records = try Recording(name).records
        let results = records.compactMap { record in
            if case .result(let value) = record.member { value } else { nil as JSONValue? }
        }
        let result = try #require(results.last)
        guard let attempt = try ReplayReport(path: Self.path(name)).attempts.last else {
            // Nothing was begun, so that there is nothing to watch.
            let isBegun = records.contains { record in
                if case .send(let message) = record.member { message["execute"] == "migrate" } else { false }
            }
            #expect(!isBegun)
            #expect(result["outcome"] == "failed")
            return
        }
        #expect(attempt.outcome?.rawValue == result["outcome"]?.string)
        #expect(attempt.cancel.rawValue == result["cancel"]?.string)
    }

    @Test(arguments: names)
    func aTraceThatStopsInTheMiddleIsDrivenToItsEnd(_ name: String) throws {
        let bytes = Fixtures.bytes(Self.path(name))
        for part in 1..<8 {
            let cut = Array(bytes.prefix(bytes.count * part / 8))
            let report = try DriveReport.drive(reader: try TraceReader(bytes: cut, name: name), name: name)
            #expect(report.divergence == nil, "\(part)/8: \(report.text)")
            #expect(!report.isComplete)
        }
    }

    @Test(arguments: names)
    func aChangedOutputIsNoticedThere(_ name: String) throws {
        let recording = try Recording(name)
        var replay = try recording.start()
        for record in recording.records {
            if Self.isOutput(record) {
                var changed = replay
                var other = record
                other.member = Self.changed(record.member)
                changed.apply(other)
                #expect(changed.report.divergence?.sequence == record.seq, "\(record.member)")
                #expect(changed.report.divergence?.driven != nil)
                #expect(changed.report.divergence?.difference != nil)
            }
            replay.apply(record)
        }
        #expect(replay.report.divergence == nil)
    }

    private static func changed(_ member: TraceMember) -> TraceMember {
        var object = member.value.object ?? [:]
        object["surprise"] = 1
        let value = JSONValue.object(object)
        switch member {
        case .send: return .send(value)
        case .call: return .call(value)
        case .answer: return .answer(value)
        case .arm: return .arm(value)
        case .disarm: return .disarm("another")
        case .saved: return .saved(value)
        case .run: return .run("another")
        case .refused: return .refused("another")
        case .surrendered: return .surrendered("another")
        case .phase: return .phase(value)
        case .status: return .status(value)
        case .result: return .result(value)
        default: return member
        }
    }

    @Test(arguments: names)
    func aMissingOutputIsNoticedAtTheNextRecord(_ name: String) throws {
        let recording = try Recording(name)
        var replay = try recording.start()
        for (index, record) in recording.records.enumerated() {
            if Self.isOutput(record), index + 1 < recording.records.count {
                var cut = replay
                for later in recording.records[(index + 1)...] { cut.apply(later) }
                // The end of a process or a connection may come in between without anything being wrong; descriptors belong to what follows.
                let next = recording.records[(index + 1)...].first { later in
                    switch later.member {
                    case .process, .monitor, .mark, .fds: false
                    default: true
                    }
                }
                let found = try #require(cut.report.divergence, "\(record.seq) \(record.member)")
                #expect(found.sequence == next?.seq, "\(record.seq) \(record.member)")
                #expect(found.driven?[record.member.name] != nil)
            }
            replay.apply(record)
        }
    }

    @Test(arguments: names)
    func anAdditionalOutputIsNoticedThere(_ name: String) throws {
        let recording = try Recording(name)
        var replay = try recording.start()
        for record in recording.records {
            replay.apply(record)
            guard Self.isOutput(record) else { continue }
            var twice = replay
            var again = record
            again.seq += 1_000_000
            twice.apply(again)
            #expect(twice.report.divergence?.sequence == again.seq, "\(record.seq) \(record.member)")
        }
    }

    @Test func whatWasHeardDecides() throws {
        let recording = try Recording("completed.qmptrace")
        var replay = try recording.start()
        for record in recording.records {
            var other = record
            if case .recv(let message) = record.member, message["event"] == "MIGRATION",
                message["data"]?["status"] == "completed", record.side == .source
            {
                other.member = .recv(["event": "MIGRATION", "data": ["status": "failed"]])
            }
            replay.apply(other)
        }
        let divergence = try #require(replay.report.divergence)
        #expect(replay.report.text.contains("another way at record \(divergence.sequence)"))
        #expect(replay.report.text.contains("recorded:"))
        #expect(replay.report.text.contains("driven:"))
    }

    @Test func otherPeoplesTracesCannotBeDriven() throws {
        #expect {
            try DriveReport.drive(path: Fixtures.trace("7.2.22/tls"))
        } throws: {
            "\($0)".contains("recorded by 'lab script', not by Godwit") && "\($0)".contains("7.2.22/tls")
        }
        func drive(_ header: TraceHeader) throws { _ = try DrivingReplay(header: header, name: "it") }
        #expect { try drive(TraceHeader()) } throws: { "\($0)".contains("it: recorded by nobody knows whom") }
        #expect {
            try drive(TraceHeader(recorder: "godwit 0.1.0", role: .source))
        } throws: { "\($0)".contains("role source") }
        #expect {
            try drive(TraceHeader(recorder: "godwit 0.1.0", role: .coordinator))
        } throws: { "\($0)".contains("the header has no options") }
        #expect {
            try drive(
                TraceHeader(
                    recorder: "godwit 0.1.0", role: .coordinator,
                    other: ["options": ["attempt": "a", "uri": "b", "mode": "what"]]))
        } throws: { "\($0)".contains("options.mode: this version does not know \"what\"") }
    }

    @Test(arguments: names)
    func noiseNeitherTrapsNorPasses(_ name: String) throws {
        let recording = try Recording(name)
        var random = Noise(state: 7)
        for _ in 0..<20 {
            var records = recording.records
            records.swapAt(Int.random(in: 0..<records.count, using: &random), records.count / 2)
            for index in records.indices where Int.random(in: 0..<40, using: &random) == 0 {
                records[index].side = records[index].side == .source ? .destination : nil
            }
            var replay = try recording.start()
            for record in records { replay.apply(record) }
            #expect(replay.report.records <= records.count)
        }
    }

    private struct Noise: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 31)
        }
    }
}
