internal import CLinux
internal import Glibc
public import JSONC
public import NIOCore
internal import NIOPosix
public import QMP

/// One connection to a monitor, confined to its event loop: every method must be called there, every callback runs there.
///
/// A received message is framed, parsed once and handed on as a borrowed view before the next one is looked at; a submitted
/// command is written to the socket before `submit` returns (unless the session must hold it back), so a `cont` submitted from an event
/// callback leaves in the same turn of the loop.
public final class QMPConnection {
    /// Takes the value of `return`, or why there is none. The view is valid inside only.
    public typealias Completion = (Result<JSONView, QMPError>) -> Void

    /// The loop that everything runs on.
    public let eventLoop: any EventLoop
    /// The settings.
    public let configuration: QMPConfiguration
    /// Names the monitor in messages: its path.
    public let name: String
    /// The process at the other end, taken when the connection was made; nil before.
    public internal(set) var peer: QMPPeer?
    /// Succeeds when the session is open; fails if it ends before.
    public let ready: EventLoopFuture<QMPGreeting>

    private struct Outgoing {
        var request: QMPRequest
        var bytes: [UInt8]
        var descriptors: [CInt]
    }

    private let readyPromise: EventLoopPromise<QMPGreeting>
    var observer: (any QMPObserver)?
    private var session: QMPSession<Completion>
    private var framer: QMPFramer
    private var parser: JSONParser
    private var context: ChannelHandlerContext?
    private var isHandling = false
    /// What NIO delivered while an earlier read was still being handled (it drains the socket when a write fails).
    private var undelivered: CircularBuffer<ByteBuffer> = CircularBuffer()
    private var hasEnded = false
    private var endError: QMPError?
    private var isClosing = false
    private var timer: Scheduled<Void>?
    private var timerDeadline = UInt64.max
    private var retry: Scheduled<Void>?
    private var descriptors: [UInt64: [CInt]] = [:]
    /// Held back because a message with descriptors cannot be sent at this moment.
    private var outbox: CircularBuffer<Outgoing> = CircularBuffer()

    init(name: String, on eventLoop: any EventLoop, configuration: QMPConfiguration, observer: (any QMPObserver)?) {
        self.name = name
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.observer = observer
        self.readyPromise = eventLoop.makePromise(of: QMPGreeting.self)
        self.ready = self.readyPromise.futureResult
        self.session = QMPSession(
            timeouts: configuration.timeouts,
            inBandLimit: configuration.inBandLimit,
            wantsOutOfBand: configuration.wantsOutOfBand
        )
        self.framer = QMPFramer(maximumBytes: configuration.maximumMessageBytes)
        self.parser = JSONParser(limits: configuration.limits)
    }

    // MARK: For everybody

    /// Whether the session is open.
    public var isReady: Bool { self.session.greeting != nil }

    /// The greeting, once the session is open.
    public var greeting: QMPGreeting? { self.session.greeting }

    /// Whether out-of-band commands can be sent.
    public var hasOutOfBand: Bool { self.session.hasOutOfBand }

    /// Whether the connection has ended.
    public var isClosed: Bool { self.session.isClosed }

    /// In-band commands that QEMU has not answered.
    public var inFlightCount: Int { self.session.inFlightCount }

    /// Commands that were not sent yet.
    public var waitingCount: Int { self.session.waitingCount }

    /// Whether an overdue reply holds up the in-band line.
    public var isHeldUp: Bool { self.session.isHeldUp }

    /// Connects. Never throws: what goes wrong ends the connection, after this call has returned (`connectionClosed`, and the failure of `ready`).
    /// Commands may be submitted at once; they wait for the negotiation. Must be called on `eventLoop`.
    public static func connect(
        to address: QMPAddress,
        on eventLoop: any EventLoop,
        configuration: QMPConfiguration = QMPConfiguration(),
        observer: (any QMPObserver)? = nil
    ) -> QMPConnection {
        eventLoop.preconditionInEventLoop()
        let connection = QMPConnection(
            name: address.path, on: eventLoop, configuration: configuration, observer: observer)
        let now = connection.now
        let wait = configuration.waitForSocket.map { Self.later(now, $0) }
        let queue = Self.later(now, configuration.timeouts.greeting)
        connection.attempt(address, until: wait, whileQueueIsFull: max(queue, wait ?? 0), pause: 2)
        return connection
    }

    /// Executes a command. `completion` runs exactly once: with the reply, QEMU's refusal, after the deadline, or when the
    /// connection ends; possibly before this call returns. Descriptors are duplicated here and go along with the command (SCM_RIGHTS).
    public func submit(
        _ request: QMPRequest, descriptors: [CInt] = [], completion: @escaping Completion
    ) {
        self.eventLoop.preconditionInEventLoop()
        var copies: [CInt] = []
        for descriptor in descriptors {
            let copy = Self.duplicate(descriptor)
            guard copy >= 0 else {
                let reason = String(cString: strerror(errno))
                copies.forEach { Glibc.close($0) }
                let error = QMPError(.descriptors, "\(request.name): descriptor \(descriptor): \(reason)")
                return completion(.failure(error))
            }
            copies.append(copy)
        }
        switch self.session.submit(
            request, token: completion, carriesDescriptors: !copies.isEmpty, at: self.now)
        {
        case .refused(let completion, let error):
            copies.forEach { Glibc.close($0) }
            completion(.failure(error))
        case .accepted(let id, let deadline):
            if !copies.isEmpty { self.descriptors[id] = copies }
            self.arm(deadline)
            self.pump()
        }
    }

    /// Executes a typed command.
    public func submit<C: QMPCommand>(
        _ command: C,
        outOfBand: Bool = false,
        descriptors: [CInt] = [],
        completion: @escaping (Result<C.Reply, QMPError>) -> Void
    ) {
        self.submit(QMPRequest(command, outOfBand: outOfBand), descriptors: descriptors) { result in
            completion(Self.decode(C.self, result))
        }
    }

    /// Ends the connection; pending commands fail, the observer hears of it. Harmless if it has ended.
    public func close() {
        self.eventLoop.preconditionInEventLoop()
        self.end(nil)
    }

    static func decode<C: QMPCommand>(
        _ command: C.Type, _ result: Result<JSONView, QMPError>
    ) -> Result<C.Reply, QMPError> {
        switch result {
        case .success(let view):
            do throws(QMPError) {
                return .success(try C.decodeReply(view))
            } catch {
                return .failure(error)
            }
        case .failure(let error):
            return .failure(error)
        }
    }

    // MARK: Connecting

    private func attempt(
        _ address: QMPAddress, until wait: UInt64?, whileQueueIsFull queue: UInt64, pause: Int64
    ) {
        do throws(UnixSocket.ConnectFailure) {
            let socket = try UnixSocket.connect(to: address)
            self.peer = QMPPeer(socket: socket)
            self.adopt(socket)
        } catch {
            let limit = error.isQueueFull ? queue : wait
            guard error.isTransient, let limit, self.now < limit else {
                var failure = error.error
                if wait != nil, error.isTransient { failure.message += " (waited for it)" }
                // Not before the caller holds the connection.
                return self.eventLoop.assumeIsolated().execute { self.end(failure) }
            }
            self.retry = self.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(pause)) {
                self.retry = nil
                guard !self.isClosing else { return }
                self.attempt(address, until: wait, whileQueueIsFull: queue, pause: min(pause * 2, 50))
            }
        }
    }

    private func adopt(_ socket: CInt) {
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        ClientBootstrap(group: self.eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(QMPChannelHandler(bound.value))
                }
            }
            .withConnectedSocket(socket)
            .assumeIsolated()
            .whenFailure { error in
                self.end(QMPError(.input, "\(self.name): \(error)"))
            }
    }

    // MARK: What the channel tells

    func added(_ context: ChannelHandlerContext) {
        self.context = context
    }

    func active() {
        guard case .awaitGreeting(let deadline) = self.session.connected(at: self.now) else { return }
        self.arm(deadline)
    }

    func read(_ buffer: ByteBuffer) {
        guard !self.isHandling else { return self.undelivered.append(buffer) }
        self.isHandling = true
        buffer.withUnsafeReadableBytes { self.received($0) }
        while let next = self.undelivered.popFirst() {
            next.withUnsafeReadableBytes { self.received($0) }
        }
        self.isHandling = false
        if self.hasEnded { self.inactive() }
    }

    func failed(_ error: any Error) {
        if self.endError == nil { self.endError = QMPError(.closed, "\(self.name): the connection broke: \(error)") }
        self.context?.close(promise: nil)
    }

    func inactive() {
        guard !self.isHandling else {
            self.hasEnded = true
            return
        }
        self.context = nil
        if let torn = self.framer.takeRemainder() {
            torn.withUnsafeBytes { self.observer?.connection(self, receivedGarbage: $0) }
        }
        self.end(self.endError ?? QMPError(.closed, "\(self.name): the monitor closed the connection"))
    }

    // MARK: Incoming

    private func received(_ bytes: UnsafeRawBufferPointer) {
        var offset = 0
        while !self.session.isClosed, let frame = self.framer.next(in: bytes, from: &offset) {
            switch frame {
            case .message(let range):
                self.handle(UnsafeRawBufferPointer(rebasing: bytes[range]))
            case .carriedMessage:
                self.framer.takeCarried().withUnsafeBytes { self.handle($0) }
            case .garbage(let range):
                self.handleGarbage(UnsafeRawBufferPointer(rebasing: bytes[range]))
            case .carriedGarbage:
                self.framer.takeCarried().withUnsafeBytes { self.handleGarbage($0) }
            case .tooLarge:
                self.end(self.framer.limitError.prefixed(self.name))
            }
        }
    }

    private func handle(_ line: UnsafeRawBufferPointer) {
        self.observer?.connection(self, received: line)
        guard !self.session.isClosed else { return }
        do throws(JSONError) {
            let document = try self.parser.parse(line)
            document.withRoot { view in
                self.run(self.session.received(QMPMessage(view), at: self.now), message: view)
            }
        } catch {
            self.run(self.session.receivedUnreadable(line, "a line that is not JSON (\(error))"), message: nil)
        }
    }

    private func handleGarbage(_ bytes: UnsafeRawBufferPointer) {
        self.observer?.connection(self, receivedGarbage: bytes)
        guard !self.session.isClosed else { return }
        let head = String(decoding: bytes.prefix(40), as: UTF8.self)
        let what = "\(bytes.count) bytes that are no message, starting with \(head.debugDescription)"
        self.run(self.session.receivedGarbage(what), message: nil)
    }

    private func run(_ action: QMPSession<Completion>.ReceiveAction, message: JSONView?) {
        switch action {
        case .negotiate(let deadline):
            self.arm(deadline)
        case .ready(let greeting, let failed):
            self.tell(failed)
            self.readyPromise.succeed(greeting)
            self.observer?.connection(self, ready: greeting)
        case .event(let name):
            if let message { self.observer?.connection(self, event: name, message: message) }
        case .succeed(let completion):
            if let result = message?["return"] {
                completion(.success(result))
            } else {
                completion(.failure(QMPError(.invalidReply, "\(self.name): a reply without return")))
            }
        case .fail(let completion, let error):
            completion(.failure(error))
        case .problem(let error):
            self.observer?.connection(self, problem: error.prefixed(self.name))
        case .close(let error, let failed):
            self.end(error.prefixed(self.name), failed: failed)
        case .ignore:
            break
        }
        self.pump()
    }

    // MARK: Outgoing

    private func pump() {
        while let write = self.session.nextWrite() {
            self.send(
                Outgoing(
                    request: write.request,
                    bytes: write.request.encoded(id: write.id),
                    descriptors: self.descriptors.isEmpty ? [] : self.descriptors.removeValue(forKey: write.id) ?? []
                ))
        }
    }

    private func send(_ outgoing: Outgoing) {
        if self.outbox.isEmpty {
            if outgoing.descriptors.isEmpty {
                self.write(outgoing.bytes[...])
                self.report(outgoing)
            } else {
                self.outbox.append(outgoing)
                self.drainOutbox()
            }
        } else {
            self.outbox.append(outgoing)
        }
    }

    private func write(_ bytes: ArraySlice<UInt8>) {
        guard let context = self.context else { return }
        var buffer = context.channel.allocator.buffer(capacity: bytes.count)
        buffer.writeBytes(bytes)
        context.writeAndFlush(NIOAny(buffer), promise: nil)
    }

    private func report(_ outgoing: Outgoing) {
        guard let observer = self.observer else { return }
        outgoing.bytes.withUnsafeBytes { bytes in
            let line = UnsafeRawBufferPointer(rebasing: bytes.dropLast(2))
            observer.connection(self, sent: line, descriptors: outgoing.descriptors.count)
        }
    }

    /// Descriptors ride on the first byte of their message, so nothing of NIO's may be queued in front of it.
    private func drainOutbox() {
        while let outgoing = self.outbox.first, let context = self.context {
            if outgoing.descriptors.isEmpty {
                self.outbox.removeFirst()
                self.write(outgoing.bytes[...])
                self.report(outgoing)
                continue
            }
            let buffered = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
            guard buffered == 0 else {
                // Ends when all that is queued has left.
                let empty = context.channel.allocator.buffer(capacity: 0)
                return context.writeAndFlush(NIOAny(empty)).assumeIsolated().whenSuccess { self.drainOutbox() }
            }
            guard let sent = self.sendDescriptors(outgoing, context) else {
                // The socket's buffer is full and NIO has nothing to wait with; this is rare and short.
                _ = self.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(2)) { self.drainOutbox() }
                return
            }
            self.outbox.removeFirst()
            outgoing.descriptors.forEach { Glibc.close($0) }
            if sent < outgoing.bytes.count { self.write(outgoing.bytes[sent...]) }
            self.report(outgoing)
        }
    }

    /// The bytes sent; nil if the socket takes nothing now. If the kernel refuses the descriptors the command goes without, and QEMU
    /// answers that it misses them.
    private func sendDescriptors(_ outgoing: Outgoing, _ context: ChannelHandlerContext) -> Int? {
        let sent =
            try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
                socket in
                var result = -1
                repeat {
                    result = outgoing.bytes.withUnsafeBytes { bytes in
                        godwit_send_descriptors(
                            socket, bytes.baseAddress, bytes.count, outgoing.descriptors, outgoing.descriptors.count)
                    }
                } while result < 0 && errno == EINTR
                return result < 0 && errno == EAGAIN ? nil : max(0, result)
            }
        return sent ?? 0
    }

    private static func duplicate(_ descriptor: CInt) -> CInt {
        fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
    }

    // MARK: Time

    private var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    private static func later(_ now: UInt64, _ duration: Duration) -> UInt64 {
        let (sum, overflow) = now.addingReportingOverflow(duration.qmpNanoseconds)
        return overflow ? .max : sum
    }

    /// One timer for all deadlines. It is not moved when a reply arrives: it fires now and then for nothing instead.
    private func arm(_ deadline: UInt64) {
        guard deadline < self.timerDeadline, !self.isClosing else { return }
        self.timer?.cancel()
        self.timerDeadline = deadline
        let due = NIODeadline.uptimeNanoseconds(min(deadline, UInt64(Int64.max)))
        self.timer = self.eventLoop.assumeIsolated().scheduleTask(deadline: due) { self.timerFired() }
    }

    private func timerFired() {
        self.timer = nil
        self.timerDeadline = .max
        switch self.session.hitDeadline(at: self.now) {
        case .none:
            break
        case .fail(let failures):
            self.tell(failures)
        case .close(let error, let failed):
            self.end(error.prefixed(self.name), failed: failed)
        }
        if let next = self.session.nextDeadline { self.arm(next) }
        self.pump()
    }

    // MARK: The end

    private func tell(_ failures: [QMPSession<Completion>.Failure]) {
        for failure in failures { failure.token(.failure(failure.error)) }
    }

    /// The one way out. `error` is nil if we wanted it.
    private func end(_ error: QMPError?, failed: [QMPSession<Completion>.Failure] = []) {
        guard !self.isClosing else { return }
        self.isClosing = true
        self.timer?.cancel()
        self.timer = nil
        self.retry?.cancel()
        self.retry = nil
        let reason = error ?? QMPError(.closed, "\(self.name): the connection was closed")
        var failed = failed
        if case .fail(let rest) = self.session.closed(reason) { failed += rest }
        for copies in self.descriptors.values { copies.forEach { Glibc.close($0) } }
        self.descriptors = [:]
        for outgoing in self.outbox { outgoing.descriptors.forEach { Glibc.close($0) } }
        self.outbox.removeAll()
        self.context?.close(promise: nil)
        self.context = nil
        self.tell(failed)
        self.readyPromise.fail(reason)
        let observer = self.observer
        self.observer = nil
        observer?.connectionClosed(self, error: error)
    }
}

/// The end of the pipeline. It keeps the connection alive while the channel is.
final class QMPChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let connection: QMPConnection

    init(_ connection: QMPConnection) {
        self.connection = connection
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.connection.added(context)
        if context.channel.isActive { self.connection.active() }
    }

    func channelActive(context: ChannelHandlerContext) {
        self.connection.active()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.connection.read(self.unwrapInboundIn(data))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.connection.failed(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.connection.inactive()
    }
}
