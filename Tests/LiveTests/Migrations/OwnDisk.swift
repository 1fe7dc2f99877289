import Glibc
import GuestLab
import JSONC
import Testing

/// The disk that each QEMU of a lab has for itself. The guest writes the number of each heartbeat to a sector of its first half, so that
/// what is there tells which writes arrived; the second half has bytes that nobody writes again.
enum OwnDisk {
    static let node = "own"
    private static let sectorBytes = 512

    static func sectors(_ megabytes: Int) -> Int { megabytes * (1 << 20) / sectorBytes / 2 }

    static func path(_ label: String, in directory: LabDirectory) -> String { directory.file("\(label).own") }

    static func arguments(_ label: String, in directory: LabDirectory) -> [String] {
        [
            "-blockdev",
            "driver=raw,node-name=\(node),file.driver=file,file.filename=\(path(label, in: directory))",
            "-device", "ide-hd,id=own-device,drive=\(node),bus=ide.0,unit=0",
        ]
    }

    static func make(_ label: String, in directory: LabDirectory, megabytes: Int, isFilled: Bool) throws {
        let path = path(label, in: directory)
        guard case let file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600), file >= 0 else {
            throw SocketError(path)
        }
        defer { close(file) }
        guard ftruncate(file, megabytes << 20) == 0 else { throw SocketError(path) }
        guard isFilled else { return }
        var noise: UInt64 = 88_172_645_463_325_252
        let words = (0..<(megabytes << 20) / 16).map { _ -> UInt64 in
            noise ^= noise << 13
            noise ^= noise >> 7
            noise ^= noise << 17
            return noise
        }
        let written = words.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, megabytes << 19) }
        guard written == megabytes << 19 else { throw SocketError(path) }
    }

    /// Gives a destination its own disk in place of the source's.
    static func replace(in options: inout QEMUProcess.Options, directory: LabDirectory, megabytes: Int) throws {
        guard megabytes > 0 else { return }
        try make(options.label, in: directory, megabytes: megabytes, isFilled: false)
        let ours = arguments(options.label, in: directory)
        for (theirs, ours) in zip(arguments("source", in: directory), ours) {
            options.extraArguments = options.extraArguments.map { $0 == theirs ? ours : $0 }
        }
    }

    /// The heartbeats that are written down on a disk, and whether nothing else is in its first half.
    struct Contents {
        var beats: Set<Int> = []
        var strays: [Int] = []
        var rest: [UInt8] = []
    }

    static func contents(_ label: String, in directory: LabDirectory) throws -> Contents {
        let path = path(label, in: directory)
        guard case let file = open(path, O_RDONLY | O_CLOEXEC), file >= 0 else { throw SocketError(path) }
        defer { close(file) }
        let size = Int(lseek(file, 0, SEEK_END))
        var bytes = [UInt8](repeating: 0, count: size)
        guard pread(file, &bytes, size, 0) == size else { throw SocketError(path) }
        var contents = Contents(rest: Array(bytes[(size / 2)...]))
        bytes.withUnsafeBytes { raw in
            for sector in 0..<size / 2 / sectorBytes {
                let words = (0..<sectorBytes / 4).map {
                    raw.loadUnaligned(fromByteOffset: sector * sectorBytes + $0 * 4, as: UInt32.self)
                }
                if words.allSatisfy({ $0 == 0 }) { continue }
                if words.allSatisfy({ $0 == UInt32(sector) }) {
                    contents.beats.insert(sector)
                } else {
                    contents.strays.append(sector)
                }
            }
        }
        return contents
    }
}

extension MigrationLab {
    /// The destination's disk has every write of the guest, those on the source and those since, and all that was there before.
    func expectDiskArrived(sourceLocation: SourceLocation = #_sourceLocation) throws {
        try destination.waitForHeartbeat(after: (source.heartbeats().last?.number ?? 0) + 4)
        try destinationMonitor.execute("stop")
        let last = try #require(destination.heartbeats().last?.number)
        let (here, there) = (
            try OwnDisk.contents(source.options.label, in: directory),
            try OwnDisk.contents(destination.options.label, in: directory)
        )
        // The last one may be on its way from the processor to the disk.
        let missing = (1..<last).filter { !there.beats.contains($0) }
        #expect(missing.isEmpty, "lost writes", sourceLocation: sourceLocation)
        #expect(there.strays.isEmpty, "half-written sectors", sourceLocation: sourceLocation)
        #expect(there.rest == here.rest, "what nobody wrote again", sourceLocation: sourceLocation)
        // And the source's was left alone when the guest was gone.
        #expect((here.beats.max() ?? 0) < last, sourceLocation: sourceLocation)
        try destinationMonitor.execute("cont")
    }

    /// Nothing that was made for copying disks is left on a QEMU.
    func expectNoTraceOfCopies(on place: Place, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let monitor = place == .source ? sourceMonitor : destinationMonitor
        #expect(try monitor.execute("query-jobs").array?.isEmpty ?? false, sourceLocation: sourceLocation)
        #expect(try monitor.execute("query-block-exports").array?.isEmpty ?? false, sourceLocation: sourceLocation)
        let nodes = try monitor.execute("query-named-block-nodes").array ?? []
        let ours = nodes.compactMap { $0["node-name"]?.string }.filter { $0.hasPrefix("godwit") }
        #expect(ours.isEmpty, sourceLocation: sourceLocation)
    }
}
