import Migration

/// The destination's disks, which the source fills before the guest arrives.
extension DestinationMachine {
    /// How far the NBD server got.
    enum Exports: Hashable {
        /// There is none of ours.
        case none
        /// It was started.
        case open
        /// It was told to stop; the reply is awaited.
        case closing
        /// It is gone.
        case closed
    }

    /// The disks of an offer on this QEMU; or why one cannot be filled.
    func disksToFill(_ offer: [CookieDisk]) -> Result<[StorageDisk], StorageError> {
        var disks: [StorageDisk] = []
        for wanted in offer {
            let node = core.survey?.description.blockNodes.first { $0.name == wanted.target && !$0.isLoose }
            guard let disk = node?.disk else {
                return .failure(StorageError(description: "the destination has no disk \(wanted.target)"))
            }
            guard disk.bytes == wanted.capacityBytes else {
                let (here, there) = (DomainDescription.size(disk.bytes), DomainDescription.size(wanted.capacityBytes))
                return .failure(
                    StorageError(
                        description:
                            "the disk \(wanted.target) has \(there) on the source and \(here) on the destination"))
            }
            disks.append(disk)
        }
        return .success(disks)
    }

    /// The commands that start a server for these disks.
    mutating func serving(_ disks: [StorageDisk]) -> [Command] {
        guard let wish = options.storage, !disks.isEmpty else { return [] }
        self.disks = disks
        var commands: [Command] = []
        if case .passed(let name) = wish.server { commands.append(.getFD(name: name)) }
        let encryption = options.tls?.encryption(of: .destination, attempt: options.attempt)
        return commands + [.storage(.startServer(wish.server, encryption))]
    }

    /// The server is there, and is ours: another one that runs already was refused. The commands that let the source
    /// write to the disks.
    mutating func exporting() -> [Command] {
        exports = .open
        return disks.enumerated().map { index, disk in
            .storage(.addExport(id: StorageMirrors.id(attempt: options.attempt, index), node: disk.node))
        }
    }

    /// The source is done with the disks: its last write is there and it has hung up. The exports go before the guest
    /// may write, and early, so that it does not have to wait for that.
    public mutating func closeExports() -> [Effect] { closingExports().map { core.send($0) } }

    mutating func closingExports() -> [Command] {
        guard exports == .open, evidence.monitor == .connected else { return [] }
        exports = .closing
        return [.storage(.stopServer)]
    }

    /// What a fact tells of the server.
    mutating func noteExports(_ fact: Fact) {
        guard exports == .closing else { return }
        switch fact {
        // QEMU refuses for one reason: there is no server any more.
        case .reply(.storage(.stopServer), _): exports = .closed
        // Written is not read: on a new connection it is said again before anything else.
        case .monitor(.connected), .unanswered(.storage(.stopServer)): exports = .open
        default: break
        }
    }
}
