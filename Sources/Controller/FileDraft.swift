internal import CLinux
internal import Glibc

/// A file that is being written: until it is published it has no name where the file system can do that, and whatever
/// becomes of this program, no part of it is left.
public final class FileDraft {
    /// Why it cannot be written.
    public struct Problem: Error, Hashable, Sendable {
        /// The file.
        public var path: String
        /// The number of the system's error; `EEXIST` for one that is there and must not be replaced.
        public var number: CInt

        init(_ path: String, _ number: CInt) {
            self.path = path
            self.number = number
        }
    }

    /// Open for writing.
    public let descriptor: CInt
    private let path: String
    /// The name it has meanwhile: where there is no other way, and for the moment in which it replaces another file.
    private var temporary: String?

    /// Begins a file in the directory that it is to be in.
    public init(of path: String) throws(Problem) {
        self.path = path
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let unnamed = godwit_open_unnamed(directory)
        // Not every file system can do it: FUSE, NFS.
        guard unnamed < 0, errno == EOPNOTSUPP || errno == EISDIR else {
            descriptor = unnamed
            guard unnamed >= 0 else { throw Problem(path, errno) }
            return
        }
        let name = Self.temporaryName(path)
        descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0o600)
        guard descriptor >= 0 else { throw Problem(path, errno) }
        temporary = name
    }

    deinit {
        close(descriptor)
        if let temporary { unlink(temporary) }
    }

    private static func temporaryName(_ path: String) -> String { "\(path).\(getpid()).part" }

    /// Gives it its name.
    ///
    /// - Parameter isReplaced: Whether a file of that name is.
    public func publish(isReplaced: Bool) throws(Problem) {
        // Some file systems tell only now that there is no room: of another descriptor, as this one is closed once.
        let other = dup(descriptor)
        guard other >= 0, close(other) == 0 || errno == EINTR else { throw Problem(path, errno) }
        if temporary == nil {
            if link(to: path) { return }
            guard errno == EEXIST else { throw Problem(path, errno) }
            guard isReplaced else { throw Problem(path, EEXIST) }
            let name = Self.temporaryName(path)
            guard link(to: name) else { throw Problem(path, errno) }
            temporary = name
        }
        guard let temporary else { return }
        guard rename(temporary, path) == 0 else { throw Problem(path, errno) }
        self.temporary = nil
    }

    private func link(to name: String) -> Bool {
        linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0
    }
}
