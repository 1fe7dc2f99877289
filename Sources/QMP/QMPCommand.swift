public import JSONC

/// A command as a value: its arguments, and the type of its reply.
public protocol QMPCommand: Sendable {
    /// What the member `return` becomes.
    associatedtype Reply: Sendable
    /// The name on the wire.
    static var name: String { get }
    /// Whether QEMU accepts it by `exec-oob`.
    static var allowsOutOfBand: Bool { get }
    /// Chooses the deadline.
    static var kind: QMPCommandKind { get }
    /// Writes the members of `arguments`.
    func writeArguments(_ writer: inout JSONWriter)
    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    static func decodeReply(_ view: JSONView) throws(QMPError) -> Reply
}

extension QMPCommand {
    /// In band only, as nearly all commands.
    public static var allowsOutOfBand: Bool { false }
    /// No arguments.
    public func writeArguments(_ writer: inout JSONWriter) {}
}

extension QMPCommand where Reply == Void {
    /// Nothing of interest comes back.
    public static func decodeReply(_ view: JSONView) throws(QMPError) {}
}

/// One command ready for the wire.
public struct QMPRequest: Hashable, Sendable {
    /// The command's name.
    public var name: String
    /// A complete JSON object, or nil for no arguments.
    public var arguments: [UInt8]?
    /// Sent by `exec-oob`.
    public var outOfBand: Bool
    /// Chooses the deadline.
    public var kind: QMPCommandKind

    /// A command by name with arguments that are JSON already.
    public init(name: String, arguments: [UInt8]? = nil, outOfBand: Bool = false, kind: QMPCommandKind) {
        self.name = name
        self.arguments = arguments
        self.outOfBand = outOfBand
        self.kind = kind
    }

    /// A typed command.
    public init<C: QMPCommand>(_ command: C, outOfBand: Bool = false) {
        self.init(name: C.name, arguments: nil, outOfBand: outOfBand, kind: C.kind)
        var writer = JSONWriter()
        writer.object { command.writeArguments(&$0) }
        if writer.bytes.count > 2 { self.arguments = writer.bytes }
    }

    /// A typed query sent on a timer: at most one is outstanding.
    public init<C: QMPCommand>(polling command: C) {
        self.init(command)
        self.kind = .poll
    }

    /// The message for the wire with its line end. `id` comes back in the reply.
    public func encoded(id: UInt64) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member(self.outOfBand ? "exec-oob" : "execute", self.name)
            if let arguments = self.arguments { writer.rawMember("arguments", arguments) }
            writer.member("id", id)
        }
        return writer.bytes + [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
    }
}
