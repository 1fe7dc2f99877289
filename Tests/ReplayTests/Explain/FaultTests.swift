import Migration
import Replay
import Testing

/// Whose doing it was, where no recording of a real QEMU shows it yet.
struct FaultTests {
    private static let begun = [
        "D- hello", #"D> migrate-incoming {"uri":"tcp:0:4444"}"#, "D! setup", "D< ok",
        "S- hello", "S> query-status", #"S< {"status":"running"}"#,
        #"S> migrate {"uri":"tcp:host:4444"}"#, "S! setup", "S< ok", "D! active", "S! active",
    ]

    private func attempt(recorder: String = "hand", _ lines: String...) throws -> AttemptExplanation {
        var trace = MiniTrace(recorder: recorder)
        for line in Self.begun + lines { trace.add(line) }
        return try #require(try trace.explanation().attempts.first)
    }

    private func failed(_ text: String, _ more: String...) throws -> AttemptExplanation {
        var trace = MiniTrace()
        let end = ["S! failed", "S> query-migrate", #"S< {"status":"failed","error-desc":"\#(text)"}"#]
        for line in Self.begun + end + more { trace.add(line) }
        return try #require(try trace.explanation().attempts.first)
    }

    @Test(arguments: [
        ("Connection timed out", Party.network), ("No route to host", .network),
        ("Certificate does not match the hostname x", .operator), ("address resolution failed for x", .operator),
        // It listened: the way there is the more likely cause.
        ("Failed to connect to 'host:4444': Connection refused", .network),
        ("Sibling indicated error 1", .destination), ("Unable to write to socket: Broken pipe", .network),
    ])
    func qemusWords(_ text: String, _ party: Party) throws {
        let attempt = try failed(text)
        #expect(attempt.word == .failed)
        #expect(attempt.fault.party == party)
        #expect(attempt.fault.certainty == (text.hasPrefix("Sibling") ? .proven : .likely))
        #expect(attempt.fault.because.text.contains(text) || text.hasPrefix("Sibling"))
    }

    @Test func wordsThatNobodyKnowsTellNothing() throws {
        let attempt = try failed("something quite new")
        #expect(attempt.fault.party == nil)
        #expect(attempt.fault.certainty == .unknown)
        #expect(attempt.fault.alternatives == [.source, .destination, .network])
        #expect(attempt.gaps.contains { $0.what.contains("whose doing it was") })
    }

    @Test func aPolicysCancelIsThePolicys() throws {
        let attempt = try attempt(
            recorder: "godwit 0.1.0", #"R"request":{"do":"cancel","origin":"policy"}}"#, "S> migrate_cancel",
            "S! cancelling",
            "S< ok", "S! cancelled")
        #expect(attempt.fault.party == .policy)
        #expect(attempt.fault.certainty == .proven)
        #expect(attempt.fault.because.records.count == 2)
    }

    @Test func aCancelThatNobodySentWasSomebodyElses() throws {
        let attempt = try attempt("S! cancelling", "S! cancelled")
        #expect(attempt.word == .cancelled)
        #expect(attempt.fault.certainty == .likely)
        #expect(attempt.fault.because.text.contains("not in the recording"))
    }

    @Test func whoeverTellsADestinationToQuitIsTheCause() throws {
        let attempt = try attempt("D> quit", "D< ok", "D- gone", "S! failed")
        #expect(attempt.word == .failed)
        #expect(attempt.fault.party == .operator)
        #expect(attempt.fault.because.text.contains("told to quit"))
    }

    @Test func quittingAfterTheFailureIsTidyingUp() throws {
        let attempt = try attempt("D! failed", "S! failed", "D> quit", "D< ok", "D- gone")
        #expect(attempt.fault.party == .destination)
        #expect(!attempt.fault.because.text.contains("quit"))
    }

    @Test func aSignalFromOutsideEndsASource() throws {
        let attempt = try attempt(
            #"R"side":"source","recv":{"event":"SHUTDOWN","data":{"guest":false,"reason":"host-signal"}}}"#,
            #"R"side":"source","process":{"exited":0}}"#)
        #expect(attempt.word == .lost)
        #expect(attempt.fault.party == .operator)
        #expect(attempt.fault.alternatives.contains(.source))
    }

    @Test func whoPausesPostcopyIsTheCause() throws {
        let attempt = try attempt(
            "S> migrate-start-postcopy", "S< ok", "S* STOP", "S! postcopy-active", "D! postcopy-active", "D> cont",
            "D< ok",
            "D* RESUME", "S> migrate-pause", "S< ok", "S! postcopy-paused", "D! postcopy-paused")
        #expect(attempt.word == .postcopyPaused)
        #expect(attempt.fault.party == .operator)
        #expect(attempt.advice.contains { $0.text.contains("migrate-recover") })
    }

    @Test func aLostDestinationIsNotTheYanksFault() throws {
        let attempt = try attempt(
            recorder: "godwit 0.1.0", "D- lost", #"S> yank {"instances":[{"type":"migration"}]}"#, "S< ok", "S! failed")
        #expect(attempt.fault.party == .destination)
        #expect(attempt.fault.certainty == .likely)
    }

    @Test func aGuestThatDirtiesTooFastIsTold() throws {
        var trace = MiniTrace()
        for line in Self.begun { trace.add(line) }
        for pass in 1...6 {
            trace.add(#"R"side":"source","recv":{"event":"MIGRATION_PASS","data":{"pass":\#(pass)}}}"#)
            trace.add("S> query-migrate")
            trace.add(
                #"S< {"status":"active","ram":{"total":4294967296,"remaining":104857600,"transferred":\#(pass * 100_000_000),"mbps":800.0,"dirty-pages-rate":26000,"page-size":4096,"dirty-sync-count":\#(pass)}}"#
            )
        }
        let attempt = try #require(try trace.explanation().attempts.first)
        #expect(attempt.advice.contains { $0.text.contains("hardly converges") && $0.text.contains("auto-converge") })
        #expect(attempt.iterations.count == 6)
        #expect(attempt.iterations[1].transferredBytes == 100_000_000)
        #expect(attempt.iterations[1].bytesPerSecond == 100_000_000)
    }
}
