import JSONC
import Migration
public import Trace

extension TraceIndex {
    /// Reads a whole trace and notes where things are.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - lenient: Whether lines that cannot be understood are left out.
    ///   - threads: How many threads work on it; `nil` for as many as the machine carries out at once.
    public static func build(
        path: String, lenient: Bool = false, threads: Int? = nil
    ) throws(TraceError) -> (index: TraceIndex, warnings: [String]) {
        let stamp = try stamp(of: path)
        try TraceInput.requireTrace(at: path)
        let scan = try TraceScan(path: path)
        var builder = IndexBuilder(index: TraceIndex(stamp: stamp))
        var replay = ScanReplay(scan.header, name: path, isLenient: lenient, isTold: true)
        try scan.forEachBlock(threads: threads ?? ThreadCrew.processors, wanted: ObservedShape.wanted) { block, first in
            builder.begin(block, first)
            return replay.apply(block, firstLine: first, each: { builder.take($0, of: block) }) { observations, _ in
                builder.take(observations)
            }
        }
        if let failure = replay.failure { throw failure }
        builder.index.records = replay.observer.order
        guard try self.stamp(of: path) == stamp else {
            throw TraceError(file: path, message: "it was changed while it was read")
        }
        return (builder.finish(), (replay.warnings + scan.warnings).map(\.description))
    }
}

/// Gathers the places of things, line by line.
private struct IndexBuilder {
    var index: TraceIndex
    private var first = 0
    private var place = TraceIndex.Place(line: 1, offset: 0, microseconds: 0)
    private var marked = -1
    /// The names of the events by the shapes of a block.
    private var names: [String?] = []
    private var identifier: String?
    private var attempt: TraceIndex.Attempt?
    /// Whether anything was begun in it, so that it is one.
    private var isOpened = false

    private static let markBytes = 1 << 20
    private static let maximumName = 256

    init(index: TraceIndex) { self.index = index }

    mutating func begin(_ block: TraceBlock, _ firstLine: Int) {
        first = firstLine
        names = block.shapes.map { Self.event(of: $0.record) }
    }

    private static func event(of record: TraceRecord) -> String? {
        guard case .recv(let message) = record.member else { return nil }
        return message["event"]?.string.flatMap { $0.utf8.count <= maximumName ? $0 : nil }
    }

    /// A line is about to be applied.
    mutating func take(_ line: ScannedLine, of block: TraceBlock) {
        var microseconds = line.microseconds
        var event: String?
        if line.shape >= 0 {
            event = names[Int(line.shape)]
            identifier = block.shapes[Int(line.shape)].record.attempt
        } else if case .record(let record) = block.others[Int(~line.shape)] {
            microseconds = record.microseconds
            event = Self.event(of: record)
            identifier = record.attempt
        } else {
            return
        }
        place = TraceIndex.Place(
            line: first + Int(line.line), offset: block.offset + Int(line.start), microseconds: microseconds)
        if marked < 0 || place.offset - marked >= Self.markBytes {
            index.marks.append(place)
            marked = place.offset
        }
        if attempt == nil {
            attempt = TraceIndex.Attempt(number: 1, identifier: nil, place: place, status: "idle")
        }
        if attempt?.identifier == nil, let identifier, identifier.utf8.count <= Self.maximumName {
            attempt?.identifier = identifier
        }
        guard let event, index.events[event] != nil || index.events.count < TraceIndex.maximumNames else { return }
        index.events[event, default: TraceIndex.Events()].count += 1
        if let count = index.events[event]?.places.count, count < TraceIndex.maximumPlaces {
            index.events[event]?.places.append(place)
        }
    }

    /// What the line showed.
    mutating func take(_ observations: [Observation]) {
        for observation in observations {
            switch observation.what {
            case .attempt:
                keep()
                attempt = TraceIndex.Attempt(number: 0, identifier: nil, place: place, status: "idle")
            case .sent(_, opens: true), .word: isOpened = true
            case .status(let status): attempt?.status = status.word.rawValue
            default: break
            }
        }
    }

    private mutating func keep() {
        guard var attempt, isOpened, index.attempts.count < TraceIndex.maximumAttempts else { return }
        // Counted as everywhere: what was only prepared is none.
        attempt.number = index.attempts.count + 1
        index.attempts.append(attempt)
        isOpened = false
    }

    mutating func finish() -> TraceIndex {
        keep()
        return index
    }
}
