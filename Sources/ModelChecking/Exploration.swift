/// How an exploration is bounded.
public struct ExplorationBounds: Hashable, Sendable {
    /// The most states to visit; `nil` for all there are.
    public var maximumStates: Int?

    /// Bounds.
    public init(maximumStates: Int? = nil) { self.maximumStates = maximumStates }
}
