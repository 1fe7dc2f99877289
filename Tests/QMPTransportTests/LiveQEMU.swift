import Glibc
import QMPTransport
import Testing

/// A QEMU without a guest, ended with the value. A `timeout` around it ends it if the test process dies.
final class LiveQEMU: Sendable {
    static let binary: String? = ["/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64"]
        .first { access($0, X_OK) == 0 }

    let directory: TemporaryDirectory
    let pid: pid_t
    private let wrapper: pid_t

    /// `arguments` may use `DIR` for the directory.
    init(_ arguments: [String]) throws {
        let directory = try TemporaryDirectory()
        let pidFile = directory.file("pid")
        let line =
            ["timeout", "-s", "KILL", "100", try #require(Self.binary)]
            + ["-accel", "tcg", "-display", "none", "-nodefaults", "-S", "-m", "16", "-pidfile", pidFile]
            + arguments.map { argument in
                argument.split(separator: "DIR", omittingEmptySubsequences: false).joined(separator: directory.path)
            }
        var pointers: [UnsafeMutablePointer<CChar>?] = line.map { strdup($0) } + [nil]
        defer { pointers.forEach { free($0) } }
        var wrapper: pid_t = 0
        // Other tests' sockets and pipes must not stay open in it.
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        for descriptor in CInt(3)..<1000 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        defer { posix_spawn_file_actions_destroy(&actions) }
        let result = posix_spawnp(&wrapper, "timeout", &actions, nil, &pointers, environ)
        try #require(result == 0)
        self.directory = directory
        self.wrapper = wrapper
        var pid: pid_t = 0
        for _ in 0..<2000 where pid == 0 {
            pid = Self.readNumber(pidFile)
            if pid == 0 { usleep(5000) }
        }
        self.pid = pid
        try #require(pid > 0)
    }

    /// The pid file comes before the socket.
    static var configuration: QMPConfiguration {
        var configuration = QMPConfiguration()
        configuration.waitForSocket = .seconds(20)
        return configuration
    }

    var qmp: QMPAddress { .unix(path: self.directory.file("qmp")) }

    static func withMonitor() throws -> LiveQEMU {
        try LiveQEMU(["-name", "guest-1", "-qmp", "unix:DIR/qmp,server=on,wait=off"])
    }

    func kill() { Glibc.kill(self.pid, SIGKILL) }

    deinit {
        if self.pid > 0 { Glibc.kill(self.pid, SIGKILL) } else { Glibc.kill(self.wrapper, SIGTERM) }
        var status: CInt = 0
        waitpid(self.wrapper, &status, 0)
    }

    /// The pid file is complete once its line has ended.
    private static func readNumber(_ path: String) -> pid_t {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = read(file, &bytes, bytes.count)
        guard count > 0, bytes[count - 1] == UInt8(ascii: "\n") else { return 0 }
        return pid_t(String(decoding: bytes.prefix(count - 1), as: UTF8.self)) ?? 0
    }
}
