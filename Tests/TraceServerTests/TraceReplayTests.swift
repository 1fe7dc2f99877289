import JSONC
import Testing
import Trace
import TraceServer

private let fixtures = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/Fixtures/traces"

private func records(_ path: String) throws -> [TraceRecord] {
    var reader = try TraceReader(path: path)
    var records: [TraceRecord] = []
    while let record = try reader.next() { records.append(record) }
    return records
}

@Suite struct TraceReplayTests {
    private static let names = FakeRelease.all.flatMap { release in
        [
            "precopy-unix", "pre-switchover", "cancel", "dst-killed", "load-failure-late-rp", "load-failure-ram",
            "multifd",
        ].map {
            "\(release)/\($0)"
        }
    }

    /// Repeats each recorded command when its turn has come and hears what was recorded, message by message.
    @Test(arguments: names)
    func saysWhatWasRecorded(_ name: String) throws {
        let path = "\(fixtures)/\(name).qmptrace"
        let sides = try TraceReplay.sides(of: path)
        var talk = Talk([FakeQEMU(replaying: sides.source), FakeQEMU(replaying: sides.destination)])
        var expected: [[JSONValue]] = [[], []]
        for record in try records(path) {
            guard let side = record.side else { continue }
            let fake = side == .source ? 0 : 1
            switch record.member {
            case .recv(let message):
                if message["QMP"] != nil { talk.connect(fake) }
                expected[fake].append(message)
            case .send(let message): talk.send(fake, message)
            default: break
            }
        }
        #expect(talk.messages(0) == expected[0])
        #expect(talk.messages(1) == expected[1])
        #expect(talk.network.fakes.allSatisfy { $0.replay?.isAtEnd ?? false })
        #expect(talk.network.fakes.allSatisfy { $0.replay?.unmatched.isEmpty ?? false })
    }

    @Test func waitsForTheOtherSide() throws {
        let sides = try TraceReplay.sides(of: "\(fixtures)/10.0.13/precopy-unix.qmptrace")
        var talk = Talk([FakeQEMU(replaying: sides.source), FakeQEMU(replaying: sides.destination)])
        talk.connect(0)
        talk.say(0, "qmp_capabilities")
        talk.connect(1)
        talk.say(1, "qmp_capabilities")
        talk.say(1, "migrate-incoming", ["uri": "unix:/elsewhere"])
        #expect(talk.words(1) == ["setup"])
        talk.say(0, "migrate", ["uri": "unix:/elsewhere"])
        #expect(talk.words(1) == ["setup", "active", "completed"])
        #expect(talk.words(0).last == "completed")
    }

    @Test func echoesTheClientsIDAndFillsInWhatWasNotRecorded() throws {
        let all = try records("\(fixtures)/10.0.13/precopy-unix.qmptrace")
        var options = ReplayOptions()
        options.unmatched = .commandNotFound
        var talk = Talk([FakeQEMU(replaying: TraceReplay(all, side: .source, options: options))])
        talk.connect(0)
        talk.send(0, ["execute": "qmp_capabilities", "id": ["any": "thing"]])
        #expect(talk.messages(0).last == ["return": [:], "id": ["any": "thing"]])
        #expect(talk.ask(0, "query-block")?["class"] == "CommandNotFound")
        // Not recorded before `migrate`, and no reason to skip that.
        #expect(talk.ask(0, "query-migrate")?["class"] == "CommandNotFound")
        #expect(talk.words(0).isEmpty)
        #expect(talk.ask(0, "migrate", ["uri": "tcp:x:1"]) == [:])
        #expect(talk.ask(0, "query-status")?["status"] == "postmigrate")
        // Once it was passed over, the last answer serves.
        #expect(talk.ask(0, "query-status")?["status"] == "postmigrate")
    }

    @Test func keepsRecordedTimesIfAsked() throws {
        let all = try records("\(fixtures)/10.0.13/precopy-unix.qmptrace")
        var options = ReplayOptions()
        options.timeScale = 0.5
        var talk = Talk([FakeQEMU(replaying: TraceReplay(all, side: .source, options: options))])
        talk.connect(0)
        talk.say(0, "qmp_capabilities")
        talk.say(0, "migrate", ["uri": "x"])
        talk.run(until: "completed", by: 0)
        // 182 ms from `migrate` to `completed` in the recording.
        #expect((85_000...97_000).contains(talk.now))
    }
}
