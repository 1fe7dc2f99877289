import Migration

/// On which side a capability is switched on, and on which a parameter is set.
public enum SettingScope: Hashable, Sendable {
    /// The side that sends.
    case source
    /// The side that loads.
    case destination
    /// Both, and they must agree: QEMU does not compare them, and a stream that one side reads in another way than it
    /// was written hangs or breaks.
    case both

    /// The scope of a capability. What is not known here is the sender's.
    public static func capability(_ name: String) -> SettingScope {
        switch name {
        case "multifd", "postcopy-ram", "postcopy-preempt", "x-ignore-shared", "dirty-bitmaps", "switchover-ack",
            "mapped-ram":
            .both
        case "postcopy-blocktime", "late-block-activate": .destination
        default: .source
        }
    }

    /// The scope of a parameter. What is not known here is the sender's.
    public static func parameter(_ name: String) -> SettingScope {
        switch name {
        case "multifd-channels", "multifd-compression", "mode", "direct-io", "tls-creds": .both
        case "tls-authz": .destination
        default: .source
        }
    }

    /// Whether QEMU takes a parameter's new value into account while it migrates.
    static func isTakenInFlight(_ name: String) -> Bool {
        switch name {
        case "max-bandwidth", "max-postcopy-bandwidth", "avail-switchover-bandwidth", "downtime-limit",
            "cpu-throttle-initial", "cpu-throttle-increment", "max-cpu-throttle", "cpu-throttle-tailslow",
            "throttle-trigger-threshold", "xbzrle-cache-size", "vcpu-dirty-limit":
            true
        default: false
        }
    }

    func covers(_ side: Side) -> Bool {
        switch self {
        case .source: side == .source
        case .destination: side == .destination
        case .both: true
        }
    }
}

extension MigrateOptions {
    /// The wished capabilities of a side.
    func capabilities(of side: Side) -> [String] {
        capabilities.filter { SettingScope.capability($0).covers(side) }
    }

    /// The wished parameters of a side.
    func parameters(of side: Side) -> [Setting] {
        parameters.filter { SettingScope.parameter($0.name).covers(side) }
            + (tls?.parameters(of: side, attempt: attempt) ?? [])
    }

    /// Whether what was set is read back before anything is sent: once the sides have to agree on more than what every
    /// attempt uses, a difference would show as a stream that hangs, or as one that anybody can read.
    var readsBack: Bool { !capabilities.isEmpty || tls != nil }

    /// The name under which the descriptor of an `fd:` address is passed; `nil` for any other address.
    var descriptorName: String? { uri.hasPrefix("fd:") ? String(uri.dropFirst(3)) : nil }
}

extension SideCore {
    /// What of the wishes this QEMU has no word for; `nil` if it has one for each. Asked of QEMU itself: its own lists
    /// of capabilities and parameters.
    func lacking(_ options: MigrateOptions) -> String? {
        if let foreign { return foreign }
        let capability = options.capabilities(of: side).first { !hasCapability($0) }
        if let capability { return "the \(side.rawValue)'s QEMU has no \(capability) capability" }
        return options.parameters(of: side).lazy.compactMap { lacking($0) }.first
    }

    /// Capabilities that make something else of a migration than one that ends with the guest elsewhere. Others that are on are switched off
    /// for the attempt; these were set for a purpose that is not ours to cross.
    static let foreignCapabilities = [
        ("x-colo", "COLO keeps two copies of the guest in step for ever"),
        ("background-snapshot", "the guest would stay here, and a snapshot of it be written"),
        ("block", "QEMU's old block migration would copy the disks too, and stop the guest when it fails"),
        ("compress", "the old compression must be on in both QEMUs, and is no more from QEMU 9.1 on"),
    ]

    /// What somebody has left switched on that Godwit does not do; `nil` for nothing.
    private var foreign: String? {
        for (name, why) in Self.foreignCapabilities
        where originalCapabilities?.contains(where: { $0.name == name && $0.isOn }) ?? false {
            return
                "the \(side.rawValue)'s QEMU has \(name) switched on, which is not supported: \(why). Switch it off there"
        }
        return nil
    }

    /// The same of one parameter.
    func lacking(_ parameter: Setting) -> String? {
        if (originalParameters ?? []).contains(where: { $0.name == parameter.name }) { return nil }
        return "the \(side.rawValue)'s QEMU has no parameter \(parameter.name)"
    }

    /// Parameters are changed after the beginning: they too have to be put back.
    mutating func note(changed settings: [Setting]) {
        changedParameters.removeAll { earlier in settings.contains { $0.name == earlier.name } }
        changedParameters += settings
    }

    /// The commands that read back what was set.
    static let readBack: [Command] = [.queryCapabilities, .queryParameters]

    /// What of a reply to one of them is not as it was set; `nil` if all is.
    func difference(in reply: Reply) -> String? {
        switch reply {
        case .capabilities(let settings):
            let values = Dictionary(settings.map { ($0.name, $0.isOn) }) { first, _ in first }
            return changedCapabilities.first { values[$0.name] != $0.isOn }.map {
                "the \(side.rawValue)'s QEMU was told to switch \($0.name) \($0.isOn ? "on" : "off") and has it "
                    + (values[$0.name] == nil ? "no longer" : $0.isOn ? "off" : "on")
            }
        case .parameters(let settings):
            let values = Dictionary(settings.map { ($0.name, $0.value) }) { first, _ in first }
            return changedParameters.first { values[$0.name] != $0.value }.map {
                "the \(side.rawValue)'s QEMU was told to set \($0.name) to \($0.value) and has "
                    + (values[$0.name]?.description ?? "none")
            }
        default: return reply.problem
        }
    }

    /// An address in the form that this QEMU has: `channels`, or `uri` where there is only that.
    func address(_ uri: String) -> StreamAddress {
        StreamAddress(uri, isChannel: survey?.features.hasChannels ?? false)
    }
}
