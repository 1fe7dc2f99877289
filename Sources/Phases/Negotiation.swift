/// What a party (a library, an agent) can take part in, by libvirt's names of features.
public struct PartyFeatures: OptionSet, Hashable, Sendable {
    /// One bit for each feature.
    public let rawValue: UInt16

    /// Features from their bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Protocol 1: Prepare, Perform, Finish, without a description and without cookies. Recognised, never used.
    public static let protocol1 = PartyFeatures(rawValue: 1)
    /// Protocol 2.
    public static let protocol2 = PartyFeatures(rawValue: 2)
    /// Protocol 3.
    public static let protocol3 = PartyFeatures(rawValue: 4)
    /// Steps take an open list of parameters (`MIGRATION_PARAMS`).
    public static let parameters = PartyFeatures(rawValue: 8)
    /// Guests that do not run can be migrated (`MIGRATION_OFFLINE`).
    public static let offline = PartyFeatures(rawValue: 16)
    /// The job can be held from Begin on (`MIGRATE_CHANGE_PROTECTION`).
    public static let changeProtection = PartyFeatures(rawValue: 32)
    /// The source can call the destination's steps itself (`MIGRATION_P2P`).
    public static let peerToPeer = PartyFeatures(rawValue: 64)
    /// The source can migrate to a bare QEMU (`MIGRATION_DIRECT`).
    public static let direct = PartyFeatures(rawValue: 128)

    /// What this version can take part in.
    public static let ours: PartyFeatures = [
        .protocol2, .protocol3, .parameters, .offline, .changeProtection, .peerToPeer, .direct,
    ]
}

/// By which entry a migration is asked for.
public enum MigrationEntry: String, Hashable, Sendable, CaseIterable {
    /// A client has a connection to each side and calls the steps (`virDomainMigrate3`).
    case regular
    /// A client has a connection to the source and an address (`virDomainMigrateToURI3`).
    case uri
}

/// Who called the one inner Perform that every way leads to.
public enum PerformCaller: String, Hashable, Sendable, CaseIterable {
    /// A client, between the other steps.
    case client
    /// The source itself, which calls the destination's steps from within.
    case peerToPeer = "peer-to-peer"
    /// A client without a destination side.
    case direct
}

/// The inner Perform.
public struct InnerPerform: Hashable, Sendable {
    /// Who called it.
    public var caller: PerformCaller
    /// Whether it was called with an open list of parameters.
    public var hasParameters: Bool
    /// The protocol that it follows.
    public var version: ProtocolVersion

    /// A Perform.
    public init(caller: PerformCaller, hasParameters: Bool, version: ProtocolVersion) {
        self.caller = caller
        self.hasParameters = hasParameters
        self.version = version
    }
}

/// Why no way to migrate was found.
public struct NegotiationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of refusal.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// Peer to peer is asked for by the other entry.
        case otherEntry = "other-entry"
        /// A side lacks something that was asked for.
        case unsupported
        /// Both sides know protocol 1 and no later one.
        case protocol1 = "protocol-1"
        /// The sides know no protocol in common.
        case noProtocol = "no-protocol"
        /// The flags exclude one another.
        case flags
    }

    /// The kind.
    public var kind: Kind
    /// In words.
    public var description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// A question of the negotiation and its answer.
public struct NegotiationDecision: Hashable, Sendable, CustomStringConvertible {
    /// What was asked.
    public var question: String
    /// The answer.
    public var isYes: Bool
    /// What followed from it; empty if the next question did.
    public var consequence: String

    /// In a line.
    public var description: String {
        "\(question)? \(isYes ? "yes" : "no")" + (consequence.isEmpty ? "" : ": \(consequence)")
    }
}

/// By which way two parties migrate a guest: libvirt's decisions in libvirt's order, each one kept.
public struct Negotiation: Hashable, Sendable {
    /// What was found.
    public let result: Result<InnerPerform, NegotiationError>
    /// Every question in order; the last one decided.
    public let trace: [NegotiationDecision]
    /// The flags for the source: change protection is added where the source has it.
    public let sourceFlags: MigrationFlags
    /// The flags for the destination, which has no use for change protection.
    public var destinationFlags: MigrationFlags { sourceFlags.subtracting(.changeProtection) }

    /// The regular entry.
    ///
    /// - Parameters:
    ///   - flags: What was asked for.
    ///   - source: What the source can do.
    ///   - destination: What the destination can do.
    public static func regular(
        _ flags: MigrationFlags, source: PartyFeatures, destination: PartyFeatures
    ) -> Negotiation {
        var talk = Talk(flags: flags)
        let result = talk.regular(source, destination)
        return talk.end(result, source: source)
    }

    /// The entry with an address.
    ///
    /// - Parameters:
    ///   - flags: What was asked for.
    ///   - source: What the source can do.
    ///   - destination: What the destination can do, once the source has asked it; nobody asks it in a direct
    ///   migration.
    public static func uri(
        _ flags: MigrationFlags, source: PartyFeatures, destination: PartyFeatures?
    ) -> Negotiation {
        var talk = Talk(flags: flags)
        let result = talk.uri(source, destination)
        return talk.end(result, source: source)
    }

    /// The questions and answers so far.
    private struct Talk {
        let flags: MigrationFlags
        var trace: [NegotiationDecision] = []

        func end(_ result: Result<InnerPerform, NegotiationError>, source: PartyFeatures) -> Negotiation {
            Negotiation(
                result: result, trace: trace,
                sourceFlags: source.contains(.changeProtection) ? flags.union(.changeProtection) : flags)
        }

        /// Notes a question; the consequences of both answers are known before.
        private mutating func ask(_ question: String, _ isYes: Bool, yes: String = "", no: String = "") -> Bool {
            trace.append(NegotiationDecision(question: question, isYes: isYes, consequence: isYes ? yes : no))
            return isYes
        }

        private func refuse(_ kind: NegotiationError.Kind, _ why: String) -> Result<InnerPerform, NegotiationError> {
            .failure(NegotiationError(kind, why))
        }

        mutating func regular(
            _ source: PartyFeatures, _ destination: PartyFeatures
        ) -> Result<InnerPerform, NegotiationError> {
            if ask("peer to peer asked for", flags.contains(.peerToPeer), yes: "not by this entry") {
                return refuse(
                    .otherEntry,
                    "peer-to-peer migration is asked for by the entry with an address (migrate to URI), not by this one"
                )
            }
            if ask("offline asked for", flags.contains(.offline)) {
                if !ask("the source can migrate offline", source.contains(.offline), no: "refused") {
                    return refuse(.unsupported, "the source cannot migrate a guest that does not run (offline)")
                }
                if !ask("the destination can migrate offline", destination.contains(.offline), no: "refused") {
                    return refuse(.unsupported, "the destination cannot take a guest that does not run (offline)")
                }
            }
            if ask("change protection asked for", flags.contains(.changeProtection)),
                !ask("the source has change protection", source.contains(.changeProtection), no: "refused")
            {
                return refuse(.unsupported, "the source cannot protect the guest against changes while it is migrated")
            }
            if ask(
                "both sides take parameters", source.contains(.parameters) && destination.contains(.parameters),
                yes: "protocol 3 with parameters")
            {
                return .success(InnerPerform(caller: .client, hasParameters: true, version: .v3))
            }
            return common(source, destination, both: "both sides know").map {
                InnerPerform(caller: .client, hasParameters: false, version: $0)
            }
        }

        mutating func uri(
            _ source: PartyFeatures, _ destination: PartyFeatures?
        ) -> Result<InnerPerform, NegotiationError> {
            let isPeerToPeer = flags.contains(.peerToPeer)
            if ask(
                "tunnelled without peer to peer", flags.contains(.tunnelled) && !isPeerToPeer, yes: "refused")
            {
                return refuse(.flags, "a tunnelled migration has to be peer to peer")
            }
            guard ask("peer to peer asked for", isPeerToPeer, no: "direct") else {
                if !ask("the source can migrate directly", source.contains(.direct), no: "refused") {
                    return refuse(.unsupported, "the source cannot migrate to a bare QEMU (direct)")
                }
                // A direct migration has nobody on the other side whose protocol would count.
                return plain(.direct, .v3)
            }
            if !ask("the source can migrate peer to peer", source.contains(.peerToPeer), no: "refused") {
                return refuse(.unsupported, "the source cannot call the destination's steps itself (peer to peer)")
            }
            if ask("offline asked for", flags.contains(.offline)) {
                if !ask("the source can migrate offline", source.contains(.offline), no: "refused") {
                    return refuse(.unsupported, "the source cannot migrate a guest that does not run (offline)")
                }
                if !ask(
                    "the destination can migrate offline", destination?.contains(.offline) ?? false, no: "refused")
                {
                    return refuse(.unsupported, "the destination cannot take a guest that does not run (offline)")
                }
            }
            let hasParameters = ask(
                "the source takes parameters", source.contains(.parameters), yes: "Perform with parameters",
                no: "plain Perform")
            // The source drives: which protocol it is depends on what the destination knows, not on how the source was
            // called.
            return common(.all, destination ?? [], both: "the destination knows").map {
                InnerPerform(caller: .peerToPeer, hasParameters: hasParameters, version: $0)
            }
        }

        private mutating func plain(
            _ caller: PerformCaller, _ version: ProtocolVersion
        ) -> Result<InnerPerform, NegotiationError> {
            .success(InnerPerform(caller: caller, hasParameters: false, version: version))
        }

        /// The best protocol of two parties.
        private mutating func common(
            _ one: PartyFeatures, _ other: PartyFeatures, both: String
        ) -> Result<ProtocolVersion, NegotiationError> {
            let known = one.intersection(other)
            if ask("\(both) protocol 3", known.contains(.protocol3), yes: "protocol 3") { return .success(.v3) }
            if ask("\(both) protocol 2", known.contains(.protocol2), yes: "protocol 2") { return .success(.v2) }
            if ask("\(both) protocol 1", known.contains(.protocol1), yes: "refused", no: "refused") {
                return .failure(
                    NegotiationError(
                        .protocol1, "protocol 1 is all that both sides know, and it has too few steps for QEMU"))
            }
            return .failure(NegotiationError(.noProtocol, "the sides know no migration protocol in common"))
        }
    }
}

extension PartyFeatures {
    /// Whatever there is.
    fileprivate static let all = PartyFeatures(rawValue: .max)
}
