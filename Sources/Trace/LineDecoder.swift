import JSONC

/// Decodes the lines of a trace one by one, and says of each that is wrong where and why.
struct LineDecoder: ~Copyable {
    private let file: String
    private var parser: JSONParser

    init(file: String) {
        self.file = file
        // A message as deep as QEMU allows, one level down in the record.
        parser = JSONParser(limits: JSONLimits(maximumDepth: 1025, maximumBytes: Int(Int32.max)))
    }

    /// Whether a line is more than white space and no comment.
    static func holdsText(_ line: UnsafeRawBufferPointer) -> Bool {
        line.first != UInt8(ascii: "#") && line.contains { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }
    }

    /// What is said of a trace whose last line was cut by a torn write.
    static func torn(file: String, line: Int, bytes: Int) -> TraceError {
        TraceError(
            file: file, line: line,
            message: "the last line has no line feed: \(bytes) bytes of a torn write are left out")
    }

    /// What is said of a compressed trace whose end is missing.
    static func cutShort(file: String, line: Int) -> TraceError {
        TraceError(file: file, line: line, message: "the compressed data end early: what follows is missing")
    }

    mutating func header(_ line: UnsafeRawBufferPointer, line number: Int) throws(TraceError) -> TraceHeader {
        try decode(line, number) { view throws(TraceDecoder.Problem) in try TraceDecoder.header(view) }
    }

    mutating func record(_ line: UnsafeRawBufferPointer, line number: Int) throws(TraceError) -> TraceRecord {
        try decode(line, number) { view throws(TraceDecoder.Problem) in try TraceDecoder.record(view, line: number) }
    }

    private mutating func decode<R>(
        _ line: UnsafeRawBufferPointer, _ number: Int, _ body: (JSONView) throws(TraceDecoder.Problem) -> R
    ) throws(TraceError) -> R {
        // First what JSON says about the line, within it what the format says.
        let outcome: Result<R, TraceDecoder.Problem>
        do throws(JSONError) {
            outcome = try parser.parse(line).withRoot { root in
                Result { () throws(TraceDecoder.Problem) in try body(root) }
            }
        } catch {
            throw TraceError(
                file: file, line: number, column: error.offset.map { $0 + 1 } ?? 0, message: error.message)
        }
        switch outcome {
        case .success(let value): return value
        case .failure(let problem):
            throw TraceError(
                file: file, line: number, column: Self.column(of: problem.key, in: line), message: problem.message)
        }
    }

    private static func column(of key: String?, in line: UnsafeRawBufferPointer) -> Int {
        guard let key, let member = TopLevelMember.named(key, in: Array(line)[...]) else { return 1 }
        return member.value.lowerBound + 1
    }
}

/// Decodes single lines of a trace.
public struct RecordDecoder: ~Copyable {
    private var decoder: LineDecoder

    /// - Parameter file: What errors call the trace.
    public init(file: String) { decoder = LineDecoder(file: file) }

    /// The record that a line without its line feed is.
    public mutating func record(_ line: UnsafeRawBufferPointer, line number: Int) throws(TraceError) -> TraceRecord {
        try decoder.record(line, line: number)
    }
}
