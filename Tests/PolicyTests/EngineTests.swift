import Migration
import Policy
import PolicyDocuments
import Testing

@Suite("The engine")
struct EngineTests {
    private static func policy(_ rules: String, _ rest: String = "") throws -> ConvergencePolicy {
        let text = "{\"godwit-policy\": 1, \"name\": \"test\", \(rest) \"rules\": [\(rules)]}"
        return try ConvergencePolicy(document: Array(text.utf8), file: "test")
    }

    @Test("the same inputs give the same decisions, and telling them again gives none")
    func replay() throws {
        for document in NamedPolicies.all {
            var first = PolicyEngine(try document.policy())
            var second = first
            let inputs = (0..<300).map { step -> PolicyInput in
                var sample = PolicySample(elapsedMilliseconds: Int64(step) * 5000)
                sample.memoryBytes = 4 << 30
                sample.remainingBytes = Int64((step * 7919) % 1000) << 20
                sample.transferredBytes = Int64(step) << 20
                sample.bandwidthBytesPerSecond = 1e8
                sample.iteration = Int64(step / 2)
                return .sample(sample)
            }
            for input in inputs {
                #expect(first.apply(input) == second.apply(input))
                #expect(first.apply(input).isEmpty, "\(document.name): told twice")
                #expect(first == second)
                #expect(first.hashValue == second.hashValue)
            }
            for input in inputs { #expect(first.apply(input).isEmpty) }
        }
    }

    @Test("a decision says which rule and which numbers led to it")
    func reasons() throws {
        let policy = try Self.policy(
            """
            {"name": "raise", "on": "tick", "when": "remaining > bound", "steps": [
              {"when": "elapsed >= 10", "do": [{"set-downtime": "downtime * 2"}]}]}
            """, "\"variables\": {\"bound\": \"memory / 4\"},")
        var telling = Telling(policy)
        #expect(telling.at(0, remaining: 2 << 30).isEmpty)
        var sample = PolicySample(elapsedMilliseconds: 10)
        sample.remainingBytes = 2 << 30
        let decision = try #require(telling.engine.apply(.sample(sample)).first)
        #expect(decision.rule == "raise")
        #expect(decision.step == 1)
        #expect(decision.trigger == .tick)
        #expect(decision.elapsedMilliseconds == 10)
        #expect(decision.effect == .setDowntime(600))
        #expect(decision.conditions == ["remaining > bound", "elapsed >= 10"])
        #expect(decision.readings.map(\.name) == ["remaining", "bound", "elapsed", "downtime"])
        #expect(decision.readings.map(\.value) == [2_147_483_648, 1_073_741_824, 10, 300])
    }

    @Test("what is unknown fulfils nothing")
    func unknown() throws {
        var telling = Telling(
            try Self.policy(
                """
                {"name": "a", "on": "tick", "when": "dirty > 1", "do": [{"note": "a"}]},
                {"name": "b", "on": "tick", "when": "not dirty > 1", "do": [{"note": "b"}]},
                {"name": "c", "on": "tick", "do": [{"set-downtime": "dirty"}]},
                {"name": "d", "on": "tick", "when": "dirty > 1 or elapsed == 5", "do": [{"note": "d"}]}
                """))
        #expect(telling.at(4).isEmpty)
        #expect(telling.at(5) == [.note("d")])
    }

    @Test("once post-copy was asked for, only its bandwidth is touched")
    func afterPostcopy() throws {
        let rules = """
            {"name": "a", "on": "start", "do": ["start-postcopy"]},
            {"name": "b", "on": "tick", "do": [{"set-downtime": 5}, "pause-guest", "hard-switchover",
              "start-postcopy", {"set-throttle": 20}, {"cancel": "no"}, {"set-bandwidth": 7}]}
            """
        var telling = Telling(try Self.policy(rules), postcopy: true)
        #expect(telling.at(0) == [.startPostcopy, .setBandwidth(7)])
        telling = Telling(try Self.policy(rules))
        #expect(
            telling.at(0) == [.setDowntime(5), .pauseGuest, .hardSwitchover, .setThrottle(20), .cancel("no")],
            "it cannot be started, so the rest counts; nothing follows a cancel")
        #expect(telling.engine.isOver)
        #expect(telling.at(1).isEmpty)
    }

    @Test("QEMU's words are triggers, and its ends are ends")
    func words() throws {
        var engine = PolicyEngine(
            try Self.policy("{\"name\": \"a\", \"on\": \"status:pre-switchover\", \"do\": [{\"note\": \"now\"}]}"))
        #expect(engine.apply(.status(.active, elapsedMilliseconds: 1)).isEmpty)
        #expect(engine.apply(.status(.preSwitchover, elapsedMilliseconds: 2)).map(\.effect) == [.note("now")])
        #expect(engine.apply(.status(.preSwitchover, elapsedMilliseconds: 3)).isEmpty)
        #expect(engine.apply(.status(.completed, elapsedMilliseconds: 4)).isEmpty)
        #expect(engine.isOver)
    }

    @Test("a rule that is last ends its trigger only; times are counted; limits are kept within QEMU's")
    func order() throws {
        var telling = Telling(
            try Self.policy(
                """
                {"name": "a", "on": "tick", "times": 2, "last": true, "do": [{"note": "a"}]},
                {"name": "b", "on": "tick", "times": 1, "do": [{"note": "b"}, {"set-downtime": "1h"},
                  {"set-bandwidth": "0 - 5"}, {"set-throttle": 500}]},
                {"name": "c", "on": "iteration", "do": [{"note": "c"}]}
                """))
        #expect(telling.at(0) == [.note("c"), .note("a")])
        #expect(telling.at(1) == [.note("a")])
        #expect(telling.at(2) == [.note("b"), .setDowntime(2_000_000), .setThrottle(99)])
        #expect(telling.at(3).isEmpty)
    }

    @Test("deadlines are armed, disarmed and passed once")
    func deadlines() throws {
        var telling = Telling(
            try Self.policy(
                """
                {"name": "a", "on": "start", "do": [{"arm": {"x": "elapsed + 10", "y": 30}}]},
                {"name": "b", "on": "deadline:x", "do": [{"note": "x"}, {"disarm": "y"}]},
                {"name": "c", "on": "deadline:y", "do": [{"note": "y"}]}
                """, "\"deadlines\": [\"x\", \"y\"],"))
        telling.at(0)
        #expect(telling.engine.nextDeadlineMilliseconds == 10)
        #expect(telling.engine.apply(.time(elapsedMilliseconds: 10)).map(\.effect) == [.note("x")])
        #expect(telling.engine.nextDeadlineMilliseconds == nil)
        #expect(telling.at(100).isEmpty)
    }

    @Test("numbers that cannot be are as good as none")
    func oddSamples() throws {
        var sample = MigrationSample(status: .active)
        sample.remainingBytes = -1
        sample.totalBytes = .max
        sample.dirtyPagesPerSecond = .max
        sample.pageBytes = .max
        sample.megabitsPerSecond = .nan
        sample.iteration = .max
        let read = PolicySample(sample, elapsedMilliseconds: .min)
        #expect(read.remainingBytes == nil)
        #expect(read.bandwidthBytesPerSecond == nil)
        for document in NamedPolicies.all {
            var engine = PolicyEngine(try document.policy())
            _ = engine.apply(.sample(read))
            var late = read
            late.elapsedMilliseconds = .max
            _ = engine.apply(.sample(late))
            _ = engine.apply(.time(elapsedMilliseconds: .max))
            #expect(engine.apply(.sample(read)).isEmpty)
        }
    }
}
