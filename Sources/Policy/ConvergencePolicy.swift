public import Migration

/// A convergence policy: rules that say what to do with a migration that copies.
///
/// A value without behaviour; `PolicyEngine` follows it. Rules are tried in their order at each trigger that they name.
public struct ConvergencePolicy: Hashable, Sendable {
    /// What it is called.
    public var name: String
    /// What it does, for a person.
    public var summary: String
    /// The time between two ticks; every sample is one if it is `nil`. In milliseconds.
    public var every: PolicyExpression?
    /// What it wants switched on in QEMU beforehand, or off.
    public var capabilities: [CapabilitySetting]
    /// Names with fixed values.
    public var constants: [Constant]
    /// Names with values that rules change. Their first values are computed from the first sample.
    public var variables: [Variable]
    /// Names of times that rules set.
    public var deadlines: [String]
    /// How the stall detector is set.
    public var stall: StallDetector.Settings
    /// The rules, in their order.
    public var rules: [Rule]

    /// A name with a fixed value.
    public struct Constant: Hashable, Sendable {
        /// The name.
        public var name: String
        /// The value.
        public var value: Double
        /// As it was written.
        public var text: String

        /// A constant.
        public init(name: String, value: Double, text: String) {
            self.name = name
            self.value = value
            self.text = text
        }
    }

    /// A name with a changing value.
    public struct Variable: Hashable, Sendable {
        /// The name.
        public var name: String
        /// Its first value.
        public var initial: PolicyExpression

        /// A variable.
        public init(name: String, initial: PolicyExpression) {
            self.name = name
            self.initial = initial
        }
    }

    /// When rules are tried.
    public enum Trigger: Hashable, Sendable, CustomStringConvertible {
        /// The first sample.
        case start
        /// A sample, not sooner after the last tick than the policy says.
        case tick
        /// The first sample of a pass over memory.
        case iteration
        /// QEMU says this word.
        case status(StatusWord)
        /// The deadline at this place has passed.
        case deadline(Int, String)

        /// As in a document.
        public var description: String {
            switch self {
            case .start: "start"
            case .tick: "tick"
            case .iteration: "iteration"
            case .status(let word): "status:\(word.rawValue)"
            case .deadline(_, let name): "deadline:\(name)"
            }
        }
    }

    /// What a rule does.
    public enum Action: Hashable, Sendable {
        /// Sets the downtime limit, in milliseconds.
        case setDowntime(PolicyExpression)
        /// Sets the bandwidth limit, in bytes each second; 0 is unlimited.
        case setBandwidth(PolicyExpression)
        /// Sets the throttle, in percent.
        case setThrottle(PolicyExpression)
        /// Starts post-copy.
        case startPostcopy
        /// Stops the guest, so that nothing is dirtied any more.
        case pauseGuest
        /// Lets QEMU switch over whatever the pause.
        case hardSwitchover
        /// Gives the attempt up.
        case cancel(String)
        /// Says something, and does nothing.
        case note(String)
        /// Sets the variable at this place.
        case set(Int, PolicyExpression)
        /// Sets the deadline at this place, in milliseconds since `migrate`.
        case arm(Int, PolicyExpression)
        /// Forgets the deadline at this place.
        case disarm(Int)
        /// Tells the stall detector what is left now.
        case observeStall
    }

    /// What is to be done next of several things that are done one after the other.
    public struct Step: Hashable, Sendable {
        /// What must be fulfilled besides the rule's own condition.
        public var condition: PolicyExpression?
        /// What is done.
        public var actions: [Action]

        /// A step.
        public init(condition: PolicyExpression? = nil, actions: [Action]) {
            self.condition = condition
            self.actions = actions
        }
    }

    /// A rule.
    public struct Rule: Hashable, Sendable {
        /// What it is called in explanations.
        public var name: String
        /// When it is tried.
        public var triggers: [Trigger]
        /// What must be fulfilled.
        public var condition: PolicyExpression?
        /// How often it is followed at most.
        public var times: Int?
        /// Whether no later rule is tried at this trigger once this one was followed.
        public var isLast: Bool
        /// What is done each time, in order.
        public var actions: [Action]
        /// What is done once each, one step each time; the first that is left stands in the way of the others.
        public var steps: [Step]

        /// A rule.
        public init(
            name: String, triggers: [Trigger], condition: PolicyExpression? = nil, times: Int? = nil,
            isLast: Bool = false, actions: [Action] = [], steps: [Step] = []
        ) {
            self.name = name
            self.triggers = triggers
            self.condition = condition
            self.times = times
            self.isLast = isLast
            self.actions = actions
            self.steps = steps
        }
    }

    /// A policy.
    public init(
        name: String, summary: String = "", every: PolicyExpression? = nil, capabilities: [CapabilitySetting] = [],
        constants: [Constant] = [], variables: [Variable] = [], deadlines: [String] = [],
        stall: StallDetector.Settings = .init(), rules: [Rule]
    ) {
        self.name = name
        self.summary = summary
        self.every = every
        self.capabilities = capabilities
        self.constants = constants
        self.variables = variables
        self.deadlines = deadlines
        self.stall = stall
        self.rules = rules
    }
}
