/// Where one side of a post-copy migration is: exactly one of these at any time.
///
/// A machine of its own beside the tables, because post-copy goes round in circles (broken, paused, recovered, and
/// again) while the tables only grow. It is moved by the rows as they are noted, each of which may be missing, late or
/// unknown, and it never moves backward on a word that is older than what is known.
public enum PostcopyState: String, Hashable, Sendable, CaseIterable {
    /// Not in post-copy: not asked for, or over.
    case off
    /// On a source, `migrate-start-postcopy` left and QEMU has not switched yet; pre-copy can still come to its end
    /// first.
    case requested
    /// The package of device state is on its way or being loaded (QEMU 10.2). A failure here still returns to the
    /// source.
    case device
    /// The guest may run on the destination while memory follows. On QEMU up to 9.2 the source says so before its guest
    /// stops.
    case active
    /// The channel broke. Stays so until somebody asks for a recovery.
    case paused
    /// On a source, a recovery connects (QEMU 9.1; older ones go from `paused` to `recovering` at once). On a
    /// destination, `migrate-recover` was accepted and the source has not come yet, which no status word tells.
    case reconnecting
    /// The two shake hands on a new channel.
    case recovering

    /// Whether the guest's memory is in two places, so that neither QEMU has it whole.
    public var isSplit: Bool {
        switch self {
        case .off, .requested, .device: false
        case .active, .paused, .reconnecting, .recovering: true
        }
    }

    /// The stage, `nil` where post-copy does not decide it yet. A destination that listens again is still paused:
    /// nothing recovers before the source comes.
    func stage(on side: Side) -> Stage? {
        switch self {
        case .off, .requested: nil
        case .device: .postcopy(.device)
        case .active: .postcopy(.active)
        case .paused: .postcopy(.paused)
        case .reconnecting: .postcopy(side == .source ? .recovering : .paused)
        case .recovering: .postcopy(.recovering)
        }
    }
}

/// What can move a post-copy machine.
public enum PostcopyInput: Hashable, Sendable {
    /// `migrate-start-postcopy` left for an attempt that goes on.
    case started
    /// QEMU refused `migrate-start-postcopy`.
    case startRefused
    /// A destination accepted `migrate-recover` and listens again.
    case listening
    /// A status word. `isSure` if it cannot be older than what is known: a query that left after the last change, the
    /// first word after a lost connection, or what an accepted request has just asked for.
    case word(StatusWord, from: ObservationSource, isSure: Bool)
}

extension PostcopyState {
    /// The state after an input.
    ///
    /// - Returns: `nil` for a word that is older than what is known and therefore moves nothing.
    public func next(_ input: PostcopyInput, on side: Side) -> PostcopyState? {
        switch input {
        case .started: self == .off && side == .source ? .requested : self
        case .startRefused: self == .requested ? .off : self
        case .listening: self == .paused && side == .destination ? .reconnecting : self
        case .word(let word, let source, let isSure): next(word, from: source, isSure: isSure, on: side)
        }
    }

    private func next(
        _ word: StatusWord, from source: ObservationSource, isSure: Bool, on side: Side
    ) -> PostcopyState? {
        switch word {
        case .completed, .failed, .cancelled: return .off
        case .postcopyDevice: return isSplit ? nil : .device
        case .postcopyActive: return self != .paused || isSure ? .active : nil
        case .postcopyPaused:
            // A destination that listens again still answers `postcopy-paused`; only the event tells that a recovery
            // failed.
            return self == .reconnecting && side == .destination && source == .query ? self : .paused
        case .postcopyRecoverSetup:
            return (self != .active && self != .recovering) || isSure ? .reconnecting : nil
        case .postcopyRecover: return self != .active || isSure ? .recovering : nil
        case .setup where side == .destination && (self == .paused || self == .reconnecting):
            // QEMU up to 8.1 says `setup` whenever it begins to listen, after `migrate-recover` too.
            return .reconnecting
        case .setup, .waitUnplug, .active, .preSwitchover, .device: return isSplit || self == .device ? nil : self
        default: return self
        }
    }
}
