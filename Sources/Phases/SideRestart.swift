import Migration

/// Steps that were called while QEMU was being re-read.
struct CatchingUp: Hashable, Sendable {
    struct Call: Hashable, Sendable {
        var step: Step
        var cookie: Cookie
    }

    var calls: [Call] = []
}

extension SideParty {
    mutating func restarted(sequence: Int, at time: Instant) -> [SideEffect] { [] }

    mutating func caughtUp(by fact: Fact, sequence: Int, at time: Instant) -> [SideEffect] { [] }

    mutating func gaveUpCatchingUp(sequence: Int, at time: Instant) -> [SideEffect] { [] }
}

extension SideParty {
    /// A party from what a crash left.
    public init(restarting ledger: Ledger, options: MigrateOptions) {
        self.init(side: ledger.side, options: options, ledger: ledger)
    }
}
extension CoordinatorParty {
    /// A party from what a crash left.
    public init(restarting ledger: CoordinatorLedger, options: MigrateOptions) {
        self.init(options: options)
        self.ledger = ledger
    }
}
