import Glibc

/// Cuts a file, a pipe or bytes in memory into lines.
///
/// It reads rather than maps: a mapped journal that shrinks under its reader would raise SIGBUS.
final class LineSource {
    enum Line: Equatable {
        /// A line without its line feed, as a range of `buffer`.
        case complete(Range<Int>)
        /// The rest of the file, which has no line feed.
        case torn(Range<Int>)
        /// A line beyond the limit; it was skipped.
        case tooLong
        case end
    }

    struct ReadError: Error { let number: Int32 }

    private(set) var buffer: [UInt8]
    /// What is read but not handed out yet.
    private var unread: Range<Int>
    private var descriptor: Int32?
    private let closes: Bool
    private let maximumLineBytes: Int

    init(bytes: [UInt8], maximumLineBytes: Int) {
        self.buffer = bytes
        self.unread = 0..<bytes.count
        self.descriptor = nil
        self.closes = false
        self.maximumLineBytes = max(maximumLineBytes, 1)
    }

    init(descriptor: Int32, closes: Bool, maximumLineBytes: Int, chunk: Int = 256 << 10) {
        self.buffer = [UInt8](repeating: 0, count: max(chunk, 1))
        self.unread = 0..<0
        self.descriptor = descriptor
        self.closes = closes
        self.maximumLineBytes = max(maximumLineBytes, 1)
    }

    deinit {
        if closes, let descriptor { close(descriptor) }
    }

    /// The first bytes, for a look at the file's magic.
    func peek(_ count: Int) throws(ReadError) -> [UInt8] {
        while unread.count < count, try fill() {}
        return Array(buffer[unread].prefix(count))
    }

    func next() throws(ReadError) -> Line {
        var searched = 0
        var skipping = false
        while true {
            if let feed = lineFeed(from: unread.lowerBound + searched) {
                let line = unread.lowerBound..<feed
                unread = (feed + 1)..<unread.upperBound
                return skipping || line.count > maximumLineBytes ? .tooLong : .complete(line)
            }
            if unread.count > maximumLineBytes {
                skipping = true
                unread = unread.upperBound..<unread.upperBound
            }
            searched = unread.count
            guard try fill() else {
                if skipping { return .tooLong }
                guard !unread.isEmpty else { return .end }
                let rest = unread
                unread = unread.upperBound..<unread.upperBound
                return .torn(rest)
            }
        }
    }

    private func lineFeed(from start: Int) -> Int? {
        buffer.withUnsafeBytes { bytes in
            guard start < unread.upperBound, let base = bytes.baseAddress,
                let found = memchr(base + start, 0x0A, unread.upperBound - start)
            else { return nil }
            return UnsafeRawPointer(found) - base
        }
    }

    /// Reads more behind `unread`. Returns false at the end of the file.
    private func fill() throws(ReadError) -> Bool {
        guard let descriptor else { return false }
        if unread.lowerBound > 0 {
            let count = unread.count
            let start = unread.lowerBound
            buffer.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress, count > 0 else { return }
                memmove(base, base + start, count)
            }
            unread = 0..<count
        }
        if unread.upperBound == buffer.count {
            buffer.append(contentsOf: repeatElement(0, count: buffer.count))
        }
        let end = unread.upperBound
        while true {
            let count = buffer.withUnsafeMutableBytes { bytes in
                bytes.baseAddress.map { read(descriptor, $0 + end, bytes.count - end) } ?? 0
            }
            if count > 0 {
                unread = 0..<(end + count)
                return true
            }
            if count == 0 {
                if closes { close(descriptor) }
                self.descriptor = nil
                return false
            }
            guard errno == EINTR else { throw ReadError(number: errno) }
        }
    }
}
