/// Whether something may be asked of a QEMU now.
public enum Permission: Hashable, Sendable {
    /// It may.
    case allowed
    /// It may not: a sentence for a person that tells how things stand, and one that tells what to do instead.
    case refused(String)

    /// Whether it may.
    public var isAllowed: Bool { self == .allowed }

    /// The sentences, `nil` if it may.
    public var refusal: String? { if case .refused(let text) = self { text } else { nil } }
}

/// What permission can be asked for: any trigger, and the parameters apart from the capabilities that `configure`
/// otherwise stands for.
public enum PermittedAct: Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// A trigger. `configure` means capabilities.
    case trigger(TriggerKind)
    /// Setting parameters, which QEMU takes at any time.
    case parameters

    /// Every trigger, and the parameters.
    public static let allCases = TriggerKind.allCases.map { PermittedAct.trigger($0) } + [.parameters]

    /// What it is called in a sentence.
    public var description: String {
        switch self {
        case .parameters: "setting parameters"
        case .trigger(let kind):
            switch kind {
            case .configure: "setting capabilities"
            case .listen: "migrate-incoming"
            case .migrate: "migrate"
            case .startPostcopy: "migrate-start-postcopy"
            case .continueSwitchover: "migrate-continue"
            case .cancel: "cancelling"
            case .pausePostcopy: "migrate-pause"
            case .recover: "migrate-recover"
            case .resume: "resuming with migrate"
            case .yank: "yank"
            case .run: "cont"
            case .hold: "stop"
            case .kill: "ending the QEMU"
            }
        }
    }
}

/// A stage without what it carries: what rows of the permission table are about.
public enum StageKind: String, Hashable, Sendable, CaseIterable {
    /// ``Stage/idle``
    case idle
    /// ``Stage/starting``
    case starting
    /// ``Stage/waiting``
    case waiting
    /// ``Stage/copying``
    case copying
    /// ``Stage/held``
    case held
    /// ``Stage/switchover``
    case switchover
    /// ``Stage/postcopy(_:)`` with ``PostcopyStage/device``
    case postcopyDevice = "postcopy-device"
    /// ``Stage/postcopy(_:)`` with ``PostcopyStage/active``
    case postcopyActive = "postcopy-active"
    /// ``Stage/postcopy(_:)`` with ``PostcopyStage/paused``
    case postcopyPaused = "postcopy-paused"
    /// ``Stage/postcopy(_:)`` with ``PostcopyStage/recovering``
    case postcopyRecovering = "postcopy-recovering"
    /// ``Stage/stopping(_:)``
    case stopping
    /// ``Stage/ended(_:)``
    case ended
    /// ``Stage/completed``
    case completed
    /// ``Stage/gone``
    case gone

    /// The kind of a stage.
    public init(_ stage: Stage) {
        self =
            switch stage {
            case .idle: .idle
            case .starting: .starting
            case .waiting: .waiting
            case .copying: .copying
            case .held: .held
            case .switchover: .switchover
            case .postcopy(.device): .postcopyDevice
            case .postcopy(.active): .postcopyActive
            case .postcopy(.paused): .postcopyPaused
            case .postcopy(.recovering): .postcopyRecovering
            case .stopping: .stopping
            case .ended: .ended
            case .completed: .completed
            case .gone: .gone
            }
    }

    /// How things stand, as part of a sentence.
    public func sentence(on side: Side) -> String {
        let isSource = side == .source
        return switch self {
        case .idle: isSource ? "no migration was started" : "no migration is listened for"
        case .starting: isSource ? "a migration is being set up" : "a migration is listened for and has not begun"
        case .waiting: "the guest has to release a device before the migration begins"
        case .copying: isSource ? "memory is being copied" : "the guest is being loaded"
        case .held: "the guest is held before the switchover"
        case .switchover: "the guest's last state is being sent"
        case .postcopyDevice: isSource ? "the post-copy package is being sent" : "the post-copy package is being loaded"
        case .postcopyActive: "memory follows the guest in post-copy"
        case .postcopyPaused: "post-copy has lost its channel"
        case .postcopyRecovering: "a post-copy recovery is under way"
        case .stopping: "the migration is being stopped"
        case .ended: "the migration is over and the guest did not leave"
        case .completed: isSource ? "the guest was sent away completely" : "the guest was loaded completely"
        case .gone: "the QEMU is gone"
        }
    }
}

/// What permission needs besides the evidence of one QEMU: what the other side shows, and what was recorded or proven.
///
/// What is not known is not proven: the empty context permits the least.
public struct PermissionContext: Hashable, Sendable {
    /// The other side's report, `nil` if it was not seen.
    public var other: SideReport?
    /// Whether it is on record that the destination may run the guest (`run`).
    public var isRunRecorded = false
    /// Whether it is on record that the destination will never run this attempt (`refused`).
    public var isRefused = false
    /// Whether it is proven that the destination never ran the guest and never will: by its abandon answer, by its QEMU
    /// seen dead without a record that it may run, or by an operator's recorded statement.
    public var isNeverRunProven = false
    /// Whether it is on record that the source gave the guest away (`surrendered`), or follows from Finish having been
    /// called.
    public var isSurrendered = false

    /// Nothing known, nothing proven.
    public init() {}

    /// The other side's report and nothing else.
    public init(other: SideReport?) { self.other = other }
}

/// A further condition of a row, with its words for the table's readers.
public struct PermissionCondition: Sendable {
    /// What it says.
    public var name: String
    /// Whether it is met.
    public var isMet: @Sendable (Evidence, PermissionContext) -> Bool
}

/// A row of the permission table. Of the rows of an act and a side the first one that applies decides.
public struct PermissionRow: Sendable {
    /// What a row answers.
    public enum Answer: Hashable, Sendable {
        /// It may be asked.
        case allowed
        /// It may not. `why` replaces the stage's own sentence where that is not the reason.
        case refused(why: String?, instead: String)
    }

    /// What is asked for.
    public var act: PermittedAct
    /// Of which side's QEMU.
    public var side: Side
    /// In which stages the row applies; empty for all.
    public var stages: [StageKind]
    /// To which releases it applies. A row with bounds does not apply to a QEMU whose version nobody knows.
    public var releases: ReleaseRange
    /// What else has to be so.
    public var condition: PermissionCondition?
    /// The answer.
    public var answer: Answer

    /// Whether the row applies to evidence of its side that shows this stage.
    fileprivate func applies(to evidence: Evidence, _ stage: StageKind, _ context: PermissionContext) -> Bool {
        guard stages.isEmpty || stages.contains(stage) else { return false }
        if releases != .all {
            guard let version = evidence.version, releases.covers(version) else { return false }
        }
        return condition?.isMet(evidence, context) ?? true
    }

    /// The permission it gives where it applies.
    fileprivate func permission(_ stage: StageKind) -> Permission {
        switch answer {
        case .allowed: .allowed
        case .refused(let why, let instead):
            .refused("\(act) is refused: on the \(side.rawValue) \(why ?? stage.sentence(on: side)). \(instead).")
        }
    }
}

extension Evidence {
    /// Whether something may be asked of this QEMU now.
    ///
    /// Stricter than QEMU where QEMU would obey and do harm: what it refuses is refused here, not the other way round.
    /// The rows are ``PermissionTable/rows``.
    public func permission(for act: PermittedAct, in context: PermissionContext = PermissionContext()) -> Permission {
        permissionRow(for: act, in: context)?.permission(StageKind(stage)) ?? .allowed
    }

    /// The row that decides. There is one for every act, side and stage.
    public func permissionRow(
        for act: PermittedAct, in context: PermissionContext = PermissionContext()
    ) -> PermissionRow? {
        let stage = StageKind(self.stage)
        return PermissionTable.rows(for: act, on: side).first { $0.applies(to: self, stage, context) }
    }

    /// Whether a trigger is allowed now.
    public func allowed(_ trigger: TriggerKind, in context: PermissionContext = PermissionContext()) -> Permission {
        permission(for: .trigger(trigger), in: context)
    }

    /// Whether a command is allowed now. Queries, and commands without a meaning here, always are.
    public func allowed(_ command: Command, in context: PermissionContext = PermissionContext()) -> Permission {
        if case .setParameters = command { return permission(for: .parameters, in: context) }
        return command.trigger.map { allowed($0, in: context) } ?? .allowed
    }
}

/// What may be asked of which QEMU when: a table of rows, first match wins for each act and side.
public enum PermissionTable {
    /// All rows, in order.
    public static let rows: [PermissionRow] = gone + source + destination

    /// The rows of an act on a side, in order.
    public static func rows(for act: PermittedAct, on side: Side) -> [PermissionRow] {
        (side == .source ? sourceRows : destinationRows)[act] ?? []
    }

    private static let sourceRows = Dictionary(grouping: rows.filter { $0.side == .source }, by: \.act)
    private static let destinationRows = Dictionary(grouping: rows.filter { $0.side == .destination }, by: \.act)

    /// Nothing can be asked of a QEMU that is gone.
    private static let gone: [PermissionRow] = PermittedAct.allCases.flatMap { act in
        Side.allCases.map { side in
            PermissionRow(
                act: act, side: side, stages: [.gone], releases: .all, condition: nil,
                answer: .refused(why: nil, instead: "Nothing can be asked of it any more"))
        }
    }
}
