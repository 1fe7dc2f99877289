import Migration
import Phases
import Testing

@Suite struct LockManagerTests {
    @Test func nobodyLocksAnything() {
        var none = NullLockManager()
        #expect(none.kind == .none && !none.kind.usesState)
        for side in Side.allCases {
            #expect(none.perform(.inquire, on: side) == .inquired(LeaseState(driver: "nop")))
            #expect(none.perform(.release, on: side) == .released(LeaseState(driver: "nop")))
            for state in [nil, LeaseState(driver: "other", state: "1")] {
                #expect(none.perform(.acquire(state), on: side) == .acquired)
            }
        }
    }

    /// The whole way over, and the whole way back.
    @Test(arguments: Side.allCases) func theOrder(runner: Side) {
        var locks = MemoryLockManager(heldBy: .source)
        let first = LeaseState(driver: "memory", state: "version=1")
        #expect(locks.perform(.inquire, on: .source) == .inquired(first))
        #expect(locks.holder == .source, "whoever inquires keeps the leases")
        #expect(locks.perform(.release, on: .source) == .released(first))
        #expect(locks.holder == nil)
        #expect(locks.perform(.acquire(first), on: runner) == .acquired)
        #expect(locks.holder == runner && locks.version == 2)
        #expect(locks.violations.isEmpty)
        // Whoever comes later with the same state is too late, without having done wrong once the leases are free
        // again.
        #expect(locks.perform(.release, on: runner) == .released(LeaseState(driver: "memory", state: "version=2")))
        guard case .refused(let why) = locks.perform(.acquire(first), on: runner == .source ? .destination : .source)
        else {
            Issue.record("an outdated state was taken")
            return
        }
        #expect(why == "the leases were acquired by somebody else: version=1 is not version=2")
        #expect(locks.holder == nil && locks.violations.isEmpty)
    }

    @Test func whateverIsOutOfOrderIsRefusedAndNoted() {
        let state = LeaseState(driver: "memory", state: "version=1")
        let rows: [(Side?, LeaseAction, Side, String)] = [
            (nil, .release, .source, "the source released without holding the leases"),
            (.source, .release, .destination, "the destination released without holding the leases"),
            (.source, .acquire(state), .destination, "the destination acquired while the source holds the leases"),
            (.destination, .acquire(state), .source, "the source acquired while the destination holds the leases"),
            (.source, .acquire(state), .source, "the source acquired while the source holds the leases"),
            (nil, .acquire(nil), .source, "the source acquired without a state of this manager"),
            (
                nil, .acquire(LeaseState(driver: "sanlock", state: "version=1")), .source,
                "the source acquired without a state of this manager"
            ),
        ]
        for (holder, action, side, what) in rows {
            var locks = MemoryLockManager(heldBy: holder)
            #expect(locks.perform(action, on: side) == .refused(what))
            #expect(locks.holder == holder && locks.version == 1)
            #expect(locks.violations == [.init(side: side, action: action, description: what)])
        }
    }

    /// To ask whether one holds the leases is always in order.
    @Test func inquiring() {
        for holder in [nil, Side.source, .destination] {
            for side in Side.allCases {
                var locks = MemoryLockManager(heldBy: holder)
                let before = locks
                let result = locks.perform(.inquire, on: side)
                #expect(
                    result
                        == (holder == side
                            ? .inquired(LeaseState(driver: "memory", state: "version=1"))
                            : .refused("the \(side.rawValue) does not hold the leases")))
                #expect(locks == before)
            }
        }
    }

    /// However the two sides ask, never do both hold: every sequence of six requests.
    @Test func neverBoth() {
        var states: Set<MemoryLockManager> = [MemoryLockManager(heldBy: .source)]
        for _ in 0..<6 {
            var next: Set<MemoryLockManager> = []
            for locks in states {
                for side in Side.allCases {
                    let old = LeaseState(driver: "memory", state: "version=1")
                    let new = LeaseState(driver: "memory", state: "version=\(locks.version)")
                    for action in [LeaseAction.inquire, .release, .acquire(old), .acquire(new), .acquire(nil)] {
                        var after = locks
                        let result = after.perform(action, on: side)
                        if result == .acquired {
                            #expect(locks.holder == nil && after.holder == side && after.version == locks.version + 1)
                        }
                        if case .refused = result { #expect(after.holder == locks.holder) }
                        next.insert(after)
                    }
                }
            }
            states = next
        }
        #expect(states.contains { $0.holder == .destination && $0.violations.isEmpty })
    }
}
