import Testing

extension Live {
    /// For tests that widen the rest at the cost of time: they run with GODWIT_LIVE=all.
    static var wide: ConditionTrait {
        .enabled(if: Godwit.isWide, "one of the wider tests: GODWIT_LIVE=all runs it")
    }
}

extension MonitorRelay {
    /// Blocks until a line is held.
    func awaitHeld(timeout: Duration = .seconds(20)) throws {
        try eventually("the relay holds a line", timeout: timeout) { !heldLines.isEmpty }
    }

    /// Blocks until a line that contains this has come.
    func awaitLine(_ direction: Direction, containing text: String, timeout: Duration = .seconds(20)) throws {
        try eventually("\(text) at the relay", timeout: timeout) {
            lines.contains { $0.direction == direction && $0.line.contains(text) }
        }
    }
}
