import Migration
import Phases
import Testing

/// Commands that were given to a monitor and cannot leave, because the reply to an earlier one does not come.
@Suite struct HeldUpCommandTests {
    /// A cancel that cannot leave is asked for once, so that its deadline comes and the yank goes out of band.
    @Test func aCancelThatCannotLeaveIsNotAskedForAgain() {
        var driver = ScriptedDriver(Script(), options: ScriptedDriver.options())
        driver.run { $0.machine.source.evidence.stage == .copying }
        var machine = driver.machine
        var sequence = 10_000
        func apply(_ input: Input) -> [Effect] {
            sequence += 1
            return machine.apply(input, sequence: sequence, at: Instant(microseconds: Int64(sequence) * 100_000))
        }
        _ = apply(.fact(.source, .event(.migration(.preSwitchover))))
        #expect(machine.source.evidence.stage == .held)
        let asked = apply(.request(.cancel, .operator))
        #expect(asked.contains(.send(.source, .migrateCancel, outOfBand: false)))
        for _ in 0..<3 {
            let effects = apply(.fact(.source, .unanswered(.queryMigrate)))
            #expect(!effects.contains(.send(.source, .migrateCancel, outOfBand: false)))
            #expect(!effects.contains { if case .arm(.cancel, _) = $0 { true } else { false } })
        }
        #expect(apply(.timeout(.cancel)).contains(.send(.source, .yank, outOfBand: true)))
    }
}
