import Migration

/// What the machines of both sides share: the evidence, the job with its phase, and the gathering of what was before.
struct SideCore: Hashable, Sendable {
    var evidence: Evidence
    /// The guest's leases, where there is a lock manager.
    var lease: LeaseMachine
    /// A ledger tells of a post-copy that nothing shows any more.
    var wasInPostcopy = false
    var job: JobMachine
    var survey: Survey?
    var surveyProblem: String?
    /// What the migration capabilities were before we touched them.
    var originalCapabilities: [CapabilitySetting]?
    /// What the migration parameters were before we touched them.
    var originalParameters: [Setting]?
    var changedCapabilities: [CapabilitySetting] = []
    var changedParameters: [Setting] = []
    /// The name of a descriptor that was passed to this QEMU and that it has not taken for its stream yet.
    var unusedDescriptor: String?
    /// A set of descriptors that this QEMU was given.
    var passedSet: Int64?
    /// Objects that this attempt has made in this QEMU.
    var madeObjects: [String] = []
    /// The first `query-migrate`, made before anything was started.
    var firstSample: MigrationSample?
    var firstRunState: RunState?
    /// Whether a poll is on its way, so that a slow QEMU is not buried in them.
    private(set) var isPolling = false
    /// For how long QEMU has said nothing, in ticks that found a poll unanswered; a poll that was given up counts as
    /// many.
    private var silence = 0

    /// Whether one call holds the job from its first step to its last.
    let isHeldThroughout: Bool

    init(side: Side, isHeldThroughout: Bool = false, lockManager: LockManagerKind? = nil) {
        evidence = Evidence(side: side)
        lease = LeaseMachine(side: side, kind: lockManager)
        job = JobMachine(side: side)
        self.isHeldThroughout = isHeldThroughout
    }

    var side: Side { evidence.side }

    /// The queries every first step begins with.
    static let firstQueries: [Command] = [.queryStatus, .queryMigrate, .queryCapabilities, .queryParameters]

    var isGathered: Bool {
        survey != nil && originalCapabilities != nil && originalParameters != nil && firstSample != nil
            && firstRunState != nil
    }

    /// Keeps the first answers of each kind.
    mutating func gather(_ reply: Reply) {
        switch reply {
        case .status(let state): firstRunState = firstRunState ?? state
        case .migration(let sample): firstSample = firstSample ?? sample
        case .capabilities(let settings): originalCapabilities = originalCapabilities ?? settings
        case .parameters(let settings): originalParameters = originalParameters ?? settings
        case .done, .yankInstances, .jobs, .refused, .unreadable: break
        }
    }

    /// Ticks that a silent QEMU is given.
    private static let patience = 60

    /// Whether QEMU has just left the last poll of several in a row without an answer, and said nothing else meanwhile.
    /// Told once for each silence.
    mutating func fallsSilent() -> Bool {
        guard silence == Self.patience else { return false }
        silence += 1
        return true
    }

    /// A poll is due; `false` if the last one is still on its way.
    mutating func poll() -> Bool {
        guard !isPolling else {
            if silence < Self.patience { silence += 1 }
            return false
        }
        isPolling = true
        return true
    }

    /// A poll leaves out of turn.
    mutating func startPolling() { isPolling = true }

    /// Keeps the account of what QEMU leaves unanswered; tells whether it had been silent for too long and speaks
    /// again.
    mutating func heard(_ fact: Fact) -> Bool {
        switch fact {
        case .unanswered(let command):
            guard command == .queryMigrate else { return false }
            isPolling = false
            if silence < Self.patience { silence = min(Self.patience, silence + Self.patience / 3) }
            return false
        case .monitor(let monitor):
            if monitor != .connected { isPolling = false }
            silence = 0
            return false
        case .reply(let command, _):
            if command == .queryMigrate { isPolling = false }
        case .event, .greeting: break
        case .process, .unkillable: return false
        }
        defer { silence = 0 }
        return silence > Self.patience
    }

    /// A command is on its way; what it takes with it needs no putting back.
    mutating func note(sent command: Command, origin: Origin, sequence: Int, at time: Instant) {
        switch command {
        case .migrate, .migrateIncoming: unusedDescriptor = nil
        default: break
        }
        evidence.note(sent: command, origin: origin, sequence: sequence, at: time)
    }

    func send(_ command: Command, outOfBand: Bool = false) -> Effect { .send(side, command, outOfBand: outOfBand) }

    func hasCapability(_ name: String) -> Bool { originalCapabilities?.contains { $0.name == name } ?? false }

    /// The one command that brings the capabilities to `wanted`, leftovers of somebody's earlier migration included;
    /// `nil` if nothing changes.
    mutating func configureCapabilities(_ wanted: [String]) -> Command? {
        var changes: [CapabilitySetting] = []
        for setting in originalCapabilities ?? [] {
            let isWanted = wanted.contains(setting.name)
            if setting.isOn != isWanted { changes.append(CapabilitySetting(setting.name, isWanted)) }
        }
        changedCapabilities = changes.filter { $0.name != "events" }
        return changes.isEmpty ? nil : .setCapabilities(changes)
    }

    /// The command that sets parameters; `nil` if there are none to set.
    mutating func configureParameters(_ wanted: [Setting]) -> Command? {
        changedParameters = wanted
        return wanted.isEmpty ? nil : .setParameters(wanted)
    }

    /// The commands that put back what was changed, all but `events`.
    mutating func restoring() -> [Command] {
        var commands: [Command] = []
        if !changedCapabilities.isEmpty {
            commands.append(.setCapabilities(changedCapabilities.map { CapabilitySetting($0.name, !$0.isOn) }))
        }
        let values = Dictionary((originalParameters ?? []).map { ($0.name, $0) }) { first, _ in first }
        let parameters = changedParameters.compactMap { values[$0.name] }
        if !parameters.isEmpty { commands.append(.setParameters(parameters)) }
        changedCapabilities = []
        changedParameters = []
        if let name = unusedDescriptor { commands.append(.closeFD(name: name)) }
        unusedDescriptor = nil
        if let passedSet { commands.append(.removeFD(set: passedSet)) }
        passedSet = nil
        // Not before the parameters that name them.
        commands += madeObjects.reversed().map { .objectDel(id: $0) }
        madeObjects = []
        return commands
    }

    /// Why a step cannot be entered with a cookie; `nil` if it can. Nothing was changed then.
    func refusal(of cookie: Cookie, into step: Step, _ options: MigrateOptions) -> StepError? {
        switch step {
        case .prepare, .perform, .finish, .confirm: break
        // What begins or refuses an attempt takes nothing of another step's.
        case .dumpXML, .begin, .abandon: return nil
        }
        do throws(CookieError) {
            try CookieCheck().check(cookie, into: step, by: options.cookieReader)
            return nil
        } catch {
            return StepError(.refused, "\(step.rawValue): \(error.description)")
        }
    }

    /// Why a step of a post-copy recovery cannot be entered; `nil` if it can.
    func refusal(ofResumeBy step: Step, owner: String, _ options: MigrateOptions) -> StepError? {
        let isBroken = job.phase >= .postcopyFailed || evidence.stage == .postcopy(.paused)
        let standing: PostcopyStanding =
            switch (side, isBroken) {
            case (.source, true): .pausedFailed
            case (.source, false): hasSeenPostcopy ? .paused : .none
            case (.destination, true): .runningFailed
            case (.destination, false): hasSeenPostcopy ? .running : .none
            }
        let call = ResumeCall(
            step: step, caller: owner, allowsPostcopy: options.postcopy != nil || options.isPostcopyResume,
            hasChangeProtection: options.hasChangeProtection, isPeerToPeer: options.mode.isHeldThroughout,
            standing: standing)
        do throws(JobError) {
            try job.checkResume(call)
            return nil
        } catch {
            return StepError(.refused, error.description)
        }
    }

    /// Runs a transition of the job whose order this code itself decides; a refusal is an answer, never a trap.
    mutating func enter(_ phase: Phase, owner: String, starting job: Job? = nil) -> Result<Effect, JobError> {
        do throws(JobError) {
            if let job {
                try self.job.start(job, owner: owner)
                return .success(.phase(try self.job.setPhase(phase)))
            }
            if isHeldThroughout, self.job.owner != nil { return .success(.phase(try self.job.setPhase(phase))) }
            return .success(.phase(try self.job.startPhase(phase, owner: owner)))
        } catch {
            return .failure(error)
        }
    }

    /// Ends the job, whoever is inside, and says so where the phase moves.
    mutating func finishJob() -> [Effect] {
        let phase = job.phase
        guard job.job != nil else { return [] }
        do throws(JobError) { try job.finish() } catch { job.discard() }
        return [.phase(PhaseMove(side: side, from: phase, to: .none, owner: nil))]
    }

    /// The domain died. With nobody inside, the net below the job says what becomes of it.
    mutating func domainDied() -> [Effect] {
        let isComplete = evidence.stage == .completed
        guard let outcome = job.caught(.domainDied, isPostcopy: hasSeenPostcopy, isComplete: isComplete),
            let move = try? job.take(outcome, owner: "domain-died")
        else { return finishJob() }
        return [.phase(move)]
    }

    /// Leaves the call with the job kept. Where one call holds it throughout, that call goes on.
    mutating func continueJob() {
        guard !isHeldThroughout else { return }
        // Nobody inside is what was wanted.
        do throws(JobError) { try job.continue() } catch {}
    }

    /// The post-copy is broken or on its own: the job is kept, with nobody inside.
    mutating func failPostcopy() -> [Effect] {
        let from = job.phase
        do throws(JobError) {
            if job.owner == nil {
                _ = try job.startPhase(.postcopyFailed, owner: "post-copy")
            } else {
                _ = try job.setPhase(.postcopyFailed)
            }
            try job.continue()
        } catch {
            return []
        }
        return from == .postcopyFailed
            ? [] : [.phase(PhaseMove(side: side, from: from, to: .postcopyFailed, owner: nil))]
    }

    /// Whether this QEMU is, or was, in post-copy in this attempt.
    var hasSeenPostcopy: Bool {
        wasInPostcopy || evidence.events.has(.postcopyActive) || evidence.events.has(.postcopyPaused)
    }
}
