public import Migration

/// The protocol that the five steps follow, by libvirt's numbers. Protocol 1 is recognised and refused where versions
/// are negotiated.
public enum ProtocolVersion: Int, Hashable, Sendable, CaseIterable {
    /// DumpXML, Prepare, Perform, Finish: the source is ended as soon as the guest has left it, and there is no way
    /// back from a failed Finish.
    case v2 = 2
    /// Begin, Prepare, Perform, Finish, Confirm.
    case v3 = 3
}

/// Who calls the steps, and how the memory travels. The words are libvirt's.
public enum MigrationMode: String, Hashable, Sendable, CaseIterable {
    /// A client calls each side's steps.
    case managed
    /// The source calls the destination's steps from within one call of its own.
    case peerToPeer = "peer-to-peer"
    /// There is nobody on the destination: a bare QEMU that listens and runs the guest by itself.
    case direct
    /// Peer to peer, with the memory within the connection of the two parties.
    case tunnelled
    /// There is no destination: the guest goes into a file, and its QEMU ends. libvirt's `save`.
    case save
    /// There is no source: the guest comes out of a file. libvirt's `restore`.
    case restore

    /// The sides that take steps.
    public var sides: [Side] {
        switch self {
        case .managed, .peerToPeer, .tunnelled: [.source, .destination]
        case .direct, .save: [.source]
        case .restore: [.destination]
        }
    }

    /// Whether one call holds the source's job from Begin to Confirm.
    public var isHeldThroughout: Bool { self == .peerToPeer || self == .tunnelled }
}

/// How an attempt may make use of post-copy.
public struct PostcopyWish: Hashable, Sendable {
    /// Switch over after so many passes over memory, by QEMU's count, instead of waiting for a request.
    public var afterPasses: Int?
    /// Switch over so long after Perform began, if the migration has not ended by then.
    public var afterMilliseconds: Int?
    /// Bound on the traffic after the switchover, in bytes per second; `nil` leaves QEMU's.
    public var bytesPerSecond: Int64?

    /// Post-copy is allowed.
    public init(afterPasses: Int? = nil, afterMilliseconds: Int? = nil, bytesPerSecond: Int64? = nil) {
        self.afterPasses = afterPasses
        self.afterMilliseconds = afterMilliseconds
        self.bytesPerSecond = bytesPerSecond
    }
}
