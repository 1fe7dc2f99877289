import Migration
import Phases
import Testing

/// What went wrong and all that led to it.
func story(_ driver: ScriptedDriver) -> Comment {
    Comment(rawValue: (driver.violations + driver.history.suffix(400)).joined(separator: "\n"))
}

/// An attempt from its first input to its end.
func attempt(
    _ script: Script = Script(), options: MigrateOptions = ScriptedDriver.options(),
    faults: [(at: Int, fault: Fault)] = [], seed: UInt64? = nil
) -> ScriptedDriver {
    var driver = ScriptedDriver(script, options: options, faults: faults, seed: seed)
    driver.run()
    return driver
}
