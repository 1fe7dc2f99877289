import Phases
import Testing

private func failure(_ talk: Negotiation) -> NegotiationError? {
    if case .failure(let error) = talk.result { error } else { nil }
}

private func perform(_ talk: Negotiation) -> InnerPerform? { try? talk.result.get() }

private let protocols: PartyFeatures = [.protocol1, .protocol2, .protocol3]

@Suite struct RegularNegotiationTests {
    /// The questions in the order in which they are asked; each one before the next decides.
    @Test func theOrder() {
        var flags: MigrationFlags = [.peerToPeer, .offline, .changeProtection]
        var (source, destination): (PartyFeatures, PartyFeatures) = ([], [])
        func talk() -> Negotiation { Negotiation.regular(flags, source: source, destination: destination) }

        #expect(failure(talk())?.kind == .otherEntry)
        #expect(failure(talk())?.description.contains("entry with an address") == true)
        #expect(talk().trace.count == 1)
        flags.remove(.peerToPeer)
        #expect(
            failure(talk())?.description == "the source cannot migrate a guest that does not run (offline)")
        source.insert(.offline)
        #expect(
            failure(talk())?.description == "the destination cannot take a guest that does not run (offline)")
        destination.insert(.offline)
        #expect(failure(talk())?.description.contains("protect the guest against changes") == true)
        #expect(failure(talk())?.kind == .unsupported)
        // The destination's change protection is nobody's business.
        destination.insert(.changeProtection)
        #expect(failure(talk())?.kind == .unsupported)
        source.insert(.changeProtection)
        #expect(failure(talk())?.kind == .noProtocol)
        source.formUnion(protocols)
        destination.insert(.protocol1)
        #expect(failure(talk())?.kind == .protocol1)
        #expect(failure(talk())?.description.contains("protocol 1") == true)
        destination.insert(.protocol2)
        #expect(perform(talk()) == InnerPerform(caller: .client, hasParameters: false, version: .v2))
        destination.insert(.protocol3)
        #expect(perform(talk()) == InnerPerform(caller: .client, hasParameters: false, version: .v3))
        source.insert(.parameters)
        #expect(perform(talk())?.hasParameters == false, "both must take them")
        destination.insert(.parameters)
        #expect(perform(talk()) == InnerPerform(caller: .client, hasParameters: true, version: .v3))
        #expect(
            talk().trace.map(\.description) == [
                "peer to peer asked for? no", "offline asked for? yes", "the source can migrate offline? yes",
                "the destination can migrate offline? yes", "change protection asked for? yes",
                "the source has change protection? yes",
                "both sides take parameters? yes: protocol 3 with parameters",
            ])
    }

    /// What only one side knows is not common.
    @Test func protocolsAreCommonOnes() {
        for source in [PartyFeatures.protocol1, .protocol2, .protocol3, protocols] {
            for destination in [PartyFeatures.protocol1, .protocol2, .protocol3, protocols] {
                let talk = Negotiation.regular(.live, source: source, destination: destination)
                let common = source.intersection(destination)
                if common.contains(.protocol3) {
                    #expect(perform(talk)?.version == .v3)
                } else if common.contains(.protocol2) {
                    #expect(perform(talk)?.version == .v2)
                } else {
                    #expect(failure(talk)?.kind == (common.contains(.protocol1) ? .protocol1 : .noProtocol))
                }
            }
        }
    }
}

@Suite struct URINegotiationTests {
    @Test func tunnelledNeedsPeerToPeer() {
        let talk = Negotiation.uri([.live, .tunnelled], source: .ours, destination: .ours)
        #expect(failure(talk)?.kind == .flags)
        #expect(talk.trace.map(\.description) == ["tunnelled without peer to peer? yes: refused"])
        #expect(
            perform(Negotiation.uri([.live, .tunnelled, .peerToPeer], source: .ours, destination: .ours))?.caller
                == .peerToPeer)
    }

    /// Direct is a plain Perform, whatever the source could do with parameters, and asks nobody on the other side.
    @Test func direct() {
        let talk = Negotiation.uri(.live, source: .ours, destination: nil)
        #expect(perform(talk) == InnerPerform(caller: .direct, hasParameters: false, version: .v3))
        var source = PartyFeatures.ours
        source.remove(.direct)
        #expect(failure(Negotiation.uri(.live, source: source, destination: nil))?.kind == .unsupported)
    }

    /// The source's parameters decide how Perform is called, the destination's knowledge which protocol it follows.
    @Test func peerToPeer() {
        for hasParameters in [true, false] {
            for (destination, version) in [
                (PartyFeatures.protocol3, ProtocolVersion.v3), ([.protocol2, .parameters], .v2),
                ([.protocol2, .protocol3], .v3),
            ] {
                // How the source itself was called says nothing about the protocol: it need not even know the later one
                // by name.
                let source: PartyFeatures =
                    hasParameters ? [.peerToPeer, .parameters, .protocol2] : [.peerToPeer, .protocol2]
                let talk = Negotiation.uri(.peerToPeer, source: source, destination: destination)
                #expect(
                    perform(talk)
                        == InnerPerform(caller: .peerToPeer, hasParameters: hasParameters, version: version))
            }
        }
        #expect(
            failure(Negotiation.uri(.peerToPeer, source: .ours, destination: .protocol1))?.kind == .protocol1)
        #expect(failure(Negotiation.uri(.peerToPeer, source: .ours, destination: []))?.kind == .noProtocol)
        #expect(failure(Negotiation.uri(.peerToPeer, source: .protocol3, destination: .ours))?.kind == .unsupported)
    }

    @Test func offline() {
        let flags: MigrationFlags = [.peerToPeer, .offline, .persistDestination]
        #expect(perform(Negotiation.uri(flags, source: .ours, destination: .ours)) != nil)
        for (source, destination) in [
            (PartyFeatures.ours.subtracting(.offline), PartyFeatures.ours), (.ours, .ours.subtracting(.offline)),
        ] {
            let error = failure(Negotiation.uri(flags, source: source, destination: destination))
            #expect(error?.kind == .unsupported)
            #expect(error?.description.contains(source.contains(.offline) ? "destination" : "source") == true)
        }
    }

    /// The destination never gets the flag for change protection, the source gets it wherever it can have it.
    @Test func changeProtectionIsAutomaticAndNotPassedOn() {
        for talk in [
            Negotiation.regular(.live, source: .ours, destination: .ours),
            Negotiation.uri([.live, .peerToPeer], source: .ours, destination: .ours),
        ] {
            #expect(talk.sourceFlags.contains([.live, .changeProtection]))
            #expect(talk.destinationFlags.contains(.live) && !talk.destinationFlags.contains(.changeProtection))
        }
        let without = Negotiation.regular(.live, source: .protocol3, destination: .ours)
        #expect(without.sourceFlags == .live)
    }
}

/// Every combination of the flags and features that matter, against the rules put into one expression each.
@Suite struct NegotiationSweep {
    private static let flags: [MigrationFlags] = [.peerToPeer, .tunnelled, .offline, .changeProtection]
    private static let features: [PartyFeatures] = [
        .protocol1, .protocol2, .protocol3, .parameters, .offline, .changeProtection, .peerToPeer, .direct,
    ]

    private static func subset<Options: OptionSet>(_ all: [Options], _ bits: Int) -> Options {
        all.enumerated().reduce(into: []) { if bits & (1 << $1.offset) != 0 { $0.formUnion($1.element as Options) } }
    }

    @Test(arguments: 0..<16) func alwaysOneAnswerAndItsReason(bits: Int) {
        let flags: MigrationFlags = Self.subset(Self.flags, bits)
        for sourceBits in 0..<256 {
            let source: PartyFeatures = Self.subset(Self.features, sourceBits)
            for destinationBits in 0..<32 {
                let destination: PartyFeatures = Self.subset(Self.features, destinationBits)
                for talk in [
                    Negotiation.regular(flags, source: source, destination: destination),
                    Negotiation.uri(flags, source: source, destination: destination),
                ] {
                    guard let last = talk.trace.last else {
                        Issue.record("nothing was asked: \(flags)")
                        return
                    }
                    switch talk.result {
                    case .success(let perform):
                        guard perform.caller != .direct else { break }
                        let isKnown = destination.contains(perform.version == .v3 ? .protocol3 : .protocol2)
                        let isByParameters = perform.caller == .client && perform.hasParameters
                        if !isKnown && !isByParameters { Issue.record("\(perform) with \(destination)") }
                    case .failure(let error):
                        if error.description.isEmpty || last.consequence.isEmpty { Issue.record("\(talk)") }
                    }
                }
            }
        }
    }
}
