import Glibc

/// A disk image with a guest of ours in its boot sector, see Resources/guest.s: it prints "hb N" on the serial port at set times,
/// writes to memory at a set rate and reports pages that do not hold what it wrote. Needs `as` and `ld` (binutils).
public struct GuestImage: Hashable, Sendable {
    /// The rate of a guest that writes as fast as it can, so that pre-copy never converges.
    public static let unlimitedRate = Int.max

    /// The raw image. It is only read, so any number of QEMUs may have it open.
    public var path: String
    /// Time between two heartbeats, in virtual time.
    public var heartbeatMilliseconds: Int
    /// How much memory the guest writes to each second: 4096 bytes count for each page of which it changes one word.
    public var dirtyMiBPerSecond: Int
    /// Size of the range that is written to again and again.
    public var dirtyMemoryMiB: Int
    /// Size of the range that holds incompressible bytes.
    public var filledMemoryMiB: Int
    /// What a guest does after its last heartbeat.
    public enum LastAct: Hashable, Sendable {
        /// It powers itself off (ACPI).
        case powerOff
        /// It suspends itself to RAM (ACPI S3). What a wake-up finds is not a guest of ours any more.
        case suspend
        /// It tells a `pvpanic` device, which it must have, that it panicked.
        case panic
        /// It reads from the first IDE disk, which it must have, and finds an error if that has one.
        case readDisk

        /// The port and what is written to it.
        fileprivate var register: (port: Int, value: Int) {
            switch self {
            // SeaBIOS puts the power management's control register there on both pc and q35. The sleep types are PIIX4's.
            case .powerOff: (0x604, 0x2000)
            case .suspend: (0x604, 0x2400)
            case .panic: (0x505, 1)
            // The registers for the drive (the first one, by block number) and for the command, of the primary channel.
            case .readDisk: (0x1f6, 0x20e0)
            }
        }
    }

    /// The guest ends itself right after this heartbeat, by ``lastAct``.
    public var lastHeartbeat: Int?
    /// How it does.
    public var lastAct = LastAct.powerOff

    /// The first IDE disk has each heartbeat's number all over the sector of that number, modulo this; 0 without.
    public var diskSectors: Int

    /// The least RAM of a virtual machine for this guest.
    public var minimumMemoryMiB: Int { 4 + max(dirtyMemoryMiB, filledMemoryMiB) }

    /// Assembles the guest into `DIRECTORY/NAME.img`. Takes some 20 ms.
    ///
    /// - Parameters:
    ///   - dirtyMiBPerSecond: 0 for a guest that only sleeps, ``unlimitedRate`` for one that never does. A guest that cannot keep up
    ///     works as fast as it can.
    ///   - lastHeartbeat: power off after this heartbeat, or do what `lastAct` says.
    ///   - diskSectors: write each heartbeat's number to as many sectors of the first IDE disk, in turn; 0: to none.
    public static func build(
        in directory: String,
        dirtyMiBPerSecond: Int = 20,
        dirtyMemoryMiB: Int = 32,
        heartbeatMilliseconds: Int = 50,
        filledMemoryMiB: Int = 32,
        lastHeartbeat: Int? = nil,
        lastAct: LastAct = .powerOff,
        diskSectors: Int = 0,
        name: String = "guest"
    ) throws(LabError) -> GuestImage {
        let unlimited = dirtyMiBPerSecond == unlimitedRate
        try check("dirtyMiBPerSecond", unlimited ? 0 : dirtyMiBPerSecond, 0...1_000_000)
        try check("dirtyMemoryMiB", dirtyMemoryMiB, 0...2048)
        try check("filledMemoryMiB", filledMemoryMiB, 0...2048)
        try check("heartbeatMilliseconds", heartbeatMilliseconds, 1...60_000)
        try check("diskSectors", diskSectors, 0...1 << 24)
        if diskSectors > 0, lastHeartbeat != nil {
            throw LabError(.parameter, "a boot sector has no room for both diskSectors and lastHeartbeat")
        }
        if let lastHeartbeat { try check("lastHeartbeat", lastHeartbeat, 1...1_000_000_000) }

        // About 100 timer periods a second, and a whole number of them between two heartbeats.
        let frequency = 1_193_182
        let ticksPerBeat = (heartbeatMilliseconds + 9) / 10
        let divisor = max(1, (frequency * heartbeatMilliseconds / ticksPerBeat + 500) / 1000)
        let pagesPerMiB = 256
        let pagesPerTick = unlimited ? 0 : dirtyMiBPerSecond * pagesPerMiB * 256 * divisor / frequency
        let symbols = [
            ("PIT_DIVISOR", divisor),
            ("TICKS_PER_BEAT", ticksPerBeat),
            ("PAGES_PER_TICK", pagesPerTick),
            ("UNLIMITED", unlimited ? 1 : 0),
            ("DIRTY_PAGES", dirtyMemoryMiB * pagesPerMiB),
            ("FILL_PAGES", filledMemoryMiB * pagesPerMiB),
            ("LAST_BEAT", lastHeartbeat ?? 0), ("LAST_PORT", lastAct.register.port),
            ("LAST_VALUE", lastAct.register.value),
            ("DISK_SECTORS", diskSectors),
        ]

        let source = "\(directory)/\(name).s"
        let object = "\(directory)/\(name).o"
        let image = "\(directory)/\(name).img"
        let log = "\(directory)/\(name).log"
        try writeFile(source, PackageResources.guest_s)
        try ChildProcess.run(
            ["as", "--32", "--fatal-warnings"] + symbols.flatMap { ["--defsym", "\($0)=\($1)"] } + [
                "-o", object, source,
            ],
            error: log
        )
        try ChildProcess.run(
            ["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "-e", "start", "--oformat", "binary", "-o", image, object],
            error: log
        )
        // A disk is at least some sectors; the rest is a hole.
        guard truncate(image, 1 << 20) == 0 else { throw LabError(.file, "cannot extend \(image): \(systemMessage())") }
        for file in [source, object, log] { unlink(file) }
        return GuestImage(
            path: image,
            heartbeatMilliseconds: heartbeatMilliseconds,
            dirtyMiBPerSecond: dirtyMiBPerSecond,
            dirtyMemoryMiB: dirtyMemoryMiB,
            filledMemoryMiB: filledMemoryMiB,
            lastHeartbeat: lastHeartbeat,
            lastAct: lastAct,
            diskSectors: diskSectors
        )
    }

    private static func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(LabError) {
        guard range.contains(value) else {
            throw LabError(.parameter, "\(name) is \(value), must be \(range.lowerBound) to \(range.upperBound)")
        }
    }
}

/// The programs that ``GuestImage`` and ``QEMUProcess`` need and PATH does not have; empty when all are there.
public func missingPrograms(qemu: String = "qemu-system-x86_64") -> [String] {
    [qemu, "as", "ld"].filter { findProgram($0) == nil }
}
