/// Where memory travels to or comes from, in QEMU's form of an address, and by which argument QEMU is told.
public struct StreamAddress: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The address as one text: `tcp:HOST:PORT`, `unix:PATH`, `exec:COMMAND`, ...
    public var uri: String
    /// Whether QEMU is told by `channels`, where it has that (8.2), and not by `uri`.
    public var isChannel: Bool

    /// An address.
    public init(_ uri: String, isChannel: Bool = false) {
        self.uri = uri
        self.isChannel = isChannel
    }

    /// An address that is told by `uri`.
    public init(stringLiteral uri: String) { self.init(uri) }

    /// The address as one text.
    public var description: String { uri }
}
