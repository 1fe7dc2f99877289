/// Why a cookie was refused.
public struct CookieError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of refusal.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// Larger than anything sensible.
        case bounds
        /// Of another attempt: somebody sends an old cookie once more.
        case replayed
        /// A part that must be known is not.
        case unknownPart = "unknown-part"
        /// A part is known, but has no business in this step.
        case unexpectedPart = "unexpected-part"
        /// A part that must be there is not.
        case missingPart = "missing-part"
        /// Of another guest.
        case wrongGuest = "wrong-guest"
        /// Written on the host that reads it.
        case sameHost = "same-host"
        /// A part does not make sense.
        case invalid
    }

    /// The kind.
    public var kind: Kind
    /// In words, with the path of the member.
    public var description: String

    init(_ kind: Kind, _ path: String, _ description: String) {
        self.kind = kind
        self.description = "cookie.\(path): \(description)"
    }
}

/// How large a cookie and its parts may be. A peer that sends more is refused before anything is made of it.
public struct CookieLimits: Hashable, Sendable {
    /// Bytes of the whole document.
    public var documentBytes = 4 << 20
    /// Levels of nested lists and objects in the document.
    public var depth = 32
    /// Bytes of a name, an address or any other single text.
    public var textBytes = 4096
    /// Bytes of a lock manager's state, of a port's data and of one command-line argument.
    public var longTextBytes = 64 << 10
    /// Capabilities.
    public var capabilities = 256
    /// Disks.
    public var disks = 1024
    /// Dirty bitmaps.
    public var bitmaps = 8192
    /// Network interfaces.
    public var interfaces = 1024
    /// Entries of each list of a description.
    public var descriptionEntries = 65_536
    /// Parts that this version does not know.
    public var unknownParts = 64
    /// Bytes of each of them.
    public var unknownBytes = 256 << 10

    /// The usual bounds.
    public init() {}
}

/// Whoever reads a cookie, and what it knows already.
public struct CookieReader: Hashable, Sendable {
    /// The attempt that is under way.
    public var attempt: String
    /// The guest's name, if it is known here.
    public var name: String?
    /// The guest's UUID, if it is known here.
    public var uuid: String?
    /// This host.
    public var hostUUID: String?
    /// Both sides are meant to be on one host, as with `godwit migrate` between two sockets.
    public var isOneHost: Bool
    /// The lock manager here; `nil` for none.
    public var lockManager: LockManagerKind?
    /// The bitmaps that this side offered; `nil` if it offered nothing that an answer could be compared with.
    public var offeredBitmaps: [CookieBitmap]?

    /// A reader.
    public init(
        attempt: String, name: String? = nil, uuid: String? = nil, hostUUID: String? = nil, isOneHost: Bool = false,
        lockManager: LockManagerKind? = nil, offeredBitmaps: [CookieBitmap]? = nil
    ) {
        self.attempt = attempt
        self.name = name
        self.uuid = uuid
        self.hostUUID = hostUUID
        self.isOneHost = isOneHost
        self.lockManager = lockManager
        self.offeredBitmaps = offeredBitmaps
    }
}

/// What a cookie has to fulfil before a step makes use of it.
///
/// The checks touch nothing and are made first, before a domain, a port or a lease is: an attempt to migrate a guest
/// onto its own host must not end with the guest's own things being cleaned up.
public struct CookieCheck: Hashable, Sendable {
    /// The bounds.
    public var limits: CookieLimits

    /// Checks within bounds.
    public init(limits: CookieLimits = CookieLimits()) { self.limits = limits }

    /// Checks a cookie that comes into a step.
    ///
    /// - Throws: `CookieError` that names the member.
    public func check(_ cookie: Cookie, into step: Step, by reader: CookieReader) throws(CookieError) {
        try checkBounds(cookie)
        guard cookie.attempt == reader.attempt else {
            throw CookieError(
                .replayed, "attempt", "belongs to attempt \(quoted(cookie.attempt)), this is \(quoted(reader.attempt))")
        }
        if let recovery = cookie.recovery, recovery < 1 {
            throw CookieError(.invalid, "recovery", "\(recovery) is no number of a recovery")
        }
        if let part = cookie.mandatory.first {
            throw CookieError(
                .unknownPart, "mandatory", "this version does not know \(quoted(part)) and must not ignore it")
        }
        for part in cookie.parts where !CookieTable.isExpected(part, into: step) {
            throw CookieError(.unexpectedPart, part.rawValue, "has no business in \(step.rawValue)")
        }
        if step == .confirm, cookie.isSuccess == nil {
            // Taking it for either would end the only copy of the guest, or run a second one.
            throw CookieError(.missingPart, "success", "Confirm has to be told whether the guest has arrived")
        }
        try checkIdentity(cookie, into: step, by: reader)
        try checkLease(cookie, into: step, by: reader)
        try checkStorage(cookie, by: reader)
        try checkRest(cookie)
    }

    // MARK: Who

    private func checkIdentity(_ cookie: Cookie, into step: Step, by reader: CookieReader) throws(CookieError) {
        if let name = cookie.name, let own = reader.name, name != own {
            throw CookieError(.wrongGuest, "name", "is of guest \(quoted(name)), this is \(quoted(own))")
        }
        if let uuid = cookie.uuid, let own = reader.uuid, uuid.lowercased() != own.lowercased() {
            throw CookieError(.wrongGuest, "uuid", "is of guest \(quoted(uuid)), this is \(quoted(own))")
        }
        // What a client sends into Begin is not the other side's word, nor is an Abandon.
        switch step {
        case .dumpXML, .begin, .abandon: return
        case .prepare, .perform, .finish, .confirm: break
        }
        if !reader.isOneHost, let host = cookie.hostUUID, let own = reader.hostUUID,
            host.lowercased() == own.lowercased()
        {
            throw CookieError(.sameHost, "host-uuid", "attempt to migrate the guest to its own host \(quoted(host))")
        }
    }

    private func checkLease(_ cookie: Cookie, into step: Step, by reader: CookieReader) throws(CookieError) {
        guard step == .prepare else { return }
        guard let lease = cookie.lease else {
            guard let own = reader.lockManager, own.usesState else { return }
            throw CookieError(
                .missingPart, "lease", "the source sends no state for the lock manager \(quoted(own.driver))")
        }
        let own = reader.lockManager?.driver ?? LockManagerKind.none.driver
        guard lease.driver == own else {
            throw CookieError(
                .invalid, "lease", "the source's lock manager is \(quoted(lease.driver)), this one is \(quoted(own))")
        }
        if reader.lockManager?.usesState == true, lease.state == nil {
            throw CookieError(.missingPart, "lease.state", "the lock manager \(quoted(own)) cannot do without")
        }
    }

    // MARK: What

    private func checkStorage(_ cookie: Cookie, by reader: CookieReader) throws(CookieError) {
        var targets: Set<String> = []
        for (index, disk) in cookie.storage.enumerated() {
            guard !disk.target.isEmpty, disk.capacityBytes >= 0 else {
                throw CookieError(.invalid, "storage[\(index)]", "a disk needs a name and a size")
            }
            guard targets.insert(disk.target).inserted else {
                throw CookieError(.invalid, "storage[\(index)].target", "\(quoted(disk.target)) is there twice")
            }
        }
        if let port = cookie.nbdPort, !(1...65_535).contains(port) {
            throw CookieError(.invalid, "nbd-port", "\(port) is no port")
        }
        var names: Set<[String]> = []
        var aliases: Set<String> = []
        for (index, bitmap) in cookie.bitmaps.enumerated() {
            // An alias is sent with one byte for its length.
            guard !bitmap.target.isEmpty, !bitmap.name.isEmpty, (1...255).contains(bitmap.alias.utf8.count) else {
                throw CookieError(
                    .invalid, "bitmaps[\(index)]", "a bitmap needs a disk, a name and an alias of at most 255 bytes")
            }
            guard names.insert([bitmap.target, bitmap.name]).inserted, aliases.insert(bitmap.alias).inserted else {
                throw CookieError(.invalid, "bitmaps[\(index)]", "\(quoted(bitmap.name)) or its alias is there twice")
            }
            if let offer = reader.offeredBitmaps, !offer.contains(bitmap) {
                throw CookieError(.invalid, "bitmaps[\(index)]", "\(quoted(bitmap.name)) was never offered")
            }
        }
    }

    private func checkRest(_ cookie: Cookie) throws(CookieError) {
        for name in cookie.automaticCapabilities where !cookie.capabilities.contains(name) {
            throw CookieError(
                .invalid, "automatic-capabilities", "\(quoted(name)) is not among the writer's capabilities")
        }
        var indices: Set<Int> = []
        for (place, interface) in cookie.network.enumerated() {
            guard interface.index >= 0, !interface.portType.isEmpty else {
                throw CookieError(.invalid, "network[\(place)]", "an interface needs a place and a kind")
            }
            guard indices.insert(interface.index).inserted else {
                throw CookieError(.invalid, "network[\(place)].index", "\(interface.index) is there twice")
            }
        }
        if let graphics = cookie.graphics {
            for (path, port) in [("port", graphics.port), ("tls-port", graphics.tlsPort)] {
                if let port, !(1...65_535).contains(port) {
                    throw CookieError(.invalid, "graphics.\(path)", "\(port) is no port")
                }
            }
            guard graphics.port != nil || graphics.tlsPort != nil else {
                throw CookieError(.invalid, "graphics", "a display needs a port")
            }
        }
        if let numbers = cookie.statistics {
            let all = [
                ("total-milliseconds", numbers.totalMilliseconds),
                ("downtime-milliseconds", numbers.downtimeMilliseconds),
                ("transferred-bytes", numbers.transferredBytes), ("started-microseconds", numbers.startedMicroseconds),
                ("stopped-microseconds", numbers.stoppedMicroseconds), ("sent-microseconds", numbers.sentMicroseconds),
            ]
            for (path, number) in all {
                if let number, number < 0 { throw CookieError(.invalid, "statistics.\(path)", "\(number) is negative") }
            }
        }
    }

    // MARK: How much

    /// Checks the bounds alone, without a step and a reader.
    ///
    /// - Throws: `CookieError` of the kind `bounds`.
    public func checkBounds(_ cookie: Cookie) throws(CookieError) {
        let texts: [(String, String?)] = [
            ("attempt", cookie.attempt), ("name", cookie.name), ("uuid", cookie.uuid), ("host-uuid", cookie.hostUUID),
            ("host-name", cookie.hostName), ("uri", cookie.uri), ("lease.driver", cookie.lease?.driver),
            ("graphics.type", cookie.graphics?.type), ("graphics.address", cookie.graphics?.address),
            ("graphics.subject", cookie.graphics?.subject),
        ]
        for (path, text) in texts { try bound(text, at: path) }
        try bound(cookie.lease?.state, at: "lease.state", limits.longTextBytes)
        try bound(cookie.capabilities.count, at: "capabilities", limits.capabilities)
        try bound(cookie.automaticCapabilities.count, at: "automatic-capabilities", limits.capabilities)
        try bound(cookie.mandatory.count, at: "mandatory", limits.unknownParts)
        try bound(cookie.storage.count, at: "storage", limits.disks)
        try bound(cookie.bitmaps.count, at: "bitmaps", limits.bitmaps)
        try bound(cookie.network.count, at: "network", limits.interfaces)
        for name in cookie.capabilities { try bound(name, at: "capabilities") }
        for name in cookie.automaticCapabilities { try bound(name, at: "automatic-capabilities") }
        for name in cookie.mandatory { try bound(name, at: "mandatory") }
        for disk in cookie.storage { try bound(disk.target, at: "storage") }
        for bitmap in cookie.bitmaps {
            try bound(bitmap.target, at: "bitmaps")
            try bound(bitmap.name, at: "bitmaps")
            try bound(bitmap.alias, at: "bitmaps")
        }
        for interface in cookie.network {
            try bound(interface.portType, at: "network")
            try bound(interface.portData, at: "network", limits.longTextBytes)
        }
        try bound(cookie.unknown.count, at: "unknown parts", limits.unknownParts)
        for part in cookie.unknown {
            try bound(part.name, at: "unknown parts")
            try bound(part.text, at: "unknown parts", limits.unknownBytes)
        }
        if let description = cookie.description { try checkBounds(description) }
    }

    private func checkBounds(_ description: DomainDescription) throws(CookieError) {
        let path = "description"
        for text in [description.machineType, description.cpuModel, description.name, description.uuid] {
            try bound(text, at: path)
        }
        try bound(description.cpuFeatures, at: "\(path).cpu-features", limits.longTextBytes)
        let counts = [
            ("cpus", description.cpus.count), ("devices", description.devices.count),
            ("block-nodes", description.blockNodes.count), ("memory-backends", description.memoryBackends.count),
            ("board-parts", description.boardParts.count), ("command-line", description.commandLine?.count ?? 0),
        ]
        for (name, count) in counts { try bound(count, at: "\(path).\(name)", limits.descriptionEntries) }
        for text in description.boardParts { try bound(text, at: "\(path).board-parts") }
        for text in description.commandLine ?? [] {
            try bound(text, at: "\(path).command-line", limits.longTextBytes)
        }
    }

    private func bound(_ text: String?, at path: String, _ limit: Int? = nil) throws(CookieError) {
        guard let count = text?.utf8.count, count > limit ?? limits.textBytes else { return }
        throw CookieError(.bounds, path, "\(count) bytes are more than \(limit ?? limits.textBytes)")
    }

    private func bound(_ count: Int, at path: String, _ limit: Int) throws(CookieError) {
        guard count > limit else { return }
        throw CookieError(.bounds, path, "\(count) entries are more than \(limit)")
    }

    /// A peer's text within ours, short enough to be read.
    private func quoted(_ text: String) -> String {
        let head = String(text.prefix(80))
        return "\"" + head + (head.utf8.count < text.utf8.count ? "..." : "") + "\""
    }
}
