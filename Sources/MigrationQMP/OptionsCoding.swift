public import JSONC
import Migration
public import Phases
import PolicyDocuments

extension MigrateOptions {
    /// The options as a document, every wait included: a later version may have other usual ones.
    public var json: JSONValue {
        var object: JSONObject = ["attempt": .string(attempt), "uri": .string(uri)]
        var values: JSONObject = [:]
        for parameter in parameters { values[parameter.name] = parameter.value.json }
        object["parameters"] = .object(values)
        if let connectURI { object["connect-uri"] = .string(connectURI) }
        if !capabilities.isEmpty { object["capabilities"] = .array(capabilities.map { .string($0) }) }
        object["paused"] = .bool(isPausedIntended)
        object["keep-source"] = .bool(keepsSource)
        if let timeoutMilliseconds { object["timeout-milliseconds"] = .integer(Int64(timeoutMilliseconds)) }
        object["timeout-action"] = .string(timeoutAction.rawValue)
        if let hostName { object["host-name"] = .string(hostName) }
        if let hostUUID { object["host-uuid"] = .string(hostUUID) }
        object["protocol"] = .integer(Int64(protocolVersion.rawValue))
        object["one-host"] = .bool(isOneHost)
        if let lockManager {
            object["lock-manager"] = [
                "driver": .string(lockManager.driver), "uses-state": .bool(lockManager.usesState),
            ]
        }
        object["mode"] = .string(mode.rawValue)
        object["change-protection"] = .bool(hasChangeProtection)
        object["offline"] = .bool(isOffline)
        if let postcopy {
            var wish: JSONObject = [:]
            if let passes = postcopy.afterPasses { wish["after-passes"] = .integer(Int64(passes)) }
            if let time = postcopy.afterMilliseconds { wish["after-milliseconds"] = .integer(Int64(time)) }
            if let bytes = postcopy.bytesPerSecond { wish["bytes-per-second"] = .integer(bytes) }
            object["postcopy"] = .object(wish)
        }
        if let tls { object["tls"] = tls.json }
        if let storage { object["storage"] = storage.json }
        if let file { object["file"] = file.json }
        if isHeld { object["hold"] = true }
        if isAbortedOnError { object["abort-on-error"] = true }
        if hasHook { object["hook"] = true }
        object["postcopy-resume"] = .bool(isPostcopyResume)
        if let policy, let document = try? JSONValue(parsing: Array(policy.document.utf8)) {
            object["policy"] = ["document": document, "observe": .bool(policy.isObserving)]
        }
        var waits: JSONObject = [:]
        for deadline in Deadline.allCases { waits[deadline.rawValue] = .integer(Int64(deadlines[deadline])) }
        object["deadlines"] = .object(waits)
        return .object(object)
    }

    /// Options from a document. What it does not say is as usual; waits of another version are ignored.
    ///
    /// - Throws: `DocumentError` if it is none, or has a word that this version does not know.
    public init(json: JSONValue) throws(DocumentError) {
        let reader = try DocumentReader(json, path: "options")
        self.init(attempt: try reader.string("attempt"), uri: try reader.string("uri"))
        parameters = (reader.object["parameters"]?.object ?? [:]).map { Setting($0.key, SettingValue($0.value)) }
        connectURI = reader.object["connect-uri"]?.string
        capabilities = (reader.object["capabilities"]?.array ?? []).compactMap(\.string)
        isPausedIntended = reader.object["paused"]?.bool ?? isPausedIntended
        keepsSource = reader.object["keep-source"]?.bool ?? keepsSource
        timeoutMilliseconds = reader.object["timeout-milliseconds"]?.int64.map { Int(clamping: $0) }
        timeoutAction = try reader.word("timeout-action", timeoutAction) { TimeoutAction(rawValue: $0) }
        hostName = reader.object["host-name"]?.string
        hostUUID = reader.object["host-uuid"]?.string
        if let number = reader.object["protocol"] {
            guard let version = number.int64.flatMap({ ProtocolVersion(rawValue: Int(clamping: $0)) }) else {
                throw DocumentError("options.protocol: this version does not know \(number.text())")
            }
            protocolVersion = version
        }
        // One process has always driven both QEMUs on its own host, also before that was an option.
        isOneHost = reader.object["one-host"]?.bool ?? true
        if let manager = reader.object["lock-manager"] {
            let reader = try DocumentReader(manager, path: "options.lock-manager")
            lockManager = LockManagerKind(
                driver: try reader.string("driver"), usesState: reader.object["uses-state"]?.bool ?? false)
        }
        mode = try reader.word("mode", mode) { MigrationMode(rawValue: $0) }
        hasChangeProtection = reader.object["change-protection"]?.bool ?? hasChangeProtection
        isOffline = reader.object["offline"]?.bool ?? isOffline
        if let wish = reader.object["postcopy"] {
            postcopy = PostcopyWish(
                // Earlier versions knew the first pass only.
                afterPasses: wish["after-passes"]?.int64.map { Int(clamping: $0) }
                    ?? (wish["after-first-pass"]?.bool == true ? 1 : nil),
                afterMilliseconds: wish["after-milliseconds"]?.int64.map { Int(clamping: $0) },
                bytesPerSecond: wish["bytes-per-second"]?.int64)
        }
        if let wish = reader.object["file"] { file = try FileWish(json: wish) }
        if let wish = reader.object["tls"] { tls = try TLSWish(json: wish) }
        if let wish = reader.object["storage"] { storage = try StorageWish(json: wish, path: "options.storage") }
        isHeld = reader.object["hold"]?.bool ?? isHeld
        isAbortedOnError = reader.object["abort-on-error"]?.bool ?? isAbortedOnError
        hasHook = reader.object["hook"]?.bool ?? hasHook
        isPostcopyResume = reader.object["postcopy-resume"]?.bool ?? isPostcopyResume
        if let wish = reader.object["policy"] {
            do throws(PolicyDocumentError) {
                policy = try PolicyWish(
                    document: wish["document"]?.text() ?? "", file: "options.policy.document",
                    isObserving: wish["observe"]?.bool ?? false)
            } catch {
                throw DocumentError(error.description)
            }
        }
        for (name, value) in reader.object["deadlines"]?.object ?? [:] {
            guard let deadline = Deadline(rawValue: name), let milliseconds = value.int64 else { continue }
            deadlines.milliseconds[deadline] = Int(clamping: milliseconds)
        }
    }
}

extension FileWish {
    /// The wish as a document.
    var json: JSONValue {
        var object: JSONObject = ["path": .string(path)]
        if isDirect { object["direct"] = true }
        if let description { object["description"] = description.json }
        if let wasRunning { object["running"] = .bool(wasRunning) }
        return .object(object)
    }

    init(json: JSONValue) throws(DocumentError) {
        let reader = try DocumentReader(json, path: "options.file")
        self.init(path: try reader.string("path"))
        isDirect = try reader.optionalBool("direct") ?? false
        if let value = reader.object["description"] {
            description = try DomainDescription(json: value, path: "options.file.description")
        }
        wasRunning = try reader.optionalBool("running")
    }
}

extension TLSWish {
    /// The wish as a document; the directories hold what is secret, and their names are not.
    var json: JSONValue {
        var object: JSONObject = [
            "kind": .string(kind.rawValue), "source-dir": .string(sourceDirectory),
            "destination-dir": .string(destinationDirectory),
        ]
        if let hostname { object["hostname"] = .string(hostname) }
        if !allowedNames.isEmpty { object["allowed-names"] = .array(allowedNames.map { .string($0) }) }
        return .object(object)
    }

    init(json: JSONValue) throws(DocumentError) {
        let reader = try DocumentReader(json, path: "options.tls")
        self.init(
            try reader.word("kind", .x509) { Kind(rawValue: $0) }, directory: try reader.string("source-dir"))
        destinationDirectory = try reader.string("destination-dir")
        hostname = try reader.optionalString("hostname")
        allowedNames = try reader.strings("allowed-names")
    }
}

extension DocumentReader {
    /// A member that holds one of a few words; `usual` where it is missing.
    func word<Word>(_ key: String, _ usual: Word, _ make: (String) -> Word?) throws(DocumentError) -> Word {
        guard let value = object[key] else { return usual }
        guard let word = value.string.flatMap(make) else {
            throw DocumentError("\(path).\(key): this version does not know \(value.text())")
        }
        return word
    }
}

extension Survey {
    /// The value of a `survey` record.
    public var json: JSONValue {
        [
            "description": description.json,
            "features": [
                "exit-on-error": .bool(features.hasExitOnError), "yank": .bool(features.hasYank),
                "out-of-band": .bool(features.hasOutOfBand), "postcopy-device": .bool(features.hasPostcopyDevice),
                "nested-properties": .bool(features.nestsObjectProperties), "channels": .bool(features.hasChannels),
                "files": .bool(features.hasFiles),
            ],
            "process-watched": .bool(isProcessWatched),
        ]
    }

    /// A survey from the value of a `survey` record.
    ///
    /// - Throws: `DocumentError` if it is none.
    public init(json: JSONValue) throws(DocumentError) {
        let reader = try DocumentReader(json, path: "survey")
        let features = reader.object["features"]
        func has(_ key: String) -> Bool { features?[key]?.bool ?? false }
        self.init(
            description: try DomainDescription(
                json: reader.object["description"] ?? .null, path: "survey.description"),
            features: QEMUFeatures(
                hasExitOnError: has("exit-on-error"), hasYank: has("yank"), hasOutOfBand: has("out-of-band"),
                hasPostcopyDevice: has("postcopy-device"), nestsObjectProperties: has("nested-properties"),
                hasChannels: has("channels"), hasFiles: has("files")),
            isProcessWatched: reader.object["process-watched"]?.bool ?? false)
    }
}

extension AttemptResult {
    /// The value of a `result` record.
    public var json: JSONValue {
        var object: JSONObject = [
            "outcome": .string(word.rawValue), "why": .string(verdict.rawValue), "guest": .string(place.rawValue),
            "cancel": .string(cancel.rawValue),
        ]
        if let isRunning { object["running"] = .bool(isRunning) }
        if let error { object["error"] = .string(error) }
        if !problems.isEmpty { object["problems"] = .array(problems.map { .string($0) }) }
        func add(_ key: String, _ value: Int64?) { if let value { object[key] = .integer(value) } }
        add("totalMilliseconds", statistics.totalMilliseconds)
        add("downtimeMilliseconds", statistics.downtimeMilliseconds)
        add("transferredBytes", statistics.transferredBytes)
        add("pauseMicroseconds", pauseMicroseconds)
        add("ownGapMicroseconds", ownGapMicroseconds)
        add("postcopyBlocktimeMilliseconds", postcopyBlocktimeMilliseconds)
        return .object(object)
    }
}
