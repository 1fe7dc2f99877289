import Glibc
import GuestLab
import JSONC
import Testing

/// A guest in a source, a destination that waits for it, and an oracle beside both: monitors of our own and the guest's heartbeats.
///
/// Blocking: the suites that use it are serialized.
final class MigrationLab {
    enum Place { case source, destination }

    /// What a migration must leave as it found it: capabilities (all but `events`) and parameters.
    struct Settings: Equatable {
        var capabilities: [String: Bool]
        var parameters: JSONValue
    }

    /// Slow enough that the guest's 32 MiB of noise take as long as a test wants to look at.
    static let slow = ["--bandwidth", "4MiB"]
    /// The switchover comes at once, with most of the memory still to be sent in it.
    static let early = ["--bandwidth", "16MiB", "--downtime-limit", "1000s"]

    let directory: LabDirectory
    /// Which QEMUs these are.
    let pair: QEMUPair
    let image: GuestImage
    let options: QEMUProcess.Options
    let ownDiskMiB: Int
    let source: QEMUProcess
    private(set) var destination: QEMUProcess
    /// The oracle's connection to the source, beside the one that godwit uses.
    let sourceMonitor: BlockingQMP
    private(set) var destinationMonitor: BlockingQMP
    /// The source's settings before anything was done.
    let settings: Settings
    private(set) var sourceRelay: MonitorRelay?
    private(set) var destinationRelay: MonitorRelay?
    private var runs = 0
    private var destinations = 1

    /// Boots the guest and starts a destination; `change` alters the destination's options. Of the monitors the first is godwit's, the second
    /// the oracle's. With `disk` both have a writable one on the same file, whose lock goes with the guest. With `ownDiskMiB` each has a
    /// further one for itself, which the guest writes to.
    init(
        rate: Int = 8, dirtyMiB: Int = 16, beat: Int = 60, memoryMiB: Int = 96, lastHeartbeat: Int? = nil,
        lastAct: GuestImage.LastAct = .powerOff, disk: Bool = true, ownDiskMiB: Int = 0, monitors: Int = 2,
        extra: [String] = [],
        change: (inout QEMUProcess.Options) -> Void = { _ in }
    ) throws {
        directory = try LabDirectory()
        image = try GuestImage.build(
            in: directory.path, dirtyMiBPerSecond: rate, dirtyMemoryMiB: dirtyMiB, heartbeatMilliseconds: beat,
            filledMemoryMiB: 32, lastHeartbeat: lastHeartbeat, lastAct: lastAct,
            diskSectors: OwnDisk.sectors(ownDiskMiB))
        let pair = QEMUPair.current
        var options = QEMUProcess.Options(label: "source", image: image)
        options.root = pair.source.root
        options.machine = pair.machine
        options.memoryMiB = memoryMiB
        options.qmpSockets = monitors
        let data = directory.file("data")
        guard case let file = open(data, O_CREAT | O_WRONLY, 0o600), file >= 0, ftruncate(file, 1 << 20) == 0,
            close(file) == 0
        else { throw SocketError(data) }
        if disk {
            options.extraArguments = [
                "-blockdev", "driver=raw,node-name=data,file.driver=file,file.filename=\(data)",
                "-device", "virtio-blk-pci,id=data-device,drive=data,addr=0x1e",
            ]
        }
        options.extraArguments += extra
        if ownDiskMiB > 0 {
            try OwnDisk.make(options.label, in: directory, megabytes: ownDiskMiB, isFilled: true)
            options.extraArguments += OwnDisk.arguments(options.label, in: directory)
        }
        self.ownDiskMiB = ownDiskMiB
        self.options = options
        self.pair = pair
        source = try QEMUProcess.start(options, in: directory, timeout: .zero)
        var other = options.destination()
        other.root = pair.destination.root
        try OwnDisk.replace(in: &other, directory: directory, megabytes: ownDiskMiB)
        change(&other)
        destination = try QEMUProcess.start(other, in: directory)
        try source.waitUntilListening()
        sourceMonitor = try BlockingQMP(source.secondQMPPath)
        destinationMonitor = try BlockingQMP(destination.secondQMPPath)
        settings = try Self.settings(sourceMonitor)
        try source.waitForHeartbeat(after: 2)
    }

    deinit {
        sourceRelay?.stop()
        destinationRelay?.stop()
    }

    static func settings(_ monitor: BlockingQMP) throws -> Settings {
        var capabilities: [String: Bool] = [:]
        for entry in try monitor.execute("query-migrate-capabilities").array ?? [] {
            guard let name = entry["capability"]?.string, name != "events" else { continue }
            capabilities[name] = entry["state"]?.bool
        }
        return Settings(capabilities: capabilities, parameters: try monitor.execute("query-migrate-parameters"))
    }

    // MARK: Relays

    /// From now on godwit's words with the source go through a relay.
    @discardableResult
    func relaySource() throws -> MonitorRelay {
        let relay = try MonitorRelay(listeningOn: directory.file("source.relay"), forwardingTo: source.qmpPath)
        sourceRelay = relay
        return relay
    }

    /// From now on godwit's words with the destination go through a relay.
    @discardableResult
    func relayDestination() throws -> MonitorRelay {
        let relay = try MonitorRelay(
            listeningOn: directory.file("destination.relay"), forwardingTo: destination.qmpPath)
        destinationRelay = relay
        return relay
    }

    /// Godwit talks to both QEMUs directly again.
    func removeRelays() {
        sourceRelay?.stop()
        destinationRelay?.stop()
        sourceRelay = nil
        destinationRelay = nil
    }

    /// Does something when a QEMU says a word, on a thread that listens at its third monitor, so without any delay of ours.
    func when(_ place: Place, says status: String, _ act: @escaping @Sendable () -> Void) throws {
        let path = directory.file("\(place == .source ? "source" : "destination").qmp3")
        // It listens before this returns: what is said from now on is heard.
        let monitor = try BlockingQMP(path)
        nonisolated(unsafe) let handed = monitor
        startThread {
            guard (try? handed.waitForMigration(status)) != nil else { return }
            act()
        }
    }

    // MARK: Runs

    /// Starts `godwit` with these arguments.
    func godwit(_ arguments: String...) throws -> Godwit { try godwit(arguments) }

    func godwit(_ arguments: [String]) throws -> Godwit {
        runs += 1
        return try Godwit(arguments, in: directory, number: runs)
    }

    /// Starts `godwit migrate` from the source to the destination.
    func migrate(_ arguments: [String] = []) throws -> Godwit {
        try godwit(
            [
                "migrate", "--source", sourceRelay?.path ?? source.qmpPath, "--destination",
                destinationRelay?.path ?? destination.qmpPath,
            ] + arguments)
    }

    /// The same, and blocks until the migration is seen to copy memory.
    func migrateSlowly(_ arguments: [String] = []) throws -> Godwit {
        let run = try migrate(Self.slow + arguments)
        try waitUntilCopying()
        return run
    }

    /// Blocks until some of the guest's memory is on its way.
    func waitUntilCopying() throws {
        try sourceMonitor.pollMigration {
            $0["status"] == "active" && ($0["ram"]?["transferred"]?.int64 ?? 0) > 1 << 20
        }
    }

    /// A migration whose destination dies when both QEMUs have said `completed` and only one of the words was heard.
    func migrateAndKillTheDestinationAfterBothCompleted() throws -> Godwit.Outcome {
        let relay = try relaySource()
        relay.hold(from: #""status": "completed""#)
        let run = try migrate()
        try relay.awaitHeld()
        try destinationMonitor.waitForMigration("completed")
        try eventually("postmigrate on the source") { try sourceMonitor.runState() == "postmigrate" }
        destination.kill()
        relay.release()
        return try run.finish()
    }

    /// Starts another destination in place of the one that was used up.
    func replaceDestination(_ change: (inout QEMUProcess.Options) -> Void = { _ in }) throws {
        destinations += 1
        var options = options.destination(label: "destination\(destinations)")
        options.root = pair.destination.root
        try OwnDisk.replace(in: &options, directory: directory, megabytes: ownDiskMiB)
        change(&options)
        destination = try QEMUProcess.start(options, in: directory)
        destinationMonitor = try BlockingQMP(destination.secondQMPPath)
    }

    // MARK: The oracle

    var continuity: HeartbeatContinuity {
        HeartbeatLog.continuity(source: source.heartbeatLog(), destination: destination.heartbeatLog())
    }

    private func sides(_ place: Place) -> (here: QEMUProcess, there: QEMUProcess) {
        place == .source ? (source, destination) : (destination, source)
    }

    private func monitor(_ place: Place) -> BlockingQMP { place == .source ? sourceMonitor : destinationMonitor }

    private var lastBeat: Int {
        max(source.heartbeats().last?.number ?? 0, destination.heartbeats().last?.number ?? 0)
    }

    /// The guest runs on this side, on no other, and nothing of it was lost.
    func expectGuest(runsOn place: Place, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let (here, there) = sides(place)
        #expect(try monitor(place).runState() == "running", sourceLocation: sourceLocation)
        let silent = there.heartbeatLog().bytes.count
        try here.waitForHeartbeat(after: lastBeat + 3)
        #expect(there.heartbeatLog().bytes.count == silent, "the other side beats too", sourceLocation: sourceLocation)
        let continuity = continuity
        #expect(continuity.isUnbroken, "\(continuity)", sourceLocation: sourceLocation)
        if there.status == nil {
            let other = try monitor(place == .source ? .destination : .source).runState()
            #expect(other != "running", sourceLocation: sourceLocation)
        }
    }

    /// The guest is paused on this side and beats on neither; continued by hand it goes on here as if nothing had been.
    func expectGuest(pausedOn place: Place, sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(try monitor(place).runState() == "paused", sourceLocation: sourceLocation)
        let before = (source.heartbeatLog(), destination.heartbeatLog())
        // That nothing comes can only be seen in time.
        usleep(UInt32(image.heartbeatMilliseconds) * 4000)
        #expect(source.heartbeatLog() == before.0, sourceLocation: sourceLocation)
        #expect(destination.heartbeatLog() == before.1, sourceLocation: sourceLocation)
        try monitor(place).execute("cont")
        try expectGuest(runsOn: place, sourceLocation: sourceLocation)
    }

    /// The source's capabilities and parameters are as before the first migration.
    func expectSettingsRestored(sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(try Self.settings(sourceMonitor) == settings, sourceLocation: sourceLocation)
        let information = try sourceMonitor.execute("query-migrate")
        #expect(
            ["none", "failed", "cancelled", "completed"].contains(information["status"]?.string ?? "none"),
            sourceLocation: sourceLocation)
    }

    /// A destination that the attempt used up is dead, without ever having run the guest.
    func expectDestinationEnded(sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(destination.waitForExit(timeout: .seconds(5)) != nil, sourceLocation: sourceLocation)
        #expect(destination.heartbeatLog().bytes.isEmpty, sourceLocation: sourceLocation)
    }

    /// What a failure left behind does not stand in the way of the next migration. A QEMU up to 7.2 that failed on its way into post-copy
    /// hangs in `quit` (seen on 5.2 and 7.2): it `mayHang`, and is killed then.
    func expectNextMigrationWorks(
        mayHang: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        removeRelays()
        if destination.status != nil { try replaceDestination() }
        let outcome = try migrate().finish()
        #expect(outcome.code == 0, "\(outcome)", sourceLocation: sourceLocation)
        try expectGuest(runsOn: .destination, sourceLocation: sourceLocation)
        let end = source.waitForExit(timeout: .seconds(5))
        #expect(end == .exited(0) || mayHang && end == .signalled(SIGKILL), sourceLocation: sourceLocation)
    }

    /// The whole of an attempt that came to nothing: exit code, first line, guest on the source, settings, destination, next try.
    func expect(
        _ outcome: Godwit.Outcome, code: Int32, says headline: String, runs: Bool = true,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(outcome.code == code, "\(outcome)", sourceLocation: sourceLocation)
        let first = String(outcome.lines.first ?? "")
        #expect(first.hasPrefix(headline), "\(outcome)", sourceLocation: sourceLocation)
        #expect(first.contains("on the source"), "\(outcome)", sourceLocation: sourceLocation)
        try expectSettingsRestored(sourceLocation: sourceLocation)
        let left = names(in: directory.path).filter { $0.hasSuffix(".sock") }
        #expect(left.isEmpty, "the stream's socket", sourceLocation: sourceLocation)
        if runs { try expectGuest(runsOn: .source, sourceLocation: sourceLocation) }
    }
}

/// All migrations through the program: one after the other, as they need the processors, and with every QEMU that was prepared.
@Suite(.serialized, Live.available, .everyQEMU) enum MigrationTests {}
