import Migration
import Phases
import Testing

private let memory = LockManagerKind(driver: "memory", usesState: true)
private let first = LeaseState(driver: "memory", state: "version=1")

/// Both sides' leases before one lock manager, which is asked as the machines say and answers at once or when told.
private struct World: Hashable {
    var locks = MemoryLockManager(heldBy: .source)
    var source = LeaseMachine(side: .source, kind: memory)
    var destination = LeaseMachine(side: .destination, kind: memory)

    /// Passes a gate, asking as long as there is something to ask.
    mutating func pass(
        _ side: Side, _ gate: (inout LeaseMachine) -> LeaseGate
    ) -> LeaseGate {
        for _ in 0..<4 {
            let result = side == .source ? gate(&source) : gate(&destination)
            guard case .ask(let action) = result else { return result }
            let answer = locks.perform(action, on: side)
            if side == .source { source.answered(answer) } else { destination.answered(answer) }
        }
        return .wait
    }

    /// Begin and Prepare.
    mutating func open() -> LeaseGate {
        let gate = pass(.source) { $0.begin(isRunning: true) }
        destination.receive(source.state, isFresh: true)
        return gate
    }
}

@Suite struct LeaseMachineTests {
    @Test func success() {
        var world = World()
        #expect(world.open() == .open)
        #expect(world.locks.holder == .source)
        #expect(world.pass(.source) { $0.release() } == .open)
        #expect(world.locks.holder == nil)
        #expect(world.pass(.destination) { $0.acquire() } == .open)
        #expect(world.locks.holder == .destination && world.destination.standing == .held)
        #expect(world.locks.violations.isEmpty)
        // The source, whoever would have it run now, does not get them.
        #expect(
            world.pass(.source) { $0.acquire() }
                == .closed("the source acquired while the destination holds the leases"))
    }

    @Test func rollback() {
        var world = World()
        #expect(world.open() == .open)
        #expect(world.pass(.source) { $0.release() } == .open)
        #expect(world.pass(.source) { $0.acquire() } == .open)
        #expect(world.locks.holder == .source && world.locks.version == 2)
        // A late Finish comes with the state of before, after the source gave the leases back once more.
        #expect(world.pass(.source) { $0.release() } == .open)
        #expect(
            world.pass(.destination) { $0.acquire() }
                == .closed("the leases were acquired by somebody else: version=1 is not version=2"))
        #expect(world.locks.holder == nil && world.locks.violations.isEmpty)
    }

    /// A migration that fails before the guest has stopped asks for nothing.
    @Test func nothingHappensWhereNothingChanges() {
        var world = World()
        _ = world.open()
        let before = world.locks
        #expect(world.source.acquire() == .open)
        #expect(world.locks == before)
        #expect(world.source.standing == .held)
    }

    @Test func withoutALockManagerEverythingIsOpen() {
        for side in Side.allCases {
            var machine = LeaseMachine(side: side, kind: nil)
            #expect(machine.begin(isRunning: true) == .open)
            #expect(machine.release() == .open)
            #expect(machine.acquire() == .open)
            #expect(machine.pending == nil && machine.state == nil)
        }
    }

    /// One question at a time; an answer that nobody waits for changes nothing.
    @Test func oneQuestionAtATime() {
        var machine = LeaseMachine(side: .source, kind: memory)
        #expect(machine.begin(isRunning: true) == .ask(.inquire))
        #expect(machine.begin(isRunning: true) == .wait)
        #expect(machine.release() == .wait && machine.acquire() == .wait)
        machine.answered(.inquired(first))
        #expect(machine.state == first && machine.standing == .held)
        let before = machine
        machine.answered(.released(first))
        machine.answered(.refused("late"))
        #expect(machine == before)
        #expect(machine.release() == .ask(.release))
        machine.answered(.acquired)
        #expect(machine.release() == .closed("the lock manager answered something else than it was asked"))
    }

    @Test func refusals() {
        var machine = LeaseMachine(side: .source, kind: memory)
        #expect(machine.begin(isRunning: true) == .ask(.inquire))
        machine.answered(.refused("no daemon"))
        #expect(machine.begin(isRunning: true) == .closed("no daemon"))

        machine = LeaseMachine(side: .source, kind: memory)
        _ = machine.begin(isRunning: true)
        machine.answered(.inquired(first))
        _ = machine.release()
        machine.timedOut()
        #expect(machine.release() == .closed("the lock manager did not answer in time"))
        // What was not given back is still held: the guest may go on here.
        #expect(machine.acquire() == .open)

        machine = LeaseMachine(side: .destination, kind: memory)
        machine.receive(first, isFresh: true)
        #expect(machine.acquire() == .ask(.acquire(first)))
        machine.answered(.refused("taken"))
        #expect(machine.acquire() == .closed("taken"))
    }

    /// A stopped guest's leases were given back when it stopped; where nobody knows, they are asked for.
    @Test func aStoppedGuest() {
        var machine = LeaseMachine(side: .source, kind: memory)
        machine.receive(first, isFresh: false)
        #expect(machine.begin(isRunning: false) == .open)
        #expect(machine.standing == .free && machine.release() == .open)
        #expect(machine.acquire() == .ask(.acquire(first)))
        machine = LeaseMachine(side: .source, kind: memory)
        #expect(machine.begin(isRunning: false) == .ask(.inquire))
    }

    /// After a restart the leases are asked about before anything is built upon them, wherever they were.
    @Test(arguments: [true, false]) func restarts(isHeld: Bool) {
        var world = World()
        _ = world.open()
        if !isHeld { _ = world.pass(.source) { $0.release() } }
        world.source = LeaseMachine(side: .source, kind: memory)
        world.source.receive(first, isFresh: false)
        #expect(world.source.acquire() == .ask(.inquire))
        world.source.answered(world.locks.perform(.inquire, on: .source))
        #expect(world.source.standing == (isHeld ? .held : .free))
        #expect(world.pass(.source) { $0.acquire() } == .open)
        #expect(world.locks.holder == .source && world.locks.violations.isEmpty)
        world.source = LeaseMachine(side: .source, kind: memory)
        world.source.receive(LeaseState(driver: "memory", state: "version=\(world.locks.version)"), isFresh: false)
        #expect(world.pass(.source) { $0.release() } == .open)
        #expect(world.locks.holder == nil && world.locks.violations.isEmpty)
    }

    /// The answers come at any moment and the sides act in any order that the steps allow: never do both hold, and
    /// nothing is out of order.
    @Test func anyOrder() {
        enum Act: CaseIterable { case answerSource, answerDestination, stop, finish, rollback, restartSource }
        struct State: Hashable {
            var world = World()
            var isStopped = false
            var isFinishing = false
            var isRollingBack = false
        }
        var start = State()
        _ = start.world.open()
        var seen: Set<State> = [start]
        var open = [start]
        var ends: Set<Side> = []
        while let state = open.popLast() {
            if state.world.source.standing == .held { ends.insert(.source) }
            if state.world.destination.standing == .held { ends.insert(.destination) }
            #expect(state.world.locks.violations.isEmpty, "\(state.world.locks.violations)")
            for act in Act.allCases {
                var next = state
                switch act {
                case .answerSource:
                    guard let asked = next.world.source.pending else { continue }
                    next.world.source.answered(next.world.locks.perform(asked, on: .source))
                case .answerDestination:
                    guard let asked = next.world.destination.pending else { continue }
                    next.world.destination.answered(next.world.locks.perform(asked, on: .destination))
                case .stop:
                    guard !next.isRollingBack else { continue }
                    next.isStopped = true
                    _ = next.world.source.release()
                case .finish:
                    // Called only once Perform was answered, and that is when the leases were free.
                    guard next.isStopped, next.world.source.standing == .free || next.isFinishing, !next.isRollingBack
                    else { continue }
                    next.isFinishing = true
                    _ = next.world.destination.acquire()
                case .rollback:
                    // Only after Abandon, which is not granted to a destination that took the leases.
                    guard next.isStopped, next.world.destination.standing == .free,
                        next.world.destination.pending == nil
                    else { continue }
                    next.isRollingBack = true
                    _ = next.world.source.acquire()
                case .restartSource:
                    // What was asked is answered to nobody; the lock manager may have done it or not.
                    guard let asked = next.world.source.pending else { continue }
                    _ = next.world.locks.perform(asked, on: .source)
                    let state = next.world.source.state
                    next.world.source = LeaseMachine(side: .source, kind: memory)
                    next.world.source.receive(state, isFresh: false)
                }
                if seen.insert(next).inserted { open.append(next) }
            }
        }
        #expect(ends == Set(Side.allCases), "both ends are reached")
        #expect(seen.count >= 12)
    }

    @Test func theTable() {
        #expect(LeaseTable.rows.map(\.side) == [.source, .source, .destination, .source, .source])
        #expect(Set(LeaseTable.rows.map(\.moment)).count == LeaseTable.rows.count)
    }
}
