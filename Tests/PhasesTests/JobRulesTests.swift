import Migration
import Phases
import Testing

private func message(_ body: () throws(JobError) -> Void) -> String? {
    do throws(JobError) {
        try body()
        return nil
    } catch {
        return error.description
    }
}

private func code(_ body: () throws(JobError) -> Void) -> JobError.Code? {
    do throws(JobError) {
        try body()
        return nil
    } catch {
        return error.code
    }
}

private func outgoing(_ phases: [Phase], isInside: Bool) throws -> JobMachine {
    var machine = JobMachine(side: .source)
    try machine.start(.out, owner: "perform")
    for phase in phases { _ = try machine.setPhase(phase) }
    if !isInside { try machine.continue() }
    return machine
}

@Suite struct FirstStepTests {
    /// The rule, word by word.
    @Test func whichStepStartsTheJob() {
        for mode in MigrationMode.allCases {
            for version in ProtocolVersion.allCases {
                for isProtected in [true, false] {
                    let source = Step.first(on: .source, version, mode, hasChangeProtection: isProtected)
                    let isBegin = version == .v3 && isProtected && [.managed, .direct, .save].contains(mode)
                    let first: Step? = mode == .restore ? nil : isBegin ? .begin : .perform
                    #expect(source == first, "\(version) \(mode) \(isProtected)")
                    let destination = Step.first(on: .destination, version, mode, hasChangeProtection: isProtected)
                    #expect(destination == (mode == .direct || mode == .save ? nil : .prepare))
                }
            }
        }
        #expect(JobTable.firstSteps.count == 2 * 2 * MigrationMode.allCases.count * 2)
        #expect(Set(JobTable.firstSteps).count == JobTable.firstSteps.count)
    }

    /// A step that starts a job has a move out of `none` in the table, and the phase it goes to is its own.
    @Test func theMovesAgree() {
        let phases: [Step: Set<Phase>] = [
            .begin: [.begin3], .perform: [.perform2, .perform3, .begin3], .prepare: [.prepare],
        ]
        for row in JobTable.firstSteps {
            guard let step = row.step else { continue }
            let starts = PhaseMoves.rows.filter {
                $0.side == row.side && $0.from == .none && !$0.isOurs && $0.protocols.contains(row.protocolVersion)
                    && $0.modes.contains(row.mode) && $0.trigger.lowercased().hasPrefix(step.rawValue)
                    && ($0.trigger.contains("without") ? !row.hasChangeProtection : true)
            }
            #expect(!starts.isEmpty, "\(row)")
            for start in starts { #expect(phases[step]?.contains(start.to) == true, "\(row) \(start)") }
        }
    }
}

@Suite struct JobMaskTests {
    @Test func masksAreLibvirts() {
        #expect(
            JobMask.out.jobs == [.query, .destroy, .suspend, .abort, .migrationOperation, .modifyMigrationSafe])
        #expect(JobMask.in.jobs == [.destroy, .modifyMigrationSafe])
        #expect(JobMask.restored.jobs == [.query, .destroy, .abort, .migrationOperation, .modifyMigrationSafe])
        #expect(JobMask.all.jobs == NormalJob.allCases)
        #expect(JobMask.allowed(during: .out) == .out)
        #expect(JobMask.allowed(during: .in) == .in)
        for job in Job.allCases { #expect(JobMask.allowed(during: job, isRestored: true) == .restored) }
        #expect("\(JobMask.in)" == "destroy, modify_migration_safe")
        #expect(
            NormalJob.allCases.map(\.rawValue).joined(separator: " ")
                == "query destroy suspend modify abort migration_op modify_migration_safe")
    }

    /// Whatever the mask, the guest can be ended.
    @Test(arguments: 0...UInt8.max) func destroyIsNeverMasked(bits: UInt8) {
        #expect(JobMask(rawValue: bits).permits(.destroy))
    }

    @Test(arguments: NormalJob.allCases) func besideAMigration(kind: NormalJob) throws {
        let rows: [(JobMachine, JobMask)] = [
            (JobMachine(side: .source), .all), (try outgoing([.begin3], isInside: true), .out),
            (try outgoing([.begin3], isInside: false), .out),
            (JobMachine(side: .source, restoring: .perform3), .restored),
            (JobMachine(side: .destination, restoring: .finish3), .restored),
        ]
        for (fresh, mask) in rows {
            #expect(fresh.allowedJobs == mask)
            var machine = fresh
            let refusal = code { () throws(JobError) in try machine.begin(kind, owner: "virsh") }
            #expect(refusal == (mask.permits(kind) ? nil : .masked))
            guard refusal == nil else {
                #expect(machine == fresh)
                continue
            }
            // One at a time, whoever asks.
            #expect(
                code { () throws(JobError) in try machine.begin(.query, owner: "other") }
                    == (mask.permits(.query) ? .busy : .masked))
            #expect(code { () throws(JobError) in try machine.end(kind, owner: "other") } == .notOwner)
            try machine.end(kind, owner: "virsh")
            #expect(code { () throws(JobError) in try machine.end(kind, owner: "virsh") } == .notOwner)
            try machine.begin(.destroy, owner: "other")
        }
        let row = try #require(JobTable.normalJobs.first { $0.job == kind })
        #expect(row.besideOut == JobMask.out.permits(kind) && row.besideIn == JobMask.in.permits(kind))
        #expect(row.besideRestored == JobMask.restored.permits(kind))
    }

    @Test func refusalsNameWhoAndWhy() throws {
        var incoming = JobMachine(side: .destination)
        try incoming.start(.in, owner: "prepare")
        _ = try incoming.setPhase(.prepare)
        #expect(
            message { () throws(JobError) in try incoming.begin(.query, owner: "domstats") }
                == "domstats must wait with query: incoming migration (phase prepare, held by prepare) allows only "
                + "destroy, modify_migration_safe")
        try incoming.continue()
        #expect(
            message { () throws(JobError) in try incoming.begin(.modify, owner: "setmem") }?
                .contains("(phase prepare, between calls)") == true)
        try incoming.begin(.modifyMigrationSafe, owner: "event")
        #expect(
            message { () throws(JobError) in try incoming.begin(.destroy, owner: "virsh") }
                == "destroy must wait: QEMU is busy with modify_migration_safe of event")
    }

    /// A migration does not begin while another call talks to QEMU, and is not kept waiting by one that has ended.
    @Test func aMigrationWaitsForNormalJobs() throws {
        var machine = JobMachine(side: .source)
        try machine.begin(.modify, owner: "setmem")
        #expect(code { () throws(JobError) in try machine.start(.out, owner: "begin") } == .busy)
        try machine.end(.modify, owner: "setmem")
        try machine.start(.out, owner: "begin")
        #expect(machine.allowedJobs == .out)
    }
}

@Suite struct NestedJobTests {
    @Test func onlyTheOwnerAndOneAtATime() throws {
        var machine = try outgoing([.begin3, .perform3], isInside: true)
        #expect(code { () throws(JobError) in _ = try machine.beginNested(owner: "abort") } == .notOwner)
        _ = try machine.beginNested(owner: "perform")
        #expect(code { () throws(JobError) in _ = try machine.beginNested(owner: "perform") } == .busy)
        #expect(code { () throws(JobError) in try machine.begin(.query, owner: "domjobinfo") } == .busy)
        #expect(code { () throws(JobError) in try machine.continue() } == .busy)
        #expect(code { () throws(JobError) in try machine.finish() } == .busy)
        #expect(code { () throws(JobError) in try machine.endNested(owner: "abort") } == .notOwner)
        try machine.endNested(owner: "perform")
        try machine.continue()
        #expect(code { () throws(JobError) in _ = try machine.beginNested(owner: "perform") } == .notOwner)
        var idle = JobMachine(side: .source)
        #expect(code { () throws(JobError) in _ = try idle.beginNested(owner: "perform") } == .notActive)
    }

    /// The owner learns what may slip in between two of its commands, and what did.
    @Test func whatSlipsInBetween() throws {
        var machine = try outgoing([.begin3, .perform3], isInside: true)
        #expect(
            try machine.beginNested(owner: "perform") == NestedJob(mayIntervene: .out, intervened: []))
        try machine.endNested(owner: "perform")
        for kind in [NormalJob.abort, .query] {
            try machine.begin(kind, owner: "virsh")
            // While another call talks to QEMU the owner waits, too.
            #expect(code { () throws(JobError) in _ = try machine.beginNested(owner: "perform") } == .busy)
            try machine.end(kind, owner: "virsh")
        }
        #expect(
            try machine.beginNested(owner: "perform")
                == NestedJob(mayIntervene: .out, intervened: JobMask([.query, .abort])))
        try machine.endNested(owner: "perform")
        #expect(try machine.beginNested(owner: "perform").intervened.isEmpty)
    }

    @Test func theEndOfTheJobTakesANestedOneAlongButNoOther() throws {
        var machine = try outgoing([.begin3, .perform3], isInside: true)
        _ = try machine.beginNested(owner: "perform")
        machine.discard()
        #expect(machine == JobMachine(side: .source))

        machine = try outgoing([.begin3, .perform3], isInside: true)
        try machine.begin(.query, owner: "virsh")
        machine.discard()
        #expect(machine.job == nil)
        #expect(code { () throws(JobError) in try machine.start(.out, owner: "begin") } == .busy)
        try machine.end(.query, owner: "virsh")
        try machine.start(.out, owner: "begin")
    }
}

@Suite struct OwnershipTests {
    @Test func ownedDisownedUnattended() throws {
        var machine = JobMachine(side: .source)
        #expect(!machine.isDisowned && !machine.isUnattended)
        try machine.start(.out, owner: "begin")
        #expect(!machine.isDisowned)
        _ = try machine.setPhase(.perform3)
        _ = try machine.beginNested(owner: "begin")
        machine.disown()
        #expect(machine.isDisowned && !machine.isUnattended && machine.owner == nil && machine.phase == .perform3)
        #expect(machine.nets.isEmpty)
        _ = try machine.startPhase(.postcopyFailed, owner: "watcher")
        #expect(!machine.isUnattended)
        try machine.continue()
        #expect(machine.isUnattended)
        var other = JobMachine(side: .source)
        other.disown()
        #expect(other == JobMachine(side: .source))
    }

    @Test(arguments: Side.allCases) func aRestoredJobHasNobodyInsideAndNoNet(side: Side) throws {
        for phase in Phase.allCases where phase.belongs(to: side) {
            var machine = JobMachine(side: side, restoring: phase)
            #expect(machine.phase == phase && machine.job == (side == .source ? .out : .in))
            #expect(machine.isDisowned && machine.nets.isEmpty && machine.allowedJobs == .restored)
            #expect(code { () throws(JobError) in try machine.start(.out, owner: "begin") } == .alreadyActive)
            _ = try machine.startPhase(phase, owner: "restart")
            try machine.finish()
        }
    }

    @Test func theTableOfCallsNamesWhatThereIs() {
        #expect(
            JobTable.calls.map(\.method) == [
                "start", "continue", "startPhase", "setPhase", "finish", "isActive", "discard", "disown",
            ])
        #expect(JobTable.sequence.map(\.place) == ["first", "middle", "last"])
        #expect(JobTable.sequence.map { $0.calls.last } == ["continue", "continue", "finish"])
    }
}

@Suite struct SafetyNetTests {
    /// Nets are there exactly while nobody is inside.
    @Test func continueSetsThemUpAndTheNextStepTakesThemDown() throws {
        var machine = JobMachine(side: .destination)
        try machine.start(.in, owner: "prepare")
        _ = try machine.setPhase(.prepare)
        #expect(machine.nets.isEmpty)
        for event in NetEvent.allCases {
            #expect(machine.caught(event, isPostcopy: false, isComplete: false) == nil)
        }
        try machine.continue()
        #expect(machine.nets == [.domainDeath, .autoDestroy])
        #expect("\(machine.nets)" == "domain-death, auto-destroy")
        _ = try machine.startPhase(.finish3, owner: "finish")
        #expect(machine.nets.isEmpty)
        try machine.continue()
        #expect(machine.nets == .domainDeath)
        _ = try machine.startPhase(.prepareResume, owner: "prepare")
        try machine.continue()
        #expect(machine.nets == [.domainDeath, .connectionClosed])
        machine.discard()
        #expect(machine.nets.isEmpty)
    }

    /// What follows on a closed connection, for each phase that a job can be left in.
    @Test func theConnectionCloses() {
        typealias Row = (Side, Phase, Bool, Bool, NetOutcome?)
        let undecided = NetOutcome(to: nil, after: .continued, acts: [.stayPaused, .askPeer, .tellPerson])
        let broken = NetOutcome(to: .postcopyFailed, after: .continued, acts: [.markPostcopyFailed])
        let onItsWay = NetOutcome(to: nil, after: .continued, acts: [.stayPaused, .askPeer])
        let rows: [Row] = [
            (.source, .begin3, false, false, NetOutcome(to: .confirm3Cancelled, after: .finished, acts: [.putBack])),
            (.source, .perform3Done, false, true, undecided), (.source, .perform3Done, true, false, onItsWay),
            (.source, .beginResume, true, false, broken), (.source, .performResume, true, false, onItsWay),
            (.source, .postcopyFailed, true, false, nil), (.source, .perform3, false, false, nil),
            (
                .destination, .prepare, false, false,
                NetOutcome(to: Phase.none, after: .discarded, acts: [.refuse, .endQEMU])
            ),
            (.destination, .prepare, false, true, undecided), (.destination, .prepareResume, true, false, broken),
            (.destination, .finish3, true, false, nil), (.destination, .postcopyFailed, true, false, nil),
        ]
        for (side, phase, isPostcopy, isComplete, outcome) in rows {
            let got = NetTable.outcome(
                of: .connectionClosed, side, phase, isPostcopy: isPostcopy, isComplete: isComplete)
            #expect(got == outcome, "\(side) \(phase)")
        }
    }

    /// Nothing ever continues the source, or ends a destination that has everything, because a connection closed.
    @Test func aClosedConnectionProvesNothing() {
        for row in NetTable.rows where row.event == .connectionClosed {
            #expect(!(row.condition == .complete && row.outcome.acts.contains(.endQEMU)), "\(row)")
            // A QEMU is ended only after its attempt was refused for ever.
            if let end = row.outcome.acts.firstIndex(of: .endQEMU) {
                #expect(row.outcome.acts.firstIndex(of: .refuse).map { $0 < end } == true, "\(row)")
            }
        }
    }

    @Test func theDomainDies() throws {
        for (side, phases) in [
            (Side.source, [Phase.begin3, .perform3Done, .postcopyFailed, .beginResume, .performResume]),
            (.destination, [.prepare, .finish3, .postcopyFailed, .prepareResume]),
        ] {
            for phase in phases {
                let outcome = NetTable.outcome(of: .domainDied, side, phase, isPostcopy: false, isComplete: false)
                #expect(outcome == NetOutcome(to: Phase.none, after: .discarded, acts: [.tellPeer]))
            }
        }
        var machine = try outgoing([.begin3], isInside: false)
        let outcome = try #require(machine.caught(.domainDied, isPostcopy: false, isComplete: false))
        #expect(
            try machine.take(outcome, owner: "death")
                == PhaseMove(side: .source, from: .begin3, to: .none, owner: nil))
        #expect(machine == JobMachine(side: .source))
        #expect(code { () throws(JobError) in _ = try machine.take(outcome, owner: "death") } == .notActive)
    }

    /// The handler is inside while it works, and every outcome is a legal move that the job machine makes.
    @Test func everyOutcomeCanBeCarriedOut() throws {
        for row in NetTable.rows {
            var machine = JobMachine(side: row.side, restoring: row.phase)
            _ = try machine.startPhase(row.phase, owner: "step")
            try machine.continue()
            let isPostcopy = row.condition == .postcopy
            let isComplete = row.condition == .complete
            let outcome = try #require(machine.caught(row.event, isPostcopy: isPostcopy, isComplete: isComplete))
            #expect(outcome == row.outcome)
            _ = try machine.take(outcome, owner: "net")
            switch outcome.after {
            case .discarded: #expect(machine.job == nil)
            case .finished, .continued:
                #expect(machine.owner == "net" && machine.phase == outcome.to ?? row.phase)
                #expect(machine.nets.isEmpty)
            case .owned: Issue.record("a net's handler does not stay: \(row)")
            }
        }
    }
}

@Suite struct ResumeTests {
    private func source(_ phase: Phase) -> JobMachine { JobMachine(side: .source, restoring: phase) }

    /// Each check by itself, and that the earlier one speaks first.
    @Test func theChecksInTheirOrder() throws {
        var call = ResumeCall(
            step: .begin, caller: "begin", allowsPostcopy: false, hasChangeProtection: false, standing: .none)
        var machine = JobMachine(side: .source)
        func refusal() -> String? { message { () throws(JobError) in try machine.checkResume(call) } }
        #expect(refusal() == "resuming a post-copy migration needs post-copy allowed")
        call.allowsPostcopy = true
        #expect(refusal() == "resuming a post-copy migration needs change protection or peer to peer")
        call.isPeerToPeer = true
        #expect(refusal() == "the domain is not being migrated")
        machine = try outgoing([.perform3, .perform3Done], isInside: true)
        #expect(refusal() == "the migration is being actively monitored by another call (perform)")
        try machine.continue()
        #expect(refusal() == "the domain is not in post-copy (none)")
        call.standing = .paused
        #expect(refusal() == "the post-copy migration has not failed (phase perform3_done)")
        call.standing = .pausedFailed
        #expect(refusal() == nil)
        machine = source(.performResume)
        #expect(refusal() == "resuming the post-copy migration is already in progress (phase perform_resume)")
        machine = source(.postcopyFailed)
        call.standing = .paused
        #expect(refusal() == nil)
        call.isPeerToPeer = false
        call.hasChangeProtection = true
        #expect(refusal() == nil)
        // Only Begin needs it.
        call.hasChangeProtection = false
        call.step = .perform
        #expect(refusal() == nil)
        call.step = .finish
        #expect(refusal() == "finish does not resume on the source")
        call.step = .abandon
        #expect(refusal() == "abandon does not resume on the source")
        machine = JobMachine(side: .destination)
        call.step = .prepare
        call.standing = .runningFailed
        #expect(refusal() == "the domain is not processing an incoming migration")
    }

    /// Which step may set out from which phase.
    @Test func theOrderOfTheSteps() {
        let allowed: [(Step, [Phase])] = [
            (.begin, [.postcopyFailed]), (.perform, [.postcopyFailed, .beginResume]),
            (.confirm, [.postcopyFailed, .beginResume, .performResume]), (.prepare, [.postcopyFailed]),
            (.finish, [.postcopyFailed, .prepareResume]),
        ]
        for (step, phases) in allowed {
            for phase in Phase.allCases where phase.belongs(to: step.side) && phase >= .postcopyFailed {
                let machine = JobMachine(side: step.side, restoring: phase)
                let call = ResumeCall(
                    step: step, caller: "x", standing: step.side == .source ? .pausedFailed : .runningFailed)
                let refusal = code { () throws(JobError) in try machine.checkResume(call) }
                #expect(refusal == (phases.contains(phase) ? nil : .cannotResume), "\(step) \(phase)")
            }
        }
    }

    /// Whoever is inside may ask about his own call.
    @Test func theOwnerMayAsk() throws {
        var machine = source(.postcopyFailed)
        _ = try machine.startPhase(.beginResume, owner: "perform")
        let call = ResumeCall(step: .perform, caller: "perform", standing: .pausedFailed)
        #expect(message { () throws(JobError) in try machine.checkResume(call) } == nil)
        var stranger = call
        stranger.caller = "other"
        #expect(code { () throws(JobError) in try machine.checkResume(stranger) } == .notOwner)
    }

    @Test func standings() {
        let table: [(PostcopyStanding, Bool, Bool, Bool)] = [
            (.none, false, false, false), (.running, false, true, false), (.runningFailed, false, true, true),
            (.paused, true, false, false), (.pausedFailed, true, true, true),
        ]
        for (standing, source, destination, isFailed) in table {
            #expect(standing.isPostcopy(on: .source) == source)
            #expect(standing.isPostcopy(on: .destination) == destination)
            #expect(standing.isFailed == isFailed)
        }
    }
}
