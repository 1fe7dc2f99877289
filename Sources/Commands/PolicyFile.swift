internal import Glibc
import Policy
import PolicyDocuments

/// Policies as a command line names them: by their name, or as a file.
enum PolicyFile {
    /// Whether a name is a file's.
    static func isFile(_ name: String) -> Bool { name.contains("/") || name.hasSuffix(".json") }

    /// What is said of a name that no policy has.
    static func unknown(_ name: String) -> String {
        "no policy is called `\(name)`; there are \(NamedPolicies.all.map(\.name).joined(separator: ", "))"
    }

    /// The document that a name stands for.
    ///
    /// - Throws: What `bytes` does.
    static func document(_ name: String) throws -> [UInt8] {
        if !isFile(name), let document = NamedPolicies.document(name) { return document.bytes }
        return try bytes(name)
    }

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
