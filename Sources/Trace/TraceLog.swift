import Glibc
import JSONC

/// How a trace is written that may become long.
public struct TraceLogOptions: Hashable, Sendable {
    /// How the bytes are written.
    public enum Compression: String, Hashable, Sendable, CaseIterable {
        /// As they are.
        case none
        /// By zstd, in parts that can be read even if nothing follows.
        case zstd
    }

    /// How the bytes are written.
    public var compression = Compression.none
    /// The size in bytes after which the trace goes on in another file; nil: never.
    public var rotateBytes: Int64?
    /// So many bytes wait at most for a disk that takes none; what comes then is lost, and counted.
    public var maximumPendingBytes = 8 << 20

    /// The defaults.
    public init() {}
}

/// A trace that is written for a long time: it goes on in another file when one is full, may be compressed, and
/// survives a full disk.
///
/// The files are `NAME.qmptrace`, `NAME.2.qmptrace` and so on; each has a header and is a trace by itself. Times go
/// on from the first.
public final class TraceLog {
    /// Something that whoever records should be told.
    public enum Notice: Hashable, Sendable {
        /// It goes on in this file.
        case continued(String)
        /// The disk takes nothing more, for this reason; records are kept for a while, then lost.
        case failed(TraceError)
        /// It takes something again. So many records are missing.
        case recovered(lost: Int)
    }

    /// The file that is written now.
    public private(set) var path: String
    /// Records that could not be kept.
    public private(set) var lostRecords = 0
    /// What should be told; whoever takes it empties it.
    public var notices: [Notice] = []

    private let firstPath: String
    private let header: TraceHeader
    private let options: TraceLogOptions
    private var writer: TraceWriter
    private var encoder = ZstdEncoder()
    private var descriptor: Int32
    /// Bytes for the file that it did not take yet.
    private var queue: [UInt8] = []
    private var part = 1
    private var partBytes: Int64 = 0
    private var failure: TraceError?
    private var untold = 0
    private var nextTry: Int64 = 0
    /// When the oldest record that was not handed to the compressor came.
    private var oldest: Int64?

    private static let retryMicroseconds: Int64 = 250_000
    /// How long and how large compressed lines are gathered: one at a time they would hardly become smaller.
    private static let gatherMicroseconds: Int64 = 200_000
    private static let gatherBytes = 64 << 10

    /// Creates the file, readable by its owner only; one that exists already is an error. The header is written at
    /// once.
    public init(creating path: String, header: TraceHeader, options: TraceLogOptions = .init()) throws(TraceError) {
        firstPath = path
        self.path = path
        self.header = header
        self.options = options
        writer = TraceWriter(header: header)
        do throws(CreateFailure) {
            descriptor = try Self.create(path)
        } catch {
            throw TraceError(file: path, number: error.code)
        }
        gather(isEnd: false)
        writeOut()
        if let failure { throw failure }
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    /// When `flush` has something to do of itself; nil: never.
    public var nextDeadline: Int64? {
        if failure != nil { return nextTry }
        return oldest.map { $0 + Self.gatherMicroseconds }
    }

    /// Appends a record, built by the closure; it gets into the file with a later `flush`.
    public func append(at microseconds: Int64, _ build: (inout TraceWriter) -> Void) {
        guard queue.count + writer.pending.count < options.maximumPendingBytes else {
            lostRecords += 1
            untold += 1
            return
        }
        build(&writer)
        oldest = oldest ?? microseconds
    }

    /// Hands to the kernel what is due at this time, in microseconds of the recording; `force`: whatever there is.
    public func flush(at now: Int64, force: Bool = false) {
        if failure != nil, now < nextTry, !force { return }
        let isDue =
            options.compression == .none || force || writer.pending.count >= Self.gatherBytes
            || (oldest.map { now - $0 >= Self.gatherMicroseconds } ?? false)
        if isDue { gather(isEnd: false) }
        let wasBroken = failure != nil
        writeOut()
        guard failure == nil else {
            nextTry = now + Self.retryMicroseconds
            return
        }
        if wasBroken { tellLoss(at: now) }
        if let limit = options.rotateBytes, partBytes >= limit { rotate(at: now) }
    }

    /// Writes what is left and closes the file.
    ///
    /// - Returns: Why something is missing; nil if nothing is.
    public func close(at now: Int64) -> TraceError? {
        guard descriptor >= 0 else { return failure }
        flush(at: now, force: true)
        if failure == nil, untold > 0 { tellLoss(at: now) }
        gather(isEnd: true)
        writeOut()
        if Glibc.close(descriptor) != 0, errno != EINTR, failure == nil {
            failure = TraceError(file: path, number: errno)
        }
        descriptor = -1
        if failure == nil, lostRecords > 0 {
            return TraceError(file: path, message: "\(lostRecords) records are missing")
        }
        return failure
    }

    // MARK: Details

    private func gather(isEnd: Bool) {
        oldest = nil
        let lines = writer.takePending()
        guard options.compression == .zstd else {
            queue += lines
            return
        }
        guard let bytes = encoder.compress(lines, isEnd: isEnd) else {
            fail(ENOMEM)
            return
        }
        queue += bytes
    }

    /// What the file does not take stays in the queue, so that it goes on at the same byte later.
    private func writeOut() {
        var written = 0
        defer {
            partBytes += Int64(written)
            queue.removeFirst(written)
        }
        while written < queue.count {
            let count = queue.withUnsafeBytes { bytes in
                bytes.baseAddress.map { write(descriptor, $0 + written, bytes.count - written) } ?? 0
            }
            if count > 0 {
                written += count
            } else if count == 0 || errno != EINTR {
                return fail(count == 0 ? EIO : errno)
            }
        }
        failure = nil
    }

    private func fail(_ code: Int32) {
        let error = TraceError(file: path, number: code)
        if failure == nil { notices.append(.failed(error)) }
        failure = error
    }

    private func tellLoss(at now: Int64) {
        notices.append(.recovered(lost: untold))
        if untold > 0 {
            writer.append(
                TraceRecord(
                    microseconds: now, member: .mark("\(untold) records are missing here: the disk took none")))
            untold = 0
            gather(isEnd: false)
            writeOut()
        }
    }

    private func rotate(at now: Int64) {
        var header = header
        var candidate = part
        while true {
            candidate += 1
            let next = Self.path(firstPath, part: candidate)
            do throws(CreateFailure) {
                let opened = try Self.create(next)
                // The file before ends as a whole.
                gather(isEnd: true)
                writeOut()
                guard failure == nil else {
                    Glibc.close(opened)
                    unlink(next)
                    nextTry = now + Self.retryMicroseconds
                    return
                }
                header.other["part"] = .integer(Int64(candidate))
                header.other["continues"] = .string(Self.name(path))
                Glibc.close(descriptor)
                descriptor = opened
                part = candidate
                path = next
                partBytes = 0
                encoder = ZstdEncoder()
                writer = TraceWriter(header: header)
                notices.append(.continued(next))
                gather(isEnd: false)
                writeOut()
                return
            } catch {
                if error.code == EEXIST, candidate < part + 10_000 { continue }
                notices.append(.failed(TraceError(file: next, number: error.code)))
                // Better one long file than none.
                partBytes = 0
                return
            }
        }
    }

    private struct CreateFailure: Error { var code: Int32 }

    private static func create(_ path: String) throws(CreateFailure) -> Int32 {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOCTTY, 0o600)
        guard descriptor >= 0 else { throw CreateFailure(code: errno) }
        _ = flock(descriptor, LOCK_EX | LOCK_NB)
        return descriptor
    }

    /// The name of a later file: the number comes before the endings that say what it is.
    static func path(_ first: String, part: Int) -> String {
        let name = name(first)
        var stem = name[...]
        for ending in [".zst", ".qmptrace"] where stem.hasSuffix(ending) { stem = stem.dropLast(ending.count) }
        if stem.isEmpty { stem = name[...] }
        return "\(first.dropLast(name.count))\(stem).\(part)\(name[stem.endIndex...])"
    }

    private static func name(_ path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }
}
