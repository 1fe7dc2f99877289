import JSONC
import QMP
import Testing
import Trace

@testable import TraceServer

/// A small recording: a source whose migration completes, with its destination.
private let trace = """
    {"qmptrace":1}
    {"t":0.0,"side":"source","recv":{"QMP":{"version":{"qemu":{"micro":0,"minor":2,"major":7}},"capabilities":["oob"]}}}
    {"t":0.0,"side":"destination","recv":{"QMP":{"version":{"qemu":{"micro":0,"minor":2,"major":7}},"capabilities":[]}}}
    {"t":0.1,"side":"source","send":{"execute":"qmp_capabilities","id":1}}
    {"t":0.1,"side":"source","recv":{"return":{},"id":1}}
    {"t":0.1,"side":"destination","send":{"execute":"qmp_capabilities","id":1}}
    {"t":0.1,"side":"destination","recv":{"return":{},"id":1}}
    {"t":0.2,"side":"source","send":{"execute":"query-status","id":2}}
    {"t":0.21,"side":"source","recv":{"return":{"status":"running","running":true},"id":2}}
    {"t":0.22,"side":"source","send":{"execute":"query-migrate","id":3}}
    {"t":0.23,"side":"source","recv":{"return":{},"id":3}}
    {"t":0.24,"side":"source","send":{"execute":"qom-get","arguments":{"path":"/a","property":"type"},"id":4}}
    {"t":0.25,"side":"source","recv":{"return":"A","id":4}}
    {"t":0.26,"side":"source","send":{"execute":"qom-get","arguments":{"path":"/b","property":"type"},"id":5}}
    {"t":0.27,"side":"source","recv":{"error":{"class":"GenericError","desc":"no b"},"id":5}}
    {"t":0.3,"side":"destination","send":{"execute":"migrate-incoming","arguments":{"uri":"unix:/m"},"id":2}}
    {"t":0.31,"side":"destination","recv":{"event":"MIGRATION","data":{"status":"setup"}}}
    {"t":0.31,"side":"destination","recv":{"return":{},"id":2}}
    {"t":1.0,"side":"source","send":{"execute":"migrate","arguments":{"uri":"unix:/m"},"id":6}}
    {"t":1.01,"side":"source","recv":{"event":"MIGRATION","data":{"status":"setup"}}}
    {"t":1.02,"side":"source","recv":{"return":{},"id":6}}
    {"t":1.03,"side":"source","recv":{"event":"MIGRATION","data":{"status":"active"}}}
    {"t":1.03,"side":"destination","recv":{"event":"MIGRATION","data":{"status":"active"}}}
    {"t":1.5,"side":"source","send":{"execute":"query-migrate","id":7}}
    {"t":1.51,"side":"source","recv":{"return":{"status":"active","ram":{"remaining":10}},"id":7}}
    {"t":2.0,"side":"source","recv":{"event":"STOP"}}
    {"t":2.1,"side":"destination","recv":{"event":"MIGRATION","data":{"status":"completed"}}}
    {"t":2.2,"side":"source","recv":{"event":"MIGRATION","data":{"status":"completed"}}}
    {"t":2.3,"side":"destination","send":{"execute":"cont","id":3}}
    {"t":2.31,"side":"destination","recv":{"event":"RESUME"}}
    {"t":2.32,"side":"destination","recv":{"return":{},"id":3}}
    {"t":2.4,"side":"source","send":{"execute":"query-migrate","id":8}}
    {"t":2.41,"side":"source","recv":{"return":{"status":"completed","total-time":1200},"id":8}}
    {"t":2.5,"side":"source","send":{"execute":"quit","id":9}}
    {"t":2.51,"side":"source","recv":{"return":{},"id":9}}
    {"t":2.52,"side":"source","recv":{"event":"SHUTDOWN"}}
    {"t":2.53,"side":"source","monitor":"lost"}
    {"t":2.54,"side":"source","process":{"exited":3}}

    """

private func records(_ text: String = trace) throws -> [TraceRecord] {
    var reader = try TraceReader(bytes: Array(text.utf8), name: "test")
    var records: [TraceRecord] = []
    while let record = try reader.next() { records.append(record) }
    return records
}

private func side(_ side: TraceSide, _ change: (inout ServeOptions) -> Void = { _ in }) throws -> ServedSide {
    let records = try records()
    var options = ServeOptions()
    change(&options)
    return ServedSide(records, side: side, options: options)
}

extension Talk {
    /// A served source with a client that has negotiated.
    fileprivate init(_ served: ServedSide, faults: [Fault] = []) {
        self.init([FakeQEMU(serving: served, faults: faults)])
        connect(0)
        say(0, "qmp_capabilities")
    }

    /// The answer to a command once its time has come.
    fileprivate mutating func asks(_ name: String, _ arguments: JSONObject? = nil) -> JSONValue? {
        let before = messages(0).count
        say(0, name, arguments)
        run(milliseconds: 20)
        let reply = messages(0).dropFirst(before).first { $0["return"] != nil || $0["error"] != nil }
        return reply?["return"] ?? reply?["error"]
    }
}

@Suite struct ServedSideTests {
    @Test func negotiatesAsQEMUDoes() throws {
        var talk = Talk([FakeQEMU(serving: try side(.source))])
        talk.connect(0)
        #expect(talk.messages(0).first?["QMP"]?["version"]?["qemu"]?["major"] == 7)
        #expect(talk.asks("query-status")?["desc"] == "Expecting capabilities negotiation with 'qmp_capabilities'")
        #expect(talk.asks("qmp_capabilities", ["enable": ["oob"]]) == [:])
        #expect(talk.asks("qmp_capabilities")?["class"] == "CommandNotFound")
        #expect(talk.asks("query-status")?["status"] == "running")
        var other = Talk([FakeQEMU(serving: try side(.destination))])
        other.connect(0)
        #expect(other.asks("qmp_capabilities", ["enable": ["oob"]])?["class"] == "GenericError")
    }

    @Test func eventsComeAtTheirDistanceFromTheirCommand() throws {
        var talk = Talk(try side(.source))
        talk.run(milliseconds: 60_000)
        #expect(talk.words(0).isEmpty)
        let start = talk.now
        talk.say(0, "migrate", ["uri": "unix:/elsewhere"])
        talk.run(until: "setup", by: 0)
        #expect(talk.now - start == 10_000)
        talk.run(until: "active", by: 0)
        #expect(talk.now - start == 30_000)
        talk.run(until: "STOP", by: 0)
        #expect(talk.now - start == 1_000_000)
        talk.run(until: "completed", by: 0)
        #expect(talk.now - start == 1_200_000)
    }

    @Test(arguments: [10.0, 0.5, 0]) func fasterAndSlower(_ speed: Double) throws {
        var talk = Talk(try side(.source) { $0.speed = speed })
        let start = talk.now
        talk.say(0, "migrate", ["uri": "unix:/m"])
        talk.run(until: "completed", by: 0)
        #expect(talk.now - start == (speed == 0 ? 0 : Int64(1_200_000 / speed)))
        #expect(talk.words(0) == ["setup", "active", "STOP", "completed"])
    }

    @Test func queriesAreAnsweredAsOfTheirMoment() throws {
        var talk = Talk(try side(.source))
        // In whatever order, as often as one likes.
        #expect(talk.asks("qom-get", ["path": "/b", "property": "type"])?["desc"] == "no b")
        #expect(talk.asks("qom-get", ["path": "/a", "property": "type"]) == "A")
        #expect(talk.asks("query-migrate") == [:])
        #expect(talk.asks("query-migrate") == [:])
        talk.say(0, "migrate", ["uri": "unix:/m"])
        // Nothing was recorded yet of this moment: it follows from what was said.
        talk.run(milliseconds: 25)
        #expect(talk.asks("query-migrate") == ["status": "setup"])
        #expect(talk.asks("query-migrate")?["ram"]?["remaining"] == 10)
        #expect(talk.asks("query-status")?["running"] == true)
        talk.run(milliseconds: 1000)
        #expect(talk.asks("query-status") == ["status": "paused", "running": false])
        talk.run(milliseconds: 1000)
        #expect(talk.asks("query-migrate")?["total-time"] == 1200)
        #expect(talk.asks("query-status") == ["status": "postmigrate", "running": false])
    }

    /// What was recorded of the time before an event says nothing of the time after it.
    @Test func whatWasAskedBeforeAnEventIsNoAnswerAfterIt() throws {
        let records = try records(
            """
            {"qmptrace":1}
            {"t":0.0,"side":"destination","recv":{"QMP":{"version":{},"capabilities":[]}}}
            {"t":0.1,"side":"destination","send":{"execute":"migrate-incoming","arguments":{"uri":"unix:/m"},"id":1}}
            {"t":0.11,"side":"destination","recv":{"event":"MIGRATION","data":{"status":"setup"}}}
            {"t":0.12,"side":"destination","recv":{"return":{},"id":1}}
            {"t":0.13,"side":"destination","send":{"execute":"query-migrate","id":2}}
            {"t":0.14,"side":"destination","recv":{"return":{"socket-address":[]},"id":2}}
            {"t":0.15,"side":"destination","send":{"execute":"query-status","id":3}}
            {"t":0.16,"side":"destination","recv":{"return":{"status":"inmigrate","running":false},"id":3}}
            {"t":0.5,"side":"destination","recv":{"event":"MIGRATION","data":{"status":"active"}}}
            {"t":1.0,"side":"destination","recv":{"event":"MIGRATION","data":{"status":"completed"}}}
            {"t":1.1,"side":"destination","recv":{"event":"RESUME"}}

            """)
        var talk = Talk(ServedSide(records, side: .destination))
        talk.say(0, "migrate-incoming", ["uri": "unix:/m"])
        talk.run(milliseconds: 100)
        #expect(talk.asks("query-migrate") == ["socket-address": []])
        talk.run(milliseconds: 400)
        #expect(talk.asks("query-migrate") == ["status": "active"])
        #expect(talk.asks("query-status")?["status"] == "inmigrate")
        talk.run(milliseconds: 1000)
        #expect(talk.asks("query-migrate") == ["status": "completed"])
        #expect(talk.asks("query-status") == ["status": "running", "running": true])
    }

    @Test func itEndsAsItDid() throws {
        var talk = Talk(try side(.source) { $0.speed = 0 })
        talk.say(0, "migrate", ["uri": "unix:/m"])
        talk.say(0, "quit")
        talk.run(milliseconds: 1)
        #expect(talk.messages(0).suffix(2).first?["return"] == [:])
        #expect(talk.words(0).last == "SHUTDOWN")
        #expect(talk.ends[0] == .exit(3))
    }

    @Test func aCommandTooEarlyIsPrecededByWhatCameBeforeIt() throws {
        var talk = Talk(try side(.source))
        let start = talk.now
        talk.say(0, "migrate", ["uri": "unix:/m"])
        // QEMU looks at neither before it has answered.
        talk.say(0, "query-migrate")
        talk.say(0, "quit")
        talk.run(until: "completed", by: 0)
        #expect(talk.now - start == 20_000)
        #expect(talk.words(0) == ["setup", "active", "STOP", "completed"])
        talk.run(milliseconds: 100)
        #expect(talk.ends[0] == .exit(3))
    }

    @Test func whatWasNotRecordedLenient() throws {
        var talk = Talk(try side(.source))
        #expect(talk.asks("query-block")?["desc"] == "query-block: not in the recording")
        #expect(talk.asks("query-commands")?.array?.contains(["name": "yank"]) == true)
        #expect(talk.asks("query-version")?["qemu"]?["minor"] == 2)
        talk.say(0, "migrate", ["uri": "unix:/m"])
        talk.run(milliseconds: 100)
        #expect(talk.asks("migrate_cancel") == [:])
        talk.run(milliseconds: 10_000)
        #expect(talk.words(0) == ["setup", "active", "cancelling", "cancelled"])
        #expect(talk.asks("query-migrate") == ["status": "cancelled"])
        #expect(talk.asks("stop") == [:])
        #expect(talk.asks("query-status") == ["status": "paused", "running": false])
        #expect(talk.asks("quit") == [:])
        #expect(talk.ends[0] == .exit(0))
    }

    /// What was set is shown, also where nobody set it when it was recorded.
    @Test(arguments: [false, true]) func settingsAreShown(_ isQueryRecorded: Bool) throws {
        let query = """
            {"t":0.28,"side":"source","send":{"execute":"query-migrate-parameters","id":51}}
            {"t":0.28,"side":"source","recv":{"return":{"max-bandwidth":9,"tls-creds":"x","xbzrle-cache-size":5},"id":51}}
            {"t":0.28,"side":"source","send":{"execute":"query-migrate-capabilities","id":52}}
            {"t":0.28,"side":"source","recv":{"return":[{"state":false,"capability":"events"},{"state":true,"capability":"x"}],"id":52}}
            {"t":0.28,"side":"source","send":{"execute":"migrate-set-capabilities","arguments":{"capabilities":[]},"id":53}}
            {"t":0.28,"side":"source","recv":{"error":{"class":"GenericError","desc":"no"},"id":53}}

            """
        var lines = trace.split(separator: "\n", omittingEmptySubsequences: false)
        if isQueryRecorded { lines.insert(Substring(query.dropLast()), at: 13) }
        var talk = Talk(
            ServedSide(try records(lines.joined(separator: "\n")), side: .source))
        func capability(_ name: String, _ state: Bool) -> JSONValue {
            ["capability": .string(name), "state": .bool(state)]
        }
        if isQueryRecorded {
            #expect(talk.asks("query-migrate-parameters")?["max-bandwidth"] == 9)
            // What was refused is not set.
            #expect(talk.asks("migrate-set-capabilities", ["capabilities": [capability("y", true)]])?["desc"] == "no")
        } else {
            #expect(talk.asks("query-migrate-parameters")?["class"] == "GenericError")
            #expect(talk.asks("query-migrate-capabilities")?["class"] == "GenericError")
            #expect(
                talk.asks(
                    "migrate-set-capabilities", ["capabilities": [capability("events", true), capability("y", false)]])
                    == [:])
        }
        #expect(talk.asks("migrate-set-parameters", ["max-bandwidth": 1]) == [:])
        #expect(talk.asks("migrate-set-parameters", ["max-bandwidth": 2, "tls-creds": .null]) == [:])
        #expect(
            talk.asks("query-migrate-parameters")
                == (isQueryRecorded
                    ? ["max-bandwidth": 2, "tls-creds": "", "xbzrle-cache-size": 5]
                    : ["max-bandwidth": 2, "tls-creds": ""]))
        #expect(
            talk.asks("query-migrate-capabilities")
                == (isQueryRecorded
                    ? [capability("events", false), capability("x", true)]
                    : [capability("events", true), capability("y", false)]))
    }

    /// A log that begins in the middle, of a QEMU that answered query-version.
    @Test func aQEMUWithoutAGreetingIsGreetedAsItsMessagesAllow() throws {
        let records = try records(
            """
            {"qmptrace":1}
            {"t":0.1,"side":"source","send":{"execute":"query-version","id":1}}
            {"t":0.1,"side":"source","recv":{"return":{"qemu":{"micro":2,"minor":1,"major":9},"package":"p"},"id":1}}
            {"t":0.2,"side":"source","send":{"exec-oob":"query-yank","id":2}}
            {"t":0.3,"side":"source","recv":{"event":"STOP"}}

            """)
        let served = try ServedSide(records, of: "test", side: .source)
        #expect(!served.hasOwnGreeting)
        var talk = Talk([FakeQEMU(serving: served)])
        talk.connect(0)
        #expect(talk.messages(0).first?["QMP"]?["version"]?["qemu"] == ["micro": 2, "minor": 1, "major": 9])
        #expect(talk.messages(0).first?["QMP"]?["capabilities"] == ["oob"])
        talk.say(0, "qmp_capabilities")
        talk.run(milliseconds: 1000)
        #expect(talk.words(0) == ["STOP"])
        #expect(try side(.source).hasOwnGreeting)
    }

    /// `record` without `--side` writes none down.
    @Test func theOnlyQEMUIsWhicheverSideIsAskedFor() throws {
        let text = trace.split(separator: "\n").filter { !$0.contains("destination") }.joined(separator: "\n")
        let sideless = text.replacing(#""side":"source","#, with: "") + "\n"
        for side in TraceSide.allCases {
            var talk = Talk(try ServedSide(try records(sideless), of: "test", side: side))
            #expect(talk.asks("query-status")?["status"] == "running")
        }
        let one = #expect(throws: TraceError.self) {
            try ServedSide(try records(text + "\n"), of: "test", side: .destination)
        }
        #expect(one?.message == "nothing of a destination is in it, only of a source")
        let several = sideless.replacing(#""t":1.0,"#, with: #""t":1.0,"qemu":"a","#)
            .replacing(#""t":2.0,"#, with: #""t":2.0,"qemu":"b","#)
        let two = #expect(throws: TraceError.self) { try ServedSide(try records(several), of: "test", side: .source) }
        #expect(two?.message.contains("2 QEMUs are in it (a, b)") ?? false)
        let none = #expect(throws: TraceError.self) {
            try ServedSide(try records("{\"qmptrace\":1}\n"), of: "test", side: .source)
        }
        #expect(none?.message == "no QMP message is in it")
    }

    /// Wherever a migration goes, a side that waits for the other one says where it is to be met: nothing waits for ever.
    @Test func meetsTheOtherSideAtTheAddressOfTheMigration() throws {
        func meetings(
            _ fake: TraceSide, _ command: String, _ arguments: JSONObject, isCoupled: Bool = true
        ) throws -> [FakeAction] {
            var network = FakeNetwork([FakeQEMU(serving: try side(fake) { $0.isCoupled = isCoupled })])
            var effects = network.connected(0, at: 0)
            for message in [
                ["execute": "qmp_capabilities"], ["execute": .string(command), "arguments": .object(arguments)],
            ]
                as [JSONValue]
            {
                effects += network.received(message.serialized(), by: 0, at: 1)
            }
            return effects.map(\.action).filter { if case .meet = $0 { true } else { false } }
        }
        let channel: (JSONValue) -> JSONObject = { ["channels": [["channel-type": "main", "addr": $0]]] }
        #expect(try meetings(.source, "migrate", ["uri": "unix:/m"]) == [.meet("unix:/m", isListening: false)])
        #expect(
            try meetings(.source, "migrate", channel(["transport": "socket", "type": "unix", "path": "/m"]))
                == [.meet("unix:/m", isListening: false)])
        #expect(
            try meetings(
                .destination, "migrate-incoming",
                channel(["transport": "socket", "type": "inet", "host": "h", "port": "1"]))
                == [.meet("tcp:h:1", isListening: true)])
        #expect(try meetings(.source, "migrate", [:]).count == 1)
        #expect(try meetings(.source, "migrate", ["uri": "unix:/m"], isCoupled: false).isEmpty)
        // A destination that was started with its address.
        var options = ServeOptions()
        options.isCoupled = true
        let started = try records().filter { record in
            if case .send(let message) = record.member { return message["execute"] != "migrate-incoming" }
            return true
        }
        var network = FakeNetwork([FakeQEMU(serving: ServedSide(started, side: .destination, options: options))])
        #expect(network.connected(0, at: 0).contains { $0.action == .meet("unix:/m", isListening: true) })
    }

    @Test func whatWasNotRecordedStrict() throws {
        var talk = Talk(try side(.source) { $0.isStrict = true })
        #expect(talk.asks("migrate-set-parameters", ["max-bandwidth": 1])?["class"] == "CommandNotFound")
        #expect(talk.asks("qom-get", ["path": "/c", "property": "type"])?["class"] == "CommandNotFound")
        #expect(talk.asks("query-status")?["running"] == true)
        #expect(talk.asks("migrate", ["uri": "unix:/other"])?["class"] == "CommandNotFound")
        #expect(talk.asks("quit")?["class"] == "CommandNotFound")
        #expect(talk.asks("migrate", ["uri": "unix:/m"]) == [:])
        talk.run(milliseconds: 3000)
        #expect(talk.words(0).last == "completed")
    }

    /// What the other side caused waits for it, and its distance is measured from there.
    @Test func waitsForTheOtherSide() throws {
        var talk = Talk([
            FakeQEMU(serving: try side(.source) { $0.isCoupled = true }),
            FakeQEMU(serving: try side(.destination) { $0.isCoupled = true }),
        ])
        for fake in 0...1 {
            talk.connect(fake)
            talk.say(fake, "qmp_capabilities")
        }
        talk.say(1, "migrate-incoming", ["uri": "unix:/m"])
        talk.run(milliseconds: 60_000)
        #expect(talk.words(1) == ["setup"])
        talk.say(0, "migrate", ["uri": "unix:/m"])
        let start = talk.now
        talk.run(until: "active", by: 1)
        #expect(talk.now - start == 30_000)
        talk.run(until: "completed", by: 1)
        #expect(talk.now - start == 1_100_000)
        talk.run(milliseconds: 1000)
        // Nor does the source end of itself, without the destination's move.
        talk.say(0, "quit")
        talk.say(1, "cont")
        talk.run(milliseconds: 1000)
        #expect(talk.words(1).last == "RESUME")
        #expect(talk.ends[0] == .exit(3))
    }

    @Test func saysNothingOfItselfBeforeTheNegotiation() throws {
        let records = try records(
            """
            {"qmptrace":1}
            {"t":0.0,"side":"source","recv":{"QMP":{"version":{},"capabilities":[]}}}
            {"t":0.5,"side":"source","recv":{"event":"RTC_CHANGE"}}

            """)
        var options = ServeOptions()
        options.speed = 0
        var talk = Talk([FakeQEMU(serving: ServedSide(records, side: .source, options: options))])
        talk.connect(0)
        talk.run()
        #expect(talk.messages(0).count == 1)
        talk.say(0, "qmp_capabilities")
        talk.run()
        #expect(talk.words(0) == ["RTC_CHANGE"])
    }

    @Test func aClientThatComesBackIsGreetedAgain() throws {
        var talk = Talk(try side(.source))
        talk.say(0, "migrate", ["uri": "unix:/m"])
        talk.note(talk.network.disconnected(0, at: talk.now))
        talk.run(milliseconds: 1700)
        talk.connect(0)
        talk.say(0, "qmp_capabilities")
        #expect(talk.messages(0).filter { $0["QMP"] != nil }.count == 2)
        #expect(talk.asks("query-migrate")?["status"] == "completed")
        #expect(talk.words(0).isEmpty)
    }

    @Test(
        arguments: [
            (Fault.drop(.migration("active")), ["setup", "STOP", "completed"]),
            (.duplicate(.event("STOP")), ["setup", "active", "STOP", "STOP", "completed"]),
            (.swap(.migration("active")), ["setup", "STOP", "active", "completed"]),
            (.delay(.migration("setup"), .milliseconds(100)), ["active", "setup", "STOP", "completed"]),
            (.drop(.record(26)), ["setup", "active", "completed"]),
            (.mute(.fromRecord(25)), ["setup", "active"]),
            (.close(.fromRecord(26)), ["setup", "active"]),
            (.noise(.fromRecord(26), .garbage), ["setup", "active", "STOP", "completed"]),
        ] as [(Fault, [String])])
    func faults(_ fault: Fault, _ words: [String]) throws {
        var talk = Talk(try side(.source), faults: [fault])
        talk.say(0, "migrate", ["uri": "unix:/m"])
        talk.run(milliseconds: 5000)
        #expect(talk.words(0) == words)
        if case .noise = fault {
            let text = String(decoding: talk.heard[0], as: UTF8.self)
            #expect(text.split(separator: "this is not QMP", omittingEmptySubsequences: false).count == 2)
        }
        if case .close = fault { #expect(talk.ends[0] == .close) }
    }
}
