import Glibc

/// The bytes of a trace in their order: a file's, a pipe's or from memory, decompressed if their first bytes say that
/// they are compressed.
///
/// It reads rather than maps: a mapped journal that shrinks under its reader would raise SIGBUS, and reading in
/// pieces that fit the processor's cache is no slower.
package final class ByteSource {
    package struct ReadError: Error {
        package let message: String
        package let cause: TraceError.Cause

        init(_ message: String) {
            self.message = message
            cause = .content
        }

        init(number: Int32) {
            message = systemMessage(number)
            cause = .access
        }
    }

    private enum State {
        case unknown
        case plain
        case compressed(any Decompressor)
        case ended
    }

    private var memory: ArraySlice<UInt8>
    /// What was handed out and given back.
    private var returned: ArraySlice<UInt8> = []
    private var descriptor: Int32?
    private let closes: Bool
    private var state = State.unknown
    /// Compressed bytes that are read and not decompressed yet.
    private var input: [UInt8] = []
    private var unread = 0..<0
    private var isInputOver = false
    /// The compressed bytes end in the middle of something.
    package private(set) var isCutShort = false

    private static let inputBytes = 128 << 10

    package init(bytes: [UInt8]) {
        memory = bytes[...]
        closes = false
    }

    package init(descriptor: Int32, closes: Bool) {
        memory = []
        self.descriptor = descriptor
        self.closes = closes
    }

    /// Opens a file; `-` is standard input.
    package static func open(path: String) throws(TraceError) -> ByteSource {
        guard path != "-" else { return ByteSource(descriptor: STDIN_FILENO, closes: false) }
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw TraceError(file: path, number: errno) }
        return ByteSource(descriptor: descriptor, closes: true)
    }

    deinit {
        if closes, let descriptor { close(descriptor) }
    }

    /// Fills the beginning of a buffer that has room for four bytes or more. Returns 0 at the end.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) -> Int {
        if !returned.isEmpty {
            let count = min(returned.count, buffer.count)
            buffer.copyBytes(from: returned.prefix(count))
            returned = returned.dropFirst(count)
            return count
        }
        switch state {
        case .plain: return try readInput(into: buffer)
        case .compressed(let decompressor): return try decompress(decompressor, into: buffer)
        case .ended: return 0
        case .unknown:
            // The magic is four bytes, a pipe may give one.
            var count = 0
            while count < 4 {
                let more = try readInput(into: UnsafeMutableRawBufferPointer(rebasing: buffer[count...]))
                guard more > 0 else { break }
                count += more
            }
            guard let decompressor = try Self.decompressor(for: buffer.prefix(count)) else {
                state = .plain
                return count
            }
            input = [UInt8](buffer.prefix(count))
            unread = 0..<count
            state = .compressed(decompressor)
            return try decompress(decompressor, into: buffer)
        }
    }

    /// Takes bytes back, after a look at them: they are read next.
    package func takeBack(_ bytes: [UInt8]) { returned = bytes + returned }

    private static func decompressor(
        for magic: Slice<UnsafeMutableRawBufferPointer>
    ) throws(ReadError) -> (any Decompressor)? {
        if magic.starts(with: [0x1F, 0x8B]) { return try GzipDecompressor() }
        if magic.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) { return try ZstdDecompressor() }
        return nil
    }

    private func decompress(
        _ decompressor: any Decompressor, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ReadError) -> Int {
        while true {
            if unread.isEmpty, !isInputOver {
                if input.count < Self.inputBytes { input = [UInt8](repeating: 0, count: Self.inputBytes) }
                var count = 0
                var failure: ReadError?
                input.withUnsafeMutableBytes { bytes in
                    do throws(ReadError) { count = try readInput(into: bytes) } catch { failure = error }
                }
                if let failure { throw failure }
                unread = 0..<count
                isInputOver = count == 0
            }
            if isInputOver, unread.isEmpty, decompressor.isAtBoundary {
                state = .ended
                return 0
            }
            let step = try input.withUnsafeBytes { bytes in
                Result { () throws(ReadError) in
                    try decompressor.step(UnsafeRawBufferPointer(rebasing: bytes[unread]), into: buffer)
                }
            }.get()
            unread = (unread.lowerBound + step.consumed)..<unread.upperBound
            if step.produced > 0 { return step.produced }
            if isInputOver, unread.isEmpty {
                // Whoever wrote it was killed: what is there counts.
                isCutShort = true
                state = .ended
                return 0
            }
            guard step.consumed > 0 || unread.isEmpty else { throw ReadError("the compressed data make no sense") }
        }
    }

    private func readInput(into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) -> Int {
        guard let descriptor else {
            let count = min(memory.count, buffer.count)
            buffer.copyBytes(from: memory.prefix(count))
            memory = memory.dropFirst(count)
            return count
        }
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count > 0 { return count }
            if count == 0 {
                if closes { close(descriptor) }
                self.descriptor = nil
                return 0
            }
            guard errno == EINTR else { throw ReadError(number: errno) }
        }
    }
}

/// Undoes a compression, piece by piece.
protocol Decompressor: AnyObject {
    /// Whether the input may end here.
    var isAtBoundary: Bool { get }

    /// Takes some of the input and makes some of the output.
    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ByteSource.ReadError) -> (consumed: Int, produced: Int)
}
