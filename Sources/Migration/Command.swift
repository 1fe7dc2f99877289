/// A value of a migration parameter or of another small setting. Numbers keep their text, so that what is put back is
/// what was found.
public enum SettingValue: Hashable, Sendable, CustomStringConvertible {
    /// A JSON integer within 64 bits, signed.
    case integer(Int64)
    /// A string.
    case string(String)
    /// A boolean.
    case bool(Bool)
    /// Anything else, as compact JSON text.
    case json(String)

    /// The value for a person.
    public var description: String {
        switch self {
        case .integer(let value): String(value)
        case .string(let value): value
        case .bool(let value): String(value)
        case .json(let text): text
        }
    }
}

/// A named setting.
public struct Setting: Hashable, Sendable {
    /// QEMU's name of it.
    public var name: String
    /// Its value.
    public var value: SettingValue

    /// A named setting.
    public init(_ name: String, _ value: SettingValue) {
        self.name = name
        self.value = value
    }
}

/// A migration capability and whether it is on.
public struct CapabilitySetting: Hashable, Sendable {
    /// QEMU's name of the capability.
    public var name: String
    /// Whether it is on.
    public var isOn: Bool

    /// A capability switched on or off.
    public init(_ name: String, _ isOn: Bool) {
        self.name = name
        self.isOn = isOn
    }
}

/// An object of QEMU's that an attempt makes for itself and removes again.
public struct QEMUObject: Hashable, Sendable {
    /// What it is.
    public enum Kind: Hashable, Sendable {
        /// `tls-creds-x509`: certificates and keys under QEMU's names for them in a directory. The peer has to prove
        /// who it is, at either end.
        case x509(directory: String, isServer: Bool)
        /// `tls-creds-psk`: a key that both ends know, in the directory's `keys.psk`.
        case psk(directory: String, isServer: Bool)
        /// `authz-list`: lets in who has one of these names, and nobody else. A `*` in a name stands for anything.
        case allowed([String])
        /// Anything else, by QEMU's name of its type.
        case other(type: String)
    }

    /// The name it has in QEMU.
    public var id: String
    /// What it is.
    public var kind: Kind

    /// An object.
    public init(id: String, _ kind: Kind) {
        self.id = id
        self.kind = kind
    }
}

/// A command to QEMU, as far as the migration logic tells commands apart.
public enum Command: Hashable, Sendable {
    /// `query-status`
    case queryStatus
    /// `query-migrate`
    case queryMigrate
    /// `query-migrate-capabilities`
    case queryCapabilities
    /// `query-migrate-parameters`
    case queryParameters
    /// `query-yank`
    case queryYank
    /// `migrate-set-capabilities`
    case setCapabilities([CapabilitySetting])
    /// `migrate-set-parameters`
    case setParameters([Setting])
    /// `getfd`: QEMU keeps the descriptor that comes along under this name.
    case getFD(name: String)
    /// `closefd`: QEMU forgets a descriptor that nothing has used.
    case closeFD(name: String)
    /// `add-fd`: QEMU puts the descriptor that comes along into this set, which is `/dev/fdset/N` to it; `isDirect` for the
    /// one that goes past the host's cache.
    case addFD(set: Int64, isDirect: Bool)
    /// `remove-fd`: QEMU forgets a set.
    case removeFD(set: Int64)
    /// `object-add`; `isNested` where QEMU wants the properties in `props`, as it did before 6.0.
    case objectAdd(QEMUObject, isNested: Bool)
    /// `object-del`
    case objectDel(id: String)
    /// `migrate-incoming`; `exitOnError` is sent only where the schema has it.
    case migrateIncoming(uri: StreamAddress, exitOnError: Bool?)
    /// `migrate`
    case migrate(uri: StreamAddress, resume: Bool)
    /// `migrate-continue`
    case migrateContinue(state: String)
    /// `migrate_cancel`
    case migrateCancel
    /// `migrate-start-postcopy`
    case startPostcopy
    /// `migrate-pause`
    case migratePause
    /// `migrate-recover`
    case migrateRecover(uri: String)
    /// `yank` of the migration instance.
    case yank
    /// `cont`
    case cont
    /// `stop`
    case stop
    /// `quit`
    case quit
    /// A command about disks that are copied along.
    case storage(StorageCommand)
    /// A command without a meaning of its own here, by name.
    case other(String)

    /// The trigger that sending this command is, `nil` for queries and commands without a meaning here.
    public var trigger: TriggerKind? {
        switch self {
        case .setCapabilities, .setParameters, .getFD, .closeFD, .addFD, .removeFD, .objectDel: .configure
        case .objectAdd(let object, _): if case .other = object.kind { nil } else { .configure }
        case .migrateIncoming: .listen
        case .migrate(_, let resume): resume ? .resume : .migrate
        case .migrateContinue: .continueSwitchover
        case .migrateCancel: .cancel
        case .startPostcopy: .startPostcopy
        case .migratePause: .pausePostcopy
        case .migrateRecover: .recover
        case .yank: .yank
        case .cont: .run
        case .stop: .hold
        case .quit: .kill
        case .queryStatus, .queryMigrate, .queryCapabilities, .queryParameters, .queryYank, .storage, .other: nil
        }
    }

    /// Whether it is about disks that are copied along.
    public var isAboutDisks: Bool { if case .storage = self { true } else { false } }

    /// QEMU's name of the command.
    public var name: String {
        switch self {
        case .queryStatus: "query-status"
        case .queryMigrate: "query-migrate"
        case .queryCapabilities: "query-migrate-capabilities"
        case .queryParameters: "query-migrate-parameters"
        case .queryYank: "query-yank"
        case .setCapabilities: "migrate-set-capabilities"
        case .setParameters: "migrate-set-parameters"
        case .getFD: "getfd"
        case .closeFD: "closefd"
        case .addFD: "add-fd"
        case .removeFD: "remove-fd"
        case .objectAdd: "object-add"
        case .objectDel: "object-del"
        case .migrateIncoming: "migrate-incoming"
        case .migrate: "migrate"
        case .migrateContinue: "migrate-continue"
        case .migrateCancel: "migrate_cancel"
        case .startPostcopy: "migrate-start-postcopy"
        case .migratePause: "migrate-pause"
        case .migrateRecover: "migrate-recover"
        case .yank: "yank"
        case .cont: "cont"
        case .stop: "stop"
        case .quit: "quit"
        case .storage(let command): command.name
        case .other(let name): name
        }
    }

    /// What was asked for, where one word more helps a reader of the trigger table.
    public var argument: String? {
        switch self {
        case .migrateIncoming(let address, _), .migrate(let address, _): address.uri
        case .migrateRecover(let uri): uri
        case .migrateContinue(let state): state
        case .getFD(let name), .closeFD(let name), .objectDel(let name): name
        case .addFD(let set, _), .removeFD(let set): String(set)
        case .objectAdd(let object, _): object.id
        case .storage(let command): command.argument
        case .setCapabilities(let settings):
            settings.map { $0.isOn ? $0.name : "no \($0.name)" }.joined(separator: ", ")
        case .setParameters(let settings): settings.map { "\($0.name)=\($0.value)" }.joined(separator: ", ")
        default: nil
        }
    }
}

/// What `query-migrate` told, as far as decisions and reports need it. Sizes in bytes, times in milliseconds.
public struct MigrationSample: Hashable, Sendable {
    /// QEMU's status word; `nil` where the reply has none (nothing started, or a destination that only listens).
    public var status: StatusWord?
    /// Since `migrate` was sent.
    public var totalMilliseconds: Int64?
    /// The guest's pause as QEMU counts it.
    public var downtimeMilliseconds: Int64?
    /// What QEMU expects the pause to be now. `nil` where QEMU has no number (it prints the largest integer then).
    public var expectedDowntimeMilliseconds: Int64?
    /// QEMU's own words about an error.
    public var errorDescription: String?
    /// Why this guest cannot be migrated.
    public var blockedReasons: [String] = []
    /// Where a destination listens, as URIs QEMU accepts.
    public var listeningURIs: [String] = []
    /// Bytes sent so far.
    public var transferredBytes: Int64?
    /// Bytes known to be left.
    public var remainingBytes: Int64?
    /// The guest's memory.
    public var totalBytes: Int64?
    /// Pages dirtied per second, as of the last synchronisation.
    public var dirtyPagesPerSecond: Int64?
    /// The size of such a page.
    public var pageBytes: Int64?
    /// Throughput in megabits (10^6) per second.
    public var megabitsPerSecond: Double?
    /// Number of the current pass over memory.
    public var iteration: Int64?
    /// How far auto-converge throttles the guest, in percent.
    public var throttlePercentage: Int64?
    /// How long all of the guest's processors waited for pages in post-copy, as the destination measured it.
    public var postcopyBlocktimeMilliseconds: Int64?

    /// A sample with a status word and nothing else.
    public init(status: StatusWord? = nil) { self.status = status }
}

/// QEMU's answer to a command.
public enum Reply: Hashable, Sendable {
    /// `{}` or a value that nothing here reads.
    case done
    /// `query-status`
    case status(RunState)
    /// `query-migrate`
    case migration(MigrationSample)
    /// `query-migrate-capabilities`
    case capabilities([CapabilitySetting])
    /// `query-migrate-parameters`
    case parameters([Setting])
    /// `query-yank`: whether the migration instance is registered, that is, whether resources of a migration exist.
    case yankInstances(migration: Bool)
    /// `query-jobs`
    case jobs([JobInformation])
    /// QEMU said no. The class and the text are for people; nothing branches on the text.
    case refused(errorClass: String, description: String)
    /// QEMU answered with something that is not what this command returns.
    case unreadable(String)
}
