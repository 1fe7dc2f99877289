public import JSONC
import Migration
public import Phases

/// A document that is not what it should be, and where.
public struct DocumentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, with the path of the member.
    public var description: String

    /// What is wrong, in words.
    public init(_ description: String) { self.description = description }
}

/// Reads members of a document and says by their path what is missing.
struct DocumentReader {
    let object: JSONObject
    let path: String

    init(_ value: JSONValue?, path: String) throws(DocumentError) {
        guard let object = value?.object else { throw DocumentError("\(path): not an object") }
        self.object = object
        self.path = path
    }

    func string(_ key: String) throws(DocumentError) -> String {
        guard let value = object[key]?.string else { throw DocumentError("\(path).\(key): a string is missing") }
        return value
    }

    func int64(_ key: String) throws(DocumentError) -> Int64 {
        guard let value = object[key]?.int64 else { throw DocumentError("\(path).\(key): an integer is missing") }
        return value
    }

    func int(_ key: String) throws(DocumentError) -> Int {
        guard let value = Int(exactly: try int64(key)) else { throw DocumentError("\(path).\(key): out of range") }
        return value
    }

    func optionalString(_ key: String) throws(DocumentError) -> String? {
        object[key] == nil ? nil : try string(key)
    }

    func optionalInt64(_ key: String) throws(DocumentError) -> Int64? { object[key] == nil ? nil : try int64(key) }

    func optionalInt(_ key: String) throws(DocumentError) -> Int? { object[key] == nil ? nil : try int(key) }

    func optionalBool(_ key: String) throws(DocumentError) -> Bool? {
        guard let value = object[key] else { return nil }
        guard let bool = value.bool else { throw DocumentError("\(path).\(key): not a truth value") }
        return bool
    }

    /// The objects of a list, each read with its own path.
    func objects<Element>(
        _ key: String, _ make: (DocumentReader) throws(DocumentError) -> Element
    ) throws(DocumentError) -> [Element] {
        var elements: [Element] = []
        for (index, value) in try array(key).enumerated() {
            elements.append(try make(try DocumentReader(value, path: "\(path).\(key)[\(index)]")))
        }
        return elements
    }

    func array(_ key: String) throws(DocumentError) -> [JSONValue] {
        guard let value = object[key] else { return [] }
        guard let array = value.array else { throw DocumentError("\(path).\(key): not a list") }
        return array
    }

    func strings(_ key: String) throws(DocumentError) -> [String] {
        var strings: [String] = []
        for (index, value) in try array(key).enumerated() {
            guard let string = value.string else { throw DocumentError("\(path).\(key)[\(index)]: not a string") }
            strings.append(string)
        }
        return strings
    }
}

extension DomainDescription {
    /// The description as a document.
    public var json: JSONValue {
        var object: JSONObject = [
            "version": .string(version.description), "machine-type": .string(machineType),
            "memory-bytes": .integer(memoryBytes), "plugged-memory-bytes": .integer(pluggedMemoryBytes),
            "cpu-model": .string(cpuModel), "cpus": .array(cpus.map { .string($0) }),
        ]
        if let name { object["name"] = .string(name) }
        if let uuid { object["uuid"] = .string(uuid) }
        if let cpuFeatures { object["cpu-features"] = .string(cpuFeatures) }
        if let runState { object["run-state"] = .string(runState.rawValue) }
        object["devices"] = .array(
            devices.map { device in
                var entry: JSONObject = ["path": .string(device.path), "type": .string(device.type)]
                for property in device.properties { entry["=" + property.name] = property.value.json }
                return .object(entry)
            })
        if !boardParts.isEmpty { object["board-parts"] = .array(boardParts.map { .string($0) }) }
        object["block-nodes"] = .array(
            blockNodes.map { node in
                var entry: JSONObject = ["name": .string(node.name), "driver": .string(node.driver)]
                if let bytes = node.bytes { entry["bytes"] = .integer(bytes) }
                entry["read-only"] = .bool(node.isReadOnly)
                if let name = node.node { entry["node"] = .string(name) }
                return .object(entry)
            })
        object["memory-backends"] = .array(
            memoryBackends.map { .object(["id": .string($0.id), "bytes": .integer($0.bytes)]) })
        if let commandLine { object["command-line"] = .array(commandLine.map { .string($0) }) }
        return .object(object)
    }

    /// A description from a document.
    public init(json: JSONValue, path: String = "description") throws(DocumentError) {
        let reader = try DocumentReader(json, path: path)
        let numbers = try reader.string("version").split(separator: ".").map { Int($0) ?? -1 }
        guard numbers.count == 3, !numbers.contains(where: { $0 < 0 }) else {
            throw DocumentError("\(path).version: not a version")
        }
        self.init(
            version: QEMUVersion(numbers[0], numbers[1], numbers[2]), machineType: try reader.string("machine-type"),
            memoryBytes: try reader.int64("memory-bytes"), cpuModel: try reader.string("cpu-model"))
        name = reader.object["name"]?.string
        uuid = reader.object["uuid"]?.string
        pluggedMemoryBytes = reader.object["plugged-memory-bytes"]?.int64 ?? 0
        cpuFeatures = reader.object["cpu-features"]?.string
        cpus = try reader.strings("cpus")
        runState = reader.object["run-state"]?.string.map { RunState(rawValue: $0) }
        for (index, value) in try reader.array("devices").enumerated() {
            let device = try DocumentReader(value, path: "\(path).devices[\(index)]")
            let properties = device.object.filter { $0.key.hasPrefix("=") }
                .map { Setting(String($0.key.dropFirst()), SettingValue($0.value)) }
            devices.append(
                Device(path: try device.string("path"), type: try device.string("type"), properties: properties))
        }
        boardParts = try reader.strings("board-parts")
        for (index, value) in try reader.array("block-nodes").enumerated() {
            let node = try DocumentReader(value, path: "\(path).block-nodes[\(index)]")
            blockNodes.append(
                BlockNode(
                    name: try node.string("name"), driver: try node.string("driver"),
                    bytes: node.object["bytes"]?.int64,
                    isReadOnly: node.object["read-only"]?.bool ?? false, node: node.object["node"]?.string))
        }
        for (index, value) in try reader.array("memory-backends").enumerated() {
            let backend = try DocumentReader(value, path: "\(path).memory-backends[\(index)]")
            memoryBackends.append(MemoryBackend(id: try backend.string("id"), bytes: try backend.int64("bytes")))
        }
        if reader.object["command-line"] != nil { commandLine = try reader.strings("command-line") }
    }
}
