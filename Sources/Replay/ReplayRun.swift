public import Trace

/// A replay of one trace, record by record: text comes out as the trace goes in, so that a pipe can be followed.
public struct ReplayRun {
    private var reader: TraceReader
    private var observer: Observer
    private var story: Story
    private let name: String
    private var isOver = false

    /// Opens a trace; `-` is standard input.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - lenient: Whether lines that cannot be understood are skipped and counted.
    public init(path: String, lenient: Bool = false) throws(TraceError) {
        self.init(
            reader: try TraceReader(opening: path, lenient: lenient),
            name: path == "-" ? "standard input" : path)
    }

    /// Replays what a reader has.
    public init(reader: TraceReader, name: String) {
        self.reader = reader
        self.name = name
        observer = Observer(recorder: reader.header.recorder)
        story = Story(name: name, header: reader.header)
    }

    /// Takes one record; `nil` at the end of the trace.
    ///
    /// - Returns: The part of the story that can be told by now, whole lines without the last line feed, often none. After an error the replay may be gone on with.
    public mutating func next() throws(TraceError) -> String? {
        guard !isOver else { return nil }
        guard let record = try reader.next() else {
            isOver = true
            return story.finish(observer, report)
        }
        return story.tell(observer.apply(record), observer)
    }

    /// What is known by now.
    public var report: ReplayReport {
        var report = observer.report(trace: name)
        report.warnings = reader.warnings.map(\.description)
        return report
    }
}

extension ReplayReport {
    /// Replays a whole trace without its story.
    public init(path: String, lenient: Bool = false) throws(TraceError) {
        try self.init(
            reader: try TraceReader(opening: path, lenient: lenient),
            name: path == "-" ? "standard input" : path)
    }

    /// Replays everything a reader has without its story.
    public init(reader: TraceReader, name: String) throws(TraceError) {
        var reader = reader
        var observer = Observer(recorder: reader.header.recorder)
        while let record = try reader.next() { _ = observer.apply(record) }
        self = observer.report(trace: name)
        warnings = reader.warnings.map(\.description)
    }

    /// Replays a whole trace and tells its story.
    public static func text(path: String, lenient: Bool = false) throws(TraceError) -> String {
        var run = try ReplayRun(path: path, lenient: lenient)
        var text = ""
        while let part = try run.next() {
            if !part.isEmpty { text += part + "\n" }
        }
        return text
    }
}
