public import JSONC
public import QMP

/// Sees everything that happens on a connection, on its event loop and in the order of the wire. Bytes and views are valid inside
/// the call only. All methods have an empty default.
public protocol QMPObserver: AnyObject {
    /// A message came, verbatim, without its line end. Called before it is handled.
    func connection(_ connection: QMPConnection, received line: UnsafeRawBufferPointer)
    /// Bytes came that belong to no message.
    func connection(_ connection: QMPConnection, receivedGarbage bytes: UnsafeRawBufferPointer)
    /// A message left, verbatim, without its line end, with so many descriptors attached.
    func connection(_ connection: QMPConnection, sent line: UnsafeRawBufferPointer, descriptors: Int)
    /// Greeting and negotiation are done.
    func connection(_ connection: QMPConnection, ready greeting: QMPGreeting)
    /// An event came; `message` is the whole message.
    func connection(_ connection: QMPConnection, event name: String, message: JSONView)
    /// Something is wrong but not fatal: an error without id, a reply after its deadline, garbage.
    func connection(_ connection: QMPConnection, problem: QMPError)
    /// The connection has ended, nil if we closed it. Called exactly once, after all pending commands have failed.
    func connectionClosed(_ connection: QMPConnection, error: QMPError?)
}

extension QMPObserver {
    /// Does nothing.
    public func connection(_ connection: QMPConnection, received line: UnsafeRawBufferPointer) {}
    /// Does nothing.
    public func connection(_ connection: QMPConnection, receivedGarbage bytes: UnsafeRawBufferPointer) {}
    /// Does nothing.
    public func connection(_ connection: QMPConnection, sent line: UnsafeRawBufferPointer, descriptors: Int) {}
    /// Does nothing.
    public func connection(_ connection: QMPConnection, ready greeting: QMPGreeting) {}
    /// Does nothing.
    public func connection(_ connection: QMPConnection, event name: String, message: JSONView) {}
    /// Does nothing.
    public func connection(_ connection: QMPConnection, problem: QMPError) {}
    /// Does nothing.
    public func connectionClosed(_ connection: QMPConnection, error: QMPError?) {}
}
