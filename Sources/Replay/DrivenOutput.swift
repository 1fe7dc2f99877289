import JSONC
import Migration
import MigrationQMP
import Phases
import QMP
import Trace

/// Something that the machine wants done or recorded, in the form in which a trace holds it.
struct DrivenOutput {
    /// The record's member.
    var member: String
    var side: Side?
    var value: JSONValue
    /// The command that a `send` is.
    var command: Command?
    /// Whether it may never have left: its monitor was not connected.
    var isUncertain = false
    /// Whether nothing stood before it that had to leave first.
    var leavesAtOnce = false
    /// The record before which it should have been.
    var missedAt: TraceRecord?

    init(_ member: String, _ side: Side?, _ value: JSONValue) {
        self.member = member
        self.side = side
        self.value = value
    }

    /// The outputs of one input in the order in which the driver carries them out: what QEMU or the journal's promise waits for goes before what is only told.
    static func outputs(of effects: [Effect], armed: inout Set<Deadline>) -> [DrivenOutput] {
        let isAct = effects.map(\.isAct)
        let ordered =
            zip(effects, isAct).filter(\.1).map(\.0)
            + zip(effects, isAct).filter { !$0.1 }.map(\.0)
        return ordered.compactMap { DrivenOutput($0, armed: &armed) }
    }

    /// The record of an effect; `nil` for one that leaves none.
    private init?(_ effect: Effect, armed: inout Set<Deadline>) {
        switch effect {
        case .send(let side, let command, let outOfBand):
            self.init("send", side, Self.message(command, outOfBand: outOfBand))
            self.command = command
        case .persist(let persisted):
            let record = persisted.record
            self.init("\(record.member)", record.side, record.value)
        case .call(let step, let cookie): self.init("call", step.side, step.callJSON(cookie))
        case .accepted(let step): self.init("answer", step.side, step.acceptedJSON)
        case .answer(let step, let result): self.init("answer", step.side, step.answerJSON(result))
        case .publish(let status, let reasons): self.init("status", nil, status.json(reasons: reasons))
        case .phase(let move): self.init("phase", move.side, move.json)
        case .arm(let deadline, let milliseconds):
            armed.insert(deadline)
            if deadline.isPoll { return nil }
            self.init("arm", nil, deadline.armJSON(milliseconds: milliseconds))
        case .disarm(let deadline):
            guard armed.remove(deadline) != nil, !deadline.isPoll else { return nil }
            self.init("disarm", nil, .string(deadline.rawValue))
        case .kill(let side): self.init("kill", side, [:])
        case .finished(let result): self.init("result", nil, result.json)
        case .refused(let request, let why): self.init("answer", nil, request.refusedJSON(why))
        case .lease(let side, let action): self.init("lease", side, action.json)
        case .decided(let decision, let outcome): self.init("policy", nil, decision.json(outcome))
        case .hook(let point): self.init("hook", nil, ["run": .string(point.rawValue)])
        case .survey: return nil
        }
    }

    private static func message(_ command: Command, outOfBand: Bool) -> JSONValue {
        let request = command.request(outOfBand: outOfBand)
        var object: JSONObject = [(outOfBand && request.outOfBand ? "exec-oob" : "execute"): .string(request.name)]
        if let arguments = request.arguments { object["arguments"] = try? JSONValue(parsing: arguments) }
        return .object(object)
    }

    /// Whether a record holds this.
    func matches(_ record: RecordedOutput) -> Bool {
        guard member == record.member, side == record.side else { return false }
        if value == record.value { return true }
        switch member {
        case "result":
            // Earlier recordings tell the end without the verdict that it follows from.
            guard record.value["why"] == nil else { return false }
            var without = value.object ?? [:]
            without["why"] = nil
            return .object(without) == record.value
        // How a QEMU was killed is the driver's affair.
        case "kill": return true
        case "send":
            // A connection without out-of-band commands carries it in band.
            guard let name = value["exec-oob"] else { return false }
            var inBand = value.object ?? [:]
            inBand["exec-oob"] = nil
            inBand["execute"] = name
            return .object(inBand) == record.value
        default: return false
        }
    }
}

/// An output in a recording.
struct RecordedOutput {
    var member: String
    var side: Side?
    var value: JSONValue

    /// `nil` for a record that is none of the machine's outputs.
    init?(_ record: TraceRecord) {
        switch record.member {
        case .send(let message):
            var object = message.object ?? [:]
            object["id"] = nil
            value = .object(object)
        case .hook(let value):
            // What is run at the end is the driver's affair.
            guard let point = value["run"]?.string, point != HookPoint.end.rawValue else { return nil }
            self.value = value
        case .call, .answer, .arm, .disarm, .saved, .run, .refused, .surrendered, .kill, .phase, .status, .result,
            .intent, .lease, .policy:
            value = record.member.value
        default: return nil
        }
        member = record.member.name
        side = record.side.map { $0 == .source ? .source : .destination }
    }
}

/// Where two JSON values begin to differ.
struct JSONDifference {
    var path: String
    var recorded: JSONValue?
    var driven: JSONValue?

    /// The first difference, members in the order of the recorded one; `nil` if there is none.
    init?(_ recorded: JSONValue?, _ driven: JSONValue?, path: String = "") {
        if recorded == driven { return nil }
        if case .object(let left)? = recorded, case .object(let right)? = driven {
            for key in left.keys + right.keys.filter({ left[$0] == nil }) {
                if let found = JSONDifference(left[key], right[key], path: "\(path).\(key)") {
                    self = found
                    return
                }
            }
        }
        if case .array(let left)? = recorded, case .array(let right)? = driven {
            for index in 0..<max(left.count, right.count) {
                let pair = (
                    left.indices.contains(index) ? left[index] : nil,
                    right.indices.contains(index) ? right[index] : nil
                )
                if let found = JSONDifference(pair.0, pair.1, path: "\(path)[\(index)]") {
                    self = found
                    return
                }
            }
        }
        self.path = path
        self.recorded = recorded
        self.driven = driven
    }
}
