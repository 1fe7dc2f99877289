import Trace

/// Works on several things at once and hands out what comes of them in their order.
///
/// What comes of the one whose turn it is goes out at once; the others keep a bounded part of theirs and wait then.
package final class ReplayBatch: @unchecked Sendable {
    /// Something that comes of one.
    package enum Piece {
        /// For standard output.
        case output(String)
        /// For standard error, without its line feed.
        case note(String)

        var bytes: Int {
            switch self {
            case .output(let text), .note(let text): text.utf8.count
            }
        }
    }

    private let crew = ThreadCrew()
    private let count: Int
    private let sink: (Piece) -> Void
    // Under the crew's lock:
    private var begun = 0
    private var turn = 0
    private var kept: [[Piece]]
    private var keptBytes: [Int]
    private var isDone: [Bool]

    private static let maximumKept = 1 << 20

    /// - Parameters:
    ///   - count: How many things there are.
    ///   - sink: Gets what comes of them, on one thread at a time.
    package init(count: Int, sink: @escaping (Piece) -> Void) {
        self.count = count
        self.sink = sink
        kept = Array(repeating: [], count: count)
        keptBytes = Array(repeating: 0, count: count)
        isDone = Array(repeating: false, count: count)
    }

    /// Works on all of them, on so many threads. `body` gets the number of one and what to call with its output.
    package func run(threads: Int, _ body: (Int, (Piece) -> Void) -> Void) {
        crew.run(threads: min(threads, count)) {
            while let number = next() {
                body(number) { emit($0, number) }
                finish(number)
            }
        }
    }

    private func next() -> Int? {
        crew.lock()
        defer { crew.unlock() }
        guard begun < count else { return nil }
        begun += 1
        return begun - 1
    }

    private func emit(_ piece: Piece, _ number: Int) {
        crew.lock()
        // They are begun in their order, so that whoever's turn it is runs, and does not wait.
        while number != turn, keptBytes[number] > Self.maximumKept { crew.wait() }
        if number == turn {
            let before = kept[number]
            kept[number] = []
            crew.unlock()
            before.forEach(sink)
            sink(piece)
        } else {
            kept[number].append(piece)
            keptBytes[number] += piece.bytes
            crew.unlock()
        }
    }

    private func finish(_ number: Int) {
        crew.lock()
        isDone[number] = true
        if turn == number {
            while turn < count, isDone[turn] {
                kept[turn].forEach(sink)
                kept[turn] = []
                turn += 1
            }
        }
        crew.wake()
        crew.unlock()
    }
}
