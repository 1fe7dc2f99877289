import Glibc
import JSONC
import Synchronization
import Testing

@testable import Replay

struct BatchTests {
    /// Whatever is ready first, it comes out in order, and nothing is lost or doubled.
    @Test(arguments: [1, 2, 5, 8])
    func comesOutInOrder(_ threads: Int) {
        let out = Mutex<[String]>([])
        let batch = ReplayBatch(count: 40) { piece in
            switch piece {
            case .output(let text): out.withLock { $0.append(text) }
            case .note(let text): out.withLock { $0.append("note " + text) }
            }
        }
        let running = Mutex(0)
        batch.run(threads: threads) { number, emit in
            running.withLock { $0 += 1 }
            // The later ones have much more to say than is kept, and the first ones are slow.
            for part in 0..<(number % 5 == 4 ? 300 : 3) {
                if number % 5 == 0 { sched_yield() }
                emit(part == 1 ? .note("\(number).\(part)") : .output("\(number).\(part)" + padding(number)))
            }
        }
        var expected: [String] = []
        for number in 0..<40 {
            for part in 0..<(number % 5 == 4 ? 300 : 3) {
                expected.append(part == 1 ? "note \(number).\(part)" : "\(number).\(part)" + padding(number))
            }
        }
        #expect(out.withLock { $0 } == expected)
        #expect(running.withLock { $0 } == 40)
    }

    private func padding(_ number: Int) -> String { number % 5 == 4 ? String(repeating: "x", count: 10_000) : "" }

    @Test func nothingIsDone() {
        ReplayBatch(count: 0) { _ in Issue.record("nothing was to be said") }.run(threads: 3) { _, _ in
            Issue.record("nothing was to be done")
        }
    }

    @Test(arguments: ["7.2.22/cancel", "7.2.22/fast-cont"])
    func piecesMakeTheText(_ name: String) throws {
        var report = try ReplayReport(path: Fixtures.trace(name))
        for title in ["x", "\"attempts\":[]"] {
            report.trace = title
            var text = ""
            report.write { text += $0 }
            #expect(text == report.json.text())
        }
    }
}
