import Migration

/// What somebody wants of a migration, as far as wishes can exclude one another.
public struct MigrationWish: Hashable, Sendable {
    /// The kind of an address.
    public enum Transport: String, Hashable, Sendable, CaseIterable {
        /// TCP.
        case tcp
        /// A Unix socket.
        case unix
        /// RDMA.
        case rdma
        /// VM sockets.
        case vsock
        /// A connected socket that each side is given as a descriptor.
        case fd
        /// A command or a file: nothing comes back on it.
        case oneWay = "one-way"

        /// The kind of an address in QEMU's form.
        public init(uri: String) {
            let scheme = uri.prefix { $0 != ":" }
            self = Transport(rawValue: String(scheme)) ?? .oneWay
        }
    }

    /// Flags.
    public var flags: MigrationFlags
    /// Parameters that were given.
    public var parameters: Set<MigrationParameter> = []
    /// Methods of compression that were asked for.
    public var compression: Set<CompressionMethod> = []
    /// How the memory travels.
    public var transport = Transport.tcp
    /// How the disks travel.
    public var diskTransport = Transport.tcp
    /// Stop the guest when time is up.
    public var suspendsOnTimeout = false
    /// Switch to post-copy when time is up.
    public var switchesOnTimeout = false
    /// Switch to post-copy after the first pass.
    public var switchesAfterPrecopy = false
    /// Pages that the guest waits for go over a connection of their own in post-copy.
    public var isPreempting = false
    /// Each page has its place in a file, so that several threads can write it.
    public var isMapped = false
    /// TLS goes by a key that both ends know, and by no certificates.
    public var isKeyShared = false
    /// The destination lets in certain names only.
    public var hasAllowedNames = false
    /// The host's configuration allows nothing unencrypted.
    public var isTLSForced = false
    /// The guest's memory is limited, so that pinning it cannot take the host down.
    public var hasMemoryLimit = false

    /// A wish.
    public init(flags: MigrationFlags = .live) { self.flags = flags }
}

/// Wishes that exclude one another, or need one another.
public struct Exclusion: Sendable, CustomStringConvertible {
    /// A short name.
    public let name: String
    /// What is wrong, in a sentence.
    public let message: String
    /// Whether libvirt has no such rule.
    public let isOurs: Bool
    /// Whether a wish breaks the rule.
    public let isBroken: @Sendable (MigrationWish) -> Bool

    init(
        _ name: String, _ message: String, isOurs: Bool = false, _ isBroken: @escaping @Sendable (MigrationWish) -> Bool
    ) {
        self.name = name
        self.message = message
        self.isOurs = isOurs
        self.isBroken = isBroken
    }

    /// The message.
    public var description: String { message }
}

/// The rules about wishes, as data.
public enum Exclusions {
    /// The rules that a wish breaks, in the table's order; empty if it can be granted.
    public static func broken(by wish: MigrationWish) -> [Exclusion] { rules.filter { $0.isBroken(wish) } }

    /// The rules.
    public static let rules: [Exclusion] = disks + tunnel + postcopy + offline + performance + security + time

    private static let disks: [Exclusion] = [
        Exclusion("disk-twice", "whole disks or their top layers can be copied, not both") {
            $0.flags.isSuperset(of: .nonShared)
        },
        Exclusion("sync-writes-alone", "synchronous writes need disks that are copied along") {
            $0.flags.contains(.synchronousWrites) && $0.flags.isDisjoint(with: .nonShared)
        },
        Exclusion("disks-alone", "a list of disks needs disks that are copied along") {
            $0.parameters.contains(.migrateDisks) && $0.flags.isDisjoint(with: .nonShared)
        },
        Exclusion("disks-port-and-uri", "the disks' exports have a port or an address, not both") {
            $0.parameters.isSuperset(of: [.disksPort, .disksURI])
        },
    ]

    private static let tunnel: [Exclusion] = [
        Exclusion("tunnel-peer-to-peer", "a tunnelled migration has to be peer to peer") {
            $0.flags.contains(.tunnelled) && !$0.flags.contains(.peerToPeer)
        },
        Exclusion("tunnel-parallel", "a tunnel has one connection, parallel ones cannot go through it") {
            $0.flags.isSuperset(of: [.tunnelled, .parallel])
        },
        Exclusion("tunnel-postcopy", "post-copy needs a way back, and a tunnel has none") {
            $0.flags.isSuperset(of: [.tunnelled, .postcopy])
        },
        Exclusion("tunnel-disks", "disks cannot be copied through a tunnel") {
            $0.flags.contains(.tunnelled) && !$0.flags.isDisjoint(with: .nonShared)
        },
        Exclusion("tunnel-uri", "a tunnelled migration has no address of its own") {
            $0.flags.contains(.tunnelled) && $0.parameters.contains(.migrateURI)
        },
        Exclusion("tunnel-listen", "a tunnelled migration does not listen on an address of its own") {
            $0.flags.contains(.tunnelled) && $0.parameters.contains(.listenAddress)
        },
        Exclusion("tunnel-disks-port", "a tunnelled migration has no port for disks") {
            $0.flags.contains(.tunnelled) && $0.parameters.contains(.disksPort)
        },
    ]

    private static let postcopy: [Exclusion] = [
        Exclusion("postcopy-live", "post-copy moves a running guest, it needs a live migration") {
            $0.flags.contains(.postcopy) && !$0.flags.contains(.live)
        },
        Exclusion("postcopy-paused", "post-copy lets the guest run on the destination, it cannot stay paused there") {
            $0.flags.isSuperset(of: [.postcopy, .paused])
        },
        Exclusion("postcopy-one-way", "post-copy needs a stream with a way back", isOurs: true) {
            $0.flags.contains(.postcopy) && $0.transport == .oneWay
        },
        Exclusion("preempt-postcopy", "a connection for urgent pages needs post-copy allowed", isOurs: true) {
            $0.isPreempting && !$0.flags.contains(.postcopy)
        },
        Exclusion(
            "preempt-address",
            "a connection for urgent pages needs an address that can be connected to more than once", isOurs: true
        ) {
            $0.isPreempting && $0.flags.contains(.postcopy) && $0.transport == .fd
        },
        Exclusion("resume-postcopy", "only a post-copy migration can be resumed: post-copy has to be asked for") {
            $0.flags.contains(.postcopyResume) && !$0.flags.contains(.postcopy)
        },
        Exclusion("resume-protection", "resuming post-copy needs change protection or peer to peer") {
            $0.flags.contains(.postcopyResume) && $0.flags.isDisjoint(with: [.changeProtection, .peerToPeer])
        },
    ]

    private static let offline: [Exclusion] = [
        Exclusion("offline-live", "a guest that does not run cannot be migrated live") {
            $0.flags.isSuperset(of: [.offline, .live])
        },
        Exclusion("offline-disks", "disks are not copied along with a guest that does not run") {
            $0.flags.contains(.offline) && !$0.flags.isDisjoint(with: .nonShared)
        },
        Exclusion("offline-tunnel", "nothing goes through a tunnel when the guest does not run") {
            $0.flags.isSuperset(of: [.offline, .tunnelled])
        },
        Exclusion("offline-persist", "a guest that does not run has to be kept on the destination to be there at all") {
            $0.flags.contains(.offline) && !$0.flags.contains(.persistDestination)
        },
    ]

    private static let performance: [Exclusion] = [
        Exclusion("zero-copy-parallel", "sending without copying needs parallel connections") {
            $0.flags.contains(.zeroCopy) && !$0.flags.contains(.parallel)
        },
        Exclusion("zero-copy-tls", "what is encrypted is copied: no TLS without copying") {
            $0.flags.isSuperset(of: [.zeroCopy, .tls])
        },
        Exclusion("zero-copy-compression", "what is compressed is copied: no compression without copying") {
            $0.flags.contains(.zeroCopy) && ($0.flags.contains(.compressed) || !$0.compression.isEmpty)
        },
        Exclusion("compression-tuning", "a method of compression is tuned that is not used") { wish in
            wish.parameters.contains { $0.tunes.map { !wish.compression.contains($0) } ?? false }
        },
        Exclusion("compression-one-connection", "xbzrle and mt compress one connection, not parallel ones") {
            $0.flags.contains(.parallel) && !$0.compression.isDisjoint(with: [.xbzrle, .mt])
        },
        Exclusion("compression-parallel", "zlib and zstd compress parallel connections only") {
            !$0.flags.contains(.parallel) && !$0.compression.isDisjoint(with: [.zlib, .zstd])
        },
        Exclusion("auto-converge-tuning", "throttling is tuned without auto-converge") {
            !$0.flags.contains(.autoConverge)
                && !$0.parameters.isDisjoint(with: [.autoConvergeInitial, .autoConvergeIncrement])
        },
        Exclusion("connections-parallel", "a number of connections needs parallel ones") {
            $0.parameters.contains(.parallelConnections) && !$0.flags.contains(.parallel)
        },
        Exclusion(
            "parallel-address", "parallel connections need an address that can be connected to more than once",
            isOurs: true
        ) {
            $0.flags.contains(.parallel) && !$0.isMapped && ($0.transport == .fd || $0.transport == .oneWay)
        },
    ]

    private static let security: [Exclusion] = [
        Exclusion("tls-disks-unix", "disks that go over a Unix socket cannot be encrypted") {
            $0.flags.contains(.tls) && !$0.flags.isDisjoint(with: .nonShared) && $0.diskTransport == .unix
        },
        Exclusion("tls-unix-name", "TLS over a Unix socket needs the name of the destination's certificate") {
            $0.flags.contains(.tls) && !$0.isKeyShared && $0.transport == .unix
                && !$0.parameters.contains(.tlsDestination)
        },
        Exclusion(
            "tls-nameless-name",
            "TLS over a descriptor, VM sockets or a command needs the name of the destination's certificate",
            isOurs: true
        ) {
            $0.flags.contains(.tls) && !$0.isKeyShared && [.fd, .vsock, .oneWay].contains($0.transport)
                && !$0.parameters.contains(.tlsDestination)
        },
        // QEMU takes both and looks at neither.
        Exclusion(
            "tls-key-name", "with a shared key there are no certificates, and so no name that one must have",
            isOurs: true
        ) {
            $0.isKeyShared && $0.parameters.contains(.tlsDestination)
        },
        Exclusion(
            "tls-key-authorisation",
            "with a shared key there are no certificates, and so no names that could be let in", isOurs: true
        ) {
            $0.isKeyShared && $0.hasAllowedNames
        },
        Exclusion("tls-forced", "this host migrates encrypted or tunnelled only") {
            $0.isTLSForced && $0.flags.isDisjoint(with: [.tls, .tunnelled])
        },
        Exclusion("rdma-limit", "RDMA pins the guest's memory, which has to be limited") {
            $0.transport == .rdma && !$0.hasMemoryLimit
        },
    ]

    private static let time: [Exclusion] = [
        Exclusion("timeouts", "when time is up the guest is stopped or switched to post-copy, not both") {
            $0.suspendsOnTimeout && $0.switchesOnTimeout
        },
        Exclusion("timeout-postcopy", "switching to post-copy when time is up needs post-copy allowed") {
            $0.switchesOnTimeout && !$0.flags.contains(.postcopy)
        },
        Exclusion("after-precopy", "switching to post-copy after the first pass needs post-copy allowed") {
            $0.switchesAfterPrecopy && !$0.flags.contains(.postcopy)
        },
    ]
}

extension MigrationWish {
    /// What the options of an attempt ask for, in libvirt's words.
    public init(_ options: MigrateOptions) {
        var flags: MigrationFlags = options.isOffline ? [.offline, .persistDestination] : .live
        if options.isPausedIntended { flags.insert(.paused) }
        if options.hasChangeProtection { flags.insert(.changeProtection) }
        if options.postcopy != nil { flags.insert(.postcopy) }
        if options.isPostcopyResume { flags.insert(.postcopyResume) }
        if options.mode.isHeldThroughout { flags.insert(.peerToPeer) }
        if options.mode == .tunnelled { flags.insert(.tunnelled) }
        switch options.storage?.sync {
        case .full: flags.insert(.nonSharedDisk)
        case .top: flags.insert(.nonSharedIncremental)
        case nil: break
        }
        if options.storage?.copyMode == .writeBlocking { flags.insert(.synchronousWrites) }
        self.init(flags: flags)
        if case .unix = options.storage?.server { diskTransport = .unix }
        transport = options.isOffline ? .tcp : Transport(uri: options.uri)
        note(capabilities: options.capabilities, parameters: options.parameters)
        if let tls = options.tls {
            self.flags.insert(.tls)
            if tls.hostname != nil { parameters.insert(.tlsDestination) }
            isKeyShared = tls.kind == .psk
            hasAllowedNames = !tls.allowedNames.isEmpty
        }
        suspendsOnTimeout = options.timeoutMilliseconds != nil && options.timeoutAction == .pauseGuest
        switchesAfterPrecopy = options.postcopy?.afterPasses != nil
        // What is pinned is the guest's and QEMU's own business: nobody here knows of a limit, and RDMA says so by
        // itself.
        hasMemoryLimit = true
    }

    /// What QEMU's own words ask for.
    private mutating func note(capabilities: [String], parameters settings: [Setting]) {
        for capability in capabilities {
            switch capability {
            case "multifd": flags.insert(.parallel)
            case "zero-copy-send": flags.insert(.zeroCopy)
            case "postcopy-preempt": isPreempting = true
            case "mapped-ram": isMapped = true
            case "auto-converge": flags.insert(.autoConverge)
            case "xbzrle":
                flags.insert(.compressed)
                compression.insert(.xbzrle)
            default: break
            }
        }
        for setting in settings {
            if let parameter = Self.parameters[setting.name] { parameters.insert(parameter) }
            if setting.name == "multifd-compression", let method = CompressionMethod(rawValue: "\(setting.value)") {
                flags.insert(.compressed)
                compression.insert(method)
            }
        }
    }

    private static let parameters: [String: MigrationParameter] = [
        "max-bandwidth": .bandwidth, "max-postcopy-bandwidth": .bandwidthPostcopy,
        "avail-switchover-bandwidth": .bandwidthAvailableSwitchover, "multifd-channels": .parallelConnections,
        "multifd-zlib-level": .compressionZlibLevel, "multifd-zstd-level": .compressionZstdLevel,
        "xbzrle-cache-size": .compressionXBZRLECache, "cpu-throttle-initial": .autoConvergeInitial,
        "cpu-throttle-increment": .autoConvergeIncrement, "tls-hostname": .tlsDestination,
    ]
}
