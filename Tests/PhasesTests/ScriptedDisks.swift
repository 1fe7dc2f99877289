import Migration
import Phases

/// What copies of disks do.
struct DiskScript: Hashable {
    /// How many disks the guest has.
    var count = 0
    /// How many of them are to be copied; all without.
    var wished: Int?
    /// What happens elsewhere before a copy has caught up.
    var turns = 2
    /// The copy of the first disk fails, before it has caught up or after.
    var failure: Failure?
    /// Copies that were given up wait for the destination.
    var isStubborn = false
    /// Sizes on the destination, where they are others.
    var destinationBytes: Int64 = 1 << 30

    enum Failure: Hashable { case early, late, atTheEnd }
}

/// The disks of a pair of QEMUs and what is on its way between them. The truth of the tests.
struct ScriptedDisks: Hashable {
    enum Job: Hashable {
        case running(turns: Int)
        case ready
        case finishing
        case cancelling
        case concluded(error: String?)
    }

    var nodes: Set<String> = []
    var jobs: [String: Job] = [:]
    var exports: Set<String> = []
    var isServing = false
    /// Ids of the disks that are the same on both sides.
    var copied: Set<String> = []

    /// Nothing is left of it on the source.
    var isClear: Bool { nodes.isEmpty && jobs.isEmpty }
}

extension ScriptedPair {
    /// The disks in a survey of a side.
    func blockNodes(_ side: Side) -> [DomainDescription.BlockNode] {
        let left = side == .source ? disks.nodes.sorted() : []
        return (0..<script.disks.count).map { index in
            DomainDescription.BlockNode(
                name: "/machine/peripheral/disk\(index)", driver: "raw",
                bytes: side == .source ? 1 << 30 : script.disks.destinationBytes, isReadOnly: false,
                node: "#block\(index)\(side.rawValue)")
        } + left.map { .init(name: $0, driver: "node", bytes: 1 << 30, isReadOnly: false) }
    }

    private var isLinkUp: Bool { destination.isAlive && !destination.isExiting && disks.isServing }

    mutating func carryOut(_ command: StorageCommand, on side: Side) -> Reply {
        switch command {
        case .startServer:
            if disks.isServing { return refused("NBD server already running") }
            disks.isServing = true
        case .stopServer:
            disks.isServing = false
            disks.exports = []
        case .addExport(let id, _):
            guard disks.isServing else { return refused("NBD server not running") }
            disks.exports.insert(id)
        case .addTarget(let node, let export, _, _):
            guard isLinkUp, disks.exports.contains(export) else { return refused("Connection refused") }
            disks.nodes.insert(node)
        case .mirror(let job):
            guard disks.nodes.contains(job.target), disks.jobs[job.id] == nil else { return refused("no such node") }
            disks.jobs[job.id] = .running(turns: script.disks.turns)
        case .queryJobs:
            return .jobs(disks.jobs.keys.sorted().map { information(of: $0) })
        case .finish(let id):
            guard disks.jobs[id] == .ready else { return refused("the job is not ready") }
            disks.jobs[id] = .finishing
        case .cancel(let id):
            guard let job = disks.jobs[id] else { return refused("no such job") }
            if case .concluded = job { return refused("the job is over") }
            disks.jobs[id] = .cancelling
        case .dismiss(let id):
            guard case .concluded? = disks.jobs[id] else { return refused("the job is not concluded") }
            disks.jobs[id] = nil
        case .removeTarget(let node):
            guard disks.nodes.contains(node) else { return refused("no such node") }
            guard disks.jobs[node] == nil else { return refused("the node is in use") }
            disks.nodes.remove(node)
        case .cut: break
        }
        return .done
    }

    private func information(of id: String) -> JobInformation {
        switch disks.jobs[id] {
        case .ready: JobInformation(id: id, status: "ready", current: 1 << 30, total: 1 << 30)
        case .concluded(let error): JobInformation(id: id, status: "concluded", error: error)
        case .running(let turns): JobInformation(id: id, status: "running", current: Int64(-turns), total: 1 << 30)
        default: JobInformation(id: id, status: "running", total: 1 << 30)
        }
    }

    private mutating func conclude(_ id: String, _ kind: BlockJobEvent.Kind, error: String?) {
        disks.jobs[id] = .concluded(error: error)
        emit(.source, .event(.blockJob(BlockJobEvent(job: id, kind))))
    }

    /// The next thing that happens to a copy by itself.
    mutating func workOnDisks() -> Bool {
        guard source.isAlive, !source.isExiting, !source.isSilent else { return false }
        for id in disks.jobs.keys.sorted() {
            guard let job = disks.jobs[id] else { continue }
            let isFirst = id.hasSuffix("-0")
            switch job {
            case .concluded: continue
            case .cancelling:
                if script.disks.isStubborn, isLinkUp { continue }
                conclude(id, .cancelled, error: "Operation canceled")
            // Their destination is another one.
            case _ where id.hasPrefix("godwit-dead"): continue
            case _ where !isLinkUp: conclude(id, .completed(error: "Input/output error"), error: "Input/output error")
            case .running(let turns) where destination.isSilent && turns >= 0: continue
            case .running(let turns) where turns > 0: disks.jobs[id] = .running(turns: turns - 1)
            case .running:
                if isFirst, script.disks.failure == .early {
                    conclude(id, .completed(error: "No space left on device"), error: "No space left on device")
                } else {
                    disks.jobs[id] = .ready
                    emit(.source, .event(.blockJob(BlockJobEvent(job: id, .ready))))
                }
            case .ready:
                guard isFirst, script.disks.failure == .late, source.status == .active else { continue }
                conclude(id, .completed(error: "No space left on device"), error: "No space left on device")
            case .finishing:
                if destination.isSilent { continue }
                if isFirst, script.disks.failure == .atTheEnd {
                    conclude(id, .completed(error: "Input/output error"), error: "Input/output error")
                } else {
                    // Somebody writes to the source's disk as long as the guest runs.
                    if source.runState != .running { disks.copied.insert(id) }
                    conclude(id, .completed(error: nil), error: nil)
                }
            }
            return true
        }
        return false
    }

    /// What must not be when a command of this kind is carried out.
    func wrong(with command: Command, on side: Side) -> String? {
        guard script.disks.count > 0 else { return nil }
        switch (side, command) {
        case (.source, .migrateContinue(state: "pre-switchover")):
            return disks.copied.count == script.disks.wished ?? script.disks.count ? nil : "D1: let go on with \(disks)"
        case (.destination, .cont):
            if disks.isServing { return "D2: the guest runs on disks that somebody else may write" }
            return disks.copied.count == script.disks.wished ?? script.disks.count
                ? nil : "D3: the guest runs on disks that are not complete"
        default: return nil
        }
    }
}
