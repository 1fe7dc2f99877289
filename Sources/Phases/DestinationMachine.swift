public import Migration

/// The destination side of an attempt: Prepare, Finish, Abandon, and the evidence about the QEMU the guest arrives at.
public struct DestinationMachine: Hashable, Sendable {
    enum State: Hashable {
        case idle
        /// Prepare's queries are under way.
        case preparing(Cookie)
        /// Replies awaited before `migrate-incoming`, and the cookie for the answer.
        case configuring(Cookie, replies: Int)
        /// What Prepare changed is being put back, as nothing comes of it: how a step is answered once the last of these
        /// commands is.
        case undoing(Step, StepResult, last: Command)
        /// `migrate-incoming` was sent; its reply and the address are awaited.
        case listening(Cookie)
        /// Prepare was answered.
        case prepared(Cookie)
        /// Finish waits for the source's guest to be loaded.
        case arriving(Cookie)
        /// `cont` was sent.
        case running(Cookie)
        /// The guest runs, or stays paused as it should, and its memory follows.
        case following(Cookie)
        /// A post-copy was interrupted; the job is kept and a recovery may come.
        case interrupted(Cookie)
        /// A step of a post-copy recovery.
        case recovering(Recovering, Cookie)
        /// The guest is there, and QEMU is asked whether anything of the migration is left in it.
        case releasing(Cookie)
        /// What Prepare changed is being put back; the answer waits for the replies.
        case restoring(Cookie, replies: Int)
        /// Abandon is under way.
        case abandoning(Abandoning)
        /// Nothing more comes from here.
        case done
    }

    enum Abandoning: Hashable { case asking, quitting, killing, releasing }

    var core: SideCore
    var state = State.idle
    let options: MigrateOptions
    var hasListened = false
    var isRunRecorded = false
    /// What the source writes its disks to, where that is wished.
    var exports = Exports.none
    /// The disks that are filled.
    var disks: [StorageDisk] = []
    /// A recovery was prepared, and QEMU shows nothing of it yet.
    var isReconnecting = false
    /// How long the guest's processors waited for pages in post-copy, once QEMU has said so.
    public internal(set) var blocktimeMilliseconds: Int64?
    /// Where the next recovery shall listen, if somebody said so.
    var recoveryURI: String?
    /// How often a recovery was prepared.
    var recoveries = 0

    /// The destination of an attempt.
    public init(options: MigrateOptions) {
        self.options = options
        core = SideCore(side: .destination, lockManager: options.lockManager)
        guard options.isPostcopyResume else { return }
        // The job of the attempt that was interrupted is the one that goes on; its guest runs here.
        core.job = JobMachine(side: .destination, restoring: .postcopyFailed)
        hasListened = true
        isRunRecorded = true
        state = .interrupted(Cookie(attempt: options.attempt))
    }

    /// What is known of this QEMU.
    public var evidence: Evidence { core.evidence }
    /// The job and its phase.
    public var job: JobMachine { core.job }
    /// What it is made of.
    public var description: DomainDescription? { core.survey?.description }
    /// Whether the commit point was recorded: from then on only a refusal by QEMU itself proves that the guest did not
    /// run here.
    public var mayHaveRun: Bool {
        if evidence.events.has(.ran) { return true }
        return isRunRecorded && evidence.triggers[.run]?.refusal == nil
    }
    /// Whether this QEMU is spoilt for another attempt: it has listened.
    public var isTouched: Bool { hasListened }
    var isQuitHeard: Bool { evidence.triggers[.kill]?.state == .accepted || evidence.events.has(.hostShutdown) }

    // MARK: Prepare

    /// The survey arrived.
    public mutating func surveyed(_ survey: Survey) -> [Effect] {
        core.survey = survey
        return gathered()
    }

    /// The survey failed.
    public mutating func surveyFailed(_ why: String) -> [Effect] {
        core.surveyProblem = why
        return gathered()
    }

    /// Prepare: hold the job, compare, listen.
    public mutating func prepare(_ cookie: Cookie) -> [Effect] {
        if let error = core.refusal(of: cookie, into: .prepare, options) { return [.answer(.prepare, .failed(error))] }
        if case .interrupted(let earlier) = state { return prepareResume(cookie.carrying(earlier)) }
        guard case .idle = state else {
            return [.answer(.prepare, .failed(StepError(.refused, "this attempt was prepared already, or refused")))]
        }
        switch core.enter(.prepare, owner: "prepare", starting: .in) {
        case .failure(let error):
            return [.answer(.prepare, .failed(StepError(.refused, error.description)))]
        case .success(let phase):
            if options.isOffline {
                core.continueJob()
                state = .prepared(cookie)
                return [phase, .answer(.prepare, .done(cookie))]
            }
            core.lease.receive(cookie.lease, isFresh: true)
            state = .preparing(cookie)
            return [phase] + SideCore.firstQueries.map { core.send($0) }
                + [.arm(.prepare, milliseconds: options.deadlines[.prepare])] + gathered()
        }
    }

    mutating func gathered() -> [Effect] {
        guard case .preparing(let cookie) = state else { return [] }
        if let problem = core.surveyProblem { return failPrepare("the destination could not be described: \(problem)") }
        guard core.isGathered, let survey = core.survey, let sample = core.firstSample,
            let runState = core.firstRunState
        else { return [] }
        guard runState == .inMigrate else {
            return failPrepare(
                "the destination does not wait for a migration (run state \(runState)): start it with `-S -incoming defer`"
            )
        }
        if sample.status != nil || !sample.listeningURIs.isEmpty {
            return failPrepare(
                "the destination listens already (status \(sample.status?.rawValue ?? "none")): "
                    + "start it afresh with `-S -incoming defer`")
        }
        if let source = cookie.description {
            let differences = source.differences(
                from: survey.description, copying: Set(cookie.storage.map(\.target)))
            if !differences.isEmpty {
                return failPrepare(
                    "the destination is not made like the source:\n"
                        + differences.map { "  - \($0)" }.joined(separator: "\n"))
            }
        }
        let disks: [StorageDisk]
        switch disksToFill(cookie.storage) {
        case .success(let found): disks = found
        case .failure(let error): return failPrepare(error.description)
        }
        var wanted = ["events"]
        if options.isPostcopyPossible {
            guard core.hasCapability("postcopy-ram") else {
                return failPrepare("the destination's QEMU has no postcopy-ram capability")
            }
            wanted.append("postcopy-ram")
        }
        if core.hasCapability("late-block-activate") { wanted.append("late-block-activate") }
        if let lacking = core.lacking(options) { return failPrepare(lacking) }
        wanted += options.capabilities(of: .destination)
        let parameters = options.parameters(of: .destination)
        // A missing -S cannot be seen: run state is inmigrate either way. `stop` prevents a run by itself.
        let commands =
            [.stop, core.configureCapabilities(wanted)].compactMap(\.self) + core.makingObjects(options)
            + [core.configureParameters(parameters)].compactMap(\.self)
            + (options.readsBack ? SideCore.readBack : []) + core.passDescriptors(options) + serving(disks)
        commands.forEach { core.note(underWay: $0) }
        state = .configuring(cookie, replies: commands.count)
        return [
            .persist(
                .saved(
                    .destination, capabilities: core.originalCapabilities ?? [],
                    parameters: core.originalParameters ?? []))
        ] + commands.map { core.send($0) }
    }

    mutating func failPrepare(_ why: String, kind: StepError.Kind = .refused) -> [Effect] {
        let failure = StepResult.failed(StepError(kind, why))
        return hasListened ? undone(.prepare, failure) : undo(.prepare, failure)
    }

    /// What Prepare changed is put back where somebody is there to hear it, and then a step is answered: what is still in
    /// QEMU's queue when the connection is closed is not carried out.
    private mutating func undo(_ step: Step, _ result: StepResult) -> [Effect] {
        let commands = undoing()
        guard let last = commands.last else { return undone(step, result) }
        state = .undoing(step, result, last: last)
        return commands.map { core.send($0) } + [.arm(.prepare, milliseconds: options.deadlines[.prepare])]
    }

    /// The commands that put back what Prepare changed, where somebody is there to hear them.
    mutating func undoing() -> [Command] {
        evidence.monitor == .connected && evidence.processEnd == nil ? closingExports() + core.restoring() : []
    }

    private mutating func undone(_ step: Step, _ result: StepResult) -> [Effect] {
        state = .done
        return [.disarm(.prepare)] + core.finishJob() + [.answer(step, result)]
    }

    /// It cannot be put back, or not be seen to be.
    mutating func stopUndoing() -> [Effect] {
        guard case .undoing(let step, let result, _) = state else { return [] }
        return undone(step, result)
    }

    // MARK: Finish

    /// Finish: wait until the guest is loaded, then run it.
    public mutating func finish(_ cookie: Cookie) -> [Effect] {
        if let error = core.refusal(of: cookie, into: .finish, options) { return [.answer(.finish, .failed(error))] }
        if isInterrupted { return finishResume(cookie) }
        guard case .prepared(let prepared) = state else {
            return [.answer(.finish, .failed(StepError(.refused, "Finish without Prepare, or after Abandon")))]
        }
        switch core.enter(options.protocolVersion == .v2 ? .finish2 : .finish3, owner: "finish") {
        case .failure(let error):
            return [.answer(.finish, .failed(StepError(.refused, error.description)))]
        case .success(let phase):
            if options.isOffline { return [phase] + answerFinish(cookie) }
            state = .arriving(cookie.carrying(prepared))
            let next = progress()
            guard case .arriving = state else { return [phase] + next }
            return [phase, .arm(.arrival, milliseconds: options.deadlines[.arrival])] + next
        }
    }

    // MARK: Abandon

    /// Abandon: refuse this attempt for ever, end the QEMU, see it dead, then answer.
    public mutating func abandon() -> [Effect] {
        if case .abandoning = state { return [] }
        if mayHaveRun {
            // Dead or alive: what ran here may have written to the disks, and only a person can weigh that.
            let what = evidence.processEnd.map { "\($0)" } ?? "is left as it is"
            return [
                .answer(
                    .abandon,
                    .failed(
                        StepError(
                            .unproven, "the destination was told to run the guest and may have run it; its QEMU \(what)"
                        )))
            ]
        }
        if evidence.processEnd != nil {
            if let wait = leasesToGiveBack() { return [.persist(.refused(attempt: options.attempt))] + wait }
            state = .done
            return [.persist(.refused(attempt: options.attempt))] + core.finishJob()
                + [.answer(.abandon, .done(Cookie(attempt: options.attempt)))]
        }
        guard hasListened else {
            // Nothing was started: the QEMU waits as it did before, and can be used again.
            return [.persist(.refused(attempt: options.attempt))]
                + undo(.abandon, .done(Cookie(attempt: options.attempt)))
        }
        let record: [Effect] = [
            .persist(.refused(attempt: options.attempt)), .disarm(.arrival), .disarm(.run), .disarm(.runPoll),
            .arm(.abandon, milliseconds: options.deadlines[.abandon]),
        ]
        if evidence.events.has(.failed), evidence.monitor == .connected {
            // It stayed alive (`exit-on-error` false) so that it could say why.
            state = .abandoning(.asking)
            return record + [core.send(.queryMigrate)]
        }
        state = .abandoning(.quitting)
        return record + (evidence.monitor == .connected ? [core.send(.quit)] : [])
    }

    // MARK: Observations

    /// A command left.
    public mutating func sent(_ command: Command, origin: Origin, sequence: Int, at time: Instant) {
        core.note(sent: command, origin: origin, sequence: sequence, at: time)
    }

    /// Something was observed.
    public mutating func observe(_ fact: Fact, sequence: Int, at time: Instant) -> [Effect] {
        core.evidence.note(fact, sequence: sequence, at: time)
        noteExports(fact)
        let heard = core.heard(fact) ? [Effect.disarm(.destinationMonitor)] : []
        switch fact {
        case .reply(let command, let reply):
            core.gather(reply)
            core.note(reply, to: command)
            if case .migration(let sample) = reply, let time = sample.postcopyBlocktimeMilliseconds {
                blocktimeMilliseconds = time
            }
            return heard + replied(command, reply) + progress()
        case .unanswered(let command): return unanswered(command) + silent()
        case .monitor(let monitor): return monitorChanged(monitor) + progress()
        case .process: return processEnded()
        case .unkillable(let why):
            guard case .abandoning = state else { return [] }
            return answerAbandon(.failed(StepError(.unproven, "the destination's QEMU was not ended: \(why)")))
        case .event(.resume):
            // While it loads, QEMU takes every `cont`: the event is the first word that it ran the guest.
            guard case .running(let cookie) = state, core.hasSeenPostcopy else { return heard + progress() }
            return heard + arrived(cookie)
        case .event(.migration(.postcopyPaused)):
            isReconnecting = false
            return heard + progress()
        case .event, .greeting: return heard + progress()
        }
    }

    mutating func replied(_ command: Command, _ reply: Reply) -> [Effect] {
        switch state {
        case .preparing:
            if let text = reply.problem { return failPrepare("\(command.name) on the destination: \(text)") }
            return gathered()
        case .configuring(let cookie, let replies):
            let isReadBack = options.readsBack && SideCore.readBack.contains(command)
            guard isReadBack || command.trigger == .configure || command == .stop || command.isAboutDisks else {
                return []
            }
            if isReadBack, let difference = core.difference(in: reply) { return failPrepare(difference, kind: .failed) }
            if let text = reply.problem { return failPrepare("\(command.name) on the destination: \(text)") }
            var more: [Command] = []
            if case .storage(.startServer) = command { more = exporting() }
            guard replies + more.count <= 1 else {
                state = .configuring(cookie, replies: replies - 1 + more.count)
                return more.map { core.send($0) }
            }
            state = .listening(cookie)
            let exitOnError: Bool? = (core.survey?.features.hasExitOnError ?? false) ? false : nil
            return [
                core.send(.migrateIncoming(uri: core.streamAddress(options.uri, options), exitOnError: exitOnError)),
                core.send(.queryMigrate),
            ]
        case .listening(let cookie): return listened(command, reply, cookie)
        case .running(let cookie): return ran(command, reply, cookie)
        case .undoing(let step, let result, let last): return command == last ? undone(step, result) : []
        case .releasing(let cookie):
            guard command == .queryYank else { return [] }
            return reply == .yankInstances(migration: true)
                ? [.arm(.runPoll, milliseconds: options.deadlines[.runPoll])] : restore(cookie)
        case .restoring(let cookie, let replies):
            guard command.trigger == .configure else { return [] }
            state = .restoring(cookie, replies: replies - 1)
            return replies <= 1 ? answerFinish(cookie) : []
        case .abandoning(.asking):
            guard command == .queryMigrate else { return [] }
            state = .abandoning(.quitting)
            return [core.send(.quit)]
        case .recovering(let recovering, let cookie): return recovered(command, reply, recovering, cookie)
        case .idle, .prepared, .arriving, .following, .interrupted, .abandoning, .done: return []
        }
    }

    /// What was not answered may have been done all the same; nothing waits for it any longer.
    mutating func unanswered(_ command: Command) -> [Effect] {
        if case .storage(.startServer) = command { exports = .open }
        switch state {
        case .preparing where SideCore.firstQueries.contains(command),
            .configuring
        where command.trigger == .configure || command == .stop || command.isAboutDisks
            || SideCore.readBack.contains(command),
            .listening where command.trigger == .listen || command == .queryMigrate:
            return failPrepare("the destination did not answer \(command.name)", kind: .failed)
        case .running where command == .queryStatus:
            return [.arm(.runPoll, milliseconds: options.deadlines[.runPoll])]
        case .undoing(_, _, let last): return command == last ? stopUndoing() : []
        case .releasing where command == .queryYank:
            return [.arm(.runPoll, milliseconds: options.deadlines[.runPoll])]
        case .restoring, .abandoning(.asking): return replied(command, .done)
        case .recovering(.asking, _) where command == .queryMigrate,
            .recovering(.listening, _) where command.trigger == .recover:
            return interrupt(because: "the destination did not answer \(command.name)")
        case .recovering(.addressing(let uri), _) where command == .queryMigrate:
            return interrupt(
                because:
                    "the destination waits for memory and does not say on which port of \(uri) it listens: recover over an "
                    + "address with its port, or over a Unix socket")
        default: return []
        }
    }

    mutating func listened(_ command: Command, _ reply: Reply, _ cookie: Cookie) -> [Effect] {
        if command.trigger == .listen {
            if let text = reply.problem {
                return failPrepare("the destination cannot listen on \(options.uri): \(text)", kind: .failed)
            }
            hasListened = true
            return []
        }
        guard command == .queryMigrate, hasListened, case .migration(let sample) = reply else { return [] }
        let wanted = options.connectURI ?? options.uri
        guard let uri = realAddress(wanted, sample) else {
            return failPrepare("the destination does not say on which port of \(options.uri) it listens", kind: .failed)
        }
        var answer = Cookie(attempt: options.attempt).carrying(cookie)
        answer.uri = uri
        answer.capabilities = (core.originalCapabilities ?? []).map(\.name)
        answer.isRunIntended = cookie.isRunIntended
        core.continueJob()
        state = .prepared(answer)
        return [.disarm(.prepare), .answer(.prepare, .done(answer))]
    }

    /// The address to connect to: what was asked for, with the port that QEMU chose where it had to choose one.
    func realAddress(_ uri: String, _ sample: MigrationSample) -> String? {
        guard uri.hasPrefix("tcp:"), uri.hasSuffix(":0") else { return uri }
        guard let port = sample.listeningURIs.first(where: { $0.hasPrefix("tcp:") })?.split(separator: ":").last,
            UInt16(port) ?? 0 > 0
        else { return nil }
        return uri.dropLast(1) + String(port)
    }

    mutating func progress() -> [Effect] {
        guard case .arriving(let cookie) = state else { return progressInPostcopy() }
        switch evidence.stage {
        case .completed, .postcopy(.active): return run(cookie)
        case .postcopy(.paused): return isReconnecting ? [] : interrupt()
        case .ended:
            return failFinish(
                StepError(
                    .failed,
                    "the destination could not load the guest" + (evidence.errorDescription.map { ": \($0)" } ?? "")))
        default: return []
        }
    }

    /// The commit point, and what follows from it.
    private mutating func run(_ cookie: Cookie) -> [Effect] {
        // A commit that cannot be followed by its `cont` would only tie everybody's hands.
        guard evidence.monitor == .connected else { return [] }
        if let wait = leasesToTake(cookie) { return wait }
        isRunRecorded = true
        isReconnecting = false
        state = .running(cookie)
        let isWanted = (cookie.isRunIntended ?? true) && !evidence.events.has(.ran)
        // One command after the other: QEMU has taken the exports away before it hears of the guest.
        return [.persist(.run(attempt: options.attempt))] + closeExports() + (isWanted ? [core.send(.cont)] : []) + [
            core.send(.queryStatus), .disarm(.arrival), .arm(.run, milliseconds: options.deadlines[.run]),
        ]
    }

    mutating func ran(_ command: Command, _ reply: Reply, _ cookie: Cookie) -> [Effect] {
        switch (command, reply) {
        case (.cont, .refused(_, let text)):
            // QEMU itself says that it did not start the guest, so the commit can be taken back.
            return failFinish(StepError(.failed, "the destination's QEMU refuses to run the guest: \(text)"))
        case (.queryStatus, .status(let runState)):
            let isPausedIntended = !(cookie.isRunIntended ?? true)
            let isAtRest = isPausedIntended && runState != .inMigrate
            if runState == .running || isAtRest || runState == .shutdown { return arrived(cookie) }
            if runState == .paused, core.hasSeenPostcopy, evidence.monitor == .connected {
                // While it loads, QEMU takes every `cont` and may have looked before it came. The commit stands, so it
                // may be said again.
                return [core.send(.cont), .arm(.runPoll, milliseconds: options.deadlines[.runPoll])]
            }
            return [.arm(.runPoll, milliseconds: options.deadlines[.runPoll])]
        default: return []
        }
    }

    mutating func arrived(_ cookie: Cookie) -> [Effect] {
        if core.hasSeenPostcopy, evidence.stage != .completed { return follow(cookie) }
        guard options.tls != nil, core.survey?.features.hasYank ?? false else { return restore(cookie) }
        state = .releasing(cookie)
        return [
            .disarm(.runPoll), .arm(.run, milliseconds: options.deadlines[.run]), core.send(.queryYank),
        ]
    }

    private mutating func restore(_ cookie: Cookie) -> [Effect] {
        let commands = core.restoring()
        state = .restoring(cookie, replies: commands.count)
        if commands.isEmpty { return answerFinish(cookie) }
        // What QEMU measured is told only as long as it is told to measure.
        let last: [Effect] = options.capabilities.contains("postcopy-blocktime") ? [core.send(.queryMigrate)] : []
        return [.disarm(.runPoll), .arm(.run, milliseconds: options.deadlines[.run])] + last
            + commands.map { core.send($0) }
    }

    mutating func answerFinish(_ cookie: Cookie) -> [Effect] {
        state = .done
        return [.disarm(.run), .disarm(.runPoll), .disarm(.destinationMonitor)] + core.finishJob()
            + [.answer(.finish, .done(Cookie(attempt: options.attempt).carrying(cookie)))]
    }

    mutating func failFinish(_ error: StepError) -> [Effect] {
        // The job is kept: Abandon ends it.
        core.continueJob()
        state = .prepared(Cookie(attempt: options.attempt))
        return [.disarm(.arrival), .disarm(.run), .disarm(.runPoll), .answer(.finish, .failed(error))]
    }

    mutating func monitorChanged(_ monitor: MonitorState) -> [Effect] {
        guard monitor == .connected else {
            switch state {
            case .preparing, .configuring, .listening:
                return failPrepare("the destination's monitor was lost", kind: .failed)
            case .idle, .done, .interrupted: return []
            case .undoing: return stopUndoing()
            case .recovering: return interrupt(because: "the destination's monitor was lost")
            case .abandoning where isQuitHeard && !(core.survey?.isProcessWatched ?? false):
                // It acknowledged `quit` and hung up: its own word that no vCPU runs any more.
                return answerAbandon(.done(Cookie(attempt: options.attempt)))
            default: return [.arm(.destinationMonitor, milliseconds: options.deadlines[.destinationMonitor])]
            }
        }
        switch state {
        case .arriving, .following, .interrupted:
            return [.disarm(.destinationMonitor), core.send(.queryStatus), core.send(.queryMigrate)]
        case .running(let cookie):
            // A command written just before a connection breaks may never have been read. The commit stands, so it may
            // be said again.
            let again: [Effect] = cookie.isRunIntended ?? true ? [core.send(.cont)] : []
            return [.disarm(.destinationMonitor)] + closeExports() + again + [core.send(.queryStatus)]
        case .releasing: return [.disarm(.destinationMonitor), core.send(.queryYank)]
        case .restoring(let cookie, _): return [.disarm(.destinationMonitor)] + answerFinish(cookie)
        case .abandoning: return [.disarm(.destinationMonitor), core.send(.quit)]
        case .idle, .preparing, .configuring, .undoing, .listening, .prepared, .recovering, .done:
            return [.disarm(.destinationMonitor)]
        }
    }

    mutating func processEnded() -> [Effect] {
        let how = evidence.processEnd?.description ?? "is gone"
        let error = StepError(.gone, "the destination's QEMU \(how)")
        switch state {
        case .preparing, .configuring, .listening:
            return failPrepare("the destination's QEMU \(how)", kind: .gone)
        case .undoing: return [.disarm(.destinationMonitor)] + stopUndoing()
        case .arriving, .running, .following, .releasing, .restoring:
            state = .done
            return [.disarm(.arrival), .disarm(.run), .disarm(.runPoll), .disarm(.destinationMonitor)]
                + core.finishJob() + [.answer(.finish, .failed(error))]
        case .abandoning: return answerAbandon(.done(Cookie(attempt: options.attempt)))
        case .recovering(let recovering, _):
            state = .done
            return [.disarm(.prepare), .disarm(.destinationMonitor)] + core.finishJob()
                + (recovering == .prepared ? [] : [.answer(.prepare, .failed(error))])
        case .idle, .prepared, .interrupted, .done:
            return [.disarm(.destinationMonitor)] + core.domainDied()
        }
    }

    mutating func answerAbandon(_ result: StepResult) -> [Effect] {
        if case .done = result, let wait = leasesToGiveBack() { return wait }
        state = .done
        let phase = core.job.phase
        let move: [Effect] =
            core.job.job == nil ? [] : [.phase(PhaseMove(side: .destination, from: phase, to: .none, owner: nil))]
        core.job.discard()
        return [.disarm(.abandon), .disarm(.abandonKill), .disarm(.destinationMonitor)] + move
            + [.answer(.abandon, result)]
    }

    /// Time for a look, where events could have been missed.
    public mutating func tick() -> [Effect] {
        guard isWatching, evidence.monitor == .connected else { return [] }
        return core.poll() ? [core.send(.queryMigrate)] : silent()
    }
}

extension Reply {
    /// Why this reply is none, if it is none.
    var problem: String? {
        switch self {
        case .refused(_, let text): text
        case .unreadable(let text): "unreadable reply: \(text)"
        default: nil
        }
    }
}
