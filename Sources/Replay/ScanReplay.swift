public import Trace

/// An observing replay by the scanner: what `ReplayRun` does record by record, in blocks.
struct ScanReplay: ~Copyable {
    private(set) var observer: Observer
    private let name: String
    private let isLenient: Bool
    private var decoder: RecordDecoder
    private(set) var failure: TraceError?
    private(set) var warnings: [TraceWarning] = []
    private var shapeCount = 0

    init(_ header: TraceHeader, name: String, isLenient: Bool, isTold: Bool) {
        observer = Observer(recorder: header.recorder)
        observer.isTold = isTold
        observer.isArchiving = true
        self.name = name
        self.isLenient = isLenient
        decoder = RecordDecoder(file: name)
    }

    /// Takes a block; returns false after an error.
    ///
    /// - Parameters:
    ///   - each: Gets each line before it is applied.
    ///   - tell: Gets the observations of each record.
    mutating func apply(
        _ block: TraceBlock, firstLine: Int, each: ((ScannedLine) -> Void)? = nil,
        _ tell: ([Observation], borrowing Observer) -> Void
    ) -> Bool {
        let shapes = block.shapes.map { shape in
            if let known = shape.attachment as? ObservedShape { return known }
            let new = ObservedShape(shape, number: shapeCount)
            shapeCount += 1
            shape.attachment = new
            return new
        }
        var quiet = observer.quiet(shapes)
        var version = observer.conversations.version
        observer.prepareQuiet()
        defer { observer.settle(block, shapes) }
        for line in block.lines {
            each?(line)
            let number = firstLine &+ Int(line.line)
            let place = Int(line.shape)
            if place >= 0, observer.applyQuietly(line, quiet[place], at: place, in: block, named: number) { continue }
            observer.settle(block, shapes)
            defer {
                if version != observer.conversations.version {
                    version = observer.conversations.version
                    quiet = observer.quiet(shapes)
                } else if place >= 0 {
                    quiet[place] = observer.quiet(shapes[place])
                }
                observer.prepareQuiet()
            }
            if place >= 0 {
                observer.apply(line, of: shapes[place], in: block, named: number, &decoder)
            } else {
                switch block.others[Int(~line.shape)] {
                case .record(var record):
                    record.line = number
                    if record.seq < 0 { record.seq = number }
                    _ = observer.apply(record)
                case .failure(var error):
                    error.line = number
                    guard isLenient else {
                        failure = error
                        return false
                    }
                    skip(error)
                    continue
                }
            }
            if observer.isTold { tell(observer.observations, observer) }
        }
        return true
    }

    private mutating func skip(_ error: TraceError) {
        if warnings.count < TraceReader.maximumWarnings {
            warnings.append(TraceWarning(kind: .skipped, error: error))
        }
    }
}

extension ReplayReport {
    /// Replays a whole trace by the scanner, without its story.
    ///
    /// - Parameters:
    ///   - lenient: Whether lines that cannot be understood are skipped and counted.
    ///   - threads: How many threads work on it; `nil` for as many as the machine carries out at once.
    ///   - isExact: Every line is decoded in full, which is slow.
    public init(
        scanning scan: TraceScan, lenient: Bool = false, threads: Int? = 1, isExact: Bool = false
    ) throws(TraceError) {
        self = try Self.scan(scan, lenient: lenient, threads: threads, isExact: isExact, tell: nil)
    }

    /// Replays a whole trace by the scanner and tells its story.
    ///
    /// - Parameter tell: Gets the story piece by piece, whole lines without the last line feed.
    public static func story(
        scanning scan: TraceScan, lenient: Bool = false, threads: Int? = 1, tell: (String) -> Void
    ) throws(TraceError) -> ReplayReport {
        try withoutActuallyEscaping(tell) { tell in
            Result { () throws(TraceError) in
                try Self.scan(scan, lenient: lenient, threads: threads, isExact: false, tell: tell)
            }
        }.get()
    }

    private static func scan(
        _ scan: TraceScan, lenient: Bool, threads: Int?, isExact: Bool, tell: ((String) -> Void)?
    ) throws(TraceError) -> ReplayReport {
        var replay = ScanReplay(scan.header, name: scan.name, isLenient: lenient, isTold: tell != nil)
        var story = Story(name: scan.name, header: scan.header)
        try scan.forEachBlock(
            threads: threads ?? ThreadCrew.processors, wanted: ObservedShape.wanted, isExact: isExact
        ) { block, line in
            replay.apply(block, firstLine: line) { observations, observer in
                let text = story.tell(observations, observer)
                if !text.isEmpty { tell?(text) }
            }
        }
        if let failure = replay.failure { throw failure }
        var report = replay.observer.report(trace: scan.name)
        report.warnings = (replay.warnings + scan.warnings).map(\.description)
        if let tell { tell(story.finish(replay.observer, report)) }
        return report
    }
}
