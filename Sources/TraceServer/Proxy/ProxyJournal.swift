import Glibc
import JSONC
import MigrationQMP
import Synchronization
import Trace

/// Writes down what proxies see, on a thread of its own, so that no disk ever delays a message.
final class ProxyJournal: Sendable {
    struct Entry: Sendable {
        var microseconds: Int64
        var side: TraceSide?
        var qemu: String?
        var record: ProxyRecord
    }

    private struct State {
        var entries: [Entry] = []
        var bytes = 0
        var lost = 0
        var isOver = false
        var failure: TraceError?
        var lostAtAll = 0
        var path = ""
    }

    /// So much may wait for a disk that stands still.
    private static let maximumBytes = 64 << 20
    /// So much of a recording is lost at the most if the recorder is killed.
    private static let gatherMilliseconds: CInt = 1

    private let state: Mutex<State>
    /// Something is to be written.
    private let wake: Wakeup
    /// Nothing follows.
    private let closing: Wakeup
    private let ended: Wakeup
    private let isRedacted: Bool
    private let tell: @Sendable (String) -> Void
    private let start = ContinuousClock.now

    /// Microseconds since the recording began.
    var now: Int64 { start.microsecondsSince }

    init(_ log: sending TraceLog, isRedacted: Bool, tell: @escaping @Sendable (String) -> Void) throws(ProxyError) {
        self.isRedacted = isRedacted
        self.tell = tell
        state = Mutex(State(path: log.path))
        do throws(WakeupFailure) {
            (wake, closing, ended) = (try Wakeup(), try Wakeup(), try Wakeup())
        } catch {
            throw ProxyError("a pipe", error.code)
        }
        let box = LogBox(log)
        let code = spawnThread { [self] in run(box.log) }
        guard code == 0 else { throw ProxyError("a thread for the trace", code) }
    }

    /// Takes entries; they are written soon.
    func append(_ entries: [Entry]) {
        guard !entries.isEmpty else { return }
        let isFirst = state.withLock { state in
            let isFirst = state.entries.isEmpty
            for entry in entries {
                let size = entry.record.byteCount
                guard state.bytes + size <= Self.maximumBytes else {
                    state.lost += 1
                    state.lostAtAll += 1
                    continue
                }
                state.bytes += size
                state.entries.append(entry)
            }
            return isFirst
        }
        if isFirst { wake.notify() }
    }

    /// Writes what is left and ends.
    ///
    /// - Returns: Why something is missing in the trace; nil if nothing is.
    func close() -> TraceError? {
        let wasOver = state.withLock { state in
            defer { state.isOver = true }
            return state.isOver
        }
        if !wasOver {
            closing.notify()
            wake.notify()
            ended.wait()
        }
        return state.withLock(\.failure)
    }

    // MARK: The thread

    private func run(_ log: TraceLog) {
        var parser = JSONParser()
        while true {
            let wait = log.nextDeadline.map { CInt(clamping: max(0, $0 - now + 999) / 1000) } ?? -1
            var descriptor = pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&descriptor, 1, wait)
            wake.drain()
            // What follows within a moment is written along: to be woken for each message would cost the messages time.
            var end = pollfd(fd: closing.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&end, 1, Self.gatherMilliseconds)
            let (entries, lost, isOver) = state.withLock { state in
                defer {
                    state.entries = []
                    state.bytes = 0
                    state.lost = 0
                }
                return (state.entries, state.lost, state.isOver)
            }
            for entry in entries { write(entry, to: log, &parser) }
            if lost > 0 {
                let text = "\(lost) records are missing here: they came faster than the disk took them"
                log.append(at: now) { [now] in $0.append(TraceRecord(microseconds: now, member: .mark(text))) }
                tell(text)
            }
            log.flush(at: now)
            tellNotices(of: log)
            if isOver { break }
        }
        var failure = log.close(at: now)
        tellNotices(of: log)
        state.withLock { state in
            if failure == nil, state.lostAtAll > 0 {
                failure = TraceError(file: log.path, message: "\(state.lostAtAll) records are missing")
            }
            state.failure = failure
        }
        ended.notify()
    }

    private func tellNotices(of log: TraceLog) {
        for notice in log.notices {
            switch notice {
            case .continued(let path): tell("the trace goes on in \(path)")
            case .failed(let error): tell("the trace cannot be written: \(error). Messages pass all the same")
            case .recovered(0): tell("the trace is written again, nothing is missing")
            case .recovered(let lost): tell("the trace is written again, \(lost) records are missing")
            }
        }
        log.notices = []
    }

    private func write(_ entry: Entry, to log: TraceLog, _ parser: inout JSONParser) {
        log.append(at: entry.microseconds) { writer in
            func member(_ member: TraceMember) {
                writer.append(
                    TraceRecord(microseconds: entry.microseconds, side: entry.side, qemu: entry.qemu, member: member))
            }
            func message(_ name: StaticString, _ bytes: [UInt8]) {
                writer.append(
                    microseconds: entry.microseconds, side: entry.side, qemu: entry.qemu, member: name, rawJSON: bytes)
            }
            switch entry.record {
            case .received(let bytes, let isSecret):
                message("recv", isRedacted ? MessageMask.masked(message: bytes, isSecret: isSecret) ?? bytes : bytes)
            case .sent(let bytes, _):
                message("send", isRedacted ? MessageMask.masked(command: bytes) ?? bytes : bytes)
            case .noise(let bytes): member(.raw(bytes))
            case .descriptors(let count): member(.fds(count))
            case .monitor(let state): member(.monitor(state))
            case .ended: member(.process(.unknown))
            case .mark(let text): member(.mark(text))
            }
        }
    }
}

/// Hands a log to the thread that has it to itself from then on.
private struct LogBox: @unchecked Sendable {
    let log: TraceLog
    init(_ log: TraceLog) { self.log = log }
}

extension ProxyRecord {
    fileprivate var byteCount: Int {
        switch self {
        case .received(let bytes, _), .sent(let bytes, _), .noise(let bytes): bytes.count + 64
        case .mark(let text): text.utf8.count + 64
        case .descriptors, .monitor, .ended: 64
        }
    }
}

extension ContinuousClock.Instant {
    /// From then to now.
    var microsecondsSince: Int64 {
        let (seconds, attoseconds) = (ContinuousClock.now - self).components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}

/// Starts a detached thread. Returns 0 or an errno.
func spawnThread(_ body: @escaping @Sendable () -> Void) -> CInt {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Box(body))
    let code = pthread_create(
        &thread, nil,
        { argument in
            if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
            return nil
        }, context.toOpaque())
    if code == 0 { pthread_detach(thread) } else { context.release() }
    return code
}
