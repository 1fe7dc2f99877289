import Glibc
import JSONC

/// Reads a trace record by record, in constant memory.
///
/// A copy shares its place in the file with the original.
public struct TraceReader {
    private let state: State

    /// Opens a trace and reads its header. `-` is standard input.
    ///
    /// A lenient reader skips and counts lines that it cannot understand, where others throw; the header must be
    /// readable in any case.
    public init(path: String, lenient: Bool = false, maximumLineBytes: Int = 64 << 20) throws(TraceError) {
        let source = LineSource(try ByteSource.open(path: path), maximumLineBytes: maximumLineBytes)
        try self.init(source, name: path == "-" ? "standard input" : path, lenient: lenient)
    }

    /// Reads a trace from memory; `name` stands for the file's path in messages.
    public init(
        bytes: [UInt8], name: String, lenient: Bool = false, maximumLineBytes: Int = 64 << 20
    ) throws(TraceError) {
        let source = LineSource(ByteSource(bytes: bytes), maximumLineBytes: maximumLineBytes)
        try self.init(source, name: name, lenient: lenient)
    }

    /// Reads a trace that was opened before.
    public init(_ input: TraceInput, lenient: Bool = false, maximumLineBytes: Int = 64 << 20) throws(TraceError) {
        let source = LineSource(input.bytes, maximumLineBytes: maximumLineBytes)
        try self.init(source, name: input.name, lenient: lenient, warnings: input.warnings)
    }

    init(
        _ source: LineSource, name: String, lenient: Bool, warnings: [TraceWarning] = []
    ) throws(TraceError) {
        state = State(source, name: name, lenient: lenient, warnings: warnings)
        try state.readHeader()
    }

    /// So many lines that were skipped are told of, the others are only counted.
    public static let maximumWarnings = 100

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
        private var decoder: LineDecoder
        private var lineNumber = 0
        private var isToldCutShort = false
        private var lineRange = 0..<0
        private var records = 0
        private(set) var header = TraceHeader()
        private(set) var warnings: [TraceWarning]
        private(set) var skipped = 0
        private(set) var unknownMembers: [String: Int] = [:]
        private(set) var lastMember: String?

        private static let maximumUnknownMembers = 1000
        /// Some hours of the fastest trace that a QEMU can produce; beyond it the input does not end.
        private static let maximumRecords = 1 << 32

        init(_ source: LineSource, name: String, lenient: Bool, warnings: [TraceWarning]) {
            self.warnings = warnings
            self.source = source
            self.name = name
            self.lenient = lenient
            self.decoder = LineDecoder(file: name)
        }

        var line: ArraySlice<UInt8> { source.buffer[lineRange] }

        func readHeader() throws(TraceError) {
            while let range = try nextLine() {
                guard holdsText(range) else { continue }
                header = try decode(range) { decoder, bytes throws(TraceError) in
                    try decoder.header(bytes, line: lineNumber)
                }
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
                    let record = try decode(range) { decoder, bytes throws(TraceError) in
                        try decoder.record(bytes, line: lineNumber)
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
            do throws(ByteSource.ReadError) { line = try source.next() } catch { throw failure(error) }
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
                    warn(.torn, LineDecoder.torn(file: name, line: lineNumber, bytes: range.count))
                }
                fallthrough
            case .end:
                if source.isCutShort, !isToldCutShort {
                    isToldCutShort = true
                    warn(.torn, LineDecoder.cutShort(file: name, line: lineNumber))
                }
                return nil
            }
        }

        private func holdsText(_ range: Range<Int>) -> Bool {
            source.buffer.withUnsafeBytes { LineDecoder.holdsText(UnsafeRawBufferPointer(rebasing: $0[range])) }
        }

        private func decode<R>(
            _ range: Range<Int>, _ body: (inout LineDecoder, UnsafeRawBufferPointer) throws(TraceError) -> R
        ) throws(TraceError) -> R {
            try source.buffer.withUnsafeBytes { bytes in
                Result { () throws(TraceError) in
                    try body(&decoder, UnsafeRawBufferPointer(rebasing: bytes[range]))
                }
            }.get()
        }

        private func warn(_ kind: TraceWarning.Kind, _ error: TraceError) {
            // The torn line is the last one: it always has its place.
            guard kind == .torn || warnings.count < TraceReader.maximumWarnings else { return }
            warnings.append(TraceWarning(kind: kind, error: error))
        }

        private func failure(_ error: ByteSource.ReadError) -> TraceError {
            TraceError(file: name, error)
        }
    }
}

/// What an errno means, in the C library's words.
package func systemMessage(_ number: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
