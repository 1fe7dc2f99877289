import Migration
import Phases
import Testing

/// What is asked of the stream beside its address: set where it belongs, read back, put back.
@Suite struct StreamSettingsTests {
    private static func options(_ capabilities: [String], _ parameters: [Setting] = []) -> MigrateOptions {
        ScriptedDriver.options {
            $0.capabilities = capabilities
            $0.parameters = parameters
        }
    }

    private func switched(_ driver: ScriptedDriver, _ side: Side) -> [CapabilitySetting] {
        driver.sends.lazy.compactMap { sent in
            if sent.side == side, case .setCapabilities(let settings) = sent.command { settings } else { nil }
        }.first ?? []
    }

    private func set(_ driver: ScriptedDriver, _ side: Side) -> [Setting] {
        driver.sends.lazy.compactMap { sent in
            if sent.side == side, case .setParameters(let settings) = sent.command { settings } else { nil }
        }.first ?? []
    }

    @Test func eachWhereItBelongs() throws {
        let channels = Setting("multifd-channels", .integer(4))
        let bandwidth = Setting("max-bandwidth", .integer(1 << 20))
        let before = ScriptedPair(Script())
        let driver = attempt(
            options: Self.options(["multifd", "auto-converge", "postcopy-blocktime"], [channels, bandwidth]))
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(switched(driver, .destination).contains(CapabilitySetting("multifd", true)))
        #expect(switched(driver, .destination).contains(CapabilitySetting("postcopy-blocktime", true)))
        #expect(switched(driver, .source).contains(CapabilitySetting("multifd", true)))
        #expect(!switched(driver, .source).contains { $0.name == "postcopy-blocktime" && $0.isOn })
        // It was on before, as somebody's leftover: on the source it is wished, on the destination it goes.
        #expect(!switched(driver, .source).contains { $0.name == "auto-converge" })
        #expect(switched(driver, .destination).contains(CapabilitySetting("auto-converge", false)))
        #expect(set(driver, .destination) == [channels])
        #expect(set(driver, .source) == [channels, bandwidth])
        let capabilities = driver.pair.destination.capabilities.filter { $0.name != "events" }
        #expect(capabilities == before.destination.capabilities.filter { $0.name != "events" })
        #expect(driver.pair.destination.parameters == before.destination.parameters)
    }

    /// Read back on both sides after the last setting and before the first byte; not where nothing was wished.
    @Test(arguments: [true, false]) func readBack(isWished: Bool) throws {
        let driver = attempt(options: Self.options(isWished ? ["multifd"] : []))
        try #require(driver.violations.isEmpty, story(driver))
        for (side, end) in [(Side.destination, "migrate-incoming"), (.source, "migrate")] {
            let names = driver.sends.filter { $0.side == side }.map(\.command.name)
            let between = names.drop { $0 != "migrate-set-capabilities" }.prefix { $0 != end }.dropFirst()
            #expect(between.contains("query-migrate-capabilities") == isWished)
            #expect(between.contains("query-migrate-parameters") == isWished)
        }
    }

    /// A setting that is accepted and not kept: QEMU 7.2 does so with the levels of compression, and another client can
    /// change it back.
    @Test(arguments: [
        (Side.destination, "multifd", "the destination's QEMU was told to switch multifd on and has it off"),
        (.source, "multifd", "the source's QEMU was told to switch multifd on and has it off"),
        (.destination, "multifd-channels", "the destination's QEMU was told to set multifd-channels to 4 and has 2"),
        (.source, "multifd-channels", "the source's QEMU was told to set multifd-channels to 4 and has 2"),
    ]) func aSettingThatIsNotKept(side: Side, name: String, why: String) throws {
        var script = Script()
        script.forgotten = [Script.Target(side: side, name: name)]
        let driver = attempt(
            script, options: Self.options(["multifd"], [Setting("multifd-channels", .integer(4))]))
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.result?.error == why)
        #expect(!driver.sends.contains { $0.command.trigger == .migrate })
        #expect(driver.pair.source.runState == .running)
        #expect(
            driver.pair.source.capabilities.allSatisfy { $0.name == "events" || $0.name == "auto-converge" || !$0.isOn }
        )
        #expect(driver.pair.source.parameters == ScriptedPair(Script()).source.parameters)
    }

    @Test(arguments: [
        ("no-such-thing", nil, "the source's QEMU has no no-such-thing capability"),
        ("postcopy-nothing", "no-such", "the source's QEMU has no postcopy-nothing capability"),
        ("multifd", "no-such", "the source's QEMU has no parameter no-such"),
    ]) func whatQEMUHasNoWordFor(capability: String, parameter: String?, why: String) throws {
        let driver = attempt(
            options: Self.options([capability], parameter.map { [Setting($0, .integer(1))] } ?? []))
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.error == why)
        #expect(driver.result?.word == .failed)
        #expect(!driver.sends.contains { $0.command.trigger != nil })
    }

    // MARK: Descriptors

    @Test func aDescriptorIsPassedBeforeItIsUsed() throws {
        let driver = attempt(options: ScriptedDriver.options { $0.uri = "fd:stream" })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        for (side, end) in [(Side.destination, "migrate-incoming"), (.source, "migrate")] {
            let names = driver.sends.filter { $0.side == side }.map(\.command.name)
            let passed = try #require(names.firstIndex(of: "getfd"))
            #expect(try passed < #require(names.firstIndex(of: end)))
            #expect(!names.contains("closefd"))
        }
        // It is a socket: what comes back on it is heard.
        #expect(switched(driver, .source).contains(CapabilitySetting("return-path", true)))
    }

    /// One that was passed and not used is not left behind.
    @Test func aDescriptorThatIsNotUsed() throws {
        var driver = ScriptedDriver(Script(), options: ScriptedDriver.options { $0.uri = "fd:stream" })
        driver.befall(.request(.cancel)) { $0.sends.contains { $0 == (.source, .getFD(name: "stream")) } }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        #expect(driver.sends.contains { $0 == (.source, .closeFD(name: "stream")) })
        #expect(!driver.sends.contains { $0.command.trigger == .migrate })
    }

    // MARK: Addresses

    /// The source goes to another name of the same place; the port is the one that QEMU chose.
    @Test(arguments: [
        ("tcp:[::]:0", "tcp:host.example:0", "tcp:host.example:49152"),
        ("exec:cat /fifo", "exec:cat > /fifo", "exec:cat > /fifo"),
    ]) func anotherAddressForTheSource(listening: String, wish: String, address: String) throws {
        let options = ScriptedDriver.options {
            $0.uri = listening
            $0.connectURI = wish
        }
        let driver = attempt(options: options)
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(driver.sends.contains { $0 == (.source, .migrate(uri: StreamAddress(address), resume: false)) })
        #expect(switched(driver, .source).contains { $0.name == "return-path" } == listening.hasPrefix("tcp"))
    }
}
