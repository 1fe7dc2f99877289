public import JSONC
import Migration
public import Phases

extension Cookie {
    private static let knownMembers: Set<String> = [
        "godwit-cookie", "attempt", "name", "uuid", "host-uuid", "host-name", "capabilities", "description", "uri",
        "run-intended", "success", "statistics", "mandatory",
    ]

    /// Mandatory parts that this version understands.
    private static let knownMandatory: Set<String> = ["description"]

    /// The cookie as a document. Parts of a later version that came with it go on with it.
    public var json: JSONValue {
        var object: JSONObject = [
            "godwit-cookie": .integer(Int64(Cookie.currentVersion)), "attempt": .string(attempt),
        ]
        if let name { object["name"] = .string(name) }
        if let uuid { object["uuid"] = .string(uuid) }
        if let hostUUID { object["host-uuid"] = .string(hostUUID) }
        if let hostName { object["host-name"] = .string(hostName) }
        if !capabilities.isEmpty { object["capabilities"] = .array(capabilities.map { .string($0) }) }
        if let description {
            object["description"] = description.json
            object["mandatory"] = .array(["description"])
        }
        if let uri { object["uri"] = .string(uri) }
        if let isRunIntended { object["run-intended"] = .bool(isRunIntended) }
        if let isSuccess { object["success"] = .bool(isSuccess) }
        if let statistics {
            var numbers: JSONObject = [:]
            if let total = statistics.totalMilliseconds { numbers["total-milliseconds"] = .integer(total) }
            if let downtime = statistics.downtimeMilliseconds { numbers["downtime-milliseconds"] = .integer(downtime) }
            if let bytes = statistics.transferredBytes { numbers["transferred-bytes"] = .integer(bytes) }
            object["statistics"] = .object(numbers)
        }
        for part in unknown {
            if let value = try? JSONValue(parsing: part.text) { object[part.name] = value }
        }
        return .object(object)
    }

    /// A cookie from a document.
    ///
    /// - Throws: `DocumentError` if it is no cookie, misses its attempt, or requires a part that this version does not know.
    public init(json: JSONValue) throws(DocumentError) {
        let reader = try DocumentReader(json, path: "cookie")
        let version = try reader.int64("godwit-cookie")
        guard version >= 1 else { throw DocumentError("cookie.godwit-cookie: no version \(version)") }
        self.init(attempt: try reader.string("attempt"))
        mandatory = try reader.strings("mandatory").filter { !Self.knownMandatory.contains($0) }
        if let first = mandatory.first {
            throw DocumentError("cookie.mandatory: this version does not know \(first) and must not ignore it")
        }
        name = reader.object["name"]?.string
        uuid = reader.object["uuid"]?.string
        hostUUID = reader.object["host-uuid"]?.string
        hostName = reader.object["host-name"]?.string
        capabilities = try reader.strings("capabilities")
        if let value = reader.object["description"] {
            description = try DomainDescription(json: value, path: "cookie.description")
        }
        uri = reader.object["uri"]?.string
        isRunIntended = reader.object["run-intended"]?.bool
        isSuccess = reader.object["success"]?.bool
        if let value = reader.object["statistics"] {
            let numbers = try DocumentReader(value, path: "cookie.statistics").object
            statistics = CookieStatistics(
                totalMilliseconds: numbers["total-milliseconds"]?.int64,
                downtimeMilliseconds: numbers["downtime-milliseconds"]?.int64,
                transferredBytes: numbers["transferred-bytes"]?.int64)
        }
        unknown = reader.object.filter { !Self.knownMembers.contains($0.key) }
            .map { UnknownCookiePart(name: $0.key, text: $0.value.text()) }
    }
}
