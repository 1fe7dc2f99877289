public import Migration
public import Phases

/// What was read of one QEMU for a check, without changing anything in it.
public struct QEMUFacts: Hashable, Sendable {
    /// A medium that the guest's disk lies in.
    public struct Medium: Hashable, Sendable {
        /// The node's name, or the device's where QEMU made one up.
        public var name: String
        /// Where it lies, as QEMU says it: a path, an address, or a description as JSON.
        public var file: String
        /// The node's driver.
        public var driver: String
        /// Virtual size.
        public var bytes: Int64?
        /// Allocated so far.
        public var allocatedBytes: Int64?
        /// Whether writing is refused.
        public var isReadOnly: Bool
        /// Whether the host's page cache is passed by (`cache.direct`).
        public var isDirect: Bool
        /// Device and inode of the file, for whoever asks whether two are one; `nil` for what is no file of this host.
        public var identity: String?
        /// What the file system that it lies in has left.
        public var freeBytes: Int64?

        /// A medium.
        public init(
            name: String, file: String, driver: String, bytes: Int64? = nil, allocatedBytes: Int64? = nil,
            isReadOnly: Bool = false, isDirect: Bool = false, identity: String? = nil, freeBytes: Int64? = nil
        ) {
            self.name = name
            self.file = file
            self.driver = driver
            self.bytes = bytes
            self.allocatedBytes = allocatedBytes
            self.isReadOnly = isReadOnly
            self.isDirect = isDirect
            self.identity = identity
            self.freeBytes = freeBytes
        }
    }

    /// What it is made of and can do.
    public var survey: Survey
    /// `query-status`
    public var runState: RunState
    /// `query-migrate`
    public var migration: MigrationSample
    /// `query-migrate-capabilities`
    public var capabilities: [CapabilitySetting]
    /// `query-migrate-parameters`
    public var parameters: [Setting]
    /// What its disks lie in.
    public var media: [Medium] = []
    /// Its process, where the kernel tells.
    public var process: Int32?
    /// How much of its memory is resident, in bytes.
    public var residentBytes: Int64?
    /// What this host has left for programs, in bytes.
    public var availableBytes: Int64?
    /// Whether the process may watch for missing pages (userfaultfd), which a destination of post-copy must; `nil` if
    /// nothing tells.
    public var mayFaultInUserspace: Bool?

    /// Facts with what QMP tells.
    public init(
        survey: Survey, runState: RunState, migration: MigrationSample, capabilities: [CapabilitySetting],
        parameters: [Setting]
    ) {
        self.survey = survey
        self.runState = runState
        self.migration = migration
        self.capabilities = capabilities
        self.parameters = parameters
    }

    func hasCapability(_ name: String) -> Bool { capabilities.contains { $0.name == name } }
}
