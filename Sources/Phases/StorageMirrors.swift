import Migration

/// The copies of a source's disks, from the first connection to the last node removed.
///
/// A value without clock and I/O: replies, events and looks go in, commands come out. Jobs are not forgotten by QEMU
/// until they are dismissed, so what became of one can be asked after an event was lost: one that is gone tells
/// nothing.
struct StorageMirrors: Hashable, Sendable {
    enum State: Hashable {
        /// Nothing is there.
        case absent
        /// The node of the export is being made; the reply is awaited.
        case adding
        /// The node is there, and no job.
        case added
        /// The job is being made; the reply is awaited.
        case starting
        /// The job copies.
        case running
        /// The copy has caught up and follows the guest.
        case ready
        /// The job was told to finish.
        case finishing
        /// The job was told to give up.
        case cancelling
        /// The job is over; what is left of it is being removed.
        case removing
        /// Nothing is there any more.
        case removed
        /// Something could not be removed, and why.
        case left(String)
    }

    struct Disk: Hashable {
        let disk: StorageDisk
        /// The export, the job and the node have one name, by which leftovers can be told.
        let id: String
        var state = State.absent
        /// Whether everything was copied when the job ended.
        var isCopied = false
        /// Whether its connection was cut.
        var isCut = false
        var done: Int64 = 0
        var total: Int64
    }

    private(set) var disks: [Disk]
    private let wish: StorageWish
    private let encryption: NBDEncryption?
    /// Why the copies are of no use any more.
    private(set) var failure: String?
    private(set) var isCancelled = false
    private(set) var isFinishing = false
    private var isAsking = false
    /// Looks that showed the same as the one before.
    private var stillness = 0
    private var lastLook: [Int64] = []

    /// Looks that found copies still there after they were given up.
    private var stubbornness = 0

    /// Looks without any progress that a copy is given before it has caught up.
    private static let patience = 120

    init(_ disks: [StorageDisk], _ wish: StorageWish, encryption: NBDEncryption? = nil, attempt: String) {
        self.wish = wish
        self.encryption = encryption
        self.disks = disks.enumerated().map { index, disk in
            Disk(disk: disk, id: Self.id(attempt: attempt, index), total: disk.bytes)
        }
    }

    /// The copies of an earlier life, which may be anywhere on their way: what there is, QEMU is asked.
    init(takingOver disks: [CookieDisk], _ wish: StorageWish, attempt: String) {
        self.init(
            disks.map { StorageDisk(name: $0.target, node: "", bytes: $0.capacityBytes) }, wish, attempt: attempt)
        for index in self.disks.indices { self.disks[index].state = .running }
    }

    /// What an attempt has left behind whose program was killed, by its names.
    init(leftBehind names: [String]) {
        let nowhere = NBDAddress.unix(path: "")
        wish = StorageWish(server: nowhere, client: nowhere)
        encryption = nil
        disks = names.map { name in
            Disk(disk: StorageDisk(name: name, node: "", bytes: 0), id: name, state: .running, total: 0)
        }
    }

    /// The name of everything that is made for a disk of an attempt. QEMU's nodes have at most 31 bytes.
    static func id(attempt: String, _ index: Int) -> String { "\(prefix)\(attempt)-\(index)" }

    /// What all these names begin with.
    static let prefix = "godwit-"

    // MARK: Where they stand

    /// Every disk has caught up.
    var areReady: Bool { disks.allSatisfy { $0.state == .ready } }
    /// Every disk was copied to its end: the destination's are the same, as long as nobody writes.
    var areCopied: Bool { disks.allSatisfy(\.isCopied) }
    /// Nothing of this is there any more, or nothing more can be done about it.
    var isClear: Bool {
        disks.allSatisfy { disk in
            switch disk.state {
            case .absent, .removed, .left: true
            default: false
            }
        }
    }

    /// Copies that were given up are still there, with their connections cut or not: QEMU 7.2 can wait for a peer that
    /// is silent until it is gone.
    var areStuck: Bool { stubbornness >= 4 && !isClear }

    /// What is left behind, in words; `nil` for nothing.
    var leftovers: String? {
        let left = disks.compactMap { disk -> String? in
            switch disk.state {
            case .absent, .removed: nil
            case .left(let why): "\(disk.id) (\(why))"
            default: disk.id
            }
        }
        guard !left.isEmpty else { return nil }
        return "block jobs and nodes may be left on the source: " + left.joined(separator: ", ")
    }

    // MARK: The way there

    /// Connects to the exports.
    mutating func start() -> [Command] {
        disks.indices.map { index in
            disks[index].state = .adding
            return .storage(
                .addTarget(
                    node: disks[index].id, export: disks[index].id, server: wish.client, encryption))
        }
    }

    /// Lets the copies end. The guest stands still.
    mutating func finish() -> [Command] {
        isFinishing = true
        return disks.indices.compactMap { index in
            guard disks[index].state == .ready else { return nil }
            disks[index].state = .finishing
            return .storage(.finish(job: disks[index].id))
        }
    }

    /// Gives the copies up and removes what was made for them.
    mutating func cancel() -> [Command] {
        isCancelled = true
        return disks.indices.flatMap { cancel($0) }
    }

    private mutating func cancel(_ index: Int) -> [Command] {
        switch disks[index].state {
        case .running, .ready, .finishing:
            disks[index].state = .cancelling
            return [.storage(.cancel(job: disks[index].id))]
        case .added: return remove(index, dismissing: false)
        // Their replies tell what there is to be removed.
        case .adding, .starting: return []
        case .absent, .cancelling, .removing, .removed, .left: return []
        }
    }

    /// Cuts the connections of copies that do not hear that they are given up, once.
    private mutating func cut() -> [Command] {
        disks.indices.compactMap { index in
            guard disks[index].state == .cancelling, !disks[index].isCut else { return nil }
            disks[index].isCut = true
            return .storage(.cut(node: disks[index].id))
        }
    }

    private mutating func remove(_ index: Int, dismissing: Bool) -> [Command] {
        disks[index].state = .removing
        let dismiss: [Command] = dismissing ? [.storage(.dismiss(job: disks[index].id))] : []
        return dismiss + [.storage(.removeTarget(node: disks[index].id))]
    }

    private mutating func fail(_ index: Int, _ why: String) {
        failure = failure ?? "the disk \(disks[index].disk.name) cannot be copied: \(why)"
    }

    private func index(of id: String) -> Int? { disks.firstIndex { $0.id == id } }

    // MARK: What QEMU says

    mutating func replied(_ command: StorageCommand, _ reply: Reply) -> [Command] {
        switch command {
        case .queryJobs:
            isAsking = false
            if case .jobs(let jobs) = reply { return look(jobs) }
            return []
        case .addTarget(let node, _, _, _):
            guard let index = index(of: node), disks[index].state == .adding else { return [] }
            if let text = reply.problem {
                disks[index].state = .absent
                fail(index, text)
                return []
            }
            disks[index].state = .added
            return isCancelled ? cancel(index) : start(index)
        case .mirror(let job):
            guard let index = index(of: job.id) else { return [] }
            if let text = reply.problem {
                disks[index].state = .added
                fail(index, text)
                return isCancelled ? cancel(index) : []
            }
            if disks[index].state == .starting { disks[index].state = .running }
            return isCancelled ? cancel(index) : []
        case .finish(let job):
            if let index = index(of: job), disks[index].state == .finishing, let text = reply.problem {
                fail(index, text)
            }
            return []
        // It may be over already, which only QEMU knows.
        case .cancel: return reply.problem == nil ? [] : ask()
        case .removeTarget(let node):
            guard let index = index(of: node), disks[index].state == .removing else { return [] }
            disks[index].state = reply.problem.map { .left($0) } ?? .removed
            return []
        case .startServer, .addExport, .stopServer, .dismiss, .cut: return []
        }
    }

    private mutating func start(_ index: Int) -> [Command] {
        disks[index].state = .starting
        let disk = disks[index]
        return [
            .storage(
                .mirror(
                    MirrorJob(
                        id: disk.id, device: disk.disk.node, target: disk.id, sync: wish.sync, copyMode: wish.copyMode,
                        bytesPerSecond: wish.bytesPerSecond)))
        ]
    }

    /// No answer: what was asked for may have been done all the same.
    mutating func unanswered(_ command: StorageCommand) -> [Command] {
        switch command {
        case .queryJobs: isAsking = false
        case .addTarget(let node, _, _, _):
            guard let index = index(of: node), disks[index].state == .adding else { return [] }
            return doubt(index)
        case .mirror(let job):
            guard let index = index(of: job.id), disks[index].state == .starting else { return [] }
            return doubt(index)
        case .removeTarget(let node):
            guard let index = index(of: node), disks[index].state == .removing else { return [] }
            disks[index].state = .left("QEMU did not answer")
        case .startServer, .addExport, .stopServer, .finish, .cancel, .dismiss, .cut: break
        }
        return []
    }

    private mutating func doubt(_ index: Int) -> [Command] {
        let isJob = disks[index].state == .starting
        disks[index].state = isJob ? .running : .added
        fail(index, "QEMU did not answer \(isJob ? "blockdev-mirror" : "blockdev-add")")
        return isCancelled ? cancel(index) : []
    }

    /// A new connection: answers and events of the one before are lost.
    mutating func reconnected() -> [Command] {
        isAsking = false
        var commands: [Command] = []
        for index in disks.indices {
            let id = disks[index].id
            switch disks[index].state {
            case .adding, .starting: commands += doubt(index)
            // What was written just before a connection broke may never have been read.
            case .finishing: commands.append(.storage(.finish(job: id)))
            case .cancelling: commands.append(.storage(.cancel(job: id)))
            case .removing: commands += remove(index, dismissing: true)
            case .absent, .added, .running, .ready, .removed, .left: break
            }
        }
        return commands + ask()
    }

    mutating func noticed(_ event: BlockJobEvent) -> [Command] {
        guard let index = index(of: event.job) else { return [] }
        switch event.kind {
        case .ready: return caughtUp(index)
        case .completed(let error): return ended(index, error: error)
        case .cancelled: return ended(index, error: "it was cancelled")
        case .error: return []
        }
    }

    private mutating func caughtUp(_ index: Int) -> [Command] {
        switch disks[index].state {
        // The event can come before the reply.
        case .starting, .running: disks[index].state = .ready
        default: break
        }
        return []
    }

    private mutating func ended(_ index: Int, error: String?) -> [Command] {
        switch disks[index].state {
        case .finishing:
            if let error { fail(index, error) } else { disks[index].isCopied = true }
        case .starting, .running, .ready: fail(index, error ?? "somebody ended the copy")
        case .cancelling: break
        case .absent, .adding, .added, .removing, .removed, .left: return []
        }
        return remove(index, dismissing: true)
    }

    // MARK: Looks

    /// Time for a look, where events could have been missed.
    ///
    /// - Parameter canCut: Whether QEMU can cut a node's connection. Over a silent one QEMU waits, with its main loop
    ///   up to 7.2, for a copy to give up.
    mutating func tick(canCut: Bool) -> [Command] {
        guard !isClear else { return [] }
        if isCancelled {
            stubbornness += 1
            if canCut, stubbornness >= 2 { return cut() + ask() }
        }
        if !isCancelled, !areReady, !isFinishing {
            let now = disks.map(\.done)
            stillness = now == lastLook ? stillness + 1 : 0
            lastLook = now
            if stillness >= Self.patience, let index = disks.firstIndex(where: { $0.state != .ready }) {
                fail(index, "the copy makes no progress")
            }
        }
        return ask()
    }

    private mutating func ask() -> [Command] {
        guard !isAsking else { return [] }
        isAsking = true
        return [.storage(.queryJobs)]
    }

    private mutating func look(_ jobs: [JobInformation]) -> [Command] {
        var commands: [Command] = []
        for index in disks.indices {
            guard let job = jobs.first(where: { $0.id == disks[index].id }) else {
                commands += missed(index)
                continue
            }
            disks[index].done = max(0, job.current)
            disks[index].total = max(job.total, disks[index].done)
            switch job.status {
            case "ready": commands += caughtUp(index)
            case "concluded": commands += ended(index, error: job.error)
            default: break
            }
        }
        return commands
    }

    /// QEMU does not know the job. It knew it when the last reply of `blockdev-mirror` came.
    private mutating func missed(_ index: Int) -> [Command] {
        switch disks[index].state {
        case .running, .ready, .finishing: fail(index, "its job is gone")
        case .cancelling: break
        case .absent, .adding, .added, .starting, .removing, .removed, .left: return []
        }
        return remove(index, dismissing: false)
    }
}

/// How far the copies of an attempt's disks are.
public struct StorageProgress: Hashable, Sendable {
    /// How many disks are copied.
    public var disks: Int
    /// How many copies have caught up.
    public var ready: Int
    /// What was copied.
    public var copiedBytes: Int64
    /// What there is to be copied; grows with what the guest writes.
    public var totalBytes: Int64

    /// So far.
    public init(disks: Int, ready: Int, copiedBytes: Int64, totalBytes: Int64) {
        self.disks = disks
        self.ready = ready
        self.copiedBytes = copiedBytes
        self.totalBytes = totalBytes
    }
}

extension StorageMirrors {
    var progress: StorageProgress {
        var progress = StorageProgress(disks: disks.count, ready: 0, copiedBytes: 0, totalBytes: 0)
        for disk in disks {
            if disk.state == .ready { progress.ready += 1 }
            let done = disk.state == .ready ? disk.total : disk.done
            progress.copiedBytes = Self.sum(progress.copiedBytes, done)
            progress.totalBytes = Self.sum(progress.totalBytes, disk.total)
        }
        return progress
    }

    /// What a peer counts has no bounds.
    private static func sum(_ one: Int64, _ other: Int64) -> Int64 {
        let (sum, isTooMuch) = one.addingReportingOverflow(other)
        return isTooMuch ? .max : sum
    }
}

extension SourceMachine {
    /// How far the copies of the disks are while they are made ahead of memory; `nil` before and after.
    public var storageProgress: StorageProgress? {
        switch state {
        case .copyingDisks: leftovers == nil ? mirrors?.progress : nil
        case .configuring: mirrors.flatMap { $0.areReady ? $0.progress : nil }
        default: nil
        }
    }
}
