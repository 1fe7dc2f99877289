/// Finds out when copying no longer gets nearer to its end, and which amount left is then still worth waiting for.
///
/// Within a window it keeps the amounts that each were the least so far. Those that leave the window make up the least of
/// the past; once a new amount is not below that by a margin, the copying stalls. From then on the best amount seen is
/// what is hoped for; patience is bounded, and each time it runs out the next best of what was seen since takes its place
/// and patience is cut.
public struct StallDetector: Hashable, Sendable {
    /// How it is set.
    public struct Settings: Hashable, Sendable {
        /// By how much of it the least of the past must be undercut.
        public var margin = 0.04
        /// How long an amount counts as new, and the first patience. In milliseconds.
        public var windowMilliseconds = 40_000.0
        /// What is left of patience each time it runs out.
        public var decay = 0.5

        /// As usual.
        public init() {}
    }

    private struct Candidate: Hashable, Sendable {
        var elapsed: Double
        var remaining: Double
    }

    /// How many amounts are kept; of more, the oldest counts as past and the largest is no hope.
    static let bound = 256

    /// Whether the copying stalls.
    public private(set) var isStalled = false
    /// What is hoped for, in bytes; `nil` before a stall.
    public private(set) var best: Double?

    private var candidates: [Candidate] = []
    private var outside: Double?
    private var history: [Double] = []
    private var patience = 0.0
    private var deadline = 0.0

    /// Nothing was seen.
    public init() {}

    /// Notes what is left at the beginning of a pass.
    ///
    /// - Parameters:
    ///   - remaining: Bytes left.
    ///   - elapsed: Milliseconds since `migrate`.
    mutating func observe(remaining: Double, elapsed: Double, _ settings: Settings) {
        while let first = candidates.first,
            elapsed - first.elapsed >= settings.windowMilliseconds || candidates.count >= Self.bound
        {
            candidates.removeFirst()
            outside = min(outside ?? first.remaining, first.remaining)
        }
        let isAboveOutside = outside.map { remaining > $0 } ?? false
        let isAboveLast = candidates.last.map { remaining >= $0.remaining } ?? false
        if !isAboveOutside, !isAboveLast { candidates.append(Candidate(elapsed: elapsed, remaining: remaining)) }
        guard isStalled else {
            guard let outside, remaining >= outside * (1 - settings.margin) else { return }
            isStalled = true
            best = candidates.reduce(outside) { min($0, $1.remaining) }
            patience = settings.windowMilliseconds
            deadline = elapsed + patience
            return
        }
        let place = history.firstIndex { $0 > remaining } ?? history.count
        history.insert(remaining, at: place)
        if history.count > Self.bound { history.removeLast() }
        guard elapsed >= deadline else { return }
        best = history.removeFirst()
        patience *= settings.decay
        deadline = elapsed + patience
    }
}
