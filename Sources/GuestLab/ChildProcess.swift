import CLinux
import Glibc
import Synchronization

/// How a process ended.
public enum ExitStatus: Hashable, Sendable, CustomStringConvertible {
    /// It ended by itself with this status.
    case exited(Int32)
    /// This signal ended it.
    case signalled(Int32)

    /// "exit status 1", "signal 9".
    public var description: String {
        switch self {
        case .exited(let status): "exit status \(status)"
        case .signalled(let signal): "signal \(signal)"
        }
    }
}

/// A child that is killed when the last reference to it goes, or when this process ends in whatever way. It has a session of its own,
/// so Ctrl-C on the terminal does not reach it, and it is only ever signalled through its pidfd.
public final class ChildProcess: Sendable {
    /// The process id.
    public let pid: Int32
    /// Readable when the process has ended. Owned by this object.
    public let pidfd: Int32

    private let end = Mutex<ExitStatus?>(nil)

    /// Starts a program (found by PATH). Standard input is /dev/null; the two paths are created or truncated, nil means /dev/null.
    public init(_ arguments: [String], output: String? = nil, error: String? = nil) throws(LabError) {
        guard let program = arguments.first, findProgram(program) != nil else {
            throw LabError(.programMissing, "\(arguments.first ?? "?") is not in PATH")
        }
        let outputDescriptor = try Self.create(output)
        defer { if outputDescriptor >= 0 { close(outputDescriptor) } }
        let errorDescriptor = error == output && error != nil ? outputDescriptor : try Self.create(error)
        defer { if errorDescriptor >= 0, errorDescriptor != outputDescriptor { close(errorDescriptor) } }

        let copies = arguments.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        var pointers = copies.map { UnsafePointer<CChar>($0) }
        pointers.append(nil)
        var descriptor: Int32 = -1
        let started = godwit_spawn(&pointers, nil, -1, outputDescriptor, errorDescriptor, &descriptor)
        guard started > 0 else { throw LabError(.start, "cannot start \(program): \(systemMessage())") }
        pid = started
        pidfd = descriptor
    }

    deinit {
        kill()
        close(pidfd)
    }

    private static func create(_ path: String?) throws(LabError) -> Int32 {
        guard let path else { return -1 }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw LabError(.file, "cannot create \(path): \(systemMessage())") }
        return descriptor
    }

    /// How the process ended, nil while it runs.
    public var status: ExitStatus? {
        end.withLock { end in
            if let end { return end }
            var code: Int32 = 0
            var status: Int32 = 0
            guard godwit_reap(pidfd, &code, &status) == 1 else { return nil }
            end = code == Int32(CLD_EXITED) ? .exited(status) : .signalled(status)
            return end
        }
    }

    /// Sends a signal. False when the process has ended.
    @discardableResult public func signal(_ number: Int32) -> Bool {
        end.withLock { end in end == nil && godwit_pidfd_send_signal(pidfd, number) == 0 }
    }

    /// Kills the process, also a stopped one, and waits for its end. Harmless when it has ended.
    public func kill() {
        signal(SIGKILL)
        waitForExit(timeout: .seconds(10))
    }

    /// Blocks until the process has ended. Nil when it still runs after `timeout`.
    @discardableResult public func waitForExit(timeout: Duration) -> ExitStatus? {
        let deadline = ContinuousClock.now + timeout
        while true {
            if let status { return status }
            let left = (deadline - ContinuousClock.now).milliseconds
            guard left > 0 else { return nil }
            var descriptor = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
            poll(&descriptor, 1, Int32(clamping: left))
        }
    }

    /// Waits until the process has ended, without blocking a thread. Nil when it still runs after `timeout`.
    @discardableResult public func waitForExit(timeout: Duration) async throws -> ExitStatus? {
        let deadline = ContinuousClock.now + timeout
        while status == nil, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(2))
        }
        return status
    }

    /// Runs a program to its end. Throws with the last lines of its standard error unless it exits with 0.
    static func run(_ arguments: [String], error: String, timeout: Duration = .seconds(30)) throws(LabError) {
        let child = try ChildProcess(arguments, error: error)
        guard let status = child.waitForExit(timeout: timeout) else {
            throw LabError(.timeout, "\(arguments[0]) did not end within \(timeout)")
        }
        guard status == .exited(0) else {
            throw LabError(.start, "\(arguments[0]) failed (\(status)): \(lastLines(of: error))")
        }
    }
}

extension Duration {
    /// Rounded up, so that a wait is never cut short.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds.multipliedReportingOverflow(by: 1000).partialValue + (attoseconds + 999_999_999_999_999)
            / 1_000_000_000_000_000
    }
}
