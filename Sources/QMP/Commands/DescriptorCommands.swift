public import JSONC

/// `getfd`: names a descriptor sent along with it, for `fd:NAME`. It dies with the monitor connection.
public struct GetFD: QMPCommand {
    /// Must not begin with a digit; an existing name is replaced.
    public var fdname: String

    /// The command.
    public init(fdname: String) { self.fdname = fdname }

    /// The name on the wire.
    public static let name = "getfd"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("fdname", self.fdname)
    }
}

/// `closefd`: closes what `getfd` named.
public struct CloseFD: QMPCommand {
    /// The name given to `getfd`.
    public var fdname: String

    /// The command.
    public init(fdname: String) { self.fdname = fdname }

    /// The name on the wire.
    public static let name = "closefd"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("fdname", self.fdname)
    }
}

/// One descriptor of a set.
public struct AddedFD: Hashable, Sendable {
    /// The set, for `/dev/fdset/N`.
    public var fdsetID: Int64
    /// The number in QEMU's process.
    public var fd: Int64

    /// A descriptor by its members.
    public init(fdsetID: Int64, fd: Int64) {
        self.fdsetID = fdsetID
        self.fd = fd
    }
}

/// `add-fd`: puts a descriptor sent along with it into a set. It outlives the connection.
public struct AddFD: QMPCommand {
    /// The set; nil makes a new one.
    public var fdsetID: Int64?
    /// A remark to find it by.
    public var opaque: String?

    /// The command.
    public init(fdsetID: Int64? = nil, opaque: String? = nil) {
        self.fdsetID = fdsetID
        self.opaque = opaque
    }

    /// The name on the wire.
    public static let name = "add-fd"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        if let fdsetID = self.fdsetID { writer.member("fdset-id", fdsetID) }
        if let opaque = self.opaque { writer.member("opaque", opaque) }
    }

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> AddedFD {
        AddedFD(
            fdsetID: try view.required("fdset-id", of: self.name) { $0.int64 },
            fd: try view.required("fd", of: self.name) { $0.int64 }
        )
    }
}

/// `remove-fd`.
public struct RemoveFD: QMPCommand {
    /// The set.
    public var fdsetID: Int64
    /// One descriptor; nil removes them all.
    public var fd: Int64?

    /// The command.
    public init(fdsetID: Int64, fd: Int64? = nil) {
        self.fdsetID = fdsetID
        self.fd = fd
    }

    /// The name on the wire.
    public static let name = "remove-fd"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.configure
    /// Nothing of interest comes back.
    public typealias Reply = Void

    /// Writes the members of `arguments`.
    public func writeArguments(_ writer: inout JSONWriter) {
        writer.member("fdset-id", self.fdsetID)
        if let fd = self.fd { writer.member("fd", fd) }
    }
}

/// A set of descriptors.
public struct FDSet: Hashable, Sendable {
    /// A descriptor in it.
    public struct Member: Hashable, Sendable {
        /// The number in QEMU's process.
        public var fd: Int64
        /// The remark it was added with.
        public var opaque: String?

        /// A descriptor by its members.
        public init(fd: Int64, opaque: String? = nil) {
            self.fd = fd
            self.opaque = opaque
        }
    }

    /// The set's number.
    public var fdsetID: Int64
    /// What is in it.
    public var fds: [Member]

    /// A set by its members.
    public init(fdsetID: Int64, fds: [Member]) {
        self.fdsetID = fdsetID
        self.fds = fds
    }
}

/// `query-fdsets`.
public struct QueryFDSets: QMPCommand {
    /// The command.
    public init() {}

    /// The name on the wire.
    public static let name = "query-fdsets"
    /// Which deadline it has.
    public static let kind = QMPCommandKind.query

    /// Reads the value of `return`; throws `invalidReply` when something promised is missing.
    public static func decodeReply(_ view: JSONView) throws(QMPError) -> [FDSet] {
        try view.elements(of: self.name) { (element) throws(QMPError) in
            let fds = try element.required("fds", of: self.name) { $0 }
            return FDSet(
                fdsetID: try element.required("fdset-id", of: self.name) { $0.int64 },
                fds: try fds.elements(of: self.name) { (member) throws(QMPError) in
                    FDSet.Member(
                        fd: try member.required("fd", of: self.name) { $0.int64 }, opaque: member["opaque"]?.string)
                }
            )
        }
    }
}
