import GuestLab
import Testing

@Suite struct HeartbeatLogTests {
    private func log(_ text: String) -> HeartbeatLog { HeartbeatLog(bytes: Array(text.utf8)) }

    @Test func readsLines() {
        let log = log("hb 1\nhb 2\nbad 17\nnoise\nhb x\nhb \nhb 99999999999999999999\nhb 3")
        #expect(log.heartbeats == [Heartbeat(number: 1, offset: 0), Heartbeat(number: 2, offset: 5)])
        #expect(log.badPages == [17])
        #expect(log.strayLines == ["noise", "hb x", "hb ", "hb 99999999999999999999"])
        #expect(log.unfinished == Array("hb 3".utf8))
    }

    @Test func emptyOutputHasNothing() {
        #expect(log("").heartbeats.isEmpty)
        #expect(HeartbeatLog(path: "/nowhere/at/all").bytes.isEmpty)
        #expect(HeartbeatLog.continuity(source: log(""), destination: log("")).description == "no heartbeats")
    }

    @Test(
        arguments: [
            ("hb 1\nhb 2\n", "hb 3\nhb 4\n", 2, 3, false),
            ("hb 1\nhb 2\nhb", " 3\nhb 4\n", 2, 3, true),
            ("hb 1\nhb 2\nhb 3", "\nhb 4\n", 2, 3, true),
            ("hb 9\nhb 1", "0\nhb 11\nhb 1", 9, 10, true),
            ("hb 1\nh", "", 1, nil, false),
            ("", "hb 1\n", nil, 1, false),
        ] as [(String, String, Int?, Int?, Bool)])
    func joinsWhatTheSwitchCut(source: String, destination: String, last: Int?, first: Int?, cut: Bool) {
        let found = HeartbeatLog.continuity(source: log(source), destination: log(destination))
        #expect(found.lastOnSource == last)
        #expect(found.firstOnDestination == first)
        #expect(found.lineWasCut == cut)
        #expect(found.isUnbroken)
    }

    @Test(
        arguments: [
            ("hb 1\nhb 2\n", "hb 4\nhb 8\n", [3...3, 5...7], []),
            ("hb 1\nhb 2\nhb 3\n", "hb 3\nhb 4\n", [], [3]),
            ("hb 1\nhb 2\n", "hb 1\nhb 2\n", [], [1, 2]),
            ("hb 1\nhb 2\nhb 1\n", "", [], [1]),
        ] as [(String, String, [ClosedRange<Int>], [Int])])
    func findsWhatIsMissingAndWhatCameTwice(
        source: String,
        destination: String,
        missing: [ClosedRange<Int>],
        repeated: [Int]
    ) {
        let found = HeartbeatLog.continuity(source: log(source), destination: log(destination))
        #expect(found.missing == missing)
        #expect(found.repeated == repeated)
        #expect(!found.isUnbroken)
    }

    @Test func lostMemoryAndNoiseBreakTheContinuity() {
        #expect(!HeartbeatLog.continuity(source: log("hb 1\n"), destination: log("bad 3\nhb 2\n")).isUnbroken)
        #expect(!HeartbeatLog.continuity(source: log("hb 1\nhb"), destination: log("hb 2\n")).isUnbroken)
    }

    @Test func tellsAPerson() {
        let good = HeartbeatLog.continuity(source: log("hb 1\nhb 2\n"), destination: log("hb 3\nhb 4\n"))
        #expect(
            good.description
                == "heartbeats 1 to 2 on the source, 3 to 4 on the destination: none missing, none repeated")
        let bad = HeartbeatLog.continuity(source: log("hb 1\nhb 2\n"), destination: log("hb 2\nhb 5\n"))
        #expect(
            bad.description == "heartbeats 1 to 2 on the source, 2 to 5 on the destination: missing 3 to 4, repeated 2")
    }
}
