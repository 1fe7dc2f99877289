public import JSONC

/// `object-add`: makes an object (credentials, a secret, a thread). What it needs of files is read by QEMU, with its own
/// rights and in its own view of the file system.
public struct ObjectAdd: QMPCommand {
    /// QEMU's name of the type: `tls-creds-x509`, `authz-list`, ...
    public var qomType: String
    /// The name it shall have; the class `GenericError` comes back if there is one of that name.
    public var id: String
    /// Its properties.
    public var properties: JSONObject
    /// Whether they go into a member `props`, as QEMU wanted them before 6.0.
    public var isNested: Bool

    /// The command.
    public init(qomType: String, id: String, properties: JSONObject, isNested: Bool = false) {
        self.qomType = qomType
        self.id = id
        self.properties = properties
        self.isNested = isNested
    }

    /// The name on the wire.
    public static let name = "object-add"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("qom-type", self.qomType)
        writer.member("id", self.id)
        if self.isNested { return writer.member("props", .object(self.properties)) }
        for (key, value) in self.properties {
            writer.key(key)
            writer.value(value)
        }
    }
}

/// `object-del`: removes what `object-add` made. Whoever uses it keeps what it has of it.
public struct ObjectDel: QMPCommand {
    /// The name given to `object-add`.
    public var id: String

    /// The command.
    public init(id: String) { self.id = id }

    /// The name on the wire.
    public static let name = "object-del"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("id", self.id)
    }
}
