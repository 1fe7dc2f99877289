import Migration

/// How the stream is encrypted, by QEMU's own TLS, and how its ends prove who they are.
///
/// Each QEMU reads its files itself, so that the directories are paths as it sees them. Mirrors libvirt's `TLS` flag and
/// its `tls.destination`; the objects are named after the attempt and removed with it.
public struct TLSWish: Hashable, Sendable {
    /// What the ends prove it by.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// Certificates (`tls-creds-x509`).
        case x509
        /// A key that both know (`tls-creds-psk`).
        case psk
    }

    /// What the ends prove it by.
    public var kind: Kind
    /// Where the source's files are.
    public var sourceDirectory: String
    /// Where the destination's files are.
    public var destinationDirectory: String
    /// The name that the destination's certificate must have; `nil` for the host of a TCP address.
    public var hostname: String?
    /// The distinguished names that the source's certificate may have, a `*` for anything; empty for any certificate
    /// that the destination's authority signed.
    public var allowedNames: [String] = []

    /// A wish for both sides with one directory.
    public init(_ kind: Kind, directory: String) {
        self.kind = kind
        sourceDirectory = directory
        destinationDirectory = directory
    }

    /// The objects that a side needs.
    func objects(of side: Side, attempt: String) -> [QEMUObject] {
        let isServer = side == .destination
        let directory = isServer ? destinationDirectory : sourceDirectory
        let credentials = QEMUObject(
            id: Self.credentials(attempt),
            kind == .x509
                ? .x509(directory: directory, isServer: isServer) : .psk(directory: directory, isServer: isServer))
        guard isServer, !allowedNames.isEmpty else { return [credentials] }
        return [credentials, QEMUObject(id: Self.list(attempt), .allowed(allowedNames))]
    }

    /// The parameters that make a side use them.
    func parameters(of side: Side, attempt: String) -> [Setting] {
        let credentials = Setting("tls-creds", .string(Self.credentials(attempt)))
        switch side {
        // Whatever somebody left there earlier is not what is wished now: an empty text is none.
        case .source: return [credentials, Setting("tls-hostname", .string(hostname ?? ""))]
        case .destination:
            // An empty text here is the name of a list that there is not (QEMU 7.2).
            return allowedNames.isEmpty
                ? [credentials] : [credentials, Setting("tls-authz", .string(Self.list(attempt)))]
        }
    }

    /// How a side's end of the disks' connections is encrypted: as the stream is.
    func encryption(of side: Side, attempt: String) -> NBDEncryption {
        switch side {
        case .source: NBDEncryption(credentials: Self.credentials(attempt), hostname: hostname)
        case .destination:
            NBDEncryption(
                credentials: Self.credentials(attempt),
                authorization: allowedNames.isEmpty ? nil : Self.list(attempt))
        }
    }

    private static func credentials(_ attempt: String) -> String { "godwit-tls-\(attempt)" }

    private static func list(_ attempt: String) -> String { "godwit-authz-\(attempt)" }
}

extension SideCore {
    /// The commands that make what TLS needs on this side.
    func makingObjects(_ options: MigrateOptions) -> [Command] {
        let isNested = survey?.features.nestsObjectProperties ?? false
        return (options.tls?.objects(of: side, attempt: options.attempt) ?? []).map {
            .objectAdd($0, isNested: isNested)
        }
    }

    /// A command is on its way for good: what it makes has to be removed again.
    mutating func note(underWay command: Command) {
        if case .objectAdd(let object, _) = command { madeObjects.append(object.id) }
    }

    /// What was not made needs no removing.
    mutating func note(_ reply: Reply, to command: Command) {
        guard case .objectAdd(let object, _) = command, case .refused = reply else { return }
        madeObjects.removeAll { $0 == object.id }
    }
}
