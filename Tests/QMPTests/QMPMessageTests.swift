import JSONC
import QMP
import Testing

/// Parses and classifies one message.
func message(_ text: String) throws -> QMPMessage {
    let document = try JSONDocument(parsing: text)
    return document.withRoot { QMPMessage($0) }
}

@Suite struct QMPMessageTests {
    @Test(arguments: [
        (#"{"return": {}, "id": 7}"#, QMPMessage.return(id: 7)),
        (#"{"return": {}}"#, .return(id: nil)),
        (#"{"return": null, "id": "libvirt-3"}"#, .return(id: "libvirt-3")),
        (#"{"return": [], "id": null}"#, .return(id: .null)),
        (
            #"{"id": 7, "error": {"class": "GenericError", "desc": "no"}}"#,
            .error(id: 7, errorClass: "GenericError", desc: "no")
        ),
        (
            #"{"error": {"class": "CommandNotFound", "desc": "what"}}"#,
            .error(id: nil, errorClass: "CommandNotFound", desc: "what")
        ),
        (#"{"error": {}, "id": 1}"#, .error(id: 1, errorClass: "GenericError", desc: "")),
        (#"{"error": 5, "id": 1}"#, .error(id: 1, errorClass: "GenericError", desc: "")),
        (
            #"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#,
            .event(name: "STOP")
        ),
        (#"{"event": 5}"#, .unknown),
        (#"{}"#, .unknown),
        (#"{"QMP": 5}"#, .unknown),
        (#"{"QMP": {}}"#, .greeting(QMPGreeting(major: 0, minor: 0, micro: 0))),
    ])
    func classification(_ text: String, _ expected: QMPMessage) throws {
        #expect(try message(text) == expected)
    }

    @Test func greeting() throws {
        let text = """
            {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2+dfsg-7"},
             "capabilities": ["oob", 5, "godwit-steps"]}}
            """
        let greeting = QMPGreeting(
            major: 7, minor: 2, micro: 22, package: "Debian 1:7.2+dfsg-7", capabilities: ["oob", "godwit-steps"])
        #expect(try message(text) == .greeting(greeting))
        #expect(greeting.offersOutOfBand)
    }

    @Test func requestsOnTheWire() {
        func text(_ request: QMPRequest, _ id: UInt64) -> String {
            String(decoding: request.encoded(id: id), as: UTF8.self)
        }
        #expect(text(QMPRequest(QueryStatus()), 1) == "{\"execute\":\"query-status\",\"id\":1}\r\n")
        #expect(
            text(QMPRequest(Yank([.migration]), outOfBand: true), 2)
                == "{\"exec-oob\":\"yank\",\"arguments\":{\"instances\":[{\"type\":\"migration\"}]},\"id\":2}\r\n")
        #expect(
            text(QMPRequest(name: "x\"y", arguments: Array("{\"a\":1}".utf8), kind: .query), 3)
                == "{\"execute\":\"x\\\"y\",\"arguments\":{\"a\":1},\"id\":3}\r\n")
        #expect(QMPRequest(polling: QueryMigrate()).kind == .poll)
    }

    @Test func everyKindHasItsLimit() {
        var timeouts = QMPTimeouts(all: .seconds(1))
        timeouts.slow = .milliseconds(1500)
        timeouts.outOfBand = .seconds(3)
        for kind in QMPCommandKind.allCases {
            let request = QMPRequest(name: "x", kind: kind)
            #expect(timeouts.limit(for: request) == (kind == .slow ? .milliseconds(1500) : .seconds(1)))
            let outOfBand = QMPRequest(name: "x", outOfBand: true, kind: kind)
            #expect(timeouts.limit(for: outOfBand) == .seconds(3))
        }
    }
}
