internal import CLinux
internal import Glibc
import QMPTransport

/// Whether the process behind a monitor is the QEMU that serves it.
///
/// The kernel names whoever called listen(2) on the socket, which a service manager or a relay may have been. Only a
/// process that still holds the listening socket and whose executable is a QEMU may be watched as the guest's process,
/// or killed.
struct QEMUIdentity: Sendable {
    let peer: QMPPeer?
    /// Why it is not proven that this process is the QEMU; `nil` if it is.
    let doubt: String?

    init(peer: QMPPeer?, socketPath: String) {
        self.peer = peer
        doubt = Self.doubt(about: peer, socketPath: socketPath)
    }

    /// Whether the QEMU has ended; `nil` if nothing tells.
    var hasEnded: Bool? { doubt == nil ? peer?.hasExited : nil }

    /// Sends SIGKILL through the pidfd that was taken when we connected.
    ///
    /// - Returns: Why not; `nil` if it was sent or the process has ended.
    func kill() -> String? {
        guard let peer else { return "the kernel does not tell which process serves the monitor" }
        if let doubt { return "process \(peer.pid) is not known to be the QEMU: \(doubt)" }
        guard let pidfd = peer.pidfd else { return "process \(peer.pid) cannot be held by a pidfd" }
        guard godwit_pidfd_send_signal(pidfd, SIGKILL) == 0 || errno == ESRCH else {
            return "process \(peer.pid): \(String(cString: strerror(errno)))"
        }
        return nil
    }

    /// The command line as `/proc` shows it.
    var commandLine: [String]? {
        guard doubt == nil, let peer, let bytes = Self.contents("/proc/\(peer.pid)/cmdline") else { return nil }
        let arguments = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return arguments.isEmpty ? nil : arguments
    }

    /// What names the binary exactly: device, inode and time of modification.
    var binaryKey: String? {
        guard doubt == nil, let peer else { return nil }
        var information = stat()
        guard stat("/proc/\(peer.pid)/exe", &information) == 0 else { return nil }
        return
            "\(information.st_dev)-\(information.st_ino)-\(information.st_mtim.tv_sec).\(information.st_mtim.tv_nsec)"
    }

    private static func doubt(about peer: QMPPeer?, socketPath: String) -> String? {
        guard let peer, peer.pid > 0 else { return "the kernel does not tell which process serves the monitor" }
        guard let executable = link("/proc/\(peer.pid)/exe") else { return "its executable cannot be read" }
        let name = executable.split(separator: "/").last.map(String.init) ?? executable
        guard name.hasPrefix("qemu-") || name.hasPrefix("qemu_") || name == "qemu" else {
            return "its executable is \(executable)"
        }
        // Nearly always the path is the very one that it was bound to, and then nothing has to be resolved.
        if let inodes = listeningInodes(of: socketPath, process: peer.pid, isExact: true), !inodes.isEmpty,
            holds(inodes, process: peer.pid)
        {
            return nil
        }
        guard let inodes = listeningInodes(of: socketPath, process: peer.pid), !inodes.isEmpty else {
            return "no listening socket of it is bound to \(socketPath)"
        }
        guard holds(inodes, process: peer.pid) else { return "it does not hold the listening socket" }
        return nil
    }

    /// The inodes of the listening sockets that are bound to the path, seen from the process's network namespace.
    private static func listeningInodes(of path: String, process: Int32, isExact: Bool = false) -> Set<String>? {
        guard let table = contents("/proc/\(process)/net/unix") else { return nil }
        var inodes: Set<String> = []
        let wanted = isExact ? path : resolved(path)
        let end = Array(" \(path)".utf8)
        for line in table.split(separator: UInt8(ascii: "\n")).dropFirst() {
            if isExact, !line.suffix(end.count).elementsEqual(end) { continue }
            let fields = String(decoding: line, as: UTF8.self).split(
                separator: " ", maxSplits: 7, omittingEmptySubsequences: true)
            // Num RefCount Protocol Flags Type St Inode Path; flag 0x10000 is "accepts connections".
            guard fields.count == 8, let flags = UInt32(fields[3], radix: 16), flags & 0x10000 != 0 else { continue }
            let bound = String(fields[7])
            let isSame =
                bound == path || (!isExact && resolved(bound) == wanted)
                || (!isExact && !bound.hasPrefix("/") && resolved("/proc/\(process)/cwd/\(bound)") == wanted)
            if isSame { inodes.insert(String(fields[6])) }
        }
        return inodes
    }

    private static func holds(_ inodes: Set<String>, process: Int32) -> Bool {
        let directory = "/proc/\(process)/fd"
        guard let handle = opendir(directory) else { return false }
        defer { closedir(handle) }
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let target = link("\(directory)/\(name)"), target.hasPrefix("socket:["), target.hasSuffix("]") else {
                continue
            }
            if inodes.contains(String(target.dropFirst(8).dropLast())) { return true }
        }
        return false
    }

    private static func resolved(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink(path, &buffer, buffer.count - 1)
        guard length > 0 else { return nil }
        return String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func contents(_ path: String) -> [UInt8]? { SmallFile.read(path, limit: 8 << 20) }
}

/// Reads and replaces small files whole.
enum SmallFile {
    /// The content; `nil` if it cannot be read. What is over the limit is left out.
    static func read(_ path: String, limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while bytes.count < limit {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return bytes
    }

    /// The last bytes of a file.
    static func tail(_ path: String, bytes limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        lseek(descriptor, max(0, size - limit), SEEK_SET)
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = Glibc.read(descriptor, &buffer, limit)
        return count < 0 ? nil : Array(buffer[..<count])
    }

    /// Writes a file under another name and renames it, so that a reader never sees half of it. Failure is of no
    /// consequence to the caller.
    @discardableResult
    static func replace(_ path: String, with bytes: [UInt8]) -> Bool {
        let temporary = "\(path).\(getpid())"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
        guard written == bytes.count, rename(temporary, path) == 0 else {
            unlink(temporary)
            return false
        }
        return true
    }

    /// Creates the directory that a file is to be in.
    static func makeParent(of path: String) {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
        _ = makeDirectory(String(path[..<slash]))
    }

    /// Creates a directory that only its owner may enter, and the ones above it.
    static func makeDirectory(_ path: String) -> Bool {
        var information = stat()
        if stat(path, &information) == 0 { return information.st_mode & S_IFMT == S_IFDIR }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            guard makeDirectory(String(path[..<slash])) else { return false }
        }
        return mkdir(path, 0o700) == 0 || errno == EEXIST
    }
}
