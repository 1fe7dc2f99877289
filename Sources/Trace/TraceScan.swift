import Glibc

/// Reads a trace in blocks, many lines at a time and on several threads, in constant memory.
///
/// What comes out is what `TraceReader` reads, in the same order; lines that look like one decoded before are handed
/// out as that one's shape and what is different.
public final class TraceScan {
    /// The first line.
    public let header: TraceHeader
    /// The file's name, for messages.
    public let name: String
    /// What was left out at the end, when it is reached.
    public private(set) var warnings: [TraceWarning]

    private let source: BlockSource
    private let first: TraceBlock
    private let firstLine: Int
    private let maximumLineBytes: Int
    private let blockBytes: Int

    /// Opens a trace and reads its header. `-` is standard input.
    public convenience init(path: String, maximumLineBytes: Int = 64 << 20) throws(TraceError) {
        try self.init(
            ByteSource.open(path: path), name: path == "-" ? "standard input" : path,
            maximumLineBytes: maximumLineBytes)
    }

    /// Reads a trace from memory; `name` stands for the file's path in messages.
    public convenience init(
        bytes: [UInt8], name: String, maximumLineBytes: Int = 64 << 20, blockBytes: Int = 1 << 20
    ) throws(TraceError) {
        try self.init(
            ByteSource(bytes: bytes), name: name, maximumLineBytes: maximumLineBytes, blockBytes: blockBytes)
    }

    /// Reads a trace that was opened before.
    public convenience init(_ input: TraceInput, maximumLineBytes: Int = 64 << 20) throws(TraceError) {
        try self.init(
            input.bytes, name: input.name, maximumLineBytes: maximumLineBytes, warnings: input.warnings)
    }

    init(
        _ bytes: ByteSource, name: String, maximumLineBytes: Int, blockBytes: Int = 1 << 20,
        warnings: [TraceWarning] = []
    ) throws(TraceError) {
        self.name = name
        self.warnings = warnings
        self.maximumLineBytes = maximumLineBytes
        self.blockBytes = max(blockBytes, 64)
        source = BlockSource(bytes, file: name, maximumLineBytes: maximumLineBytes)
        first = TraceBlock(capacity: self.blockBytes)
        var decoder = LineDecoder(file: name)
        var lines = 0
        while source.fill(first) {
            while let line = Self.line(in: first) {
                lines += 1
                let isTooLong = first.endsTooLong && line.upperBound + 1 == first.used.upperBound
                guard !isTooLong, line.count <= maximumLineBytes else {
                    throw TraceError(file: name, line: lines, message: "the line exceeds the limit")
                }
                first.used = (line.upperBound + 1)..<first.used.upperBound
                let bytes = UnsafeRawBufferPointer(rebasing: first.storage[line])
                guard LineDecoder.holdsText(bytes) else { continue }
                header = try decoder.header(bytes, line: lines)
                firstLine = lines + 1
                return
            }
            if let failure = first.failure { throw failure }
            if first.tornBytes > 0 {
                throw TraceError(
                    file: name, line: lines + 1, message: "not a trace: the header's line is cut short")
            }
        }
        throw TraceError(file: name, line: lines, message: "not a trace: it is empty")
    }

    private static func line(in block: TraceBlock) -> Range<Int>? {
        guard !block.used.isEmpty, let base = block.storage.baseAddress,
            let feed = memchr(base + block.used.lowerBound, 0x0A, block.used.count)
        else { return nil }
        return block.used.lowerBound..<(feed - base)
    }

    /// Hands out the blocks in their order, each with the number of its first line, until there are no more or `body`
    /// returns false.
    ///
    /// `body` runs on one thread at a time, but not always on the same one. To be called once.
    /// - Parameters:
    ///   - threads: How many threads scan, the caller's included.
    ///   - wanted: The paths of the numbers that are handed on with the lines.
    ///   - isExact: Every line is decoded in full: slow, and what the other way is measured by.
    public func forEachBlock(
        threads: Int = 1, wanted: [[StaticString]] = [], isExact: Bool = false,
        _ body: (TraceBlock, _ firstLine: Int) -> Bool
    ) throws(TraceError) {
        var line = firstLine
        var failure: TraceError?
        withoutActuallyEscaping(body) { body in
            let pipeline = BlockPipeline(
                source: source, first: first, blockBytes: blockBytes,
                scanner: { [name, maximumLineBytes] in
                    LineScanner(file: name, wanted: wanted, maximumLineBytes: maximumLineBytes)
                },
                isExact: isExact,
                consume: { block in
                    guard body(block, line) else { return false }
                    line += block.lineCount
                    if block.tornBytes > 0 {
                        self.warnings.append(
                            TraceWarning(
                                kind: .torn,
                                error: LineDecoder.torn(file: self.name, line: line, bytes: block.tornBytes)))
                        line += 1
                    }
                    if block.isCutShort {
                        self.warnings.append(
                            TraceWarning(kind: .torn, error: LineDecoder.cutShort(file: self.name, line: line - 1)))
                    }
                    failure = block.failure
                    return failure == nil
                })
            pipeline.run(threads: threads)
        }
        if let failure { throw failure }
    }
}
