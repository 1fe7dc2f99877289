import Migration

/// What follows on the destination when a bounded wait runs out.
extension DestinationMachine {
    /// A wait ran out.
    public mutating func timedOut(_ deadline: Deadline) -> [Effect] {
        switch (deadline, state) {
        case (.destinationLease, _): return leaseTimedOut()
        case (.prepare, .preparing), (.prepare, .configuring), (.prepare, .listening):
            return failPrepare("the destination did not answer in time", kind: .failed)
        case (.prepare, .undoing): return stopUndoing()
        case (.arrival, .arriving):
            return failFinish(StepError(.failed, "the destination did not complete in time"))
        case (.runPoll, .running): return [core.send(.queryStatus)]
        case (.runPoll, .releasing): return [core.send(.queryYank)]
        case (.run, .restoring(let cookie, _)), (.run, .releasing(let cookie)): return answerFinish(cookie)
        case (.run, .running(let cookie)) where evidence.isRunning == true,
            (.destinationMonitor, .running(let cookie)) where evidence.isRunning == true:
            return answerFinish(cookie)
        case (.prepare, .recovering): return interrupt(because: "the destination did not answer in time")
        case (.run, .running), (.destinationMonitor, .running), (.destinationMonitor, .arriving),
            (.destinationMonitor, .following):
            state = .done
            let what = isRunRecorded ? "was told to run the guest and was not seen to do so" : "cannot be reached"
            return [
                .disarm(.run), .disarm(.runPoll), .disarm(.arrival), .disarm(.destinationMonitor),
            ] + core.finishJob() + [.answer(.finish, .failed(StepError(.unproven, "the destination \(what)")))]
        case (.destinationMonitor, .restoring(let cookie, _)), (.destinationMonitor, .releasing(let cookie)):
            return answerFinish(cookie)
        case (.abandon, .abandoning(let abandoning)) where abandoning != .killing:
            state = .abandoning(.killing)
            return [.kill(.destination), .arm(.abandonKill, milliseconds: options.deadlines[.abandonKill])]
        case (.abandonKill, .abandoning):
            return answerAbandon(.failed(StepError(.unproven, "the destination's QEMU was not seen to end")))
        default: return []
        }
    }
}
