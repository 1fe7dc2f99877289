import JSONC
import Migration
import Trace

/// What two QEMUs are known to do when something happens to them, by where they are.
struct Reaction {
    /// What becomes of the rest of the recording.
    enum Rest {
        /// It happened all the same.
        case stays
        /// It did not happen.
        case goes
        /// One side is heard no more.
        case loses(TraceSide)
    }

    /// What is said and happens, in order, without times.
    private(set) var steps: [TraceRecord] = []
    private(set) var rest = Rest.goes
    /// What is assumed, for a person.
    private(set) var note = ""

    private let attempt: ObservedAttempt
    private var source: Evidence { attempt.source }
    private var destination: Evidence { attempt.destination }
    private var version: QEMUVersion? { source.version }

    init(to what: Assumption, _ attempt: ObservedAttempt) {
        self.attempt = attempt
        switch what {
        case .cancel: cancel()
        case .sourceKilled: kill(.source)
        case .destinationKilled: kill(.destination)
        case .networkCut: cut()
        case .guestPoweroff: powerOff()
        case .sourceMonitorLost: lose(.source)
        case .destinationMonitorLost: lose(.destination)
        }
    }

    // MARK: What can happen

    private mutating func cancel() {
        steps.append(TraceRecord(microseconds: 0, member: .request(["do": "cancel", "origin": "operator"])))
        add(.source, .send(["execute": "migrate_cancel", "id": "godwit-assumed"]))
        switch source.stage {
        case .starting, .waiting, .copying, .held, .stopping:
            note = "the source takes the cancel and gives up; the destination's stream ends"
            add(word: .cancelling)
            resumeIfStopped()
            accept()
            add(word: .cancelled)
            destinationFails()
        case .switchover:
            note =
                "in the switchover QEMU hears the cancel when all device state is written; assumed is that it "
                + "comes too late "
                + "(if QEMU notices in time, it is cancelled as before the switchover)"
            accept()
            rest = .stays
        case .postcopy:
            if let version, version < QEMUVersion(10, 0) {
                note = "QEMU \(version) takes a cancel in post-copy, and the guest's memory is lost with it"
                add(word: .cancelling)
                accept()
                add(word: .cancelled)
                add(word: .postcopyPaused, .destination)
            } else {
                note = "QEMU refuses a cancel in post-copy"
                refuse("Postcopy migration in progress, cannot cancel.")
                rest = .stays
            }
        case .idle, .ended, .completed:
            note = "there is nothing to cancel at that time: QEMU says yes and does nothing"
            accept()
            rest = .stays
        case .gone:
            note = "the source's QEMU is gone at that time: nobody hears the cancel"
            steps = []
            rest = .stays
        }
    }

    private mutating func kill(_ side: TraceSide) {
        let isSource = side == .source
        note = "the \(side.rawValue)'s QEMU is gone"
        add(side, .monitor("lost"))
        add(side, .process(.signalled(9)))
        let isDone = source.stage == .completed || source.stage == .gone
        if isSource {
            guard !isDone else {
                note += "; it had done its part"
                rest = .loses(.source)
                return
            }
            if attempt.source.postcopy.isSplit || destination.postcopy.isSplit {
                note += "; the destination's channel breaks"
                add(word: .postcopyPaused, .destination)
            } else {
                note += "; the destination's stream ends"
                destinationFails()
            }
        } else {
            guard !isDone else {
                note += "; the source had done its part and waits"
                rest = .goes
                return
            }
            sourceFails()
        }
    }

    private mutating func cut() {
        if source.postcopy.isSplit || destination.postcopy.isSplit {
            note = "both channels break in post-copy"
            add(word: .postcopyPaused)
            add(word: .postcopyPaused, .destination)
        } else if source.stage == .completed || source.stage == .idle {
            note = "nothing crosses the network at that time that anybody waits for"
            rest = .stays
        } else {
            note = "the source's stream breaks, and it runs the guest again; the destination's ends"
            sourceFails()
            destinationFails()
        }
    }

    private mutating func powerOff() {
        let event: JSONValue = ["event": "SHUTDOWN", "data": ["guest": true, "reason": "guest-shutdown"]]
        switch source.stage {
        case .completed, .gone, .postcopy:
            note = "the guest runs on the destination by then, or is on its way: its QEMU ends with it"
            guard destination.events.has(.ran) else {
                note = "the guest stands still at that time and can do nothing"
                rest = .stays
                return
            }
            add(.destination, .recv(event))
            add(.destination, .monitor("lost"))
            add(.destination, .process(.exited(0)))
            if source.stage != .completed, source.stage != .gone { add(word: .postcopyPaused) }
        case .held, .switchover:
            note = "the guest stands still at that time and can do nothing"
            rest = .stays
        default:
            note = "the source's QEMU cancels by itself and ends with the guest"
            add(.source, .recv(event))
            add(word: .cancelling)
            add(.source, .monitor("lost"))
            add(.source, .process(.exited(0)))
            destinationFails()
        }
    }

    private mutating func lose(_ side: TraceSide) {
        note = "the \(side.rawValue) is heard no more; both QEMUs go on"
        add(side, .monitor("lost"))
        rest = .loses(side)
    }

    // MARK: Parts

    private mutating func add(_ side: TraceSide, _ member: TraceMember) {
        steps.append(TraceRecord(microseconds: 0, side: side, member: member))
    }

    private mutating func add(word: StatusWord, _ side: TraceSide = .source) {
        guard side == .source || isDestinationThere else { return }
        add(side, .recv(["event": "MIGRATION", "data": ["status": .string(word.rawValue)]]))
    }

    private mutating func accept() { add(.source, .recv(["return": [:], "id": "godwit-assumed"])) }

    private mutating func refuse(_ text: String) {
        add(
            .source,
            .recv(["id": "godwit-assumed", "error": ["class": "GenericError", "desc": .string(text)]]))
    }

    private mutating func resumeIfStopped() {
        guard source.isRunning == false, source.wasRunning == true else { return }
        add(.source, .recv(["event": "RESUME"]))
    }

    private mutating func sourceFails() {
        if source.postcopy.isSplit || destination.postcopy.isSplit {
            note += "; the source's channel breaks in post-copy"
            add(word: .postcopyPaused)
            return
        }
        note += "; the source fails and runs the guest again"
        // From 11.1 on QEMU tidies up before it says that it failed.
        let isFailing = version.map { QEMURelease($0) >= QEMURelease(11, 1) } ?? false
        if isFailing {
            add(word: .failing)
            resumeIfStopped()
            add(word: .failed)
        } else {
            add(word: .failed)
            resumeIfStopped()
        }
    }

    private var isDestinationThere: Bool {
        attempt.seen.contains(.destination) && destination.processEnd == nil && destination.monitor != .lost
    }

    private mutating func destinationFails() {
        guard isDestinationThere, !destination.events.has(.completed) else { return }
        add(word: .failed, .destination)
        add(.destination, .monitor("lost"))
        add(.destination, .process(.exited(1)))
    }
}
