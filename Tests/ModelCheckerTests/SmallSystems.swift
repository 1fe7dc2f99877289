@testable import ModelChecking

/// Philosophers around a table, each with two forks to take and to put back.
struct Philosophers: TransitionSystem {
    /// Forks in hand, by philosopher: 0 none, 1 the first, 2 both.
    typealias State = [UInt8]

    let count: Int
    /// All take the left fork first, which can starve them; otherwise the last one takes the right one first.
    let isNaive: Bool

    var initialStates: [State] { [[UInt8](repeating: 0, count: count)] }

    /// The forks of a philosopher in the order of taking.
    private func forks(_ who: Int) -> [Int] {
        let both = [who, (who + 1) % count]
        return !isNaive && who == count - 1 ? both.reversed() : both
    }

    private func isTaken(_ fork: Int, in state: State) -> Bool {
        state.indices.contains { forks($0).prefix(Int(state[$0])).contains(fork) }
    }

    func successors(of state: State) -> [(action: String, state: State)] {
        state.indices.compactMap { who in
            var next = state
            if state[who] == 2 {
                next[who] = 0
                return ("\(who) puts down", next)
            }
            let fork = forks(who)[Int(state[who])]
            guard !isTaken(fork, in: state) else { return nil }
            next[who] += 1
            return ("\(who) takes \(fork)", next)
        }
    }

    func fingerprint(of state: State) -> Fingerprint {
        var hasher = FingerprintHasher()
        for fork in state { hasher.feed(UInt64(fork)) }
        return hasher.fingerprint
    }

    func violation(in state: State) -> Violation? { nil }
    /// Somebody eats.
    func end(of state: State) -> String? { state.contains(2) ? "meal" : nil }
}

/// Two processes that want into a room one at a time, by Peterson's algorithm.
struct Mutex2: TransitionSystem {
    struct State: Hashable {
        var place = [0, 0]
        var wants = [false, false]
        var turn = 0
    }

    /// The bug: nobody gives way to the other.
    let forgetsTurn: Bool

    var initialStates: [State] { [State()] }

    func successors(of state: State) -> [(action: String, state: State)] {
        [0, 1].compactMap { me in
            var next = state
            switch state.place[me] {
            case 0:
                next.wants[me] = true
                if !forgetsTurn { next.turn = 1 - me }
                next.place[me] = 1
            case 1:
                let mayEnter = !state.wants[1 - me] || state.turn == me
                guard mayEnter else { return nil }
                next.place[me] = 2
            default:
                next.wants[me] = false
                next.place[me] = 0
            }
            return ("\(me): \(state.place[me])", next)
        }
    }

    func fingerprint(of state: State) -> Fingerprint {
        var hasher = FingerprintHasher()
        for place in state.place { hasher.feed(UInt64(place)) }
        for want in state.wants { hasher.feed(want ? 1 : 0) }
        hasher.feed(UInt64(state.turn))
        return hasher.fingerprint
    }

    func violation(in state: State) -> Violation? {
        state.place == [2, 2] ? Violation("one at a time", "both are inside") : nil
    }
    func end(of state: State) -> String? { state.place.contains(2) ? "inside" : nil }
}

/// Counts to a number; above the edge there is a pit with a circle in it and no way out.
struct Walk: TransitionSystem {
    var length = 10
    var pit: Int?

    var initialStates: [Int] { [0] }
    func successors(of state: Int) -> [(action: String, state: Int)] {
        if state < 0 { return [("around", state == -1 ? -2 : -1)] }
        let on = state < length ? [("on", state + 1)] : []
        return on + (state == pit ? [("into the pit", -1)] : [])
    }
    func fingerprint(of state: Int) -> Fingerprint {
        var hasher = FingerprintHasher()
        hasher.feed(UInt64(bitPattern: Int64(state)))
        return hasher.fingerprint
    }
    func violation(in state: Int) -> Violation? { nil }
    func end(of state: Int) -> String? { state == length ? "there" : nil }
}
