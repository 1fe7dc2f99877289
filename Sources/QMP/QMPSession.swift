internal import DequeModule
internal import JSONC

/// The protocol with one monitor, from the greeting to the end of the connection.
///
/// A pure value: it does no I/O and reads no clock. Its driver calls one method for each thing that happens, does what
/// the returned action says, and then writes whatever `nextWrite()` hands out until that is nil. Times are monotonic
/// nanoseconds.
///
/// The rules it keeps, which QEMU's monitor imposes:
/// - Nothing but `qmp_capabilities` is sent before it was answered; what is submitted earlier waits.
/// - At most seven in-band commands are in flight: with eight QEMU stops reading the socket, and out-of-band commands
///   would be stuck behind them. The others wait here, in order.
/// - In-band replies come in order, so a missed deadline means that the line is held up: no further in-band command is
///   sent until
///   the overdue reply arrived. Out-of-band commands are always sent at once.
/// - One poll at a time.
/// - One command with descriptors at a time: QEMU keeps only the descriptors that came last, until a command takes
///   them.
/// - Replies are matched by id. Errors without id are reported and never guessed to a command.
///
/// `Token` is whatever the driver needs to find the asker again; it is handed back exactly once.
public struct QMPSession<Token> {
    /// A command to be written now.
    public struct Write: Hashable, Sendable {
        /// The id that `submit` returned.
        public var id: UInt64
        /// What to encode with that id.
        public var request: QMPRequest
    }

    /// A command that ends without a reply.
    public struct Failure {
        /// The asker.
        public var token: Token
        /// Why.
        public var error: QMPError
    }

    /// What to do after `connected`.
    public enum ConnectAction: Hashable, Sendable {
        /// Expect the greeting until this time.
        case awaitGreeting(deadline: UInt64)
        /// Nothing: connected twice, or closed already.
        case ignore
    }

    /// What became of a submitted request.
    public enum SubmitAction {
        /// It is on its way or in the queue, and fails at `deadline` at the latest.
        case accepted(id: UInt64, deadline: UInt64)
        /// It cannot be; nothing was sent.
        case refused(Token, QMPError)
    }

    /// What to do with a message.
    public enum ReceiveAction {
        /// The greeting came: `qmp_capabilities` leaves next and must be answered until this time.
        case negotiate(deadline: UInt64)
        /// The session is open. Requests in `failed` needed out-of-band execution, which is not on offer.
        case ready(QMPGreeting, failed: [Failure])
        /// Hand the message to whoever listens for events.
        case event(name: String)
        /// The command succeeded; its result is the member `return` of the message.
        case succeed(Token)
        /// QEMU refused the command.
        case fail(Token, QMPError)
        /// Report it; the session goes on.
        case problem(QMPError)
        /// Close the connection, tell the askers.
        case close(QMPError, failed: [Failure])
        /// The session is closed; nobody is interested.
        case ignore
    }

    /// What to do when a deadline may have passed.
    public enum DeadlineAction {
        /// Nothing is due.
        case none
        /// These commands missed their deadline.
        case fail([Failure])
        /// The session cannot be opened: close the connection, tell the askers.
        case close(QMPError, failed: [Failure])
    }

    /// What to do when the connection ends.
    public enum CloseAction {
        /// Tell the askers; the session is closed from now on.
        case fail([Failure])
        /// It was closed before.
        case ignore
    }

    private struct Pending {
        var id: UInt64
        var request: QMPRequest
        /// Nil once the asker was told that the deadline passed.
        var token: Token?
        var deadline: UInt64
        var carriesDescriptors: Bool
    }

    private enum State {
        case idle
        case awaitingGreeting(deadline: UInt64)
        case negotiating(QMPGreeting, isWritten: Bool, deadline: UInt64)
        case ready(QMPGreeting)
        case closed(QMPError)
    }

    private static var negotiationID: UInt64 { 1 }

    private let timeouts: QMPTimeouts
    private let inBandLimit: Int
    private let wantsOutOfBand: Bool
    private var state = State.idle
    /// Ids count up from 2; 1 is the negotiation's.
    private var lastID = negotiationID
    /// In band, in the order in which QEMU will answer.
    private var inFlight: Deque<Pending> = []
    private var outOfBandInFlight: [Pending] = []
    private var waiting: Deque<Pending> = []
    private var outOfBandWaiting: Deque<Pending> = []
    private var overdue = 0
    private var polls = 0
    private var descriptorsInFlight = 0

    /// A session that is not connected yet.
    public init(timeouts: QMPTimeouts = QMPTimeouts(), inBandLimit: Int = QMPLimits.inBand, wantsOutOfBand: Bool = true)
    {
        self.timeouts = timeouts
        self.inBandLimit = max(1, inBandLimit)
        self.wantsOutOfBand = wantsOutOfBand
    }

    // MARK: What can be asked

    /// The greeting, once negotiation is done.
    public var greeting: QMPGreeting? {
        if case .ready(let greeting) = self.state { greeting } else { nil }
    }

    /// Whether out-of-band commands can be sent.
    public var hasOutOfBand: Bool { self.wantsOutOfBand && self.greeting?.offersOutOfBand == true }

    /// Whether the session has ended.
    public var isClosed: Bool {
        if case .closed = self.state { true } else { false }
    }

    /// In-band commands that QEMU has not answered, overdue ones included.
    public var inFlightCount: Int { self.inFlight.count }

    /// Commands that were not sent yet.
    public var waitingCount: Int { self.waiting.count + self.outOfBandWaiting.count }

    /// Whether a missed deadline holds the in-band line.
    public var isHeldUp: Bool { self.overdue > 0 }

    /// When `hitDeadline` has something to do, unless something happens before.
    public var nextDeadline: UInt64? {
        var next: UInt64?
        func consider(_ deadline: UInt64) { next = min(next ?? .max, deadline) }
        switch self.state {
        case .awaitingGreeting(let deadline), .negotiating(_, _, let deadline): consider(deadline)
        case .idle, .ready, .closed: break
        }
        for pending in self.inFlight where pending.token != nil { consider(pending.deadline) }
        for pending in self.outOfBandInFlight where pending.token != nil { consider(pending.deadline) }
        for pending in self.waiting { consider(pending.deadline) }
        for pending in self.outOfBandWaiting { consider(pending.deadline) }
        return next
    }

    // MARK: What happens

    /// The transport is connected.
    public mutating func connected(at now: UInt64) -> ConnectAction {
        guard case .idle = self.state else { return .ignore }
        let deadline = Self.deadline(now, self.timeouts.greeting)
        self.state = .awaitingGreeting(deadline: deadline)
        return .awaitGreeting(deadline: deadline)
    }

    /// Somebody wants a command executed. Its deadline counts from here, waiting included. `carriesDescriptors` if
    /// descriptors go along with it.
    public mutating func submit(
        _ request: QMPRequest, token: Token, carriesDescriptors: Bool = false, at now: UInt64
    ) -> SubmitAction {
        switch self.state {
        case .closed(let error):
            return .refused(token, Self.failure(error, of: request.name, wasSent: false))
        case .ready where request.outOfBand && !self.hasOutOfBand:
            return .refused(token, Self.noOutOfBand(request.name))
        case .idle, .awaitingGreeting, .negotiating, .ready:
            break
        }
        let isPoll = request.kind == .poll && !request.outOfBand
        if isPoll, self.polls > 0 {
            return .refused(
                token, QMPError(.pollOutstanding, "\(request.name): the poll before it is still outstanding"))
        }
        if isPoll { self.polls += 1 }
        self.lastID += 1
        let deadline = Self.deadline(now, self.timeouts.limit(for: request))
        let pending = Pending(
            id: self.lastID, request: request, token: token, deadline: deadline, carriesDescriptors: carriesDescriptors)
        if request.outOfBand {
            self.outOfBandWaiting.append(pending)
        } else {
            self.waiting.append(pending)
        }
        return .accepted(id: pending.id, deadline: deadline)
    }

    /// The next command that may leave; nil when there is none. To be asked until nil after every other call.
    public mutating func nextWrite() -> Write? {
        switch self.state {
        case .negotiating(let greeting, isWritten: false, let deadline):
            self.state = .negotiating(greeting, isWritten: true, deadline: deadline)
            let isEnabling = self.wantsOutOfBand && greeting.offersOutOfBand
            return Write(
                id: Self.negotiationID, request: QMPRequest(QMPCapabilities(enable: isEnabling ? ["oob"] : [])))
        case .ready:
            if let pending = self.outOfBandWaiting.popFirst() {
                self.outOfBandInFlight.append(pending)
                return Write(id: pending.id, request: pending.request)
            }
            guard self.overdue == 0, self.inFlight.count < self.inBandLimit, let pending = self.waiting.first,
                !pending.carriesDescriptors || self.descriptorsInFlight == 0
            else { return nil }
            self.waiting.removeFirst()
            self.inFlight.append(pending)
            if pending.carriesDescriptors { self.descriptorsInFlight += 1 }
            return Write(id: pending.id, request: pending.request)
        case .idle, .awaitingGreeting, .negotiating, .closed:
            return nil
        }
    }

    /// A message came.
    public mutating func received(_ message: QMPMessage, at now: UInt64) -> ReceiveAction {
        if case .closed = self.state { return .ignore }
        switch message {
        case .event(let name):
            return .event(name: name)
        case .greeting(let greeting):
            return self.receivedGreeting(greeting, at: now)
        case .return(let id):
            return self.receivedReply(id, refusal: nil)
        case .error(let id, let errorClass, let desc):
            return self.receivedReply(id, refusal: (errorClass, desc))
        case .unknown:
            return self.receivedGarbage("a message that is neither greeting, event nor reply")
        }
    }

    /// Bytes came that are no QMP message; `what` describes them. Before the greeting that means that the peer speaks
    /// something else.
    public mutating func receivedGarbage(_ what: String) -> ReceiveAction {
        switch self.state {
        case .closed:
            return .ignore
        case .idle, .awaitingGreeting:
            let error = QMPError(.notQMP, "not a QMP monitor: it sent \(what)")
            return .close(error, failed: self.end(error))
        case .negotiating, .ready:
            return .problem(QMPError(.protocol, "the monitor sent \(what)"))
        }
    }

    /// A framed message came that cannot be parsed. QEMU can do that to a reply (it prints a NaN as `nan`); then the
    /// command it belongs to, if its id can still be made out, ends with `invalidReply` instead of holding up the line.
    public mutating func receivedUnreadable(_ line: UnsafeRawBufferPointer, _ what: String) -> ReceiveAction {
        guard case .ready = self.state, let id = QMPMessage.trailingID(line) else { return self.receivedGarbage(what) }
        switch self.answered(id, refusal: nil) {
        case .succeed(let token):
            return .fail(token, QMPError(.invalidReply, "the monitor answered with \(what)"))
        default:
            return .problem(QMPError(.protocol, "the monitor sent \(what)"))
        }
    }

    /// Time has passed.
    public mutating func hitDeadline(at now: UInt64) -> DeadlineAction {
        switch self.state {
        case .awaitingGreeting(let deadline) where deadline <= now:
            let error = QMPError(.busy, "monitor busy: another client is connected (no greeting came)")
            return .close(error, failed: self.end(error))
        case .negotiating(_, _, let deadline) where deadline <= now:
            let error = QMPError(.negotiation, "qmp_capabilities was not answered: the monitor is held up")
            return .close(error, failed: self.end(error))
        case .closed:
            return .none
        case .idle, .awaitingGreeting, .negotiating, .ready:
            break
        }
        var failures: [Failure] = []
        for index in self.inFlight.indices {
            if let failure = Self.expire(&self.inFlight[index], at: now) {
                failures.append(failure)
                self.overdue += 1
            }
        }
        for index in self.outOfBandInFlight.indices {
            if let failure = Self.expire(&self.outOfBandInFlight[index], at: now) { failures.append(failure) }
        }
        failures += self.expireWaiting(at: now)
        return failures.isEmpty ? .none : .fail(failures)
    }

    /// The connection ended, by us or by the peer, for the reason given.
    public mutating func closed(_ error: QMPError) -> CloseAction {
        if case .closed = self.state { return .ignore }
        return .fail(self.end(error))
    }

    // MARK: Inside

    private mutating func receivedGreeting(_ greeting: QMPGreeting, at now: UInt64) -> ReceiveAction {
        switch self.state {
        case .idle, .awaitingGreeting:
            let deadline = Self.deadline(now, self.timeouts.negotiation)
            self.state = .negotiating(greeting, isWritten: false, deadline: deadline)
            return .negotiate(deadline: deadline)
        case .negotiating, .ready:
            return .problem(QMPError(.protocol, "the monitor sent a second greeting"))
        case .closed:
            return .ignore
        }
    }

    private mutating func receivedReply(
        _ id: JSONValue?, refusal: (errorClass: String, desc: String)?
    ) -> ReceiveAction {
        guard let id else {
            guard let refusal else { return .problem(QMPError(.protocol, "the monitor sent a reply without id")) }
            var error = QMPError(.protocol, "the monitor sent an error without id: \(refusal.desc)")
            error.errorClass = refusal.errorClass
            error.desc = refusal.desc
            return .problem(error)
        }
        guard case .integer(let number) = id, let number = UInt64(exactly: number) else {
            return .problem(
                QMPError(.protocol, "the monitor sent a reply to an id that is not ours: \(Self.short(id))"))
        }
        switch self.state {
        case .negotiating(let greeting, isWritten: true, _) where number == Self.negotiationID:
            return self.negotiated(greeting, refusal: refusal)
        case .ready:
            return self.answered(number, refusal: refusal)
        case .idle, .awaitingGreeting, .negotiating:
            return .problem(QMPError(.protocol, "the monitor sent a reply to id \(number) before anything was asked"))
        case .closed:
            return .ignore
        }
    }

    private mutating func negotiated(
        _ greeting: QMPGreeting, refusal: (errorClass: String, desc: String)?
    ) -> ReceiveAction {
        if let refusal {
            var error = QMPError(.negotiation, "qmp_capabilities: \(refusal.desc)")
            error.errorClass = refusal.errorClass
            error.desc = refusal.desc
            return .close(error, failed: self.end(error))
        }
        self.state = .ready(greeting)
        guard !self.hasOutOfBand else { return .ready(greeting, failed: []) }
        var failed: [Failure] = []
        while let pending = self.outOfBandWaiting.popFirst() {
            guard let token = pending.token else { continue }
            failed.append(Failure(token: token, error: Self.noOutOfBand(pending.request.name)))
        }
        return .ready(greeting, failed: failed)
    }

    private mutating func answered(_ id: UInt64, refusal: (errorClass: String, desc: String)?) -> ReceiveAction {
        let pending: Pending
        // In-band replies come in order, so this is nearly always the first.
        if let index = self.inFlight.firstIndex(where: { $0.id == id }) {
            pending = self.inFlight.remove(at: index)
            if pending.request.kind == .poll { self.polls -= 1 }
            if pending.token == nil { self.overdue -= 1 }
            if pending.carriesDescriptors { self.descriptorsInFlight -= 1 }
        } else if let index = self.outOfBandInFlight.firstIndex(where: { $0.id == id }) {
            pending = self.outOfBandInFlight.remove(at: index)
        } else {
            return .problem(QMPError(.protocol, "the monitor sent a reply to id \(id), which nothing waits for"))
        }
        let name = pending.request.name
        guard let token = pending.token else {
            return .problem(QMPError(.timeout, "\(name): the reply came after its deadline and was discarded"))
        }
        guard let refusal else { return .succeed(token) }
        return .fail(token, .refused(name, errorClass: refusal.errorClass, desc: refusal.desc))
    }

    private static func expire(_ pending: inout Pending, at now: UInt64) -> Failure? {
        guard pending.deadline <= now, let token = pending.token else { return nil }
        pending.token = nil
        var error = QMPError(.timeout, "\(pending.request.name): no reply in time")
        error.wasSent = true
        return Failure(token: token, error: error)
    }

    private mutating func expireWaiting(at now: UInt64) -> [Failure] {
        var failures: [Failure] = []
        func expires(_ pending: Pending) -> Bool {
            guard pending.deadline <= now, let token = pending.token else { return false }
            let error = QMPError(.timeout, "\(pending.request.name): not sent in time, earlier commands are unanswered")
            failures.append(Failure(token: token, error: error))
            return true
        }
        var expiredPolls = 0
        self.waiting.removeAll { pending in
            guard expires(pending) else { return false }
            if pending.request.kind == .poll { expiredPolls += 1 }
            return true
        }
        self.polls -= expiredPolls
        self.outOfBandWaiting.removeAll(where: expires)
        return failures
    }

    /// Closes the session; the askers in the order in which they asked.
    private mutating func end(_ error: QMPError) -> [Failure] {
        self.state = .closed(error)
        var failed: [(id: UInt64, failure: Failure)] = []
        func collect(_ pendings: some Sequence<Pending>, wasSent: Bool) {
            for pending in pendings {
                guard let token = pending.token else { continue }
                let error = Self.failure(error, of: pending.request.name, wasSent: wasSent)
                failed.append((pending.id, Failure(token: token, error: error)))
            }
        }
        collect(self.inFlight, wasSent: true)
        collect(self.outOfBandInFlight, wasSent: true)
        collect(self.waiting, wasSent: false)
        collect(self.outOfBandWaiting, wasSent: false)
        self.inFlight = []
        self.outOfBandInFlight = []
        self.waiting = []
        self.outOfBandWaiting = []
        self.overdue = 0
        self.polls = 0
        self.descriptorsInFlight = 0
        return failed.sorted { $0.id < $1.id }.map(\.failure)
    }

    private static func failure(_ error: QMPError, of command: String, wasSent: Bool) -> QMPError {
        var failure = error.prefixed(command)
        failure.wasSent = wasSent
        return failure
    }

    private static func noOutOfBand(_ command: String) -> QMPError {
        QMPError(.outOfBandUnavailable, "\(command): this monitor has no out-of-band execution")
    }

    private static func deadline(_ now: UInt64, _ limit: Duration) -> UInt64 {
        let (sum, overflow) = now.addingReportingOverflow(limit.qmpNanoseconds)
        return overflow ? .max : sum
    }

    /// A peer chose it, so it is cut to a length fit for a message.
    private static func short(_ id: JSONValue) -> String {
        String(id.description.prefix(64))
    }
}

extension QMPSession.Failure: Equatable where Token: Equatable {}
extension QMPSession.SubmitAction: Equatable where Token: Equatable {}
extension QMPSession.ReceiveAction: Equatable where Token: Equatable {}
extension QMPSession.DeadlineAction: Equatable where Token: Equatable {}
extension QMPSession.CloseAction: Equatable where Token: Equatable {}
extension QMPSession.Failure: Sendable where Token: Sendable {}
