/// 128 bits that stand for a state in the set of visited ones.
public struct Fingerprint: Hashable, Sendable {
    var high: UInt64
    var low: UInt64
}

/// Makes a fingerprint of words. Two states whose canonical forms are equal have the same one in the same process.
public struct FingerprintHasher {
    private var high: UInt64 = 0x9E37_79B9_7F4A_7C15
    private var low: UInt64 = 0xC2B2_AE3D_27D4_EB4F

    /// Nothing fed yet.
    public init() {}

    /// Takes in one word.
    @inline(__always)
    public mutating func feed(_ word: UInt64) {
        high = Self.mix(high ^ word)
        low = Self.mix(low &+ word &* 0x1656_67B1_9E37_79F9) ^ high
    }

    /// The fingerprint of what was fed.
    public var fingerprint: Fingerprint { Fingerprint(high: Self.mix(high ^ low), low: Self.mix(low &+ 1)) }

    @inline(__always)
    private static func mix(_ word: UInt64) -> UInt64 {
        var mixed = word
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Something that must not be and was reached: which property, and what happened.
public struct Violation: Hashable, Sendable, CustomStringConvertible {
    /// The property, by the name a person looks it up with.
    public var property: String
    /// What broke it.
    public var detail: String

    /// A broken property.
    public init(_ property: String, _ detail: String) {
        self.property = property
        self.detail = detail
    }

    /// Both, on one line.
    public var description: String { "\(property): \(detail)" }
}

/// A system that is explored: states, and what can happen in each of them.
///
/// `successors` must be a pure function of the state, always in the same order: a trace is kept as the numbers of the choices made.
/// Everything in a state must be canonical, so that two states that can do the same are one state.
public protocol TransitionSystem: Sendable {
    /// A state. It is kept only while it waits to be expanded.
    associatedtype State: Sendable
    /// What leads from one state to the next, for a person.
    associatedtype Action: Sendable & CustomStringConvertible

    /// Where everything begins.
    var initialStates: [State] { get }
    /// All that can happen in a state, in a fixed order.
    func successors(of state: State) -> [(action: Action, state: State)]
    /// The state's canonical identity, without what it may still spend.
    func fingerprint(of state: State) -> Fingerprint
    /// What may still be spent from the state on.
    func allowance(of state: State) -> Allowance
    /// What is wrong with the state, if anything. A state with a violation is not expanded.
    func violation(in state: State) -> Violation?
    /// The name of the end this state is, `nil` if it is none. An end need not have successors.
    func end(of state: State) -> String?
}

extension TransitionSystem {
    /// Nothing is ever spent.
    public func allowance(of state: State) -> Allowance { .nothing }
}
