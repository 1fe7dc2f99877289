import Migration
import Phases
import Policy
import Testing

/// A convergence policy that an attempt follows.
@Suite struct PolicyCourseTests {
    private static func number(_ value: Double) -> PolicyExpression { PolicyExpression(value) }

    /// One action for each pass over memory, and nothing else.
    private static func policy(_ actions: ConvergencePolicy.Action...) -> ConvergencePolicy {
        ConvergencePolicy(
            name: "test",
            rules: [
                .init(
                    name: "each-pass", triggers: [.iteration], steps: actions.map { .init(actions: [$0]) })
            ])
    }

    /// An attempt that copies, and follows a policy.
    private struct Copying {
        var machine: AttemptMachine
        private var sequence = 10_000

        init(
            _ policy: ConvergencePolicy, isObserving: Bool = false, change: (inout MigrateOptions) -> Void = { _ in }
        ) throws {
            var options = ScriptedDriver.options()
            options.policy = PolicyWish(policy, document: "{}", isObserving: isObserving)
            change(&options)
            var driver = ScriptedDriver(Script(), options: options)
            driver.run {
                $0.machine.source.evidence.stage == .copying && $0.machine.source.evidence.events.has(.active)
            }
            try #require(driver.machine.source.evidence.stage == .copying)
            machine = driver.machine
        }

        mutating func apply(_ input: Input, atSecond second: Int64) -> [Effect] {
            sequence += 1
            return machine.apply(input, sequence: sequence, at: Instant(microseconds: second * 1_000_000))
        }

        /// What follows from the first numbers of a pass.
        mutating func pass(_ number: Int64) -> [Effect] {
            var sample = MigrationSample(status: .active)
            sample.iteration = number
            sample.totalBytes = 1 << 30
            sample.remainingBytes = 1 << 20
            return apply(.fact(.source, .reply(.queryMigrate, .migration(sample))), atSecond: 100 + number)
        }
    }

    private static func sends(_ effects: [Effect]) -> [Command] {
        effects.compactMap { if case .send(.source, let command, _) = $0 { command } else { nil } }
    }

    private static func outcomes(_ effects: [Effect]) -> [PolicyOutcome] {
        effects.compactMap { if case .decided(_, let outcome) = $0 { outcome } else { nil } }
    }

    @Test func limitsAreSetAndPutBack() throws {
        var copying = try Copying(
            Self.policy(.setDowntime(Self.number(150)), .setBandwidth(Self.number(1e6)), .setThrottle(Self.number(40))))
        #expect(Self.sends(copying.pass(1)) == [.setParameters([Setting("downtime-limit", .integer(150))])])
        #expect(Self.sends(copying.pass(2)) == [.setParameters([Setting("max-bandwidth", .integer(1_000_000))])])
        let throttle = [
            Setting("cpu-throttle-initial", .integer(40)), Setting("cpu-throttle-increment", .integer(99)),
            Setting("max-cpu-throttle", .integer(40)),
        ]
        let third = copying.pass(3)
        // A QEMU that has no such parameters is not asked.
        #expect(Self.sends(third) == [] || Self.sends(third) == [.setParameters(throttle)])
        let names = copying.machine.source.parameters.map(\.name)
        #expect(names.contains("downtime-limit"))
        #expect(names.contains("max-bandwidth"))
        #expect(Self.sends(copying.pass(4)).isEmpty)
    }

    @Test func observingSendsNothing() throws {
        var copying = try Copying(
            Self.policy(.setDowntime(Self.number(150)), .pauseGuest, .cancel("no")), isObserving: true)
        for number in Int64(1)...3 {
            let effects = copying.pass(number)
            #expect(Self.sends(effects).isEmpty)
            #expect(Self.outcomes(effects) == [.observed])
        }
    }

    /// A person's word counts more than a rule.
    @Test func whatAnOperatorSetsIsLeft() throws {
        var copying = try Copying(
            Self.policy(.setDowntime(Self.number(150)), .setDowntime(Self.number(400)), .setBandwidth(Self.number(5e6)))
        )
        #expect(Self.outcomes(copying.pass(1)) == [.done])
        let change = copying.apply(.change([Setting("downtime-limit", .integer(900))], .operator), atSecond: 102)
        #expect(Self.sends(change) == [.setParameters([Setting("downtime-limit", .integer(900))])])
        let left = copying.pass(2)
        #expect(Self.outcomes(left) == [.left])
        #expect(Self.sends(left).isEmpty)
        #expect(Self.outcomes(copying.pass(3)) == [.done])
    }

    @Test func cancelTellsWhy() throws {
        var options = ScriptedDriver.options()
        let hasty = ConvergencePolicy(
            name: "hasty",
            rules: [.init(name: "at-once", triggers: [.status(.active)], actions: [.cancel("it is too late today")])])
        options.policy = PolicyWish(hasty, document: "{}")
        var driver = ScriptedDriver(Script(), options: options)
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled, story(driver))
        #expect(driver.result?.error == "the policy cancelled: it is too late today")
    }

    @Test func postcopyOnlyWhereItIsAllowed() throws {
        var allowed = try Copying(Self.policy(.startPostcopy)) { $0.postcopy = PostcopyWish() }
        #expect(Self.sends(allowed.pass(1)) == [.startPostcopy])
        var forbidden = try Copying(Self.policy(.startPostcopy))
        let effects = forbidden.pass(1)
        #expect(Self.sends(effects).isEmpty)
        #expect(Self.outcomes(effects).isEmpty)
    }

    @Test func aStoppedGuestIsPausedOnce() throws {
        var copying = try Copying(Self.policy(.pauseGuest, .pauseGuest))
        #expect(Self.sends(copying.pass(1)).first == .stop)
        #expect(Self.sends(copying.pass(2)).isEmpty)
    }
}
