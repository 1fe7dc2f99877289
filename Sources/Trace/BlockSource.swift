import Glibc

/// Cuts the bytes of a trace into blocks of whole lines.
final class BlockSource {
    private let source: ByteSource
    private let file: String
    private let maximumLineBytes: Int
    /// The beginning of a line whose end is in the next block.
    private var carry: [UInt8] = []
    /// How many bytes were read.
    private var position = 0
    private var isOver = false
    /// The rest of a line that is too long is being left out.
    private var isSkipping = false

    /// The room that a read needs.
    private static let minimumRoom = 4

    init(_ source: ByteSource, file: String, maximumLineBytes: Int) {
        self.source = source
        self.file = file
        self.maximumLineBytes = max(maximumLineBytes, 1)
    }

    /// Fills a block. Returns false if there is nothing more; the last block may have no lines.
    func fill(_ block: TraceBlock) -> Bool {
        block.tornBytes = 0
        block.failure = nil
        block.isCutShort = false
        block.endsTooLong = false
        block.used = 0..<0
        guard !isOver else { return false }
        // What is carried may come from a block that had grown and fill this one: a read into no room would look like
        // the end of the trace.
        if carry.count > block.capacity - Self.minimumRoom {
            block.grow(to: 2 * (carry.count + Self.minimumRoom), keeping: 0..<0)
        }
        block.storage.copyBytes(from: carry)
        block.offset = position - carry.count
        var count = carry.count
        carry.removeAll(keepingCapacity: true)
        do throws(ByteSource.ReadError) {
            while true {
                let room = UnsafeMutableRawBufferPointer(rebasing: block.storage[count..<block.capacity])
                let more = try source.read(into: room)
                position += more
                if more == 0 {
                    isOver = true
                    finish(block, count)
                    return true
                }
                if isSkipping {
                    // What follows the line feed is moved to the front, once for such a line.
                    guard let feed = room.prefix(more).firstIndex(of: 0x0A) else { continue }
                    isSkipping = false
                    let rest = more - feed - 1
                    block.offset = position - rest
                    if rest > 0, let base = room.baseAddress { memmove(base, base + feed + 1, rest) }
                    count += rest
                } else {
                    count += more
                }
                // Too little room for another read.
                guard block.capacity - count < Self.minimumRoom else { continue }
                if let feed = Self.lastLineFeed(block.storage, count) {
                    block.used = 0..<(feed + 1)
                    carry.append(contentsOf: block.storage[(feed + 1)..<count])
                    return true
                }
                guard count <= maximumLineBytes else {
                    cut(block, count)
                    isSkipping = true
                    return true
                }
                block.grow(to: block.capacity * 2, keeping: 0..<count)
            }
        } catch {
            isOver = true
            block.failure = TraceError(file: file, error)
            block.used = 0..<((Self.lastLineFeed(block.storage, count) ?? -1) + 1)
            return true
        }
    }

    private func finish(_ block: TraceBlock, _ count: Int) {
        let feed = Self.lastLineFeed(block.storage, count) ?? -1
        block.isCutShort = source.isCutShort
        guard count - feed - 1 <= maximumLineBytes else {
            cut(block, count)
            return
        }
        block.used = 0..<(feed + 1)
        let rest = UnsafeRawBufferPointer(rebasing: block.storage[(feed + 1)..<count])
        if !rest.isEmpty, LineDecoder.holdsText(rest) { block.tornBytes = rest.count }
    }

    /// Ends a block with a line that is too long to be kept.
    private func cut(_ block: TraceBlock, _ count: Int) {
        block.endsTooLong = true
        block.storage[count] = 0x0A
        block.used = 0..<(count + 1)
    }

    private static func lastLineFeed(_ bytes: UnsafeMutableRawBufferPointer, _ count: Int) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        var end = count
        // Eight at a time while none of them is one: no byte of the difference is zero.
        while end >= 8 {
            let word = base.loadUnaligned(fromByteOffset: end - 8, as: UInt64.self) ^ 0x0A0A_0A0A_0A0A_0A0A
            guard (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 == 0 else { break }
            end -= 8
        }
        while end > 0 {
            end -= 1
            if bytes[end] == 0x0A { return end }
        }
        return nil
    }
}
