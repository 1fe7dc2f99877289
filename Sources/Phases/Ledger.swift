public import Migration

/// What survives a crash of a side: the fold of its journal's records, which are written before the effects after them.
///
/// Tombstones, run records and surrenders are kept for every attempt for ever; the rest tells of the last attempt.
public struct Ledger: Hashable, Sendable {
    /// Whose.
    public let side: Side
    /// The last attempt that was begun here.
    public private(set) var attempt: String?
    /// The phase of the job.
    public private(set) var phase = Phase.none
    /// What the capabilities were.
    public private(set) var capabilities: [CapabilitySetting] = []
    /// What the parameters were.
    public private(set) var parameters: [Setting] = []
    /// Whether there is anything to be put back.
    public private(set) var isSaved = false
    /// Whether the guest ran on this side when the attempt began.
    public private(set) var wasRunning: Bool?
    /// Commands that may have left for QEMU.
    public private(set) var intents: Set<TriggerKind> = []
    /// What was asked of this attempt here, and by whom first.
    public private(set) var requests: [Request: Origin] = [:]
    /// The steps of this attempt with the cookies they were entered with.
    public private(set) var calls: [Step: Cookie] = [:]
    /// How they were answered.
    public private(set) var answers: [Step: StepResult] = [:]
    /// How many recoveries of a post-copy were begun.
    public private(set) var recoveries = 0
    /// The attempts whose guest was given away.
    public private(set) var surrendered: Set<String> = []
    /// The attempts whose guest may run here.
    public private(set) var run: Set<String> = []
    /// The attempts that will never run here.
    public private(set) var refused: Set<String> = []

    /// Whether somebody else paused the guest while it was copied.
    public private(set) var wasPausedOnTheWay = false
    /// What the lock manager said last when it got the guest's leases back.
    public private(set) var lease: LeaseState?

    /// What Prepare was answered with before a recovery.
    private var kept: Cookie?

    /// An empty ledger.
    public init(side: Side) { self.side = side }

    /// Whether the guest of this attempt was given away.
    public func isSurrendered(_ attempt: String) -> Bool { surrendered.contains(attempt) }

    /// Whether the guest of this attempt may run here.
    public func isRun(_ attempt: String) -> Bool { run.contains(attempt) }

    /// Whether this attempt will never run here.
    public func isRefused(_ attempt: String) -> Bool { refused.contains(attempt) }

    /// Whether the last step on this side, Finish or a Confirm of success, is done.
    public var isFinished: Bool {
        guard case .done? = answers[side == .source ? .confirm : .finish] else { return false }
        return side == .destination || calls[.confirm]?.isSuccess ?? (phase == .none)
    }

    /// Whether QEMU itself, or a person, said that it did not run the guest, so that a commit of this attempt was taken
    /// back.
    public var isRunTakenBack: Bool {
        if requests[.destinationNeverRan] != nil { return true }
        if case .failed(let error)? = answers[.finish] { return error.kind == .failed }
        return false
    }

    /// Folds a record in. What belongs to the other side is passed over.
    public mutating func note(_ record: JournalRecord) {
        switch record {
        case .saved(side, let capabilities, let parameters):
            self.capabilities = capabilities
            self.parameters = parameters
            isSaved = true
        case .surrendered(let attempt): surrendered.insert(attempt)
        case .run(let attempt): run.insert(attempt)
        case .refused(let attempt): refused.insert(attempt)
        case .began(side, _, let wasRunning): self.wasRunning = wasRunning
        case .intent(side, let kind): intents.insert(kind)
        case .phase(let move) where move.side == side: phase = move.to
        case .called(let step, let cookie) where step.side == side:
            if cookie.attempt != attempt { open(cookie.attempt) }
            if let recovery = cookie.recovery, recovery > recoveries { recover(recovery) }
            calls[step] = cookie
            // Called again after an interruption: what was answered then is no answer to this.
            answers[step] = nil
        case .answered(let step, let result) where step.side == side: answers[step] = result
        case .requested(let request, let origin):
            requests[request] = requests[request] ?? origin
            // The refusal that a person overrules is no answer any more.
            if request == .destinationNeverRan { answers[.abandon] = nil }
        case .released(side, let state): lease = state
        case .interfered(let isPaused) where side == .source: wasPausedOnTheWay = isPaused
        case .saved, .began, .intent, .phase, .called, .answered, .released, .interfered: break
        }
    }

    /// Empties the words of errors: they are for people alone.
    mutating func emptyTexts() { answers = answers.mapValues(\.withoutTexts) }

    /// The steps are taken once more, with what the earlier ones left.
    private mutating func recover(_ recovery: Int) {
        recoveries = recovery
        kept = preparedCookie ?? kept
        calls = [:]
        answers = [:]
    }

    /// What Prepare was answered with, before or in a recovery.
    var preparedCookie: Cookie? {
        if case .done(let cookie)? = answers[.prepare] { return cookie }
        return kept
    }

    private mutating func open(_ attempt: String) {
        self.attempt = attempt
        recoveries = 0
        kept = nil
        lease = nil
        wasPausedOnTheWay = false
        phase = .none
        capabilities = []
        parameters = []
        isSaved = false
        wasRunning = nil
        intents = []
        requests = [:]
        calls = [:]
        answers = [:]
    }
}

/// What survives a crash of a coordinator: what it was asked, which steps it called and how they were answered.
public struct CoordinatorLedger: Hashable, Sendable {
    /// The requests that were taken, in their order.
    public private(set) var requests: [RequestNote] = []
    /// The steps that were called, in their order, with their cookies.
    public private(set) var calls: [CallNote] = []
    /// How they were answered.
    public private(set) var answers: [Step: StepResult] = [:]
    /// How many recoveries of a post-copy were begun.
    public private(set) var recoveries = 0
    /// What Prepare was answered with before a recovery.
    private var earlierPrepared: Cookie?
    /// What Perform was answered with before a recovery.
    private var earlierPerformed: Cookie?

    /// A request and who made it.
    public struct RequestNote: Hashable, Sendable {
        /// What.
        public var request: Request
        /// Who.
        public var origin: Origin
    }

    /// A step that was called.
    public struct CallNote: Hashable, Sendable {
        /// Which.
        public var step: Step
        /// With what.
        public var cookie: Cookie
    }

    /// An empty ledger.
    public init() {}

    /// What Prepare was answered with; `nil` if it was not done.
    public var prepared: Cookie? { done(.prepare) ?? earlierPrepared }

    /// What Perform was answered with; `nil` if it was not done.
    public var performed: Cookie? { done(.perform) ?? earlierPerformed }

    private func done(_ step: Step) -> Cookie? { if case .done(let cookie)? = answers[step] { cookie } else { nil } }

    /// Whether a step was called.
    public func hasCalled(_ step: Step) -> Bool { calls.contains { $0.step == step } }

    /// The cookie a step was called with.
    public func cookie(of step: Step) -> Cookie? { calls.last { $0.step == step }?.cookie }

    /// Whether somebody asked this.
    public func hasRequest(_ request: Request) -> Bool { requests.contains { $0.request == request } }

    /// Who asked this first; `nil` if nobody did.
    public func origin(of request: Request) -> Origin? { requests.first { $0.request == request }?.origin }

    /// Whether a step was called and is not answered.
    public func isOutstanding(_ step: Step) -> Bool { hasCalled(step) && answers[step] == nil }

    /// The steps that wait for an answer, in the order they were called.
    public var outstanding: [CallNote] { calls.filter { answers[$0.step] == nil } }

    /// Folds a record in.
    public mutating func note(_ record: JournalRecord) {
        switch record {
        case .requested(let request, let origin):
            let note = RequestNote(request: request, origin: origin)
            if !requests.contains(note) { requests.append(note) }
        case .called(let step, let cookie):
            if let recovery = cookie.recovery, recovery > recoveries {
                recoveries = recovery
                (earlierPrepared, earlierPerformed) = (prepared, performed)
                calls = []
                answers = [:]
            }
            calls.removeAll { $0.step == step }
            calls.append(CallNote(step: step, cookie: cookie))
            answers[step] = nil
        case .answered(let step, let result): answers[step] = result
        default: break
        }
    }

    /// Empties the words of errors: they are for people alone.
    mutating func emptyTexts() { answers = answers.mapValues(\.withoutTexts) }
}
