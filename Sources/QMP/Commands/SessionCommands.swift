public import JSONC

/// `qmp_capabilities`: ends the negotiation. Sent by the session itself.
public struct QMPCapabilities: QMPCommand {
    /// Protocol capabilities to switch on, of those that the greeting offered.
    public var enable: [String]

    /// The command.
    public init(enable: [String] = []) { self.enable = enable }

    /// The name on the wire.
    public static let name = "qmp_capabilities"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        guard !self.enable.isEmpty else { return }
        writer.member("enable", .array(self.enable.map { .string($0) }))
    }
}

/// `query-version`.
public struct QueryVersion: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-version"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// QEMU's version, in the shape of a greeting without capabilities.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> QMPGreeting {
        let version = try view.required("qemu", of: self.name) { $0.kind == .object ? $0 : nil }
        return QMPGreeting(
            major: try version.required("major", of: self.name) { $0.int64 },
            minor: try version.required("minor", of: self.name) { $0.int64 },
            micro: try version.required("micro", of: self.name) { $0.int64 },
            package: view["package"]?.string ?? ""
        )
    }
}

/// `query-commands`: the names that this binary knows.
public struct QueryCommands: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-commands"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.schema

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> [String] {
        try view.elements(of: self.name) { (element) throws(QMPError) in
            try element.required("name", of: self.name) { $0.string }
        }
    }
}

/// `query-qmp-schema`: what this binary can do; 150 to 250 kB.
public struct QueryQMPSchema: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-qmp-schema"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.schema

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> JSONValue { view.value() }
}

/// `human-monitor-command`: one line of the human monitor; its output comes back as text.
public struct HumanMonitorCommand: QMPCommand {
    /// The line.
    public var commandLine: String

    /// The command.
    public init(_ commandLine: String) { self.commandLine = commandLine }

    /// The name on the wire.
    public static let name = "human-monitor-command"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.slow

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("command-line", self.commandLine)
    }

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> String {
        guard let text = view.string else { throw QMPError(.invalidReply, "\(self.name): the reply is not a string") }
        return text
    }
}

/// `quit`: ends QEMU. The connection closes before or after the reply.
public struct Quit: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "quit"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.action
    /// Nothing of interest comes back.
    public typealias Reply = Void
}
