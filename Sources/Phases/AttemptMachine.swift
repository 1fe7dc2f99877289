public import Migration

/// One attempt with both sides in this process: the composition that the live driver, the replay and the tests share.
///
/// `apply` is the only door. It takes one input and returns what to do, in order; it does no I/O and reads no clock.
public struct AttemptMachine: Hashable, Sendable {
    /// The source side.
    public internal(set) var source: SourceMachine
    /// The destination side.
    public internal(set) var destination: DestinationMachine
    /// The one who sees both.
    public internal(set) var coordinator: Coordinator
    /// The last published status.
    public internal(set) var status = PublishedStatus.idle
    /// The end, once it came.
    public internal(set) var result: AttemptResult?
    let options: MigrateOptions
    /// The convergence policy, once QEMU migrates.
    var course: PolicyCourse?

    /// An attempt before its first input.
    public init(options: MigrateOptions) {
        var options = options
        // One process is on one host.
        options.isOneHost = true
        self.options = options
        source = SourceMachine(options: options)
        destination = DestinationMachine(options: options)
        coordinator = Coordinator(options: options)
    }

    /// Takes one input.
    ///
    /// - Parameters:
    ///   - input: What happened.
    ///   - sequence: The record that holds it; reasons point at it.
    ///   - time: When it happened.
    /// - Returns: What to do, in this order.
    public mutating func apply(_ input: Input, sequence: Int, at time: Instant) -> [Effect] {
        guard result == nil else {
            notice(input, sequence: sequence, at: time)
            return []
        }
        var work = Work(sequence: sequence, time: time)
        switch input {
        case .fact(.source, let fact): work.add(source.observe(fact, sequence: sequence, at: time))
        case .fact(.destination, let fact):
            work.add(destination.observe(fact, sequence: sequence, at: time))
            source.note(destination: destination.evidence)
        case .sent(.source, let command):
            source.sent(command, origin: .controller, sequence: sequence, at: time)
        case .sent(.destination, let command):
            destination.sent(command, origin: .controller, sequence: sequence, at: time)
        case .surveyed(.source, let survey): work.add(source.surveyed(survey))
        case .surveyed(.destination, let survey): work.add(destination.surveyed(survey))
        case .surveyFailed(.source, let why): work.add(source.surveyFailed(why))
        case .surveyFailed(.destination, let why): work.add(destination.surveyFailed(why))
        case .lease(.source, let result): work.add(source.leaseAnswered(result))
        case .lease(.destination, let result): work.add(destination.leaseAnswered(result))
        case .request(let request, let origin):
            // Without another address it is the usual one.
            if request == .recover, coordinator.isInterrupted { destination.recoveryURI = nil }
            work.add(coordinator.request(request, origin: origin))
        case .change(let settings, _): work.add(source.change(settings))
        case .recover(let uri, let origin):
            if coordinator.isInterrupted { destination.recoveryURI = uri }
            work.add(coordinator.request(.recover, origin: origin))
        case .hooked(.preSwitchover, let failure): work.add(source.hooked(failure, sequence: sequence))
        case .hooked(let point, let failure):
            work.add(
                coordinator.hooked(
                    point, failure, source: source.evidence.report, destination: destination.evidence.report))
        case .timeout(let deadline):
            work.add(coordinator.timedOut(deadline))
            source.note(timeout: deadline, sequence: sequence, at: time)
            work.add(source.timedOut(deadline))
            work.add(destination.timedOut(deadline))
        case .tick:
            work.add(source.tick())
            work.add(destination.tick())
        }
        settle(&work)
        followPolicy(input, &work)
        return work.effects
    }

    /// After the end only the evidence grows: whatever is said now, nothing follows from it.
    mutating func notice(_ input: Input, sequence: Int, at time: Instant) {
        switch input {
        case .fact(.source, let fact): _ = source.observe(fact, sequence: sequence, at: time)
        case .fact(.destination, let fact):
            _ = destination.observe(fact, sequence: sequence, at: time)
            source.note(destination: destination.evidence)
        case .sent(.source, let command):
            source.sent(command, origin: .controller, sequence: sequence, at: time)
        case .sent(.destination, let command):
            destination.sent(command, origin: .controller, sequence: sequence, at: time)
        case .surveyed, .surveyFailed, .lease, .request, .change, .recover, .hooked, .timeout, .tick: break
        }
    }

    /// Actions that are still to be carried out among the machines, and effects for the driver.
    struct Work {
        let sequence: Int
        let time: Instant
        var actions: [CoordinatorAction] = []
        var effects: [Effect] = []

        mutating func add(_ effects: [Effect]) { actions += effects.map { .effect($0) } }
        mutating func add(_ actions: [CoordinatorAction]) { self.actions += actions }
        /// What an action leads to goes before what was to be done after it.
        mutating func insert(_ effects: [Effect]) {
            actions.insert(contentsOf: effects.map { .effect($0) }, at: 0)
        }
    }

    /// Runs calls and answers among the machines until nothing more follows.
    mutating func settle(_ work: inout Work) {
        repeat {
            while !work.actions.isEmpty {
                let action = work.actions.removeFirst()
                perform(action, &work)
            }
            if coordinator.isDone { break }
            if source.areDisksCopied { work.add(destination.closeExports()) }
            if source.isHeldUpByDisks { work.add(coordinator.refuseDestination()) }
            let (out, into) = (source.evidence.report, destination.evidence.report)
            publish(out, into, &work)
            coordinator.wasPausedOnTheWay = source.wasPausedOnTheWay
            work.add(coordinator.judge(source: out, destination: into))
        } while !work.actions.isEmpty
    }

    mutating func perform(_ action: CoordinatorAction, _ work: inout Work) {
        switch action {
        case .effect(.answer(let step, let result)):
            work.effects.append(.answer(step, result))
            let next = coordinator.answered(
                step, result, source: source.evidence.report, destination: destination.evidence.report)
            // What an answer leads to goes before what the other side still has to tell: nothing may stand between
            // `completed` and `cont`.
            work.actions.insert(contentsOf: next, at: 0)
        case .effect(.finished(var result)):
            result.ownGapMicroseconds = ownGap
            result.pauseMicroseconds = pause
            result.postcopyBlocktimeMilliseconds = destination.blocktimeMilliseconds
            result.error = explained(result)
            self.result = result
            // The last status is told before the end is.
            publish(source.evidence.report, destination.evidence.report, &work)
            work.effects.append(.finished(result))
        case .effect(.accepted(let step)):
            work.effects.append(.accepted(step))
            work.actions.insert(contentsOf: coordinator.accepted(step), at: 0)
        case .effect(let effect): work.effects.append(effect)
        case .call(let step, let cookie):
            work.effects.append(.call(step, cookie))
            work.insert(enter(step, cookie))
        case .cancel(let origin):
            work.insert(source.cancel(origin: origin, sequence: work.sequence, at: work.time))
        case .abort: work.insert(source.abort(sequence: work.sequence))
        case .hold(let origin): work.insert(source.hold(origin: origin, sequence: work.sequence, at: work.time))
        case .release(.source): work.insert(source.release())
        case .release(.destination): work.insert(destination.release())
        case .postcopy(let origin):
            work.insert(source.startPostcopy(origin: origin, sequence: work.sequence, at: work.time))
        case .allowHandOver: work.insert(source.allowHandOver())
        case .pausePostcopy(.source, let origin):
            work.insert(source.pausePostcopy(origin: origin, sequence: work.sequence, at: work.time))
        case .pausePostcopy(.destination, let origin):
            work.insert(destination.pausePostcopy(origin: origin, sequence: work.sequence, at: work.time))
        case .continueSwitchover: work.insert(source.continueSwitchover())
        case .stopSource: work.insert(source.stopAtOnce())
        }
    }

    /// The error with the destination's reason, which QEMU tells only when it is asked after its failure (9.1), and then
    /// often later than all else is decided. What we ourselves made end the migration needs no other one.
    private func explained(_ result: AttemptResult) -> String? {
        guard result.word == .failed, let known = result.error,
            coordinator.isFailureFirst || source.abortReason == nil,
            let text = destination.evidence.report.errorDescription, !known.contains(text)
        else { return result.error }
        let generic = Coordinator.destinationFailed
        return known.hasPrefix(generic)
            ? "\(generic): \(text)\(known.dropFirst(generic.count))" : "\(known) (the destination: \(text))"
    }

    mutating func enter(_ step: Step, _ cookie: Cookie) -> [Effect] {
        switch step {
        case .dumpXML, .begin: return source.begin(cookie)
        case .perform: return source.perform(cookie)
        case .confirm:
            var cookie = cookie
            cookie.isSuccess = coordinator.isConfirmOfSuccess
            return source.confirm(cookie)
        case .prepare: return destination.prepare(cookie)
        case .finish: return destination.finish(cookie)
        case .abandon: return destination.abandon()
        }
    }

    mutating func publish(_ out: SideReport, _ into: SideReport, _ work: inout Work) {
        let context = JointContext(
            isPausedIntended: options.isPausedIntended, wasPausedOnTheWay: coordinator.wasPausedOnTheWay)
        var new = PublishedStatus(
            source: options.mode.sides.contains(.source) ? out : nil,
            destination: options.mode.sides.contains(.destination) ? into : nil, context: context)
        if let result {
            new.word = result.word
            new.stopping = .none
        } else if new.word.isEnd {
            // An end is told once it is one: until the last step was answered it can still become another.
            if new.word != .completed { new.stopping = new.word == .cancelled ? .cancel : .failure }
            new.word = status.word
        }
        guard new != status else { return }
        status = new
        work.effects.append(.publish(new, reasons))
    }

    /// Why the status is what it is: both sides' reasons, oldest first.
    public var reasons: [Reason] {
        (source.evidence.position.reasons + destination.evidence.position.reasons)
            .sorted { $0.sequence < $1.sequence }
    }

    /// Our own share of the guest's pause: from QEMU's word to our command, twice.
    var ownGap: Int64? {
        let out = source.evidence
        let into = destination.evidence
        // In post-copy the guest may run before either side is done.
        let word: EventKind = into.events.has(.postcopyActive) ? .postcopyActive : .completed
        guard let run = into.triggers[.run]?.firstTime, let left = out.events[word]?.firstTime,
            let arrived = into.events[word]?.firstTime
        else { return nil }
        var gap = run.microseconds - max(left, arrived).microseconds
        // What a hook or a person takes is theirs, and what the end of the disks' copies takes is QEMU's.
        if !options.isHeld, !options.hasHook, options.storage == nil, let held = out.events[.preSwitchover]?.firstTime,
            let went = out.triggers[.continueSwitchover]?.firstTime
        {
            gap += went.microseconds - held.microseconds
        }
        return gap
    }

    var pause: Int64? {
        guard let stopped = source.evidence.events[.stopped]?.firstTime,
            let ran = destination.evidence.events[.ran]?.firstTime
        else { return nil }
        return ran.microseconds - stopped.microseconds
    }
}
