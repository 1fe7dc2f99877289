/// Where an NBD server listens, or a client of it connects.
public enum NBDAddress: Hashable, Sendable, CustomStringConvertible {
    /// A Unix socket.
    case unix(path: String)
    /// TCP.
    case tcp(host: String, port: Int)
    /// A listening socket that was passed under this name. Only a server has one.
    case passed(name: String)

    /// As QEMU writes addresses of migrations.
    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): "tcp:\(host):\(port)"
        case .passed(let name): "fd:\(name)"
        }
    }
}

/// How a connection to an NBD server is encrypted.
public struct NBDEncryption: Hashable, Sendable {
    /// The id of the credentials.
    public var credentials: String
    /// For a client: the name that the server's certificate must have, if not the host of its address.
    public var hostname: String?
    /// For a server: the id of a list of the clients that are let in.
    public var authorization: String?

    /// Encryption by these credentials.
    public init(credentials: String, hostname: String? = nil, authorization: String? = nil) {
        self.credentials = credentials
        self.hostname = hostname
        self.authorization = authorization
    }
}

/// A copy of a disk to another one that goes on until it is told to stop: `blockdev-mirror`.
public struct MirrorJob: Hashable, Sendable {
    /// How much of the disk is copied, by QEMU's words.
    public enum Sync: String, Hashable, Sendable, CaseIterable {
        /// All of it.
        case full
        /// What is in its top layer; the layers below are there on the other side already.
        case top
    }

    /// How what the guest writes meanwhile gets there, by QEMU's words.
    public enum CopyMode: String, Hashable, Sendable, CaseIterable {
        /// Later.
        case background
        /// At the same time: the guest waits for both writes.
        case writeBlocking = "write-blocking"
    }

    /// The job's id.
    public var id: String
    /// The node that is copied.
    public var device: String
    /// The node that is written.
    public var target: String
    /// How much is copied.
    public var sync: Sync
    /// How writes get there.
    public var copyMode: CopyMode
    /// Bytes per second; `nil` for no limit.
    public var bytesPerSecond: Int64?

    /// A job.
    public init(
        id: String, device: String, target: String, sync: Sync = .full, copyMode: CopyMode = .background,
        bytesPerSecond: Int64? = nil
    ) {
        self.id = id
        self.device = device
        self.target = target
        self.sync = sync
        self.copyMode = copyMode
        self.bytesPerSecond = bytesPerSecond
    }
}

/// A command about disks that are copied along.
public enum StorageCommand: Hashable, Sendable {
    /// `nbd-server-start`
    case startServer(NBDAddress, NBDEncryption?)
    /// `block-export-add`: a node becomes an export of the same name as its id, to be written.
    case addExport(id: String, node: String)
    /// `nbd-server-stop`, which takes all exports away and returns when they are gone.
    case stopServer
    /// `blockdev-add`: a node that stands for an export.
    case addTarget(node: String, export: String, server: NBDAddress, NBDEncryption?)
    /// `blockdev-mirror`; the job stays to be asked about until it is dismissed.
    case mirror(MirrorJob)
    /// `query-jobs`
    case queryJobs
    /// `block-job-cancel` without force: a mirror that is ready finishes its copy and leaves the disk where it is.
    case finish(job: String)
    /// `block-job-cancel` with force: the copy is given up.
    case cancel(job: String)
    /// `job-dismiss`
    case dismiss(job: String)
    /// `blockdev-del`
    case removeTarget(node: String)
    /// `yank` of a node: its connection is cut.
    case cut(node: String)

    /// QEMU's name of the command.
    public var name: String {
        switch self {
        case .startServer: "nbd-server-start"
        case .addExport: "block-export-add"
        case .stopServer: "nbd-server-stop"
        case .addTarget: "blockdev-add"
        case .mirror: "blockdev-mirror"
        case .queryJobs: "query-jobs"
        case .finish, .cancel: "block-job-cancel"
        case .dismiss: "job-dismiss"
        case .removeTarget: "blockdev-del"
        case .cut: "yank"
        }
    }

    /// What it is about, for a reader.
    public var argument: String? {
        switch self {
        case .startServer(let address, let encryption): "\(address)" + (encryption == nil ? "" : " with TLS")
        case .addExport(let id, let node): "\(node) as \(id)"
        case .addTarget(let node, _, let server, _): "\(node) at \(server)"
        case .mirror(let job): "\(job.device) to \(job.target), \(job.sync.rawValue), \(job.copyMode.rawValue)"
        case .finish(let job): "\(job): finish"
        case .cancel(let job): "\(job): give up"
        case .dismiss(let job): job
        case .removeTarget(let node), .cut(let node): node
        case .stopServer, .queryJobs: nil
        }
    }
}

/// An event of a block job.
public struct BlockJobEvent: Hashable, Sendable {
    /// What happened.
    public enum Kind: Hashable, Sendable {
        /// `BLOCK_JOB_READY`: all of the disk is there, and what the guest writes follows.
        case ready
        /// `BLOCK_JOB_COMPLETED`; with QEMU's words if it ended in an error.
        case completed(error: String?)
        /// `BLOCK_JOB_CANCELLED`: it was given up.
        case cancelled
        /// `BLOCK_JOB_ERROR`: a read or a write failed.
        case error(operation: String)
    }

    /// The job's id.
    public var job: String
    /// What happened.
    public var kind: Kind

    /// An event.
    public init(job: String, _ kind: Kind) {
        self.job = job
        self.kind = kind
    }

    /// QEMU's name of the event.
    public var name: String {
        switch kind {
        case .ready: "BLOCK_JOB_READY"
        case .completed: "BLOCK_JOB_COMPLETED"
        case .cancelled: "BLOCK_JOB_CANCELLED"
        case .error: "BLOCK_JOB_ERROR"
        }
    }
}

/// What `query-jobs` tells of a job.
public struct JobInformation: Hashable, Sendable {
    /// Its id.
    public var id: String
    /// QEMU's word: `running`, `ready`, `concluded`, ...
    public var status: String
    /// QEMU's words about why it failed, once it is concluded.
    public var error: String?
    /// How far it is, in bytes for a mirror.
    public var current: Int64
    /// How far that will be at the end; grows with what the guest writes.
    public var total: Int64

    /// What is known of a job.
    public init(id: String, status: String, error: String? = nil, current: Int64 = 0, total: Int64 = 0) {
        self.id = id
        self.status = status
        self.error = error
        self.current = current
        self.total = total
    }
}
