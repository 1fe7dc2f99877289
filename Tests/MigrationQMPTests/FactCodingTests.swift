import JSONC
import Migration
import MigrationQMP
import QMP
import Testing

@Suite struct FactCodingTests {
    static let events: [(String, QEMUEvent)] = [
        (#"{"event":"MIGRATION","data":{"status":"pre-switchover"}}"#, .migration(.preSwitchover)),
        (#"{"event":"MIGRATION","data":{"status":"new-one"}}"#, .migration(StatusWord(rawValue: "new-one"))),
        (#"{"event":"MIGRATION","data":{}}"#, .migration(.none)), (#"{"event":"MIGRATION"}"#, .migration(.none)),
        (#"{"event":"MIGRATION","data":{"status":4}}"#, .migration(.none)),
        (#"{"event":"MIGRATION_PASS","data":{"pass":3}}"#, .pass(3)),
        (#"{"event":"MIGRATION_PASS","data":{"pass":9223372036854775807}}"#, .pass(.max)),
        (#"{"event":"MIGRATION_PASS","data":{"pass":"x"}}"#, .pass(0)), (#"{"event":"STOP"}"#, .stop),
        (#"{"event":"RESUME"}"#, .resume),
        (
            #"{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}"#,
            .shutdown(byGuest: true, reason: "guest-shutdown")
        ),
        (#"{"event":"SHUTDOWN"}"#, .shutdown(byGuest: false, reason: "")),
        (#"{"event":"RESET","data":{"guest":true,"reason":"guest-reset"}}"#, .reset),
        (#"{"event":"GUEST_PANICKED","data":{"action":"pause"}}"#, .guestFault("GUEST_PANICKED")),
        (#"{"event":"BLOCK_IO_ERROR"}"#, .guestFault("BLOCK_IO_ERROR")),
        (#"{"event":"WATCHDOG"}"#, .guestFault("WATCHDOG")), (#"{"event":"NEW_ONE"}"#, .other("NEW_ONE")),
        (#"{"event":"migration","data":{"status":"active"}}"#, .other("migration")),
    ]

    @Test(arguments: events) func everyEventLiveAndRecorded(text: String, event: QEMUEvent) throws {
        let value = try json(text)
        let name = try #require(value["event"]?.string)
        #expect(QEMUEvent(name: name, message: value) == event)
        #expect(try withView(text) { QEMUEvent(name: name, message: $0) } == event)
    }

    static let replies: [(Command, String, Reply)] = [
        (.queryStatus, #"{"status":"inmigrate","running":false,"singlestep":false}"#, .status(.inMigrate)),
        (.queryStatus, #"{"status":"new-one"}"#, .status(RunState(rawValue: "new-one"))),
        (.queryStatus, "{}", .unreadable("query-status without a status")),
        (.queryStatus, "[]", .unreadable("query-status without a status")),
        (.queryMigrate, "{}", .migration(MigrationSample())),
        (.queryMigrate, #"{"status":"setup"}"#, .migration(MigrationSample(status: .setup))),
        (.queryMigrate, "[7]", .unreadable("query-migrate returned no object")),
        (
            .queryCapabilities, #"[{"capability":"events","state":true},{"capability":"x"},3]"#,
            .capabilities([CapabilitySetting("events", true)])
        ),
        (.queryCapabilities, "[]", .unreadable("query-migrate-capabilities returned none")),
        (.queryCapabilities, "{}", .unreadable("query-migrate-capabilities returned none")),
        (
            .queryParameters, #"{"max-bandwidth":134217728,"tls-creds":"","x":true,"y":[1],"z":18446744073709551615}"#,
            .parameters([
                Setting("max-bandwidth", .integer(134_217_728)), Setting("tls-creds", .string("")),
                Setting("x", .bool(true)), Setting("y", .json("[1]")), Setting("z", .json("18446744073709551615")),
            ])
        ),
        (.queryParameters, "[]", .unreadable("query-migrate-parameters returned no object")),
        (.queryYank, #"[{"type":"chardev","id":"m"},{"type":"migration"}]"#, .yankInstances(migration: true)),
        (.queryYank, #"[{"type":"chardev","id":"m"}]"#, .yankInstances(migration: false)),
        (.queryYank, "[]", .yankInstances(migration: false)), (.cont, "{}", .done),
        (.migrate(uri: "", resume: false), "{}", .done), (.quit, "{}", .done), (.other("x"), #"{"a":1}"#, .done),
        (.yank, "[]", .done),
    ]

    @Test(arguments: replies.indices) func everyReplyLiveAndRecorded(index: Int) throws {
        let (command, text, reply) = Self.replies[index]
        #expect(try withView(text) { Reply(to: command, value: $0) } == reply)
        #expect(Reply(to: command, value: try json(text)) == reply)
    }

    private func sample(_ text: String) throws -> MigrationSample {
        guard case .migration(let sample) = Reply(to: .queryMigrate, value: try json(text)) else {
            throw JSONError(.wrongType, "no sample", offset: nil)
        }
        return sample
    }

    @Test func numbersOfQueryMigrate() throws {
        let sample = try sample(
            """
            {"expected-downtime":300,"status":"active","setup-time":2,"total-time":1234,"cpu-throttle-percentage":40,
             "ram":{"total":285417472,"postcopy-requests":0,"dirty-sync-count":3,"multifd-bytes":0,"page-size":4096,
                    "remaining":1048576,"mbps":268.5,"transferred":110000000,"duplicate":40000,"dirty-pages-rate":1300,
                    "skipped":0,"normal-bytes":100,"normal":1}}
            """)
        #expect(sample.status == .active)
        #expect(sample.totalMilliseconds == 1234)
        #expect(sample.expectedDowntimeMilliseconds == 300)
        #expect(sample.totalBytes == 285_417_472)
        #expect(sample.remainingBytes == 1_048_576)
        #expect(sample.transferredBytes == 110_000_000)
        #expect(sample.dirtyPagesPerSecond == 1300)
        #expect(sample.pageBytes == 4096)
        #expect(sample.megabitsPerSecond == 268.5)
        #expect(sample.iteration == 3)
        #expect(sample.throttlePercentage == 40)
    }

    @Test func whereADestinationListens() throws {
        let sample = try sample(
            """
            {"socket-address":[{"port":"49152","ipv4":true,"host":"127.0.0.1","type":"inet"},{"path":"/m","type":"unix"},
             {"str":"7","type":"fd"},5]}
            """)
        #expect(sample.listeningURIs == ["tcp:127.0.0.1:49152", "unix:/m"])
        #expect(sample.status == nil)
    }

    @Test func blockersAndErrorsAreQEMUsWords() throws {
        let sample = try sample(#"{"status":"failed","error-desc":"Broken pipe","blocked-reasons":["VFIO","9p"]}"#)
        #expect(sample.errorDescription == "Broken pipe")
        #expect(sample.blockedReasons == ["VFIO", "9p"])
    }

    /// Absurd numbers are absurd values, never a trap.
    @Test(arguments: [
        #"{"total-time":9223372036854775807,"ram":{"mbps":1e308,"total":-1,"dirty-pages-rate":1e30}}"#,
        #"{"total-time":"x","downtime":1.5,"ram":5,"status":[]}"#, #"{"ram":{"total":18446744073709551615}}"#,
        #"{"expected-downtime":9223372036854775807,"socket-address":{},"blocked-reasons":4}"#,
    ]) func absurdNumbers(text: String) throws {
        let sample = try sample(text)
        #expect(sample.expectedDowntimeMilliseconds == nil, "the largest integer is no number")
        #expect(sample.status == nil)
    }

    @Test func whichErrorsAreQEMUsAnswer() {
        let refused = QMPError.refused("cont", errorClass: "GenericError", desc: "not now")
        #expect(Reply(refused) == .refused(errorClass: "GenericError", description: "not now"))
        #expect(Reply(QMPError(.invalidReply, "odd")) == .unreadable("odd"))
        for code in [QMPError.Code.timeout, .closed, .busy, .limit, .protocol] {
            #expect(Reply(QMPError(code, "x")) == nil)
        }
    }

    @Test func absurdVersions() {
        #expect(QEMUVersion(QMPGreeting(major: 7, minor: 2, micro: 22)) == QEMUVersion(7, 2, 22))
        #expect(QEMUVersion(QMPGreeting(major: .max, minor: .min, micro: 0)).major == Int.max)
    }
}
