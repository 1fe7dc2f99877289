import Migration

/// What follows on the source when a bounded wait runs out.
extension SourceMachine {
    /// A wait ran out.
    public mutating func timedOut(_ deadline: Deadline) -> [Effect] {
        switch (deadline, state) {
        case (.sourceLease, _): return leaseTimedOut()
        case (.begin, .beginning): return failBegin("the source did not answer in time", kind: .failed)
        case (.start, .configuring):
            guard evidence.triggers.wasSent(.migrate) else {
                return clean(StepError(.failed, "the source could not be configured in time"))
            }
            state = .migrating
            // Only the reply is missing: what was seen meanwhile may be all there is to see.
            return abort("the migration did not start in time") + progress()
        case (.start, .copyingDisks): return clean(StepError(.failed, leftoversRemain))
        case (.start, .migrating): return abort("the migration did not start in time")
        case (.switchover, .migrating) where isBeyondRecall:
            return endPerform(
                StepError(
                    .unproven, "the switchover did not end in time, and the destination may have everything by now"))
        case (.switchover, .migrating): return abort("the switchover did not end in time")
        case (.hold, .migrating):
            guard gate == .waiting else { return [] }
            gate = .open
            return abort("nobody let the guest go on to the switchover in time")
        case (.handOver, .migrating): return handOverTimedOut()
        case (.begin, .recovering(.asking)): return interrupt(because: "the source did not answer in time")
        case (.start, .recovering): return interrupt(because: "the source did not answer in time")
        // In post-copy there is nothing that a cancel could come to.
        case (.cancel, .migrating) where isPastCancel, (.yank, .migrating) where isPastCancel: return []
        case (.cancel, .migrating):
            // A cancel between STOP and pre-switchover can leave QEMU 7.2 waiting for a continue that names the state
            // it is in.
            let nudge: [Effect] =
                evidence.events.has(.cancelling) ? [core.send(.migrateContinue(state: "cancelling"))] : []
            return nudge + cut()
        case (.yank, .migrating) where stopping != .cutAgain:
            // The other end is being ended meanwhile; that cuts the sockets too.
            stopping = .cutAgain
            return yank()
        case (.yank, .migrating):
            return endPerform(
                StepError(.unproven, "the source's QEMU did not end the migration (status \(lastWord))"))
        case (.cleanupPoll, .cleaning(let cleaning)):
            return (cleaning.isYankAsked ? [core.send(.queryYank)] : [])
                + (cleaning.hasState ? [] : [core.send(.queryStatus)])
        case (.cleanupPoll, .ending(.releasing)): return [core.send(.queryYank)]
        case (.grace, .cleaning(let cleaning)): return cleaning.hasState ? [] : [core.send(.queryStatus)]
        case (.cleanup, .cleaning(let cleaning)): return finishCleaning(cleaning.error)
        case (.storage, .migrating): return abort("the disks were not copied to their end in time")
        case (.quit, .ending(.keeping)), (.quit, .ending(.releasing)): return finish(endingStep, .failed(notRestored))
        case (.quit, .ending(.statistics)) where options.keepsSource:
            return finish(endingStep, .failed(notRestored))
        case (.quit, .ending(.statistics)) where evidence.monitor == .connected:
            state = .ending(.quitting)
            return [core.send(.quit), .arm(.quit, milliseconds: options.deadlines[.quit])]
        case (.quit, .ending):
            state = .ending(.killing)
            return [.kill(.source), .arm(.quitKill, milliseconds: options.deadlines[.quitKill])]
        case (.quitKill, .ending):
            return finish(endingStep, .failed(StepError(.unproven, "the source's QEMU was not seen to end")))
        case (.resumePoll, .resuming): return [core.send(.queryStatus)]
        case (.resume, .resuming(.restoring)): return finish(.confirm, .failed(notRestored))
        case (.resume, .resuming):
            if evidence.isRunning == true { return finish(.confirm, .done(confirmed)) }
            return finish(.confirm, .failed(StepError(.unproven, "the source did not continue in time")))
        case (.sourceMonitor, .migrating), (.sourceMonitor, .configuring), (.sourceMonitor, .copyingDisks),
            (.sourceMonitor, .cleaning):
            return endPerform(
                StepError(.unproven, "the source's monitor is lost and its QEMU was not seen to end"))
        // Ending a QEMU has waits of its own, which do without the monitor.
        case (.sourceMonitor, .ending) where !options.keepsSource: return []
        case (.sourceMonitor, .beginning): return failBegin("the source's monitor is lost", kind: .failed)
        case (.sourceMonitor, .resuming):
            return finish(.confirm, .failed(StepError(.unproven, "the source's monitor is lost")))
        case (.sourceMonitor, .ending):
            return finish(endingStep, .failed(StepError(.unproven, "the source's monitor is lost")))
        default: return []
        }
    }
}
