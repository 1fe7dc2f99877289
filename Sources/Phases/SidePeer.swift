import Migration

/// A side whose coordinator came or went.
extension SideParty {
    mutating func peerChanged(_ isConnected: Bool, sequence: Int) -> [SideEffect] {
        isPeerConnected = isConnected
        guard !isConnected else { return [.disarm(.peer)] }
        return [.arm(.peer, milliseconds: options.deadlines[.peer])]
    }

    /// Nobody is there to call the next step, and has not been for as long as anybody would wait.
    ///
    /// The source gives its job back where nothing has moved, goes on with a migration that runs, and stays stopped
    /// once the guest is given away. A destination that is not complete is ended; a complete one, or one in post-copy,
    /// stays as it is until somebody asks. The steps of a recovery are given back.
    mutating func peerStaysAway(sequence: Int) -> [SideEffect] {
        guard !isPeerConnected, catchingUp == nil, let outcome = caught else { return [] }
        var effects: [Effect] = []
        for act in outcome.acts {
            switch act {
            case .putBack, .markPostcopyFailed: effects += (source?.release() ?? []) + (destination?.release() ?? [])
            // It ends its QEMU as well.
            case .refuse: effects += destination?.abandon() ?? []
            case .endQEMU: break
            // Who was asked nothing does nothing; as soon as the peer is there again it asks, and a person reads it in
            // the standing.
            case .stayPaused, .askPeer, .tellPerson, .tellPeer: break
            }
        }
        return take(effects, sequence)
    }

    /// What the net below the job says of a coordinator that stays away.
    private var caught: NetOutcome? {
        guard let job = source?.job ?? destination?.job else { return nil }
        let isPostcopy = (source?.core ?? destination?.core)?.hasSeenPostcopy ?? false
        let isComplete = destination.map { !$0.isWaitingForPeer } ?? false
        // The call that holds the job throughout has its caller for a coordinator: without one nobody is inside.
        guard options.mode.isHeldThroughout, source?.state == .begun else {
            return job.caught(.connectionClosed, isPostcopy: isPostcopy, isComplete: isComplete)
        }
        return NetTable.outcome(
            of: .connectionClosed, side, job.phase, isPostcopy: isPostcopy, isComplete: isComplete)
    }
}

extension DestinationMachine {
    /// Whether nothing goes on here before the coordinator says something, with a guest that is not whole here.
    var isWaitingForPeer: Bool {
        guard case .prepared = state else { return false }
        // In post-copy the source cannot go on with the guest any more: what is here must not be thrown away.
        if case .postcopy = evidence.stage { return false }
        return evidence.stage != .completed && !mayHaveRun
    }
}
