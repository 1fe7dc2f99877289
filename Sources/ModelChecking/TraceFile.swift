import Migration
import Phases

/// Writes a way through the joint system as a trace that the replay shows: what each QEMU said and was told, as it would have been on the wire,
/// and what the parties did, in the order of the steps.
///
/// What a QEMU says stands where it was read, not where it was said.
struct TraceFile {
    private let system: JointSystem
    private(set) var lines: [String] = []
    private var microseconds = 0
    private var ids = BySide<Int>(0)
    /// Commands without an answer, by side: what they were and their ids.
    private var open = BySide<[OpenCommand]>([])

    private struct OpenCommand: Hashable {
        var command: Command
        var id: Int
    }

    /// The trace of these steps; `end` is the last line's note.
    init(_ system: JointSystem, _ trace: [JointAction], end: String) {
        self.system = system
        let version = system.configuration.profile.version
        lines.append(
            "{\"qmptrace\":1,\"recorder\":\"ModelChecker\",\"role\":\"coordinator\",\"title\":"
                + Self.quote("\(system.configuration.name), QEMU \(version)") + "}")
        for side in Side.allCases {
            let numbers = "\"major\":\(version.major),\"minor\":\(version.minor),\"micro\":\(version.micro)"
            record(
                "\"recv\":{\"QMP\":{\"version\":{\"qemu\":{\(numbers)},\"package\":\"\"},\"capabilities\":[\"oob\"]}}",
                side)
        }
        for step in Storyteller(system).steps(trace) {
            for telling in step.told { add(telling) }
        }
        record("\"mark\":" + Self.quote(end))
    }

    private mutating func record(_ member: String, _ side: Side? = nil) {
        microseconds += 1000
        let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        let place = side.map { ",\"side\":\"\($0.rawValue)\"" } ?? ""
        lines.append("{\"t\":\(microseconds / 1_000_000).\(fraction)\(place),\(member)}")
    }

    private mutating func add(_ telling: Run.Telling) {
        switch telling {
        case .input(let part, let input): add(system.inputs[input], part)
        case .effect(.coordinator, .coordinator(let effect)): add(effect)
        case .effect(let part, .side(let effect)): if let side = part.side { add(effect, side) }
        case .effect, .saying: break
        case .note(let text): record("\"mark\":" + Self.quote(text))
        case .item(let what, let item): record("\"mark\":" + Self.quote("\(what): \(system.describe(item))"))
        case .move(let name): record("\"mark\":" + Self.quote(system.moveNames[name]))
        }
    }

    // MARK: Inputs

    private mutating func add(_ input: PartyInput, _ part: Part) {
        switch (input, part.side) {
        case (.side(.fact(let fact)), let side?): add(fact, side)
        case (.side(.timeout(let deadline)), let side): record("\"timeout\":\"\(deadline.rawValue)\"", side)
        case (.side(.restarted), let side): record("\"restarted\":{\"pid\":1}", side)
        case (.side(.peer(let isConnected)), let side):
            record("\"peer\":\"\(isConnected ? "connected" : "lost")\"", side)
        case (.coordinator(.request(let request, let origin)), _):
            record("\"request\":{\"do\":\"\(request.rawValue)\",\"origin\":\"\(origin.rawValue)\"}")
        case (.coordinator(.message(_, .answer(let step, let result, _))), _):
            switch result {
            case .done: record("\"answer\":{\"step\":\"\(step.rawValue)\",\"cookie\":{}}")
            case .failed(let error):
                record("\"answer\":{\"step\":\"\(step.rawValue)\",\"error\":\(Self.quote("\(error.kind)"))}")
            }
        case (.coordinator(.timeout(let deadline)), _): record("\"timeout\":\"\(deadline.rawValue)\"")
        case (.coordinator(.restarted), _): record("\"restarted\":{\"pid\":1}")
        case (.coordinator(.peer(_, let isConnected)), _):
            record("\"peer\":\"\(isConnected ? "connected" : "lost")\"")
        default: break
        }
    }

    private mutating func add(_ fact: Fact, _ side: Side) {
        switch fact {
        case .monitor(let state):
            let word =
                switch state {
                case .connected: "connected"
                case .lost: "lost"
                case .busy: "busy"
                }
            record("\"monitor\":\"\(word)\"", side)
        case .process(let end):
            let how =
                switch end {
                case .exited(let code): "{\"exited\":\(code)}"
                case .signalled(let signal): "{\"signalled\":\(signal)}"
                case .gone: "{\"exited\":0}"
                }
            record("\"process\":\(how)", side)
        case .event(let event):
            let stamp = "\"timestamp\":{\"seconds\":0,\"microseconds\":\(microseconds % 1_000_000)}"
            record("\"recv\":{\(Self.members(event)),\(stamp)}", side)
        case .reply(let command, let reply):
            guard let index = open[side].firstIndex(where: { $0.command == command }) else { return }
            let id = open[side].remove(at: index).id
            record("\"recv\":{\(Self.members(reply)),\"id\":\(id)}", side)
        case .unanswered(let command): record("\"mark\":\(Self.quote("\(command.name) stays unanswered"))", side)
        case .greeting, .unkillable: break
        }
    }

    // MARK: Outputs

    private mutating func add(_ effect: CoordinatorEffect) {
        switch effect {
        case .message(_, .call(let step, _)):
            let version = system.configuration.options.protocolVersion.rawValue
            record("\"call\":{\"step\":\"\(step.rawValue)\",\"protocol\":\(version)}")
        case .publish(let status):
            record(
                "\"status\":{\"status\":\"\(status.word.rawValue)\",\"stopping\":\"\(status.stopping.rawValue)\","
                    + "\"qemu\":\(Self.quote(status.qemu?.rawValue ?? "none")),\"reason\":[]}")
        case .arm(let deadline, _): record("\"arm\":\"\(deadline.rawValue)\"")
        case .disarm(let deadline): record("\"disarm\":\"\(deadline.rawValue)\"")
        case .message, .persist, .refused, .finished: break
        }
    }

    private mutating func add(_ effect: SideEffect, _ side: Side) {
        switch effect {
        case .send(let command, let outOfBand):
            ids[side] += 1
            open[side].append(OpenCommand(command: command, id: ids[side]))
            let verb = outOfBand ? "exec-oob" : "execute"
            let arguments = Self.arguments(command).map { ",\"arguments\":{\($0)}" } ?? ""
            record("\"send\":{\"\(verb)\":\"\(command.name)\"\(arguments),\"id\":\(ids[side])}", side)
        case .persist(.run(let attempt)): record("\"run\":\(Self.quote(attempt))", side)
        case .persist(.refused(let attempt)): record("\"refused\":\(Self.quote(attempt))", side)
        case .persist(.surrendered(let attempt)): record("\"surrendered\":\(Self.quote(attempt))", side)
        case .phase(let move):
            let owner = move.owner.map { ",\"owner\":\(Self.quote($0))" } ?? ""
            let job = move.to == .none ? "" : ",\"job\":\"\(side == .source ? "out" : "in")\""
            record(
                "\"phase\":{\"from\":\"\(move.from.rawValue)\",\"to\":\"\(move.to.rawValue)\"\(job)\(owner)}", side)
        case .arm(let deadline, _): record("\"arm\":\"\(deadline.rawValue)\"", side)
        case .disarm(let deadline): record("\"disarm\":\"\(deadline.rawValue)\"", side)
        case .kill: record("\"kill\":\"process\"", side)
        case .survey, .persist, .message, .lease: break
        }
    }

    // MARK: The wire

    private static func members(_ event: QEMUEvent) -> String {
        switch event {
        case .migration(let word): "\"event\":\"MIGRATION\",\"data\":{\"status\":\(quote(word.rawValue))}"
        case .pass(let number): "\"event\":\"MIGRATION_PASS\",\"data\":{\"pass\":\(number)}"
        case .stop: "\"event\":\"STOP\""
        case .resume: "\"event\":\"RESUME\""
        case .shutdown(let byGuest, let reason):
            "\"event\":\"SHUTDOWN\",\"data\":{\"guest\":\(byGuest),\"reason\":\(quote(reason))}"
        case .reset: "\"event\":\"RESET\""
        case .unplugPrimary(let path): "\"event\":\"UNPLUG_PRIMARY\",\"data\":{\"path\":\(quote(path))}"
        case .blockJob(let event): "\"event\":\(quote(event.name)),\"data\":{\"device\":\(quote(event.job))}"
        case .guestFault(let name), .other(let name): "\"event\":\(quote(name))"
        }
    }

    private static func members(_ reply: Reply) -> String {
        switch reply {
        case .done: "\"return\":{}"
        case .status(let state):
            "\"return\":{\"status\":\(quote(state.rawValue)),\"running\":\(state == .running)}"
        case .migration(let sample):
            "\"return\":{" + (sample.status.map { "\"status\":\(quote($0.rawValue))" } ?? "") + "}"
        case .capabilities(let settings): "\"return\":[\(settings.map(capability).joined(separator: ","))]"
        case .parameters: "\"return\":{}"
        case .yankInstances(let migration): "\"return\":[\(migration ? "{\"type\":\"migration\"}" : "")]"
        case .jobs(let jobs):
            "\"return\":["
                + jobs.map { "{\"id\":\(quote($0.id)),\"status\":\(quote($0.status))}" }.joined(separator: ",") + "]"
        case .refused(let errorClass, let text):
            "\"error\":{\"class\":\(quote(errorClass)),\"desc\":\(quote(text))}"
        case .unreadable(let text): "\"return\":\(quote(text))"
        }
    }

    private static func capability(_ setting: CapabilitySetting) -> String {
        "{\"capability\":\(quote(setting.name)),\"state\":\(setting.isOn)}"
    }

    private static func arguments(_ command: Command) -> String? {
        switch command {
        case .setCapabilities(let settings):
            "\"capabilities\":[\(settings.map(capability).joined(separator: ","))]"
        case .migrateIncoming(let uri, let exitOnError):
            "\"uri\":\(quote(uri.uri))" + (exitOnError.map { ",\"exit-on-error\":\($0)" } ?? "")
        case .migrate(let uri, let resume): "\"uri\":\(quote(uri.uri))" + (resume ? ",\"resume\":true" : "")
        case .migrateContinue(let state): "\"state\":\(quote(state))"
        case .migrateRecover(let uri): "\"uri\":\(quote(uri))"
        case .yank: "\"instances\":[{\"type\":\"migration\"}]"
        default: nil
        }
    }

    /// A JSON string. Everything written here is ASCII of our own but for what is escaped.
    static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 32: result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
