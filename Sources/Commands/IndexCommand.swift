public import ArgumentParser
import JSONC
import Replay
import Trace

/// `godwit index`
public struct IndexCommand: ParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "index",
        abstract: "Find records in a large trace by time, attempt or event, at once.",
        discussion: """
            Reads the trace once and keeps what it found in FILE.index beside it; a look-up uses that, and makes it if it is \
            not there. An index of a trace that has changed since is refused: `godwit index FILE` makes it anew. Records are \
            printed as they stand in the trace, with their line numbers.

            What others recorded has to be made a trace first (`godwit convert`), and what is compressed to be decompressed: \
            an index knows places in a file.

            Exit codes: 0, \(CommandOutcome.data.rawValue) if the trace or its index makes no sense, or nothing was found, \
            \(CommandOutcome.noInput.rawValue) if the trace is not there, \(CommandOutcome.output.rawValue) if its index \
            cannot be written.
            """)

    @Option(name: .long, help: "The first record at or after this time, such as 12.5s.")
    var at: TimeQuantity?

    @Option(name: .long, help: ArgumentHelp("Where this attempt begins; its number or its id.", valueName: "attempt"))
    var attempt: String?

    @Option(name: .long, help: ArgumentHelp("Events of this name, such as STOP.", valueName: "name"))
    var event: String?

    @Option(name: .long, help: "How many records are printed.")
    var count = 10

    @Option(name: .long, help: "Output: text (line number and record), or json (one object for each record).")
    var format: OutputFormat = .text

    @Flag(name: .long, help: "Leave out lines that cannot be read.")
    var lenient = false

    @Argument(help: ArgumentHelp("The trace: a file that is not compressed.", valueName: "file"))
    var file: String

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if [at != nil, attempt != nil, event != nil].count(where: \.self) > 1 {
            throw ValidationError("One of --at, --attempt and --event.")
        }
        if count < 1 || count > TraceIndex.maximumPlaces {
            throw ValidationError("--count: between 1 and \(TraceIndex.maximumPlaces)")
        }
    }

    /// Makes an index, or looks something up.
    public func run() throws { try Console.telling(tell) }

    private func tell() throws {
        do {
            if at == nil, attempt == nil, event == nil {
                summarize(try make())
            } else {
                let known = try TraceIndex(of: file)
                let index: TraceIndex
                if let known { index = known } else { index = try make() }
                guard try lookUp(in: index) > 0 else { throw TraceError(file: file, message: "nothing found") }
            }
        } catch let error as TraceError {
            throw error.told()
        }
    }

    private func make() throws -> TraceIndex {
        let (index, warnings) = try TraceIndex.build(path: file, lenient: lenient)
        for warning in warnings { Console.note("godwit: warning: \(Console.safe(warning))") }
        do throws(TraceError) {
            try index.write(to: TraceIndex.path(of: file))
        } catch {
            Console.note(error.note)
            throw CommandOutcome.output.exitCode
        }
        return index
    }

    // MARK: Look-up

    private func lookUp(in index: TraceIndex) throws(TraceError) -> Int {
        if let at { return try print(from: index, at: at.milliseconds) }
        if let attempt {
            guard let found = index.attempt(attempt) else { return 0 }
            if format == .text {
                let name = found.identifier.map { " (\($0))" } ?? ""
                Console.note("attempt \(found.number)\(Console.safe(name)): \(found.status)")
            }
            return try print(from: found.place, count) { _ in true }
        }
        var printed = 0
        for place in index.events[event ?? ""]?.places.prefix(count) ?? [] {
            printed += try print(from: place, 1) { _ in true }
        }
        return printed
    }

    private func print(from index: TraceIndex, at milliseconds: Int64) throws(TraceError) -> Int {
        let (time, overflow) = milliseconds.multipliedReportingOverflow(by: 1000)
        guard !overflow else { return 0 }
        return try print(from: index.mark(before: time), count) { $0.microseconds >= time }
    }

    /// Prints records from the first one on that is wanted.
    private func print(
        from place: TraceIndex.Place?, _ count: Int, _ isWanted: (TraceRecord) -> Bool
    ) throws(TraceError) -> Int {
        var decoder = RecordDecoder(file: file)
        var printed = 0
        try TraceIndex.lines(of: file, from: place) { number, offset, line in
            guard let record = try? decoder.record(line, line: number) else { return true }
            guard printed > 0 || isWanted(record) else { return true }
            printed += 1
            show(number, offset, record, line)
            return printed < count
        }
        return printed
    }

    private func show(_ number: Int, _ offset: Int, _ record: TraceRecord, _ line: UnsafeRawBufferPointer) {
        let text = String(decoding: line, as: UTF8.self)
        switch format {
        case .text: Console.print("\(number):\(Console.safe(text))")
        case .json:
            let place: JSONObject = [
                "line": .integer(Int64(number)), "offset": .integer(Int64(offset)),
                "microseconds": .integer(record.microseconds),
            ]
            // The record goes in as it is.
            Console.print(JSONValue.object(place).text().dropLast() + ",\"record\":\(text)}")
        }
    }

    private func summarize(_ index: TraceIndex) {
        switch format {
        case .text:
            Console.print("\(file): \(index.records) records, \(index.attempts.count) attempts")
            for (name, events) in index.events.sorted(by: { ($1.value.count, $0.key) < ($0.value.count, $1.key) }) {
                Console.print("  \(events.count) x \(Console.safe(name))")
            }
        case .json:
            var events: JSONObject = [:]
            for (name, found) in index.events.sorted(by: { $0.key < $1.key }) {
                events[name] = .integer(Int64(found.count))
            }
            let object: JSONObject = [
                "trace": .string(file), "index": .string(TraceIndex.path(of: file)),
                "records": .integer(Int64(index.records)),
                "attempts": .array(
                    index.attempts.map { attempt in
                        [
                            "number": .integer(Int64(attempt.number)),
                            "id": attempt.identifier.map { .string($0) } ?? .null,
                            "line": .integer(Int64(attempt.place.line)), "status": .string(attempt.status),
                        ]
                    }),
                "events": .object(events),
            ]
            Console.print(JSONValue.object(object).text())
        }
    }
}
