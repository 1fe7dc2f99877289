/// The published vocabulary, version 1. It changes only as a documented change of the interface; new words of QEMU
/// never change it.
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
    /// The one total map from both sides' reports to the published status: the first of ``PublishedRules/table`` that
    /// applies names the word. Nothing else names published words for what QEMU did.
    ///
    /// A side that was never seen is `nil` and is never invented: then the other side's last word counts and `basis`
    /// says so.
    public init(source: SideReport?, destination: SideReport?, context: JointContext = JointContext()) {
        let reports = JointReport(source: source, destination: destination, context: context)
        guard let deciding = reports.deciding else {
            self = .idle
            return
        }
        let word = PublishedRules.rule(for: reports).word
        let isOver = reports.basis == .both && word.isEnd
        self.init(
            word: word, stopping: isOver ? .none : Self.stopping(deciding), qemu: deciding.word, basis: reports.basis)
    }

    private static func stopping(_ report: SideReport) -> Stopping {
        switch report.stopping {
        case .cancelled?: .cancel
        case .failed?: .failure
        case nil: .none
        }
    }
}
