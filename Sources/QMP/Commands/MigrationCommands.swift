public import JSONC

/// `query-migrate`.
public struct QueryMigrate: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-migrate"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> MigrationInfo {
        guard view.kind == .object else { throw QMPError(.invalidReply, "\(self.name): the reply is not an object") }
        return MigrationInfo(view)
    }
}

/// One migration capability and whether it is on.
public struct MigrationCapability: Hashable, Sendable {
    /// QEMU's word: `events`, `return-path`, `pause-before-switchover`, ...
    public var capability: String
    /// On or off.
    public var state: Bool

    /// A capability by its members.
    public init(_ capability: String, _ state: Bool) {
        self.capability = capability
        self.state = state
    }
}

/// `query-migrate-capabilities`.
public struct QueryMigrateCapabilities: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-migrate-capabilities"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> [MigrationCapability] {
        try view.elements(of: self.name) { (element) throws(QMPError) in
            MigrationCapability(
                try element.required("capability", of: self.name) { $0.string },
                try element.required("state", of: self.name) { $0.bool }
            )
        }
    }
}

/// `migrate-set-capabilities`: all or none; refused while a migration runs.
public struct MigrateSetCapabilities: QMPCommand {
    /// What to switch, in this order.
    public var capabilities: [MigrationCapability]

    /// The command.
    public init(_ capabilities: [MigrationCapability]) { self.capabilities = capabilities }

    /// The name on the wire.
    public static let name = "migrate-set-capabilities"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        let list = self.capabilities.map { capability -> JSONValue in
            ["capability": .string(capability.capability), "state": .bool(capability.state)]
        }
        writer.member("capabilities", .array(list))
    }
}

/// `query-migrate-parameters`: as an object, because the members differ between releases.
public struct QueryMigrateParameters: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-migrate-parameters"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> JSONObject {
        guard case .object(let object) = view.value() else {
            throw QMPError(.invalidReply, "\(self.name): the reply is not an object")
        }
        return object
    }
}

/// `migrate-set-parameters`: sets the members given, leaves the others; allowed while a migration runs.
public struct MigrateSetParameters: QMPCommand {
    /// QEMU's own names and units, for instance `max-bandwidth` in bytes per second.
    public var parameters: JSONObject

    /// The command.
    public init(_ parameters: JSONObject) { self.parameters = parameters }

    /// The name on the wire.
    public static let name = "migrate-set-parameters"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        for (key, value) in self.parameters {
            writer.key(key)
            writer.value(value)
        }
    }
}

/// Where `migrate` sends to and `migrate-incoming` listens.
public enum MigrationAddress: Hashable, Sendable {
    /// One text: `tcp:HOST:PORT`, `unix:PATH`, `fd:NAME`, `exec:...`.
    case uri(String)
    /// The list that QEMU takes since 8.2.
    case channels(JSONValue)

    func write(to writer: inout JSONWriter) {
        switch self {
        case .uri(let uri): writer.member("uri", uri)
        case .channels(let channels): writer.member("channels", channels)
        }
    }
}

/// `migrate-incoming`: starts listening on a destination started with `-incoming defer`. It can succeed once in a
/// process.
public struct MigrateIncoming: QMPCommand {
    /// Where to listen.
    public var address: MigrationAddress
    /// Whether QEMU ends itself when loading fails (9.1; its default is true). Nil leaves the member out.
    public var exitOnError: Bool?

    /// The command.
    public init(_ address: MigrationAddress, exitOnError: Bool? = nil) {
        self.address = address
        self.exitOnError = exitOnError
    }

    /// The command with an address as one text.
    public init(uri: String, exitOnError: Bool? = nil) { self.init(.uri(uri), exitOnError: exitOnError) }

    /// The name on the wire.
    public static let name = "migrate-incoming"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        self.address.write(to: &writer)
        if let exitOnError = self.exitOnError { writer.member("exit-on-error", exitOnError) }
    }
}

/// `migrate`: the empty reply means accepted, not connected.
public struct Migrate: QMPCommand {
    /// Where to send to.
    public var address: MigrationAddress
    /// Resume a paused post-copy migration (3.0).
    public var resume: Bool

    /// The command.
    public init(_ address: MigrationAddress, resume: Bool = false) {
        self.address = address
        self.resume = resume
    }

    /// The command with an address as one text.
    public init(uri: String, resume: Bool = false) { self.init(.uri(uri), resume: resume) }

    /// The name on the wire.
    public static let name = "migrate"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        self.address.write(to: &writer)
        if self.resume { writer.member("resume", true) }
    }
}

/// `migrate-continue`: leaves the pause before switchover.
public struct MigrateContinue: QMPCommand {
    /// The status that the source must be in, usually `pre-switchover`.
    public var state: String

    /// The command.
    public init(state: String = "pre-switchover") { self.state = state }

    /// The name on the wire.
    public static let name = "migrate-continue"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("state", self.state)
    }
}

/// `migrate_cancel`: succeeds even when nothing runs. Up to 9.2 it may re-activate disks before it answers.
public struct MigrateCancel: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "migrate_cancel"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.slow
    /// Nothing of interest comes back.
    public typealias Reply = Void
}

/// `migrate-start-postcopy`: only sets a flag, which takes effect at the next switchover.
public struct MigrateStartPostcopy: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "migrate-start-postcopy"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void
}

/// `migrate-pause`: cuts a post-copy migration so that it can be recovered over another path.
public struct MigratePause: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "migrate-pause"
    /// `exec-oob` works for it.
    public static let allowsOutOfBand = true
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void
}

/// `migrate-recover`: makes a paused destination listen again.
public struct MigrateRecover: QMPCommand {
    /// Where to listen.
    public var uri: String

    /// The command.
    public init(uri: String) { self.uri = uri }

    /// The name on the wire.
    public static let name = "migrate-recover"
    /// `exec-oob` works for it.
    public static let allowsOutOfBand = true
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("uri", self.uri)
    }
}

/// What can be yanked.
public enum YankInstance: Hashable, Sendable {
    /// All sockets of the migration.
    case migration
    /// The connection of an NBD client.
    case blockNode(String)
    /// The connection of a socket character device.
    case chardev(String)
    /// A kind that this version does not know; the word of `type`.
    case other(String)

    init(_ view: JSONView) throws(QMPError) {
        let type = try view.required("type", of: QueryYank.name) { $0.string }
        switch type {
        case "migration": self = .migration
        case "block-node": self = .blockNode(try view.required("node-name", of: QueryYank.name) { $0.string })
        case "chardev": self = .chardev(try view.required("id", of: QueryYank.name) { $0.string })
        default: self = .other(type)
        }
    }

    var json: JSONValue {
        switch self {
        case .migration: ["type": "migration"]
        case .blockNode(let name): ["type": "block-node", "node-name": .string(name)]
        case .chardev(let id): ["type": "chardev", "id": .string(id)]
        case .other(let type): ["type": .string(type)]
        }
    }
}

/// `query-yank` (6.0): the migration is listed for as long as its resources exist.
public struct QueryYank: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-yank"
    /// `exec-oob` works for it.
    public static let allowsOutOfBand = true
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> [YankInstance] {
        try view.elements(of: self.name) { (element) throws(QMPError) in try YankInstance(element) }
    }
}

/// `yank` (6.0): cuts connections, whatever QEMU's main loop is doing. Class `DeviceNotFound` for an unknown instance.
public struct Yank: QMPCommand {
    /// What to cut.
    public var instances: [YankInstance]

    /// The command.
    public init(_ instances: [YankInstance]) { self.instances = instances }

    /// The name on the wire.
    public static let name = "yank"
    /// `exec-oob` works for it.
    public static let allowsOutOfBand = true
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("instances", .array(self.instances.map(\.json)))
    }
}
