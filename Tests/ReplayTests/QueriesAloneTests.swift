import JSONC
import Testing

@testable import Replay
@testable import Trace

/// Replies decide too: without any event the outcome is the same, wherever somebody asked after the end.
struct QueriesAloneTests {
    /// What of a recording tells how it ended, apart from its events.
    private struct Answers {
        /// The last words, by side, as the events have them, and whether a later query confirms them.
        var words: [TraceSide: (word: String, isConfirmed: Bool)] = [:]
        /// Whether the destination's guest ran, and whether a later query shows it.
        var running: Bool?
        /// Whether the guest was stopped before `migrate`, which makes a paused one the intended end, and whether a
        /// query shows it.
        var stopped: Bool?
        var hasMigrated = false
        /// The queries on their way, by side and id.
        var open: [String: String] = [:]

        mutating func take(_ record: TraceRecord) {
            guard let side = record.side else { return }
            switch record.member {
            case .send(let message):
                if side == .source, message["execute"]?.string == "migrate" { hasMigrated = true }
                if let name = message["execute"]?.string, let id = message["id"] { open["\(side) \(id)"] = name }
            case .recv(let message):
                if let id = message["id"], let name = open.removeValue(forKey: "\(side) \(id)") {
                    let status = message["return"]?["status"]?.string
                    if name == "query-migrate", let told = words[side], status == told.word {
                        words[side]?.isConfirmed = true
                    }
                    if name == "query-status", side == .source, status == "paused", !hasMigrated { stopped = true }
                    if name == "query-status", side == .destination, status == "running", running != nil {
                        running = true
                    }
                }
                switch message["event"]?.string {
                case "MIGRATION"?:
                    if let word = message["data"]?["status"]?.string { words[side] = (word, false) }
                case "STOP"? where side == .source && !hasMigrated: stopped = stopped ?? false
                case "RESUME"? where side == .destination: running = false
                default: break
                }
            default: break
            }
        }

        /// Whether queries show the end on both sides.
        var areComplete: Bool {
            !words.isEmpty && words.values.allSatisfy(\.isConfirmed) && running != false && stopped != false
        }
    }

    private static func isEvent(_ record: TraceRecord) -> Bool {
        if case .recv(let message) = record.member { message["event"] != nil } else { false }
    }

    private static func outcome(_ records: [TraceRecord]) -> [String] {
        var observer = Observer(recorder: "x")
        for record in records { _ = observer.apply(record) }
        return observer.report(trace: "x").attempts.map(\.outcomeWord)
    }

    @Test func theOutcomeIsTheSame() throws {
        var compared: [String] = []
        var silent: [String] = []
        for name in Fixtures.names {
            let records = try Fixtures.records(name)
            let expected = (try Fixtures.expectation(name)["attempts"]?.array ?? []).compactMap {
                $0["outcome"]?.string
            }
            var answers = Answers()
            for record in records { answers.take(record) }
            guard expected.count == 1, answers.areComplete else {
                // Several attempts, or nobody asked after the end: nothing but the events tells of it.
                silent.append(name)
                continue
            }
            compared.append(name)
            #expect(Self.outcome(records.filter { !Self.isEvent($0) }) == expected, "\(name)")
        }
        #expect(compared.count + silent.count == Fixtures.names.count)
        print("without events: \(compared.count) recordings compared; \(silent.count) have no query after the end")
        #expect(compared.count >= 40)
    }

    /// The same by the scanner.
    @Test func theScannerTakesTheirWordToo() throws {
        for name in Fixtures.names {
            var text = ""
            for line in String(decoding: Fixtures.bytes(Fixtures.trace(name)), as: UTF8.self).split(separator: "\n")
            where !line.contains("\"event\":") { text += line + "\n" }
            let exact = try ReplayReport(reader: try TraceReader(bytes: Array(text.utf8), name: "x"), name: "x")
            #expect(try ReplayReport(scanning: try TraceScan(bytes: Array(text.utf8), name: "x")) == exact)
        }
    }
}
