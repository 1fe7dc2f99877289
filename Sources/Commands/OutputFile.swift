internal import CLinux
internal import Glibc

/// Why a file could not be written.
struct OutputError: CommandProblem {
    /// The file and the reason.
    var description: String
    var outcome: CommandOutcome { .output }

    init(_ path: String, _ number: CInt) { description = "\(path): \(String(cString: strerror(number)))" }

    fileprivate init(exists path: String) { description = "\(path): exists; --force replaces it" }
}

/// A file that is there in whole or not at all.
enum OutputFile {
    /// Writes bytes; `-` is standard output. A file of that name is replaced.
    static func write(_ bytes: [UInt8], to path: String) throws {
        try make(path) { descriptor, name in try writeAll(bytes, to: descriptor, name) }
    }

    /// Has a file written and puts it in its place then; `-` is standard output, a pipe or a device is written to as it is.
    ///
    /// Until it is whole it has no name where the file system can do that: however this ends, no part of it is left.
    ///
    /// - Parameters:
    ///   - isReplaced: Whether a file of that name is.
    ///   - body: Writes to a descriptor; gets the name for its errors as well.
    /// - Throws: `OutputError`, and what `body` throws.
    static func make<R>(_ path: String, isReplaced: Bool = true, _ body: (CInt, String) throws -> R) throws -> R {
        if path == "-" { return try body(STDOUT_FILENO, "standard output") }
        var status = stat()
        let exists = stat(path, &status) == 0
        if exists, status.st_mode & S_IFMT != S_IFREG {
            let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY)
            guard descriptor >= 0 else { throw OutputError(path, errno) }
            defer { close(descriptor) }
            return try body(descriptor, path)
        }
        // Before the work is done; what comes in between is seen to when the file gets its name.
        if exists, !isReplaced { throw OutputError(exists: path) }
        let draft = try Draft(of: path)
        let result = try body(draft.descriptor, path)
        try draft.publish(isReplaced: isReplaced)
        return result
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: CInt, _ name: String) throws(OutputError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(descriptor, $0 + written, buffer.count - written) } ?? 0
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw OutputError(name, errno) }
            written += count
        }
    }
}

/// A file that is being written.
private final class Draft {
    let descriptor: CInt
    private let path: String
    /// The name it has meanwhile: where there is no other way, and for the moment in which it replaces another file.
    private var temporary: String?

    init(of path: String) throws(OutputError) {
        self.path = path
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let unnamed = godwit_open_unnamed(directory)
        // Not every file system can do it: FUSE, NFS.
        guard unnamed < 0, errno == EOPNOTSUPP || errno == EISDIR else {
            descriptor = unnamed
            guard unnamed >= 0 else { throw OutputError(path, errno) }
            return
        }
        let name = Self.temporaryName(path)
        descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0o600)
        guard descriptor >= 0 else { throw OutputError(path, errno) }
        temporary = name
    }

    deinit {
        close(descriptor)
        if let temporary { unlink(temporary) }
    }

    private static func temporaryName(_ path: String) -> String { "\(path).\(getpid()).part" }

    func publish(isReplaced: Bool) throws(OutputError) {
        // Some file systems tell only now that there is no room: of another descriptor, as this one is closed once.
        let other = dup(descriptor)
        guard other >= 0, close(other) == 0 || errno == EINTR else { throw OutputError(path, errno) }
        if temporary == nil {
            if link(to: path) { return }
            guard errno == EEXIST else { throw OutputError(path, errno) }
            guard isReplaced else { throw OutputError(exists: path) }
            let name = Self.temporaryName(path)
            guard link(to: name) else { throw OutputError(path, errno) }
            temporary = name
        }
        guard let temporary else { return }
        guard rename(temporary, path) == 0 else { throw OutputError(path, errno) }
        self.temporary = nil
    }

    private func link(to name: String) -> Bool {
        linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0
    }
}
