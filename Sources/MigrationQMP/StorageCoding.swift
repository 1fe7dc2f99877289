import JSONC
import Migration
import Phases
import QMP

extension NBDAddress {
    var socket: QMPSocketAddress {
        switch self {
        case .unix(let path): .unix(path: path)
        case .tcp(let host, let port): .inet(host: host, port: String(port))
        case .passed(let name): .fd(name: name)
        }
    }

    /// An address of either of QEMU's forms; `nil` for kinds that nothing here uses.
    init?(_ value: JSONValue?) {
        let members = value?["data"] ?? value
        switch value?["type"]?.string {
        case "unix":
            guard let path = members?["path"]?.string else { return nil }
            self = .unix(path: path)
        case "inet":
            guard let host = members?["host"]?.string, let port = members?["port"]?.string.flatMap({ Int($0) }) else {
                return nil
            }
            self = .tcp(host: host, port: port)
        case "fd":
            guard let name = members?["str"]?.string else { return nil }
            self = .passed(name: name)
        default: return nil
        }
    }
}

extension StorageCommand {
    /// The command as QMP says it.
    func request(outOfBand: Bool) -> QMPRequest {
        switch self {
        case .startServer(let address, let encryption):
            QMPRequest(
                NBDServerStart(
                    address: address.socket, tlsCreds: encryption?.credentials, tlsAuthz: encryption?.authorization))
        case .addExport(let id, let node): QMPRequest(BlockExportAdd(id: id, nodeName: node, writable: true))
        case .stopServer: QMPRequest(NBDServerStop())
        case .addTarget(let node, let export, let server, let encryption):
            QMPRequest(
                BlockdevAddNBD(
                    nodeName: node, export: export, server: server.socket, tlsCreds: encryption?.credentials,
                    tlsHostname: encryption?.hostname))
        case .mirror(let job):
            QMPRequest(
                BlockdevMirror(
                    jobID: job.id, device: job.device, target: job.target, sync: job.sync.rawValue,
                    copyMode: job.copyMode.rawValue, speed: job.bytesPerSecond))
        case .queryJobs: QMPRequest(QueryJobs())
        case .finish(let job): QMPRequest(BlockJobCancel(device: job, force: false))
        case .cancel(let job): QMPRequest(BlockJobCancel(device: job, force: true))
        case .dismiss(let job): QMPRequest(JobDismiss(id: job))
        case .removeTarget(let node): QMPRequest(BlockdevDel(nodeName: node))
        case .cut(let node): QMPRequest(Yank([.blockNode(node)]), outOfBand: outOfBand)
        }
    }

    /// The command that a message to QEMU is. `nil` for any other one, and for such of another form than ours, as
    /// somebody else may have sent it.
    init?(name: String, arguments: JSONValue?) {
        func text(_ key: String) -> String? { arguments?[key]?.string }
        let encryption = text("tls-creds").map {
            NBDEncryption(credentials: $0, hostname: text("tls-hostname"), authorization: text("tls-authz"))
        }
        switch name {
        case "nbd-server-start":
            guard let address = NBDAddress(arguments?["addr"]) else { return nil }
            self = .startServer(address, encryption)
        case "nbd-server-stop": self = .stopServer
        case "query-jobs": self = .queryJobs
        case "block-export-add":
            guard let id = text("id"), let node = text("node-name"), text("type") == "nbd", text("name") == id else {
                return nil
            }
            self = .addExport(id: id, node: node)
        case "blockdev-add":
            guard text("driver") == "nbd", let node = text("node-name"), let export = text("export"),
                let server = NBDAddress(arguments?["server"])
            else { return nil }
            self = .addTarget(node: node, export: export, server: server, encryption)
        case "blockdev-mirror":
            guard let id = text("job-id"), let device = text("device"), let target = text("target"),
                let sync = text("sync").flatMap(MirrorJob.Sync.init(rawValue:)),
                let mode = text("copy-mode").flatMap(MirrorJob.CopyMode.init(rawValue:))
            else { return nil }
            self = .mirror(
                MirrorJob(
                    id: id, device: device, target: target, sync: sync, copyMode: mode,
                    bytesPerSecond: arguments?["speed"]?.int64))
        case "block-job-cancel":
            guard let job = text("device") else { return nil }
            self = arguments?["force"]?.bool ?? false ? .cancel(job: job) : .finish(job: job)
        case "job-dismiss":
            guard let job = text("id") else { return nil }
            self = .dismiss(job: job)
        case "blockdev-del":
            guard let node = text("node-name") else { return nil }
            self = .removeTarget(node: node)
        default: return nil
        }
    }
}

extension Command {
    /// What a yank cuts: the migration, or the connection of a node; `nil` for anything else.
    init?(yank arguments: JSONValue?) {
        let instances = arguments?["instances"]?.array ?? []
        if instances.contains(where: { $0["type"]?.string == "migration" }) {
            self = .yank
        } else if let node = instances.first?["node-name"]?.string {
            self = .storage(.cut(node: node))
        } else {
            return nil
        }
    }
}

extension JobInformation {
    /// An element of what `query-jobs` returns; `nil` for one without an id.
    init?(_ value: JSONView) {
        guard let id = value["id"]?.string else { return nil }
        self.init(
            id: id, status: value["status"]?.string ?? "", error: value["error"]?.string,
            current: value["current-progress"]?.int64 ?? 0, total: value["total-progress"]?.int64 ?? 0)
    }
}

extension BlockJobEvent {
    /// The event of this name; `nil` if it is none of a block job.
    init?(name: String, device: String?, error: String?, operation: String?) {
        guard let device else { return nil }
        switch name {
        case "BLOCK_JOB_READY": self.init(job: device, .ready)
        case "BLOCK_JOB_COMPLETED": self.init(job: device, .completed(error: error))
        case "BLOCK_JOB_CANCELLED": self.init(job: device, .cancelled)
        case "BLOCK_JOB_ERROR": self.init(job: device, .error(operation: operation ?? ""))
        default: return nil
        }
    }
}

extension NBDAddress {
    fileprivate var json: JSONValue { socket.legacy }
}

extension StorageWish {
    /// The wish as a document.
    var json: JSONValue {
        var object: JSONObject = [
            "disks": .array(disks.map { .string($0) }), "sync": .string(sync.rawValue),
            "copy-mode": .string(copyMode.rawValue), "server": server.json, "client": client.json,
        ]
        if let bytesPerSecond { object["bytes-per-second"] = .integer(bytesPerSecond) }
        return .object(object)
    }

    /// A wish from a document.
    ///
    /// - Throws: `DocumentError` if it is none.
    init(json: JSONValue, path: String) throws(DocumentError) {
        let reader = try DocumentReader(json, path: path)
        guard let server = NBDAddress(reader.object["server"]), let client = NBDAddress(reader.object["client"]) else {
            throw DocumentError("\(path): no address of a server")
        }
        self.init(server: server, client: client)
        disks = try reader.strings("disks")
        sync = try reader.word("sync", sync) { MirrorJob.Sync(rawValue: $0) }
        copyMode = try reader.word("copy-mode", copyMode) { MirrorJob.CopyMode(rawValue: $0) }
        bytesPerSecond = try reader.optionalInt64("bytes-per-second")
    }
}
