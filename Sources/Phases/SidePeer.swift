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
    /// The source gives its job back where nothing has moved, goes on with a migration that runs, and stays stopped once the guest is given away. A destination
    /// that is not complete is ended; a complete one, or one in post-copy, stays as it is until somebody asks. The steps of a recovery are given back.
    mutating func peerStaysAway(sequence: Int) -> [SideEffect] {
        guard !isPeerConnected, catchingUp == nil else { return [] }
        switch source?.state {
        case .begun, .recovering(.begun): return take(source?.release() ?? [], sequence)
        default: break
        }
        guard let destination else { return [] }
        if case .recovering(.prepared, _) = destination.state {
            return take(self.destination?.release() ?? [], sequence)
        }
        return destination.isWaitingForPeer ? take(self.destination?.abandon() ?? [], sequence) : []
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
