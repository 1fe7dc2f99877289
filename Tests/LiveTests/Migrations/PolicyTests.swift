import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationLab {
    /// A policy document with these rules.
    fileprivate func policy(_ rules: String) throws -> String {
        let file = directory.file("policy.json")
        try writeText("{\"godwit-policy\": 1, \"name\": \"test\", \"rules\": [\(rules)]}", to: file)
        return file
    }
}

extension BlockingQMP {
    /// Blocks until a parameter of migration has this value.
    fileprivate func waitForParameter(_ name: String, _ value: Int64) throws {
        try eventually("\(name) is \(value)") { try execute("query-migrate-parameters")[name]?.int64 == value }
    }
}

extension MigrationTests {
    /// Convergence policies, followed live.
    @Suite struct Policies {
        /// A guest that writes 20 MiB/s over 16 MiB/s, and a policy that allows it the pause that it needs.
        @Test func aPolicyMakesItConverge() throws {
            let lab = try MigrationLab(rate: 20)
            let file = try lab.policy(
                """
                {"name": "short", "on": "start", "do": [{"set-downtime": "30ms"}]},
                {"name": "raise", "on": "iteration", "when": "iteration > 3", "do": [{"set-downtime": "20s"}]}
                """)
            let trace = lab.directory.file("attempt.qmptrace")
            let before = try MigrationLab.settings(lab.sourceMonitor)
            let run = try lab.migrate(
                ["--bandwidth", "16MiB", "--policy", file, "--trace", trace, "--keep-source"])
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            #expect(outcome.errors.contains("policy: set downtime 30 ms (rule short)"), "\(outcome)")
            #expect(outcome.errors.contains("policy: set downtime 20000 ms (rule raise)"), "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            #expect(try MigrationLab.settings(lab.sourceMonitor) == before)
            let driven = try lab.godwit("replay", "--drive", trace).finish()
            #expect(driven.code == 0, "\(driven)")
        }

        @Test(Live.wide) func observingChangesNothing() throws {
            let lab = try MigrationLab(rate: 20)
            let run = try lab.migrateSlowly(["--observe-policy"])
            try run.waitForNote("policy: set downtime 100 ms (rule first-limit, only observed)")
            try lab.sourceMonitor.waitForParameter("downtime-limit", 300)
            #expect(try lab.steer("cancel").code == 0)
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        @Test(Live.wide) func theUsualPolicyIsOurs() throws {
            let lab = try MigrationLab(rate: 20)
            let run = try lab.migrateSlowly()
            try run.waitForNote("policy: set downtime 100 ms (rule first-limit)")
            try lab.sourceMonitor.waitForParameter("downtime-limit", 100)
            #expect(try lab.steer("cancel").code == 0)
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        /// What a person sets counts more than a rule.
        @Test(Live.wide) func whatIsSetByHandIsLeft() throws {
            let lab = try MigrationLab(rate: 20)
            let file = try lab.policy(
                """
                {"name": "early", "on": "start", "do": [{"set-downtime": "40ms"}]},
                {"name": "stubborn", "on": "tick", "when": "downtime == 50ms", "do": [{"set-downtime": "60ms"}]}
                """)
            let run = try lab.migrateSlowly(["--policy", file])
            try run.waitForNote("policy: set downtime 40 ms (rule early)")
            #expect(try lab.steer("set", "--downtime-limit", "50ms").code == 0)
            try run.waitForNote("set downtime 60 ms (rule stubborn, left as it was set by hand)")
            try lab.sourceMonitor.waitForParameter("downtime-limit", 50)
            #expect(try lab.steer("cancel").code == 0)
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        @Test(
            Live.wide,
            arguments: [
                (["--policy", "novb"], "no policy is called `novb`"),
                (["--policy", "nova", "--downtime-limit", "1s"], "--downtime-limit is the policy's to set"),
                (["--policy", "/nonexistent.json"], "/nonexistent.json: No such file or directory"),
            ]) func whatIsWrongIsSaid(arguments: [String], message: String) throws
        {
            let lab = try LabDirectory()
            let outcome = try Godwit(
                ["migrate", "--source", lab.file("a"), "--destination", lab.file("b")] + arguments, in: lab, number: 1
            ).finish()
            #expect(outcome.code == 64 || outcome.code == 66)
            #expect(outcome.errors.contains(message), "\(outcome)")
        }
    }
}
