import Migration
import Policy
import PolicyDocuments
import Testing

@Suite("oVirt's four")
struct OVirtTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var initial: Int64
        /// The pass after the first seen from which a limit is due, and the limit.
        var schedule: [(pass: Int64, limit: Int64)]
        var last: [PolicyEffect]

        var testDescription: String { name }
    }

    static let usual: [(pass: Int64, limit: Int64)] = [(2, 150), (3, 200), (4, 300), (5, 400), (7, 500)]
    static let usedUp = PolicyEffect.cancel("the schedule is used up")
    static let rows = [
        Row(name: "ovirt-minimal-downtime", initial: 100, schedule: usual, last: [usedUp]),
        Row(name: "ovirt-suspend-workload", initial: 100, schedule: usual, last: [.setDowntime(5000), usedUp]),
        Row(name: "ovirt-postcopy", initial: 100, schedule: [(2, 150), (3, 200)], last: [.startPostcopy]),
        Row(
            name: "ovirt-very-large", initial: 300, schedule: [(2, 400), (3, 500), (4, 700), (5, 1000), (7, 1500)],
            last: [.setDowntime(5000), usedUp]),
    ]

    @Test(arguments: rows)
    func schedule(_ row: Row) throws {
        let policy = try named(row.name)
        #expect(policy.capabilities == [CapabilitySetting("auto-converge", true)])
        var telling = Telling(policy, postcopy: true)
        // 300 ms is QEMU's own limit and not set again.
        #expect(telling.at(0) == (row.initial == 300 ? [] : [.setDowntime(row.initial)]))
        var expected = Dictionary(
            uniqueKeysWithValues: row.schedule.map { ($0.pass, PolicyEffect.setDowntime($0.limit)) })
        let end = row.schedule.map(\.pass).max() ?? 0
        for (index, effect) in row.last.enumerated() { expected[end + 1 + Int64(index)] = effect }
        for pass in 1...12 {
            let pass = Int64(pass)
            #expect(telling.at(pass * 10_000, iteration: 1 + pass) == (expected[pass].map { [$0] } ?? []))
        }
    }

    @Test("one action for each new pass seen, however many passes went by between two looks")
    func onePerLook() throws {
        var telling = Telling(try named("ovirt-minimal-downtime"))
        telling.at(0)
        #expect(telling.at(10_000, iteration: 50) == [.setDowntime(150)])
        #expect(telling.at(20_000, iteration: 50).isEmpty)
        #expect(telling.at(25_000, iteration: 60).isEmpty, "it looks each 10 s")
        #expect(telling.at(30_000, iteration: 60) == [.setDowntime(200)])
    }
}

@Suite("Proxmox's doubling")
struct ProxmoxTests {
    @Test("100 ms, doubled when what is left has grown six times, not necessarily in a row")
    func doubling() throws {
        var telling = Telling(try named("proxmox"))
        #expect(telling.at(0, remaining: 1000) == [.setDowntime(100)])
        var time: Int64 = 0
        var effects: [PolicyEffect] = []
        for _ in 1...12 {
            time += 1000
            effects += telling.at(time, remaining: 3000)
            time += 1000
            effects += telling.at(time, remaining: 2000)
        }
        #expect(effects == [.setDowntime(200), .setDowntime(400)])
    }

    @Test("nothing left counts too, and what was not sent further does not")
    func counting() throws {
        var telling = Telling(try named("proxmox"))
        telling.at(0, remaining: 1000)
        for second in 1...5 { #expect(telling.at(Int64(second) * 1000, remaining: 0).isEmpty) }
        telling.transferred -= 1
        #expect(telling.at(6000, remaining: 0).isEmpty)
        #expect(telling.at(7000, remaining: 0) == [.setDowntime(200)])
    }

    @Test("2000 s at most")
    func cap() throws {
        var telling = Telling(try named("proxmox"))
        telling.at(0)
        for second in 1...200 { telling.at(Int64(second) * 1000, remaining: 0) }
        #expect(telling.engine.context.downtimeMilliseconds == 2_000_000)
    }
}

@Suite("libvirt's timeouts, Ganeti, and nothing")
struct SmallPoliciesTests {
    @Test("a deadline pauses the guest or starts post-copy, once")
    func timeouts() throws {
        var telling = Telling(try named("virsh-timeout-suspend"))
        telling.at(0)
        #expect(telling.engine.nextDeadlineMilliseconds == 60_000)
        #expect(telling.at(59_999).isEmpty)
        #expect(telling.engine.apply(.time(elapsedMilliseconds: 60_000)).map(\.effect) == [.pauseGuest])
        #expect(telling.engine.nextDeadlineMilliseconds == nil)
        #expect(telling.at(70_000).isEmpty)
        telling = Telling(try named("virsh-timeout-postcopy"), postcopy: true)
        telling.at(0)
        #expect(telling.at(60_500) == [.startPostcopy])
    }

    @Test("after the first pass")
    func afterPrecopy() throws {
        var telling = Telling(try named("virsh-postcopy-after-precopy"), postcopy: true)
        #expect(telling.at(0).isEmpty)
        #expect(telling.at(10, iteration: 1).isEmpty)
        #expect(telling.at(20, iteration: 2) == [.startPostcopy])
        telling = Telling(try named("virsh-postcopy-after-precopy"))
        telling.at(0)
        #expect(telling.at(20, iteration: 2).isEmpty, "it cannot be started")
    }

    @Test("Ganeti: 32 MiB/s, 30 ms, post-copy from pass 2 on")
    func ganeti() throws {
        var telling = Telling(try named("ganeti"), postcopy: true)
        #expect(telling.at(0) == [.setBandwidth(33_554_432), .setDowntime(30)])
        #expect(telling.at(2000).isEmpty)
        #expect(telling.at(4000, iteration: 2) == [.startPostcopy])
        telling = Telling(try named("ganeti"))
        telling.at(0)
        #expect(telling.at(4000, iteration: 2).isEmpty)
    }

    @Test func nothing() throws {
        var telling = Telling(try named("none"))
        for second in 0...100 { #expect(telling.at(Int64(second) * 1000, iteration: Int64(second)).isEmpty) }
    }
}

@Suite("Godwit's own")
struct GodwitPolicyTests {
    /// Tells the beginnings of passes, one each ten seconds, at 1 GB/s.
    private func passes(_ telling: inout Telling, _ remaining: [Int64]) -> [PolicyEffect] {
        var decided = telling.at(0)
        for (index, left) in remaining.enumerated() {
            decided += telling.at(Int64(index + 1) * 10_000, remaining: left, iteration: Int64(index + 2))
        }
        return decided
    }

    @Test("a copying that gets nearer to its end is left alone")
    func progress() throws {
        var telling = Telling(try named("godwit"))
        #expect(passes(&telling, [900, 800, 700, 600, 500].map { $0 * 1_000_000 }) == [.setDowntime(100)])
    }

    @Test("a stall raises the limit to what the best pass needs and a quarter more, then by half, to 1 s")
    func raise() throws {
        var telling = Telling(try named("godwit"))
        let decided = passes(&telling, Array(repeating: 400_000_000, count: 18))
        #expect(
            decided == [100, 500, 750, 1000].map { .setDowntime($0) } + [
                .note("it stalls: a longer pause, more bandwidth or post-copy is needed")
            ])
    }

    @Test("beyond that post-copy, and without it a word and in the end a cancel")
    func beyond() throws {
        var telling = Telling(try named("godwit"), postcopy: true)
        #expect(passes(&telling, Array(repeating: 2_000_000_000, count: 9)) == [.setDowntime(100), .startPostcopy])
        telling = Telling(try named("godwit"))
        #expect(
            passes(&telling, Array(repeating: 2_000_000_000, count: 20)) == [
                .setDowntime(100), .setDowntime(1000),
                .note("it stalls: a longer pause, more bandwidth or post-copy is needed"),
                .cancel("it stalls, and the pause it needs is longer than allowed"),
            ])
    }
}
