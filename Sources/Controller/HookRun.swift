internal import CLinux
internal import Glibc
import NIOCore
import NIOPosix

/// The user's program that is run at certain moments of an attempt.
public struct HookConfiguration: Hashable, Sendable {
    /// The program, looked up in PATH unless it holds a slash.
    public var program: String
    /// How long each run may take.
    public var milliseconds: Int

    /// A program with its bound.
    public init(program: String, milliseconds: Int) {
        self.program = program
        self.milliseconds = milliseconds
    }
}

/// One run of the hook program, beside the event loop. It has a session of its own, and with it ends what it started, if
/// it takes too long or nobody waits for it any more.
final class HookRun: Sendable {
    private let pid: pid_t
    private let pidfd: CInt
    private let program: String

    /// Starts the program; what it writes goes to our standard error.
    ///
    /// - Returns: `nil` if it could not be started; the reason is in errno.
    init?(_ configuration: HookConfiguration, variables: [String: String]) {
        program = configuration.program
        let environment = Self.environment(variables)
        let name = strdup(configuration.program)
        let values: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
        defer { (values + [name]).forEach { free($0) } }
        var arguments: [UnsafePointer<CChar>?] = [name.map { UnsafePointer($0) }]
        var pointers = values.map { $0.map { UnsafePointer<CChar>($0) } }
        arguments.append(nil)
        pointers.append(nil)
        var descriptor: CInt = -1
        pid = godwit_spawn(&arguments, &pointers, -1, STDERR_FILENO, STDERR_FILENO, &descriptor)
        pidfd = descriptor
        guard pid > 0 else { return nil }
    }

    deinit { if pidfd >= 0 { close(pidfd) } }

    /// What was wrong with the run in the end; `nil` if it exited with 0.
    func failure(within milliseconds: Int, on eventLoop: any EventLoop) -> EventLoopFuture<String?> {
        NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) { [self] in
            let isInTime = waitForEnd(milliseconds)
            if !isInTime {
                kill()
                // Nothing survives that, but a process that hangs in the kernel takes its time.
                guard waitForEnd(5000) else { return "\(program) did not end and cannot be killed" }
            }
            var code: CInt = 0
            var status: CInt = 0
            guard godwit_reap(pidfd, &code, &status) == 1 else { return "\(program): its end was not seen" }
            guard isInTime else { return "\(program) did not end within \(milliseconds) ms and was killed" }
            guard code == CInt(CLD_EXITED) else { return "\(program): signal \(status)" }
            return status == 0 ? nil : "\(program): exit status \(status)"
        }
    }

    /// Ends it and what it started.
    func kill() {
        guard godwit_pidfd_send_signal(pidfd, SIGKILL) == 0 else { return }
        // It leads a session of its own, and as long as it was not waited for, its number is nobody else's.
        Glibc.kill(-pid, SIGKILL)
    }

    private func waitForEnd(_ milliseconds: Int) -> Bool {
        let end = Clock.microseconds + Int64(milliseconds) * 1000
        while true {
            let left = end - Clock.microseconds
            guard left > 0 else { return false }
            var entry = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, CInt(clamping: (left + 999) / 1000)) > 0 { return true }
        }
    }

    /// Our own environment with these variables; those of earlier hooks, around this program, are not handed on.
    private static func environment(_ variables: [String: String]) -> [String] {
        let inherited = (SmallFile.read("/proc/self/environ", limit: 1 << 20) ?? []).split(separator: 0)
            .map { String(decoding: $0, as: UTF8.self) }
            .filter { entry in !variables.keys.contains { entry.hasPrefix("\($0)=") } }
        return inherited + variables.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }
}
