public import Migration

/// The source side of an attempt: Begin, Perform, Confirm, and the evidence about the QEMU the guest leaves.
///
/// A value without clock and I/O. Inputs are method calls, outputs are effects; `Effect.answer` tells the coordinator
/// how a step went.
public struct SourceMachine: Hashable, Sendable {
    enum State: Hashable {
        case idle
        /// Begin's queries are under way.
        case beginning(Cookie)
        /// Begin was answered.
        case begun
        /// Capabilities, parameters and `migrate` are being sent; the commands not sent yet.
        case configuring([Command])
        /// Disks are copied, ahead of memory; the commands not sent yet.
        case copyingDisks([Command])
        /// QEMU migrates.
        case migrating
        /// An end without the guest having left: tidying up.
        case cleaning(Cleaning)
        /// Completed, or in post-copy, and surrendered.
        case performed
        /// Perform failed, and the call that holds the job waits for Confirm.
        case unperformed
        /// A post-copy was interrupted; the job is kept and a recovery may come.
        case interrupted
        /// A step of a post-copy recovery.
        case recovering(Recovering)
        /// Confirm of a success.
        case ending(Ending)
        /// Confirm of a failure.
        case resuming(Resuming)
        /// Nothing more comes from here.
        case done
    }

    struct Cleaning: Hashable {
        var error: StepError
        var isYankAsked = false
        var hasState = false
        var restoring = 0
        var isRestored = false
    }

    enum Ending: Hashable {
        case statistics, quitting, killing
        /// The QEMU is kept: what was changed is put back once nothing of the migration uses it any more.
        case releasing, keeping(Int)
    }

    enum Resuming: Hashable { case asking, continuing, checking, restoring(Int) }

    var core: SideCore
    var state = State.idle
    let options: MigrateOptions
    /// How far stopping the migration got.
    var stopping = Escalation.none
    var isContinued = false
    var isCatchingUp = false
    var resumeRefusals = 0
    var isStarted = false
    var isHoldWanted = false
    /// What a guest that QEMU holds waits for beside us.
    var gate: SwitchoverGate
    /// Somebody wants post-copy, and it could not be started yet.
    var isPostcopyWanted = false
    /// How far it is proven that the guest may run on the destination while its memory follows.
    var handOver = HandOver.none
    /// Whether the surrender is on record: from then on the guest is not this side's any more.
    var isSurrendered = false
    /// The guest has left, and its leases are still to be given back.
    var isSurrenderDue = false
    /// A recovery was started, and QEMU shows nothing of it yet.
    var isReconnecting = false
    /// Why this side itself gave up, if it did.
    var abortReason: String?
    /// The copies of disks, where that is wished.
    var mirrors: StorageMirrors?
    /// What an earlier attempt has left behind, while it is removed.
    var leftovers: StorageMirrors?
    /// The guest stands still until its disks are copied to their end.
    var isWaitingForDisks = false
    /// The record that told of them last.
    var diskSequence = 0

    /// The source of an attempt.
    public init(options: MigrateOptions) {
        self.options = options
        gate = options.isHeld || options.hasHook ? .closed : .open
        core = SideCore(
            side: .source, isHeldThroughout: options.mode.isHeldThroughout, lockManager: options.lockManager)
        guard options.isPostcopyResume else { return }
        // The job of the attempt that was interrupted is the one that goes on.
        core.job = JobMachine(side: .source, restoring: .postcopyFailed)
        isSurrendered = true
        state = .interrupted
    }

    /// What is known of this QEMU.
    public var evidence: Evidence { core.evidence }
    /// The job and its phase.
    public var job: JobMachine { core.job }
    /// What it is made of.
    public var description: DomainDescription? { core.survey?.description }
    /// What the lock manager said last of the guest's leases.
    public var lease: LeaseState? { core.lease.state }
    /// The step that asks what there is.
    var firstStep: Step { options.protocolVersion == .v2 ? .dumpXML : .begin }
    /// The run state when the attempt began.
    public var firstRunState: RunState? { core.firstRunState }
    /// Whether `quit` was heard, so that the end of the connection is the end of this QEMU.
    var isQuitHeard: Bool { evidence.triggers[.kill]?.state == .accepted || evidence.events.has(.hostShutdown) }

    // MARK: Steps

    /// Begin: hold the job, ask what there is. DumpXML asks the same and holds nothing, as Begin does without change
    /// protection.
    public mutating func begin(_ cookie: Cookie) -> [Effect] {
        if case .interrupted = state { return beginResume(cookie) }
        guard case .idle = state else {
            return [.answer(firstStep, .failed(StepError(.refused, "this attempt has begun already")))]
        }
        var phase: [Effect] = []
        if options.holdsJobFromBegin {
            switch core.enter(.begin3, owner: options.mode.isHeldThroughout ? "perform" : "begin", starting: .out) {
            case .failure(let error): return [.answer(firstStep, .failed(StepError(.refused, error.description)))]
            case .success(let effect): phase = [effect]
            }
        } else if let active = core.job.job {
            return [
                .answer(firstStep, .failed(StepError(.refused, "a migration job is active (\(active.rawValue))")))
            ]
        }
        if options.isOffline {
            core.continueJob()
            state = .begun
            return phase + [.answer(firstStep, .done(cookie))]
        }
        state = .beginning(cookie)
        return phase + SideCore.firstQueries.map { core.send($0) }
            + [.arm(.begin, milliseconds: options.deadlines[.begin])] + gathered()
    }

    /// The survey arrived.
    public mutating func surveyed(_ survey: Survey) -> [Effect] {
        core.survey = survey
        return gathered()
    }

    /// The survey failed.
    public mutating func surveyFailed(_ why: String) -> [Effect] {
        guard case .beginning = state else {
            core.surveyProblem = why
            return []
        }
        return failBegin("the source could not be described: \(why)")
    }

    mutating func gathered() -> [Effect] {
        guard case .beginning(var cookie) = state else { return [] }
        if let problem = core.surveyProblem { return failBegin("the source could not be described: \(problem)") }
        guard core.isGathered, let survey = core.survey, let sample = core.firstSample,
            let runState = core.firstRunState
        else { return [] }
        if let status = sample.status, !status.isTerminal {
            return failBegin("the source is migrating already (status \(status))")
        }
        switch runState {
        case .inMigrate: return failBegin("the source waits for an incoming migration itself (run state inmigrate)")
        case .postMigrate: return failBegin("the source's guest was sent away already (run state postmigrate)")
        case .finishMigrate: return failBegin("a migration of the source is not finished (run state finish-migrate)")
        default: break
        }
        if !sample.blockedReasons.isEmpty {
            return failBegin(
                "this guest cannot be migrated, QEMU says: " + sample.blockedReasons.joined(separator: "; "))
        }
        if options.isTwoWay, !core.hasCapability("return-path") {
            return failBegin("the source's QEMU has no return-path capability")
        }
        if options.isPostcopyPossible, !core.hasCapability("postcopy-ram") {
            return failBegin("the source's QEMU has no postcopy-ram capability")
        }
        if let lacking = core.lacking(options) { return failBegin(lacking) }
        if let lacking = findDisks(survey) { return failBegin(lacking) }
        if let wait = leasesToKnow(isRunning: runState == .running) { return wait }
        cookie.lease = core.lease.state
        cookie.description = survey.description
        cookie.name = survey.description.name
        cookie.uuid = survey.description.uuid
        cookie.storage = offeredDisks
        cookie.capabilities = (core.originalCapabilities ?? []).map(\.name)
        cookie.isRunIntended = runState == .running && !options.isPausedIntended
        core.continueJob()
        state = .begun
        return [
            .disarm(.begin),
            .persist(
                .saved(
                    .source, capabilities: core.originalCapabilities ?? [], parameters: core.originalParameters ?? [])),
            .answer(firstStep, .done(cookie)),
        ]
    }

    mutating func failBegin(_ why: String, kind: StepError.Kind = .refused) -> [Effect] {
        state = .done
        return [.disarm(.begin), .disarm(.sourceMonitor)] + core.finishJob() + [
            .answer(firstStep, .failed(StepError(kind, why)))
        ]
    }

    /// Perform: configure, migrate, watch.
    public mutating func perform(_ cookie: Cookie) -> [Effect] {
        if let error = core.refusal(of: cookie, into: .perform, options) { return [.answer(.perform, .failed(error))] }
        if case .recovering(.begun) = state { return performResume(cookie) }
        if case .interrupted = state { return performUnattended() }
        guard case .begun = state, let uri = cookie.uri, !options.isOffline else {
            return [.answer(.perform, .failed(StepError(.refused, "Perform without Begin or without an address")))]
        }
        guard evidence.monitor == .connected else {
            return finish(.perform, .failed(StepError(.failed, "the source's monitor was lost before Perform")))
        }
        let starting: Job? = core.job.job == nil ? .out : nil
        let entered = core.enter(
            options.protocolVersion == .v2 ? .perform2 : .perform3, owner: "perform", starting: starting)
        switch entered {
        case .failure(let error):
            return [.answer(.perform, .failed(StepError(.refused, error.description)))]
        case .success(let phase):
            var wanted = ["events", "pause-before-switchover"]
            if options.isTwoWay { wanted.append("return-path") }
            var parameters = options.parameters(of: .source)
            if options.isPostcopyPossible {
                wanted.append("postcopy-ram")
                parameters += postcopyParameters
            }
            wanted += options.capabilities(of: .source)
            let commands =
                [core.configureCapabilities(wanted)].compactMap(\.self) + core.makingObjects(options)
                + [core.configureParameters(parameters)].compactMap(\.self)
                + (options.readsBack ? SideCore.readBack : []) + core.passDescriptors(options)
                + [.migrate(uri: core.streamAddress(uri, options), resume: false)]
            return [phase, .arm(.start, milliseconds: options.deadlines[.start])]
                + (removeLeftovers(before: commands) ?? next(commands))
        }
    }

    mutating func next(_ commands: [Command]) -> [Effect] {
        if case .migrate? = commands.first, let copying = copyDisks(before: commands) { return copying }
        return send(next: commands)
    }

    mutating func send(next commands: [Command]) -> [Effect] {
        guard let first = commands.first else {
            state = .migrating
            return []
        }
        state = .configuring(Array(commands.dropFirst()))
        core.note(underWay: first)
        return [core.send(first)]
    }

    /// Gives the job back without having migrated: something else went wrong before Perform. A recovery that cannot go
    /// on leaves it as it was.
    public mutating func release() -> [Effect] {
        switch state {
        case .recovering: return interrupt()
        case .performed where hasSeenPostcopy && isAway: return interrupt()
        case .begun, .idle, .performed, .unperformed:
            state = .done
            return core.finishJob()
        default: return []
        }
    }

    /// Confirm. Of a success (`Cookie.isSuccess`) it ends the source's QEMU; otherwise the guest goes on here.
    public mutating func confirm(_ cookie: Cookie) -> [Effect] {
        if let error = core.refusal(of: cookie, into: .confirm, options) { return [.answer(.confirm, .failed(error))] }
        return confirm(isSuccess: cookie.isSuccess ?? false)
    }

    private mutating func confirm(isSuccess: Bool) -> [Effect] {
        if !isSuccess, isAway { return confirmInterrupted() }
        let isResumed = core.job.phase >= .postcopyFailed
        let wanted: Phase = isSuccess ? isResumed ? .confirmResume : .confirm3 : .confirm3Cancelled
        let phase: Effect
        switch core.enter(wanted, owner: "confirm") {
        case .success(let effect): phase = effect
        case .failure:
            // After a failed Perform the job is over already: continuing a stopped guest is a job of its own.
            let other: Phase = options.protocolVersion == .v2 ? .perform2 : .confirm3Cancelled
            guard !isSuccess, core.job.job == nil,
                case .success(let effect) = core.enter(other, owner: "confirm", starting: .out)
            else { return [.answer(.confirm, .failed(StepError(.refused, "Confirm without Perform")))] }
            phase = effect
        }
        if options.isOffline { return [phase] + finish(.confirm, .done(confirmed)) }
        if evidence.processEnd != nil {
            return [phase] + finish(.confirm, isSuccess ? .done(confirmed) : .failed(gone("Confirm")))
        }
        if isSuccess { return [phase] + end() }
        state = .resuming(.asking)
        return [phase, core.send(.queryStatus), .arm(.resume, milliseconds: options.deadlines[.resume])]
    }

    /// Ends this QEMU, after a last look at its numbers.
    mutating func end() -> [Effect] {
        state = .ending(.statistics)
        return [core.send(.queryMigrate), .arm(.quit, milliseconds: options.deadlines[.quit])]
    }

    // MARK: Observations

    /// A command left.
    public mutating func sent(_ command: Command, origin: Origin, sequence: Int, at time: Instant) {
        core.note(sent: command, origin: origin, sequence: sequence, at: time)
    }

    /// Something was observed.
    public mutating func observe(_ fact: Fact, sequence: Int, at time: Instant) -> [Effect] {
        core.evidence.note(fact, sequence: sequence, at: time)
        if mirrors != nil { diskSequence = sequence }
        noteInterference()
        let heard = (core.heard(fact) ? [Effect.disarm(.sourceMonitor)] : []) + followLeases()
        switch fact {
        case .reply(let command, let reply):
            core.gather(reply)
            core.note(reply, to: command)
            return heard + repliedAboutDisks(command, reply) + replied(command, reply) + progress()
        case .unanswered(.storage(let command)): return unansweredAboutDisks(command)
        case .unanswered(let command):
            return unanswered(command) + silent() + progress()
        case .monitor(let monitor): return monitorChanged(monitor) + progress()
        case .process: return processEnded()
        case .unkillable(let why):
            guard case .ending(.killing) = state else { return [] }
            return finish(endingStep, .failed(StepError(.unproven, "the source's QEMU was not ended: \(why)")))
        case .event(.blockJob(let event)):
            return heard + say((leftovers?.noticed(event) ?? []) + (mirrors?.noticed(event) ?? [])) + followDisks()
                + progress()
        case .event(let event): return heard + notice(event) + progress()
        case .greeting: return heard + progress()
        }
    }

    /// A QEMU that keeps its connection and says nothing is no better than a lost one.
    mutating func silent() -> [Effect] {
        guard isWatching, core.fallsSilent() else { return [] }
        return [.arm(.sourceMonitor, milliseconds: options.deadlines[.sourceMonitor])]
    }

    mutating func replied(_ command: Command, _ reply: Reply) -> [Effect] {
        if case .setParameters = command, isWatching, case .refused(_, let text) = reply {
            return [.refused(.set, "QEMU refuses: \(text)")]
        }
        switch state {
        case .beginning:
            if let text = reply.problem { return failBegin("\(command.name) on the source: \(text)") }
            return gathered()
        case .configuring(let rest): return configured(command, reply, rest)
        case .migrating:
            if case .refused = reply, command == .migrateCancel {
                return cancelRefused()
            }
            if case .refused(_, let text) = reply, command == .startPostcopy {
                return [.refused(.postcopy, "QEMU refuses: \(text)")]
            }
            if command == .queryMigrate, case .asking = handOver { return proof(reply) }
            if command == .queryMigrate, case .migration(let sample) = reply, isCatchingUp {
                isCatchingUp = false
                if sample.status == nil, evidence.words.isEmpty {
                    return clean(StepError(.failed, "`migrate` was lost with the source's monitor"))
                }
            }
            return []
        case .cleaning(var cleaning): return cleaned(command, reply, &cleaning)
        case .ending(.releasing): return released(command, reply)
        case .ending(let ending): return ended(command, ending)
        case .resuming(let resuming): return resumed(command, reply, resuming)
        case .recovering(let recovering): return recovered(command, reply, recovering)
        case .performed where command == .queryStatus: return reply == .status(.running) ? alarm() : []
        case .idle, .begun, .copyingDisks, .performed, .unperformed, .interrupted, .done: return []
        }
    }

    /// What was not answered may have been done all the same; nothing waits for it any longer.
    mutating func unanswered(_ command: Command) -> [Effect] {
        switch state {
        case .beginning where SideCore.firstQueries.contains(command):
            return failBegin("the source did not answer \(command.name)", kind: .failed)
        case .configuring where command.trigger == .migrate:
            state = .migrating
            return stopping.isWanted ? stop() : []
        case .configuring where command.trigger == .configure || SideCore.readBack.contains(command):
            return clean(StepError(.failed, "the source did not answer \(command.name)"))
        case .migrating where command == .queryMigrate: return unproven()
        case .recovering(let recovering): return unanswered(command, recovering)
        case .cleaning(let cleaning):
            guard cleaning.restoring > 0 else {
                return [.arm(.cleanupPoll, milliseconds: options.deadlines[.cleanupPoll])]
            }
            var cleaning = cleaning
            return cleaned(command, .done, &cleaning)
        case .ending(.releasing): return [.arm(.cleanupPoll, milliseconds: options.deadlines[.cleanupPoll])]
        case .ending(let ending): return ended(command, ending)
        case .resuming(.continuing) where command == .cont:
            state = .resuming(.asking)
            return [.arm(.resumePoll, milliseconds: options.deadlines[.resumePoll])]
        case .resuming(.asking) where command == .queryStatus, .resuming(.checking) where command == .queryStatus:
            return [.arm(.resumePoll, milliseconds: options.deadlines[.resumePoll])]
        case .resuming(.restoring(let left)): return resumed(command, .done, .restoring(left))
        default: return []
        }
    }

    mutating func configured(_ command: Command, _ reply: Reply, _ rest: [Command]) -> [Effect] {
        let isReadBack = options.readsBack && SideCore.readBack.contains(command)
        guard isReadBack || command.trigger == .configure || command.trigger == .migrate else { return [] }
        if isReadBack, let difference = core.difference(in: reply) { return clean(StepError(.failed, difference)) }
        switch reply {
        case .refused(_, let text), .unreadable(let text):
            return clean(StepError(.failed, "\(command.name) on the source: \(text)"))
        default: break
        }
        if command.trigger == .migrate {
            state = .migrating
            return stopping.isWanted ? stop() : []
        }
        if stopping.isWanted {
            return clean(
                isCancelWanted
                    ? StepError(.cancelled, "cancelled before the migration was started")
                    : StepError(.failed, abortReason ?? "stopped before the migration was started"))
        }
        return next(rest)
    }

    mutating func monitorChanged(_ monitor: MonitorState) -> [Effect] {
        guard monitor == .connected else {
            switch state {
            case .idle, .begun, .done, .unperformed, .interrupted: return []
            case .recovering: return interrupt(because: "the source's monitor was lost")
            case .ending(.quitting) where isQuitHeard, .ending(.killing) where isQuitHeard:
                return finish(endingStep, .done(confirmed))
            default: return [.arm(.sourceMonitor, milliseconds: options.deadlines[.sourceMonitor])]
            }
        }
        switch state {
        case .configuring where evidence.triggers.wasSent(.migrate):
            state = .migrating
            return catchUp()
        case .configuring(let rest):
            return clean(
                StepError(.failed, "the source's monitor was lost before `migrate` (\(rest.count) commands were left)"))
        case .copyingDisks: return [.disarm(.sourceMonitor)] + disksReconnected() + followDisks()
        case .migrating: return catchUp() + disksReconnected() + followDisks()
        case .performed, .interrupted: return catchUp()
        case .cleaning(var cleaning):
            cleaning.isYankAsked = false
            cleaning.hasState = false
            state = .cleaning(cleaning)
            return [.disarm(.sourceMonitor)] + disksReconnected() + startCleaning()
        case .resuming:
            state = .resuming(.asking)
            return [.disarm(.sourceMonitor), core.send(.queryStatus)]
        case .beginning: return [.disarm(.sourceMonitor)] + failIfGathering()
        case .ending(.statistics): return [.disarm(.sourceMonitor), core.send(.queryMigrate)]
        case .ending(.keeping), .ending(.releasing): return finish(endingStep, .failed(notRestored))
        case .ending: return [.disarm(.sourceMonitor), core.send(.quit)]
        case .idle, .begun, .unperformed, .recovering, .done: return []
        }
    }

    /// The first connection is how it begins; another one has lost the answers of the one before.
    mutating func failIfGathering() -> [Effect] {
        evidence.events.has(.monitorLost) ? failBegin("the source's monitor was lost", kind: .failed) : []
    }

    /// What happened while nobody listened is gone; what is, can be asked.
    mutating func catchUp() -> [Effect] {
        core.startPolling()
        isCatchingUp = true
        // Written is not read: what the old connection took with it may have to be said again.
        isContinued = false
        if case .asking = handOver { handOver = .due }
        return [.disarm(.sourceMonitor), core.send(.queryStatus), core.send(.queryMigrate)]
    }

    mutating func processEnded() -> [Effect] {
        switch state {
        case .beginning: return failBegin("the source's QEMU is gone", kind: .gone)
        case .configuring, .copyingDisks, .migrating, .cleaning:
            return endPerform(gone("Perform"))
        case .ending: return finish(endingStep, .done(confirmed))
        case .resuming: return finish(.confirm, .failed(gone("Confirm")))
        case .recovering(let recovering):
            let step: Step = recovering.isBegin ? .begin : .perform
            let isAnswered = recovering == .begun
            state = .done
            return [.disarm(.begin), .disarm(.start), .disarm(.sourceMonitor)] + core.finishJob()
                + (isAnswered ? [] : [.answer(step, .failed(gone(step.rawValue)))])
        case .idle, .begun, .performed, .unperformed, .interrupted, .done:
            return [.disarm(.sourceMonitor)] + core.domainDied()
        }
    }

    var lastWord: String { evidence.words.last?.word.rawValue ?? "unknown" }

    func gone(_ step: String) -> StepError {
        let how = evidence.processEnd?.description ?? "gone"
        return StepError(.gone, "the source's QEMU \(how) during \(step)")
    }

    /// Whether somebody else paused the guest while it was being copied, and did not continue it.
    public internal(set) var wasPausedOnTheWay = false

    mutating func progress() -> [Effect] {
        guard case .migrating = state else { return progressAway() }
        switch evidence.stage {
        case .completed: return surrender()
        case .postcopy(let stage): return progress(inPostcopy: stage)
        case .held:
            // An abort that found QEMU waiting for us. One cancel is enough, also while it waits behind a reply that
            // does not come.
            if stopping.isWanted { return stopping == .expected || stopping == .interrupted ? stop() : [] }
            guard !isContinued else { return [] }
            if let wait = waitAtGate() { return wait }
            if let wait = waitForDisks() { return wait }
            isContinued = true
            return [
                core.send(.migrateContinue(state: "pre-switchover")),
                .arm(.switchover, milliseconds: options.deadlines[.switchover]),
            ] + (mirrors == nil ? [] : [.disarm(.storage)])
        case .ended(let ending):
            if let abortReason, ending == .cancelled, !isCancelRequested {
                return clean(StepError(.failed, abortReason))
            }
            let text = evidence.errorDescription ?? evidence.triggers[.migrate]?.refusal ?? abortReason
            return clean(
                StepError(
                    ending == .cancelled ? .cancelled : .failed,
                    ending == .cancelled ? "cancelled" : "the migration failed" + (text.map { ": \($0)" } ?? "")))
        case .copying, .waiting:
            if let abort = abortForDisk() { return abort }
            guard evidence.events.has(.active), !isStarted, !stopping.isWanted else {
                return holdIfDue() + postcopyIfDue()
            }
            isStarted = true
            return [.disarm(.start)] + holdIfDue() + postcopyIfDue()
        case .switchover, .stopping:
            // A cancel that meets device state being sent waits behind it; a yank does not.
            guard stopping.isUnheard, hasYank, evidence.events.has(.device) else {
                return evidence.stage == .switchover ? [] : watchStopping()
            }
            return cut()
        default: return []
        }
    }

    /// The guest has left: that goes on record before anybody may let it run elsewhere.
    mutating func surrender() -> [Effect] {
        if let why = disksLeftBehind { return clean(StepError(.failed, why)) }
        if let wait = leasesToFree() { return wait }
        state = .performed
        handOver = .proven
        var cookie = Cookie(attempt: options.attempt)
        cookie.statistics = statistics
        // A file runs no guest: until it is safe on the disk this side can still go on.
        let isGivenAway = options.mode != .save
        var effects: [Effect] =
            isSurrendered || !isGivenAway ? [] : [.persist(.surrendered(attempt: options.attempt))]
        isSurrendered = isGivenAway
        let done: [Effect] = [
            .disarm(.start), .disarm(.switchover), .disarm(.cancel), .disarm(.yank), .disarm(.handOver),
        ]
        if options.protocolVersion == .v2 {
            // There is no Confirm to wait for, and no way back from here.
            return effects + done + end()
        }
        if core.job.phase < .postcopyFailed, let move = try? core.job.setPhase(.perform3Done) {
            effects.append(.phase(move))
        }
        core.continueJob()
        return effects + [.answer(.perform, .done(cookie))] + done
    }
}
