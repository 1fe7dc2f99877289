import BenchSupport
import Testing

@Suite struct SamplesTests {
    @Test(
        arguments: [([], nil, nil), ([3], 3, 3), ([4, 1, 3], 3, 4), ([4, 1, 3, 2], 2.5, 4)]
            as [([Double], Double?, Double?)])
    func middleAndEnd(values: [Double], median: Double?, p99: Double?) {
        #expect(Samples(values).median == median)
        #expect(Samples(values).p99 == p99)
    }

    @Test func oneInAHundredExceedsP99() {
        #expect(Samples((1...200).map(Double.init)).p99 == 198)
        #expect(Samples([1]).percentile(2) == nil)
    }
}

@Suite struct ResultTableTests {
    @Test(arguments: [
        (0.0, "0.000"), (1.0625, "1.063"), (25, "25.00"), (0.05, "0.050"), (123.4, "123.4"), (4321, "4321"),
        (-2.5, "-2.500"), (.infinity, "inf"),
    ])
    func numbers(value: Double, text: String) {
        #expect(ResultTable.text(value) == text)
    }

    @Test func saysWhetherGoalsAreReached() {
        var table = ResultTable(title: "t")
        table.add("a", "ms", Samples([2]), floor: Samples([2]), goal: .ratio(1))
        #expect(table.isReached)
        table.add("b", "ms", Samples([3]), goal: .atMost(2.5))
        #expect(!table.isReached)
        #expect(table.lines.last?.hasSuffix("MISSED") == true)
    }
}

@Suite struct QEMUTraceLogTests {
    private let source = """
        7@100.000100:handle_qmp_command mon 0x5 req: {"execute": "qmp_capabilities", "id": 1}
        7@100.000500:handle_qmp_command mon 0x5 req: {"execute": "migrate-set-capabilities", "id": 2}
        7@100.001000:handle_qmp_command mon 0x5 req: {"execute": "migrate", "arguments": {"uri": "unix:x"}, "id": 3}
        nonsense
        7@100.002:migrate_set_state new state active
        7@100.500000:runstate_set current_run_state 9 (running) new_state 7 (finish-migrate)
        7@100.500500:migrate_set_state new state pre-switchover
        7@100.500800:handle_qmp_command mon 0x5 req: {"execute": "migrate-continue", "id": 4}
        7@100.501000:migrate_set_state new state completed
        """
    private let destination = """
        8@100.000050:handle_qmp_command mon 0x5 req: {"execute": "qmp_capabilities", "id": 1}
        8@100.000700:handle_qmp_command mon 0x5 req: {"execute": "migrate-incoming", "id": 2}
        8@100.501200:migrate_set_state new state completed
        8@100.501600:handle_qmp_command mon 0x5 req: {"execute": "cont", "id": 3}
        8@100.501700:runstate_set current_run_state 3 (paused) new_state 9 (running)
        """

    @Test func findsTheMoments() throws {
        let times = try #require(
            MigrationTimes(source: QEMUTraceLog(Array(source.utf8)), destination: QEMUTraceLog(Array(destination.utf8)))
        )
        #expect(times.toContinue == 300)
        #expect(times.toRun == 400)
        #expect(times.gap == 700)
        #expect(times.pause == 1700)
        #expect(times.firstCommand == 100_000_050)
        #expect(times.commandsBefore == 4)
        #expect(times.quit == nil)
    }

    @Test func halfAMigrationIsNone() {
        #expect(MigrationTimes(source: QEMUTraceLog(Array(source.utf8)), destination: QEMUTraceLog([])) == nil)
        #expect(QEMUTraceLog(Array("a@b.c:d\n@1.000001:x\n9@1.5:y".utf8)).entries.map(\.text) == ["x"])
    }
}
