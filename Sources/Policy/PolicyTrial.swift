/// What came of a policy, in a model or over a recording.
public struct PolicyTrial: Hashable, Sendable {
    /// How it ends.
    public enum Verdict: String, Hashable, Sendable, CaseIterable {
        /// QEMU switches over within its downtime limit.
        case converged
        /// Post-copy is started.
        case postcopy
        /// The guest is paused and the rest follows.
        case paused
        /// QEMU is made to switch over at any price.
        case forced
        /// The attempt is given up.
        case cancelled
        /// It still copies at the end of the time given.
        case unfinished = "not-converged"
        /// What is at hand does not tell.
        case unknown
    }

    /// A point of the curve.
    public struct Point: Hashable, Sendable {
        /// Milliseconds since `migrate`.
        public var elapsedMilliseconds: Int64
        /// Bytes left.
        public var remainingBytes: Int64
        /// The downtime limit then, in milliseconds.
        public var downtimeMilliseconds: Int64

        /// A point.
        public init(elapsedMilliseconds: Int64, remainingBytes: Int64, downtimeMilliseconds: Int64) {
            self.elapsedMilliseconds = elapsedMilliseconds
            self.remainingBytes = remainingBytes
            self.downtimeMilliseconds = downtimeMilliseconds
        }
    }

    /// The policy's name.
    public var policy: String
    /// How it ends.
    public var verdict: Verdict
    /// What the verdict rests on, in a sentence.
    public var basis: String
    /// When memory has arrived, or when it was given up or lost from sight; milliseconds since `migrate`.
    public var elapsedMilliseconds: Int64
    /// How long the guest stands still, in milliseconds; `nil` if it does not, or nothing tells.
    public var pauseMilliseconds: Int64?
    /// The downtime limit in force at the end, in milliseconds.
    public var downtimeMilliseconds: Int64
    /// How many passes were begun.
    public var iterations: Int64
    /// How much was sent, in bytes.
    public var transferredBytes: Int64
    /// How far the guest was held back at most, in percent.
    public var maximumThrottle: Int64
    /// What was decided, in order.
    public var decisions: [PolicyDecision]
    /// How many decisions more there were than are kept.
    public var omittedDecisions = 0
    /// How it went.
    public var curve: [Point]

    static let maximumDecisions = 1000
    static let maximumPoints = 4000

    init(policy: String) {
        self.policy = policy
        verdict = .unfinished
        basis = ""
        elapsedMilliseconds = 0
        downtimeMilliseconds = 0
        iterations = 0
        transferredBytes = 0
        maximumThrottle = 0
        decisions = []
        curve = []
    }

    mutating func note(_ decision: PolicyDecision) {
        if decisions.count < Self.maximumDecisions { decisions.append(decision) } else { omittedDecisions += 1 }
    }

    mutating func note(_ point: Point) {
        curve.append(point)
        guard curve.count > Self.maximumPoints else { return }
        // Every other point tells the same at half the price.
        curve = curve.enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
    }
}
