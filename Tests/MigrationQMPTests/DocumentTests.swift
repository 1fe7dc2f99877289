import JSONC
import Migration
import MigrationQMP
import Phases
import Testing

private let machine: DomainDescription = {
    var machine = DomainDescription(
        version: QEMUVersion(7, 2, 22), machineType: "pc-i440fx-7.2", memoryBytes: 256 << 20,
        cpuModel: "qemu64-x86_64-cpu")
    machine.name = "guest ümläut"
    machine.uuid = "8c0d4a0b-1111-2222-3333-444455556666"
    machine.pluggedMemoryBytes = 1 << 30
    machine.cpuFeatures = "1.EDX=783fbfd"
    machine.cpus = ["core-id 0 at /machine/unattached/device[0]"]
    machine.devices = [
        .init(
            path: "/machine/peripheral/net0", type: "virtio-net-pci",
            properties: [
                Setting("addr", .string("05.0")), Setting("multifunction", .bool(false)),
                Setting("vectors", .integer(-1)), Setting("odd", .json("[1,2]")),
            ]), .init(path: "/machine/unattached/device[1]", type: "i440FX", properties: []),
    ]
    machine.blockNodes = [
        .init(name: "root (disk0)", driver: "qcow2", bytes: 1 << 40, isReadOnly: false),
        .init(name: "cd", driver: "raw", bytes: nil, isReadOnly: true),
    ]
    machine.memoryBackends = [.init(id: "mem0", bytes: 256 << 20)]
    machine.boardParts = ["i8257", "i8257"]
    machine.runState = .running
    machine.commandLine = ["qemu-system-x86_64", "-m", "256"]
    return machine
}()

private let cookie: Cookie = {
    var cookie = Cookie(attempt: "a-1")
    cookie.name = "guest"
    cookie.uuid = "8c0d4a0b-1111-2222-3333-444455556666"
    cookie.hostUUID = "00000000-aaaa-bbbb-cccc-444455556666"
    cookie.hostName = "host1"
    cookie.capabilities = ["events", "return-path"]
    cookie.automaticCapabilities = ["events"]
    cookie.lease = LeaseState(driver: "sanlock", state: "res=7:1")
    cookie.storage = [CookieDisk(target: "vda", capacityBytes: 1 << 40)]
    cookie.nbdPort = 49153
    cookie.bitmaps = [CookieBitmap(target: "vda", name: "daily", alias: "godwit-vda-daily")]
    cookie.network = [
        CookieInterface(index: 0, portType: "openvswitch", portData: "x=1"),
        CookieInterface(index: 1, portType: "802.1Qbh"),
    ]
    cookie.graphics = CookieGraphics(type: "spice", address: "::1", port: 5900, tlsPort: 5901, subject: "CN=host2")
    cookie.description = machine
    cookie.uri = "tcp:127.0.0.1:49152"
    cookie.isRunIntended = true
    cookie.isSuccess = true
    cookie.statistics = CookieStatistics(
        totalMilliseconds: 1000, downtimeMilliseconds: 25, transferredBytes: 1 << 33,
        startedMicroseconds: 1, stoppedMicroseconds: 2, sentMicroseconds: 3)
    return cookie
}()

@Suite struct CookieCodingTests {
    @Test func thereAndBack() throws {
        #expect(try Cookie(json: cookie.json) == cookie)
        // Through the bytes, too.
        #expect(try Cookie(json: JSONValue(parsing: cookie.json.serialized())) == cookie)
        let bare = Cookie(attempt: "x")
        #expect(try Cookie(json: bare.json) == bare)
        #expect(bare.json == ["godwit-cookie": 1, "attempt": "x"])
        #expect(cookie.json["mandatory"] == ["description", "lease", "success"])
    }

    /// What a reader may ignore is not made mandatory; what is listed must be there.
    @Test func whatIsMandatory() throws {
        var leased = Cookie(attempt: "x")
        leased.lease = LeaseState(driver: "lockd")
        #expect(leased.json["mandatory"] == nil)
        leased.lease?.state = "1"
        #expect(leased.json["mandatory"] == ["lease"])
        for part in CookiePart.allCases where part != .identity {
            let document: JSONValue = ["godwit-cookie": 1, "attempt": "x", "mandatory": [.string(part.rawValue)]]
            #expect(
                complaint { _ = try Cookie(json: document) } == "cookie.\(part.rawValue): is mandatory and missing")
        }
    }

    /// Every part comes back by itself, under a member of its own.
    @Test(arguments: CookiePart.allCases) func onePartAtATime(part: CookiePart) throws {
        var single = cookie
        for other in CookiePart.allCases where other != part { single.drop(other) }
        let read = try Cookie(json: single.json)
        #expect(read == single)
        #expect(read.parts == (part == .identity ? [.identity] : [.identity, part]))
        #expect(part == .identity || single.json[part.rawValue] != nil)
        #expect(read.unknown.isEmpty)
    }

    @Test func unknownOptionalPartsAreKeptAndPassedOn() throws {
        var document = try #require(Cookie(attempt: "x").json.object)
        document["lock-state"] = ["held": true, "by": [1, 2.5]]
        document["zeta"] = "z"
        let read = try Cookie(json: .object(document))
        #expect(read.unknown.map(\.name) == ["lock-state", "zeta"])
        #expect(read.json == .object(document))
        // Passed on by the next step's cookie, whose own parts count first.
        var next = Cookie(attempt: "x").carrying(read)
        #expect(next.json["lock-state"] == document["lock-state"])
        next.unknown = [UnknownCookiePart(name: "zeta", text: "1")]
        #expect(next.carrying(read).json["zeta"] == 1)
        #expect(next.carrying(read).json["lock-state"] == document["lock-state"])
    }

    @Test func unknownMandatoryPartsAreAnErrorThatNamesThem() throws {
        var document = try #require(Cookie(attempt: "x").json.object)
        document["mandatory"] = ["description", "nbd", "lockstate"]
        #expect(
            complaint { _ = try Cookie(json: .object(document)) }
                == "cookie.mandatory: this version does not know nbd and must not ignore it")
        document["mandatory"] = ["description"]
        document["description"] = machine.json
        #expect(complaint { _ = try Cookie(json: .object(document)) } == nil)
    }

    /// A later version of the document is read by what it requires, not by its number.
    @Test func laterVersions() throws {
        #expect(try Cookie(json: ["godwit-cookie": 2, "attempt": "x"]) == Cookie(attempt: "x"))
        #expect(
            complaint { _ = try Cookie(json: ["godwit-cookie": 0, "attempt": "x"]) }
                == "cookie.godwit-cookie: no version 0")
    }

    @Test(arguments: [
        ("[]", "cookie: not an object"), ("{}", "cookie.godwit-cookie: an integer is missing"),
        (#"{"godwit-cookie":"1"}"#, "cookie.godwit-cookie: an integer is missing"),
        (#"{"godwit-cookie":1}"#, "cookie.attempt: a string is missing"),
        (#"{"godwit-cookie":1,"attempt":7}"#, "cookie.attempt: a string is missing"),
        (#"{"godwit-cookie":1,"attempt":"x","mandatory":"nbd"}"#, "cookie.mandatory: not a list"),
        (#"{"godwit-cookie":1,"attempt":"x","mandatory":[1]}"#, "cookie.mandatory[0]: not a string"),
        (#"{"godwit-cookie":1,"attempt":"x","capabilities":["a",null]}"#, "cookie.capabilities[1]: not a string"),
        (#"{"godwit-cookie":1,"attempt":"x","statistics":3}"#, "cookie.statistics: not an object"),
        (#"{"godwit-cookie":1,"attempt":"x","name":3}"#, "cookie.name: a string is missing"),
        (#"{"godwit-cookie":1,"attempt":"x","run-intended":"yes"}"#, "cookie.run-intended: not a truth value"),
        (#"{"godwit-cookie":1,"attempt":"x","nbd-port":"1"}"#, "cookie.nbd-port: an integer is missing"),
        (#"{"godwit-cookie":1,"attempt":"x","lease":{"state":"1"}}"#, "cookie.lease.driver: a string is missing"),
        (
            #"{"godwit-cookie":1,"attempt":"x","storage":[{"target":"vda","capacity-bytes":1},{"target":"vdb"}]}"#,
            "cookie.storage[1].capacity-bytes: an integer is missing"
        ),
        (#"{"godwit-cookie":1,"attempt":"x","bitmaps":[3]}"#, "cookie.bitmaps[0]: not an object"),
        (#"{"godwit-cookie":1,"attempt":"x","network":[{}]}"#, "cookie.network[0].index: an integer is missing"),
        (#"{"godwit-cookie":1,"attempt":"x","graphics":[]}"#, "cookie.graphics: not an object"),
        (
            #"{"godwit-cookie":1,"attempt":"x","statistics":{"total-milliseconds":1.5}}"#,
            "cookie.statistics.total-milliseconds: an integer is missing"
        ),
        (#"{"godwit-cookie":1,"attempt":"x","description":3}"#, "cookie.description: not an object"),
        (#"{"godwit-cookie":1,"attempt":"x","description":{}}"#, "cookie.description.version: a string is missing"),
    ]) func whatIsMissingIsNamedByItsPath(text: String, message: String) throws {
        let value = try json(text)
        #expect(complaint { _ = try Cookie(json: value) } == message)
    }
}

@Suite struct CookieParsingTests {
    private let bytes = Array(cookie.json.serialized())

    @Test func withinBounds() throws {
        #expect(try Cookie(parsing: bytes) == cookie)
        var limits = CookieLimits()
        limits.documentBytes = bytes.count
        #expect(try Cookie(parsing: bytes, limits: limits) == cookie)
        limits.documentBytes -= 1
        #expect(
            complaint { _ = try Cookie(parsing: bytes, limits: limits) }
                == "cookie: a JSON text of \(bytes.count) bytes exceeds the limit of \(bytes.count - 1)")
    }

    @Test func depth() {
        let deep =
            #"{"godwit-cookie":1,"attempt":"x","later":"# + String(repeating: "[", count: 40)
            + String(repeating: "]", count: 40) + "}"
        #expect(complaint { _ = try Cookie(parsing: Array(deep.utf8)) }?.hasPrefix("cookie: ") == true)
        var limits = CookieLimits()
        limits.depth = 41
        #expect(complaint { _ = try Cookie(parsing: Array(deep.utf8), limits: limits) } == nil)
    }

    @Test func boundsOfTheParts() {
        var limits = CookieLimits()
        limits.interfaces = 1
        #expect(
            complaint { _ = try Cookie(parsing: bytes, limits: limits) } == "cookie.network: 2 entries are more than 1")
    }

    /// Seeded mutations of a whole cookie: no peer's bytes trap, and whatever is refused is refused with its place.
    @Test func mutationsAreReadOrNamed() throws {
        var generator = Seeded(state: 7)
        var (read, refused) = (0, 0)
        for _ in 0..<4_000 {
            var text = bytes
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !text.isEmpty {
                let place = Int.random(in: 0..<text.count, using: &generator)
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: text.remove(at: place)
                case 1: text[place] = UInt8.random(in: 0...255, using: &generator)
                case 2: text.swapAt(place, Int.random(in: 0..<text.count, using: &generator))
                case 3: text.removeLast(Int.random(in: 0...3, using: &generator) == 0 ? text.count - place : 0)
                default:
                    let digits = Array("-0918446744073709551615e".utf8)
                    text.insert(digits[Int.random(in: 0..<digits.count, using: &generator)], at: place)
                }
            }
            (read, refused) = try judge(text, read, refused)
        }
        #expect(read > 100 && refused > 1_000, "\(read) read, \(refused) refused")
    }

    /// Mutations of the values: any member, however deep, becomes something else.
    @Test func wrongValuesAreReadOrNamed() throws {
        var generator = Seeded(state: 11)
        let odd: [JSONValue] = [
            nil, true, 0, -1, 65_536, .integer(.max), .integer(.min), 1.5, "", "x", [], [[]], [:], ["a": nil],
            .string(String(repeating: "ü", count: 5_000)),
        ]
        var (read, refused) = (0, 0)
        for _ in 0..<4_000 {
            let value = mutated(cookie.json, odd[Int.random(in: 0..<odd.count, using: &generator)], &generator)
            (read, refused) = try judge(Array(value.serialized()), read, refused)
        }
        #expect(read > 500 && refused > 1_000, "\(read) read, \(refused) refused")
    }

    private func mutated(_ value: JSONValue, _ odd: JSONValue, _ generator: inout Seeded) -> JSONValue {
        switch value {
        case .object(var object) where !object.isEmpty && Int.random(in: 0..<8, using: &generator) > 0:
            let key = object.keys[Int.random(in: 0..<object.count, using: &generator)]
            object[key] = object[key].map { mutated($0, odd, &generator) }
            return .object(object)
        case .array(var array) where !array.isEmpty && Int.random(in: 0..<8, using: &generator) > 0:
            let place = Int.random(in: 0..<array.count, using: &generator)
            array[place] = mutated(array[place], odd, &generator)
            return .array(array)
        default: return odd
        }
    }

    /// What is read can be written, read again and checked; what is refused says where.
    private func judge(_ text: [UInt8], _ read: Int, _ refused: Int) throws -> (Int, Int) {
        let result: Cookie
        do throws(DocumentError) {
            result = try Cookie(parsing: text)
        } catch {
            #expect(error.description.hasPrefix("cookie"), "\(error)")
            #expect(error.description.contains(": "), "\(error)")
            return (read, refused + 1)
        }
        #expect(try Cookie(json: result.json) == result)
        for step in Step.allCases {
            do throws(CookieError) {
                try CookieCheck().check(result, into: step, by: CookieReader(attempt: "a-1", name: "guest"))
            } catch {
                #expect(error.description.hasPrefix("cookie."), "\(error)")
            }
        }
        return (read + 1, refused)
    }

    /// SplitMix64: the same on every run.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }
}

@Suite struct DescriptionCodingTests {
    @Test func thereAndBack() throws {
        #expect(try DomainDescription(json: machine.json) == machine)
        #expect(try DomainDescription(json: JSONValue(parsing: machine.json.serialized())) == machine)
        let bare = DomainDescription(version: QEMUVersion(10, 0), machineType: "q35", memoryBytes: 1, cpuModel: "")
        #expect(try DomainDescription(json: bare.json) == bare)
        #expect(try DomainDescription(json: machine.json).differences(from: machine).isEmpty)
    }

    /// Each member taken away is either optional or named.
    @Test func everyMemberMissing() throws {
        let whole = try #require(machine.json.object)
        var required: [String] = []
        for key in whole.keys {
            var document = whole
            document[key] = nil
            guard let complaint = complaint({ _ = try DomainDescription(json: .object(document)) }) else { continue }
            required.append(key)
            #expect(complaint.hasPrefix("description.\(key): "), "\(complaint)")
        }
        #expect(required.sorted() == ["cpu-model", "machine-type", "memory-bytes", "version"])
    }

    @Test(arguments: [
        ("devices", #"[{"path":"/x","type":"t"},{"path":"/y"}]"#, "description.devices[1].type: a string is missing"),
        ("devices", "{}", "description.devices: not a list"),
        ("devices", "[4]", "description.devices[0]: not an object"),
        ("block-nodes", #"[{"name":"a"}]"#, "description.block-nodes[0].driver: a string is missing"),
        (
            "memory-backends", #"[{"id":"a","bytes":"b"}]"#,
            "description.memory-backends[0].bytes: an integer is missing"
        ),
        ("cpus", "[3]", "description.cpus[0]: not a string"),
        ("command-line", "[{}]", "description.command-line[0]: not a string"),
        ("version", #""7.2""#, "description.version: not a version"),
        ("version", #""7.-2.1""#, "description.version: not a version"),
        ("version", #""7.99999999999999999999.1""#, "description.version: not a version"),
        ("version", #""7.2.x""#, "description.version: not a version"),
    ]) func whatIsWrongIsNamedByItsPath(member: String, text: String, message: String) throws {
        var document = try #require(machine.json.object)
        document[member] = try json(text)
        #expect(complaint { _ = try DomainDescription(json: .object(document)) } == message)
    }
}

@Suite struct RecordCodingTests {
    @Test func aStatusRecord() {
        let status = PublishedStatus(word: .postcopyPaused, stopping: .cancel, qemu: .postcopyPaused, basis: .source)
        let reasons = [
            Reason(sequence: 3, side: .source, what: "a"), Reason(sequence: 9, side: .destination, what: "b"),
        ]
        #expect(
            status.json(reasons: reasons) == [
                "status": "postcopy-paused", "stopping": "cancel", "qemu": "postcopy-paused", "basis": "source",
                "reason": [3, 9],
            ])
        #expect(PublishedStatus.idle.json(reasons: []) == ["status": "idle", "stopping": "none", "reason": []])
    }

    @Test(arguments: Side.allCases) func aPhaseRecordThereAndBack(side: Side) throws {
        for from in Phase.allCases {
            for owner in [nil, "finish"] {
                let move = PhaseMove(side: side, from: from, to: .postcopyFailed, owner: owner)
                #expect(PhaseMove(json: move.json, side: side) == move)
                #expect(move.json["job"]?.string == (side == .source ? "out" : "in"))
            }
        }
        #expect(PhaseMove(json: ["from": "none", "to": "phase9"], side: side) == nil)
        #expect(PhaseMove(json: [], side: side) == nil)
    }

    @Test func callsAndAnswers() throws {
        #expect(Step.prepare.callJSON(cookie) == ["step": "prepare", "protocol": 3, "cookie": cookie.json])
        #expect(Step.finish.answerJSON(.done(cookie)) == ["step": "finish", "cookie": cookie.json])
        #expect(Step.finish.answerJSON(.failed(StepError(.failed, "no"))) == ["step": "finish", "error": "no"])
    }

    @Test func journalRecords() {
        let saved = JournalRecord.saved(
            .destination, capabilities: [CapabilitySetting("events", false)], parameters: [Setting("a", .integer(1))]
        ).record
        #expect(saved.side == .destination)
        #expect("\(saved.member)" == "saved")
        #expect(saved.value == ["capabilities": ["events": false], "parameters": ["a": 1]])
        let rows: [(JournalRecord, Side, String)] = [
            (.surrendered(attempt: "x"), .source, "surrendered"), (.run(attempt: "x"), .destination, "run"),
            (.refused(attempt: "x"), .destination, "refused"),
        ]
        for (record, side, member) in rows {
            #expect(record.record.side == side)
            #expect("\(record.record.member)" == member)
            #expect(record.record.value == "x")
        }
    }

    /// Every kind of record, so that a ledger is the same before and after it was written and read.
    static let records: [JournalRecord] =
        Side.allCases.flatMap { side in
            [
                .saved(
                    side, capabilities: [CapabilitySetting("events", false)], parameters: [Setting("a", .integer(1))]),
                .began(side, attempt: "a-1", wasRunning: true), .intent(side, .migrate), .intent(side, .listen),
                .phase(PhaseMove(side: side, from: .none, to: .postcopyFailed, owner: nil)),
            ]
        }
        + Step.allCases.flatMap { step in
            [.called(step, cookie), .answered(step, .done(cookie))]
                + StepError.Kind.allCases.map { .answered(step, .failed(StepError($0, "no"))) }
        }
        + [
            .surrendered(attempt: "a-1"), .run(attempt: "a-1"), .refused(attempt: "a-1"),
            .requested(.cancel, .operator), .requested(.destinationNeverRan, .operator),
            .released(.source, LeaseState(driver: "memory", state: "version=2")),
            .released(.destination, LeaseState(driver: "nop")),
            .interfered(isPaused: true), .interfered(isPaused: false),
        ]

    @Test(arguments: records) func aJournalRecordThereAndBack(record: JournalRecord) throws {
        let (side, member, value) = record.record
        let parsed = try JSONValue(parsing: value.text())
        #expect(try JournalRecord(member: "\(member)", side: side, value: parsed) == record)
    }

    @Test func leasesThereAndBack() throws {
        let state = LeaseState(driver: "memory", state: "version=2")
        let results: [LeaseResult] = [
            .inquired(state), .released(LeaseState(driver: "nop")), .acquired, .refused("somebody else has them"),
        ]
        for result in results { #expect(try LeaseResult(json: try JSONValue(parsing: result.json.text())) == result) }
        for action in [LeaseAction.inquire, .release, .acquire(nil), .acquire(state)] {
            #expect(try LeaseResult(json: action.json) == nil, "a question is no answer")
        }
        #expect(LeaseAction.acquire(state).json["lease"]?["state"] == "version=2")
        #expect(throws: DocumentError.self) { try LeaseResult(json: ["gone": true]) }
        #expect(throws: DocumentError.self) { try LeaseResult(json: ["released": ["state": "1"]]) }
    }

    @Test func whatIsNoRecordIsPassedOver() throws {
        let lines: [(String, Side?, JSONValue)] = [
            ("recv", .source, ["event": "STOP"]), ("run", nil, 1), ("phase", .source, ["from": "none", "to": "more"]),
            ("phase", nil, ["from": "none", "to": "begin3"]),
            ("call", nil, ["step": "dance", "cookie": ["attempt": "x"]]),
            ("answer", nil, ["step": "finish"]), ("answer", nil, ["step": "finish", "accepted": true]),
            ("request", nil, ["do": "dance", "origin": "operator"]), ("intent", .source, ["do": "dance"]),
            ("saved", .source, ["capabilities": 1]),
        ]
        for (member, side, value) in lines {
            #expect(try JournalRecord(member: member, side: side, value: value) == nil, "\(member) \(value)")
        }
        #expect(throws: DocumentError.self) {
            try JournalRecord(member: "call", side: nil, value: ["step": "begin", "cookie": ["attempt": "x"]])
        }
    }

    /// An answer of a version that did not write the kind proves nothing.
    @Test func anErrorWithoutItsKindIsUnproven() throws {
        let record = try JournalRecord(member: "answer", side: nil, value: ["step": "finish", "error": "no"])
        #expect(record == .answered(.finish, .failed(StepError(.unproven, "no"))))
    }
}

@Suite struct SecretsTests {
    /// Command lines and what may be written down of them. `-` marks those that stay as they are.
    static let rows: [(String, [String], [String])] = [
        (
            "nothing secret", ["qemu", "-drive", "file=/a=b.img,if=virtio"],
            ["qemu", "-drive", "file=/a=b.img,if=virtio"]
        ),
        (
            "a secret object", ["-object", "secret,id=s0,data=hunter2,format=raw"],
            ["-object", "secret,id=s0,data=***,format=raw"]
        ),
        (
            "a comma in a secret", ["-object", "secret,id=s0,data=hun,,ter2,format=raw"],
            ["-object", "secret,id=s0,data=***,format=raw"]
        ),
        (
            "as JSON", ["-object", #"{"qom-type":"secret","id":"s0","data":"hunter2"}"#],
            ["-object", #"{"qom-type":"secret","id":"s0","data":"***"}"#]
        ),
        (
            "deep in JSON", ["-blockdev", #"{"file":{"password":"hunter2","a":[{"key":"hunter2"}]}}"#],
            ["-blockdev", #"{"file":{"password":"***","a":[{"key":"***"}]}}"#]
        ),
        ("unreadable JSON", ["-object", #"{"data":"hunter2""#], ["-object", "{***}"]),
        (
            "a dotted key", ["-drive", "file.driver=ssh,file.password=hunter2"],
            ["-drive", "file.driver=ssh,file.password=***"]
        ),
        ("letters", ["-spice", "Password=hunter2,port=1"], ["-spice", "Password=***,port=1"]),
        (
            "a URL", ["-drive", "file=https://me:hunter2@host/x?a=b,if=none"],
            ["-drive", "file=https://me:***@host/x?a=b,if=none"]
        ),
        ("a URL with @ in it", ["-cdrom", "https://me:hun@ter2@host/x@y"], ["-cdrom", "https://me:***@host/x@y"]),
        ("a URL without a password", ["-cdrom", "https://me@host:80/x"], ["-cdrom", "https://me@host:80/x"]),
        (
            "a URL in JSON", ["-blockdev", #"{"url":"https://me:hunter2@host/"}"#],
            ["-blockdev", #"{"url":"https://me:***@host/"}"#]
        ),
        (
            "JSON in an option", ["-drive", #"if=none,file=json:{"driver":"ssh",,"password":"hunter2"}"#],
            ["-drive", "if=none,file=json:{***}"]
        ),
        (
            "the kernel's line", ["-append", "root=/dev/sda password=hunter2 quiet"],
            ["-append", "root=/dev/sda password=*** quiet"]
        ),
        (
            "odd ends", ["", ",", "=", "a=", "=x", "://", "-", "password="],
            ["", ",", "=", "a=", "=x", "://", "-", "password=***"]
        ),
    ]

    @Test(arguments: rows.indices) func secretsAreMasked(index: Int) {
        let (name, line, masked) = Self.rows[index]
        #expect(Secrets.masking(line) == masked, "\(name)")
        #expect(!Secrets.masking(line).contains { $0.contains("hunter2") || $0.contains("ter2") }, "\(name)")
    }
}
