import Migration
import Phases
import Testing

/// A cookie with every part that may come into a step.
private func whole(into step: Step) -> Cookie {
    var cookie = Cookie(attempt: "a-1")
    cookie.name = "guest"
    cookie.uuid = "8C0D4A0B-1111-2222-3333-444455556666"
    cookie.hostUUID = "host-1"
    cookie.hostName = "one"
    cookie.capabilities = ["events", "return-path"]
    cookie.automaticCapabilities = ["events"]
    cookie.description = DomainDescription(
        version: QEMUVersion(10, 0), machineType: "q35", memoryBytes: 1, cpuModel: "qemu64")
    cookie.lease = LeaseState(driver: "memory", state: "version=1")
    cookie.storage = [CookieDisk(target: "vda", capacityBytes: 1 << 30)]
    cookie.nbdPort = 49_153
    cookie.bitmaps = [CookieBitmap(target: "vda", name: "daily", alias: "vda-daily")]
    cookie.network = [CookieInterface(index: 0, portType: "openvswitch", portData: "x")]
    cookie.graphics = CookieGraphics(type: "spice", address: "::1", port: 5900)
    cookie.uri = "tcp:host2:49152"
    cookie.isRunIntended = true
    cookie.isSuccess = true
    cookie.statistics = CookieStatistics(totalMilliseconds: 1)
    return cookie.sparing(step)
}

private let reader = CookieReader(
    attempt: "a-1", name: "guest", uuid: "8c0d4a0b-1111-2222-3333-444455556666", hostUUID: "host-2",
    lockManager: LockManagerKind(driver: "memory", usesState: true))

private func refusal(
    _ cookie: Cookie, into step: Step, by reader: CookieReader = reader, _ check: CookieCheck = CookieCheck()
) -> CookieError? {
    do throws(CookieError) {
        try check.check(cookie, into: step, by: reader)
        return nil
    } catch {
        return error
    }
}

@Suite struct CookieTableTests {
    @Test func everyPartHasARowThatMakesSense() throws {
        #expect(CookieTable.rows.map(\.part) == CookiePart.allCases)
        for row in CookieTable.rows {
            #expect(!row.producers.isEmpty && !row.consumers.isEmpty && !row.content.isEmpty)
            for consumer in row.consumers where row.part != .identity {
                // Whoever takes a part gets it from a step before it.
                let before = Step.allCases.prefix { $0 != consumer }
                #expect(row.producers.contains { before.contains($0) || consumer == .prepare }, "\(row)")
            }
        }
    }

    /// What libvirt's cookie holds into each step, written down once more.
    @Test func whatComesIntoEachStep() {
        let expected: [Step: Set<CookiePart>] = [
            .dumpXML: [.identity], .begin: [.identity], .abandon: [.identity],
            .prepare: [
                .identity, .capabilities, .description, .lease, .storage, .bitmaps, .runIntended,
            ],
            .perform: [.identity, .capabilities, .nbdPort, .bitmaps, .graphics, .uri, .runIntended],
            .finish: [.identity, .description, .storage, .network, .runIntended, .statistics],
            .confirm: [.identity, .success, .statistics],
        ]
        for step in Step.allCases {
            #expect(Set(CookiePart.allCases.filter { CookieTable.isExpected($0, into: step) }) == expected[step])
            #expect(Set(whole(into: step).parts) == expected[step])
        }
    }

    @Test func dutiesAreLibvirts() {
        #expect(whole(into: .prepare).mandatoryNames == ["description", "lease"])
        var stateless = whole(into: .prepare)
        stateless.lease?.state = nil
        #expect(stateless.mandatoryNames == ["description"])
        stateless.mandatory = ["holodeck"]
        stateless.drop(.description)
        #expect(stateless.mandatoryNames == ["holodeck"])
    }

    /// The port of the disks' exports goes to Perform and is not echoed.
    @Test func consumedPartsAreNotEchoed() {
        let perform = whole(into: .perform)
        #expect(perform.nbdPort == 49_153)
        #expect(perform.sparing(.finish).nbdPort == nil)
        #expect(perform.sparing(.finish).uri == nil)
        for part in CookiePart.allCases {
            var cookie = whole(into: .prepare)
            cookie.drop(part)
            #expect(cookie.has(part) == (part == .identity))
        }
    }

    @Test func bitmapsThatADestinationAccepts() {
        let offer = ["vda", "vdb", "vdc"].map { CookieBitmap(target: $0, name: "daily", alias: "\($0)-daily") }
        let present = [
            CookieBitmap(target: "vdb", name: "daily", alias: ""),
            CookieBitmap(target: "vda", name: "weekly", alias: ""),
        ]
        let accepted = Cookie.acceptedBitmaps(of: offer, present: present) { $0 != "vdc" }
        #expect(accepted.map(\.target) == ["vda"])
    }
}

@Suite struct CookieCheckTests {
    @Test(arguments: Step.allCases) func wholeCookiesPass(step: Step) {
        #expect(refusal(whole(into: step), into: step) == nil)
        // A lease, and whether the guest has arrived.
        let needsMore = step == .prepare || step == .confirm
        #expect(refusal(Cookie(attempt: "a-1"), into: step)?.kind == (needsMore ? .missingPart : nil))
    }

    /// Every known part in every step: it passes where the table has it, and is named where not.
    @Test(arguments: Step.allCases) func knownButUnexpected(step: Step) {
        for part in CookiePart.allCases where !CookieTable.isExpected(part, into: step) {
            var cookie = whole(into: step)
            for other in Step.allCases {
                let donor = whole(into: other)
                guard donor.has(part) else { continue }
                cookie = donor
                for extra in CookiePart.allCases where extra != part { cookie.drop(extra) }
            }
            let error = refusal(cookie, into: step)
            #expect(error?.kind == .unexpectedPart)
            #expect(error?.description == "cookie.\(part.rawValue): has no business in \(step.rawValue)")
        }
    }

    @Test(arguments: Step.allCases) func anOldAttemptsCookie(step: Step) {
        var cookie = whole(into: step)
        cookie.attempt = "a-0"
        #expect(refusal(cookie, into: step)?.kind == .replayed)
        #expect(
            refusal(cookie, into: step)?.description
                == "cookie.attempt: belongs to attempt \"a-0\", this is \"a-1\"")
    }

    @Test func wrongGuest() {
        var cookie = whole(into: .perform)
        cookie.name = "other"
        #expect(refusal(cookie, into: .perform)?.kind == .wrongGuest)
        cookie.name = "guest"
        cookie.uuid = "00000000-0000-0000-0000-000000000000"
        #expect(refusal(cookie, into: .perform)?.description.hasPrefix("cookie.uuid: is of guest ") == true)
        // Letters' case says nothing in a UUID, and what is not known cannot differ.
        cookie.uuid = reader.uuid?.uppercased()
        #expect(refusal(cookie, into: .perform) == nil)
        cookie.uuid = nil
        cookie.name = nil
        #expect(refusal(cookie, into: .perform) == nil)
    }

    @Test func itsOwnHost() {
        for step in Step.allCases {
            var cookie = whole(into: step)
            cookie.hostUUID = "HOST-2"
            let isPeers = [.prepare, .perform, .finish, .confirm].contains(step)
            #expect(refusal(cookie, into: step)?.kind == (isPeers ? .sameHost : nil), "\(step)")
            var here = reader
            here.isOneHost = true
            #expect(refusal(cookie, into: step, by: here) == nil, "both sides are meant to be here: \(step)")
            here.isOneHost = false
            here.hostUUID = nil
            #expect(refusal(cookie, into: step, by: here) == nil)
        }
    }

    @Test func unknownParts() {
        var cookie = whole(into: .prepare)
        cookie.unknown = [UnknownCookiePart(name: "holodeck", text: "{}")]
        #expect(refusal(cookie, into: .prepare) == nil)
        cookie.mandatory = ["holodeck", "replicator"]
        let error = refusal(cookie, into: .prepare)
        #expect(error?.kind == .unknownPart)
        #expect(
            error?.description == "cookie.mandatory: this version does not know \"holodeck\" and must not ignore it")
    }

    @Test func leases() {
        var cookie = whole(into: .prepare)
        cookie.lease?.driver = "lockd"
        #expect(
            refusal(cookie, into: .prepare)?.description
                == "cookie.lease: the source's lock manager is \"lockd\", this one is \"memory\"")
        cookie.lease = LeaseState(driver: "memory", state: "")
        #expect(refusal(cookie, into: .prepare)?.description.hasPrefix("cookie.lease.state: ") == true)
        #expect(refusal(cookie, into: .prepare)?.kind == .missingPart)
        cookie.lease = nil
        #expect(refusal(cookie, into: .prepare)?.kind == .missingPart)
        var without = reader
        without.lockManager = nil
        #expect(refusal(cookie, into: .prepare, by: without) == nil)
        cookie.lease = LeaseState(driver: "nop")
        #expect(refusal(cookie, into: .prepare, by: without) == nil)
        cookie.lease = LeaseState(driver: "memory", state: "version=1")
        #expect(refusal(cookie, into: .prepare, by: without)?.kind == .invalid)
        without.lockManager = LockManagerKind(driver: "lockd", usesState: false)
        #expect(refusal(Cookie(attempt: "a-1"), into: .prepare, by: without) == nil)
    }

    typealias Change = @Sendable (inout Cookie) -> Void
    static let nonsense: [(Step, String, Change)] = [
        (.begin, "recovery", { $0.recovery = 0 }), (.finish, "recovery", { $0.recovery = .min }),
        (.prepare, "storage[0]", { $0.storage[0].target = "" }),
        (.prepare, "storage[0]", { $0.storage[0].capacityBytes = -1 }),
        (.prepare, "storage[1].target", { $0.storage.append($0.storage[0]) }),
        (.perform, "nbd-port", { $0.nbdPort = 0 }), (.perform, "nbd-port", { $0.nbdPort = 65_536 }),
        (.perform, "nbd-port", { $0.nbdPort = .min }), (.prepare, "bitmaps[0]", { $0.bitmaps[0].name = "" }),
        (.prepare, "bitmaps[0]", { $0.bitmaps[0].target = "" }),
        (.prepare, "bitmaps[0]", { $0.bitmaps[0].alias = "" }),
        (.prepare, "bitmaps[0]", { $0.bitmaps[0].alias = String(repeating: "a", count: 256) }),
        (.prepare, "bitmaps[1]", { $0.bitmaps.append($0.bitmaps[0]) }),
        (.prepare, "bitmaps[1]", { $0.bitmaps.append(CookieBitmap(target: "vdb", name: "b", alias: "vda-daily")) }),
        (.prepare, "automatic-capabilities", { $0.automaticCapabilities = ["multifd"] }),
        (.finish, "network[0]", { $0.network[0].index = -1 }), (.finish, "network[0]", { $0.network[0].portType = "" }),
        (.finish, "network[1].index", { $0.network.append($0.network[0]) }),
        (.perform, "graphics.port", { $0.graphics?.port = -1 }),
        (.perform, "graphics.tls-port", { $0.graphics?.tlsPort = 1 << 40 }),
        (.perform, "graphics", { $0.graphics?.port = nil }),
        (.finish, "statistics.downtime-milliseconds", { $0.statistics?.downtimeMilliseconds = -1 }),
        (.confirm, "statistics.sent-microseconds", { $0.statistics?.sentMicroseconds = .min }),
    ]

    @Test(arguments: nonsense.indices) func whatMakesNoSenseIsNamed(index: Int) {
        let (step, path, change) = Self.nonsense[index]
        var cookie = whole(into: step)
        change(&cookie)
        let error = refusal(cookie, into: step)
        #expect(error?.kind == .invalid)
        #expect(error?.description.hasPrefix("cookie.\(path): ") == true, "\(String(describing: error))")
    }

    @Test func anAnswerTakesOnlyWhatWasOffered() {
        let cookie = whole(into: .perform)
        var asked = reader
        asked.offeredBitmaps = []
        #expect(
            refusal(cookie, into: .perform, by: asked)?.description == "cookie.bitmaps[0]: \"daily\" was never offered")
        asked.offeredBitmaps = cookie.bitmaps
        #expect(refusal(cookie, into: .perform, by: asked) == nil)
    }

    private static let long = String(repeating: "x", count: 4097)
    private static let longer = String(repeating: "x", count: (64 << 10) + 1)
    static let tooMuch: [(String, Change)] = [
        ("attempt", { $0.attempt = long }), ("name", { $0.name = long }), ("uuid", { $0.uuid = long }),
        ("host-uuid", { $0.hostUUID = long }), ("host-name", { $0.hostName = long }), ("uri", { $0.uri = long }),
        ("lease.driver", { $0.lease = LeaseState(driver: long) }),
        ("lease.state", { $0.lease = LeaseState(driver: "x", state: longer) }),
        ("capabilities", { $0.capabilities = Array(repeating: "x", count: 257) }),
        ("capabilities", { $0.capabilities = [long] }),
        ("automatic-capabilities", { $0.automaticCapabilities = [long] }),
        ("mandatory", { $0.mandatory = Array(repeating: "x", count: 65) }), ("mandatory", { $0.mandatory = [long] }),
        ("storage", { $0.storage = Array(repeating: CookieDisk(target: "x", capacityBytes: 1), count: 1025) }),
        ("storage", { $0.storage = [CookieDisk(target: long, capacityBytes: 1)] }),
        ("bitmaps", { $0.bitmaps = [CookieBitmap(target: "x", name: long, alias: "x")] }),
        (
            "bitmaps",
            { $0.bitmaps = Array(repeating: CookieBitmap(target: "x", name: "x", alias: "x"), count: 8193) }
        ),
        ("network", { $0.network = [CookieInterface(index: 0, portType: "x", portData: longer)] }),
        ("network", { $0.network = Array(repeating: CookieInterface(index: 0, portType: "x"), count: 1025) }),
        ("graphics.subject", { $0.graphics = CookieGraphics(type: "x", address: "x", port: 1, subject: long) }),
        ("unknown parts", { $0.unknown = Array(repeating: UnknownCookiePart(name: "x", text: "1"), count: 65) }),
        (
            "unknown parts",
            { $0.unknown = [UnknownCookiePart(name: "x", text: String(repeating: "1", count: (256 << 10) + 1))] }
        ), ("description", { $0.description?.machineType = long }),
        ("description.cpu-features", { $0.description?.cpuFeatures = longer }),
        ("description.cpus", { $0.description?.cpus = Array(repeating: "x", count: 65_537) }),
        ("description.command-line", { $0.description?.commandLine = [longer] }),
    ]

    @Test(arguments: tooMuch.indices) func bounds(index: Int) {
        let (path, change) = Self.tooMuch[index]
        var cookie = whole(into: .prepare)
        change(&cookie)
        let error = refusal(cookie, into: .prepare)
        #expect(error?.kind == .bounds)
        #expect(error?.description.hasPrefix("cookie.\(path): ") == true, "\(String(describing: error))")
        // A complaint about something endless is short itself.
        #expect((error?.description.utf8.count ?? 0) < 200)
    }
}
