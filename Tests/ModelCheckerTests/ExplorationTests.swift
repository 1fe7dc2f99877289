import ModelChecking
import Testing

@Test func boundsAreOpenUnlessSet() {
    #expect(ExplorationBounds().maximumStates == nil)
}
