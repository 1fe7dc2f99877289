internal import CLinux
internal import Glibc
import Trace

/// Bytes on disk that no name leads to: they are gone with the last descriptor, however the process ends.
final class Spool {
    /// For writing. It is closed with this object.
    let descriptor: Int32
    /// How the file is called in errors.
    let name: String
    private let original: String

    /// An empty file.
    ///
    /// - Parameters:
    ///   - original: What is copied into it, for errors.
    ///   - directory: Where it lies.
    init(of original: String, in directory: String = Spool.directory) throws(TraceError) {
        self.original = original
        name = "temporary copy of \(original) in \(directory)"
        var descriptor = godwit_open_unnamed(directory)
        if descriptor < 0, errno == EOPNOTSUPP || errno == EISDIR {
            // A file system that cannot do it, such as FUSE or NFS: the name is gone again at once.
            var template = Array("\(directory)/godwit-XXXXXX".utf8CString)
            descriptor = mkstemp(&template)
            if descriptor >= 0 {
                unlink(template)
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            }
        }
        self.descriptor = descriptor
        guard descriptor >= 0 else { throw TraceError(file: name, number: errno) }
    }

    /// Where temporary files lie: `TMPDIR`, else `/tmp`.
    static var directory: String {
        guard let value = getenv("TMPDIR"), value.pointee != 0 else { return "/tmp" }
        return String(cString: value)
    }

    deinit { close(descriptor) }

    /// Opens it once more, at its start.
    func open() throws(TraceError) -> ByteSource {
        do throws(TraceError) {
            return try ByteSource.open(path: "/proc/self/fd/\(descriptor)")
        } catch {
            // That path means nothing to anybody.
            throw TraceError(file: name, message: error.message, cause: error.cause)
        }
    }

    /// Copies all that a source has.
    func fill(from source: ByteSource) throws(TraceError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count: Int
            do throws(ByteSource.ReadError) {
                count = try source.read(into: buffer)
            } catch {
                throw TraceError(file: original, error)
            }
            guard count > 0 else { return }
            try DescriptorSink.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to: descriptor, name: name)
        }
    }
}
