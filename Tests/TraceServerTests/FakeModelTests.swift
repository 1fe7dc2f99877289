import JSONC
import Testing
import Trace
import TraceServer

private let fixtures = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/Fixtures/traces"

/// The events of one side of a recording, without passes.
func recordedWords(_ name: String, _ side: TraceSide) throws -> [String] {
    var reader = try TraceReader(path: "\(fixtures)/\(name).qmptrace")
    var words: [String] = []
    while let record = try reader.next() {
        guard record.side == side, case .recv(let message) = record.member else { continue }
        if let word = Talk.word(message) { words.append(word) }
    }
    return words.filter { $0 != "MIGRATION_PASS" }
}

@Suite struct FakeModelTests {
    @Test(arguments: FakeRelease.all)
    func saysTheSameWordsAsARealOne(_ release: FakeRelease) throws {
        var talk = Talk(release)
        talk.migrate()
        for (fake, side) in [(0, TraceSide.source), (1, .destination)] {
            let words = talk.words(fake).filter { $0 != "MIGRATION_PASS" }
            #expect(words == (try recordedWords("\(release)/pre-switchover", side)))
        }
        #expect(talk.ask(0, "query-status")?["status"] == "postmigrate")
        #expect(talk.ask(0, "query-migrate")?["status"] == "completed")
        #expect(talk.ask(1, "query-status")?["status"] == "running")
        #expect(!talk.network.ranTwice)
    }

    @Test(arguments: FakeRelease.all)
    func switchesOverWithoutAPause(_ release: FakeRelease) throws {
        var talk = Talk(release)
        talk.begin(["events"])
        talk.run()
        talk.say(1, "cont")
        for (fake, side) in [(0, TraceSide.source), (1, .destination)] {
            let words = talk.words(fake).filter { $0 != "MIGRATION_PASS" }
            #expect(words == (try recordedWords("\(release)/precopy-unix", side)))
        }
    }

    @Test(arguments: FakeRelease.all)
    func failsAsARealOneWhenLoadingFails(_ release: FakeRelease) throws {
        var talk = Talk(release, destination: { $0.load = .failsInDevice })
        talk.begin()
        talk.run()
        talk.say(0, "migrate-continue", ["state": "pre-switchover"])
        talk.run()
        for (fake, side) in [(0, TraceSide.source), (1, .destination)] {
            let words = talk.words(fake).filter { $0 != "MIGRATION_PASS" }
            #expect(words == (try recordedWords("\(release)/load-failure-late-rp", side)))
        }
        #expect(talk.ends[1] == .exit(1))
        #expect(talk.ask(0, "query-migrate")?["error-desc"] == "Sibling indicated error 1")
        #expect(talk.ask(0, "query-status")?["status"] == "running")
    }

    @Test(arguments: FakeRelease.all)
    func failsWhenTheDestinationDies(_ release: FakeRelease) throws {
        var talk = Talk(release, source: { $0.passes = nil })
        talk.begin(["events"])
        talk.run(until: "active", by: 0)
        talk.change(1) { $0.kill(at: $1) }
        talk.run()
        let words = talk.words(0).filter { $0 != "MIGRATION_PASS" }
        #expect(words == (try recordedWords("\(release)/dst-killed", .source)))
        #expect(talk.ends[1] == .exit(-9))
        #expect(talk.ask(0, "query-yank") == [["type": "chardev", "id": "compat_monitor0"]])
    }

    @Test(arguments: FakeRelease.all)
    func cancels(_ release: FakeRelease) {
        var talk = Talk(release, source: { $0.passes = nil })
        talk.begin()
        talk.run(until: "active", by: 0)
        #expect(talk.ask(0, "migrate_cancel") == [:])
        talk.run()
        #expect(talk.words(0).filter { $0 != "MIGRATION_PASS" } == ["setup", "active", "cancelling", "cancelled"])
        #expect(talk.words(1).last == "failed")
        #expect(talk.ends[1] == .exit(1))
        #expect(talk.ask(0, "query-status")?["status"] == "running")
    }

    @Test(arguments: FakeRelease.all)
    func cancelsInPreSwitchover(_ release: FakeRelease) throws {
        var talk = Talk(release)
        talk.begin()
        talk.run()
        talk.say(0, "migrate_cancel")
        talk.run()
        #expect(
            talk.words(0).filter { $0 != "MIGRATION_PASS" } == [
                "setup", "active", "STOP", "pre-switchover", "cancelling", "RESUME", "cancelled",
            ])
        #expect(talk.ask(0, "query-status")?["status"] == "running")
    }

    @Test(arguments: FakeRelease.all)
    func isReleasedByYankWhenItsMonitorIsBlocked(_ release: FakeRelease) {
        var talk = Talk(release, source: { $0.blocksInDevice = true })
        talk.begin()
        talk.run()
        talk.say(0, "migrate-continue", ["state": "pre-switchover"])
        #expect(talk.ask(0, "query-status") == nil)
        #expect(talk.ask(0, "query-yank", outOfBand: true)?.array?.count == 2)
        #expect(talk.ask(0, "yank", ["instances": [["type": "migration"]]], outOfBand: true) == [:])
        talk.run()
        #expect(talk.words(0).contains("failed"))
        #expect(talk.ask(0, "query-status")?["status"] == "running")
        #expect(talk.ask(0, "yank", ["instances": [["type": "migration"]]])?["class"] == "DeviceNotFound")
    }

    @Test(arguments: FakeRelease.all)
    func readsNoFurtherWithEightCommandsQueued(_ release: FakeRelease) {
        var talk = Talk(release, source: { $0.blocksInDevice = true })
        talk.begin()
        talk.run()
        talk.say(0, "migrate-continue", ["state": "pre-switchover"])
        for _ in 0..<7 { talk.say(0, "query-status") }
        #expect(talk.ask(0, "query-yank", outOfBand: true) != nil)
        talk.say(0, "query-status")
        #expect(talk.ask(0, "query-yank", outOfBand: true) == nil)
    }

    @Test(arguments: FakeRelease.all)
    func tellsThatNobodyListens(_ release: FakeRelease) {
        var talk = Talk(release)
        talk.say(0, "migrate-set-capabilities", ["capabilities": [["capability": "events", "state": true]]])
        #expect(talk.ask(0, "migrate", ["uri": "unix:/nowhere"]) == [:])
        talk.run()
        let failure = release == .v11 ? ["failing", "failed"] : ["failed"]
        #expect(talk.words(0) == ["setup"] + failure)
        #expect(talk.ask(0, "query-migrate")?["status"] == "failed")
    }

    @Test func needsStopToStayPausedWithoutS() {
        var talk = Talk(.v10, destination: { $0.isPaused = false })
        talk.begin()
        talk.run()
        talk.say(0, "migrate-continue", ["state": "pre-switchover"])
        talk.run()
        #expect(talk.words(1) == ["setup", "active", "RESUME", "completed"])
        talk.say(0, "cont")
        #expect(talk.network.ranTwice)
    }

    @Test func staysPausedAfterStop() {
        var talk = Talk(.v10, destination: { $0.isPaused = false })
        talk.say(1, "stop")
        talk.migrate()
        #expect(talk.words(1) == ["setup", "active", "completed", "RESUME"])
    }

    @Test func keepsAPausedGuestPaused() {
        var talk = Talk(.v10, destination: { $0.isPaused = false })
        talk.say(0, "stop")
        talk.begin()
        talk.run()
        talk.say(0, "migrate-continue", ["state": "pre-switchover"])
        talk.run()
        #expect(talk.ask(1, "query-status")?["status"] == "paused")
        #expect(talk.words(0).filter { $0 == "STOP" }.count == 1)
    }

    @Test func refusesWhatARealOneRefuses() {
        var talk = Talk(.v7)
        #expect(talk.ask(0, "migrate-incoming", ["uri": "tcp:h:0"])?["class"] == "GenericError")
        #expect(talk.ask(0, "no-such-thing")?["class"] == "CommandNotFound")
        #expect(talk.ask(0, "query-status", outOfBand: true)?["class"] == "GenericError")
        #expect(talk.ask(0, "migrate-continue", ["state": "pre-switchover"])?["class"] == "GenericError")
        #expect(talk.ask(0, "migrate-set-parameters", ["no-such": 1])?["class"] == "GenericError")
        #expect(talk.ask(1, "migrate", ["uri": "tcp:h:1"])?["class"] == "GenericError")
        #expect(
            talk.ask(1, "migrate-incoming", ["uri": "tcp:h:0", "exit-on-error": false])?["class"] == "GenericError")
        #expect(talk.ask(1, "migrate-incoming", ["uri": "tcp:h:0"]) == [:])
        #expect(talk.ask(1, "migrate-incoming", ["uri": "tcp:h:0"])?["class"] == "GenericError")
        #expect(talk.ask(1, "query-migrate")?["socket-address"]?.array?.first?["port"] == "49152")
    }

    @Test func speaksOnlyAfterNegotiation() {
        var talk = Talk([FakeQEMU(.source(.v10))])
        talk.connect(0)
        #expect(talk.messages(0).first?["QMP"]?["capabilities"] == ["oob"])
        #expect(talk.ask(0, "query-status")?["class"] == "CommandNotFound")
        #expect(talk.ask(0, "qmp_capabilities", ["enable": ["nonsense"]])?["class"] == "GenericError")
        #expect(talk.ask(0, "qmp_capabilities") == [:])
        #expect(talk.ask(0, "qmp_capabilities")?["class"] == "CommandNotFound")
        #expect(talk.ask(0, "query-yank", outOfBand: true)?["class"] == "GenericError")
    }

    @Test func quitsLikeARealOne() {
        var talk = Talk(.v10)
        #expect(talk.ask(0, "quit") == [:])
        #expect(talk.words(0) == ["SHUTDOWN"])
        #expect(talk.ends[0] == .exit(0))
        #expect(talk.network.fakes[0].exitCode == 0)
    }

    @Test func answersGarbageWithAnErrorWithoutID() {
        var talk = Talk(.v10)
        talk.note(talk.network.received(Array("rubbish\n{\"execute\": nonsense}\n{\"a\":1}".utf8), by: 0, at: 0))
        let errors = talk.messages(0).filter { $0["error"] != nil }
        #expect(errors.count == 3)
        #expect(errors.allSatisfy { $0["id"] == nil })
        #expect(talk.ask(0, "query-status") != nil)
    }
}
