/// Statistics that travel from the source to the destination and back, for whoever writes the last line.
public struct CookieStatistics: Hashable, Sendable {
    /// QEMU's `total-time`.
    public var totalMilliseconds: Int64?
    /// QEMU's `downtime`.
    public var downtimeMilliseconds: Int64?
    /// Bytes sent.
    public var transferredBytes: Int64?

    /// Statistics.
    public init(totalMilliseconds: Int64? = nil, downtimeMilliseconds: Int64? = nil, transferredBytes: Int64? = nil) {
        self.totalMilliseconds = totalMilliseconds
        self.downtimeMilliseconds = downtimeMilliseconds
        self.transferredBytes = transferredBytes
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

/// What one step hands to the next, in and out of every step. Mirrors libvirt's migration cookie; the document's form is MigrationQMP's business.
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
    /// What the source is made of (Begin to Prepare).
    public var description: DomainDescription?
    /// Where the destination listens (Prepare to Perform).
    public var uri: String?
    /// Whether the guest is to run on the destination (Perform to Finish).
    public var isRunIntended: Bool?
    /// Confirm: whether the guest has arrived; `nil` in every other step.
    public var isSuccess: Bool?
    /// Numbers.
    public var statistics: CookieStatistics?
    /// Parts that a reader must know or refuse; the names written by us.
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

    /// This cookie with the optional parts of an earlier step that this version does not know: they are not ours to drop.
    public func carrying(_ earlier: Cookie) -> Cookie {
        var result = self
        for part in earlier.unknown where !result.unknown.contains(where: { $0.name == part.name }) {
            result.unknown.append(part)
        }
        return result
    }
}
