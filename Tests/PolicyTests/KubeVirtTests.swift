import Migration
import Policy
import PolicyDocuments
import Testing

@Suite("KubeVirt's legacy loop")
struct KubeVirtLegacyTests {
    /// 3 GB, so that 450 s are acceptable.
    private static let memory: Int64 = 2_500_000_000

    @Test("it cancels after more than 150 s for each GB, rounded up")
    func completion() throws {
        var telling = Telling(try named("kubevirt-legacy"), memory: Self.memory)
        var left: Int64 = 1 << 40
        for time in stride(from: Int64(0), through: 450_000, by: 400) {
            left -= 1
            #expect(telling.at(time, remaining: left).isEmpty)
        }
        #expect(telling.at(450_400, remaining: left - 1) == [.cancel("the completion timeout has passed")])
    }

    @Test("it cancels when nothing got less for more than 150 s; any decrease against the last look counts")
    func progress() throws {
        var telling = Telling(try named("kubevirt-legacy"), memory: Self.memory)
        telling.at(0, remaining: 1000)
        #expect(telling.at(100_000, remaining: 5000).isEmpty)
        #expect(telling.at(100_400, remaining: 4999).isEmpty, "less than at the last look, more than ever before")
        #expect(telling.at(250_400, remaining: 4999).isEmpty)
        #expect(telling.at(250_800, remaining: 4999) == [.cancel("nothing got less within the progress timeout")])
    }

    @Test("if it may disturb, it pauses, and has as long again for the end")
    func pause() throws {
        let policy = try named("kubevirt-legacy", ["allowDisruption": "1", "progressTimeout": "0"])
        var telling = Telling(policy, memory: Self.memory)
        telling.at(0)
        #expect(telling.at(450_000).isEmpty)
        #expect(telling.at(450_400) == [.pauseGuest])
        #expect(telling.at(900_000).isEmpty)
        #expect(telling.at(900_400) == [.cancel("the completion timeout has passed")])
    }

    @Test("post-copy where allowed, and then never an abort")
    func postcopy() throws {
        var telling = Telling(
            try named("kubevirt-legacy", ["allowPostcopy": "1"]), postcopy: true, memory: Self.memory)
        telling.at(0, remaining: 2000)
        telling.at(400_000, remaining: 1000)
        #expect(telling.at(450_400) == [.startPostcopy])
        #expect(telling.at(9_000_000).isEmpty)
    }

    @Test("host devices: twice the time as downtime limit, 2000 s at most")
    func hostDevices() throws {
        let policy = try named("kubevirt-legacy", ["allowPostcopy": "1", "progressTimeout": "0"])
        var telling = Telling(policy, postcopy: true, hostDevices: true, memory: Self.memory)
        telling.at(0)
        #expect(telling.at(450_400) == [.setDowntime(900_000)])
        telling = Telling(policy, postcopy: true, hostDevices: true, memory: 20_000_000_000)
        telling.at(0)
        #expect(telling.at(3_000_400) == [.setDowntime(2_000_000)])
    }

    @Test("downtime tuning: 150 ms, from pass 3 on 107 ms more every 10 s, to 900 ms")
    func tuning() throws {
        var telling = Telling(try named("kubevirt-legacy", ["tuneDowntime": "1"]), memory: 40_000_000_000)
        #expect(telling.at(0) == [.setDowntime(150)])
        #expect(telling.at(20_000, iteration: 2).isEmpty)
        #expect(telling.at(20_400, iteration: 3) == [.setDowntime(257)])
        #expect(telling.at(30_000, iteration: 4).isEmpty)
        #expect(telling.at(30_400, iteration: 4) == [.setDowntime(364)])
        var limits: [PolicyEffect] = []
        for time in stride(from: Int64(41_000), to: 140_000, by: 11_000) {
            limits += telling.at(time, remaining: 1_000_000 - time, iteration: 9)
        }
        #expect(limits == [471, 578, 685, 792, 899, 900].map { .setDowntime($0) })
    }
}

@Suite("KubeVirt's stall detector")
struct KubeVirtStallTests {
    /// Ten GB: 1500 s are acceptable.
    private static let memory: Int64 = 10_000_000_000

    /// Copies at 1 GB/s with a pass each five seconds, each look beside a pass's beginning telling the bandwidth.
    private func passes(_ telling: inout Telling, _ remaining: [Int64]) -> [[PolicyEffect]] {
        var decided = [telling.at(0, remaining: Self.memory, bandwidth: nil)]
        telling.at(400, remaining: Self.memory)
        for (index, left) in remaining.enumerated() {
            let time = Int64(index + 1) * 5_000
            decided.append(telling.at(time, remaining: left, iteration: Int64(index + 2)))
            telling.at(time + 1_000, remaining: left, iteration: Int64(index + 2))
        }
        return decided
    }

    @Test("it begins with 300 ms, or the most allowed if that is less")
    func begin() throws {
        var telling = Telling(try named("kubevirt-stall", ["maximumDowntime": "\"200ms\""]), memory: Self.memory)
        #expect(telling.at(0) == [.setDowntime(200)])
    }

    @Test("a pause of up to 1.5 times the allowed one is gone for softly, and then waited 60 s for")
    func soft() throws {
        var telling = Telling(try named("kubevirt-stall"), memory: Self.memory)
        // 1.3 s of pause at 1 GB/s; the first amount leaves the window after 40 s.
        let decided = passes(&telling, Array(repeating: 1_300_000_000, count: 9))
        #expect(decided.dropLast().allSatisfy { $0.isEmpty })
        #expect(decided.last == [.setDowntime(900)])
        #expect(telling.at(105_000, remaining: 1_300_000_000, iteration: 12).isEmpty)
        #expect(telling.at(105_400, remaining: 1, iteration: 12) == [.cancel("the deadline has passed")])
    }

    @Test("a longer one is not allowed: it cancels")
    func hopeless() throws {
        var telling = Telling(try named("kubevirt-stall"), memory: Self.memory)
        let decided = passes(&telling, Array(repeating: 1_400_000_000, count: 9))
        #expect(decided.last == [.cancel("it stalls, and the pause it needs is not allowed")])
    }

    @Test("if it may disturb: post-copy, else a switchover at any price")
    func disrupt() throws {
        var telling = Telling(try named("kubevirt-stall", ["allowPostcopy": "1"]), postcopy: true, memory: Self.memory)
        #expect(passes(&telling, Array(repeating: 2_000_000_000, count: 9)).last == [.startPostcopy])
        telling = Telling(try named("kubevirt-stall", ["allowDisruption": "1"]), postcopy: true, memory: Self.memory)
        #expect(passes(&telling, Array(repeating: 2_000_000_000, count: 9)).last == [.hardSwitchover])
        #expect(telling.engine.context.downtimeMilliseconds == 2_000_000)
    }

    @Test("a stall at a bad moment waits for one that is within 4 % of the best")
    func localMinimum() throws {
        var telling = Telling(try named("kubevirt-stall"), memory: Self.memory)
        let low: Int64 = 1_000_000_000
        let decided = passes(
            &telling, [low] + Array(repeating: 2 * low, count: 8) + [low * 105 / 100, low * 104 / 100])
        #expect(decided.dropLast().allSatisfy { $0.isEmpty })
        #expect(decided.last == [.setDowntime(900)])
    }

    @Test("progress of more than 4 % is no stall")
    func progress() throws {
        var telling = Telling(try named("kubevirt-stall"), memory: Self.memory)
        var left = 5_000_000_000.0
        let decided = passes(
            &telling,
            (0..<60).map { _ in
                left *= 0.99
                return Int64(left)
            })
        #expect(decided.allSatisfy { $0.isEmpty })
    }

    @Test("the acceptable time is a limit too: a finishable rest is forced if it may be, else it cancels")
    func late() throws {
        var telling = Telling(try named("kubevirt-stall"), memory: Self.memory)
        telling.at(0)
        telling.at(400)
        #expect(telling.at(1_500_000).isEmpty)
        #expect(telling.at(1_500_400) == [.cancel("the deadline has passed")])
        telling = Telling(try named("kubevirt-stall", ["allowDisruption": "1"]), memory: Self.memory)
        telling.at(0)
        telling.at(400)
        #expect(telling.at(1_500_400) == [.hardSwitchover])
        #expect(telling.at(1_560_000).isEmpty)
        #expect(telling.at(1_560_800) == [.cancel("the deadline has passed")])
    }

    @Test("nothing sent by then: it cancels")
    func nothingSent() throws {
        var telling = Telling(try named("kubevirt-stall", ["allowDisruption": "1"]), memory: Self.memory)
        telling.at(0, bandwidth: nil)
        #expect(
            telling.at(1_500_400, bandwidth: nil) == [.cancel("the deadline has passed and nothing is sent")])
    }

    @Test("once the guest is stopped, the acceptable time counts again instead of the 60 s")
    func stopped() throws {
        var telling = Telling(try named("kubevirt-stall", ["allowDisruption": "1"]), memory: Self.memory)
        telling.at(0)
        telling.at(400)
        #expect(telling.at(1_500_400) == [.hardSwitchover])
        _ = telling.engine.apply(.status(.device, elapsedMilliseconds: 1_501_000))
        #expect(telling.at(3_000_000).isEmpty)
        #expect(telling.at(3_000_400) == [.cancel("the deadline has passed")])
    }

    @Test("the bandwidth is smoothed with 0.4, beginning with the first one")
    func smoothing() throws {
        var telling = Telling(try named("kubevirt-stall"), memory: Self.memory)
        telling.at(0, bandwidth: nil)
        telling.at(400, bandwidth: 1e9)
        telling.at(800, bandwidth: 2e9)
        var sample = PolicySample(elapsedMilliseconds: 1_600_000)
        sample.remainingBytes = 1 << 50
        sample.iteration = 1
        let decision = try #require(telling.engine.apply(.sample(sample)).first)
        #expect(decision.rule == "late")
        telling = Telling(try named("kubevirt-stall", ["allowDisruption": "1"]), memory: Self.memory)
        telling.at(0, bandwidth: nil)
        telling.at(400, bandwidth: 1e9)
        telling.at(800, bandwidth: 2e9)
        sample.remainingBytes = 1
        let forced = try #require(telling.engine.apply(.sample(sample)).first)
        #expect(forced.readings.first { $0.name == "speed" }?.value == 1.4e9)
    }
}
