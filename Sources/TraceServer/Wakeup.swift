import Glibc

/// A pipe by which one thread makes another one's poll(2) return.
final class Wakeup: Sendable {
    /// What the other thread polls.
    let descriptor: CInt
    private let writer: CInt

    /// Fails with an errno.
    init() throws(WakeupFailure) {
        var descriptors: (CInt, CInt) = (-1, -1)
        let code = withUnsafeMutablePointer(to: &descriptors) { pointer in
            pointer.withMemoryRebound(to: CInt.self, capacity: 2) { Glibc.pipe($0) }
        }
        guard code == 0 else { throw WakeupFailure(code: errno) }
        (descriptor, writer) = descriptors
        for end in [descriptor, writer] { makeNonBlocking(end) }
    }

    deinit {
        close(descriptor)
        close(writer)
    }

    /// The other thread's poll returns.
    func notify() {
        var byte: UInt8 = 0
        // A full pipe wakes as well as one with another byte.
        _ = write(writer, &byte, 1)
    }

    /// The next poll waits again.
    func drain() {
        withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
            while read(descriptor, buffer.baseAddress, buffer.count) == buffer.count {}
        }
    }

    /// Blocks until it was notified.
    func wait() {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, -1) < 0, errno == EINTR {}
    }
}

struct WakeupFailure: Error {
    var code: CInt
}

func makeNonBlocking(_ descriptor: CInt) {
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
}
