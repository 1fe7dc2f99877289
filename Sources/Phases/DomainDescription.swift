public import Migration

/// What one QEMU is made of, as far as the other one must be made of the same for the guest's state to fit in.
///
/// It takes the place of libvirt's domain XML between the steps: Begin reads it from the source, Prepare compares it
/// with the destination.
public struct DomainDescription: Hashable, Sendable {
    /// A device by its place in QEMU's object tree.
    public struct Device: Hashable, Sendable {
        /// QOM path.
        public var path: String
        /// QOM type.
        public var type: String
        /// What fixes it to its place (bus, address, port, ...) and the like, ordered by name.
        public var properties: [Setting]

        /// A device.
        public init(path: String, type: String, properties: [Setting]) {
            self.path = path
            self.type = type
            self.properties = properties
        }
    }

    /// A medium behind a block device, or a named block node.
    public struct BlockNode: Hashable, Sendable {
        /// The device's QOM path or id, or the node's name.
        public var name: String
        /// Format driver.
        public var driver: String
        /// Virtual size.
        public var bytes: Int64?
        /// Whether writing is refused.
        public var isReadOnly: Bool
        /// For a medium behind a device: what the block layer calls its node, names that QEMU made up included. They
        /// are not compared.
        public var node: String?

        /// A block node.
        public init(name: String, driver: String, bytes: Int64?, isReadOnly: Bool, node: String? = nil) {
            self.name = name
            self.driver = driver
            self.bytes = bytes
            self.isReadOnly = isReadOnly
            self.node = node
        }
    }

    /// A memory backend object.
    public struct MemoryBackend: Hashable, Sendable {
        /// Its id.
        public var id: String
        /// Its size.
        public var bytes: Int64

        /// A memory backend.
        public init(id: String, bytes: Int64) {
            self.id = id
            self.bytes = bytes
        }
    }

    /// QEMU's version.
    public var version: QEMUVersion
    /// The guest's name, if it was given one.
    public var name: String?
    /// The guest's UUID, if it was given one.
    public var uuid: String?
    /// Machine type, with its version (`pc-i440fx-7.2`).
    public var machineType: String
    /// Guest memory without hot-plugged memory.
    public var memoryBytes: Int64
    /// Hot-plugged memory.
    public var pluggedMemoryBytes: Int64
    /// CPU model, as QEMU's type name.
    public var cpuModel: String
    /// CPUID feature words, or another text that is equal for equal features; `nil` where the target has none.
    public var cpuFeatures: String?
    /// One entry for each CPU: its place in the topology.
    public var cpus: [String]
    /// Devices, user-created and built-in, ordered by path.
    public var devices: [Device]
    /// What the built-in devices are made of: the QOM types of their parts, ordered. A QEMU may have as a part of one device what another
    /// one has beside it (the PIIX3 of 10.0 has its IDE and its clock in itself, that of 7.2 beside itself); the stream does not show the difference.
    public var boardParts: [String] = []
    /// Media and named nodes.
    public var blockNodes: [BlockNode]
    /// Memory backends.
    public var memoryBackends: [MemoryBackend]
    /// Run state when it was read.
    public var runState: RunState?
    /// The command line with secrets masked, where `/proc` shows it.
    public var commandLine: [String]?

    /// A description of nothing in particular, to be filled in.
    public init(version: QEMUVersion, machineType: String, memoryBytes: Int64, cpuModel: String) {
        self.version = version
        self.machineType = machineType
        self.memoryBytes = memoryBytes
        self.cpuModel = cpuModel
        pluggedMemoryBytes = 0
        cpus = []
        devices = []
        blockNodes = []
        memoryBackends = []
    }
}

/// A difference between two descriptions that would break the load.
public struct DescriptionDifference: Hashable, Sendable, CustomStringConvertible {
    /// What differs.
    public var subject: String
    /// What the source has; `nil` for nothing.
    public var source: String?
    /// What the destination has; `nil` for nothing.
    public var destination: String?

    /// For a person.
    public var description: String {
        switch (source, destination) {
        case (let source?, nil): "\(subject): the source has \(source), the destination has none"
        case (nil, let destination?): "\(subject): the destination has \(destination), the source has none"
        case (let source?, let destination?): "\(subject): \(source) on the source, \(destination) on the destination"
        case (nil, nil): subject
        }
    }
}

extension DomainDescription {
    /// The differences that would break the load of this description's guest in `destination`, named; empty if it fits.
    ///
    /// Names that QEMU made up itself, file names and run states may differ: the migration stream does not carry them.
    ///
    /// - Parameters:
    ///   - destination: What it is compared with.
    ///   - copied: Names of disks that are copied along. They may be in another format, and what lies below the disks
    ///     is each host's own.
    public func differences(
        from destination: DomainDescription, copying copied: Set<String> = []
    ) -> [DescriptionDifference] {
        var found: [DescriptionDifference] = []
        func compare(_ subject: String, _ ours: String?, _ theirs: String?) {
            if ours != theirs {
                found.append(DescriptionDifference(subject: subject, source: ours, destination: theirs))
            }
        }
        compare("machine type", machineType, destination.machineType)
        compare("memory", Self.size(memoryBytes), Self.size(destination.memoryBytes))
        compare("hot-plugged memory", Self.size(pluggedMemoryBytes), Self.size(destination.pluggedMemoryBytes))
        compare("CPU model", cpuModel, destination.cpuModel)
        if cpuModel == destination.cpuModel, let ours = cpuFeatures, let theirs = destination.cpuFeatures,
            ours != theirs
        {
            compare("CPU features of \(cpuModel)", ours, theirs)
        }
        compare("CPUs", cpus.joined(separator: "; "), destination.cpus.joined(separator: "; "))
        if let uuid, let theirs = destination.uuid { compare("UUID", uuid, theirs) }
        found += deviceDifferences(from: destination)
        found += blockDifferences(from: destination, copying: copied)
        let theirBackends = Dictionary(destination.memoryBackends.map { ($0.id, $0.bytes) }) { first, _ in first }
        for backend in memoryBackends where !backend.id.isEmpty {
            compare("memory backend \(backend.id)", Self.size(backend.bytes), theirBackends[backend.id].map(Self.size))
        }
        return found
    }

    private func deviceDifferences(from destination: DomainDescription) -> [DescriptionDifference] {
        var theirs = destination.devices
        var found: [DescriptionDifference] = []
        var unmatched: [Device] = []
        // What is equal in path, type and place goes first, so that one moved device is not reported as many.
        for device in devices {
            if let index = theirs.firstIndex(of: device) {
                theirs.remove(at: index)
            } else {
                unmatched.append(device)
            }
        }
        // An id may differ, and the board's devices are numbered as they are made: the stream knows a device by its
        // type and its place on the bus.
        unmatched.removeAll { device in
            guard
                let index = theirs.firstIndex(where: { $0.type == device.type && $0.properties == device.properties })
            else { return false }
            theirs.remove(at: index)
            return true
        }
        unmatched = Self.notPart(of: destination.boardParts, unmatched)
        theirs = Self.notPart(of: boardParts, theirs)
        for device in unmatched {
            let other = theirs.firstIndex { $0.path == device.path } ?? theirs.firstIndex { $0.type == device.type }
            guard let other else {
                found.append(
                    DescriptionDifference(subject: "device \(device.path)", source: device.summary, destination: nil))
                continue
            }
            let counterpart = theirs.remove(at: other)
            found.append(
                DescriptionDifference(
                    subject: "device \(device.path)", source: device.summary(against: counterpart),
                    destination: counterpart.summary(against: device)))
        }
        found += theirs.map {
            DescriptionDifference(subject: "device \($0.path)", source: nil, destination: $0.summary)
        }
        return found
    }

    /// The devices without those built-in ones that the other machine has as parts.
    private static func notPart(of parts: [String], _ devices: [Device]) -> [Device] {
        var left = parts
        return devices.filter { device in
            guard device.path.hasPrefix("/machine/unattached/"), let index = left.firstIndex(of: device.type) else {
                return true
            }
            left.remove(at: index)
            return false
        }
    }

    private func blockDifferences(
        from destination: DomainDescription, copying copied: Set<String>
    ) -> [DescriptionDifference] {
        let theirs = Dictionary(destination.blockNodes.map { ($0.name, $0) }) { first, _ in first }
        return blockNodes.compactMap { node in
            // Perform removes it.
            if node.isLeftBehind { return nil }
            // A file grows with what is in it.
            if !copied.isEmpty, node.isLoose { return nil }
            guard let other = theirs[node.name] else {
                return DescriptionDifference(subject: "block node \(node.name)", source: node.summary, destination: nil)
            }
            var counterpart = other
            counterpart.node = node.node
            if copied.contains(node.name) { counterpart.driver = node.driver }
            guard node != counterpart else { return nil }
            return DescriptionDifference(
                subject: "block node \(node.name)", source: node.summary, destination: other.summary)
        }
    }

    /// A byte count for a person, exact.
    static func size(_ bytes: Int64) -> String {
        bytes > 0 && bytes % (1 << 20) == 0 ? "\(bytes >> 20) MiB" : "\(bytes) bytes"
    }
}

extension DomainDescription.Device {
    var summary: String {
        properties.isEmpty
            ? type : type + " (" + properties.map { "\($0.name) \($0.value)" }.joined(separator: ", ") + ")"
    }

    /// The type, and of the properties only those that differ: forty equal ones hide the one that matters.
    func summary(against other: Self) -> String {
        let differing = properties.filter { !other.properties.contains($0) }
        if differing.isEmpty { return path == other.path ? type : "\(type) at \(path)" }
        return type + " (" + differing.map { "\($0.name) \($0.value)" }.joined(separator: ", ") + ")"
    }
}

extension DomainDescription.BlockNode {
    /// The driver that stands for a named node which is no device's medium.
    static let looseDriver = "node"

    var isLoose: Bool { driver == Self.looseDriver }

    /// Whether it was made for a copy of an attempt that is over.
    var isLeftBehind: Bool { isLoose && name.hasPrefix(StorageMirrors.prefix) }

    var summary: String {
        driver + (bytes.map { ", \(DomainDescription.size($0))" } ?? "") + (isReadOnly ? ", read-only" : "")
    }
}
