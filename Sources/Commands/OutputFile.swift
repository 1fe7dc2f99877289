internal import Glibc

/// Why a file could not be written.
struct OutputError: Error, CustomStringConvertible {
    /// The file and the reason.
    var description: String
}

/// A file that is there in whole or not at all.
enum OutputFile {
    /// Writes beside the file first and puts it in its place then; `-` is standard output.
    static func write(_ bytes: [UInt8], to path: String) throws(OutputError) {
        if path == "-" { return try writeAll(bytes, to: STDOUT_FILENO, "standard output") }
        var status = stat()
        // A pipe or a device cannot be replaced.
        if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY)
            guard descriptor >= 0 else { throw failure(path) }
            defer { close(descriptor) }
            return try writeAll(bytes, to: descriptor, path)
        }
        let temporary = "\(path).\(getpid()).part"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0o600)
        guard descriptor >= 0 else { throw failure(path) }
        var isDone = false
        defer { if !isDone { unlink(temporary) } }
        do {
            defer { close(descriptor) }
            try writeAll(bytes, to: descriptor, path)
        }
        guard rename(temporary, path) == 0 else { throw failure(path) }
        isDone = true
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: CInt, _ name: String) throws(OutputError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(descriptor, $0 + written, buffer.count - written) } ?? 0
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(name) }
            written += count
        }
    }

    private static func failure(_ path: String) -> OutputError {
        let number = errno
        return OutputError(description: "\(path): \(String(cString: strerror(number)))")
    }
}
