import JSONC
import Trace

/// What a recording shows of the commands its QEMU knows, for clients that ask for what was not recorded.
struct ServedSchema: Sendable {
    private var arguments: [String: Set<String>] = [:]
    private var order: [String] = []
    private var events: Set<String> = []
    private var version = 0
    private var greeting: JSONValue?

    /// A recorded command that was not refused as unknown.
    mutating func saw(_ command: FakeCommand) {
        if arguments[command.name] == nil { order.append(command.name) }
        arguments[command.name, default: []].formUnion(command.arguments.keys)
    }

    /// A recorded message of QEMU's.
    mutating func saw(_ message: JSONValue) {
        if let name = message["event"]?.string { events.insert(name) }
        guard let found = message["QMP"] else { return }
        greeting = found
        let numbers = found["version"]?["qemu"]
        version =
            Int(clamping: numbers?["major"]?.int64 ?? 0) &* 1000 &+ Int(clamping: numbers?["minor"]?.int64 ?? 0)
    }

    /// The greeting of a QEMU whose recording began later, as far as its messages tell it.
    static func greeting(of records: [TraceRecord]) -> JSONValue {
        var version: JSONValue = ["qemu": ["micro": 0, "minor": 0, "major": 0], "package": ""]
        var hasOutOfBand = false
        for record in records {
            switch record.member {
            case .recv(let message):
                // Only query-version returns this.
                if let found = message["return"], found["qemu"]?["major"]?.int64 != nil { version = found }
            case .send(let message):
                if message["exec-oob"] != nil { hasOutOfBand = true }
            default: break
            }
        }
        return ["QMP": ["version": version, "capabilities": hasOutOfBand ? ["oob"] : []]]
    }

    /// The value that a query about QEMU itself returns; nil if nothing is known.
    func answer(to name: String) -> JSONValue? {
        switch name {
        case "query-version": greeting?["version"]
        case "query-commands": .array(commands.map { ["name": .string($0.name)] })
        case "query-qmp-schema": schema
        default: nil
        }
    }

    /// The recorded ones and the ones that every QEMU of the version has.
    private var commands: [(name: String, arguments: Set<String>)] {
        var known = arguments
        var names = order
        func add(_ name: String, _ members: Set<String>) {
            if known[name] == nil { names.append(name) }
            known[name, default: []].formUnion(members)
        }
        add("qmp_capabilities", ["enable"])
        add("query-commands", [])
        add("query-version", [])
        add("query-qmp-schema", [])
        add("migrate-incoming", version >= 9001 ? ["uri", "exit-on-error"] : ["uri"])
        if version >= 6000 { add("yank", ["instances"]) }
        return names.map { ($0, known[$0] ?? []) }
    }

    /// As QEMU has it: types by numbers. All of them are strings, as nothing tells.
    private var schema: JSONValue {
        var entities: [JSONValue] = []
        var types: [JSONValue] = [["name": "str", "meta-type": "builtin", "json-type": "string"]]
        func object(_ members: Set<String>) -> JSONValue {
            let name = JSONValue.string(String(types.count))
            types.append([
                "name": name, "meta-type": "object",
                "members": .array(members.sorted().map { ["name": .string($0), "type": "str", "default": nil] }),
            ])
            return name
        }
        for command in commands {
            entities.append([
                "name": .string(command.name), "meta-type": "command", "arg-type": object(command.arguments),
                "ret-type": object([]),
            ])
        }
        for event in events.sorted() {
            entities.append(["name": .string(event), "meta-type": "event", "arg-type": object([])])
        }
        var words = ["none", "setup", "active", "postcopy-active", "completed", "failed", "cancelled"]
        if version >= 10_002 { words.append("postcopy-device") }
        types.append([
            "name": .string(String(types.count)), "meta-type": "enum", "values": .array(words.map { .string($0) }),
        ])
        return .array(entities + types)
    }
}
