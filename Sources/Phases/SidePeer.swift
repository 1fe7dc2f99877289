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
    /// that is not complete is ended; a complete one stays paused until somebody asks.
    mutating func peerStaysAway(sequence: Int) -> [SideEffect] {
        guard !isPeerConnected, catchingUp == nil else { return [] }
        if let source, case .begun = source.state { return take(self.source?.release() ?? [], sequence) }
        guard let destination, destination.isWaitingForPeer else { return [] }
        return take(self.destination?.abandon() ?? [], sequence)
    }
}

extension DestinationMachine {
    /// Whether nothing goes on here before the coordinator says something, with a guest that is not whole here.
    var isWaitingForPeer: Bool {
        guard case .prepared = state else { return false }
        return evidence.stage != .completed && !mayHaveRun
    }
}
