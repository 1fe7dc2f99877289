public import JSONC

/// A socket address as the NBD commands take it.
public enum QMPSocketAddress: Hashable, Sendable {
    /// A Unix socket.
    case unix(path: String)
    /// TCP; the port in digits.
    case inet(host: String, port: String)
    /// A descriptor that `getfd` named.
    case fd(name: String)

    private var type: JSONValue {
        switch self {
        case .unix: "unix"
        case .inet: "inet"
        case .fd: "fd"
        }
    }

    private var members: JSONObject {
        switch self {
        case .unix(let path): ["path": .string(path)]
        case .inet(let host, let port): ["host": .string(host), "port": .string(port)]
        case .fd(let name): ["str": .string(name)]
        }
    }

    /// QEMU's `SocketAddressLegacy`, for servers.
    public var legacy: JSONValue { ["type": type, "data": .object(members)] }

    /// QEMU's `SocketAddress`, for clients.
    var flat: JSONValue {
        var object: JSONObject = ["type": type]
        for (key, value) in members { object[key] = value }
        return .object(object)
    }
}

/// `nbd-server-start`: refused while a server runs. With a descriptor the socket has to listen already: QEMU 5.2 does
/// not see to that.
public struct NBDServerStart: QMPCommand {
    /// Where to listen.
    public var address: QMPSocketAddress
    /// The id of TLS credentials; nil for none.
    public var tlsCreds: String?
    /// The id of an authorization object; nil for none.
    public var tlsAuthz: String?

    /// The command.
    public init(address: QMPSocketAddress, tlsCreds: String? = nil, tlsAuthz: String? = nil) {
        self.address = address
        self.tlsCreds = tlsCreds
        self.tlsAuthz = tlsAuthz
    }

    /// The name on the wire.
    public static let name = "nbd-server-start"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("addr", address.legacy)
        if let tlsCreds { writer.member("tls-creds", tlsCreds) }
        if let tlsAuthz { writer.member("tls-authz", tlsAuthz) }
    }
}

/// `nbd-server-stop`: takes all exports away, and returns when their clients are cut off.
public struct NBDServerStop: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "nbd-server-stop"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.slow
    /// Nothing of interest comes back.
    public typealias Reply = Void
}

/// `block-export-add` of an NBD export (QEMU 5.2).
public struct BlockExportAdd: QMPCommand {
    /// The export's id, and its name for clients.
    public var id: String
    /// The node.
    public var nodeName: String
    /// Whether clients may write. A node of a QEMU that waits for a migration is made ready for it.
    public var writable: Bool

    /// The command.
    public init(id: String, nodeName: String, writable: Bool) {
        self.id = id
        self.nodeName = nodeName
        self.writable = writable
    }

    /// The name on the wire.
    public static let name = "block-export-add"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("type", "nbd")
        writer.member("id", id)
        writer.member("node-name", nodeName)
        writer.member("name", id)
        writer.member("writable", writable)
    }
}

/// `blockdev-add` of an NBD client: connects, and holds up QEMU's main loop until it has.
public struct BlockdevAddNBD: QMPCommand {
    /// The new node's name, at most 31 bytes.
    public var nodeName: String
    /// The export's name.
    public var export: String
    /// Where the server is.
    public var server: QMPSocketAddress
    /// The id of TLS credentials; nil for none.
    public var tlsCreds: String?
    /// The name that the server's certificate must have (QEMU 7.0); nil for the host of its address.
    public var tlsHostname: String?

    /// The command.
    public init(
        nodeName: String, export: String, server: QMPSocketAddress, tlsCreds: String? = nil, tlsHostname: String? = nil
    ) {
        self.nodeName = nodeName
        self.export = export
        self.server = server
        self.tlsCreds = tlsCreds
        self.tlsHostname = tlsHostname
    }

    /// The name on the wire.
    public static let name = "blockdev-add"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.slow
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("driver", "nbd")
        writer.member("node-name", nodeName)
        writer.member("export", export)
        writer.member("server", server.flat)
        if let tlsCreds { writer.member("tls-creds", tlsCreds) }
        if let tlsHostname { writer.member("tls-hostname", tlsHostname) }
    }
}

/// `blockdev-mirror`. The job stays, concluded, until it is dismissed.
public struct BlockdevMirror: QMPCommand {
    /// The job's id.
    public var jobID: String
    /// The node that is copied.
    public var device: String
    /// The node that is written.
    public var target: String
    /// `full`, `top` or `none`.
    public var sync: String
    /// `background` or `write-blocking`.
    public var copyMode: String
    /// Bytes per second; nil for no limit.
    public var speed: Int64?

    /// The command.
    public init(jobID: String, device: String, target: String, sync: String, copyMode: String, speed: Int64? = nil) {
        self.jobID = jobID
        self.device = device
        self.target = target
        self.sync = sync
        self.copyMode = copyMode
        self.speed = speed
    }

    /// The name on the wire.
    public static let name = "blockdev-mirror"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("job-id", jobID)
        writer.member("device", device)
        writer.member("target", target)
        writer.member("sync", sync)
        writer.member("copy-mode", copyMode)
        if let speed { writer.member("speed", speed) }
        writer.member("auto-dismiss", false)
    }
}

/// `block-job-cancel`. Without force a mirror that is ready finishes its copy, which is not how `job-cancel` has it.
public struct BlockJobCancel: QMPCommand {
    /// The job's id.
    public var device: String
    /// Give up what is not copied.
    public var force: Bool

    /// The command.
    public init(device: String, force: Bool) {
        self.device = device
        self.force = force
    }

    /// The name on the wire.
    public static let name = "block-job-cancel"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("device", device)
        if force { writer.member("force", true) }
    }
}

/// `job-dismiss`: forgets a job that is concluded.
public struct JobDismiss: QMPCommand {
    /// The job's id.
    public var id: String

    /// The command.
    public init(id: String) { self.id = id }

    /// The name on the wire.
    public static let name = "job-dismiss"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) { writer.member("id", id) }
}

/// `blockdev-del`: refused while something uses the node.
public struct BlockdevDel: QMPCommand {
    /// The node.
    public var nodeName: String

    /// The command.
    public init(nodeName: String) { self.nodeName = nodeName }

    /// The name on the wire.
    public static let name = "blockdev-del"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) { writer.member("node-name", nodeName) }
}

/// `query-jobs`: as it is, because what is in it depends on the kind of job.
public struct QueryJobs: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-jobs"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> [JSONValue] {
        guard case .array(let jobs) = view.value() else {
            throw QMPError(.invalidReply, "\(self.name): the reply is not a list")
        }
        return jobs
    }
}
