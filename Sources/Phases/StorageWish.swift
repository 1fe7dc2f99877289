public import Migration

/// How disks are copied along with the guest.
public struct StorageWish: Hashable, Sendable {
    /// The disks, by their nodes' names or by their devices' ids or paths; empty for all that the guest can write.
    public var disks: [String] = []
    /// How much of them.
    public var sync = MirrorJob.Sync.full
    /// How what the guest writes meanwhile gets there.
    public var copyMode = MirrorJob.CopyMode.background
    /// Bytes per second for each disk; `nil` for no limit.
    public var bytesPerSecond: Int64?
    /// Where the destination's NBD server listens.
    public var server: NBDAddress
    /// Where the source connects.
    public var client: NBDAddress

    /// The name under which a listening socket is passed to the destination's QEMU.
    public static func socketName(attempt: String) -> String { "godwit-\(attempt)-disks" }

    /// All disks in full.
    public init(server: NBDAddress, client: NBDAddress) {
        self.server = server
        self.client = client
    }
}

/// A disk that is to be copied, on the QEMU that has it.
public struct StorageDisk: Hashable, Sendable {
    /// What both sides call it.
    public var name: String
    /// The node's name on this QEMU.
    public var node: String
    /// Its size.
    public var bytes: Int64
}

/// What is wrong with a list of disks.
public struct StorageError: Error, Hashable, Sendable, CustomStringConvertible {
    /// In words.
    public var description: String
}

extension DomainDescription {
    /// The disks that a wish means.
    ///
    /// - Throws: `StorageError` for one that is not there, is empty or cannot be written, and where there is none.
    public func disks(_ wish: StorageWish) throws(StorageError) -> [StorageDisk] {
        let media = blockNodes.filter { !$0.isLoose }
        guard !wish.disks.isEmpty else {
            let disks = media.filter { !$0.isReadOnly }.compactMap(\.disk)
            guard !disks.isEmpty else { throw StorageError(description: "the guest has no disk that it can write") }
            return disks
        }
        var disks: [StorageDisk] = []
        for name in wish.disks {
            let known = media.compactMap(\.disk).map(\.name).joined(separator: ", ")
            let matches = media.filter { $0.isCalled(name) }
            guard let medium = matches.first else {
                throw StorageError(description: "the source has no disk \(name); it has: \(known)")
            }
            guard matches.count == 1 else {
                throw StorageError(description: "\(name) could be any of: \(known)")
            }
            guard let disk = medium.disk else {
                throw StorageError(description: "nobody knows the size of the disk \(medium.name)")
            }
            guard !medium.isReadOnly else {
                throw StorageError(description: "the disk \(medium.name) is read-only, there is nothing to be copied")
            }
            if !disks.contains(disk) { disks.append(disk) }
        }
        return disks
    }
}

extension DomainDescription.BlockNode {
    /// The medium as a disk that can be copied; `nil` for an empty drive.
    var disk: StorageDisk? {
        guard let node, let bytes, bytes > 0 else { return nil }
        return StorageDisk(name: name, node: node, bytes: bytes)
    }

    /// Whether somebody may mean it by this word: its name, its node's name, its device's path, or the end of that.
    func isCalled(_ word: String) -> Bool {
        if name == word || node == word { return true }
        // "NODE (DEVICE)" where the node was named.
        let device = name.hasSuffix(")") ? name.split(separator: "(").last.map { $0.dropLast() } ?? "" : name[...]
        return device == word || device.split(separator: "/").last.map { $0 == word } ?? false
    }
}
