import Migration
import Phases
import Testing

@testable import ModelChecking

/// The joint system on bounds small enough for a debug build; the program explores the rest.
@Suite struct JointSystemTests {
    private func explored(
        _ faults: [FaultKind: Int] = [:], _ change: (inout Configuration) -> Void = { _ in }
    ) async -> ExplorationResult<JointAction> {
        var configuration = Configuration("test", faults)
        configuration.calledDirectly = [.source, .destination]
        configuration.profile = QEMUProfile(QEMUVersion(11, 1))
        change(&configuration)
        return await Explorer(JointSystem(configuration)).run()
    }

    @Test func withoutTroubleEveryAttemptCompletes() async {
        let result = await explored()
        #expect(result.violation == nil)
        #expect(result.isComplete)
        #expect(Set(result.ends.keys) == ["completed"])
        #expect(result.states > 100)
    }

    @Test func aLockedDiskLeadsBackToTheSource() async {
        let result = await explored([.refuseRun: 1])
        #expect(result.violation == nil)
        // A wait may run out in the middle of the way back: then it is undecided whether the source was continued.
        #expect(Set(result.ends.keys) == ["completed", "failed", "undecided"])
    }

    /// Carrying out in one step what nobody can tell apart must not hide anything.
    @Test(arguments: [[:], [FaultKind.refuseRun: 1]]) func reducedAndFullAgree(faults: [FaultKind: Int]) async {
        let reduced = await explored(faults)
        let full = await explored(faults) { $0.isReduced = false }
        #expect(full.states > reduced.states)
        #expect(Set(full.ends.keys) == Set(reduced.ends.keys))
        #expect(full.violation == nil)
        #expect(reduced.violation == nil)
    }

    /// What was visited with more to spend need not be visited with less.
    @Test(arguments: [FaultKind.lose, .duplicate, .crashCoordinator])
    func prunedAndFullAgree(fault: FaultKind) async {
        let isCrash = fault == .crashCoordinator
        let pruned = await explored([fault: 1]) { $0.calledDirectly = isCrash ? [.source, .destination] : [.source] }
        let full = await explored([fault: 1]) {
            $0.calledDirectly = isCrash ? [.source, .destination] : [.source]
            $0.isPruned = false
        }
        #expect(full.states > pruned.states)
        #expect(Set(full.ends.keys) == Set(pruned.ends.keys))
        #expect(full.violation == nil)
        #expect(pruned.violation == nil)
    }

    @Test(arguments: ["forgets-run", "finish-after-abandon"]) func prunedAndFullFindTheSameBugs(
        name: String
    ) async throws {
        let mutant = try #require(Mutant.named(name))
        var configuration = Configuration.hunting(mutant)
        let pruned = await Explorer(JointSystem(configuration)).run()
        configuration.isPruned = false
        let full = await Explorer(JointSystem(configuration)).run()
        #expect(pruned.violation == full.violation)
        #expect(pruned.trace.count == full.trace.count)
        #expect(full.states > pruned.states)
    }

    @Test(arguments: ["run-after-cont", "answered-is-running", "source-alone-completes"])
    func reducedAndFullFindTheSameBugs(name: String) async throws {
        let mutant = try #require(Mutant.named(name))
        var configuration = Configuration.hunting(mutant)
        let reduced = await Explorer(JointSystem(configuration)).run()
        configuration.isReduced = false
        let full = await Explorer(JointSystem(configuration)).run()
        #expect(reduced.violation?.property == full.violation?.property)
        #expect(mutant.caughtBy.contains(full.violation?.property ?? ""))
        #expect(full.trace.count >= reduced.trace.count)
    }

    /// The bug, the property that catches it, and in how many steps at the least.
    static let bugs: [(name: String, property: String, steps: ClosedRange<Int>)] = [
        ("source-alone-completes", Property.truth, 30...60), ("source-ends-itself", Property.lastCopy, 30...60),
        ("job-is-kept", Property.rest, 40...80), ("job-ends-early", Property.phases, 30...60),
        ("phase-goes-back", Property.phases, 20...40), ("run-after-cont", Property.commit, 30...60),
        ("answered-is-running", Property.truth, 30...60), ("runs-on-active", Property.commit, 30...60),
        ("forgets-surrender", Property.commit, 30...60), ("abandon-before-death", Property.proof, 30...80),
    ]

    @Test(arguments: bugs) func aBugIsCaught(
        bug: (name: String, property: String, steps: ClosedRange<Int>)
    ) async throws {
        let mutant = try #require(Mutant.named(bug.name))
        let result = await Explorer(JointSystem(Configuration.hunting(mutant))).run()
        #expect(result.violation?.property == bug.property)
        #expect(mutant.caughtBy.contains(bug.property))
        #expect(bug.steps.contains(result.trace.count), "\(result.trace.count) steps")
    }

    @Test func everyBugHasANameOfItsOwnAndSaysWhatCatchesIt() {
        #expect(Mutant.all.count >= 15)
        #expect(Set(Mutant.all.map(\.name)).count == Mutant.all.count)
        #expect(Mutant.all.allSatisfy { !$0.caughtBy.isEmpty && !$0.about.isEmpty })
    }

    /// The shortest way to a completed migration.
    private func wayToTheEnd() async -> (system: JointSystem, trace: [JointAction]) {
        var configuration = Configuration("the shortest way")
        configuration.calledDirectly = [.source, .destination]
        configuration.profile = QEMUProfile(QEMUVersion(11, 1))
        configuration.allowedEnds = []
        let system = JointSystem(configuration)
        return (system, await Explorer(system).run().trace)
    }

    /// States are explored in canonical form; true numbers and true times must lead to the same effects.
    @Test func trueNumbersAndTimesLeadToTheSameEffects() async {
        let (system, trace) = await wayToTheEnd()
        var raw: [Part: Party] = [:]
        for side in Side.allCases {
            raw[Part(side)] = .side(SideParty(side: side, options: system.configuration.options))
        }
        raw[.coordinator] = .coordinator(CoordinatorParty(options: system.configuration.options))
        var expected: [Part: [PartyEffect]] = [:]
        var done: [Part: [PartyEffect]] = [:]
        // Messages are passed on as the true parties wrote them.
        var toCoordinator: [Side: [PartyMessage]] = [:]
        var toSide: [Side: [PartyMessage]] = [:]
        var sequence = 0
        func take(_ input: PartyInput, _ part: Part) {
            let time = Instant(microseconds: Int64(sequence) * 1717)
            for effect in raw[part]?.apply(input, sequence: sequence, at: time) ?? [] {
                done[part, default: []].append(effect)
                switch (effect, part.side) {
                case (.side(.message(let message)), let side?): toCoordinator[side, default: []].append(message)
                case (.coordinator(.message(let side, let message)), _): toSide[side, default: []].append(message)
                default: break
                }
            }
        }
        for telling in Storyteller(system).steps(trace).flatMap(\.told) {
            sequence += 3
            switch telling {
            case .input(.coordinator, let number):
                if case .coordinator(.message(let side, _)) = system.inputs[number] {
                    guard let message = toCoordinator[side]?.removeFirst() else { continue }
                    take(.coordinator(.message(from: side, message)), .coordinator)
                } else {
                    take(system.inputs[number], .coordinator)
                }
            case .input(let part, let number):
                if case .side(.message) = system.inputs[number], let side = part.side {
                    guard let message = toSide[side]?.removeFirst() else { continue }
                    take(.side(.message(message)), part)
                } else {
                    take(system.inputs[number], part)
                }
            case .effect(let part, let effect):
                expected[part, default: []].append(effect)
                if case .side(.send(let command, _)) = effect { take(.side(.sent(command)), part) }
            case .item, .move, .note, .saying: break
            }
        }
        for part in Part.allCases {
            #expect(expected[part]?.count ?? 0 > 10)
            let told = Set((done[part] ?? []).map(\.unnumbered))
            for effect in expected[part] ?? [] { #expect(told.contains(effect.unnumbered), "\(part): \(effect.brief)") }
        }
    }

    @Test func theTraceFileTellsWhatWasSaidAndDone() async {
        let (system, trace) = await wayToTheEnd()
        let lines = TraceFile(system, trace, end: "a \"quoted\" end").lines
        #expect(lines.first?.hasPrefix("{\"qmptrace\":1,") ?? false)
        #expect(lines.last?.hasSuffix("\"mark\":\"a \\\"quoted\\\" end\"}") ?? false)
        for piece in [
            "\"send\":{\"execute\":\"migrate\"",
            "\"recv\":{\"event\":\"MIGRATION\",\"data\":{\"status\":\"completed\"}",
            "\"surrendered\":\"a1\"", "\"run\":\"a1\"", "\"send\":{\"execute\":\"cont\"",
            "\"from\":\"prepare\",\"to\":\"finish3\"",
        ] {
            #expect(lines.contains { $0.contains(piece) }, "\(piece)")
        }
        let sent = lines.filter { $0.contains("\"send\":") }.count
        let answered = lines.filter { $0.contains("\"return\":") }.count
        #expect(answered <= sent && answered + 4 > sent)
    }
}
