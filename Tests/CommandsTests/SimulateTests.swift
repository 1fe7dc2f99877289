import ArgumentParser
import JSONC
import Policy
import PolicyDocuments
import Testing

@testable import Commands

@Suite("godwit simulate")
struct SimulateTests {
    private static func scenario(_ arguments: [String]) throws -> Comparison.Scenario {
        let command = try SimulateCommand.parse(arguments)
        let policies = try NamedPolicies.all.map { try $0.policy() }
        return command.model.scenario(policies)
    }

    @Test("options make the model")
    func options() throws {
        let model = try SimulateCommand.parse([
            "--memory", "8GiB", "--bandwidth", "2GiB/s", "--dirty", "30s=1GiB/s", "--dirty", "100MiB/s", "--period",
            "60s",
            "--working-set", "16GiB", "--jitter", "10", "--seed", "7", "--downtime-limit", "50ms", "--postcopy",
            "--horizon", "10min",
        ]).model.model
        #expect(model.memoryBytes == 8_589_934_592)
        #expect(model.bandwidthBytesPerSecond == 2_147_483_648)
        #expect(model.loads.map(\.fromMilliseconds) == [0, 30_000])
        #expect(model.loads.map(\.bytesPerSecond) == [104_857_600, 1_073_741_824])
        #expect(model.periodMilliseconds == 60_000)
        #expect(model.workingSetBytes == model.memoryBytes, "no more than there is")
        #expect(model.jitter == 0.1)
        #expect(model.seed == 7)
        #expect(model.context.downtimeMilliseconds == 50)
        #expect(model.context.isPostcopyPossible)
        #expect(model.horizonMilliseconds == 600_000)
    }

    @Test(
        "wrong command lines",
        arguments: [
            ["--policy", "novae"], ["--print", "novae"], ["--jitter", "101"], ["--memory", "0"], ["--bandwidth", "0"],
            ["--horizon", "2000h"], ["--dirty", "x=1GiB"], ["--attempt", "0"], ["--downtime-limit", "1h"],
            ["--period", "1ms"],
        ])
    func refused(_ arguments: [String]) {
        let error = #expect(throws: (any Error).self) { try SimulateCommand.parse(arguments) }
        #expect(error.map { SimulateCommand.exitCode(for: $0).rawValue } == 64)
    }

    @Test("a text has a row and a curve for each policy, and the decisions if asked for")
    func text() throws {
        let scenario = try Self.scenario(["--dirty", "2GiB/s", "--working-set", "500MiB"])
        let comparison = Comparison(scenarios: [scenario])
        let text = comparison.text(withDecisions: false)
        for trial in scenario.trials {
            #expect(text.split(separator: "\n").count { $0.hasPrefix("  \(trial.policy) ") } == 2, "\(trial.policy)")
        }
        #expect(!text.contains("[raise"))
        #expect(comparison.text(withDecisions: true).contains("[raise: downtime = 100"))
    }

    @Test("JSON has all of it and can be read")
    func json() throws {
        let scenario = try Self.scenario([])
        let value = try JSONValue(parsing: Comparison(scenarios: [scenario]).json.text())
        let policies = try #require(value["scenarios"]?.array?.first?["policies"]?.array)
        #expect(policies.count == scenario.trials.count)
        for (policy, trial) in zip(policies, scenario.trials) {
            #expect(policy["policy"]?.string == trial.policy)
            #expect(policy["verdict"]?.string == trial.verdict.rawValue)
            #expect(policy["decisions"]?.array?.count == trial.decisions.count)
            #expect(policy["curve"]?.array?.count == trial.curve.count)
        }
    }

    @Test("a drawing has two curves for each policy, within its frame, and nothing of a title that is not text")
    func drawing() throws {
        var scenario = try Self.scenario([])
        scenario.title = "<script>&\"\u{1b}"
        let svg = Comparison(scenarios: [scenario]).svg
        #expect(svg.split(separator: "\n").count { $0.hasPrefix("<polyline") } == 2 * scenario.trials.count)
        #expect(!svg.contains("<script"))
        #expect(svg.contains("&lt;script&gt;&amp;&quot;\u{FFFD}"))
        #expect(!svg.contains("?,") && !svg.contains(",?"))
        #expect(svg.hasSuffix("</svg>\n"))
    }

    @Test("nothing to draw draws nothing that falls over")
    func empty() {
        let scenario = Comparison.Scenario(kind: .model, title: "t", note: "n", trials: [])
        #expect(Comparison(scenarios: [scenario]).text(withDecisions: true).contains("t"))
        #expect(Comparison(scenarios: [scenario]).svg.contains("</svg>"))
    }
}
