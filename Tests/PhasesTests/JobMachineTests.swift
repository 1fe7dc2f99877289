import Migration
import Phases
import Testing

/// The phases by libvirt's order, and on whose side they are.
private let table: [(phase: Phase, word: String, side: Side?)] = [
    (.none, "none", nil), (.perform2, "perform2", .source), (.begin3, "begin3", .source),
    (.perform3, "perform3", .source),
    (.perform3Done, "perform3_done", .source), (.confirm3Cancelled, "confirm3_cancelled", .source),
    (.confirm3, "confirm3", .source), (.prepare, "prepare", .destination), (.finish2, "finish2", .destination),
    (.finish3, "finish3", .destination), (.postcopyFailed, "postcopy_failed", nil),
    (.beginResume, "begin_resume", .source), (.performResume, "perform_resume", .source),
    (.confirmResume, "confirm_resume", .source), (.prepareResume, "prepare_resume", .destination),
    (.finishResume, "finish_resume", .destination),
]

private func code(_ body: () throws(JobError) -> Void) -> JobError.Code? {
    do throws(JobError) {
        try body()
        return nil
    } catch {
        return error.code
    }
}

/// The states a job can be in, on either side.
private enum Target: CaseIterable {
    case none, owned, between, ownedInAPhase, betweenInAPhase

    func make(_ side: Side) throws -> JobMachine {
        var machine = JobMachine(side: side)
        guard self != .none else { return machine }
        try machine.start(side == .source ? .out : .in, owner: "first")
        if self == .ownedInAPhase || self == .betweenInAPhase {
            _ = try machine.setPhase(side == .source ? .perform3 : .prepare)
        }
        if self == .between || self == .betweenInAPhase { try machine.continue() }
        return machine
    }

    var isActive: Bool { self != .none }
    var isOwned: Bool { self == .owned || self == .ownedInAPhase }
    /// A phase that the destination may go to from here.
    var phase: Phase { self == .ownedInAPhase || self == .betweenInAPhase ? .finish3 : .prepare }
}

@Suite struct JobMachineTests {
    @Test func phasesAreLibvirts() {
        #expect(Phase.allCases.map(\.rawValue) == table.map(\.word))
        #expect(Phase.allCases.map(\.order) == Array(0..<16))
        for row in table {
            for side in Side.allCases { #expect(row.phase.belongs(to: side) == (row.side == nil || row.side == side)) }
        }
    }

    @Test(arguments: Side.allCases) func aMoveTellsFromToAndOwner(side: Side) throws {
        var machine = JobMachine(side: side)
        let phase: Phase = side == .source ? .begin3 : .prepare
        try machine.start(side == .source ? .out : .in, owner: "first")
        #expect(try machine.setPhase(phase) == PhaseMove(side: side, from: .none, to: phase, owner: "first"))
        // The same phase again is no step back.
        #expect(try machine.setPhase(phase) == PhaseMove(side: side, from: phase, to: phase, owner: "first"))
    }

    @Test(arguments: Target.allCases) fileprivate func everyMethodInEveryState(target: Target) throws {
        for side in Side.allCases {
            let job: Job = side == .source ? .out : .in
            let phase: Phase = side == .source ? .perform3 : target.phase
            let fresh = try target.make(side)

            #expect(fresh.isActive(job) == target.isActive)
            #expect(!fresh.isActive(job == .out ? .in : .out))
            #expect(fresh.job == (target.isActive ? job : nil))
            #expect(fresh.owner == (target.isOwned ? "first" : nil))

            for other in [Job.out, .in] {
                var machine = fresh
                let refused = code { () throws(JobError) in try machine.start(other, owner: "second") }
                #expect(refused == (target.isActive ? .alreadyActive : nil))
                // Whoever is refused changes nothing.
                if target.isActive { #expect(machine == fresh) }
            }
            var machine = fresh
            let unset: JobError.Code? = !target.isActive ? .notActive : !target.isOwned ? .notOwner : nil
            #expect(code { () throws(JobError) in _ = try machine.setPhase(phase) } == unset)

            machine = fresh
            let unentered: JobError.Code? = !target.isActive ? .notActive : target.isOwned ? .notOwner : nil
            #expect(code { () throws(JobError) in _ = try machine.startPhase(phase, owner: "second") } == unentered)
            #expect(machine.owner == (unentered == nil ? "second" : fresh.owner))

            machine = fresh
            #expect(code { () throws(JobError) in try machine.continue() } == unset)
            #expect(machine.owner == nil)
            #expect(machine.phase == fresh.phase)
            #expect(machine.job == fresh.job)

            machine = fresh
            #expect(code { () throws(JobError) in try machine.finish() } == unset)
            #expect(machine.job == (target.isOwned ? nil : fresh.job))

            machine = fresh
            machine.discard()
            #expect(machine == JobMachine(side: side))
        }
    }

    @Test func errorsNameTheOffender() throws {
        var machine = JobMachine(side: .source)
        try machine.start(.out, owner: "perform")
        _ = try machine.setPhase(.perform3)
        #expect {
            try machine.start(.out, owner: "begin")
        } throws: {
            "\($0)".contains("another migration job is already running") && "\($0)".contains("held by perform")
        }
        #expect {
            _ = try machine.setPhase(.begin3)
        } throws: {
            "\($0)" == "migration protocol going backwards perform3 => begin3"
        }
        #expect {
            _ = try machine.startPhase(.confirm3, owner: "confirm")
        } throws: {
            "\($0)".contains("confirm") && "\($0)".contains("perform is still inside")
        }
    }

    /// The sequence of calls that the locking rules prescribe.
    @Test func theWholeSequence() throws {
        var machine = JobMachine(side: .source)
        try machine.start(.out, owner: "begin")
        _ = try machine.setPhase(.begin3)
        try machine.continue()
        #expect(machine.isActive(.out))
        _ = try machine.startPhase(.perform3, owner: "perform")
        _ = try machine.setPhase(.perform3Done)
        try machine.continue()
        #expect(machine.isActive(.out))
        _ = try machine.startPhase(.confirm3, owner: "confirm")
        try machine.finish()
        #expect(!machine.isActive(.out))
        try machine.start(.out, owner: "begin")
    }
}
