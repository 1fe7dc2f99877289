public import JSONC

/// Reply of `query-status`.
public struct RunState: Hashable, Sendable {
    /// QEMU's word: `running`, `paused`, `inmigrate`, `finish-migrate`, `postmigrate`, ...
    public var status: String
    /// Whether the virtual CPUs run.
    public var running: Bool

    /// A run state by its members.
    public init(status: String, running: Bool) {
        self.status = status
        self.running = running
    }
}

/// `query-status`.
public struct QueryStatus: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-status"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> RunState {
        RunState(
            status: try view.required("status", of: self.name) { $0.string },
            running: try view.required("running", of: self.name) { $0.bool }
        )
    }
}

/// `cont`: runs the guest; in `inmigrate` only notes that it shall run once loaded. May wait for disks.
public struct Cont: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "cont"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.slow
    /// Nothing of interest comes back.
    public typealias Reply = Void
}

/// `stop`: pauses the guest; drains the disks first.
public struct Stop: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "stop"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.slow
    /// Nothing of interest comes back.
    public typealias Reply = Void
}
