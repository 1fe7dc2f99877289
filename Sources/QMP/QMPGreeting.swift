public import JSONC

/// The first message of a monitor: `{"QMP": {"version": ..., "capabilities": [...]}}`.
public struct QMPGreeting: Hashable, Sendable {
    /// QEMU's version; all three are 0 when the greeting does not tell.
    public var major: Int64
    /// Second number of the version.
    public var minor: Int64
    /// Third number of the version.
    public var micro: Int64
    /// The distributor's package string, often empty.
    public var package: String
    /// Offered protocol capabilities, `oob` among them when out-of-band execution can be had.
    public var capabilities: [String]

    /// A greeting by its members.
    public init(major: Int64, minor: Int64, micro: Int64, package: String = "", capabilities: [String] = []) {
        self.major = major
        self.minor = minor
        self.micro = micro
        self.package = package
        self.capabilities = capabilities
    }

    /// Reads the value of the member `QMP`; whatever is missing is left empty, nil only if it is no object.
    public init?(_ view: JSONView) {
        guard view.kind == .object else { return nil }
        let version = view["version"]?["qemu"]
        self.init(
            major: version?["major"]?.int64 ?? 0,
            minor: version?["minor"]?.int64 ?? 0,
            micro: version?["micro"]?.int64 ?? 0,
            package: view["version"]?["package"]?.string ?? ""
        )
        view["capabilities"]?.forEachElement { element in
            if let word = element.string { self.capabilities.append(word) }
        }
    }

    /// Whether out-of-band execution is on offer.
    public var offersOutOfBand: Bool { self.capabilities.contains("oob") }
}
