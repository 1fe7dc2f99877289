import Controller
import Migration
import Phases
import Policy
import Testing

/// What stands in the way of a migration, by what was read of two QEMUs.
@Suite struct MigrationCheckTests {
    private static func facts(_ side: Side, _ change: (inout QEMUFacts) -> Void = { _ in }) -> QEMUFacts {
        var description = DomainDescription(
            version: QEMUVersion(7, 2, 0), machineType: "pc-i440fx-7.2", memoryBytes: 128 << 20, cpuModel: "qemu64")
        description.commandLine =
            side == .source ? ["qemu-system-x86_64"] : ["qemu-system-x86_64", "-S", "-incoming", "defer"]
        let capabilities = ["events", "pause-before-switchover", "multifd", "postcopy-ram", "xbzrle"]
        var facts = QEMUFacts(
            survey: Survey(description: description, features: QEMUFeatures()),
            runState: side == .source ? .running : .inMigrate, migration: MigrationSample(),
            capabilities: capabilities.map { CapabilitySetting($0, false) },
            parameters: [Setting("downtime-limit", .integer(300)), Setting("multifd-channels", .integer(2))])
        facts.process = side == .source ? 10 : 11
        change(&facts)
        return facts
    }

    private static func check(
        source: (inout QEMUFacts) -> Void = { _ in }, destination: (inout QEMUFacts) -> Void = { _ in },
        options: (inout MigrateOptions) -> Void = { _ in }
    ) -> MigrationCheck {
        var wish = MigrateOptions(attempt: "check", uri: "unix:/")
        options(&wish)
        return MigrationCheck(
            source: facts(.source, source), destination: facts(.destination, destination), options: wish)
    }

    @Test func twoThatFitHaveNothingInTheWay() {
        #expect(Self.check().findings.isEmpty)
        #expect(Self.check().isReady)
    }

    struct Obstacle: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var severity: MigrationCheck.Severity
        /// What the finding says.
        var words: String
        var source: @Sendable (inout QEMUFacts) -> Void = { _ in }
        var destination: @Sendable (inout QEMUFacts) -> Void = { _ in }
        var options: @Sendable (inout MigrateOptions) -> Void = { _ in }
    }

    private static func disk(_ identity: String, free: Int64? = nil, direct: Bool = true) -> QEMUFacts.Medium {
        .init(
            name: "disk0", file: "/images/\(identity)", driver: "raw", bytes: 4 << 30, allocatedBytes: 2 << 30,
            isDirect: direct, identity: identity, freeBytes: free)
    }

    private static let storage = StorageWish(server: .unix(path: "/disks"), client: .unix(path: "/disks"))
    private static let node: DomainDescription.BlockNode = {
        var node = DomainDescription.BlockNode(name: "disk0", driver: "raw", bytes: 4 << 30, isReadOnly: false)
        node.node = "disk0"
        return node
    }()

    private static let obstacles: [Obstacle] = [
        Obstacle(
            testDescription: "one QEMU", severity: .error, words: "both belong to one QEMU", source: { $0.process = 11 }
        ),
        Obstacle(
            testDescription: "blocker", severity: .error, words: "the source cannot be migrated: no luck",
            source: { $0.migration.blockedReasons = ["no luck"] }),
        Obstacle(
            testDescription: "migration", severity: .error, words: "a migration runs there already (active)",
            source: { $0.migration.status = .active }),
        Obstacle(
            testDescription: "exchanged", severity: .error, words: "it waits for a guest itself",
            source: { $0.runState = .inMigrate }),
        Obstacle(
            testDescription: "gone", severity: .error, words: "has been sent away already",
            source: { $0.runState = .postMigrate }),
        Obstacle(
            testDescription: "crashed", severity: .warning, words: "neither running nor paused (guest-panicked)",
            source: { $0.runState = RunState(rawValue: "guest-panicked") }),
        Obstacle(
            testDescription: "running destination", severity: .error, words: "it does not wait for a guest (running)",
            destination: { $0.runState = .running }),
        Obstacle(
            testDescription: "used destination", severity: .error, words: "it listens already",
            destination: { $0.migration.status = .active }),
        Obstacle(
            testDescription: "fixed address", severity: .error, words: "was started with -incoming tcp:0:4444",
            destination: { $0.survey.description.commandLine = ["qemu", "-S", "-incoming", "tcp:0:4444"] }),
        Obstacle(
            testDescription: "without -S", severity: .warning, words: "was started without -S",
            destination: { $0.survey.description.commandLine = ["qemu", "-incoming", "defer"] }),
        Obstacle(
            testDescription: "memory", severity: .error, words: "128 MiB on the source, 64 MiB on the destination",
            destination: { $0.survey.description.memoryBytes = 64 << 20 }),
        Obstacle(
            testDescription: "older", severity: .warning, words: "from QEMU 7.2.0 back to 5.2.0",
            destination: { $0.survey.description.version = QEMUVersion(5, 2, 0) }),
        Obstacle(
            testDescription: "newer", severity: .note, words: "from QEMU 7.2.0 to 10.0.0",
            destination: { $0.survey.description.version = QEMUVersion(10, 0, 0) }),
        Obstacle(
            testDescription: "capability at one side", severity: .error,
            words: "the destination's QEMU (7.2.0) has none",
            destination: { $0.capabilities.removeAll { $0.name == "multifd" } },
            options: { $0.capabilities = ["multifd"] }),
        Obstacle(
            testDescription: "parameter", severity: .error, words: "the source's QEMU has none",
            options: { $0.parameters = [Setting("throttle-by-magic", .integer(1))] }),
        Obstacle(
            testDescription: "excluded", severity: .error, words: "post-copy",
            options: {
                $0.postcopy = PostcopyWish()
                $0.uri = "exec:cat"
            }),
        Obstacle(
            testDescription: "host device", severity: .warning, words: "a host device",
            source: {
                $0.survey.description.devices = [
                    .init(path: "/machine/peripheral/gpu", type: "vfio-pci", properties: [])
                ]
            },
            destination: {
                $0.survey.description.devices = [
                    .init(path: "/machine/peripheral/gpu", type: "vfio-pci", properties: [])
                ]
            }),
        Obstacle(
            testDescription: "two files", severity: .error, words: "are two files",
            source: { $0.media = [disk("a")] }, destination: { $0.media = [disk("b", free: 100 << 30)] }),
        Obstacle(
            testDescription: "no room", severity: .error, words: "2048 MiB are in use on the source, 1 MiB are free",
            source: { $0.media = [disk("a")] },
            destination: {
                $0.media = [disk("b", free: 1 << 20)]
                $0.media[0].allocatedBytes = 0
            }),
        Obstacle(
            testDescription: "copied onto itself", severity: .error, words: "would be copied onto itself",
            source: {
                $0.media = [disk("a")]
                $0.survey.description.blockNodes = [node]
            },
            destination: {
                $0.media = [disk("a")]
                $0.survey.description.blockNodes = [node]
            }, options: { $0.storage = storage }),
        Obstacle(
            testDescription: "copied into less", severity: .error,
            words: "4096 MiB on the source, 1 MiB on the destination",
            source: {
                $0.media = [disk("a")]
                $0.survey.description.blockNodes = [node]
            },
            destination: {
                $0.media = [disk("b")]
                $0.media[0].bytes = 1 << 20
                $0.survey.description.blockNodes = [node]
            }, options: { $0.storage = storage }),
        Obstacle(
            testDescription: "no disk to be copied", severity: .error, words: "the guest has no disk that it can write",
            options: { $0.storage = storage }),
        Obstacle(
            testDescription: "host cache", severity: .note, words: "the host's cache is in use",
            source: { $0.media = [disk("a")] }, destination: { $0.media = [disk("a", direct: false)] }),
        Obstacle(
            testDescription: "host memory", severity: .warning,
            words: "the guest may need 128 MiB, the host has 10 MiB",
            destination: { $0.availableBytes = 10 << 20 }),
        Obstacle(
            testDescription: "userfaultfd", severity: .error, words: "may not watch for missing pages",
            destination: { $0.mayFaultInUserspace = false }, options: { $0.postcopy = PostcopyWish() }),
        Obstacle(
            testDescription: "switched on", severity: .note, words: "somebody has switched on xbzrle at the source",
            source: { $0.capabilities = $0.capabilities.map { CapabilitySetting($0.name, $0.name == "xbzrle") } }),
        Obstacle(
            testDescription: "parameters differ", severity: .note, words: "2 on the source, 4 on the destination",
            destination: { $0.parameters = [Setting("multifd-channels", .integer(4))] }),
        Obstacle(
            testDescription: "unknown there", severity: .note, words: "only the source knows background-snapshot",
            source: { $0.capabilities.append(CapabilitySetting("background-snapshot", false)) }),
    ]

    @Test(arguments: obstacles) func isFound(_ obstacle: Obstacle) {
        let check = Self.check(source: obstacle.source, destination: obstacle.destination, options: obstacle.options)
        let found = check.findings.filter { $0.text.contains(obstacle.words) }
        #expect(found.map(\.severity) == [obstacle.severity], "\(check.findings)")
        #expect(check.isReady == !check.findings.contains { $0.severity == .error })
        #expect(check.findings.map(\.severity) == check.findings.map(\.severity).sorted())
    }

    @Test func whatIsExpected() throws {
        let facts = Self.facts(.source) {
            $0.residentBytes = 64 << 20
            $0.survey.description.memoryBytes = 1 << 30
        }
        let estimate = MigrationEstimate(
            of: facts, dirtyBytesPerSecond: 20 << 20, bandwidths: [10 << 20, 100 << 20],
            policy: ConvergencePolicy(name: "none", rules: []), context: PolicyContext())
        #expect(estimate.lines.map(\.full.verdict) == [.unfinished, .converged])
        let line = try #require(estimate.lines.last)
        // Ten seconds for all of it, and what was written meanwhile; less where less is in use.
        #expect((10_000...16_000).contains(line.full.elapsedMilliseconds), "\(line.full.elapsedMilliseconds)")
        #expect((600...2_000).contains(line.resident.elapsedMilliseconds), "\(line.resident.elapsedMilliseconds)")
    }
}
