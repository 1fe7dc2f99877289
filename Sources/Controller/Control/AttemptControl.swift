import JSONC
import Migration
import MigrationQMP
import Phases
import QMPTransport

/// What the control socket can ask of a running attempt.
extension AttemptDriver {
    /// The commands and what they are about; `query-commands` tells them.
    private static let commands = [
        "query-attempt", "query-commands", "cancel", "continue", "pause-guest", "postcopy", "pause-postcopy", "recover",
        "set",
    ]

    /// Carries a command of the control socket out.
    func control(_ name: String, _ arguments: JSONObject, answer: @escaping ControlClient.Answer) {
        let taken: Set<String> = name == "set" ? ["parameters"] : name == "recover" ? ["uri"] : []
        if let unknown = arguments.keys.first(where: { !taken.contains($0) }) {
            return answer(.failure(ControlError(description: "\(name) takes no argument '\(unknown)'")))
        }
        switch name {
        case "query-attempt": answer(.success(description))
        case "query-commands": answer(.success(.array(Self.commands.map { ["name": .string($0)] })))
        case "recover":
            guard let uri = arguments["uri"] else { return ask(.recover, answer) }
            guard let text = uri.string else {
                return answer(.failure(ControlError(description: "recover: 'uri' is no string")))
            }
            let value: JSONObject = ["do": "recover", "origin": "operator", "uri": .string(text)]
            steer(.recover(uri: text, .operator), value, answer)
        case "set": set(arguments["parameters"], answer)
        case "cancel", "continue", "pause-guest", "postcopy", "pause-postcopy":
            guard let request = Request(rawValue: name) else { fallthrough }
            ask(request, answer)
        default:
            answer(
                .failure(
                    ControlError(
                        errorClass: "CommandNotFound", description: "the command \(name) has not been found")))
        }
    }

    private func ask(_ request: Request, _ answer: @escaping ControlClient.Answer) {
        steer(
            .request(request, .operator), ["do": .string(request.rawValue), "origin": "operator"], answer)
    }

    /// Gives a request to the machine; a refusal, if there is one, is there when it has been worked on.
    private func steer(_ input: Input, _ value: JSONObject, _ answer: @escaping ControlClient.Answer) {
        if let why = apply(input, value) {
            answer(.failure(ControlError(description: why)))
        } else {
            answer(.success([:]))
        }
    }

    private func apply(_ input: Input, _ value: JSONObject) -> String? {
        guard hasBegun, !isOver else { return isOver ? "the attempt is over" : "the attempt has not begun yet" }
        refusal = nil
        let time = journal.now
        let sequence = journal.record("request", nil, .object(value), at: time)
        enqueue(input, sequence: sequence, at: time)
        return refusal
    }

    /// Parameters are set when QEMU has said so.
    private func set(_ parameters: JSONValue?, _ answer: @escaping ControlClient.Answer) {
        guard let object = parameters?.object, !object.isEmpty, object.count <= 32 else {
            return answer(.failure(ControlError(description: "set: 'parameters' is no object with settings")))
        }
        let settings = object.map { Setting($0.key, SettingValue($0.value)) }
        let value: JSONObject = ["do": "set", "origin": "operator", "parameters": .object(object)]
        if let why = apply(.change(settings, .operator), value) {
            return answer(.failure(ControlError(description: why)))
        }
        changes.append(Change(settings: settings, answer: answer))
    }

    /// A change that QEMU has not answered yet.
    struct Change {
        var settings: [Setting]
        var answer: ControlClient.Answer
    }

    /// QEMU has answered a command, or is not expected to any more.
    func answerChange(to settings: [Setting], _ failure: String?) {
        guard let index = changes.firstIndex(where: { $0.settings == settings }) else { return }
        let change = changes.remove(at: index)
        change.answer(failure.map { .failure(ControlError(description: $0)) } ?? .success([:]))
    }

    /// The attempt as it stands.
    private var description: JSONValue {
        var object: JSONObject = [
            "attempt": .string(configuration.options.attempt), "source": .string(configuration.sourceName),
            "destination": .string(configuration.destinationName), "journal": .string(journal.path),
            "seconds": .init(Double(journal.now.microseconds) / 1e6),
            "downtimeLimitMilliseconds": .integer(downtimeLimitMilliseconds),
            "status": machine.status.json(reasons: []),
        ]
        if let reason = machine.reasons.last { object["because"] = .string(reason.what) }
        if let disks = machine.source.storageProgress { object["disks"] = .object(disks.json) }
        if let lastSample { object["progress"] = .object(lastSample.json) }
        if !statistics.isEmpty { object["statistics"] = .object(statistics.json) }
        return .object(object)
    }

    /// The wished limit, as it was set last.
    private var downtimeLimitMilliseconds: Int64 {
        let wished = machine.source.parameters.last { $0.name == "downtime-limit" }
        if case .integer(let milliseconds)? = wished?.value { return milliseconds }
        return 300
    }
}
