/// What a fake does to the world.
public enum FakeAction: Hashable, Sendable {
    /// Bytes go to the client.
    case write([UInt8])
    /// The client's connection is closed.
    case close
    /// The process ends: its connection and its listening socket go.
    case exit(Int)
    /// A modelled migration stream is opened to a URI.
    case connectStream(String)
    /// Something goes over the modelled stream.
    case stream(FakeStreamMessage)
    /// A replayed side has come so far in its commands.
    case progressed(Int)
    /// A recorded side meets the other one at an address, where it listens or connects.
    case meet(String, isListening: Bool)
}

/// What goes over a modelled migration stream; opaque.
public struct FakeStreamMessage: Hashable, Sendable {
    let signal: StreamSignal
}

/// What happened at a fake, in order.
public enum FakeNote: Hashable, Sendable {
    /// A client connected: the number of the connection.
    case connected(Int)
    /// The connection ended, from whichever side.
    case disconnected
    /// A command arrived, whether or not it took effect.
    case command(FakeCommand)
    /// A command took effect.
    case executed(FakeCommand)
    /// An event happened; `status` is the member of its data. Faults may have kept it from the client.
    case event(String, status: String?)
    /// The run state changed.
    case runState(String)
    /// The process ended.
    case exited(Int)
}
