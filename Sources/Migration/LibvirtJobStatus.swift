/// libvirt's status of a migration job, as its QEMU driver keeps it.
public enum LibvirtJobStatus: String, Hashable, Sendable, CaseIterable {
    /// No job.
    case none = "NONE"
    /// The job was begun.
    case active = "ACTIVE"
    /// The end of the migration is waited for.
    case migrating = "MIGRATING"
    /// QEMU waits before the switchover.
    case paused = "PAUSED"
    /// Post-copy.
    case postcopy = "POSTCOPY"
    /// Post-copy has lost its channel.
    case postcopyPaused = "POSTCOPY_PAUSED"
    /// QEMU is done, libvirt is not.
    case hypervisorCompleted = "HYPERVISOR_COMPLETED"
    /// Both are done.
    case completed = "COMPLETED"
    /// Ended by an error.
    case failed = "FAILED"
    /// Ended by a cancel.
    case canceled = "CANCELED"

    /// What libvirt's clients are told of it.
    public var type: LibvirtJobType {
        switch self {
        case .none: .none
        case .active, .migrating, .paused, .postcopy, .postcopyPaused, .hypervisorCompleted: .unbounded
        case .completed: .completed
        case .failed: .failed
        case .canceled: .cancelled
        }
    }

    /// Whether libvirt gives up waiting when it finds this status.
    public var isError: Bool {
        switch self {
        case .none, .failed, .canceled, .postcopyPaused: true
        default: false
        }
    }
}

/// What libvirt's clients see of a job, by the names that `virsh domjobinfo` prints.
public enum LibvirtJobType: String, Hashable, Sendable, CaseIterable {
    /// No job.
    case none = "None"
    /// A job that goes on for nobody knows how long.
    case unbounded = "Unbounded"
    /// Ended well.
    case completed = "Completed"
    /// Ended by an error.
    case failed = "Failed"
    /// Ended by a cancel.
    case cancelled = "Cancelled"
}

/// Generations of libvirt that read the same words differently.
public enum LibvirtGeneration: String, Hashable, Sendable, CaseIterable {
    /// 8.5 to 10.x: a recovery that shakes hands counts as post-copy being active.
    case recoverCountsAsPostcopy = "recover-counts-as-postcopy"
    /// Since January 2025 (commit a71985f6): the handshake of a recovery is waited for, because the destination may
    /// still be paused then.
    case recoverIsWaitedFor = "recover-is-waited-for"
}

/// What libvirt's handler makes of one of QEMU's status words: a row of the table.
public struct LibvirtReading: Hashable, Sendable {
    /// QEMU's word.
    public var word: StatusWord
    /// libvirt's own name of it, `nil` for a word that no libvirt knows.
    ///
    /// An event with such a word is dropped with a warning; in an answer to `query-migrate` it is a hard error.
    public var libvirtName: String?
    /// The status the word sets; `nil` where the status stays what it was.
    public var sets: LibvirtJobStatus?

    /// Whether the reading is ours, because libvirt has none.
    public var isFilledIn: Bool { libvirtName == nil }
}

/// libvirt's view of one side.
public struct LibvirtJob: Hashable, Sendable {
    /// The status, with the words that libvirt does not know read as it would read their like.
    public var status: LibvirtJobStatus
    /// The status that libvirt itself would show: it drops what it does not know.
    public var libvirtStatus: LibvirtJobStatus
    /// QEMU's last word, if libvirt does not know it: the status is filled in by us, and a `query-migrate` of libvirt's
    /// fails right now.
    public var unknownWord: StatusWord?
}

extension LibvirtGeneration {
    /// What this generation makes of each known word, in the order in which the words came to QEMU.
    public var readings: [LibvirtReading] { StatusWord.known.map(reading(of:)) }

    /// What this generation makes of a word.
    public func reading(of word: StatusWord) -> LibvirtReading {
        switch word {
        case .setup: known(word, "SETUP", nil)
        case .active: known(word, "ACTIVE", nil)
        case .waitUnplug: known(word, "WAIT_UNPLUG", nil)
        case .cancelling: known(word, "CANCELLING", nil)
        case .preSwitchover: known(word, "PRE_SWITCHOVER", .paused)
        case .device: known(word, "DEVICE", .migrating)
        case .postcopyActive: known(word, "POSTCOPY", .postcopy)
        case .postcopyRecover:
            known(word, "POSTCOPY_RECOVER", self == .recoverCountsAsPostcopy ? .postcopy : nil)
        case .postcopyPaused: known(word, "POSTCOPY_PAUSED", .postcopyPaused)
        case .completed: known(word, "COMPLETED", .hypervisorCompleted)
        case .failed: known(word, "ERROR", .failed)
        case .cancelled: known(word, "CANCELLED", .canceled)
        // libvirt calls this "inactive", a word that QEMU has never said.
        case .none: filledIn(word, LibvirtJobStatus.none)
        // Like `device`: the guest is stopped and its devices' state moves.
        case .postcopyDevice: filledIn(word, .migrating)
        // Checkpoints are copied for as long as it pleases.
        case .colo: filledIn(word, .migrating)
        // Like `postcopy-recover` since it is waited for, and like `cancelling`: on the way, nothing decided.
        default: filledIn(word, nil)
        }
    }

    private func known(_ word: StatusWord, _ name: String, _ status: LibvirtJobStatus?) -> LibvirtReading {
        LibvirtReading(word: word, libvirtName: name, sets: status)
    }

    private func filledIn(_ word: StatusWord, _ status: LibvirtJobStatus?) -> LibvirtReading {
        LibvirtReading(word: word, libvirtName: nil, sets: status)
    }
}

extension Evidence {
    /// libvirt's job status on this side, for those who come from there; nothing here is decided by it.
    ///
    /// The status begins as ACTIVE with the command that opens the attempt and becomes MIGRATING when libvirt begins to
    /// wait: on the source when QEMU has accepted `migrate`, and again when a recovery is asked for. (On a destination
    /// it begins to wait in Finish, which QEMU cannot show.) After that each word does what
    /// ``LibvirtGeneration/reading(of:)`` says. When a process ends that was not done, libvirt's wait fails. COMPLETED
    /// is what libvirt calls a job whose last step is through: Confirm ends the source's QEMU, Finish lets the guest
    /// run.
    public func libvirtJob(_ generation: LibvirtGeneration = .recoverIsWaitedFor) -> LibvirtJob {
        guard openedSequence != nil else { return LibvirtJob(status: .none, libvirtStatus: .none, unknownWord: nil) }
        let isWaiting = side == .source && (triggers[.migrate]?.state == .accepted || !words.isEmpty)
        let start: LibvirtJobStatus = isWaiting ? .migrating : .active
        var job = LibvirtJob(status: start, libvirtStatus: start, unknownWord: nil)
        for note in words {
            if job.status == .postcopyPaused, note.word == .postcopyRecover || note.word == .postcopyRecoverSetup {
                job.wait()
            }
            job.take(generation.reading(of: note.word))
        }
        if job.status == .postcopyPaused, isResumedSinceLastWord { job.wait() }
        switch job.status {
        case .failed, .canceled: break
        case .hypervisorCompleted:
            if isLastStepThrough { job = LibvirtJob(status: .completed, libvirtStatus: .completed, unknownWord: nil) }
        default:
            guard processEnd != nil || isOpenerRefused else { break }
            job = LibvirtJob(status: .failed, libvirtStatus: .failed, unknownWord: nil)
        }
        return job
    }

    /// libvirt's job status on this side, as the newest generation has it.
    public var libvirtJobStatus: LibvirtJobStatus { libvirtJob().status }

    private var isResumedSinceLastWord: Bool {
        guard let resume = triggers[.resume], resume.state == .accepted else { return false }
        return resume.lastSequence > words.last?.sequence ?? 0
    }

    private var isOpenerRefused: Bool { side == .source && words.isEmpty && triggers[opener]?.refusal != nil }

    private var isLastStepThrough: Bool {
        side == .source ? processEnd != nil || triggers.wasSent(.kill) : events.has(.ran)
    }
}

extension LibvirtJob {
    /// libvirt begins to wait.
    fileprivate mutating func wait() {
        status = .migrating
        libvirtStatus = .migrating
    }

    fileprivate mutating func take(_ reading: LibvirtReading) {
        status = reading.sets ?? status
        unknownWord = reading.isFilledIn ? reading.word : nil
        if !reading.isFilledIn { libvirtStatus = reading.sets ?? libvirtStatus }
    }
}
