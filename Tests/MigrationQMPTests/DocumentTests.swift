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
    cookie.description = machine
    cookie.uri = "tcp:127.0.0.1:49152"
    cookie.isRunIntended = true
    cookie.statistics = CookieStatistics(
        totalMilliseconds: 1000, downtimeMilliseconds: 25, transferredBytes: 1 << 33)
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
        #expect(cookie.json["mandatory"] == ["description"])
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
        (#"{"godwit-cookie":1,"attempt":"x","description":3}"#, "cookie.description: not an object"),
        (#"{"godwit-cookie":1,"attempt":"x","description":{}}"#, "cookie.description.version: a string is missing"),
    ]) func whatIsMissingIsNamedByItsPath(text: String, message: String) throws {
        let value = try json(text)
        #expect(complaint { _ = try Cookie(json: value) } == message)
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
