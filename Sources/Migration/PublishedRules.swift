/// What is known of an attempt by whoever sees its sides: what the rules of publication read, and all they read.
public struct JointReport: Hashable, Sendable {
    /// The source's report, `nil` if it was never seen.
    public var source: SideReport?
    /// The destination's report, `nil` if it was never seen.
    public var destination: SideReport?
    /// What is intended.
    public var context: JointContext

    /// Both reports.
    public init(source: SideReport?, destination: SideReport?, context: JointContext = JointContext()) {
        self.source = source
        self.destination = destination
        self.context = context
    }

    /// The side whose way the words on the way follow: the source's where it was seen.
    public var deciding: SideReport? { source ?? destination }

    /// On whose word a status rests.
    public var basis: StatusBasis {
        if source == nil { return destination == nil ? .both : .destination }
        return destination == nil ? .source : .both
    }
}

/// A piece of evidence that a rule of publication rests on, and on which side.
public struct JointBasis: Hashable, Sendable, CustomStringConvertible {
    /// Which end; `nil` for the deciding one, whichever that is.
    public var side: Side?
    /// What it is.
    public var basis: Basis

    /// A piece of evidence on a side.
    public init(_ side: Side?, _ basis: Basis) {
        self.side = side
        self.basis = basis
    }

    /// A few words for a table.
    public var description: String {
        let what =
            switch basis {
            case .trigger(let kind): "\(kind.rawValue) sent"
            case .event(let kind): kind.rawValue
            }
        return side.map { "\($0.rawValue): \(what)" } ?? what
    }
}

/// A rule of publication: what has to be known so that a word is published. The first one that applies decides.
public struct PublishedRule: Sendable {
    /// How much has to be seen for a rule to be asked.
    public enum Scope: String, Hashable, Sendable {
        /// Both QEMUs.
        case both
        /// One of them and not the other.
        case one
        /// Any: it looks at the source, or where that was never seen at the destination.
        case any
    }

    /// What the rule says, for the table's readers.
    public var name: String
    /// The word that is published.
    public var word: PublishedWord
    /// How much has to be seen.
    public var scope: Scope
    /// The evidence it rests on.
    public var because: [JointBasis]
    private let condition: @Sendable (JointReport) -> Bool

    init(
        _ name: String, _ word: PublishedWord, _ scope: Scope, because: [JointBasis],
        when condition: @escaping @Sendable (JointReport) -> Bool
    ) {
        self.name = name
        self.word = word
        self.scope = scope
        self.because = because
        self.condition = condition
    }

    /// Whether the reports satisfy it.
    public func applies(to reports: JointReport) -> Bool { condition(reports) }
}

/// At what moments the outside sees what: for each published word the evidence that publishes it.
///
/// The list is part of the interface. It has a version, and a change of a word, of a rule or of their order is a change
/// of that version. What these rules make of both QEMUs is published at once while the attempt goes on; an end is
/// published when the last step was answered.
public enum PublishedRules {
    /// The version of the words and the rules.
    public static let version = 1

    /// All rules in the order in which they are asked.
    public static let table: [PublishedRule] = both + one + way

    /// The rule that decides. There always is one: the last applies to everything.
    public static func rule(for reports: JointReport) -> PublishedRule {
        for rule in table where rule.applies(to: reports) { return rule }
        return nothing
    }

    // MARK: Both sides were seen

    private static let both: [PublishedRule] = [
        joint("the source was never told to migrate", .idle, because: [.source(.trigger(.migrate))]) { source, _, _ in
            source.opened == nil
        },
        joint(
            "in post-copy the guest shut itself down on the destination, which is gone", .ended,
            because: [
                .destination(.event(.postcopyActive)), .destination(.event(.guestShutdown)),
                .destination(.event(.processEnded)),
            ]
        ) { source, destination, _ in
            JointPostcopy.isLost(source, destination) && destination.guestShutdown != nil
        },
        joint(
            "in post-copy the source is gone before it was done", .lost,
            because: [.source(.event(.postcopyActive)), .source(.event(.processEnded))]
        ) { source, destination, _ in JointPostcopy.isLost(source, destination) && source.gone != nil },
        joint(
            "in post-copy one of both ended before the destination was told to run the guest, all of which the source "
                + "holds", .undecided,
            because: [
                .source(.event(.postcopyActive)), .source(.event(.cancelled)), .source(.event(.failed)),
                .destination(.event(.postcopyActive)), .destination(.event(.failed)),
                .destination(.event(.processEnded)),
            ]
        ) { source, destination, _ in JointPostcopy.isLost(source, destination) && !mayHaveRun(destination) },
        joint(
            "in post-copy the destination is gone or gave up before both were done", .lost,
            because: [.destination(.event(.failed)), .destination(.event(.processEnded))]
        ) { source, destination, _ in JointPostcopy.isLost(source, destination) && hasFailed(destination) },
        joint(
            "in post-copy the source ended and did not continue the guest", .lost,
            because: [
                .source(.event(.postcopyActive)), .source(.event(.cancelled)), .source(.event(.failed)),
                .destination(.event(.postcopyActive)),
            ]
        ) { source, destination, _ in JointPostcopy.isLost(source, destination) },
        joint(
            "in post-copy the source continued the guest by itself, and it ran on the destination too", .undecided,
            because: [.source(.event(.failed)), .source(.event(.resumed)), .destination(.event(.ran))]
        ) { source, destination, _ in
            source.hasLeftInPostcopy && source.ended != nil && source.isRunning == true && destination.ran != nil
        },
        joint(
            "both are done and the guest was seen running on the destination", .completed,
            because: [.source(.event(.completed)), .destination(.event(.completed)), .destination(.event(.ran))]
        ) { source, destination, _ in areDone(source, destination) && destination.ran != nil },
        joint(
            "both are done and both are gone", .lost,
            because: [
                .destination(.event(.completed)), .source(.event(.processEnded)), .destination(.event(.processEnded)),
            ]
        ) { source, destination, _ in
            areDone(source, destination) && destination.gone != nil && source.gone != nil
        },
        joint(
            "the destination was told to run the guest and is gone, and nobody saw whether it ran", .undecided,
            because: [
                .source(.event(.completed)), .destination(.event(.completed)), .destination(.trigger(.run)),
                .destination(.event(.processEnded)),
            ]
        ) { source, destination, _ in
            areDone(source, destination) && destination.gone != nil && mayHaveRun(destination)
        },
        joint(
            "the destination is gone before it was told to run the guest", .failed,
            because: [
                .source(.event(.completed)), .destination(.event(.completed)), .destination(.event(.processEnded)),
            ]
        ) { source, destination, _ in areDone(source, destination) && destination.gone != nil },
        joint(
            "the source runs the guest again after it had left", .failed,
            because: [.source(.event(.completed)), .source(.event(.resumed))]
        ) { source, destination, _ in
            guard areDone(source, destination), let completed = source.completed, let resumed = source.resumed else {
                return false
            }
            return resumed > completed
        },
        joint(
            "both are done and the guest arrived shut down", .completed,
            because: [.source(.event(.completed)), .destination(.event(.completed)), .source(.event(.guestShutdown))]
        ) { source, destination, _ in areDone(source, destination) && destination.runState == .shutdown },
        joint(
            "both are done and the guest was seen at rest on the destination, as intended", .completed,
            because: [.source(.event(.completed)), .destination(.event(.completed))]
        ) { source, destination, context in
            let stays = source.wasRunning == false || context.isPausedIntended || context.wasPausedOnTheWay
            return areDone(source, destination) && stays && isAtRest(destination)
        },
        joint(
            "both are done, the guest was not seen in the intended run state yet", .switchover,
            because: [.source(.event(.completed)), .destination(.event(.completed)), .destination(.trigger(.run))]
        ) { source, destination, _ in areDone(source, destination) },
        joint(
            "the guest shut itself down and its QEMU is gone", .ended,
            because: [.source(.event(.guestShutdown)), .source(.event(.processEnded))]
        ) { source, _, _ in
            guard isGoneTooEarly(source), let shutdown = source.guestShutdown else { return false }
            return !wasOver(source) || source.ended ?? .max > shutdown
        },
        joint(
            "the attempt was cancelled, then the source went", .cancelled,
            because: [
                .source(.trigger(.cancel)), .source(.event(.cancelled)), .source(.event(.processEnded)),
            ]
        ) { source, _, _ in isGoneTooEarly(source) && wasOver(source) && source.ending == .cancelled },
        joint(
            "the attempt failed, then the source went", .failed,
            because: [.source(.event(.failed)), .source(.event(.processEnded))]
        ) { source, _, _ in isGoneTooEarly(source) && wasOver(source) },
        joint(
            "the source is gone before the guest had left it", .lost, because: [.source(.event(.processEnded))]
        ) { source, _, _ in isGoneTooEarly(source) },
        joint(
            "the source is done, the destination failed and was never told to run the guest", .failed,
            because: [
                .source(.event(.completed)), .destination(.event(.failed)), .destination(.event(.processEnded)),
            ]
        ) { source, destination, _ in
            source.stage == .completed && hasFailed(destination) && !mayHaveRun(destination)
        },
        joint(
            "in post-copy the source is done, the rest arrives at the destination", .postcopy,
            because: [.source(.event(.completed)), .destination(.event(.postcopyActive))]
        ) { source, destination, _ in source.completed != nil && destination.postcopy.isSplit },
        joint(
            "in post-copy one side knows that the channel broke", .postcopyPaused,
            because: [.source(.event(.postcopyPaused)), .destination(.event(.postcopyPaused))]
        ) { source, destination, _ in
            if case .halfPaused = JointPostcopy(source: source, destination: destination) { true } else { false }
        },
        joint(
            "in post-copy the destination shakes hands anew", .recovering,
            because: [.destination(.event(.postcopyRecover))]
        ) { source, destination, _ in
            JointPostcopy(source: source, destination: destination) == .recovering
        },
        joint("the source is done, the destination is not", .switchover, because: [.source(.event(.completed))]) {
            source, _, _ in source.stage == .completed
        },
        joint(
            "the source is done and gone, the destination failed", .lost,
            because: [
                .source(.event(.completed)), .source(.event(.processEnded)), .destination(.event(.failed)),
                .destination(.event(.processEnded)),
            ]
        ) { source, destination, _ in source.stage == .gone && hasFailed(destination) },
        joint(
            "the source is done and gone, the destination is not done", .switchover,
            because: [.source(.event(.completed)), .source(.event(.processEnded))]
        ) { source, _, _ in source.stage == .gone },
    ]

    // MARK: One side was seen

    private static let one: [PublishedRule] = [
        alone(
            "the only QEMU seen ended in post-copy without the guest", .lost,
            because: [.event(.postcopyActive), .event(.failed), .event(.cancelled)]
        ) { $0.hasLeftInPostcopy && $0.ended != nil && $0.completed == nil && $0.isRunning != true },
        alone(
            "it was done and is gone", .completed, because: [.event(.completed), .event(.processEnded)]
        ) { $0.stage == .gone && $0.completed != nil },
        alone(
            "the guest shut itself down and the only QEMU seen is gone", .ended,
            because: [.event(.guestShutdown), .event(.processEnded)]
        ) { $0.stage == .gone && $0.guestShutdown != nil },
        alone(
            "the attempt was cancelled, then the QEMU went", .cancelled,
            because: [.trigger(.cancel), .event(.cancelled), .event(.processEnded)]
        ) { $0.stage == .gone && $0.ended != nil && $0.ending == .cancelled },
        alone("the attempt failed, then the QEMU went", .failed, because: [.event(.failed), .event(.processEnded)]) {
            $0.stage == .gone && $0.ended != nil
        },
        alone("the QEMU went before anything was begun", .idle, because: [.event(.processEnded)]) {
            $0.stage == .gone && $0.opened == nil
        },
        alone("the QEMU went in the middle of it", .lost, because: [.event(.processEnded)]) { $0.stage == .gone },
        alone("the source, which alone was seen, is done", .completed, because: [.event(.completed)]) {
            $0.stage == .completed && $0.side == .source
        },
        alone(
            "the destination, which alone was seen, is done and the guest ran there", .completed,
            because: [.event(.completed), .event(.ran)]
        ) { $0.stage == .completed && $0.ran != nil },
    ]

    // MARK: On the way

    private static let way: [PublishedRule] = [
        stage("migrate was sent", .starting, because: [.trigger(.migrate), .event(.setup)]) { $0.stage == .starting },
        stage("the guest must release a device first", .starting, because: [.event(.waitUnplug)]) {
            $0.stage == .waiting
        },
        stage(
            "the guest was stopped for the last pass", .switchover, because: [.event(.active), .event(.stopped)]
        ) { $0.stage == .copying && $0.stopped != nil && !$0.isHeldByPolicy && $0.resumed == nil },
        stage("memory is being copied", .copying, because: [.event(.active)]) { $0.stage == .copying },
        stage("the guest is held before the switchover", .switchover, because: [.event(.preSwitchover)]) {
            $0.stage == .held
        },
        stage("device state is being sent", .switchover, because: [.event(.device)]) { $0.stage == .switchover },
        stage("it is done, the guest was not seen running yet", .switchover, because: [.event(.completed)]) {
            $0.stage == .completed
        },
        stage("the post-copy package is on its way", .switchover, because: [.event(.postcopyDevice)]) {
            $0.stage == .postcopy(.device)
        },
        stage("memory follows the guest", .postcopy, because: [.event(.postcopyActive)]) {
            $0.stage == .postcopy(.active)
        },
        stage("the channel broke in post-copy", .postcopyPaused, because: [.event(.postcopyPaused)]) {
            $0.stage == .postcopy(.paused)
        },
        stage(
            "a post-copy recovery is under way", .recovering,
            because: [.event(.postcopyRecoverSetup), .event(.postcopyRecover)]
        ) { $0.stage == .postcopy(.recovering) },
        stage(
            "a cancel or an error is being carried out, the guest was stopped before", .switchover,
            because: [.event(.cancelling), .event(.failing), .event(.stopped)]
        ) { isStopping($0) && $0.stopped != nil },
        stage(
            "a cancel or an error is being carried out before QEMU said anything", .starting,
            because: [.trigger(.cancel)]
        ) { isStopping($0) && $0.word == nil },
        stage(
            "a cancel or an error is being carried out", .copying,
            because: [.trigger(.cancel), .event(.cancelling), .event(.failing)]
        ) { isStopping($0) },
        stage(
            "the attempt was cancelled", .cancelled,
            because: [.trigger(.cancel), .event(.cancelled), .event(.failed)]
        ) { $0.stage == .ended(.cancelled) },
        stage("the attempt failed", .failed, because: [.event(.failed), .event(.cancelled), .trigger(.migrate)]) {
            $0.stage == .ended(.failed)
        },
        nothing,
    ]

    private static let nothing = PublishedRule("nothing was started", .idle, .any, because: []) { _ in true }

    // MARK: What the rules ask

    private static func isStopping(_ report: SideReport) -> Bool {
        if case .stopping = report.stage { return true }
        return false
    }

    /// Both have done all their work, or the source is gone after the destination had: the guest is where the
    /// destination is.
    private static func areDone(_ source: SideReport, _ destination: SideReport) -> Bool {
        destination.completed != nil && (source.completed != nil || source.gone != nil)
    }

    /// Whether a query has shown the loaded guest stopped.
    private static func isAtRest(_ report: SideReport) -> Bool {
        guard let state = report.runState, report.isRunning == false else { return false }
        return state != .inMigrate && state != .running
    }

    private static func isGoneTooEarly(_ source: SideReport) -> Bool { source.gone != nil && source.completed == nil }

    /// Whether the attempt was over before its QEMU went.
    private static func wasOver(_ source: SideReport) -> Bool {
        guard let gone = source.gone, let ended = source.ended else { return false }
        return ended < gone
    }

    private static func hasFailed(_ report: SideReport) -> Bool { report.gone != nil || report.ended != nil }

    /// Whether `cont` may have taken effect. A `cont` that QEMU refused did not.
    private static func mayHaveRun(_ report: SideReport) -> Bool {
        report.ran != nil || (report.runSent != nil && !report.isRunRefused)
    }

    // MARK: Rows

    private static func joint(
        _ name: String, _ word: PublishedWord, because: [JointBasis],
        when condition: @escaping @Sendable (SideReport, SideReport, JointContext) -> Bool
    ) -> PublishedRule {
        PublishedRule(name, word, .both, because: because) {
            guard let source = $0.source, let destination = $0.destination else { return false }
            return condition(source, destination, $0.context)
        }
    }

    private static func alone(
        _ name: String, _ word: PublishedWord, because: [Basis],
        when condition: @escaping @Sendable (SideReport) -> Bool
    ) -> PublishedRule {
        PublishedRule(name, word, .one, because: because.map { JointBasis(nil, $0) }) {
            guard $0.source == nil || $0.destination == nil else { return false }
            return $0.deciding.map(condition) ?? false
        }
    }

    private static func stage(
        _ name: String, _ word: PublishedWord, because: [Basis],
        when condition: @escaping @Sendable (SideReport) -> Bool
    ) -> PublishedRule {
        PublishedRule(name, word, .any, because: because.map { JointBasis(nil, $0) }) {
            $0.deciding.map(condition) ?? false
        }
    }
}

extension JointBasis {
    fileprivate static func source(_ basis: Basis) -> JointBasis { JointBasis(.source, basis) }

    fileprivate static func destination(_ basis: Basis) -> JointBasis { JointBasis(.destination, basis) }
}
