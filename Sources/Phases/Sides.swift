/// The source side's steps. The coordinator does not know whether they are taken in this process or by an agent that
/// owns the monitor.
///
/// A step is entered with the cookie of the one before; its answer comes back, now or later, as `Effect.answer` with a
/// cookie or an error.
public protocol SourceSide: Sendable {
    /// Holds the job and describes the guest.
    mutating func begin(_ cookie: Cookie) -> [Effect]
    /// Migrates until the guest has left or stays.
    mutating func perform(_ cookie: Cookie) -> [Effect]
    /// Ends the left-over QEMU, or goes on here.
    mutating func confirm(_ cookie: Cookie) -> [Effect]
}

/// The destination side's steps.
public protocol DestinationSide: Sendable {
    /// Compares the descriptions and listens.
    mutating func prepare(_ cookie: Cookie) -> [Effect]
    /// Waits until the guest is loaded, then runs it.
    mutating func finish(_ cookie: Cookie) -> [Effect]
    /// Refuses the attempt for ever, ends the QEMU and sees it dead.
    mutating func abandon() -> [Effect]
}

extension SourceMachine: SourceSide {}

extension DestinationMachine: DestinationSide {}
