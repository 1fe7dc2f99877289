import CZstd

/// Compresses a stream into zstd frames whose flushed parts can be read even if nothing ever follows.
struct ZstdEncoder: ~Copyable {
    private let context: OpaquePointer?
    private var inFrame = 0

    /// After so many bytes of input a frame ends and another one begins, so that damage to one costs no more than it.
    private static let frameBytes = 1 << 20

    /// A compressor of zstd's default level, with a checksum for each frame.
    init() {
        context = ZSTD_createCCtx()
        if let context { _ = ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1) }
    }

    deinit { _ = context.map { ZSTD_freeCCtx($0) } }

    /// What the input becomes; all of it can be decompressed from what was returned so far. Nil if the library fails,
    /// for want of memory.
    mutating func compress(_ input: [UInt8], isEnd: Bool = false) -> [UInt8]? {
        guard let context else { return nil }
        inFrame += input.count
        let endsFrame = isEnd ? inFrame > 0 : inFrame >= Self.frameBytes
        guard !input.isEmpty || endsFrame else { return [] }
        if endsFrame { inFrame = 0 }
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(input.count) + 64)
        var written = 0
        let isDone = input.withUnsafeBytes { bytes in
            var source = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
            while true {
                let left = output.withUnsafeMutableBytes { room in
                    var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: written)
                    defer { written = target.pos }
                    return ZSTD_compressStream2(context, &target, &source, endsFrame ? ZSTD_e_end : ZSTD_e_flush)
                }
                if ZSTD_isError(left) != 0 { return false }
                if left == 0 { return true }
                output.append(contentsOf: repeatElement(0, count: left + 64))
            }
        }
        return isDone ? Array(output[..<written]) : nil
    }
}
