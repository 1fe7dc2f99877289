import JSONC
import Testing
import TraceServer

@Suite struct FaultTests {
    private func words(_ faults: [Fault], release: FakeRelease = .v10) -> [String] {
        var talk = Talk(release, faults: faults)
        talk.migrate()
        return talk.words(0).filter { $0 != "MIGRATION_PASS" }
    }

    private let undisturbed = ["setup", "active", "STOP", "pre-switchover", "device", "completed"]

    @Test func changesNothingWithoutFaults() { #expect(words([]) == undisturbed) }

    @Test func drops() {
        #expect(words([.drop(.migration("active"))]) == undisturbed.filter { $0 != "active" })
        #expect(words([.drop(.event("MIGRATION", number: 2))]) == undisturbed.filter { $0 != "active" })
        #expect(words([.drop(.event("MIGRATION", number: nil))]) == ["STOP"])
    }

    @Test func duplicates() {
        #expect(words([.duplicate(.event("STOP"))]) == ["setup", "active", "STOP", "STOP"] + undisturbed[3...])
    }

    @Test func reorders() {
        let swapped = ["setup", "active", "pre-switchover", "STOP", "device", "completed"]
        #expect(words([.swap(.event("STOP"))]) == swapped)
        #expect(words([.delay(.event("STOP"), .nextEvent)]) == swapped)
    }

    @Test func delaysUntilTheNextCommand() {
        var talk = Talk(.v10, faults: [.delay(.migration("pre-switchover"), .nextCommand)])
        talk.begin()
        talk.run()
        #expect(talk.words(0).last == "STOP")
        talk.say(0, "query-status")
        #expect(talk.words(0).last == "pre-switchover")
        #expect(talk.messages(0).last?["return"] != nil)
    }

    @Test func delaysForATime() {
        var talk = Talk(.v10, faults: [.delay(.migration("pre-switchover"), .milliseconds(400))])
        talk.begin()
        talk.run(milliseconds: 300)
        #expect(talk.words(0).last == "STOP")
        talk.run(milliseconds: 300)
        #expect(talk.words(0).last == "pre-switchover")
    }

    @Test func renames() {
        #expect(words([.rename(.migration("device"), to: "novel")])[4] == "novel")
        #expect(words([.rename(.event("STOP"), to: "NOVEL")])[2] == "NOVEL")
    }

    @Test func changesIDs() {
        var talk = Talk(.v10, faults: [.wrongID(.reply("query-status")), .missingID(.reply("query-name"))])
        #expect(talk.ask(0, "query-status") == nil)
        #expect(talk.messages(0).last?["id"] == ["wrong": true])
        #expect(talk.ask(0, "query-name") == nil)
        #expect(talk.messages(0).last?["id"] == nil)
        #expect(talk.ask(0, "query-status") != nil)
    }

    @Test func answersWrongly() {
        var talk = Talk(
            .v10,
            faults: [
                .refuse(.command("stop"), errorClass: "GenericError", desc: "no"),
                .answerWithError(.reply("stop", number: 2), errorClass: "GenericError", desc: "done, but no"),
                .pretend(.command("cont")), .ignore(.command("query-uuid")), .drop(.reply("query-name")),
                .duplicate(.reply("query-target")),
            ])
        #expect(talk.ask(0, "stop")?["desc"] == "no")
        #expect(talk.network.fakes[0].model?.runState == "running")
        #expect(talk.ask(0, "stop")?["desc"] == "done, but no")
        #expect(talk.network.fakes[0].model?.runState == "paused")
        #expect(talk.ask(0, "cont") == [:])
        #expect(talk.network.fakes[0].model?.runState == "paused")
        #expect(talk.ask(0, "query-uuid") == nil)
        #expect(talk.ask(0, "query-name") == nil)
        let before = talk.messages(0).count
        #expect(talk.ask(0, "query-target") != nil)
        #expect(talk.messages(0).count == before + 2)
        #expect(!talk.network.fakes[0].executed.contains("query-uuid"))
        #expect(talk.network.fakes[0].arrived.contains("query-uuid"))
    }

    @Test func answersAfterTheNextEvent() {
        var talk = Talk(.v10, faults: [.delay(.reply("query-status"), .nextEvent)])
        #expect(talk.ask(0, "query-status") == nil)
        talk.say(0, "stop")
        let tail = talk.messages(0).suffix(3)
        #expect(tail.map { $0["event"] != nil } == [true, false, false])
        #expect(tail.dropFirst().first?["return"]?["status"] == "running")
    }

    @Test(arguments: [
        Fault.Noise.garbage, .resynchronisation, .halfMessage, .brokenJSON, .strangeObject, .giant(bytes: 100),
        .bytes([0, 1, 2, 0x0A]),
    ])
    func insertsNoise(_ noise: Fault.Noise) {
        #expect(words([.noise(.migration("active"), noise)]).filter { $0 != "GIANT" } == undisturbed)
        var talk = Talk(.v10)
        talk.migrate()
        var noisy = Talk(.v10, faults: [.noise(.migration("active"), noise)])
        noisy.migrate()
        #expect(noisy.heard[0].count > talk.heard[0].count)
    }

    @Test func disturbsGreetings() {
        var talk = Talk([
            FakeQEMU(
                .source(.v10),
                faults: [.beforeGreeting(connection: 1, Fault.event("EARLY")), .greetAgain(.reply("query-name"))])
        ])
        talk.connect(0)
        #expect(talk.messages(0).map { $0["event"] } == ["EARLY", nil])
        talk.say(0, "qmp_capabilities")
        talk.say(0, "query-name")
        #expect(talk.messages(0).filter { $0["QMP"] != nil }.count == 2)

        var silent = Talk([FakeQEMU(.source(.v10), faults: [.noGreeting(connection: 1)])])
        silent.connect(0)
        #expect(silent.heard[0].isEmpty)
        silent.note(silent.network.disconnected(0, at: 0))
        silent.connect(0)
        #expect(!silent.heard[0].isEmpty)
    }

    @Test func closesAndIsThereAgain() {
        var talk = Talk(.v10, faults: [.close(.migration("active"))])
        talk.begin()
        talk.run()
        #expect(talk.ends[0] == .close)
        #expect(talk.words(0) == ["setup", "MIGRATION_PASS"])
        talk.connect(0)
        talk.say(0, "qmp_capabilities")
        #expect(talk.ask(0, "query-migrate")?["status"] == "pre-switchover")
    }

    @Test func exits() {
        var talk = Talk(.v10, faults: [.exit(.migration("active"), code: 3)])
        talk.begin()
        talk.run()
        #expect(talk.ends[0] == .exit(3))
        #expect(talk.ends[1] == .exit(1))
        #expect(talk.words(1) == ["setup", "active", "failed"])
    }

    @Test func mutes() {
        var talk = Talk(.v10, faults: [.mute(.migration("active"))])
        talk.begin()
        talk.run()
        #expect(talk.words(0) == ["setup", "MIGRATION_PASS"])
        #expect(talk.ask(0, "stop") == nil)
        #expect(talk.network.fakes[0].executed.last == "stop")
    }

    @Test func freezesAndGoesOn() {
        var talk = Talk(.v10)
        talk.begin()
        talk.change(1) { fake, _ in
            fake.freeze()
            return []
        }
        talk.run()
        #expect(talk.ask(1, "query-status") == nil)
        talk.say(0, "migrate-continue", ["state": "pre-switchover"])
        talk.run()
        #expect(talk.words(0).last != "completed")
        talk.change(1) { $0.thaw(at: $1) }
        talk.run()
        #expect(talk.words(0).last == "completed")
        #expect(talk.words(1).last == "completed")
        #expect(
            talk.messages(1).contains { $0["return"]?["status"] == "inmigrate" || $0["return"]?["status"] == "paused" })
    }

    @Test func letsOthersSpeakToo() {
        var talk = Talk(.v10)
        talk.change(0) { $0.executeElsewhere("stop", at: $1) }
        #expect(talk.words(0) == ["STOP"])
        #expect(talk.messages(0).filter { $0["return"] != nil }.count == 1)
    }
}
