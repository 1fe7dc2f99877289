public import JSONC

/// `query-name`: nil if the guest has none.
public struct QueryName: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-name"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> String? { view["name"]?.string }
}

/// `query-uuid`: all zeros if the guest has none.
public struct QueryUUID: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-uuid"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> String {
        try view.required("UUID", of: self.name) { $0.string }
    }
}

/// `query-target`: the architecture's word.
public struct QueryTarget: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-target"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> String {
        try view.required("arch", of: self.name) { $0.string }
    }
}

/// Reply of `query-kvm`.
public struct KVMInfo: Hashable, Sendable {
    /// In use.
    public var enabled: Bool
    /// Compiled in.
    public var present: Bool

    /// The reply by its members.
    public init(enabled: Bool, present: Bool) {
        self.enabled = enabled
        self.present = present
    }
}

/// `query-kvm`.
public struct QueryKVM: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-kvm"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> KVMInfo {
        KVMInfo(
            enabled: try view.required("enabled", of: self.name) { $0.bool },
            present: try view.required("present", of: self.name) { $0.bool }
        )
    }
}

/// Reply of `query-memory-size-summary`, in bytes.
public struct MemorySizeSummary: Hashable, Sendable {
    /// RAM from the start.
    public var baseMemory: UInt64
    /// RAM plugged in later; nil where the machine has no such thing.
    public var pluggedMemory: UInt64?

    /// The reply by its members.
    public init(baseMemory: UInt64, pluggedMemory: UInt64? = nil) {
        self.baseMemory = baseMemory
        self.pluggedMemory = pluggedMemory
    }
}

/// `query-memory-size-summary` (2.11).
public struct QueryMemorySizeSummary: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-memory-size-summary"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> MemorySizeSummary {
        MemorySizeSummary(
            baseMemory: try view.required("base-memory", of: self.name) { $0.uint64 },
            pluggedMemory: view["plugged-memory"]?.uint64
        )
    }
}

/// A query whose reply is kept as JSON, because its members differ between releases and machines.
public protocol QMPRawQuery: QMPCommand where Reply == JSONValue {}

extension QMPRawQuery {
    /// Answered at once.
    public static var kind: QMPCommandKind { .query }
    /// The whole value.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> JSONValue { view.value() }
}

/// `query-memdev`.
public struct QueryMemdev: QMPRawQuery {
    /// The command.
    public init() {}
    /// The name on the wire.
    public static let name = "query-memdev"
}

/// `query-memory-devices`.
public struct QueryMemoryDevices: QMPRawQuery {
    /// The command.
    public init() {}
    /// The name on the wire.
    public static let name = "query-memory-devices"
}

/// `query-cpus-fast`.
public struct QueryCPUsFast: QMPRawQuery {
    /// The command.
    public init() {}
    /// The name on the wire.
    public static let name = "query-cpus-fast"
}

/// `query-hotpluggable-cpus`.
public struct QueryHotpluggableCPUs: QMPRawQuery {
    /// The command.
    public init() {}
    /// The name on the wire.
    public static let name = "query-hotpluggable-cpus"
}

/// `query-block`.
public struct QueryBlock: QMPRawQuery {
    /// The command.
    public init() {}
    /// The name on the wire.
    public static let name = "query-block"
}

/// `query-named-block-nodes`.
public struct QueryNamedBlockNodes: QMPRawQuery {
    /// Leave out the backing chains (5.0). Nil leaves the member out.
    public var flat: Bool?

    /// The command.
    public init(flat: Bool? = nil) { self.flat = flat }
    /// The name on the wire.
    public static let name = "query-named-block-nodes"

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        if let flat = self.flat { writer.member("flat", flat) }
    }
}

/// `query-pci`.
public struct QueryPCI: QMPRawQuery {
    /// The command.
    public init() {}
    /// The name on the wire.
    public static let name = "query-pci"
}

/// `query-chardev`.
public struct QueryChardev: QMPRawQuery {
    /// The command.
    public init() {}
    /// The name on the wire.
    public static let name = "query-chardev"
}

/// `query-rx-filter`: network cards and their addresses.
public struct QueryRxFilter: QMPRawQuery {
    /// One card only.
    public var name: String?

    /// The command.
    public init(name: String? = nil) { self.name = name }
    /// The name on the wire.
    public static let name = "query-rx-filter"

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        if let name = self.name { writer.member("name", name) }
    }
}

/// One property of a QOM object.
public struct QOMProperty: Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Its type: `bool`, `link<...>`, `child<...>`, ...
    public var type: String

    /// A property by its members.
    public init(name: String, type: String) {
        self.name = name
        self.type = type
    }
}

/// `qom-list`.
public struct QOMList: QMPCommand {
    /// The object, for instance `/machine/peripheral`.
    public var path: String

    /// The command.
    public init(path: String) { self.path = path }

    /// The name on the wire.
    public static let name = "qom-list"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("path", self.path)
    }

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> [QOMProperty] {
        try view.elements(of: self.name) { (element) throws(QMPError) in
            QOMProperty(
                name: try element.required("name", of: self.name) { $0.string },
                type: try element.required("type", of: self.name) { $0.string }
            )
        }
    }
}

/// `qom-get`: any JSON.
public struct QOMGet: QMPRawQuery {
    /// The object.
    public var path: String
    /// The property.
    public var property: String

    /// The command.
    public init(path: String, property: String) {
        self.path = path
        self.property = property
    }

    /// The name on the wire.
    public static let name = "qom-get"

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("path", self.path)
        writer.member("property", self.property)
    }
}
