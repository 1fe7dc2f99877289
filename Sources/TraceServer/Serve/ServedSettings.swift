import JSONC

/// What a client has set in a QEMU that is played: whoever asks is shown it, as QEMU would, whatever was recorded.
struct ServedSettings: Sendable {
    private var parameters: JSONObject = [:]
    private var capabilities: [String: Bool] = [:]
    private var order: [String] = []
    /// More names than any QEMU has.
    private static let maximumNames = 256

    /// A command was answered with success.
    mutating func executed(_ command: FakeCommand) {
        switch command.name {
        case "migrate-set-parameters":
            // Null takes a name away, and QEMU shows an empty one then.
            for (name, value) in command.arguments
            where parameters[name] != nil || parameters.count < Self.maximumNames {
                parameters[name] = value.isNull ? "" : value
            }
        case "migrate-set-capabilities":
            for entry in command.arguments["capabilities"]?.array ?? [] {
                guard let name = entry["capability"]?.string, let state = entry["state"]?.bool,
                    capabilities[name] != nil || order.count < Self.maximumNames
                else { continue }
                if capabilities.updateValue(state, forKey: name) == nil { order.append(name) }
            }
        default: break
        }
    }

    /// What a query returns; `recorded` is what it returned then, nil if it was not recorded.
    ///
    /// - Returns: Nil if nothing is known about it.
    func shown(by query: String, recorded: JSONValue?) -> JSONValue? {
        switch query {
        case "query-migrate-parameters" where !parameters.isEmpty:
            var all = recorded?.object ?? [:]
            for (name, value) in parameters { all[name] = value }
            return .object(all)
        case "query-migrate-capabilities" where !capabilities.isEmpty:
            var left = order
            var all = (recorded?.array ?? []).map { entry -> JSONValue in
                guard let name = entry["capability"]?.string, let state = capabilities[name] else { return entry }
                left.removeAll { $0 == name }
                return Self.entry(name, state)
            }
            all += left.map { Self.entry($0, capabilities[$0] ?? false) }
            return .array(all)
        default: return recorded
        }
    }

    private static func entry(_ name: String, _ state: Bool) -> JSONValue {
        ["capability": .string(name), "state": .bool(state)]
    }
}
