public import Migration
public import Policy

/// What somebody can ask of an attempt.
public enum Request: String, Hashable, Sendable {
    /// Move the guest.
    case migrate
    /// Don't.
    case cancel
    /// Stop the guest, so that the memory stands still.
    case pauseGuest = "pause-guest"
    /// Let the guest go before its memory.
    case postcopy
    /// Interrupt a post-copy, so that it can be recovered over another channel.
    case pausePostcopy = "pause-postcopy"
    /// Go on with a post-copy that was interrupted.
    case recover
    /// A person states: the guest never ran on the destination, and never will.
    case destinationNeverRan = "destination-never-ran"
    /// A person states: the guest runs, or ran, on the destination.
    case destinationRan = "destination-ran"
    /// Let a guest go that QEMU holds before the switchover.
    case `continue`
    /// Change parameters of the migration that runs.
    case set
}

/// A moment at which the user's hook program is run.
public enum HookPoint: String, Hashable, Sendable, CaseIterable {
    /// Before anything is asked of either QEMU.
    case begin
    /// The guest stands still and its disks are still the source's: the last moment at which nothing has changed hands.
    case preSwitchover = "pre-switchover"
    /// The file that the guest was saved to is complete: before its QEMU is ended it has to be safe on the disk, under
    /// its name. Not the user's program but the driver's own work.
    case store
    /// Everything is over.
    case end
}

/// What a deadline on the whole migration does.
public enum TimeoutAction: String, Hashable, Sendable, CaseIterable {
    /// Cancel.
    case cancel
    /// Stop the guest and let the migration end.
    case pauseGuest = "pause-guest"
}

/// What the user wants of an attempt.
public struct MigrateOptions: Hashable, Sendable {
    /// The attempt's id, the same in every record and cookie of it.
    public var attempt: String
    /// Where the destination shall listen and the source connect; `tcp:HOST:0` lets QEMU choose the port. `fd:NAME` is
    /// a pair of connected sockets that the driver makes: each QEMU gets one end under that name.
    public var uri: String
    /// Where the source connects, if that is another address than the one the destination listens on: another name of
    /// its host, or the other end of a command. Port 0 is the port that the destination's QEMU chose.
    public var connectURI: String?
    /// Capabilities beside those that every attempt uses, by QEMU's names; each is switched on where it belongs.
    public var capabilities: [String] = []
    /// Parameters by QEMU's names; each is set where it belongs.
    public var parameters: [Setting] = []
    /// Leave the guest paused on the destination.
    public var isPausedIntended = false
    /// Leave the source's QEMU in `postmigrate` instead of ending it.
    public var keepsSource = false
    /// Bound on the whole migration; `nil` for none.
    public var timeoutMilliseconds: Int?
    /// What happens then.
    public var timeoutAction = TimeoutAction.cancel
    /// The other waits.
    public var deadlines = DeadlineTable()
    /// The host that runs this.
    public var hostName: String?
    /// The UUID of that host.
    public var hostUUID: String?
    /// The protocol that the steps follow.
    public var protocolVersion = ProtocolVersion.v3
    /// Both sides are on this one host, and that is what is wanted. An attempt with both sides in one process always is
    /// one.
    public var isOneHost = false
    /// The lock manager that both sides use; `nil` for none.
    public var lockManager: LockManagerKind?
    /// Who calls the steps.
    public var mode = MigrationMode.managed
    /// Whether Begin holds the source's job, so that nothing about the guest changes between Begin and Perform.
    /// Without, Perform starts the job.
    public var hasChangeProtection = true
    /// Nothing runs and no memory moves: only the definition of the guest changes its place.
    public var isOffline = false
    /// Whether and how disks are copied along; `nil` for disks that both hosts see.
    public var storage: StorageWish?
    /// Whether a guest that QEMU holds before the switchover waits for somebody's word.
    public var isHeld = false
    /// Whether an error of the guest's disk that stops the guest ends the migration, as libvirt's ABORT_ON_ERROR does. The guest stays
    /// stopped with the error.
    public var isAbortedOnError = false
    /// The file that the guest goes into or comes out of; goes with `MigrationMode.save` and `.restore`.
    public var file: FileWish?
    /// Whether there is a program to be run at each `HookPoint`; the driver knows which.
    public var hasHook = false
    /// How the stream is encrypted; `nil` for not at all.
    public var tls: TLSWish?
    /// Whether and how post-copy may be used; `nil` forbids it.
    public var postcopy: PostcopyWish?
    /// The attempt goes on with a post-copy that was interrupted.
    public var isPostcopyResume = false
    /// The convergence policy, if there is one.
    public var policy: PolicyWish?

    /// An attempt with everything else as usual.
    public init(attempt: String, uri: String) {
        self.attempt = attempt
        self.uri = uri
    }

    /// Whether the source's job begins with Begin and not with Perform.
    var holdsJobFromBegin: Bool { protocolVersion == .v3 && (hasChangeProtection || mode.isHeldThroughout) }

    /// Whether post-copy may be used as things are: it is wished, the protocol has a way back from Finish, and the
    /// destination can ask for pages.
    public var isPostcopyPossible: Bool {
        postcopy != nil && isTwoWay && protocolVersion == .v3 && !isOffline && (mode == .managed || mode == .peerToPeer)
    }

    /// Whoever reads a cookie of this attempt on this host.
    public var cookieReader: CookieReader {
        CookieReader(attempt: attempt, hostUUID: hostUUID, isOneHost: isOneHost, lockManager: lockManager)
    }

    /// Whether the stream has a way back from the destination. On exec, file and pipes `return-path` leaves the guest
    /// stopped for ever.
    public var isTwoWay: Bool {
        ["tcp:", "unix:", "vsock:", "rdma:", "fd:"].contains { uri.hasPrefix($0) }
    }
}

/// What a QEMU binary can do, asked of the binary and not of a version table.
public struct QEMUFeatures: Hashable, Sendable {
    /// `migrate-incoming` takes `exit-on-error` (9.1).
    public var hasExitOnError: Bool
    /// `yank` exists (6.0).
    public var hasYank: Bool
    /// Out-of-band commands were negotiated.
    public var hasOutOfBand: Bool
    /// `MigrationStatus` has `postcopy-device` (10.2): before it, `postcopy-active` says nothing about what the
    /// destination has loaded.
    public var hasPostcopyDevice: Bool
    /// `object-add` takes properties in a member of their own (before 6.0).
    public var nestsObjectProperties: Bool
    /// `migrate` and `migrate-incoming` take an address by `channels` (8.2).
    public var hasChannels: Bool
    /// Addresses may be files (8.2).
    public var hasFiles: Bool

    /// Features.
    public init(
        hasExitOnError: Bool = false, hasYank: Bool = false, hasOutOfBand: Bool = false,
        hasPostcopyDevice: Bool = false, nestsObjectProperties: Bool = false, hasChannels: Bool = false,
        hasFiles: Bool = false
    ) {
        self.hasExitOnError = hasExitOnError
        self.hasYank = hasYank
        self.hasOutOfBand = hasOutOfBand
        self.hasPostcopyDevice = hasPostcopyDevice
        self.nestsObjectProperties = nestsObjectProperties
        self.hasChannels = hasChannels
        self.hasFiles = hasFiles
    }
}

/// What was read of a QEMU before anything was asked of it.
public struct Survey: Hashable, Sendable {
    /// What it is made of.
    public var description: DomainDescription
    /// What it can do.
    public var features: QEMUFeatures
    /// Whether the end of its process will be seen. Where it will not, its own acknowledgement of `quit` and the end of
    /// the connection must do.
    public var isProcessWatched: Bool

    /// A survey.
    public init(description: DomainDescription, features: QEMUFeatures, isProcessWatched: Bool = false) {
        self.description = description
        self.features = features
        self.isProcessWatched = isProcessWatched
    }
}

/// What goes into an attempt. The driver owns the clock and the network; in replay the recording does.
public enum Input: Hashable, Sendable {
    /// Something was observed of a QEMU.
    case fact(Side, Fact)
    /// A command left for a QEMU.
    case sent(Side, Command)
    /// The survey of a QEMU is there, or could not be made.
    case surveyed(Side, Survey)
    /// The survey of a QEMU could not be made.
    case surveyFailed(Side, String)
    /// Somebody asks.
    case request(Request, Origin)
    /// Somebody wants parameters of the migration that runs changed, by QEMU's names.
    case change([Setting], Origin)
    /// Somebody wants an interrupted post-copy to go on over this address.
    case recover(uri: String, Origin)
    /// The hook program has ended, and what was wrong with it; `nil` if it ended well.
    case hooked(HookPoint, failure: String?)
    /// A bounded wait ran out.
    case timeout(Deadline)
    /// A side's lock manager answers.
    case lease(Side, LeaseResult)
    /// Time for a look.
    case tick
}

/// What comes out of an attempt, to be carried out in this order.
public enum Effect: Hashable, Sendable {
    /// A command leaves for a QEMU.
    case send(Side, Command, outOfBand: Bool)
    /// A QEMU is to be surveyed.
    case survey(Side)
    /// A step is entered.
    case call(Step, Cookie)
    /// A step that takes long is under way for good; its answer follows. Finish in post-copy, once the guest was seen
    /// running.
    case accepted(Step)
    /// A step is answered.
    case answer(Step, StepResult)
    /// A request is not carried out, and why, in a sentence for whoever asked.
    case refused(Request, String)
    /// The world may know.
    case publish(PublishedStatus, [Reason])
    /// A phase moved.
    case phase(PhaseMove)
    /// To be written before the effects after it.
    case persist(JournalRecord)
    /// A bounded wait begins.
    case arm(Deadline, milliseconds: Int)
    /// It is over.
    case disarm(Deadline)
    /// A process is to be killed.
    case kill(Side)
    /// A side's lock manager is asked; `Input.lease` brings its answer.
    case lease(Side, LeaseAction)
    /// The convergence policy has decided something, and what becomes of it; what it leads to follows.
    case decided(PolicyDecision, PolicyOutcome)
    /// The hook program is to be run; `Input.hooked` tells its end.
    case hook(HookPoint)
    /// The attempt is over.
    case finished(AttemptResult)
}

/// Where the guest is, as far as it is proven.
public enum GuestPlace: String, Hashable, Sendable {
    /// On the source.
    case source
    /// On the destination.
    case destination
    /// In a file.
    case file
    /// Gone.
    case nowhere
    /// Not proven.
    case unknown
}

/// The end of an attempt.
public struct AttemptResult: Hashable, Sendable {
    /// What it is, and by that the last published word and where the guest is.
    public var verdict: Verdict
    /// Whether it runs there.
    public var isRunning: Bool?
    /// What went wrong, in words.
    public var error: String?
    /// What is left behind or needs a person, each in a sentence.
    public var problems: [String]
    /// What became of a cancel.
    public var cancel: CancelOutcome
    /// QEMU's numbers.
    public var statistics: CookieStatistics
    /// Between the last switchover events and our commands, in microseconds: pre-switchover to `migrate-continue`, and
    /// both completed to `cont`.
    public var ownGapMicroseconds: Int64?
    /// From the guest's stop on the source to its start on the destination, in microseconds, on our clock.
    public var pauseMicroseconds: Int64?
    /// How long all of the guest's processors waited for pages in post-copy, by the destination's count, where that was
    /// asked for.
    public var postcopyBlocktimeMilliseconds: Int64?

    /// The last published word.
    public var word: PublishedWord { verdict.word }
    /// Where the guest is.
    public var place: GuestPlace { verdict.place }

    /// An end.
    public init(
        verdict: Verdict, isRunning: Bool? = nil, error: String? = nil, problems: [String] = [],
        cancel: CancelOutcome = .none, statistics: CookieStatistics = CookieStatistics(),
        ownGapMicroseconds: Int64? = nil, pauseMicroseconds: Int64? = nil
    ) {
        self.verdict = verdict
        self.isRunning = isRunning
        self.error = error
        self.problems = problems
        self.cancel = cancel
        self.statistics = statistics
        self.ownGapMicroseconds = ownGapMicroseconds
        self.pauseMicroseconds = pauseMicroseconds
    }
}
