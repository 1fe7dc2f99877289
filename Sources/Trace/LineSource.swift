import Glibc

/// Cuts the bytes of a trace into lines.
package final class LineSource {
    package enum Line: Equatable {
        /// A line without its line feed, as a range of `buffer`.
        case complete(Range<Int>)
        /// The rest of the file, which has no line feed.
        case torn(Range<Int>)
        /// A line beyond the limit; it was skipped.
        case tooLong
        case end
    }

    package private(set) var buffer: [UInt8]
    /// What is read but not handed out yet.
    private var unread: Range<Int>
    private let source: ByteSource
    private let maximumLineBytes: Int

    package init(_ source: ByteSource, maximumLineBytes: Int, chunk: Int = 256 << 10) {
        self.source = source
        self.buffer = [UInt8](repeating: 0, count: max(chunk, 4))
        self.unread = 0..<0
        self.maximumLineBytes = max(maximumLineBytes, 1)
    }

    /// The compressed bytes end in the middle of something.
    package var isCutShort: Bool { source.isCutShort }

    package func next() throws(ByteSource.ReadError) -> Line {
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
    private func fill() throws(ByteSource.ReadError) -> Bool {
        if unread.lowerBound > 0 {
            let count = unread.count
            let start = unread.lowerBound
            buffer.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress, count > 0 else { return }
                memmove(base, base + start, count)
            }
            unread = 0..<count
        }
        // Room for at least the magic that the source looks for.
        if buffer.count - unread.upperBound < 4 {
            buffer.append(contentsOf: repeatElement(0, count: buffer.count))
        }
        let end = unread.upperBound
        let count = try buffer.withUnsafeMutableBytes { bytes in
            Result { () throws(ByteSource.ReadError) in
                try source.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[end...]))
            }
        }.get()
        unread = unread.lowerBound..<(end + count)
        return count > 0
    }
}
