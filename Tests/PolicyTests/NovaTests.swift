import Policy
import PolicyDocuments
import Testing

@Suite("Nova's steps")
struct NovaTests {
    private static let example = ["maximumDowntime": "\"400ms\"", "delay": "\"30s\""]

    @Test("3 GB, 400 ms, 10 steps, 30 s: 40 ms and then 36 ms more every 90 s, to 400 ms")
    func example() throws {
        var telling = Telling(try named("nova", Self.example), memory: 3 << 30)
        #expect(telling.at(0).isEmpty, "a time that has come exactly is not yet over")
        #expect(telling.at(500) == [.setDowntime(40)])
        for step in 1...10 {
            let time = Int64(step) * 90_000
            #expect(telling.at(time).isEmpty)
            #expect(telling.at(time + 500) == [.setDowntime(40 + Int64(step) * 36)])
        }
        #expect(telling.at(1_500_000).isEmpty)
        #expect(telling.engine.context.downtimeMilliseconds == 400)
    }

    @Test("a look that comes late takes the last step that is due")
    func lateLook() throws {
        var telling = Telling(try named("nova", Self.example), memory: 3 << 30)
        telling.at(0)
        #expect(telling.at(300_000) == [.setDowntime(148)])
    }

    @Test("500 ms, 10 steps, 75 s as usual; less than 2 GiB count as 2 GiB")
    func usual() throws {
        var telling = Telling(try named("nova"), memory: 1 << 30)
        telling.at(0)
        #expect(telling.at(500) == [.setDowntime(50)])
        #expect(telling.at(150_000).isEmpty)
        #expect(telling.at(150_500) == [.setDowntime(95)])
    }

    @Test("it cancels after more than 800 s for each GiB")
    func abort() throws {
        var telling = Telling(try named("nova"), memory: 3 << 30)
        telling.at(0)
        #expect(telling.at(2_400_000) == [.setDowntime(500)])
        #expect(telling.at(2_400_500) == [.cancel("the completion timeout has passed")])
        #expect(telling.at(2_401_000).isEmpty)
    }

    @Test("or it forces the end: post-copy if it may, else a pause")
    func force() throws {
        var telling = Telling(try named("nova", ["forceComplete": "1"]), postcopy: true, memory: 3 << 30)
        telling.at(0)
        #expect(telling.at(2_400_500).first == .pauseGuest)
        #expect(telling.at(2_401_000).isEmpty)
        telling = Telling(
            try named("nova", ["forceComplete": "1", "permitPostcopy": "1"]), postcopy: true, memory: 3 << 30)
        telling.at(0)
        #expect(telling.at(2_400_500) == [.startPostcopy])
        #expect(telling.at(2_500_000).isEmpty, "post-copy is never aborted")
    }

    @Test("no timeout at 0, and the least values: 100 ms, 3 steps, 3 s")
    func bounds() throws {
        let policy = try named(
            "nova", ["completionTimeout": "0", "maximumDowntime": "1", "steps": "1", "delay": "\"1s\""])
        var telling = Telling(policy, memory: 2 << 30)
        telling.at(0)
        #expect(telling.at(500) == [.setDowntime(33)])
        #expect(telling.at(6_500) == [.setDowntime(55)])
        #expect(telling.at(10_000_000) == [.setDowntime(100)])
    }
}
