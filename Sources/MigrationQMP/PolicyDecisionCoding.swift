public import JSONC
import Migration
public import Phases
public import Policy
public import PolicyDocuments

extension PolicyWish {
    /// A policy from its document.
    ///
    /// - Parameters:
    ///   - document: The JSON text.
    ///   - file: What it is called in errors.
    ///   - isObserving: Whether it only notes what it would have done.
    /// - Throws: The first thing that is wrong, with its member, line and column.
    public init(document: String, file: String, isObserving: Bool) throws(PolicyDocumentError) {
        let policy = try ConvergencePolicy(document: Array(document.utf8), file: file)
        // As it will be read back from a journal.
        let text = (try? JSONValue(parsing: Array(document.utf8)))?.text() ?? document
        self.init(policy, document: text, isObserving: isObserving)
    }
}

extension PolicyEffect {
    /// As an action of a policy document.
    public var json: JSONValue {
        switch self {
        case .setDowntime(let limit): ["set-downtime": .integer(limit)]
        case .setBandwidth(let limit): ["set-bandwidth": .integer(limit)]
        case .setThrottle(let percent): ["set-throttle": .integer(percent)]
        case .startPostcopy: "start-postcopy"
        case .pauseGuest: "pause-guest"
        case .hardSwitchover: "hard-switchover"
        case .cancel(let why): ["cancel": .string(why)]
        case .note(let text): ["note": .string(text)]
        }
    }
}

extension PolicyDecision {
    /// The decision with the rule and the numbers that led to it.
    public var json: JSONObject {
        var readings: JSONObject = [:]
        for reading in self.readings { readings[reading.name] = reading.value.map { JSONValue($0) } ?? .null }
        return [
            "elapsedMilliseconds": .integer(elapsedMilliseconds), "effect": effect.json, "rule": .string(rule),
            "step": step.map { .integer(Int64($0)) } ?? .null, "on": .string(trigger.description),
            "conditions": .array(conditions.map { .string($0) }), "readings": .object(readings),
        ]
    }

    /// The value of a `policy` record.
    public func json(_ outcome: PolicyOutcome) -> JSONValue {
        var object = json
        object["outcome"] = .string(outcome.rawValue)
        return .object(object)
    }

    /// For a person, with what becomes of it.
    public func text(_ outcome: PolicyOutcome) -> String {
        let how =
            switch outcome {
            case .done: ""
            case .observed: ", only observed"
            case .left: ", left as it was set by hand"
            }
        return "\(effect.text) (rule \(rule)\(how))"
    }
}
