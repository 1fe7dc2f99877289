internal import Glibc
import Policy
import PolicyDocuments

/// A policy on disk.
enum PolicyFile {
    /// The bytes of a file, if it is not too large for a policy.
    ///
    /// - Throws: `InputError` if it cannot be read, `PolicyDocumentError` if it is too large.
    static func bytes(_ path: String) throws -> [UInt8] {
        func failure() -> InputError { InputError(description: "\(path): \(String(cString: strerror(errno)))") }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw failure() }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure() }
            guard count > 0 else { return bytes }
            bytes += chunk.prefix(count)
            guard bytes.count <= ConvergencePolicy.maximumDocumentBytes else {
                throw PolicyDocumentError(
                    file: path, message: "larger than \(ConvergencePolicy.maximumDocumentBytes) bytes")
            }
        }
    }
}
