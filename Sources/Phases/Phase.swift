public import Migration

/// libvirt's migration phases, in its order and by its names. The order is what "backwards" means.
public enum Phase: String, Hashable, Sendable, CaseIterable, Comparable {
    /// No phase yet.
    case none
    /// Protocol v2, source: the whole outgoing migration in one call.
    case perform2
    /// Source: Begin was answered, the job is held.
    case begin3
    /// Source: Perform is running.
    case perform3
    /// Source: Perform was answered; Finish decides.
    case perform3Done = "perform3_done"
    /// Source: Confirm of something that did not succeed.
    case confirm3Cancelled = "confirm3_cancelled"
    /// Source: Confirm of a success.
    case confirm3
    /// Destination: listening.
    case prepare
    /// Protocol v2, destination: Finish is running.
    case finish2
    /// Destination: Finish is running.
    case finish3
    /// Post-copy broke; nobody watches, the job is kept.
    case postcopyFailed = "postcopy_failed"
    /// Source: Begin of a post-copy recovery.
    case beginResume = "begin_resume"
    /// Source: Perform of a recovery.
    case performResume = "perform_resume"
    /// Source: Confirm of a recovery.
    case confirmResume = "confirm_resume"
    /// Destination: Prepare of a recovery.
    case prepareResume = "prepare_resume"
    /// Destination: Finish of a recovery.
    case finishResume = "finish_resume"

    /// The place in libvirt's order.
    public var order: Int {
        switch self {
        case .none: 0
        case .perform2: 1
        case .begin3: 2
        case .perform3: 3
        case .perform3Done: 4
        case .confirm3Cancelled: 5
        case .confirm3: 6
        case .prepare: 7
        case .finish2: 8
        case .finish3: 9
        case .postcopyFailed: 10
        case .beginResume: 11
        case .performResume: 12
        case .confirmResume: 13
        case .prepareResume: 14
        case .finishResume: 15
        }
    }

    /// Earlier in libvirt's order.
    public static func < (left: Phase, right: Phase) -> Bool { left.order < right.order }

    /// Whether the phase belongs to this side; `none` and `postcopy_failed` belong to both.
    public func belongs(to side: Side) -> Bool {
        switch self {
        case .none, .postcopyFailed: true
        case .perform2, .begin3, .perform3, .perform3Done, .confirm3Cancelled, .confirm3, .beginResume,
            .performResume, .confirmResume:
            side == .source
        case .prepare, .finish2, .finish3, .prepareResume, .finishResume: side == .destination
        }
    }
}

/// A move of the phase machine.
public struct PhaseMove: Hashable, Sendable {
    /// Whose phase.
    public var side: Side
    /// From.
    public var from: Phase
    /// To.
    public var to: Phase
    /// Who is inside the job, `nil` between calls.
    public var owner: String?

    /// A move.
    public init(side: Side, from: Phase, to: Phase, owner: String?) {
        self.side = side
        self.from = from
        self.to = to
        self.owner = owner
    }
}
