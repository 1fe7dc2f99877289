public import JSONC
public import Migration
public import Phases
public import QMP

/// Reads what a QEMU is made of, by QMP: a pure machine that says which queries to send next and turns the answers into
/// a description.
///
/// The queries of one round do not depend on each other and can all be on their way at once.
public struct SurveyWalk: Sendable {
    /// A query of the walk.
    public enum Query: Hashable, Sendable {
        /// The machine's type.
        case machineType
        /// What a container of devices holds.
        case children(String)
        /// What a built-in device is made of.
        case parts(String)
        /// The CPUs.
        case cpus
        /// Block devices and what is in them.
        case block
        /// Named block nodes.
        case blockNodes
        /// Sizes of memory.
        case memory
        /// Memory backends.
        case memoryBackends
        /// The guest's name.
        case name
        /// The guest's UUID.
        case uuid
        /// The properties a device has.
        case properties(String)
        /// The value of one of them.
        case property(String, String)
        /// The CPU's feature words.
        case cpuFeatures(String)
        /// What the binary can do.
        case schema

        /// As QMP says it.
        public var request: QMPRequest {
            switch self {
            case .machineType: QMPRequest(QOMGet(path: "/machine", property: "type"))
            case .children(let path), .parts(let path), .properties(let path): QMPRequest(QOMList(path: path))
            case .cpus: QMPRequest(QueryCPUsFast())
            case .block: QMPRequest(QueryBlock())
            case .blockNodes: QMPRequest(QueryNamedBlockNodes(flat: true))
            case .memory: QMPRequest(QueryMemorySizeSummary())
            case .memoryBackends: QMPRequest(QueryMemdev())
            case .name: QMPRequest(QueryName())
            case .uuid: QMPRequest(QueryUUID())
            case .property(let path, let name): QMPRequest(QOMGet(path: path, property: name))
            case .cpuFeatures(let path): QMPRequest(QOMGet(path: path, property: "feature-words"))
            case .schema: QMPRequest(QueryQMPSchema())
            }
        }
    }

    /// Devices made by the user.
    private static let userContainers = ["/machine/peripheral", "/machine/peripheral-anon"]
    /// Devices that come with the machine, among other things.
    private static let boardContainer = "/machine/unattached"

    /// What of a device must be equal: its place, and what shapes its state in the stream.
    public static let comparedProperties: Set<String> = [
        "addr", "bus", "channel", "chassis", "disable-legacy", "disable-modern", "index", "iobase", "irq", "lun",
        "mac", "max_ports", "multifunction", "nr", "num-queues", "parent_bus", "port", "queue-size", "scsi-id",
        "slot", "unit", "vectors", "virtqueue_pairs", "vgamem_mb",
    ]

    private var description: DomainDescription
    private var features: QEMUFeatures
    private var underWay: Set<Query> = []
    private var devices: [String: DomainDescription.Device] = [:]
    private var cpuPath: String?
    private var types: [String: String] = [:]
    private var attachedNodes: Set<String> = []
    private var namedNodes: [DomainDescription.BlockNode] = []
    private var failure: String?

    /// A walk through a QEMU.
    ///
    /// - Parameters:
    ///   - version: From its greeting.
    ///   - features: What its binary can do, if that is known; `nil` asks for the schema.
    ///   - hasOutOfBand: Whether out-of-band commands were negotiated.
    public init(version: QEMUVersion, features: QEMUFeatures?, hasOutOfBand: Bool) {
        description = DomainDescription(version: version, machineType: "", memoryBytes: 0, cpuModel: "")
        self.features = features ?? QEMUFeatures()
        self.features.hasOutOfBand = hasOutOfBand
        needsSchema = features == nil
    }

    private let needsSchema: Bool

    /// The first round.
    public mutating func start() -> [Query] {
        // The large reply last: it holds up whatever queues behind it.
        var queries: [Query] = [.machineType, .cpus, .memory, .memoryBackends, .block, .blockNodes, .name, .uuid]
        queries += Self.userContainers.map { .children($0) } + [.children(Self.boardContainer)]
        if needsSchema { queries.append(.schema) }
        underWay = Set(queries)
        return queries
    }

    /// A query was answered; gives the queries that follow from the answer.
    public mutating func answered(_ query: Query, _ result: Result<JSONView, QMPError>) -> [Query] {
        underWay.remove(query)
        var next: [Query] = []
        switch result {
        case .success(let view): next = read(query, view)
        case .failure(let error): missed(query, error)
        }
        underWay.formUnion(next)
        return next
    }

    /// The description, once all answers are there; or what could not be read.
    public var outcome: Result<Survey, SurveyError>? {
        if let failure { return .failure(SurveyError(description: failure)) }
        guard underWay.isEmpty else { return nil }
        var result = description
        if let cpuPath, result.cpuModel.isEmpty { result.cpuModel = types[cpuPath] ?? "" }
        if result.machineType.isEmpty {
            return .failure(SurveyError(description: "QEMU does not tell its machine type"))
        }
        let isCPU: (String) -> Bool = { path in result.cpus.contains { $0.hasSuffix("at \(path)") } }
        result.devices = devices.values.filter { !isCPU($0.path) }.sorted { $0.path < $1.path }
        result.boardParts.sort()
        result.blockNodes += namedNodes.filter { !attachedNodes.contains($0.name) }
        result.blockNodes.sort { $0.name < $1.name }
        result.memoryBackends.sort { $0.id < $1.id }
        return .success(Survey(description: result, features: features))
    }

    /// What the binary can do, once it was asked.
    public var learnedFeatures: QEMUFeatures? { needsSchema && outcome != nil && failure == nil ? features : nil }

    private mutating func missed(_ query: Query, _ error: QMPError) {
        switch query {
        // A property can vanish with its device, and older QEMUs lack some queries: that is a smaller description, not
        // a failure.
        case .parts, .property, .properties, .cpuFeatures, .blockNodes, .memoryBackends, .name, .uuid:
            if error.code != .refused { failure = error.message }
        case .machineType, .children, .cpus, .block, .memory, .schema:
            failure = "\(query.request.name): \(error.message)"
        }
    }

    private mutating func read(_ query: Query, _ view: JSONView) -> [Query] {
        switch query {
        case .machineType:
            let type = view.string ?? ""
            description.machineType = type.hasSuffix("-machine") ? String(type.dropLast(8)) : type
        case .children(let container): return children(of: container, view)
        case .parts: parts(view)
        case .cpus: return cpus(view)
        case .block: block(view)
        case .blockNodes: nodes(view)
        case .memory:
            guard let bytes = view["base-memory"]?.int64 else {
                failure = "\(query.request.name): no base-memory"
                return []
            }
            description.memoryBytes = bytes
            description.pluggedMemoryBytes = view["plugged-memory"]?.int64 ?? 0
        case .memoryBackends:
            view.forEachElement { backend in
                guard let bytes = backend["size"]?.int64, let id = backend["id"]?.string else { return }
                description.memoryBackends.append(.init(id: id, bytes: bytes))
            }
        case .name: description.name = view["name"]?.string
        case .uuid:
            let uuid = view["UUID"]?.string
            description.uuid = uuid == "00000000-0000-0000-0000-000000000000" ? nil : uuid
        case .properties(let path): return properties(of: path, view)
        case .property(let path, let name):
            devices[path]?.properties.append(Setting(name, SettingValue(view.value())))
            devices[path]?.properties.sort { $0.name < $1.name }
        case .cpuFeatures: description.cpuFeatures = Self.featureWords(view)
        case .schema:
            let schema = SchemaFeatures(view)
            features.hasExitOnError = schema.hasArgument("exit-on-error", of: "migrate-incoming")
            features.hasYank = schema.hasCommand("yank")
            features.nestsObjectProperties = schema.hasArgument("props", of: "object-add")
            features.hasChannels =
                schema.hasArgument("channels", of: "migrate") && schema.hasArgument("channels", of: "migrate-incoming")
            features.hasFiles = schema.hasWord("file", beside: "exec")
            features.hasPostcopyDevice = schema.hasWord("postcopy-device", beside: "postcopy-active")
        }
        return []
    }

    private mutating func children(of container: String, _ view: JSONView) -> [Query] {
        var next: [Query] = []
        view.forEachElement { property in
            guard let name = property["name"]?.string, let type = property["type"]?.string,
                type.hasPrefix("child<"), type.hasSuffix(">")
            else { return }
            let isUsers = container != Self.boardContainer
            // Beside devices the board's container holds memory regions and interrupt lines under names of their own.
            guard isUsers || name.hasPrefix("device[") else { return }
            let path = "\(container)/\(name)"
            let typeName = String(type.dropFirst(6).dropLast())
            types[path] = typeName
            devices[path] = .init(path: path, type: typeName, properties: [])
            if isUsers {
                next.append(.properties(path))
            } else if !typeName.hasSuffix("-cpu") {
                next.append(.parts(path))
            }
        }
        return next
    }

    private mutating func parts(_ view: JSONView) {
        view.forEachElement { property in
            guard let type = property["type"]?.string, type.hasPrefix("child<"), type.hasSuffix(">") else { return }
            let name = String(type.dropFirst(6).dropLast())
            guard !name.hasSuffix("memory-region"), name != "irq" else { return }
            description.boardParts.append(name)
        }
    }

    private mutating func properties(of path: String, _ view: JSONView) -> [Query] {
        var next: [Query] = []
        view.forEachElement { property in
            guard let name = property["name"]?.string, Self.comparedProperties.contains(name) else { return }
            next.append(.property(path, name))
        }
        return next
    }

    private mutating func cpus(_ view: JSONView) -> [Query] {
        view.forEachElement { cpu in
            var place: [String] = []
            cpu["props"]?.forEachMember { name, value in place.append("\(name) \(SettingValue(value.value()))") }
            let path = cpu["qom-path"]?.string ?? ""
            if cpuPath == nil { cpuPath = path }
            description.cpus.append(place.sorted().joined(separator: ", ") + " at \(path)")
        }
        description.cpus.sort()
        return cpuPath.map { [.cpuFeatures($0)] } ?? []
    }

    private mutating func block(_ view: JSONView) {
        view.forEachElement { entry in
            guard let inserted = entry["inserted"] else { return }
            var name = entry["qdev"]?.string ?? entry["device"]?.string ?? ""
            if name.hasSuffix("/virtio-backend") { name = String(name.dropLast(15)) }
            let node = inserted["node-name"]?.string
            if let node {
                attachedNodes.insert(node)
                if !node.hasPrefix("#") { name = "\(node) (\(name))" }
            }
            description.blockNodes.append(
                .init(
                    name: name, driver: inserted["drv"]?.string ?? "", bytes: inserted["image"]?["virtual-size"]?.int64,
                    isReadOnly: inserted["ro"]?.bool ?? false, node: node))
        }
    }

    private mutating func nodes(_ view: JSONView) {
        view.forEachElement { node in
            guard let name = node["node-name"]?.string, !name.hasPrefix("#") else { return }
            // Where the bytes lie is the host's business; only what is in them travels.
            namedNodes.append(
                .init(
                    name: name, driver: "node", bytes: node["image"]?["virtual-size"]?.int64,
                    isReadOnly: node["ro"]?.bool ?? false))
        }
    }

    /// Feature words as one text, equal for equal features, whatever order QEMU lists them in.
    private static func featureWords(_ view: JSONView) -> String {
        var words: [String] = []
        view.forEachElement { word in
            guard let features = word["features"]?.uint64, features != 0 else { return }
            let leaf = word["cpuid-input-eax"]?.uint64 ?? 0
            let subleaf = word["cpuid-input-ecx"]?.uint64.map { ".\($0)" } ?? ""
            let register = word["cpuid-register"]?.string ?? ""
            words.append("\(String(leaf, radix: 16))\(subleaf).\(register)=\(String(features, radix: 16))")
        }
        return words.sorted().joined(separator: " ")
    }
}

/// What of a QEMU could not be read.
public struct SurveyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// In words.
    public var description: String
}

/// Looks up commands and their arguments in the reply of `query-qmp-schema`.
struct SchemaFeatures {
    private var arguments: [String: String] = [:]
    private var members: [String: Set<String>] = [:]
    private var words: [Set<String>] = []

    init(_ view: JSONView) {
        view.forEachElement { entity in
            guard let name = entity["name"]?.string else { return }
            if entity["meta-type"]?.equals("command") ?? false {
                arguments[name] = entity["arg-type"]?.string ?? ""
            } else if entity["meta-type"]?.equals("object") ?? false {
                var names: Set<String> = []
                entity["members"]?.forEachElement { member in
                    if let name = member["name"]?.string { names.insert(name) }
                }
                members[name] = names
            } else if entity["meta-type"]?.equals("enum") ?? false {
                var values: Set<String> = []
                entity["values"]?.forEachElement { value in
                    if let word = value.string { values.insert(word) }
                }
                words.append(values)
            }
        }
    }

    /// Whether an enumeration has this word. Types have no names there, so that it is found by another of its words.
    func hasWord(_ word: String, beside other: String) -> Bool {
        words.contains { $0.contains(other) && $0.contains(word) }
    }

    func hasCommand(_ name: String) -> Bool { arguments[name] != nil }

    func hasArgument(_ argument: String, of command: String) -> Bool {
        guard let type = arguments[command] else { return false }
        return members[type]?.contains(argument) ?? false
    }
}
