import Controller
internal import Glibc

/// Why a file could not be written.
struct OutputError: CommandProblem {
    /// The file and the reason.
    var description: String
    var outcome: CommandOutcome { .output }

    init(_ path: String, _ number: CInt) { description = "\(path): \(String(cString: strerror(number)))" }

    init(_ problem: FileDraft.Problem) {
        if problem.number == EEXIST { self.init(exists: problem.path) } else { self.init(problem.path, problem.number) }
    }

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
        do {
            let draft = try FileDraft(of: path)
            let result = try body(draft.descriptor, path)
            try draft.publish(isReplaced: isReplaced)
            return result
        } catch let problem as FileDraft.Problem {
            throw OutputError(problem)
        }
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
