import CZlib
import CZstd

/// gzip by zlib; several members one behind the other are one stream.
final class GzipDecompressor: Decompressor {
    // zlib keeps a pointer to the stream: it must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    private(set) var isAtBoundary = true

    init() throws(ByteSource.ReadError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 16: gzip's header, and nothing else.
        let result = inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard result == Z_OK else {
            stream.deallocate()
            throw ByteSource.ReadError("no memory for zlib")
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ByteSource.ReadError) -> (consumed: Int, produced: Int) {
        let (given, room) = (min(input.count, 1 << 30), min(output.count, 1 << 30))
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(given)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(room)
        let result = inflate(stream, Z_NO_FLUSH)
        let consumed = given - Int(stream.pointee.avail_in)
        let produced = room - Int(stream.pointee.avail_out)
        switch result {
        case Z_STREAM_END:
            isAtBoundary = true
            inflateReset(stream)
        case Z_OK, Z_BUF_ERROR:
            if consumed > 0 || produced > 0 { isAtBoundary = false }
        default:
            let words = stream.pointee.msg.map { String(cString: $0) } ?? "error \(result)"
            throw ByteSource.ReadError("the gzip data are damaged: \(words)")
        }
        return (consumed, produced)
    }
}

/// Zstandard by libzstd; several frames one behind the other are one stream. libzstd's own bound of 128 MiB for a
/// window holds.
final class ZstdDecompressor: Decompressor {
    private let context: OpaquePointer
    private(set) var isAtBoundary = true

    init() throws(ByteSource.ReadError) {
        guard let context = ZSTD_createDCtx() else { throw ByteSource.ReadError("no memory for libzstd") }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ByteSource.ReadError) -> (consumed: Int, produced: Int) {
        var from = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var to = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let result = ZSTD_decompressStream(context, &to, &from)
        guard ZSTD_isError(result) == 0 else {
            throw ByteSource.ReadError(
                "the zstd data are damaged: \(ZSTD_getErrorName(result).map { String(cString: $0) } ?? "error")")
        }
        if from.pos > 0 || to.pos > 0 { isAtBoundary = result == 0 }
        return (from.pos, to.pos)
    }
}
