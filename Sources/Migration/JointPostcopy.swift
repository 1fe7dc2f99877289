/// Both sides of a post-copy migration seen together.
public enum JointPostcopy: Hashable, Sendable {
    /// Not in post-copy: not asked for, over, or back at the source.
    case off
    /// Asked for and not certain yet on both sides. A failure here returns to the source.
    case entering
    /// The guest may run on the destination, memory follows. From here on there is no return.
    case running
    /// The channel broke and this side knows it; the other one does not yet, since a dead peer is noticed late.
    case halfPaused(Side)
    /// Both know that the channel broke.
    case paused
    /// The source connects anew.
    case reconnecting
    /// Both shake hands on the new channel.
    case recovering
    /// One side is done, the other not yet.
    case finishing
    /// One of the two is gone before the memory was whole anywhere. Nobody may continue the guest from what is left.
    case lost

    /// What both reports show together. Total: whatever two QEMUs are seen in has a view.
    public init(source: SideReport, destination: SideReport) {
        let isEntered = source.hasLeftInPostcopy || destination.hasLeftInPostcopy
        guard isEntered || source.postcopy != .off || destination.postcopy != .off else {
            self = .off
            return
        }
        if Self.isLost(source, destination) {
            self = .lost
        } else if destination.completed != nil {
            self = source.completed != nil || source.gone != nil ? .off : .finishing
        } else if source.completed != nil {
            self = .finishing
        } else if source.ended != nil {
            self = .off
        } else {
            self = Self.underWay(source.postcopy, destination.postcopy)
        }
    }

    /// Whether the memory is whole nowhere any more. A destination that completed has it whole, and so has a source
    /// that came back before the destination left.
    static func isLost(_ source: SideReport, _ destination: SideReport) -> Bool {
        guard source.hasLeftInPostcopy || destination.hasLeftInPostcopy else { return false }
        if source.gone != nil, destination.completed == nil { return source.completed == nil || isDead(destination) }
        if isDead(destination) {
            let isWholeOnSource = source.ended != nil && source.isRunning == true
            // After both completed the guest was whole on a destination that then went: not post-copy's doing.
            return !isWholeOnSource && (source.completed == nil || destination.completed == nil)
        }
        // A cancel in post-copy, which QEMU up to 9.2 accepts, and errors after the guest may have run: the source does
        // not resume.
        return source.ended != nil && source.isRunning != true && destination.hasLeftInPostcopy
            && destination.completed == nil
    }

    private static func isDead(_ report: SideReport) -> Bool { report.gone != nil || report.ended != nil }

    private static func underWay(_ source: PostcopyState, _ destination: PostcopyState) -> JointPostcopy {
        switch (source, destination) {
        case (.off, _), (.requested, _), (.device, _): .entering
        case (.active, .off), (.active, .requested), (.active, .device): .entering
        case (.active, .active): .running
        case (.active, .paused), (.active, .reconnecting): .halfPaused(.destination)
        case (.active, .recovering): .recovering
        case (.paused, .paused), (.paused, .reconnecting): .paused
        case (.paused, _): .halfPaused(.source)
        case (.reconnecting, _): .reconnecting
        case (.recovering, _): .recovering
        }
    }
}

/// What is to be done next in post-copy, as far as both reports tell.
public enum PostcopyAction: Hashable, Sendable {
    /// Nothing: not in post-copy.
    case none
    /// Wait for QEMU.
    case wait
    /// `cont` on the destination: it waits for it, and the pause goes on until it comes.
    case runDestination
    /// After a while `migrate-pause`, out of band, on this side: it does not know yet that the channel is dead.
    case pause(Side)
    /// `migrate-recover`, out of band, on the destination.
    case recoverDestination
    /// `migrate` with `resume` on the source: the destination listens again.
    case resumeSource
    /// Wait; if it takes too long `migrate-pause` both and begin the recovery again.
    case waitOrPauseBoth
    /// The destination has the guest whole and the source cannot learn it any more: the source's QEMU is not needed.
    case endSource
    /// Tell a person. The source must never be continued.
    case report
}

extension PostcopyAction {
    /// What both reports ask for.
    public init(source: SideReport, destination: SideReport) {
        switch JointPostcopy(source: source, destination: destination) {
        case .off: self = .none
        case .entering, .reconnecting: self = .wait
        case .running: self = destination.ran == nil && destination.runSent == nil ? .runDestination : .wait
        case .halfPaused(let side): self = .pause(side.other)
        case .paused: self = destination.postcopy == .reconnecting ? .resumeSource : .recoverDestination
        case .recovering: self = .waitOrPauseBoth
        case .finishing:
            let isCutOff = source.postcopy.isSplit && source.postcopy != .active && source.completed == nil
            self = destination.completed != nil && isCutOff ? .endSource : .wait
        case .lost: self = .report
        }
    }
}
