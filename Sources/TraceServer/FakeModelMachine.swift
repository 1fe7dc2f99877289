import JSONC

/// What the machine is made of, as far as a survey asks.
extension FakeModel {
    static let defaultParameters: JSONObject = [
        "cpu-throttle-tailslow": false, "xbzrle-cache-size": 67_108_864, "cpu-throttle-initial": 20,
        "announce-max": 550, "announce-initial": 50, "announce-step": 100, "announce-rounds": 5,
        "throttle-trigger-threshold": 50, "cpu-throttle-increment": 10, "max-cpu-throttle": 99,
        "tls-creds": "", "tls-hostname": "", "tls-authz": "", "max-bandwidth": 134_217_728,
        "max-postcopy-bandwidth": 0, "downtime-limit": 300, "x-checkpoint-delay": 20000, "multifd-channels": 2,
        "multifd-compression": "none", "multifd-zlib-level": 1, "multifd-zstd-level": 1,
        "block-bitmap-mapping": [],
    ]

    private static let machineQueries: Set<String> = [
        "qom-list", "qom-get", "query-cpus-fast", "query-block", "query-named-block-nodes", "query-memory-size-summary",
        "query-memdev", "query-name", "query-uuid", "query-qmp-schema", "query-version", "query-commands",
        "query-target", "query-kvm", "query-pci", "query-chardev", "query-rx-filter", "query-fdsets",
        "query-hotpluggable-cpus", "query-memory-devices", "getfd", "closefd", "object-add", "object-del",
    ]

    func isMachineQuery(_ command: FakeCommand) -> Bool { Self.machineQueries.contains(command.name) }

    /// The answer to a query about the machine; nil if it is none or nothing is there.
    func machineAnswer(_ command: FakeCommand) -> JSONValue? {
        switch command.name {
        case "qom-list": return children(command.arguments["path"]?.string ?? "")
        case "qom-get":
            return property(
                command.arguments["path"]?.string ?? "", command.arguments["property"]?.string ?? "")
        case "query-cpus-fast":
            return .array(
                (0..<Swift.max(1, options.cpus)).map { index in
                    [
                        "thread-id": .integer(Int64(1000 + index)), "target": "x86_64",
                        "props": ["core-id": 0, "thread-id": 0, "socket-id": .integer(Int64(index))],
                        "qom-path": .string(Self.cpuPath(index)), "cpu-index": .integer(Int64(index)),
                    ]
                })
        case "query-memory-size-summary":
            return ["base-memory": .integer(options.memoryBytes), "plugged-memory": 0]
        case "query-memdev":
            return [["id": "pc.ram", "size": .integer(options.memoryBytes), "merge": true, "share": false]]
        case "query-name": return ["name": .string(options.name)]
        case "query-uuid": return ["UUID": .string(options.uuid)]
        case "query-version":
            return ["qemu": versionNumbers, "package": "fake"]
        case "query-target": return ["arch": "x86_64"]
        case "query-kvm": return ["enabled": false, "present": true]
        case "query-qmp-schema": return schema()
        case "query-commands":
            return .array(Self.schemaCommands(release).map { ["name": .string($0.name)] })
        case "query-block", "query-named-block-nodes", "query-pci", "query-chardev", "query-rx-filter",
            "query-fdsets", "query-hotpluggable-cpus", "query-memory-devices":
            return []
        case "getfd", "closefd", "object-add", "object-del": return [:]
        default: return nil
        }
    }

    var versionNumbers: JSONValue {
        ["micro": .integer(release.micro), "minor": .integer(release.minor), "major": .integer(release.major)]
    }

    private static func cpuPath(_ index: Int) -> String { "/machine/unattached/device[\(index)]" }

    private func children(_ path: String) -> JSONValue? {
        switch path {
        case "/machine/peripheral":
            return .array(
                [["name": "type", "type": "string"]]
                    + options.devices.map { ["name": .string($0.id), "type": .string("child<\($0.type)>")] })
        case "/machine/peripheral-anon":
            return [["name": "type", "type": "string"]]
        case "/machine/unattached":
            var entries: [JSONValue] = [["name": "type", "type": "string"]]
            for index in 0..<Swift.max(1, options.cpus) {
                entries.append(["name": .string("device[\(index)]"), "type": .string("child<\(options.cpuType)>")])
            }
            entries.append(["name": "system[0]", "type": "child<memory-region>"])
            return .array(entries)
        default:
            guard options.devices.contains(where: { "/machine/peripheral/" + $0.id == path }) else { return nil }
            return [
                ["name": "type", "type": "string"], ["name": "addr", "type": "int32"],
                ["name": "realized", "type": "bool"],
            ]
        }
    }

    private func property(_ path: String, _ name: String) -> JSONValue? {
        if path == "/machine", name == "type" { return .string(options.machineType + "-machine") }
        if name == "feature-words", path.hasPrefix("/machine/unattached/device[") {
            return [["features": 126_614_525, "cpuid-register": "EDX", "cpuid-input-eax": 1]]
        }
        guard let device = options.devices.first(where: { "/machine/peripheral/" + $0.id == path }) else { return nil }
        return switch name {
        case "addr": .integer(device.address * 8)
        case "type": .string(device.type)
        case "realized": true
        default: nil
        }
    }

    private static func schemaCommands(_ release: FakeRelease) -> [(name: String, members: [String])] {
        [
            ("cont", []), ("stop", []), ("quit", []), ("yank", ["instances"]), ("query-yank", []),
            ("query-status", []), ("query-migrate", []),
            ("migrate", release.hasExitOnError ? ["uri", "channels", "resume"] : ["uri", "resume"]),
            ("migrate-incoming", release.hasExitOnError ? ["uri", "channels", "exit-on-error"] : ["uri"]),
            ("migrate-set-capabilities", ["capabilities"]), ("migrate-set-parameters", ["max-bandwidth"]),
            ("migrate-continue", ["state"]), ("migrate_cancel", []),
        ]
    }

    private func schema() -> JSONValue {
        var entities: [JSONValue] = []
        for (index, command) in Self.schemaCommands(release).enumerated() {
            let type = String(index)
            entities.append([
                "name": .string(command.name), "meta-type": "command", "arg-type": .string(type), "ret-type": "0",
                "allow-oob": .bool(command.name.hasSuffix("yank")),
            ])
            entities.append([
                "name": .string(type), "meta-type": "object",
                "members": .array(command.members.map { ["name": .string($0), "type": "str"] }),
            ])
        }
        for index in 0..<Swift.max(0, options.schemaPadding) {
            entities.append(["name": .string("padding-\(index)"), "meta-type": "builtin", "json-type": "string"])
        }
        return .array(entities)
    }
}
