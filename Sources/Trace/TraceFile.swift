import Glibc
public import JSONC

/// A trace being written to a file. Appending only builds lines in memory; `flush` is the one system call.
public final class TraceFile {
    /// The file's path.
    public let path: String
    /// The lines that were not flushed yet.
    public private(set) var writer: TraceWriter
    private var descriptor: Int32
    private let closes: Bool

    /// Creates the file, readable by its owner only, and leaves the header to the first flush. `-` is standard output.
    ///
    /// An existing file is an error unless `replacing` is true.
    public init(creating path: String, header: TraceHeader, replacing: Bool = false) throws(TraceError) {
        self.path = path
        // Nothing pending yet: a file that this initializer refuses must not be written to.
        self.writer = TraceWriter(continuingAfterLines: 0)
        self.closes = path != "-"
        if closes {
            descriptor = open(
                path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | (replacing ? 0 : O_EXCL), 0o600)
        } else {
            descriptor = STDOUT_FILENO
        }
        guard descriptor >= 0 else { throw TraceError(file: path, number: errno) }
        if closes { try lock() }
        if closes, replacing, ftruncate(descriptor, 0) != 0, errno != EINVAL {
            throw TraceError(file: path, number: errno)
        }
        self.writer = TraceWriter(header: header)
    }

    /// Continues an existing trace, such as the journal of a process that died. A torn last line is cut off first, so
    /// that the next record does not become a part of it.
    public init(continuing path: String) throws(TraceError) {
        self.path = path
        self.closes = true
        self.writer = TraceWriter(continuingAfterLines: 0)
        descriptor = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw TraceError(file: path, number: errno) }
        try lock()
        // The header must be one of ours before anything is changed.
        _ = try TraceReader(path: path)
        let (lines, length) = try countLines()
        guard ftruncate(descriptor, length) == 0 else { throw TraceError(file: path, number: errno) }
        self.writer = TraceWriter(continuingAfterLines: lines)
    }

    deinit {
        try? flush()
        if closes, descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Appends a record whose value is JSON already; see `TraceWriter`.
    @discardableResult
    public func append(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        member: StaticString, rawJSON: some Collection<UInt8>
    ) -> Int {
        writer.append(
            microseconds: microseconds, side: side, connection: connection, qemu: qemu, attempt: attempt,
            member: member,
            rawJSON: rawJSON
        )
    }

    /// Appends bytes from a QMP connection: verbatim if they are one JSON text, else as `raw`; see `TraceWriter`.
    @discardableResult
    public func appendMessage(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        member: StaticString, bytes: UnsafeRawBufferPointer, checkedBy parser: inout JSONParser
    ) -> Int {
        writer.appendMessage(
            microseconds: microseconds, side: side, connection: connection, qemu: qemu, attempt: attempt,
            member: member,
            bytes: bytes, checkedBy: &parser
        )
    }

    /// Appends bytes from QEMU that were no message; see `TraceWriter`.
    @discardableResult
    public func append(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        raw bytes: some Collection<UInt8>
    ) -> Int {
        writer.append(
            microseconds: microseconds, side: side, connection: connection, qemu: qemu, attempt: attempt, raw: bytes
        )
    }

    /// Appends a record; see `TraceWriter`.
    @discardableResult
    public func append(_ record: TraceRecord) -> Int { writer.append(record) }

    /// Hands everything pending to the kernel, in one `write(2)` as a rule. What could not be written stays pending, so
    /// that a later flush goes on at the same byte.
    public func flush() throws(TraceError) {
        guard !writer.pending.isEmpty else { return }
        guard descriptor >= 0 else { throw TraceError(file: path, number: EBADF) }
        var written = 0
        defer { writer.removePending(written) }
        while written < writer.pending.count {
            let count = writer.pending.withUnsafeBytes { buffer in
                buffer.baseAddress.map { write(descriptor, $0 + written, buffer.count - written) } ?? 0
            }
            if count > 0 {
                written += count
            } else if count < 0, errno == EAGAIN {
                // Standard output may be a pipe that somebody made non-blocking.
                var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = Glibc.poll(&poll, 1, -1)
            } else if count == 0 || errno != EINTR {
                throw TraceError(file: path, number: count == 0 ? EIO : errno)
            }
        }
    }

    /// Flushes and closes the file. Appending further lines is harmless, but they cannot be flushed.
    public func close() throws(TraceError) {
        try flush()
        guard closes, descriptor >= 0 else { return }
        let result = Glibc.close(descriptor)
        let number = errno
        descriptor = -1
        // Linux has closed the file even if it reports EINTR; other errors tell of writes that came to nothing.
        guard result == 0 || number == EINTR else { throw TraceError(file: path, number: number) }
    }

    /// Two writers of one journal would each believe that the other's acts were its own.
    private func lock() throws(TraceError) {
        guard flock(descriptor, LOCK_EX | LOCK_NB) != 0 else { return }
        if errno == EWOULDBLOCK { throw TraceError(file: path, message: "another process is writing this trace") }
        // File systems without locks have none to hold: anything else is no reason to refuse.
    }

    /// The number of complete lines, and where the last of them ends.
    private func countLines() throws(TraceError) -> (lines: Int, length: off_t) {
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        var (lines, length, offset) = (0, off_t(0), off_t(0))
        while true {
            let count = chunk.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, offset) }
            if count < 0 {
                guard errno == EINTR else { throw TraceError(file: path, number: errno) }
                continue
            }
            guard count > 0 else { return (lines, length) }
            for index in 0..<count where chunk[index] == 0x0A {
                lines += 1
                length = offset + off_t(index) + 1
            }
            offset += off_t(count)
        }
    }
}
