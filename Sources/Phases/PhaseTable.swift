public import Migration

/// A phase, as a row of the table.
public struct PhaseRow: Hashable, Sendable {
    /// The phase.
    public var phase: Phase
    /// Its place in libvirt's order.
    public var order: Int
    /// On whose side it occurs.
    public var sides: [Side]
    /// In which protocols.
    public var protocols: [ProtocolVersion]
    /// What it means.
    public var meaning: String
    /// The phases that may follow it within the same job, in libvirt's order.
    public var next: [Phase]
    /// The nets below a job that is left in it, by side; empty for phases in which somebody is always inside.
    public var nets: [Side: SafetyNet]
}

/// The sixteen phases as data.
public enum PhaseTable {
    /// One row for each phase, in libvirt's order.
    public static let rows: [PhaseRow] = Phase.allCases.map { phase in
        let sides = Side.allCases.filter(phase.belongs)
        return PhaseRow(
            phase: phase, order: phase.order, sides: sides, protocols: phase.protocols, meaning: phase.meaning,
            next: Phase.allCases.filter { next in
                next != phase && sides.contains { PhaseMoves.isLegal($0, from: phase, to: next) }
            },
            nets: Dictionary(
                uniqueKeysWithValues: NetTable.left.filter { $0.1 == phase }
                    .map { ($0.0, SafetyNet(after: phase, on: $0.0)) }))
    }
}

extension Phase {
    /// In which protocols it occurs.
    public var protocols: [ProtocolVersion] {
        switch self {
        case .none, .prepare: [.v2, .v3]
        case .perform2, .finish2: [.v2]
        default: [.v3]
        }
    }

    /// What it means, in a sentence.
    public var meaning: String {
        switch self {
        case .none: "no phase yet; the job may exist"
        case .perform2: "the whole outgoing migration runs in one call"
        case .begin3: "the guest is described and the job held; Perform is awaited"
        case .perform3: "the migration runs, somebody watches it in Perform"
        case .perform3Done: "Perform was answered: completed, or in post-copy; the result of Finish is awaited"
        case .confirm3Cancelled: "Confirm of something that did not succeed, or the end after a lost connection"
        case .confirm3: "Confirm of a success: the source is about to be ended"
        case .prepare: "QEMU waits for the guest"
        case .finish2: "Finish runs, with no way back to the source"
        case .finish3: "Finish runs"
        case .postcopyFailed: "the protocol broke in post-copy; nobody watches, the job is kept"
        case .beginResume: "recovery: Begin was answered"
        case .performResume: "recovery: Perform runs, or was answered"
        case .confirmResume: "recovery: Confirm; also the end of a migration that nobody watched"
        case .prepareResume: "recovery: Prepare was answered, QEMU listens again"
        case .finishResume: "recovery: Finish; also the end of a migration that nobody watched"
        }
    }
}
