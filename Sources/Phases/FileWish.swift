import Migration

/// The file that a guest goes into or comes out of.
///
/// It is opened by the driver, with the driver's rights, and passed to QEMU over the monitor: in a set of descriptors where
/// QEMU's addresses may be files, as a named descriptor elsewhere.
public struct FileWish: Hashable, Sendable {
    /// Its path, for people and for the driver.
    public var path: String
    /// Whether QEMU gets a second descriptor, past the host's cache: what `direct-io` needs.
    public var isDirect = false
    /// What the guest that was saved is made of, if that is known; a QEMU that differs could not load it.
    public var description: DomainDescription?
    /// Whether it ran when it was saved, if that is known.
    public var wasRunning: Bool?

    /// A file.
    public init(path: String) { self.path = path }
}

extension MigrateOptions {
    /// The number of the set of descriptors in QEMU: made from the attempt's name, so that it is nobody else's and known
    /// before QEMU is asked. QEMU reads it back from a path as a 32-bit number.
    var descriptorSet: Int64 {
        var hash: UInt32 = 2_166_136_261
        for byte in attempt.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return Int64(hash & 0x3FFF_FFFF) + 0x4000_0000
    }
}

extension SideCore {
    /// The name of a file's descriptor where there are no sets for the stream.
    private static let fileDescriptor = "godwit-file"

    /// Whether this QEMU takes a file as a file.
    private var hasFiles: Bool { survey?.features.hasFiles ?? false }

    /// The address of the stream for this QEMU: the file as it was passed, or what the steps agreed on.
    func streamAddress(_ uri: String, _ options: MigrateOptions) -> StreamAddress {
        guard options.file != nil else { return address(uri) }
        return address(hasFiles ? "file:/dev/fdset/\(options.descriptorSet)" : "fd:\(Self.fileDescriptor)")
    }

    /// Hands QEMU what its address means, where that is a descriptor.
    mutating func passDescriptors(_ options: MigrateOptions) -> [Command] {
        guard let file = options.file else {
            unusedDescriptor = options.descriptorName
            return options.descriptorName.map { [.getFD(name: $0)] } ?? []
        }
        guard hasFiles else {
            unusedDescriptor = Self.fileDescriptor
            return [.getFD(name: Self.fileDescriptor)]
        }
        passedSet = options.descriptorSet
        let first = Command.addFD(set: options.descriptorSet, isDirect: false)
        return file.isDirect ? [first, .addFD(set: options.descriptorSet, isDirect: true)] : [first]
    }
}
