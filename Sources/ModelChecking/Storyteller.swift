import Migration
import Phases

/// Tells a trace to a person: each step with what was taken, what was done and what QEMU said.
struct Storyteller {
    private let system: JointSystem

    init(_ system: JointSystem) { self.system = system }

    /// The steps of a trace, carried out again with everything that was told on the way.
    func steps(_ trace: [JointAction]) -> [(action: JointAction, state: JointState, told: [Run.Telling])] {
        guard var state = system.initialStates.first else { return [] }
        var result: [(action: JointAction, state: JointState, told: [Run.Telling])] = []
        for action in trace {
            var run = Run(system: system)
            run.isTelling = true
            run.take(action, &state)
            result.append((action, state, run.told))
        }
        return result
    }

    func tell(_ trace: [JointAction]) -> [String] {
        var lines: [String] = []
        for (number, step) in steps(trace).enumerated() {
            lines.append("\(number + 1). \(step.action)")
            for telling in step.told {
                switch telling {
                case .input(let part, let input): lines.append("      \(part) ← \(system.inputs[input].brief)")
                case .item(let what, let item): lines.append("      -- \(what): \(system.describe(item))")
                case .move(let name): lines.append("      -- \(system.moveNames[name])")
                case .effect(let part, let effect): lines.append("      \(part) → \(effect.brief)")
                case .note(let text): lines.append("      -- \(text)")
                case .saying(let side, let fact): lines.append("      \(side.rawValue) QEMU: \(fact.brief)")
                }
            }
            let pair = system.pairs[step.state.pair]
            lines.append(
                "      = source \(pair.source.word?.rawValue ?? "-")/\(pair.source.runState)/\(pair.source.life)"
                    + " destination \(pair.destination.word?.rawValue ?? "-")/\(pair.destination.runState)"
                    + "/\(pair.destination.life)")
        }
        return lines
    }
}

extension Fact {
    var brief: String {
        switch self {
        case .monitor(let state): "monitor \(state)"
        case .process(let end): "process \(end)"
        case .event(.migration(let word)): "MIGRATION \(word)"
        case .event(let event): "\(event)"
        case .reply(let command, .refused(_, let text)): "\(command.name) refused: \(text)"
        case .reply(let command, .status(let state)): "\(command.name): \(state)"
        case .reply(let command, .migration(let sample)): "\(command.name): \(sample.status?.rawValue ?? "none")"
        case .reply(let command, _): "\(command.name) answered"
        case .unanswered(let command): "\(command.name) unanswered"
        case .greeting(let version): "greeting \(version)"
        case .unkillable(let why): "unkillable: \(why)"
        }
    }
}

extension PartyInput {
    var brief: String {
        switch self {
        case .side(.fact(let fact)): fact.brief
        case .side(.sent(let command)): "sent \(command.name)"
        case .side(.surveyed): "surveyed"
        case .side(.message(let message)): message.brief
        case .side(let input): "\(input)"
        case .coordinator(.message(let side, let message)): "from \(side.rawValue): \(message.brief)"
        case .coordinator(let input): "\(input)"
        }
    }
}

extension PartyEffect {
    var brief: String {
        switch self {
        case .side(.send(let command, let outOfBand)): command.name + (outOfBand ? " out of band" : "")
        case .side(.persist(let record)), .coordinator(.persist(let record)): "write \(record.brief)"
        case .side(.phase(let move)): "phase \(move.from.rawValue) → \(move.to.rawValue)"
        case .side(.message(let message)): "to the coordinator: \(message.brief)"
        case .side(.arm(let deadline, _)), .coordinator(.arm(let deadline, _)): "arm \(deadline.rawValue)"
        case .side(.disarm(let deadline)), .coordinator(.disarm(let deadline)): "disarm \(deadline.rawValue)"
        case .side(let effect): "\(effect)"
        case .coordinator(.message(let side, let message)): "to the \(side.rawValue): \(message.brief)"
        case .coordinator(.publish(let status)): "publish \(status.word.rawValue), stopping \(status.stopping.rawValue)"
        case .coordinator(.refused(let request, let why)): "refuse \(request.rawValue): \(why)"
        case .coordinator(.finished(let result)): "finished \(result.word.rawValue)"
        }
    }
}

extension JournalRecord {
    var brief: String {
        switch self {
        case .saved(let side, _, _): "saved \(side.rawValue)"
        case .surrendered: "surrendered"
        case .run: "run"
        case .refused: "refused"
        case .called(let step, _): "called \(step.rawValue)"
        case .answered(let step, .done): "answered \(step.rawValue)"
        case .answered(let step, .failed(let error)): "answered \(step.rawValue): \(error.kind)"
        default: "\(self)"
        }
    }
}
