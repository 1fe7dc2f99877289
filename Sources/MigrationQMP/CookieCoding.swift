public import JSONC
import Migration
public import Phases

extension Cookie {
    private static let knownMembers: Set<String> = [
        "godwit-cookie", "attempt", "name", "uuid", "host-uuid", "host-name", "capabilities", "automatic-capabilities",
        "description", "lease", "storage", "nbd-port", "bitmaps", "network", "graphics", "uri", "run-intended",
        "success", "recovery", "statistics", "mandatory",
    ]

    /// The cookie as a document. Parts of a later version that came with it go on with it.
    public var json: JSONValue {
        var object: JSONObject = [
            "godwit-cookie": .integer(Int64(Cookie.currentVersion)), "attempt": .string(attempt),
        ]
        object["name"] = name.map { .string($0) }
        object["uuid"] = uuid.map { .string($0) }
        object["host-uuid"] = hostUUID.map { .string($0) }
        object["host-name"] = hostName.map { .string($0) }
        object["capabilities"] = .list(capabilities)
        object["automatic-capabilities"] = .list(automaticCapabilities)
        object["description"] = description?.json
        object["mandatory"] = .list(mandatoryNames)
        object["lease"] = lease?.json
        object["storage"] = .list(storage.map(\.json))
        object["nbd-port"] = nbdPort.map { .integer(Int64($0)) }
        object["bitmaps"] = .list(bitmaps.map(\.json))
        object["network"] = .list(network.map(\.json))
        object["graphics"] = graphics?.json
        object["uri"] = uri.map { .string($0) }
        object["run-intended"] = isRunIntended.map { .bool($0) }
        object["success"] = isSuccess.map { .bool($0) }
        object["recovery"] = recovery.map { .integer(Int64($0)) }
        object["statistics"] = statistics?.json
        for part in unknown {
            if let value = try? JSONValue(parsing: part.text) { object[part.name] = value }
        }
        return .object(object)
    }

    /// A cookie from the bytes of a peer, which are refused before they are parsed if there are too many of them.
    ///
    /// - Throws: `DocumentError` that says where the document is wrong.
    public init(parsing bytes: [UInt8], limits: CookieLimits = CookieLimits()) throws(DocumentError) {
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(
                parsing: bytes, limits: JSONLimits(maximumDepth: limits.depth, maximumBytes: limits.documentBytes))
        } catch {
            throw DocumentError("cookie: \(error)")
        }
        try self.init(json: value)
        do throws(CookieError) {
            try CookieCheck(limits: limits).checkBounds(self)
        } catch {
            throw DocumentError(error.description)
        }
    }

    /// A cookie from a document.
    ///
    /// - Throws: `DocumentError` if it is no cookie, misses its attempt, or requires a part that this version does not
    ///   know.
    public init(json: JSONValue) throws(DocumentError) {
        let reader = try DocumentReader(json, path: "cookie")
        let version = try reader.int64("godwit-cookie")
        guard version >= 1 else { throw DocumentError("cookie.godwit-cookie: no version \(version)") }
        self.init(attempt: try reader.string("attempt"))
        let required = try reader.strings("mandatory")
        for name in required where CookiePart(rawValue: name) == nil {
            throw DocumentError("cookie.mandatory: this version does not know \(name) and must not ignore it")
        }
        name = try reader.optionalString("name")
        uuid = try reader.optionalString("uuid")
        hostUUID = try reader.optionalString("host-uuid")
        hostName = try reader.optionalString("host-name")
        capabilities = try reader.strings("capabilities")
        automaticCapabilities = try reader.strings("automatic-capabilities")
        if let value = reader.object["description"] {
            description = try DomainDescription(json: value, path: "cookie.description")
        }
        if let value = reader.object["lease"] { lease = try LeaseState(json: value, path: "cookie.lease") }
        storage = try reader.objects("storage") { (disk) throws(DocumentError) in
            CookieDisk(target: try disk.string("target"), capacityBytes: try disk.int64("capacity-bytes"))
        }
        nbdPort = try reader.optionalInt("nbd-port")
        bitmaps = try reader.objects("bitmaps") { (bitmap) throws(DocumentError) in
            CookieBitmap(
                target: try bitmap.string("target"), name: try bitmap.string("name"), alias: try bitmap.string("alias"))
        }
        network = try reader.objects("network") { (interface) throws(DocumentError) in
            CookieInterface(
                index: try interface.int("index"), portType: try interface.string("port-type"),
                portData: try interface.optionalString("port-data"))
        }
        if let value = reader.object["graphics"] {
            graphics = try CookieGraphics(json: value, path: "cookie.graphics")
        }
        uri = try reader.optionalString("uri")
        isRunIntended = try reader.optionalBool("run-intended")
        isSuccess = try reader.optionalBool("success")
        recovery = try reader.optionalInt("recovery")
        if let value = reader.object["statistics"] {
            statistics = try CookieStatistics(json: value, path: "cookie.statistics")
        }
        for name in required {
            guard let part = CookiePart(rawValue: name), !has(part) else { continue }
            throw DocumentError("cookie.\(name): is mandatory and missing")
        }
        unknown = reader.object.filter { !Self.knownMembers.contains($0.key) }
            .map { UnknownCookiePart(name: $0.key, text: $0.value.text()) }
    }
}

extension JSONValue {
    /// A list, or nothing if there is nothing in it.
    fileprivate static func list(_ values: [JSONValue]) -> JSONValue? { values.isEmpty ? nil : .array(values) }

    fileprivate static func list(_ texts: [String]) -> JSONValue? { list(texts.map { .string($0) }) }
}

extension LeaseState {
    var json: JSONValue {
        var object: JSONObject = ["driver": .string(driver)]
        object["state"] = state.map { .string($0) }
        return .object(object)
    }

    init(json: JSONValue, path: String) throws(DocumentError) {
        let reader = try DocumentReader(json, path: path)
        self.init(driver: try reader.string("driver"), state: try reader.optionalString("state"))
    }
}

extension CookieDisk {
    fileprivate var json: JSONValue { ["target": .string(target), "capacity-bytes": .integer(capacityBytes)] }
}

extension CookieBitmap {
    fileprivate var json: JSONValue { ["target": .string(target), "name": .string(name), "alias": .string(alias)] }
}

extension CookieInterface {
    fileprivate var json: JSONValue {
        var object: JSONObject = ["index": .integer(Int64(index)), "port-type": .string(portType)]
        object["port-data"] = portData.map { .string($0) }
        return .object(object)
    }
}

extension CookieGraphics {
    fileprivate var json: JSONValue {
        var object: JSONObject = ["type": .string(type), "address": .string(address)]
        object["port"] = port.map { .integer(Int64($0)) }
        object["tls-port"] = tlsPort.map { .integer(Int64($0)) }
        object["subject"] = subject.map { .string($0) }
        return .object(object)
    }

    fileprivate init(json: JSONValue, path: String) throws(DocumentError) {
        let reader = try DocumentReader(json, path: path)
        self.init(
            type: try reader.string("type"), address: try reader.string("address"),
            port: try reader.optionalInt("port"), tlsPort: try reader.optionalInt("tls-port"),
            subject: try reader.optionalString("subject"))
    }
}

extension CookieStatistics {
    fileprivate var json: JSONValue {
        var object: JSONObject = [:]
        object["total-milliseconds"] = totalMilliseconds.map { .integer($0) }
        object["downtime-milliseconds"] = downtimeMilliseconds.map { .integer($0) }
        object["transferred-bytes"] = transferredBytes.map { .integer($0) }
        object["started-microseconds"] = startedMicroseconds.map { .integer($0) }
        object["stopped-microseconds"] = stoppedMicroseconds.map { .integer($0) }
        object["sent-microseconds"] = sentMicroseconds.map { .integer($0) }
        return .object(object)
    }

    fileprivate init(json: JSONValue, path: String) throws(DocumentError) {
        let reader = try DocumentReader(json, path: path)
        self.init(
            totalMilliseconds: try reader.optionalInt64("total-milliseconds"),
            downtimeMilliseconds: try reader.optionalInt64("downtime-milliseconds"),
            transferredBytes: try reader.optionalInt64("transferred-bytes"),
            startedMicroseconds: try reader.optionalInt64("started-microseconds"),
            stoppedMicroseconds: try reader.optionalInt64("stopped-microseconds"),
            sentMicroseconds: try reader.optionalInt64("sent-microseconds"))
    }
}
