import Migration
import Phases
import Testing

/// An encrypted stream: what is made for it in both QEMUs, when it is used, and that it is gone afterwards.
@Suite struct TLSTests {
    private static let credentials = "godwit-tls-a1"
    private static let list = "godwit-authz-a1"

    private static func options(
        _ change: (inout TLSWish) -> Void = { _ in }, _ others: (inout MigrateOptions) -> Void = { _ in }
    ) -> MigrateOptions {
        var wish = TLSWish(.x509, directory: "/pki")
        wish.hostname = "host.example"
        wish.allowedNames = ["CN=source"]
        change(&wish)
        return ScriptedDriver.options {
            $0.tls = wish
            others(&$0)
        }
    }

    private func names(_ driver: ScriptedDriver, _ side: Side) -> [String] {
        driver.sends.filter { $0.side == side }.map(\.command.name)
    }

    /// Nothing of the attempt is left in a QEMU that is still there.
    private func expectClean(_ driver: ScriptedDriver, sourceLocation: SourceLocation = #_sourceLocation) {
        let before = ScriptedPair(Script())
        for side in Side.allCases where driver.pair[side].isAlive {
            #expect(driver.pair[side].objects == [], "\(side)", sourceLocation: sourceLocation)
            #expect(driver.pair[side].parameters == before[side].parameters, sourceLocation: sourceLocation)
        }
    }

    @Test(arguments: [true, false]) func madeUsedAndRemoved(keepsSource: Bool) throws {
        let driver = attempt(
            options: Self.options { _ in
            } _: {
                $0.keepsSource = keepsSource
            })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        #expect(
            driver.sends.contains {
                $0 == (
                    .destination,
                    .objectAdd(
                        QEMUObject(id: Self.credentials, .x509(directory: "/pki", isServer: true)), isNested: false)
                )
            })
        #expect(
            driver.sends.contains {
                $0 == (.destination, .objectAdd(QEMUObject(id: Self.list, .allowed(["CN=source"])), isNested: false))
            })
        #expect(
            driver.sends.contains {
                $0 == (
                    .source,
                    .setParameters([
                        Setting("tls-creds", .string(Self.credentials)),
                        Setting("tls-hostname", .string("host.example")),
                    ])
                )
            })
        #expect(
            driver.sends.contains {
                $0 == (
                    .destination,
                    .setParameters([
                        Setting("tls-creds", .string(Self.credentials)), Setting("tls-authz", .string(Self.list)),
                    ])
                )
            })
        for (side, end) in [(Side.destination, "migrate-incoming"), (.source, "migrate")] {
            let order = names(driver, side).filter {
                ["object-add", "migrate-set-parameters", "query-migrate-parameters", end].contains($0)
            }
            #expect(
                order.drop { $0 != "object-add" }.prefix { $0 != end }.suffix(2) == [
                    "migrate-set-parameters", "query-migrate-parameters",
                ], "\(side): what was set is read back before a byte is sent")
        }
        #expect(driver.pair.source.isAlive == keepsSource)
        expectClean(driver)
    }

    /// QEMU says that it has ended before it has tidied up.
    @Test func removedWhenNothingUsesItAnyMore() throws {
        var driver = ScriptedDriver(Script(), options: Self.options())
        driver.befall(.request(.cancel)) { $0.sends.contains { $0.command.trigger == .migrate } }
        driver.run()
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .cancelled)
        let after = names(driver, .source).drop { $0 != "migrate" }
        #expect(after.contains("object-del"))
        #expect(after.prefix { $0 != "object-del" }.contains("query-yank"))
        expectClean(driver)
    }

    /// Files that QEMU does not like: whatever had been made goes, and nobody listens.
    @Test(arguments: [Side.source, .destination]) func refusedCredentials(side: Side) throws {
        var script = Script()
        script.refusals = [Script.Target(side: side, name: "object-add"): 1]
        let driver = attempt(script, options: Self.options())
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.result?.error == "object-add on the \(side.rawValue): refused by the script")
        #expect(!driver.sends.contains { $0.command.trigger == .migrate })
        #expect(driver.pair.source.isRunning)
        expectClean(driver)
    }

    /// Somebody changes it back: no byte leaves.
    @Test(arguments: [Side.source, .destination]) func aStreamInPlainText(side: Side) throws {
        var script = Script()
        script.forgotten = [Script.Target(side: side, name: "tls-creds")]
        let driver = attempt(script, options: Self.options())
        try #require(driver.violations.isEmpty, story(driver))
        #expect(
            driver.result?.error
                == "the \(side.rawValue)'s QEMU was told to set tls-creds to \(Self.credentials) and has ")
        #expect(!driver.sends.contains { $0.command.trigger == .migrate })
        expectClean(driver)
    }

    /// What a side without a reason of its own is told.
    @Test func aHandshakeThatFails() throws {
        var script = Script()
        script.refusesHandshake = true
        let driver = attempt(script, options: Self.options())
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .failed)
        #expect(driver.result?.error?.hasPrefix("no TLS connection was made: the migration failed: ") == true)
        #expect(driver.pair.source.isRunning)
        expectClean(driver)
    }

    @Test func aSharedKey() throws {
        let driver = attempt(
            options: Self.options {
                $0 = TLSWish(.psk, directory: "/keys")
                $0.destinationDirectory = "/other"
            })
        try #require(driver.violations.isEmpty, story(driver))
        #expect(driver.result?.word == .completed)
        for (side, directory) in [(Side.source, "/keys"), (.destination, "/other")] {
            let kind = QEMUObject.Kind.psk(directory: directory, isServer: side == .destination)
            #expect(
                driver.sends.filter { $0.side == side && $0.command.name == "object-add" }.map(\.command)
                    == [.objectAdd(QEMUObject(id: Self.credentials, kind), isNested: false)])
        }
    }
}
