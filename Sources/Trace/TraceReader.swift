import Glibc
import JSONC

/// Reads a trace record by record, in constant memory.
///
/// A copy shares its place in the file with the original.
public struct TraceReader {
    private let state: State

    /// Opens a trace and reads its header. `-` is standard input.
    ///
    /// A lenient reader skips and counts lines that it cannot understand, where others throw; the header must be readable
    /// in any case.
    public init(path: String, lenient: Bool = false, maximumLineBytes: Int = 64 << 20) throws(TraceError) {
        let source: LineSource
        if path == "-" {
            source = LineSource(descriptor: STDIN_FILENO, closes: false, maximumLineBytes: maximumLineBytes)
        } else {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
            guard descriptor >= 0 else { throw TraceError(file: path, message: systemMessage(errno)) }
            source = LineSource(descriptor: descriptor, closes: true, maximumLineBytes: maximumLineBytes)
        }
        try self.init(source, name: path == "-" ? "standard input" : path, lenient: lenient)
    }

    /// Reads a trace from memory; `name` stands for the file's path in messages.
    public init(
        bytes: [UInt8], name: String, lenient: Bool = false, maximumLineBytes: Int = 64 << 20
    ) throws(TraceError) {
        let source = LineSource(bytes: bytes, maximumLineBytes: maximumLineBytes)
        try self.init(source, name: name, lenient: lenient)
    }

    init(_ source: LineSource, name: String, lenient: Bool) throws(TraceError) {
        state = State(source, name: name, lenient: lenient)
        try state.readHeader()
    }

    /// The first line.
    public var header: TraceHeader { state.header }

    /// The next record; nil at the end. After an error it goes on with the next line.
    public mutating func next() throws(TraceError) -> TraceRecord? { try state.next() }

    /// What was left out so far: a torn last line, and in lenient mode the lines skipped (the first hundred of them).
    public var warnings: [TraceWarning] { state.warnings }

    /// The number of lines that a lenient reader skipped so far.
    public var skipped: Int { state.skipped }

    /// How often each member appeared so far that this version of the format does not know.
    public var unknownMembers: [String: Int] { state.unknownMembers }

    /// The record that `next` returned last as it stands in the file, without its line feed.
    public var lineBytes: [UInt8] { Array(state.line) }

    /// The value of the last record's member as it stands in the file, such as the message of a `recv` as QEMU sent it.
    /// Nil if there is no last record or the member's name is spelt with escapes.
    public var verbatimValue: [UInt8]? {
        guard let name = state.lastMember, let member = TopLevelMember.named(name, in: state.line) else { return nil }
        return Array(state.line[member.value])
    }
}

extension TraceReader {
    private final class State {
        private let source: LineSource
        private let name: String
        private let lenient: Bool
        private var parser: JSONParser
        private var lineNumber = 0
        private var lineRange = 0..<0
        private var records = 0
        private(set) var header = TraceHeader()
        private(set) var warnings: [TraceWarning] = []
        private(set) var skipped = 0
        private(set) var unknownMembers: [String: Int] = [:]
        private(set) var lastMember: String?

        private static let maximumWarnings = 100
        private static let maximumUnknownMembers = 1000
        /// Some hours of the fastest trace that a QEMU can produce; beyond it the input does not end.
        private static let maximumRecords = 1 << 32

        init(_ source: LineSource, name: String, lenient: Bool) {
            self.source = source
            self.name = name
            self.lenient = lenient
            // A message as deep as QEMU allows, one level down in the record.
            self.parser = JSONParser(limits: JSONLimits(maximumDepth: 1025, maximumBytes: Int(Int32.max)))
        }

        var line: ArraySlice<UInt8> { source.buffer[lineRange] }

        func readHeader() throws(TraceError) {
            let magic: [UInt8]
            do throws(LineSource.ReadError) { magic = try source.peek(4) } catch { throw failure(error) }
            if magic.starts(with: [0x1F, 0x8B]) || magic == [0x28, 0xB5, 0x2F, 0xFD] {
                throw TraceError(file: name, message: "compressed traces are not supported yet; decompress it first")
            }
            while let range = try nextLine() {
                guard holdsText(range) else { continue }
                header = try parse(range) { view, _ throws(TraceDecoder.Problem) in try TraceDecoder.header(view) }
                return
            }
            throw TraceError(
                file: name, line: lineNumber,
                message: warnings.isEmpty ? "not a trace: it is empty" : "not a trace: the header's line is cut short"
            )
        }

        func next() throws(TraceError) -> TraceRecord? {
            lastMember = nil
            while true {
                do throws(TraceError) {
                    guard let range = try nextLine() else { return nil }
                    guard holdsText(range) else { continue }
                    let record = try parse(range) { view, line throws(TraceDecoder.Problem) in
                        try TraceDecoder.record(view, line: line)
                    }
                    records += 1
                    guard records <= Self.maximumRecords else {
                        throw TraceError(file: name, line: lineNumber, message: "more records than a trace can have")
                    }
                    lineRange = range
                    lastMember = record.member.name
                    if case .unknown(let member, _) = record.member {
                        if unknownMembers[member] != nil || unknownMembers.count < Self.maximumUnknownMembers {
                            unknownMembers[member, default: 0] += 1
                        }
                    }
                    return record
                } catch {
                    // Line 0: the file itself cannot be read on.
                    guard lenient, error.line > 0, records <= Self.maximumRecords else { throw error }
                    skipped += 1
                    warn(.skipped, error)
                }
            }
        }

        private func nextLine() throws(TraceError) -> Range<Int>? {
            let line: LineSource.Line
            do throws(LineSource.ReadError) { line = try source.next() } catch { throw failure(error) }
            switch line {
            case .complete(let range):
                lineNumber += 1
                return range
            case .tooLong:
                lineNumber += 1
                throw TraceError(file: name, line: lineNumber, message: "the line exceeds the limit")
            case .torn(let range):
                lineNumber += 1
                if holdsText(range) {
                    warn(
                        .torn,
                        TraceError(
                            file: name, line: lineNumber,
                            message: "the last line has no line feed: \(range.count) bytes of a torn write are left out"
                        )
                    )
                }
                return nil
            case .end:
                return nil
            }
        }

        private func holdsText(_ range: Range<Int>) -> Bool {
            let line = source.buffer[range]
            return line.first != UInt8(ascii: "#") && line.contains { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }
        }

        private func parse<R>(
            _ range: Range<Int>, _ decode: (JSONView, Int) throws(TraceDecoder.Problem) -> R
        ) throws(TraceError) -> R {
            let number = lineNumber
            // First what JSON says about the line, within it what the format says.
            let outcome = source.buffer.withUnsafeBytes { bytes in
                Result { () throws(JSONError) -> Result<R, TraceDecoder.Problem> in
                    try parser.parse(UnsafeRawBufferPointer(rebasing: bytes[range])).withRoot { root in
                        Result { () throws(TraceDecoder.Problem) in try decode(root, number) }
                    }
                }
            }
            switch outcome {
            case .success(.success(let value)):
                return value
            case .success(.failure(let problem)):
                throw TraceError(
                    file: name, line: number, column: column(of: problem.key, in: range), message: problem.message
                )
            case .failure(let error):
                throw TraceError(
                    file: name, line: number, column: error.offset.map { $0 + 1 } ?? 0, message: error.message
                )
            }
        }

        private func column(of key: String?, in range: Range<Int>) -> Int {
            guard let key, let member = TopLevelMember.named(key, in: source.buffer[range]) else { return 1 }
            return member.value.lowerBound - range.lowerBound + 1
        }

        private func warn(_ kind: TraceWarning.Kind, _ error: TraceError) {
            // The torn line is the last one: it always has its place.
            guard kind == .torn || warnings.count < Self.maximumWarnings else { return }
            warnings.append(TraceWarning(kind: kind, error: error))
        }

        private func failure(_ error: LineSource.ReadError) -> TraceError {
            TraceError(file: name, message: systemMessage(error.number))
        }
    }
}

/// What an errno means, in the C library's words.
func systemMessage(_ number: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
