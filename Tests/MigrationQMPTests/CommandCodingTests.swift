import JSONC
import Migration
import MigrationQMP
import QMP
import Testing

@Suite struct CommandCodingTests {
    /// Every command, its name and its arguments on the wire.
    static let rows: [(Command, String, String?)] = [
        (.queryStatus, "query-status", nil), (.queryMigrate, "query-migrate", nil),
        (.queryCapabilities, "query-migrate-capabilities", nil), (.queryParameters, "query-migrate-parameters", nil),
        (.queryYank, "query-yank", nil),
        (
            .setCapabilities([CapabilitySetting("events", true), CapabilitySetting("xbzrle", false)]),
            "migrate-set-capabilities",
            #"{"capabilities":[{"capability":"events","state":true},{"capability":"xbzrle","state":false}]}"#
        ),
        (
            .setParameters([
                Setting("max-bandwidth", .integer(1 << 40)), Setting("tls-creds", .string("")),
                Setting("cpu-throttle-tailslow", .bool(true)),
                Setting("block-bitmap-mapping", .json(#"[{"node":"a"}]"#)),
                Setting("huge", .json("18446744073709551615")), Setting("part", .json("0.5")),
            ]), "migrate-set-parameters",
            #"{"max-bandwidth":1099511627776,"tls-creds":"","cpu-throttle-tailslow":true,"#
                + #""block-bitmap-mapping":[{"node":"a"}],"huge":18446744073709551615,"part":0.5}"#
        ),
        (.getFD(name: "stream"), "getfd", #"{"fdname":"stream"}"#),
        (.closeFD(name: "stream"), "closefd", #"{"fdname":"stream"}"#),
        (
            .objectAdd(QEMUObject(id: "c", .x509(directory: "/pki", isServer: true)), isNested: false), "object-add",
            #"{"qom-type":"tls-creds-x509","id":"c","dir":"/pki","endpoint":"server","verify-peer":true}"#
        ),
        (
            .objectAdd(QEMUObject(id: "k", .psk(directory: "/keys", isServer: false)), isNested: true), "object-add",
            #"{"qom-type":"tls-creds-psk","id":"k","props":{"dir":"/keys","endpoint":"client"}}"#
        ),
        (
            .objectAdd(QEMUObject(id: "l", .allowed(["CN=a", "O=b,*"])), isNested: false), "object-add",
            #"{"qom-type":"authz-list","id":"l","policy":"deny","rules":[{"match":"CN=a","policy":"allow","format":"exact"},"#
                + #"{"match":"O=b,*","policy":"allow","format":"glob"}]}"#
        ),
        (.objectDel(id: "c"), "object-del", #"{"id":"c"}"#),
        (.migrateIncoming(uri: "unix:/m", exitOnError: nil), "migrate-incoming", #"{"uri":"unix:/m"}"#),
        (
            .migrateIncoming(uri: "tcp:[::]:0", exitOnError: false), "migrate-incoming",
            #"{"uri":"tcp:[::]:0","exit-on-error":false}"#
        ),
        (
            .migrate(uri: StreamAddress("tcp:[::1]:7", isChannel: true), resume: true), "migrate",
            #"{"channels":[{"channel-type":"main","addr":{"transport":"socket","type":"inet","host":"::1","port":"7"}}],"resume":true}"#
        ),
        (
            .migrate(uri: StreamAddress("unix:/a,b", isChannel: true), resume: false), "migrate",
            #"{"channels":[{"channel-type":"main","addr":{"transport":"socket","type":"unix","path":"/a,b"}}]}"#
        ),
        (
            .migrateIncoming(uri: StreamAddress("exec:cat x", isChannel: true), exitOnError: false), "migrate-incoming",
            #"{"channels":[{"channel-type":"main","addr":{"transport":"exec","args":["/bin/sh","-c","cat x"]}}],"exit-on-error":false}"#
        ),
        (
            .migrateIncoming(uri: StreamAddress("file:/dev/fdset/9,offset=4096", isChannel: true), exitOnError: nil),
            "migrate-incoming",
            #"{"channels":[{"channel-type":"main","addr":{"transport":"file","filename":"/dev/fdset/9","offset":4096}}]}"#
        ),
        (
            .migrateIncoming(uri: StreamAddress("file:/f", isChannel: true), exitOnError: nil), "migrate-incoming",
            #"{"channels":[{"channel-type":"main","addr":{"transport":"file","filename":"/f","offset":0}}]}"#
        ),
        (
            .migrate(uri: StreamAddress("fd:stream", isChannel: true), resume: false), "migrate",
            #"{"channels":[{"channel-type":"main","addr":{"transport":"socket","type":"fd","str":"stream"}}]}"#
        ),
        (
            .migrate(uri: StreamAddress("vsock:3:7", isChannel: true), resume: false), "migrate",
            #"{"channels":[{"channel-type":"main","addr":{"transport":"socket","type":"vsock","cid":"3","port":"7"}}]}"#
        ),
        (.migrate(uri: "unix:/m", resume: false), "migrate", #"{"uri":"unix:/m"}"#),
        (.migrate(uri: "unix:/m", resume: true), "migrate", #"{"uri":"unix:/m","resume":true}"#),
        (.migrateContinue(state: "pre-switchover"), "migrate-continue", #"{"state":"pre-switchover"}"#),
        (.migrateCancel, "migrate_cancel", nil), (.startPostcopy, "migrate-start-postcopy", nil),
        (.migratePause, "migrate-pause", nil),
        (.migrateRecover(uri: "unix:/r"), "migrate-recover", #"{"uri":"unix:/r"}"#),
        (.yank, "yank", #"{"instances":[{"type":"migration"}]}"#), (.cont, "cont", nil), (.stop, "stop", nil),
        (.quit, "quit", nil), (.other("query-version"), "query-version", nil),
    ]

    @Test(arguments: rows.indices) func thereAndBack(index: Int) throws {
        let (command, name, arguments) = Self.rows[index]
        let request = command.request()
        #expect(request.name == name)
        #expect(command.name == name)
        #expect(!request.outOfBand)
        let sent = try request.arguments.map { try JSONValue(parsing: $0) }
        #expect(try sent == arguments.map(json))
        // The words of a recording mean the same, in band or out of it.
        for verb in ["execute", "exec-oob"] {
            var message: JSONObject = [:]
            message[verb] = .string(name)
            message["id"] = 7
            if let sent { message["arguments"] = sent }
            #expect(Command(message: .object(message)) == command)
        }
    }

    @Test func numbersKeepTheirText() throws {
        let settings = [Setting("huge", .json("18446744073709551615")), Setting("part", .json("0.5"))]
        let text = try #require(Command.setParameters(settings).request().arguments)
        #expect(String(decoding: text, as: UTF8.self) == #"{"huge":18446744073709551615,"part":0.5}"#)
    }

    @Test(arguments: [Command.yank, .queryYank, .migratePause, .migrateRecover(uri: "x")]) func whatMayOvertake(
        command: Command
    ) {
        #expect(command.request(outOfBand: true).outOfBand)
    }

    @Test(arguments: [Command.cont, .migrateCancel, .quit, .queryStatus, .migrate(uri: "x", resume: false)])
    func whatMayNot(command: Command) {
        #expect(!command.request(outOfBand: true).outOfBand)
    }

    @Test func aLookIsAPoll() {
        #expect(Command.queryMigrate.request(isPoll: true).kind == .poll)
        #expect(Command.queryMigrate.request().kind != .poll)
    }

    @Test(arguments: [#"{"return":{}}"#, #"{"event":"STOP"}"#, "[]", "3", #"{"execute":5}"#, "null"])
    func whatIsNoCommand(text: String) throws {
        #expect(Command(message: try json(text)) == nil)
    }

    /// What somebody else sent may be odd; it is read as far as it goes and never traps.
    @Test(arguments: [
        (#"{"execute":"migrate"}"#, Command.migrate(uri: "", resume: false)),
        (#"{"execute":"migrate","arguments":[]}"#, .migrate(uri: "", resume: false)),
        (#"{"execute":"migrate","arguments":{"uri":5,"resume":"yes"}}"#, .migrate(uri: "", resume: false)),
        (
            #"{"execute":"migrate","arguments":{"channels":[{"channel-type":"main"}]}}"#,
            .migrate(uri: StreamAddress(#"[{"channel-type":"main"}]"#, isChannel: true), resume: false)
        ),
        (
            #"{"execute":"migrate-set-capabilities","arguments":{"capabilities":[1,{"capability":"x"}]}}"#,
            .setCapabilities([])
        ),
        (#"{"execute":"migrate-continue"}"#, .migrateContinue(state: "")),
        (#"{"execute":"yank","arguments":{"instances":[{"type":"chardev","id":"c"}]}}"#, .other("yank")),
        (#"{"execute":"yank"}"#, .other("yank")), (#"{"execute":""}"#, .other("")),
    ]) func oddCommands(text: String, command: Command) throws {
        #expect(Command(message: try json(text)) == command)
    }
}
