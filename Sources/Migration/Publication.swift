/// The published vocabulary, version 1. It changes only as a documented change of the interface; new words of QEMU never change it.
public enum PublishedWord: String, Hashable, Sendable, CaseIterable {
    /// Nothing was started.
    case idle
    /// `migrate` was sent, no memory moves yet.
    case starting
    /// Memory moves.
    case copying
    /// The guest is stopped, or has left the source, and does not run on the destination yet.
    case switchover
    /// The guest may run on the destination while memory follows.
    case postcopy
    /// The channel broke in post-copy; recovery is needed.
    case postcopyPaused = "postcopy-paused"
    /// A post-copy recovery is under way.
    case recovering
    /// The guest is on the destination in the intended run state.
    case completed
    /// The guest did not leave, because of an error.
    case failed
    /// The guest did not leave, because somebody wished so.
    case cancelled
    /// It cannot be proven where the guest may run.
    case undecided
    /// The guest is gone.
    case lost
    /// The guest shut itself down on the way.
    case ended

    /// Whether nothing follows.
    public var isEnd: Bool {
        switch self {
        case .completed, .failed, .cancelled, .undecided, .lost, .ended: true
        default: false
        }
    }
}

/// What the attempt is being stopped for.
public enum Stopping: String, Hashable, Sendable {
    /// It is not.
    case none
    /// Somebody's cancel.
    case cancel
    /// An error.
    case failure
}

/// On whose word a status rests.
public enum StatusBasis: String, Hashable, Sendable {
    /// Both QEMUs were seen.
    case both
    /// Only the source was seen.
    case source
    /// Only the destination was seen.
    case destination
}

/// The published status of an attempt.
public struct PublishedStatus: Hashable, Sendable {
    /// The frozen word.
    public var word: PublishedWord
    /// What it is being stopped for, while it is.
    public var stopping: Stopping
    /// The source's raw status word (the destination's where only that was seen), for diagnosis.
    public var qemu: StatusWord?
    /// On whose word it rests.
    public var basis: StatusBasis

    /// A status.
    public init(
        word: PublishedWord, stopping: Stopping = .none, qemu: StatusWord? = nil, basis: StatusBasis = .both
    ) {
        self.word = word
        self.stopping = stopping
        self.qemu = qemu
        self.basis = basis
    }

    /// Nothing was started.
    public static let idle = PublishedStatus(word: .idle)
}

/// What the joint decision needs besides the two reports.
public struct JointContext: Hashable, Sendable {
    /// Whether the destination is meant to stay paused although the guest ran (`--paused`).
    public var isPausedIntended: Bool
    /// Whether the guest was paused by somebody else on the way; then it stays paused.
    public var wasPausedOnTheWay: Bool

    /// A context.
    public init(isPausedIntended: Bool = false, wasPausedOnTheWay: Bool = false) {
        self.isPausedIntended = isPausedIntended
        self.wasPausedOnTheWay = wasPausedOnTheWay
    }
}

extension PublishedStatus {
    /// The one total map from both sides' reports to the published status. It is the only place that names published words for what QEMU did.
    ///
    /// A side that was never seen is `nil` and is never invented: then the other side's last word counts and `basis` says so.
    public init(source: SideReport?, destination: SideReport?, context: JointContext = JointContext()) {
        switch (source, destination) {
        case (nil, nil):
            self = .idle
        case (let source?, nil):
            self.init(
                word: Self.word(alone: source), stopping: Self.stopping(source), qemu: source.word, basis: .source)
        case (nil, let destination?):
            self.init(
                word: Self.word(alone: destination), stopping: Self.stopping(destination), qemu: destination.word,
                basis: .destination)
        case (let source?, let destination?):
            let word = Self.word(source, destination, context)
            self.init(
                word: word, stopping: word.isEnd ? .none : Self.stopping(source), qemu: source.word, basis: .both)
        }
    }

    private static func stopping(_ report: SideReport) -> Stopping {
        switch report.stopping {
        case .cancelled?: .cancel
        case .failed?: .failure
        case nil: .none
        }
    }

    private static func word(alone report: SideReport) -> PublishedWord {
        switch report.stage {
        case .gone:
            if report.completed != nil { return .completed }
            if report.guestShutdown != nil { return .ended }
            if report.ended != nil { return report.ending == .cancelled ? .cancelled : .failed }
            return report.opened == nil ? .idle : .lost
        case .completed:
            guard report.side == .destination else { return .completed }
            return report.ran != nil ? .completed : .switchover
        default:
            return word(underWay: report)
        }
    }

    /// The word for a stage that is no meeting of both sides.
    private static func word(underWay report: SideReport) -> PublishedWord {
        switch report.stage {
        case .idle: .idle
        case .starting, .waiting: .starting
        case .copying: report.stopped != nil && !report.isHeldByPolicy && report.resumed == nil ? .switchover : .copying
        case .held, .switchover, .completed: .switchover
        case .postcopy(.paused): .postcopyPaused
        case .postcopy(.recovering): .recovering
        case .postcopy(.device): .switchover
        case .postcopy(.active): .postcopy
        case .stopping: report.stopped != nil ? .switchover : report.word == nil ? .starting : .copying
        case .ended(.cancelled): .cancelled
        case .ended(.failed): .failed
        case .gone: .switchover
        }
    }

    private static func word(
        _ source: SideReport, _ destination: SideReport, _ context: JointContext
    ) -> PublishedWord {
        guard source.opened != nil else { return .idle }
        if isInPostcopy(source) || isInPostcopy(destination) {
            if source.gone != nil, source.completed == nil { return .lost }
            if destination.gone != nil, destination.completed == nil { return .lost }
        }
        if destination.completed != nil, source.completed != nil || source.gone != nil {
            return arrived(source, destination, context)
        }
        if let gone = source.gone, source.completed == nil {
            if let shutdown = source.guestShutdown, source.ended ?? .max > shutdown { return .ended }
            if let ended = source.ended, ended < gone { return source.ending == .cancelled ? .cancelled : .failed }
            return source.guestShutdown != nil ? .ended : .lost
        }
        switch source.stage {
        case .completed:
            return hasFailed(destination) && !mayHaveRun(destination) ? .failed : .switchover
        case .gone:
            return hasFailed(destination) ? .lost : .switchover
        default:
            return word(underWay: source)
        }
    }

    /// Both are done, or the source is gone after the destination was: the guest is where the destination is.
    private static func arrived(
        _ source: SideReport, _ destination: SideReport, _ context: JointContext
    ) -> PublishedWord {
        if destination.ran != nil { return .completed }
        if destination.gone != nil {
            if source.gone != nil { return .lost }
            // It was told to run and died: whether it ran for a moment, and wrote to the disks, nobody can say.
            return mayHaveRun(destination) ? .undecided : .failed
        }
        if let completed = source.completed, let resumed = source.resumed, resumed > completed { return .failed }
        let stays = source.wasRunning == false || context.isPausedIntended || context.wasPausedOnTheWay
        return destination.runState == .shutdown || stays && isAtRest(destination) ? .completed : .switchover
    }

    /// Whether a query has shown the loaded guest stopped.
    private static func isAtRest(_ report: SideReport) -> Bool {
        guard let state = report.runState, report.isRunning == false else { return false }
        return state != .inMigrate && state != .running
    }

    private static func isInPostcopy(_ report: SideReport) -> Bool {
        if case .postcopy(let stage) = report.stage { return stage != .device }
        return false
    }

    private static func hasFailed(_ report: SideReport) -> Bool { report.gone != nil || report.ended != nil }

    /// Whether `cont` may have taken effect. A `cont` that QEMU refused did not.
    private static func mayHaveRun(_ report: SideReport) -> Bool {
        report.ran != nil || (report.runSent != nil && !report.isRunRefused)
    }
}
