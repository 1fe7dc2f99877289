/// The two asynchronous jobs that a migration holds on a domain, by libvirt's names.
public enum Job: String, Hashable, Sendable, CaseIterable {
    /// `MIGRATION_OUT`: on the source, from Begin to Confirm.
    case out
    /// `MIGRATION_IN`: on the destination, from Prepare to Finish.
    case `in`
}

/// The kinds of short jobs that a call may want while a migration job is active, by libvirt's names.
public enum NormalJob: String, Hashable, Sendable, CaseIterable {
    /// Reads something.
    case query
    /// Ends the guest. Never kept out by anything but another call's moment with QEMU.
    case destroy
    /// Stops the guest's CPUs.
    case suspend
    /// Changes something.
    case modify
    /// Cancels the migration.
    case abort
    /// Steers the migration: start post-copy, set a bandwidth, a downtime, a cache size.
    case migrationOperation = "migration_op"
    /// Changes something that a migration does not mind, as handlers of events do.
    case modifyMigrationSafe = "modify_migration_safe"

    /// Its place in a mask.
    fileprivate var bit: UInt8 {
        switch self {
        case .query: 1
        case .destroy: 2
        case .suspend: 4
        case .modify: 8
        case .abort: 16
        case .migrationOperation: 32
        case .modifyMigrationSafe: 64
        }
    }
}

/// The normal jobs that may run beside an asynchronous one.
public struct JobMask: OptionSet, Hashable, Sendable, CustomStringConvertible {
    /// One bit for each normal job.
    public let rawValue: UInt8

    /// A mask from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The mask of one normal job.
    public init(_ job: NormalJob) { rawValue = job.bit }

    /// The mask of some normal jobs.
    public init(_ jobs: [NormalJob]) { rawValue = jobs.reduce(0) { $0 | $1.bit } }

    /// Without an asynchronous job everything may run.
    public static let all = JobMask(NormalJob.allCases)
    /// Beside `MIGRATION_OUT`.
    public static let out = JobMask([
        .query, .destroy, .abort, .suspend, .migrationOperation, .modifyMigrationSafe,
    ])
    /// Beside `MIGRATION_IN`: not even a query, QEMU has no time for one.
    public static let `in` = JobMask([.destroy, .modifyMigrationSafe])
    /// Beside a job that was taken up again after a restart: nothing that stops the guest.
    public static let restored = JobMask([.query, .destroy, .abort, .migrationOperation, .modifyMigrationSafe])

    /// What may run beside a migration job.
    ///
    /// - Parameters:
    ///   - job: The migration job.
    ///   - isRestored: Whether it was taken up again after a restart.
    public static func allowed(during job: Job, isRestored: Bool = false) -> JobMask {
        isRestored ? .restored : job == .out ? .out : .in
    }

    /// Whether a normal job may run. Destroy always may: no mask can take it away.
    public func permits(_ job: NormalJob) -> Bool { job == .destroy || contains(JobMask(job)) }

    /// The normal jobs that may run, in libvirt's order.
    public var jobs: [NormalJob] { NormalJob.allCases.filter(permits) }

    /// The names of the jobs that may run.
    public var description: String { jobs.map(\.rawValue).joined(separator: ", ") }
}

/// A call that the locking rules forbid.
public struct JobError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Why it is forbidden.
    public struct Code: Hashable, Sendable {
        private enum Value {
            case alreadyActive, notActive, backwards, illegal, notOwner, wrongSide, masked, busy, cannotResume
        }
        private let value: Value
        /// A migration job is active already.
        public static let alreadyActive = Code(value: .alreadyActive)
        /// The job is not active, or is another one.
        public static let notActive = Code(value: .notActive)
        /// The phase would go backwards.
        public static let backwards = Code(value: .backwards)
        /// The phase does not go backwards, and still no protocol knows such a move.
        public static let illegal = Code(value: .illegal)
        /// Nobody, or somebody else, is inside the job.
        public static let notOwner = Code(value: .notOwner)
        /// The phase belongs to the other end.
        public static let wrongSide = Code(value: .wrongSide)
        /// The migration job keeps this normal job out until it ends.
        public static let masked = Code(value: .masked)
        /// Another call talks to QEMU this moment.
        public static let busy = Code(value: .busy)
        /// A post-copy migration cannot be resumed by this call now.
        public static let cannotResume = Code(value: .cannotResume)
    }

    /// Why.
    public var code: Code
    /// In words.
    public var description: String

    /// A refusal.
    public init(code: Code, description: String) {
        self.code = code
        self.description = description
    }
}
