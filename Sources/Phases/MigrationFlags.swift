/// What is asked of a migration, by libvirt's flags and their bits.
public struct MigrationFlags: OptionSet, Hashable, Sendable, CustomStringConvertible {
    /// libvirt's bits.
    public let rawValue: UInt32

    /// Flags from their bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Do not stop the guest first.
    public static let live = MigrationFlags(rawValue: 1 << 0)
    /// The source calls the destination's steps.
    public static let peerToPeer = MigrationFlags(rawValue: 1 << 1)
    /// The memory travels within the connection of the two parties.
    public static let tunnelled = MigrationFlags(rawValue: 1 << 2)
    /// The guest's definition is kept on the destination.
    public static let persistDestination = MigrationFlags(rawValue: 1 << 3)
    /// The guest's definition is removed from the source afterwards.
    public static let undefineSource = MigrationFlags(rawValue: 1 << 4)
    /// Leave the guest paused on the destination.
    public static let paused = MigrationFlags(rawValue: 1 << 5)
    /// Copy whole disks along.
    public static let nonSharedDisk = MigrationFlags(rawValue: 1 << 6)
    /// Copy the top layer of the disks along.
    public static let nonSharedIncremental = MigrationFlags(rawValue: 1 << 7)
    /// Hold the job from Begin on.
    public static let changeProtection = MigrationFlags(rawValue: 1 << 8)
    /// Do not look whether the disks' caches are safe.
    public static let unsafe = MigrationFlags(rawValue: 1 << 9)
    /// Move the definition of a guest that does not run.
    public static let offline = MigrationFlags(rawValue: 1 << 10)
    /// Compress.
    public static let compressed = MigrationFlags(rawValue: 1 << 11)
    /// Cancel when the guest has an I/O error.
    public static let abortOnError = MigrationFlags(rawValue: 1 << 12)
    /// Throttle the guest until it converges.
    public static let autoConverge = MigrationFlags(rawValue: 1 << 13)
    /// Pin all memory for RDMA.
    public static let rdmaPinAll = MigrationFlags(rawValue: 1 << 14)
    /// Post-copy is allowed.
    public static let postcopy = MigrationFlags(rawValue: 1 << 15)
    /// Encrypt with QEMU's own TLS.
    public static let tls = MigrationFlags(rawValue: 1 << 16)
    /// Several connections.
    public static let parallel = MigrationFlags(rawValue: 1 << 17)
    /// The guest waits for its writes to reach the destination's disks, too.
    public static let synchronousWrites = MigrationFlags(rawValue: 1 << 18)
    /// Go on with a post-copy that was interrupted.
    public static let postcopyResume = MigrationFlags(rawValue: 1 << 19)
    /// Send without copying.
    public static let zeroCopy = MigrationFlags(rawValue: 1 << 20)

    /// Disks are copied in one way or the other.
    public static let nonShared: MigrationFlags = [.nonSharedDisk, .nonSharedIncremental]

    /// libvirt's names, by bit.
    public static let names = [
        "live", "peer2peer", "tunnelled", "persist_dest", "undefine_source", "paused", "non_shared_disk",
        "non_shared_inc", "change_protection", "unsafe", "offline", "compressed", "abort_on_error", "auto_converge",
        "rdma_pin_all", "postcopy", "tls", "parallel", "non_shared_synchronous_writes", "postcopy_resume", "zerocopy",
    ]

    /// libvirt's names of the flags that are set; bits without a name are left out.
    public var description: String {
        Self.names.enumerated().filter { contains(MigrationFlags(rawValue: 1 << UInt32($0.offset))) }.map(\.element)
            .joined(separator: ", ")
    }
}

/// libvirt's typed parameters of a migration.
public enum MigrationParameter: String, Hashable, Sendable, CaseIterable {
    /// Where the memory goes.
    case migrateURI = "migrate_uri"
    /// Another name for the guest.
    case destinationName = "destination_name"
    /// Another definition for the guest.
    case destinationXML = "destination_xml"
    /// Bandwidth in MiB/s.
    case bandwidth
    /// Where the display is.
    case graphicsURI = "graphics_uri"
    /// Where the destination listens.
    case listenAddress = "listen_address"
    /// The disks to be copied.
    case migrateDisks = "migrate_disks"
    /// The port of the disks' exports.
    case disksPort = "disks_port"
    /// Where the disks are exported.
    case disksURI = "disks_uri"
    /// Whether zeroes are looked for in the disks to be copied.
    case disksDetectZeroes = "migrate_disks_detect_zeroes"
    /// Disks that are zero on the destination already.
    case disksTargetZero = "migrate_disks_target_zero"
    /// Methods of compression.
    case compression
    /// Level of `mt`.
    case compressionMTLevel = "compression.mt.level"
    /// Threads of `mt`.
    case compressionMTThreads = "compression.mt.threads"
    /// Threads of `mt` on the destination.
    case compressionMTDThreads = "compression.mt.dthreads"
    /// Cache of `xbzrle`.
    case compressionXBZRLECache = "compression.xbzrle.cache"
    /// Level of `zlib`.
    case compressionZlibLevel = "compression.zlib.level"
    /// Level of `zstd`.
    case compressionZstdLevel = "compression.zstd.level"
    /// The definition to be kept.
    case persistentXML = "persistent_xml"
    /// The first throttling.
    case autoConvergeInitial = "auto_converge.initial"
    /// Every further throttling.
    case autoConvergeIncrement = "auto_converge.increment"
    /// Bandwidth of post-copy.
    case bandwidthPostcopy = "bandwidth.postcopy"
    /// Bandwidth at the switchover.
    case bandwidthAvailableSwitchover = "bandwidth.avail.switchover"
    /// Number of connections.
    case parallelConnections = "parallel.connections"
    /// The name that the destination's certificate must have.
    case tlsDestination = "tls.destination"

    /// The method of compression that a parameter tunes.
    public var tunes: CompressionMethod? {
        switch self {
        case .compressionMTLevel, .compressionMTThreads, .compressionMTDThreads: .mt
        case .compressionXBZRLECache: .xbzrle
        case .compressionZlibLevel: .zlib
        case .compressionZstdLevel: .zstd
        default: nil
        }
    }
}

/// A method of compression.
public enum CompressionMethod: String, Hashable, Sendable, CaseIterable {
    /// Differences to what was sent before.
    case xbzrle
    /// Threads of QEMU's own, on one connection.
    case mt
    /// zlib on several connections.
    case zlib
    /// Zstandard on several connections.
    case zstd
}
