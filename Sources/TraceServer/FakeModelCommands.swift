import JSONC

extension FakeModel {
    private static let outOfBandCommands: Set<String> = ["migrate-pause", "migrate-recover", "yank", "query-yank"]
    private static let runningStatuses: Set<String> = [
        "setup", "wait-unplug", "active", "pre-switchover", "device", "cancelling", "failing",
    ]

    var isMigrating: Bool { outgoingStatus.map { Self.runningStatuses.contains($0) } ?? false }

    mutating func dispatch(_ command: FakeCommand) {
        if command.isOutOfBand, !Self.outOfBandCommands.contains(command.name) {
            return refuse(command, "The command \(command.name) does not support OOB")
        }
        switch command.name {
        case "query-status":
            var status: JSONObject = ["status": .string(runState)]
            if release.hasSinglestep { status["singlestep"] = false }
            status["running"] = .bool(runState == "running")
            answer(command, .object(status))
        case "query-migrate": answer(command, .object(migrationInfo()))
        case "query-migrate-capabilities":
            answer(
                command,
                .array(
                    release.capabilities.map {
                        ["state": .bool(enabledCapabilities.contains($0)), "capability": .string($0)]
                    }))
        case "migrate-set-capabilities": setCapabilities(command)
        case "query-migrate-parameters": answer(command, .object(parameters))
        case "migrate-set-parameters": setParameters(command)
        case "migrate-incoming": migrateIncoming(command)
        case "migrate": migrate(command)
        case "migrate-continue": migrateContinue(command)
        case "migrate_cancel": migrateCancel(command)
        case "migrate-start-postcopy":
            refuse(command, "Enable postcopy with migrate_set_capability before the start of migration")
        case "migrate-pause": refuse(command, "migrate-pause is currently only supported during postcopy-active state")
        case "migrate-recover": refuse(command, "Migrate recover can only be run when postcopy is paused.")
        case "query-yank":
            var instances: [JSONValue] = [["type": "chardev", "id": "compat_monitor0"]]
            if hasResources { instances.append(["type": "migration"]) }
            answer(command, .array(instances))
        case "yank": yank(command)
        case "stop": stop(command)
        case "cont": cont(command)
        case "quit":
            answer(command)
            event("SHUTDOWN", ["guest": false, "reason": "host-qmp-quit"])
            end(0)
        default:
            if let value = machineAnswer(command) {
                answer(command, value)
            } else if isMachineQuery(command) {
                refuse(
                    command, "Device '\(command.arguments["path"]?.string ?? "")' not found",
                    errorClass: "DeviceNotFound")
            } else {
                refuse(command, "The command \(command.name) has not been found", errorClass: "CommandNotFound")
            }
        }
    }

    private mutating func setCapabilities(_ command: FakeCommand) {
        guard !isMigrating else { return refuse(command, "There's a migration process in progress") }
        guard let list = command.arguments["capabilities"]?.array else {
            return refuse(command, "Parameter 'capabilities' is missing")
        }
        var result = enabledCapabilities
        for entry in list {
            guard let name = entry["capability"]?.string, let isOn = entry["state"]?.bool else {
                return refuse(command, "Invalid parameter type for 'capabilities'")
            }
            guard release.capabilities.contains(name) else {
                return refuse(command, "Parameter 'capability' does not accept value '\(name)'")
            }
            if isOn { result.insert(name) } else { result.remove(name) }
        }
        enabledCapabilities = result
        answer(command)
    }

    private mutating func setParameters(_ command: FakeCommand) {
        for (name, _) in command.arguments where parameters[name] == nil {
            return refuse(command, "Parameter '\(name)' is unexpected")
        }
        for (name, value) in command.arguments { parameters[name] = value }
        answer(command)
    }

    private mutating func stop(_ command: FakeCommand) {
        switch runState {
        case "inmigrate": startsWhenLoaded = false
        case "running":
            runState = "paused"
            event("STOP")
        default: break
        }
        answer(command)
    }

    private mutating func cont(_ command: FakeCommand) {
        switch runState {
        case "inmigrate": startsWhenLoaded = true
        case "finish-migrate": return refuse(command, "Migration is not finalized yet")
        case "running": break
        default: runGuest()
        }
        answer(command)
    }

    private func migrationInfo() -> JSONObject {
        var info: JSONObject = [:]
        if let listeningURI, let address = Self.socketAddress(listeningURI) {
            info["socket-address"] = .array([address])
        }
        if !options.blockers.isEmpty { info["blocked-reasons"] = .array(options.blockers.map { .string($0) }) }
        guard let status = outgoingStatus ?? incomingStatus else { return info }
        info["status"] = .string(status)
        if let errorDesc, status == "failed" || release.alwaysHasErrorDesc,
            outgoingStatus != nil || release.alwaysHasErrorDesc
        {
            info["error-desc"] = .string(errorDesc)
        }
        guard outgoingStatus != nil,
            ["active", "pre-switchover", "device", "completed", "cancelling", "failing"].contains(status)
        else { return info }
        let end = finishedAt ?? now
        info["total-time"] = .integer((end - startedAt) / 1000)
        info["setup-time"] = 0
        if status == "completed" {
            info["downtime"] = .integer((end - (stoppedAt ?? end)) / 1000)
        } else {
            info["expected-downtime"] = parameters["downtime-limit"] ?? 300
        }
        let isDone = status == "completed" || status == "device"
        let remaining = isDone ? 0 : options.memoryBytes / (passNumber + 1)
        info["ram"] = [
            "total": .integer(options.memoryBytes), "remaining": .integer(remaining),
            "transferred": .integer(options.memoryBytes - remaining), "dirty-sync-count": .integer(passNumber),
            "page-size": 4096, "duplicate": 100, "normal": .integer((options.memoryBytes - remaining) / 4096),
            "normal-bytes": .integer(options.memoryBytes - remaining), "dirty-pages-rate": 0, "mbps": 5031.55,
            "postcopy-requests": 0, "multifd-bytes": 0, "pages-per-second": 500_000,
        ]
        return info
    }

    /// An address as QEMU tells it; `nil` for what is no address of a socket.
    static func socketAddress(_ uri: String) -> JSONValue? {
        if uri.hasPrefix("unix:") { return ["type": "unix", "path": .string(String(uri.dropFirst(5)))] }
        guard let colon = uri.lastIndex(of: ":") else { return nil }
        if uri.hasPrefix("vsock:"), let start = uri.firstIndex(of: ":"), start < colon {
            return [
                "type": "vsock", "cid": .string(String(uri[uri.index(after: start)..<colon])),
                "port": .string(String(uri[uri.index(after: colon)...])),
            ]
        }
        guard uri.hasPrefix("tcp:") else { return nil }
        let host = uri[uri.index(uri.startIndex, offsetBy: 4)..<colon]
        return [
            "type": "inet", "host": .string(String(host)), "port": .string(String(uri[uri.index(after: colon)...])),
            "ipv4": true,
        ]
    }
}
