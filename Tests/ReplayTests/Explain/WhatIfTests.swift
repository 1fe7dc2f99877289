import JSONC
import Migration
import Replay
import Testing
import Trace

/// Recordings with something else in them.
struct WhatIfTests {
    private func whatIf(_ name: String, _ changes: Change...) throws -> WhatIf {
        let path = name.hasPrefix("driven/") ? "\(Fixtures.root)/\(name).qmptrace" : Fixtures.trace(name)
        return try WhatIf(path: path, changes: changes)
    }

    private func ends(_ whatIf: WhatIf) -> [PublishedWord?] {
        [whatIf.before.attempts.first?.word, whatIf.after.attempts.first?.word]
    }

    // MARK: Assumptions, against what real QEMUs did in other recordings

    @Test(arguments: [
        ("cancel", 5.0, PublishedWord.cancelled), ("source-killed", 5, .lost), ("destination-killed", 5, .failed),
        ("network-cut", 5, .failed), ("guest-poweroff", 5, .ended), ("source-monitor-lost", 5, .copying),
        // After everything was over.
        ("cancel", 60, .completed), ("network-cut", 60, .completed),
    ])
    func assumptionsInPrecopy(_ what: String, _ seconds: Double, _ end: PublishedWord) throws {
        let change = try #require(Change.assumption("\(what)@\(seconds)s"))
        let whatIf = try whatIf("10.0.13/precopy-slow-polled", change)
        #expect(ends(whatIf) == [.completed, end])
        #expect(!whatIf.changed.notes.isEmpty)
        #expect(whatIf.diff.parting != nil || end == .completed)
    }

    @Test func aCancelLooksLikeARealOne() throws {
        let assumed = try whatIf("7.2.22/precopy-slow-polled", .assume(.cancel, 1_000_000))
        let real = try Explanation(path: Fixtures.trace("7.2.22/cancel"))
        func words(_ explanation: Explanation) -> [String] {
            (explanation.attempts.first?.happened ?? []).map(\.text).filter { $0.contains(" said ") }
        }
        #expect(
            words(assumed.after).suffix(3).sorted()
                == ["the destination said failed", "the source said cancelled", "the source said cancelling"])
        #expect(Set(words(real)).isSuperset(of: words(assumed.after).suffix(3)))
        #expect(assumed.after.attempts.first?.fault.party == real.attempts.first?.fault.party)
    }

    @Test func aCancelInPostcopyDependsOnTheRelease() throws {
        // Post-copy goes on from 0.8 s (7.2) and 0.7 s (10.0) after migrate to the end.
        let old = try whatIf("7.2.22/postcopy-recover-pause", .assume(.cancel, 900_000))
        #expect(ends(old) == [.completed, .lost])
        let new = try whatIf("10.0.13/postcopy-recover-pause", .assume(.cancel, 900_000))
        #expect(ends(new) == [.completed, .completed])
        #expect(new.changed.notes.contains { $0.contains("refuses") })
    }

    @Test func inPostcopyTheFirstToGoLosesTheGuest() throws {
        for what in [Assumption.sourceKilled, .destinationKilled] {
            let whatIf = try whatIf("10.0.13/postcopy-recover-pause", .assume(what, 900_000))
            #expect(ends(whatIf) == [.completed, .lost], "\(what)")
        }
        let cut = try whatIf("10.0.13/postcopy-recover-pause", .assume(.networkCut, 900_000))
        #expect(ends(cut) == [.completed, .postcopyPaused])
    }

    // MARK: What was heard

    @Test func aLostEventIsFoundByQueries() throws {
        // The source's completed; a query-migrate after it tells the same.
        let whatIf = try whatIf("10.0.13/precopy-slow-polled", .drop(522))
        #expect(ends(whatIf) == [.completed, .completed])
        #expect(whatIf.after.attempts.first?.anomalies.contains { $0.text.contains("no event told") } == true)
        #expect(whatIf.changed.droppedCount == 1)
    }

    @Test func aLostEndIsNoEnd() throws {
        let whatIf = try whatIf("driven/completed", .drop(123))
        #expect(ends(whatIf) == [.completed, .switchover])
        #expect(whatIf.diff.parting?.left?.text == "completed")
        // Godwit itself would not have told the destination to run.
        #expect(whatIf.isDriven)
        #expect(whatIf.decision?.recorded?["run"] != nil)
    }

    @Test func anUnknownWordIsProgress() throws {
        let whatIf = try whatIf("driven/completed", .unknownStatus(.word("device")))
        #expect(ends(whatIf) == [.completed, .completed])
        #expect(whatIf.after.attempts.first?.anomalies.contains { $0.text.contains("unknown status word") } == true)
        let one = try self.whatIf("7.2.22/precopy-unix", .unknownStatus(.record(28)))
        #expect(one.changed.notes.first?.hasPrefix("1 status word ") == true)
        // The source's query-migrate (record 34) tells what the event did not.
        #expect(ends(one) == [.completed, .completed])
        #expect(one.after.attempts.first?.verdict.records.contains(34) == true)
    }

    @Test func aLateEventComesLater() throws {
        let whatIf = try whatIf("7.2.22/precopy-unix", .delay(29, 50_000))
        // The destination's completed comes after cont and RESUME then.
        #expect(ends(whatIf) == [.completed, .completed])
        let pause = try #require(whatIf.after.attempts.first?.pauses.first)
        #expect(pause.to?.record == 31)
        let names = whatIf.changed.records.map(\.seq)
        #expect(names.firstIndex(of: 29) == names.firstIndex(of: 31).map { $0 + 2 } || names.last == 29)
        let times = whatIf.changed.records.map(\.microseconds)
        #expect(times == times.sorted())
    }

    @Test func anEventTwiceIsNoNews() throws {
        let whatIf = try whatIf("driven/completed", .duplicate(123))
        #expect(ends(whatIf) == [.completed, .completed])
        #expect(whatIf.diff.parting == nil)
    }

    @Test func aRecordCanBePutIn() throws {
        let gone = TraceRecord(microseconds: 2_872_000, side: .destination, member: .process(.signalled(9)))
        let whatIf = try whatIf("7.2.22/precopy-unix", .insert(gone))
        #expect(ends(whatIf).first == .completed)
        #expect(whatIf.changed.inserted.count == 1)
        #expect(whatIf.diff.parting?.right?.text == "the process ended by signal 9")
    }

    // MARK: Wrong wishes

    @Test(arguments: [Change.drop(9999), .drop(10), .unknownStatus(.word("nonsense")), .unknownStatus(.record(12))])
    func whatIsNotThereIsAnError(_ change: Change) {
        #expect(throws: ChangeError.self) { try self.whatIf("7.2.22/precopy-unix", change) }
    }

    @Test func anAssumptionNeedsABeginning() throws {
        let trace = MiniTrace("S- hello")
        #expect(throws: ChangeError.self) {
            try WhatIf(
                reader: try TraceReader(bytes: Array(trace.text.utf8), name: "mini"), name: "mini",
                changes: [.assume(.cancel, 0)])
        }
    }

    @Test(arguments: [
        "cancel", "cancel@", "cancel@5", "nothing@5s", "cancel@-1s", "cancel@1e400s", "@5s", "cancel@nans",
    ])
    func nonsenseIsNoAssumption(_ text: String) { #expect(Change.assumption(text) == nil) }

    @Test func times() {
        #expect(Change.assumption("cancel@12.5s") == .assume(.cancel, 12_500_000))
        #expect(Change.assumption("network-cut@20ms") == .assume(.networkCut, 20_000))
        #expect(Change.delay("124=2min") == .delay(124, 120_000_000))
        #expect(Change.delay("124") == nil)
    }

    @Test(arguments: Assumption.allCases, [0, 1, 100_000, 350_000, 5_000_000] as [Int64])
    func nothingIsTooMuch(_ what: Assumption, _ time: Int64) throws {
        for name in ["7.2.22/precopy-unix", "11.1.3/postcopy", "10.0.13/connect-fail", "7.2.22/pre-switchover"] {
            let whatIf = try whatIf(name, .assume(what, time))
            #expect(whatIf.text.contains("before:"))
            #expect(try JSONValue(parsing: whatIf.json.serialized())["after"] != nil)
        }
    }
}
