import Glibc

/// A temporary directory of ours (mode 0700, a short path, so that socket paths stay below the limit of 107 bytes).
/// It is removed with everything in it by ``remove()`` or when the last reference goes.
public final class LabDirectory: Sendable {
    /// The absolute path.
    public let path: String

    /// Makes `TMPDIR/godwit-XXXXXX`; in /tmp when TMPDIR is not set or too long for sockets below it.
    public init() throws(LabError) {
        var parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        if parent.utf8.first != UInt8(ascii: "/") || parent.utf8.count > 60 { parent = "/tmp" }
        var template = Array("\(parent)/godwit-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        guard let made else { throw LabError(.file, "cannot make a directory in \(parent): \(systemMessage())") }
        path = made
    }

    /// The path of a file in the directory.
    public func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Removes the directory with everything in it. Harmless when it is gone already.
    public func remove() { removeTree(path) }

    deinit { remove() }
}
