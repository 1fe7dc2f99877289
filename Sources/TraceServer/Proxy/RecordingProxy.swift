import Glibc
import JSONC
import QMP
public import QMPTransport
import Synchronization
public import Trace

/// Why a recording could not begin.
public struct ProxyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// In words, naming what and where.
    public var description: String
    /// Whether QEMU's monitor is not there or busy.
    public var isUnavailable = false

    init(_ what: String, _ code: CInt) { description = "\(what): \(String(cString: strerror(code)))" }

    init(_ error: QMPError, isUnavailable: Bool) {
        description = error.message
        self.isUnavailable = isUnavailable
    }
}

/// One QEMU that is recorded.
public struct RecordedMonitor: Hashable, Sendable {
    /// QEMU's monitor.
    public var qemu: QMPAddress
    /// Where clients come instead.
    public var listen: QMPAddress
    /// Which end of a migration it is; nil: that is inferred from how it was started and what it is told, unless it has a name.
    public var side: TraceSide?
    /// Its name in the trace, if there are several whose sides are not known.
    public var name: String?

    /// A QEMU that is recorded.
    public init(qemu: QMPAddress, listen: QMPAddress, side: TraceSide? = nil, name: String? = nil) {
        self.qemu = qemu
        self.listen = listen
        self.side = side
        self.name = name
    }
}

/// How it is recorded.
public struct RecordingOptions: Sendable {
    /// How many clients each QEMU may have at once. With more than one, commands get other ids on their way.
    public var maximumClients = 1
    /// Whether passwords and keys are masked in the trace. What passes is never changed.
    public var isRedacted = true
    /// How the trace is written.
    public var log = TraceLogOptions()

    /// The defaults.
    public init() {}
}

/// Stands between QEMUs and their clients and writes down what they say to each other.
///
/// One thread passes bytes and descriptors on, another one writes the trace: a slow disk delays nobody, a full one stops nobody. A client that does
/// not read is not read from, as QEMU would do it; of several at once the one that lags far behind is dropped.
public final class RecordingProxy: Sendable {
    private let loop: ProxyLoop
    private let journal: ProxyJournal
    private let ended: Mutex<(isOver: Bool, waiters: [CheckedContinuation<Void, Never>])>

    /// Connects to the QEMUs, listens for clients and begins to record.
    ///
    /// - Parameters:
    ///   - monitors: The QEMUs.
    ///   - path: The trace; it must not exist.
    ///   - header: The trace's header; what is needed to read it is added.
    ///   - options: How.
    ///   - tell: Hears what a person should know, on any thread.
    /// - Throws: `ProxyError`, or `TraceError` if the trace cannot be made.
    public init(
        _ monitors: [RecordedMonitor], to path: String, header: TraceHeader, options: RecordingOptions = .init(),
        tell: @escaping @Sendable (String) -> Void
    ) throws {
        var links: [ProxyLink] = []
        var isBegun = false
        defer { if !isBegun { links.forEach { $0.close() } } }
        for monitor in monitors { links.append(try ProxyLink(monitor, maximumClients: options.maximumClients)) }
        var header = header
        header.other["redacted"] = .bool(options.isRedacted)
        if monitors.contains(where: { $0.side == nil && $0.name == nil }) { header.other["sides"] = "inferred" }
        var clock = timespec()
        clock_gettime(CLOCK_MONOTONIC, &clock)
        // Two recordings of one host can be put together by it.
        header.other["monotonic"] = .integer(Int64(clock.tv_sec) * 1_000_000 + Int64(clock.tv_nsec) / 1000)
        let log = try TraceLog(creating: path, header: header, options: options.log)
        journal = try ProxyJournal(log, isRedacted: options.isRedacted, tell: tell)
        loop = try ProxyLoop(journal: journal, tell: tell)
        ended = Mutex((false, []))
        isBegun = true
        let code = loop.start(LinkBox(links: links)) { [weak self] in self?.noteEnd() }
        guard code == 0 else { throw ProxyError("a thread for the proxy", code) }
    }

    /// Returns when every QEMU has closed its monitor, or after `stop`.
    public func waitForEnd() async {
        await withCheckedContinuation { continuation in
            let isOver = ended.withLock { state in
                if !state.isOver { state.waiters.append(continuation) }
                return state.isOver
            }
            if isOver { continuation.resume() }
        }
    }

    /// Ends all connections. What was seen is written.
    public func stop() { loop.stop() }

    /// Writes the rest of the trace, once everything has ended.
    ///
    /// - Returns: Why something is missing in it; nil if nothing is.
    public func close() -> TraceError? { journal.close() }

    private func noteEnd() {
        let waiters = ended.withLock { state in
            state.isOver = true
            defer { state.waiters = [] }
            return state.waiters
        }
        waiters.forEach { $0.resume() }
    }
}
