import Glibc

/// A QEMU of ours with its sockets and logs in a ``LabDirectory``. It is killed when the last reference to it goes, and with this
/// process. Methods that wait come in two kinds: blocking ones, and for async code ones that hold no thread.
public final class QEMUProcess: Sendable {
    /// How to start it.
    public struct Options: Hashable, Sendable {
        /// What `-incoming` says.
        public enum Incoming: Hashable, Sendable {
            /// `-incoming defer`: `migrate-incoming` gives the address.
            case deferred
            /// `-incoming URI`: listens from the start.
            case uri(String)
        }

        /// The program, looked up in PATH.
        public var binary = "qemu-system-x86_64"
        /// The root directory of another system, in which the program is looked up and started; nil: this one's. It sees this system's
        /// `/dev` and the directory above its own files at the same paths, in mounts that end with it. Only root can do that.
        public var root: String?
        /// Begins the names of all files ("source.qmp", "source.serial"); one for each QEMU in a directory.
        public var label: String
        /// `-name`, what query-name shows.
        public var name = "godwit-lab"
        /// `-uuid`, what query-uuid shows; nil: none.
        public var uuid: String?
        /// `-machine`, with its properties.
        public var machine = "pc"
        /// `-accel`.
        public var accelerator = "tcg"
        /// `-cpu`; nil: the machine's own.
        public var cpu: String?
        /// `-smp`; our guest uses one processor.
        public var processors = 1
        /// `-m`, in MiB.
        public var memoryMiB = 128
        /// What to boot, as a read-only virtio disk named "disk0"; nil: no disk, the firmware finds nothing to boot.
        public var image: GuestImage?
        /// `-S`.
        public var paused = false
        /// `-incoming`; nil: a source.
        public var incoming: Incoming?
        /// Number of QMP monitors, each with its own socket: "LABEL.qmp", "LABEL.qmp2", ...
        public var qmpSockets = 1
        /// `pretty=on` for the monitors.
        public var prettyQMP = false
        /// Trace events for the log backend; they go to "LABEL.trace" with "PID@SECONDS.MICROSECONDS:" before each.
        public var traceEvents: [String] = []
        /// Further arguments, at the end.
        public var extraArguments: [String] = []

        /// Options with their defaults.
        public init(label: String, image: GuestImage? = nil) {
            self.label = label
            self.image = image
        }

        /// The same machine as a destination: waits for a migration (`-S -incoming defer`) under another label.
        public func destination(label: String = "destination") -> Options {
            var options = self
            options.label = label
            options.paused = true
            options.incoming = .deferred
            return options
        }
    }

    /// The options it was started with.
    public let options: Options
    /// The command line.
    public let arguments: [String]
    /// The process.
    public let child: ChildProcess
    /// Holds all files; lives at least as long as this object.
    public let directory: LabDirectory

    /// The process id.
    public var pid: Int32 { child.pid }
    /// Readable when the process has ended. Owned by this object.
    public var pidfd: Int32 { child.pidfd }
    /// The socket of the first monitor; there is none when the options ask for 0.
    public var qmpPath: String { Self.qmpPath(options, directory, 0) }
    /// The socket of the second monitor; there is none unless the options ask for 2.
    public var secondQMPPath: String { Self.qmpPath(options, directory, 1) }
    /// What the guest wrote to its serial port.
    public var serialPath: String { directory.file("\(options.label).serial") }
    /// QEMU's standard error and output.
    public var stderrPath: String { directory.file("\(options.label).stderr") }
    /// Trace events, if the options ask for some.
    public var tracePath: String { directory.file("\(options.label).trace") }

    private init(options: Options, arguments: [String], child: ChildProcess, directory: LabDirectory) {
        self.options = options
        self.arguments = arguments
        self.child = child
        self.directory = directory
    }

    /// Starts QEMU and blocks (some 60 ms) until its first monitor answers. Throws with QEMU's own words when it ends instead.
    /// With a `timeout` of 0 it does not wait: use ``waitUntilListening(timeout:)``, for instance to start two at once.
    public static func start(
        _ options: Options,
        in directory: LabDirectory,
        timeout: Duration = .seconds(30)
    ) throws(LabError) -> QEMUProcess {
        guard options.qmpSockets >= 0, options.qmpSockets <= 16 else {
            throw LabError(.parameter, "qmpSockets is \(options.qmpSockets), must be 0 to 16")
        }
        if let image = options.image, options.memoryMiB < image.minimumMemoryMiB {
            throw LabError(
                .parameter,
                "memoryMiB is \(options.memoryMiB), the guest needs at least \(image.minimumMemoryMiB)"
            )
        }
        let arguments = inRoot(options, directory) + commandLine(options, directory)
        let log = directory.file("\(options.label).stderr")
        let child = try ChildProcess(arguments, output: log, error: log)
        let process = QEMUProcess(options: options, arguments: arguments, child: child, directory: directory)
        if timeout > .zero { try process.waitUntilListening(timeout: timeout) }
        return process
    }

    private static func qmpPath(_ options: Options, _ directory: LabDirectory, _ index: Int) -> String {
        directory.file("\(options.label).qmp\(index == 0 ? "" : "\(index + 1)")")
    }

    /// What starts a program in another root, as the same process: without, nothing.
    private static func inRoot(_ options: Options, _ directory: LabDirectory) -> [String] {
        guard let root = options.root else { return [] }
        let parent = directory.path.lastIndex(of: "/").map { String(directory.path[..<$0]) } ?? "/"
        let script = """
            root=$1 shared=$2; shift 2
            mkdir -p "$root$shared" && mount --rbind "$shared" "$root$shared" && mount --rbind /dev "$root/dev" &&
                mount -t proc proc "$root/proc" && exec chroot "$root" "$@"
            """
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", root, parent]
    }

    private static func commandLine(_ options: Options, _ directory: LabDirectory) -> [String] {
        var line = [options.binary, "-nodefaults", "-no-user-config", "-display", "none"]
        line += ["-name", options.name, "-machine", options.machine, "-accel", options.accelerator]
        line += ["-smp", "\(options.processors)", "-m", "\(options.memoryMiB)"]
        if let uuid = options.uuid { line += ["-uuid", uuid] }
        if let cpu = options.cpu { line += ["-cpu", cpu] }
        line += ["-chardev", "file,id=serial0,path=\(escaped(directory.file("\(options.label).serial")))"]
        line += ["-serial", "chardev:serial0"]
        if let image = options.image {
            line += [
                "-blockdev",
                "driver=raw,node-name=disk0,read-only=on,file.driver=file,file.filename=\(escaped(image.path))",
                "-device", "virtio-blk-pci,id=disk0-device,drive=disk0,bootindex=1",
            ]
        }
        for index in 0..<options.qmpSockets {
            let path = escaped(qmpPath(options, directory, index))
            line += ["-chardev", "socket,id=qmp\(index),path=\(path),server=on,wait=off"]
            line += ["-mon", "chardev=qmp\(index),mode=control,pretty=\(options.prettyQMP ? "on" : "off")"]
        }
        if !options.traceEvents.isEmpty {
            line += ["-msg", "timestamp=on", "-D", directory.file("\(options.label).trace")]
            for event in options.traceEvents { line += ["-trace", event] }
        }
        if options.paused { line.append("-S") }
        switch options.incoming {
        case .deferred: line += ["-incoming", "defer"]
        case .uri(let uri): line += ["-incoming", uri]
        case nil: break
        }
        return line + options.extraArguments
    }

    /// QEMU's option parser takes a comma for the end of a value unless it is doubled.
    private static func escaped(_ path: String) -> String {
        path.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    }

    /// How the process ended, nil while it runs.
    public var status: ExitStatus? { child.status }

    /// Kills the process, also a stopped one, and waits for its end.
    public func kill() { child.kill() }

    /// Sends a signal. False when the process has ended.
    @discardableResult public func signal(_ number: Int32) -> Bool { child.signal(number) }

    /// Blocks until the process has ended. Nil when it still runs after `timeout`.
    @discardableResult public func waitForExit(timeout: Duration) -> ExitStatus? { child.waitForExit(timeout: timeout) }

    /// Waits until the process has ended. Nil when it still runs after `timeout`.
    @discardableResult public func waitForExit(timeout: Duration) async throws -> ExitStatus? {
        try await child.waitForExit(timeout: timeout)
    }

    /// The serial output up to now.
    public func heartbeatLog() -> HeartbeatLog { HeartbeatLog(path: serialPath) }

    /// The heartbeats up to now.
    public func heartbeats() -> [Heartbeat] { heartbeatLog().heartbeats }

    /// Blocks until a heartbeat with a number above `number` is there, and returns the first such.
    @discardableResult
    public func waitForHeartbeat(after number: Int = 0, timeout: Duration = .seconds(30)) throws(LabError) -> Heartbeat
    {
        let deadline = ContinuousClock.now + timeout
        while true {
            if let found = try heartbeat(after: number, deadline: deadline, timeout: timeout) { return found }
            pause()
        }
    }

    /// Waits until a heartbeat with a number above `number` is there, and returns the first such.
    @discardableResult
    public func waitForHeartbeat(after number: Int = 0, timeout: Duration = .seconds(30)) async throws -> Heartbeat {
        let deadline = ContinuousClock.now + timeout
        while true {
            if let found = try heartbeat(after: number, deadline: deadline, timeout: timeout) { return found }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func heartbeat(
        after number: Int,
        deadline: ContinuousClock.Instant,
        timeout: Duration
    ) throws(LabError) -> Heartbeat? {
        let ended = status
        if let found = heartbeats().first(where: { $0.number > number }) { return found }
        if let ended { throw endedError(ended) }
        guard ContinuousClock.now < deadline else {
            throw LabError(.timeout, "\(options.label): no heartbeat after \(number) within \(timeout)")
        }
        return nil
    }

    /// Blocks until all monitors listen and the first answers: the machine is made.
    public func waitUntilListening(timeout: Duration = .seconds(30)) throws(LabError) {
        let deadline = ContinuousClock.now + timeout
        let probe = ReadinessProbe(path: qmpPath)
        while !(try isReady(probe, deadline: deadline, timeout: timeout)) { pause() }
    }

    /// Waits until all monitors listen and the first answers: the machine is made.
    public func waitUntilListening(timeout: Duration = .seconds(30)) async throws {
        let deadline = ContinuousClock.now + timeout
        let probe = ReadinessProbe(path: qmpPath)
        while !(try isReady(probe, deadline: deadline, timeout: timeout)) {
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func isReady(
        _ probe: ReadinessProbe,
        deadline: ContinuousClock.Instant,
        timeout: Duration
    ) throws(LabError) -> Bool {
        if let ended = status { throw endedError(ended) }
        if options.qmpSockets == 0 || probe.isAnswered() { return true }
        guard ContinuousClock.now < deadline else {
            throw LabError(.timeout, "\(options.label): no answer from \(qmpPath) within \(timeout)")
        }
        return false
    }

    private func endedError(_ status: ExitStatus) -> LabError {
        let words = lastLines(of: stderrPath)
        return LabError(.ended, "\(options.label): QEMU ended (\(status))\(words.isEmpty ? "" : ": " + words)")
    }

    private func pause() { usleep(2000) }
}

/// Connects to a monitor as soon as it listens and waits for the answer to a command. The greeting says little: it comes from another
/// thread, while devices are still being made and may yet fail; commands wait for the main loop.
///
/// QEMU takes one client at a time: the next one waits in the queue of the socket until QEMU has seen that this one is gone.
private final class ReadinessProbe {
    private let path: String
    private var descriptor: Int32 = -1
    private var input = ""

    init(path: String) { self.path = path }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func isAnswered() -> Bool {
        if descriptor < 0 { connectToMonitor() }
        guard descriptor >= 0 else { return false }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count > 0 { input += String(decoding: buffer[..<count], as: UTF8.self) }
        return input.contains("\"return\"")
    }

    private func connectToMonitor() {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
            guard path.utf8.count < room.count else { return false }
            room.copyBytes(from: path.utf8)
            return true
        }
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let made = fits ? socket(AF_UNIX, type, 0) : -1
        guard made >= 0 else { return }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        let command = "{\"execute\": \"qmp_capabilities\"}\r\n"
        guard result == 0, send(made, command, command.utf8.count, Int32(MSG_NOSIGNAL)) == command.utf8.count else {
            close(made)
            return
        }
        descriptor = made
    }
}
