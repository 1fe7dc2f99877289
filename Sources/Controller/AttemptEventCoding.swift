public import JSONC
public import Migration
import MigrationQMP
public import Phases

extension AttemptEvent {
    /// A short name in lower case: `status`, `progress`, ...
    public var name: String {
        switch self {
        case .started: "started"
        case .status: "status"
        case .phase: "phase"
        case .sample: "progress"
        case .disks: "disks"
        case .listening: "listening"
        case .policy: "policy"
        case .statistics: "statistics"
        case .notice: "notice"
        case .finished: "finished"
        }
    }

    /// What it tells, with the time in seconds as `t`.
    public var json: JSONObject {
        switch self {
        case .started(let attempt, let journal):
            return ["attempt": .string(attempt), "journal": .string(journal)]
        case .status(let status, let reasons, let time):
            var object = status.json(reasons: []).object ?? [:]
            object["reason"] = .array(
                reasons.map {
                    .object([
                        "seq": .integer(Int64($0.sequence)), "side": .string($0.side.rawValue),
                        "what": .string($0.what),
                    ])
                })
            return Self.stamped(time, object)
        case .phase(let move, let time):
            var object = move.json.object ?? [:]
            object["side"] = .string(move.side.rawValue)
            return Self.stamped(time, object)
        case .sample(let sample, let time): return Self.stamped(time, sample.json)
        case .disks(let progress, let time):
            return Self.stamped(time, progress.json)
        case .listening(let uri, let time): return Self.stamped(time, ["uri": .string(uri)])
        case .policy(let decision, let outcome, let time):
            return Self.stamped(time, decision.json(outcome).object ?? [:])
        case .statistics(let statistics, let time): return Self.stamped(time, statistics.json)
        case .notice(let text, let time): return Self.stamped(time, ["text": .string(text)])
        case .finished(let result, let time): return Self.stamped(time, result.json.object ?? [:])
        }
    }

    private static func stamped(_ time: Instant, _ members: JSONObject) -> JSONObject {
        var object: JSONObject = ["t": .init(Double(time.microseconds) / 1e6)]
        for (key, value) in members { object[key] = value }
        return object
    }
}

extension MigrationSample {
    /// The numbers that are there.
    public var json: JSONObject {
        var object: JSONObject = [:]
        func add(_ key: String, _ value: Int64?) { if let value { object[key] = .integer(value) } }
        if let status { object["qemu"] = .string(status.rawValue) }
        add("iteration", iteration)
        add("remainingBytes", remainingBytes)
        add("totalBytes", totalBytes)
        add("transferredBytes", transferredBytes)
        add("dirtyPagesPerSecond", dirtyPagesPerSecond)
        add("pageBytes", pageBytes)
        add("expectedDowntimeMilliseconds", expectedDowntimeMilliseconds)
        add("totalMilliseconds", totalMilliseconds)
        add("downtimeMilliseconds", downtimeMilliseconds)
        add("throttlePercentage", throttlePercentage)
        if let megabitsPerSecond { object["megabitsPerSecond"] = .init(megabitsPerSecond) }
        return object
    }

    /// Numbers out of such a document; what it does not say is unknown.
    public init(json: JSONValue) {
        self.init(status: json["qemu"]?.string.map { StatusWord(rawValue: $0) })
        iteration = json["iteration"]?.int64
        remainingBytes = json["remainingBytes"]?.int64
        totalBytes = json["totalBytes"]?.int64
        transferredBytes = json["transferredBytes"]?.int64
        dirtyPagesPerSecond = json["dirtyPagesPerSecond"]?.int64
        pageBytes = json["pageBytes"]?.int64
        expectedDowntimeMilliseconds = json["expectedDowntimeMilliseconds"]?.int64
        totalMilliseconds = json["totalMilliseconds"]?.int64
        downtimeMilliseconds = json["downtimeMilliseconds"]?.int64
        throttlePercentage = json["throttlePercentage"]?.int64
        megabitsPerSecond = json["megabitsPerSecond"]?.double
    }
}

extension StorageProgress {
    /// The numbers.
    public var json: JSONObject {
        [
            "disks": .integer(Int64(disks)), "ready": .integer(Int64(ready)), "copiedBytes": .integer(copiedBytes),
            "totalBytes": .integer(totalBytes),
        ]
    }

    /// Numbers out of such a document; `nil` if it says nothing of disks.
    public init?(json: JSONValue) {
        guard let disks = json["disks"]?.int64, let total = json["totalBytes"]?.int64 else { return nil }
        self.init(
            disks: Int(clamping: disks), ready: Int(clamping: json["ready"]?.int64 ?? 0),
            copiedBytes: json["copiedBytes"]?.int64 ?? 0, totalBytes: total)
    }
}
