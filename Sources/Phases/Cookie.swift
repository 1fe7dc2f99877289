/// Statistics that travel from the source to the destination and back, for whoever writes the last line.
public struct CookieStatistics: Hashable, Sendable {
    /// QEMU's `total-time`.
    public var totalMilliseconds: Int64?
    /// QEMU's `downtime`.
    public var downtimeMilliseconds: Int64?
    /// Bytes sent.
    public var transferredBytes: Int64?
    /// When the migration began, in microseconds since the epoch on the writer's clock.
    public var startedMicroseconds: Int64?
    /// When the guest stopped, in microseconds since the epoch on the writer's clock.
    public var stoppedMicroseconds: Int64?
    /// When the cookie was written; with the time of its arrival it bounds how far the hosts' clocks are apart.
    public var sentMicroseconds: Int64?

    /// Statistics.
    public init(
        totalMilliseconds: Int64? = nil, downtimeMilliseconds: Int64? = nil, transferredBytes: Int64? = nil,
        startedMicroseconds: Int64? = nil, stoppedMicroseconds: Int64? = nil, sentMicroseconds: Int64? = nil
    ) {
        self.totalMilliseconds = totalMilliseconds
        self.downtimeMilliseconds = downtimeMilliseconds
        self.transferredBytes = transferredBytes
        self.startedMicroseconds = startedMicroseconds
        self.stoppedMicroseconds = stoppedMicroseconds
        self.sentMicroseconds = sentMicroseconds
    }
}

/// A disk that is copied along, in a cookie.
public struct CookieDisk: Hashable, Sendable {
    /// The disk's name in the guest's definition (`vda`).
    public var target: String
    /// Its size.
    public var capacityBytes: Int64

    /// A disk.
    public init(target: String, capacityBytes: Int64) {
        self.target = target
        self.capacityBytes = capacityBytes
    }
}

/// A dirty bitmap that the source offers, or the destination accepts.
public struct CookieBitmap: Hashable, Sendable {
    /// The disk it belongs to.
    public var target: String
    /// Its name on the source.
    public var name: String
    /// What it is called in the stream.
    public var alias: String

    /// A bitmap.
    public init(target: String, name: String, alias: String) {
        self.target = target
        self.name = name
        self.alias = alias
    }
}

/// What the host's network knows of a network interface of the guest, and the other host's network has to take over.
public struct CookieInterface: Hashable, Sendable {
    /// The interface's place in the guest's definition.
    public var index: Int
    /// The kind of virtual port (`openvswitch`).
    public var portType: String
    /// The port's data, as its host gave it.
    public var portData: String?

    /// An interface.
    public init(index: Int, portType: String, portData: String? = nil) {
        self.index = index
        self.portType = portType
        self.portData = portData
    }
}

/// Where the destination's display is, so that viewers can follow the guest.
public struct CookieGraphics: Hashable, Sendable {
    /// The kind of display (`spice`).
    public var type: String
    /// Where it listens.
    public var address: String
    /// Its port.
    public var port: Int?
    /// Its port with TLS.
    public var tlsPort: Int?
    /// The subject of its certificate.
    public var subject: String?

    /// A display.
    public init(type: String, address: String, port: Int? = nil, tlsPort: Int? = nil, subject: String? = nil) {
        self.type = type
        self.address = address
        self.port = port
        self.tlsPort = tlsPort
        self.subject = subject
    }
}

/// A part of a cookie that this version does not know, kept as it came so that it can be passed on.
public struct UnknownCookiePart: Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Its value, as JSON text.
    public var text: String

    /// An unknown part.
    public init(name: String, text: String) {
        self.name = name
        self.text = text
    }
}

/// What one step hands to the next, in and out of every step. Mirrors libvirt's migration cookie; the document's form
/// is MigrationQMP's business.
public struct Cookie: Hashable, Sendable {
    /// The document version this code writes.
    public static let currentVersion = 1

    /// The attempt it belongs to.
    public var attempt: String
    /// The guest's name.
    public var name: String?
    /// The guest's UUID.
    public var uuid: String?
    /// The UUID of the host that wrote it.
    public var hostUUID: String?
    /// The name of the host that wrote it.
    public var hostName: String?
    /// Capabilities that the writer's QEMU has.
    public var capabilities: [String]
    /// Those of them that the writer switches on by itself wherever both sides have them.
    public var automaticCapabilities: [String] = []
    /// What the source is made of (Begin to Prepare).
    public var description: DomainDescription?
    /// What the source's lock manager says of the guest's leases (Begin to Prepare).
    public var lease: LeaseState?
    /// The disks that are copied along (Begin to Prepare; their presence in Perform's cookie says that they were).
    public var storage: [CookieDisk] = []
    /// Where the destination exports the disks that are to be filled (Prepare to Perform, and no further).
    public var nbdPort: Int?
    /// The bitmaps that the source offers (Begin to Prepare) or the destination accepts (Prepare to Perform).
    public var bitmaps: [CookieBitmap] = []
    /// What the source's network knows of the guest's interfaces (Perform to Finish).
    public var network: [CookieInterface] = []
    /// Where the destination's display is (Prepare to Perform).
    public var graphics: CookieGraphics?
    /// Where the destination listens (Prepare to Perform).
    public var uri: String?
    /// Whether the guest is to run on the destination (Perform to Finish).
    public var isRunIntended: Bool?
    /// Confirm: whether the guest has arrived; `nil` in every other step.
    public var isSuccess: Bool?
    /// How many recoveries of a post-copy were begun before this step: a step of an earlier one that comes late is told
    /// by it. `nil` before the first.
    public var recovery: Int?
    /// Numbers.
    public var statistics: CookieStatistics?
    /// Parts that a reader must know or refuse and that this version does not know; those that it does know follow from
    /// what is there.
    public var mandatory: [String]
    /// Optional parts of a later version.
    public var unknown: [UnknownCookiePart]

    /// A cookie of an attempt.
    public init(attempt: String) {
        self.attempt = attempt
        capabilities = []
        mandatory = []
        unknown = []
    }

    /// This cookie with the optional parts of an earlier step that this version does not know: they are not ours to
    /// drop.
    public func carrying(_ earlier: Cookie) -> Cookie {
        var result = self
        for part in earlier.unknown where !result.unknown.contains(where: { $0.name == part.name }) {
            result.unknown.append(part)
        }
        return result
    }
}
