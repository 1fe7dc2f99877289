internal import Glibc
public import Trace

/// A file that may be of any format that can be read.
public struct ImportFile {
    /// The name, for messages.
    public let name: String
    /// What it is.
    public let format: ImportFormat
    /// The side that whoever called says it belongs to.
    public let side: TraceSide?
    private let origin: Origin

    private enum Origin {
        case path(String)
        /// What was read from a pipe.
        case spool(Spool)
        case memory([UInt8])
    }

    /// Opens a file and looks what it is. `-` is standard input.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - format: The format, if it shall not be looked for.
    ///   - side: The side that everything in it belongs to, if that is known.
    public init(path: String, format: ImportFormat? = nil, side: TraceSide? = nil) throws(TraceError) {
        let name = path == "-" ? "standard input" : path
        let source = try ByteSource.open(path: path)
        var status = stat()
        let isRegular = path != "-" && stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        try self.init(source, name: name, path: path, isRegular: isRegular, format: format, side: side)
    }

    /// Takes a file from memory.
    package init(bytes: [UInt8], name: String, format: ImportFormat? = nil) throws(TraceError) {
        try self.init(
            name: name, origin: .memory(bytes), source: ByteSource(bytes: bytes), format: format, side: nil)
    }

    /// Takes over a source that was looked at already; what was read of it was given back.
    init(
        _ source: ByteSource, name: String, path: String, isRegular: Bool, format: ImportFormat? = nil,
        side: TraceSide? = nil
    ) throws(TraceError) {
        guard !isRegular else {
            try self.init(name: name, origin: .path(path), source: source, format: format, side: side)
            return
        }
        let spool = try Spool(of: name)
        try spool.fill(from: source)
        try self.init(name: name, origin: .spool(spool), source: try spool.open(), format: format, side: side)
    }

    private init(
        name: String, origin: Origin, source: ByteSource, format: ImportFormat?, side: TraceSide?
    ) throws(TraceError) {
        self.name = name
        self.origin = origin
        self.side = side
        if let format {
            self.format = format
            return
        }
        let head: [UInt8]
        do throws(ByteSource.ReadError) {
            head = try source.head(FormatRecogniser.bytes)
        } catch {
            throw TraceError(file: name, error)
        }
        do throws(FormatRecogniser.Unknown) {
            self.format = try FormatRecogniser.recognise(head)
        } catch {
            let known = ImportFormat.allCases.map { "\n  \($0.rawValue): \($0.description)" }.joined()
            throw TraceError(
                file: name, message: "not a recording that can be read: \(error.message). Looked for were:\(known)")
        }
    }

    func open() throws(TraceError) -> ByteSource {
        switch origin {
        case .path(let path): return try ByteSource.open(path: path)
        case .memory(let bytes): return ByteSource(bytes: bytes)
        case .spool(let spool): return try spool.open()
        }
    }
}

extension ByteSource {
    /// The first bytes, fewer if there are no more.
    func head(_ limit: Int) throws(ReadError) -> [UInt8] {
        var head: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 64 << 10)
        while head.count < limit {
            let count = try readBlock(&block)
            guard count > 0 else { break }
            head.append(contentsOf: block[..<count])
        }
        return head
    }

    /// Fills the beginning of a block.
    func readBlock(_ block: inout [UInt8]) throws(ReadError) -> Int {
        try block.withUnsafeMutableBytes { buffer in
            Result { () throws(ReadError) in try read(into: buffer) }
        }.get()
    }
}

/// Where lines go that were made in memory.
enum DescriptorSink {
    static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, name: String) throws(TraceError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.baseAddress.map { Glibc.write(descriptor, $0 + written, bytes.count - written) } ?? 0
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw TraceError(file: name, message: String(cString: strerror(count == 0 ? EIO : errno)))
            }
            written += count
        }
    }
}
