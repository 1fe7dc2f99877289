internal import CLinux
internal import Glibc

/// The process at the other end of a Unix socket, as the kernel noted it when the connection was made: whoever called listen(2) on the
/// socket we connected to (usually, not always, QEMU itself), or whoever connected to ours.
///
/// It owns a pidfd, so `hasExited` stays truthful when the number is used again.
public final class QMPPeer: Sendable {
    /// Process id, as seen from our pid namespace; 0 if the process is outside of it.
    public let pid: Int32
    /// Effective user at that time.
    public let uid: UInt32
    /// A pidfd, open as long as this object lives; nil if the kernel gives none or the process is gone.
    public let pidfd: CInt?
    /// Whether the pidfd came with the socket (SO_PEERPIDFD, Linux 6.5). Otherwise it was opened by number, and
    /// names another process if the peer had exited and its number been used again before we looked.
    public let isPidfdExact: Bool

    /// Asks the kernel about a connected socket; nil if it does not tell.
    package init?(socket: CInt) {
        var pid: pid_t = 0
        var uid: uid_t = 0
        var gid: gid_t = 0
        guard godwit_peer_credentials(socket, &pid, &uid, &gid) == 0 else { return nil }
        self.pid = pid
        self.uid = uid
        let exact = godwit_peer_pidfd(socket)
        if exact >= 0 {
            _ = fcntl(exact, F_SETFD, FD_CLOEXEC)
            self.pidfd = exact
            self.isPidfdExact = true
        } else {
            let opened = pid > 0 ? godwit_pidfd_open(pid) : -1
            self.pidfd = opened >= 0 ? opened : nil
            self.isPidfdExact = false
        }
    }

    deinit {
        if let pidfd { Glibc.close(pidfd) }
    }

    /// Whether the process has ended; nil if there is no pidfd to ask.
    public var hasExited: Bool? {
        guard let pidfd else { return nil }
        var poll = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, 0) > 0
    }
}
