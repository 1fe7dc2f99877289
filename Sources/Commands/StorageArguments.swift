import ArgumentParser
import Migration
import Phases

/// The options of `godwit migrate` about disks that the two hosts do not share, under virsh's names for them.
struct StorageArguments: ParsableArguments {
    @Flag(name: .long, help: "Copy the guest's disks to those of the destination, in full.")
    var copyStorageAll = false

    @Flag(name: .long, help: "Copy only the top layers of the disks; the layers below are on both hosts already.")
    var copyStorageInc = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Only these, by node name or device id, with commas between them. Default: all that can be written.",
            valueName: "names"))
    var migrateDisks: String?

    @Flag(name: .long, help: "Let the guest wait until what it writes is on both disks, so that the copy stays close.")
    var copyStorageSynchronousWrites = false

    @Option(name: .long, help: ArgumentHelp("Most bytes per second for each disk, e.g. 100MiB.", valueName: "size"))
    var copyStorageBandwidth: ByteQuantity?

    @Option(
        name: .long,
        help:
            "Where the destination exports its disks: tcp:HOST:PORT (port 0: one is chosen) or unix:PATH. Default: a Unix socket beside the destination's monitor."
    )
    var disksUri: String?

    @Flag(name: .long, help: "Take the dirty bitmaps of the disks along; the nodes have the same names on both sides.")
    var bitmaps = false

    var isWished: Bool { copyStorageAll || copyStorageInc }

    /// Checks what the parser cannot.
    func validate() throws {
        if copyStorageAll, copyStorageInc {
            throw ValidationError("--copy-storage-all and --copy-storage-inc exclude each other")
        }
        let others = [
            ("--migrate-disks", migrateDisks != nil), ("--disks-uri", disksUri != nil),
            ("--copy-storage-synchronous-writes", copyStorageSynchronousWrites),
            ("--copy-storage-bandwidth", copyStorageBandwidth != nil),
        ]
        if !isWished, let other = others.first(where: \.1) {
            throw ValidationError("\(other.0) needs --copy-storage-all or --copy-storage-inc")
        }
        if let migrateDisks, Self.names(migrateDisks).isEmpty { throw ValidationError("--migrate-disks: no disk") }
        if let disksUri, Self.address(disksUri) == nil {
            throw ValidationError("--disks-uri \(disksUri): tcp:HOST:PORT or unix:PATH")
        }
        if let bandwidth = copyStorageBandwidth, bandwidth.bytes < 1 << 16 {
            throw ValidationError("--copy-storage-bandwidth: at least 64 KiB")
        }
    }

    private static func names(_ text: String) -> [String] { text.split(separator: ",").map(String.init) }

    /// An address in QEMU's form; `nil` for anything else. An IPv6 address stands in brackets.
    static func address(_ text: String) -> NBDAddress? {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            return path.isEmpty || path.utf8.count > 107 ? nil : .unix(path: path)
        }
        guard text.hasPrefix("tcp:"), let colon = text.lastIndex(of: ":"), let port = UInt16(text[colon...].dropFirst())
        else { return nil }
        var host = text[..<colon].dropFirst(4)
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : .tcp(host: String(host), port: Int(port))
    }

    /// Where disks are exported that are encrypted: over TCP, on the host that memory goes to.
    static func encrypted(beside uri: String?) -> String {
        guard let uri, uri.hasPrefix("tcp:"), let colon = uri.lastIndex(of: ":") else { return "tcp:127.0.0.1:0" }
        return uri[..<colon] + ":0"
    }

    /// What is wished.
    ///
    /// - Parameter usual: An address of this attempt's own.
    func wish(usual: String) -> StorageWish? {
        guard isWished, let address = Self.address(disksUri ?? usual) else { return nil }
        var wish = StorageWish(server: address, client: address)
        wish.disks = migrateDisks.map(Self.names) ?? []
        wish.sync = copyStorageInc ? .top : .full
        wish.copyMode = copyStorageSynchronousWrites ? .writeBlocking : .background
        wish.bytesPerSecond = copyStorageBandwidth?.bytes
        return wish
    }
}
