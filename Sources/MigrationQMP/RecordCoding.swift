public import JSONC
public import Migration
public import Phases

extension PublishedStatus {
    /// The value of a `status` record.
    public func json(reasons: [Reason]) -> JSONValue {
        var object: JSONObject = ["status": .string(word.rawValue), "stopping": .string(stopping.rawValue)]
        if let qemu { object["qemu"] = .string(qemu.rawValue) }
        if basis != .both { object["basis"] = .string(basis.rawValue) }
        // One record can be several reasons.
        var records: [Int] = []
        for reason in reasons where records.last != reason.sequence { records.append(reason.sequence) }
        object["reason"] = .array(records.map { .integer(Int64($0)) })
        return .object(object)
    }
}

extension PhaseMove {
    /// The value of a `phase` record.
    public var json: JSONValue {
        var object: JSONObject = [
            "from": .string(from.rawValue), "to": .string(to.rawValue),
            "job": .string((side == .source ? Job.out : Job.in).rawValue),
        ]
        if let owner { object["owner"] = .string(owner) }
        return .object(object)
    }

    /// A move from the value of a `phase` record; `nil` for words nobody knows.
    public init?(json: JSONValue, side: Side) {
        guard let from = json["from"]?.string.flatMap(Phase.init(rawValue:)),
            let to = json["to"]?.string.flatMap(Phase.init(rawValue:))
        else { return nil }
        self.init(side: side, from: from, to: to, owner: json["owner"]?.string)
    }
}

extension Step {
    /// The value of a `call` record.
    public func callJSON(_ cookie: Cookie) -> JSONValue {
        ["step": .string(rawValue), "protocol": 3, "cookie": cookie.json]
    }

    /// The value of an `answer` record of a step whose answer proper comes later.
    public var acceptedJSON: JSONValue { ["step": .string(rawValue), "accepted": true] }

    /// The value of an `answer` record.
    public func answerJSON(_ result: StepResult) -> JSONValue {
        switch result {
        case .done(let cookie): ["step": .string(rawValue), "cookie": cookie.json]
        case .failed(let error): ["step": .string(rawValue), "error": .string(error.description)]
        }
    }
}

extension Request {
    /// The value of an `answer` record: the request is not carried out, and why.
    public func refusedJSON(_ why: String) -> JSONValue {
        ["request": .string(rawValue), "refused": .string(why)]
    }
}

extension JournalRecord {
    /// The side it concerns, `nil` for both; the record's member name and its value.
    public var record: (side: Side?, member: StaticString, value: JSONValue) {
        switch self {
        case .saved(let side, let capabilities, let parameters):
            var on: JSONObject = [:]
            for capability in capabilities { on[capability.name] = .bool(capability.isOn) }
            var values: JSONObject = [:]
            for parameter in parameters { values[parameter.name] = parameter.value.json }
            return (side, "saved", ["capabilities": .object(on), "parameters": .object(values)])
        case .surrendered(let attempt): return (.source, "surrendered", .string(attempt))
        case .run(let attempt): return (.destination, "run", .string(attempt))
        case .refused(let attempt): return (.destination, "refused", .string(attempt))
        case .began(let side, let attempt, let wasRunning):
            return (side, "saved", ["attempt": .string(attempt), "running": .bool(wasRunning)])
        case .intent(let side, let kind): return (side, "intent", ["do": .string(kind.rawValue)])
        case .phase(let move): return (move.side, "phase", move.json)
        case .called(let step, let cookie): return (step.side, "call", step.callJSON(cookie))
        case .answered(let step, let result):
            var answer = step.answerJSON(result).object ?? [:]
            // Whoever takes the journal up decides by the kind; the words are for people.
            if case .failed(let error) = result { answer["kind"] = .string(error.kind.rawValue) }
            return (step.side, "answer", .object(answer))
        case .requested(let request, let origin):
            return (nil, "request", ["do": .string(request.rawValue), "origin": .string(origin.rawValue)])
        case .released(let side, let state): return (side, "saved", ["lease": state.json])
        case .interfered(let isPaused): return (.source, "saved", ["paused-on-the-way": .bool(isPaused)])
        }
    }
}

extension Deadline {
    /// Whether it is only the next look, of which there can be hundreds. That it runs out is recorded, that it begins
    /// and is over is not.
    public var isPoll: Bool { self == .cleanupPoll || self == .runPoll || self == .resumePoll }

    /// The value of an `arm` record.
    public func armJSON(milliseconds: Int) -> JSONValue {
        ["deadline": .string(rawValue), "milliseconds": .integer(Int64(milliseconds))]
    }

    /// The name under which the regular look at both QEMUs is recorded.
    public static let tickName = "tick"

    /// Whether a `timeout` record only tells of a look.
    public static func isLook(named name: String) -> Bool {
        name == tickName || Deadline(rawValue: name)?.isPoll ?? false
    }
}

extension Effect {
    /// Whether it does something to a QEMU or to the guest's leases, or must be written before such an act. The guest
    /// may stand still until it is done, so a driver carries these out before the others.
    public var isAct: Bool {
        switch self {
        case .send, .persist, .kill, .lease: true
        case .survey, .call, .accepted, .answer, .refused, .publish, .phase, .arm, .disarm, .hook, .decided, .finished:
            false
        }
    }
}

extension JournalRecord {
    /// A record from a line of a journal, for whoever takes it up again.
    ///
    /// - Parameters:
    ///   - member: The record's member name.
    ///   - side: The side it concerns, if the line names one.
    ///   - value: The member's value.
    /// - Returns: `nil` for a line that is no such record: an input, an output that leaves nothing behind, or words
    ///   nobody knows.
    /// - Throws: `DocumentError` for a cookie that cannot be read: what was promised with it is not known then.
    public init?(member: String, side: Side?, value: JSONValue) throws(DocumentError) {
        switch member {
        case "surrendered":
            guard let attempt = value.string else { return nil }
            self = .surrendered(attempt: attempt)
        case "run":
            guard let attempt = value.string else { return nil }
            self = .run(attempt: attempt)
        case "refused":
            guard let attempt = value.string else { return nil }
            self = .refused(attempt: attempt)
        case "intent":
            guard let side, let kind = value["do"]?.string.flatMap(TriggerKind.init(rawValue:)) else { return nil }
            self = .intent(side, kind)
        case "phase":
            guard let side, let move = PhaseMove(json: value, side: side) else { return nil }
            self = .phase(move)
        case "request":
            guard let request = value["do"]?.string.flatMap(Request.init(rawValue:)),
                let origin = value["origin"]?.string.flatMap(Origin.init(rawValue:))
            else { return nil }
            self = .requested(request, origin)
        case "saved":
            guard let side else { return nil }
            if let lease = value["lease"] {
                self = .released(side, try LeaseState(json: lease, path: "saved.lease"))
                return
            }
            if let isPaused = value["paused-on-the-way"]?.bool {
                self = .interfered(isPaused: isPaused)
                return
            }
            guard let record = Self(saved: value, side: side) else { return nil }
            self = record
        case "call":
            guard let step = value["step"]?.string.flatMap(Step.init(rawValue:)), let cookie = value["cookie"] else {
                return nil
            }
            self = .called(step, try Cookie(json: cookie))
        case "answer":
            guard let step = value["step"]?.string.flatMap(Step.init(rawValue:)) else { return nil }
            if let cookie = value["cookie"] {
                self = .answered(step, .done(try Cookie(json: cookie)))
            } else if let text = value["error"]?.string {
                let kind = value["kind"]?.string.flatMap(StepError.Kind.init(rawValue:)) ?? .unproven
                self = .answered(step, .failed(StepError(kind, text)))
            } else {
                return nil
            }
        default: return nil
        }
    }

    private init?(saved value: JSONValue, side: Side) {
        if let attempt = value["attempt"]?.string, let wasRunning = value["running"]?.bool {
            self = .began(side, attempt: attempt, wasRunning: wasRunning)
            return
        }
        guard let capabilities = value["capabilities"]?.object, let parameters = value["parameters"]?.object else {
            return nil
        }
        self = .saved(
            side,
            capabilities: capabilities.compactMap { member in
                member.value.bool.map { CapabilitySetting(member.key, $0) }
            }, parameters: parameters.map { Setting($0.key, SettingValue($0.value)) })
    }
}
