import JSONC
import Testing
import Trace

@testable import TraceServer

/// A proxy without sockets: what it says to whom, and what it writes down.
private struct Bench: ~Copyable {
    var proxy: MonitorProxy
    var toQEMU: [UInt8] = []
    var toClient: [Int: [UInt8]] = [:]
    var closed: [Int] = []
    var records: [ProxyRecord] = []
    var descriptorsToQEMU: [[CInt]] = []
    var discarded: [CInt] = []

    static let greeting =
        #"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#

    init(clients: Int = 1, maximumBytes: Int = 1 << 20, start: TraceSide? = nil) {
        proxy = MonitorProxy(
            maximumClients: clients, maximumBytes: maximumBytes, role: InferredRole(start: start))
    }

    mutating func note(_ actions: [ProxyAction]) {
        for action in actions {
            switch action {
            case .toQEMU(let bytes, let descriptors):
                toQEMU += bytes
                if !descriptors.isEmpty { descriptorsToQEMU.append(descriptors) }
            case .toClient(let number, let bytes, _): toClient[number, default: []] += bytes
            case .closeClient(let number): closed.append(number)
            case .discard(let descriptors): discarded += descriptors
            case .record(let record): records.append(record)
            }
        }
    }

    mutating func qemu(_ text: String, end: String = "\r\n") {
        let bytes = Array((text + end).utf8)
        let actions = bytes.withUnsafeBytes { proxy.fromQEMU($0) }
        note(actions)
    }

    mutating func client(_ number: Int, _ text: String, end: String = "\r\n", descriptors: [CInt] = []) {
        let bytes = Array((text + end).utf8)
        let actions = bytes.withUnsafeBytes { proxy.fromClient(number, $0, descriptors: descriptors) }
        note(actions)
    }

    /// A command of client 1 and its success.
    mutating func does(_ name: String) {
        client(1, #"{"execute": "\#(name)"}"#)
        qemu(#"{"return": {}}"#)
    }

    mutating func come(_ number: Int) { note(proxy.clientCame(number)) }
    mutating func leave(_ number: Int) { note(proxy.clientLeft(number)) }

    /// Greeted and negotiated by client 1.
    mutating func open(_ enable: String = #"["oob"]"#) {
        qemu(Self.greeting)
        come(1)
        client(1, #"{"execute": "qmp_capabilities", "arguments": {"enable": \#(enable)}, "id": "n"}"#)
        qemu(#"{"return": {}, "id": "n"}"#)
        forget()
    }

    mutating func forget() {
        toQEMU = []
        toClient = [:]
        records = []
    }

    /// What a client was told since the last look.
    mutating func heard(_ number: Int) -> String {
        defer { toClient[number] = nil }
        return String(decoding: toClient[number] ?? [], as: UTF8.self)
    }

    mutating func asked() -> String {
        defer { toQEMU = [] }
        return String(decoding: toQEMU, as: UTF8.self)
    }

    var sent: [String] {
        records.compactMap { if case .sent(let bytes, _) = $0 { String(decoding: bytes, as: UTF8.self) } else { nil } }
    }
}

@Suite struct MonitorProxyTests {
    /// A QEMU that was started as a destination becomes a source once its guest ran and leaves again; one whose start is not known
    /// is what it is told to be.
    @Test(
        arguments: [
            (nil, ["query-status", "migrate"], .source), (nil, ["migrate-incoming"], .destination),
            (nil, ["cont", "migrate-incoming"], .source), (.source, ["migrate-incoming"], .source),
            (.destination, ["migrate-incoming", "migrate"], .destination),
            (.destination, ["migrate-incoming", "cont"], .destination),
            (.destination, ["migrate-incoming", "cont", "migrate"], .source),
        ] as [(TraceSide?, [String], TraceSide)])
    func theRoleFollowsFromTheStartAndTheCommands(_ start: TraceSide?, _ commands: [String], _ side: TraceSide) {
        var talk = Bench(start: start)
        talk.open()
        #expect(talk.proxy.role.side == start ?? .source)
        for command in commands { talk.does(command) }
        #expect(talk.proxy.role.side == side)
    }

    /// What was refused changes nothing.
    @Test func aRefusedContIsNone() {
        var talk = Bench(start: .destination)
        talk.open()
        talk.client(1, #"{"execute": "cont"}"#)
        talk.qemu(#"{"error": {"class": "GenericError", "desc": "no"}}"#)
        talk.does("migrate")
        #expect(talk.proxy.role.side == .destination)
    }

    @Test func aSingleClientsBytesPassAsTheyAre() {
        var bench = Bench()
        bench.qemu(Bench.greeting)
        #expect(bench.toClient.isEmpty)
        bench.come(1)
        #expect(bench.heard(1) == Bench.greeting + "\r\n")
        let hello = #"{"execute" :"qmp_capabilities", "id":[1, {"a":null}]}"#
        bench.client(1, hello, end: " \n")
        #expect(bench.asked() == hello + " \n")
        bench.qemu(#"{"return": {}, "id": [1, {"a": null}]}"#)
        #expect(bench.heard(1) == "{\"return\": {}, \"id\": [1, {\"a\": null}]}\r\n")
        // Oddly spelt, several at once, what is no JSON, and QEMU's own mark to begin anew.
        let odd = "\u{1}garbage\n{\"execute\":  \"stop\"}{\"id\":1.50,\"execute\":\"cont\"} \t\r\n"
        bench.client(1, odd, end: "")
        #expect(bench.asked() == odd)
        bench.qemu("\n{\"event\":\n \"STOP\"}  {\"return\": {}}", end: "")
        #expect(bench.heard(1) == "\n{\"event\":\n \"STOP\"}  {\"return\": {}}")
        #expect(bench.sent == [hello, "{\"execute\":  \"stop\"}", "{\"id\":1.50,\"execute\":\"cont\"}"])
        #expect(bench.records.contains(.mark("client 1 sent 8 bytes that are no command")))
        #expect(bench.records.contains(.monitor("connected")))
        #expect(bench.records.contains(.received(Array("{\"event\":\n \"STOP\"}".utf8))))
    }

    /// However the bytes are cut, the same ones come out at the other end and the same messages are written down.
    @Test(arguments: [1, 2, 3, 7, 64])
    func cutsMakeNoDifference(_ size: Int) {
        let fromClient = Array("{\"execute\":\"a\",\"id\":1}\r\n{\"execute\":\"b\\\"}\"}x\n\n{\"execute\":\"c\"}".utf8)
        let fromQEMU = Array(
            "{\"return\": {\"x\": \"}\"}, \"id\": 1}\r\n{\"event\": \"E\"}\r\nnoise\r\n{\"return\": []}".utf8)
        var bench = Bench()
        bench.open()
        for start in stride(from: 0, to: fromClient.count, by: size) {
            let part = Array(fromClient[start..<min(start + size, fromClient.count)])
            bench.note(part.withUnsafeBytes { bench.proxy.fromClient(1, $0) })
        }
        for start in stride(from: 0, to: fromQEMU.count, by: size) {
            let part = Array(fromQEMU[start..<min(start + size, fromQEMU.count)])
            bench.note(part.withUnsafeBytes { bench.proxy.fromQEMU($0) })
        }
        #expect(bench.toQEMU == fromClient)
        #expect(bench.toClient[1] == fromQEMU)
        #expect(bench.sent == ["{\"execute\":\"a\",\"id\":1}", "{\"execute\":\"b\\\"}\"}", "{\"execute\":\"c\"}"])
        let heard = bench.records.compactMap { record -> String? in
            if case .received(let bytes, _) = record { String(decoding: bytes, as: UTF8.self) } else { nil }
        }
        #expect(heard == ["{\"return\": {\"x\": \"}\"}, \"id\": 1}", "{\"event\": \"E\"}", "{\"return\": []}"])
    }

    @Test func theEndOfACommandIsWaitedForAndNeverComes() {
        var bench = Bench()
        bench.open()
        bench.client(1, #"{"execute": "query-status"}{"execute": "qu"#, end: "")
        #expect(bench.asked() == #"{"execute": "query-status"}"#)
        bench.leave(1)
        bench.come(2)
        bench.client(2, #"{"execute": "qmp_capabilities"}"#)
        bench.client(2, #"{"execute": "stop"}"#)
        #expect(bench.asked().contains("qu") == false || bench.sent.last?.contains("stop") == true)
        #expect(bench.records.contains(.mark("client 1 left in the midst of a command (15 bytes)")))
    }

    @Test func whoComesLaterTakesPartInTheSession() {
        var bench = Bench()
        bench.open()
        bench.leave(1)
        bench.qemu(#"{"event": "STOP"}"#)
        bench.come(2)
        #expect(bench.heard(2) == Bench.greeting + "\r\n")
        bench.client(2, #"{"execute": "query-status", "id": 1}"#)
        #expect(
            bench.heard(2)
                == #"{"error":{"class":"CommandNotFound","desc":"Expecting capabilities negotiation with 'qmp_capabilities'"},"id":1}"#
                + "\r\n")
        bench.qemu(#"{"event": "RESUME"}"#)
        #expect(bench.heard(2) == "")
        bench.client(2, #"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 2}"#)
        #expect(bench.heard(2) == #"{"return":{},"id":2}"# + "\r\n")
        #expect(bench.asked().trimmed == "")
        // From here on as if it had been the first.
        bench.client(2, #"{"exec-oob": "migrate-pause", "id": 3}"#)
        #expect(bench.asked() == #"{"exec-oob": "migrate-pause", "id": 3}"# + "\r\n")
        bench.qemu(#"{"return": {}, "id": 3}"#, end: "\n")
        #expect(bench.heard(2) == #"{"return": {}, "id": 3}"# + "\n")
    }

    @Test func aSessionWithoutOutOfBandOffersNone() {
        var bench = Bench()
        bench.open("[]")
        bench.leave(1)
        bench.come(2)
        #expect(bench.heard(2).contains(#""capabilities":[]"#))
        bench.client(2, #"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}"#)
        #expect(bench.heard(2).contains("Capability oob not available"))
        bench.client(2, #"{"execute": "qmp_capabilities"}"#)
        #expect(bench.heard(2) == #"{"return":{}}"# + "\r\n")
        bench.client(2, #"{"exec-oob": "x", "id": 9}"#)
        #expect(bench.heard(2).contains("'exec-oob' is unexpected"))
        #expect(bench.asked().trimmed == "")
    }

    /// The ids of two clients are the same, and one of them never hears its answer.
    @Test func answersToWhoLeftAreForNobody() {
        var bench = Bench()
        bench.open()
        bench.client(1, #"{"execute": "first", "id": 1}"#)
        bench.leave(1)
        _ = bench.asked()
        bench.come(2)
        bench.client(2, #"{"execute": "qmp_capabilities"}"#)
        _ = bench.heard(2)
        bench.client(2, #"{"execute": "second", "id": 1}"#)
        #expect(bench.asked().trimmed == #"{"execute": "second", "id": "godwit-record-1"}"#)
        bench.qemu(#"{"return": "first", "id": 1}"#)
        #expect(bench.heard(2) == "")
        bench.qemu(#"{"event": "STOP"}"#)
        bench.qemu(#"{"return": "second", "id": "godwit-record-1"}"#)
        #expect(bench.heard(2) == "{\"event\": \"STOP\"}\r\n{\"return\": \"second\", \"id\": 1}\r\n")
        // With all debts paid bytes pass as they are again.
        bench.client(2, #"{"execute":"third"}"#, end: "")
        #expect(bench.asked() == #"{"execute":"third"}"#)
    }

    @Test func halfAMessageIsForWhoGotItsBeginning() {
        var bench = Bench()
        bench.open()
        bench.qemu(#"{"event": "ST"#, end: "")
        #expect(bench.heard(1) == #"{"event": "ST"#)
        bench.leave(1)
        bench.come(2)
        bench.client(2, #"{"execute": "qmp_capabilities"}"#)
        _ = bench.heard(2)
        bench.qemu(#"OP"}"#)
        #expect(bench.heard(2) == "")
        #expect(bench.records.contains(.received(Array(#"{"event": "STOP"}"#.utf8))))
        bench.qemu(#"{"event": "RESUME"}"#)
        #expect(bench.heard(2) == #"{"event": "RESUME"}"# + "\r\n")
    }

    @Test func halfAMessageFromBeforeIsGivenWhole() {
        var bench = Bench()
        bench.open()
        bench.leave(1)
        bench.qemu(#"{"event": "ST"#, end: "")
        bench.come(2)
        bench.client(2, #"{"execute": "qmp_capabilities"}"#)
        _ = bench.heard(2)
        bench.qemu(#"OP"}"#)
        #expect(bench.heard(2) == #"{"event": "STOP"}"# + "\r\n")
    }

    @Test func twoClientsAtOnce() {
        var bench = Bench(clients: 2)
        bench.qemu(Bench.greeting)
        bench.come(1)
        bench.come(2)
        let hasRoom = bench.proxy.hasRoom
        #expect(!hasRoom)
        _ = (bench.heard(1), bench.heard(2))
        bench.client(1, #"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 1}"#)
        // Waits for the answer to the other's.
        bench.client(2, #"{"execute": "qmp_capabilities"}"#)
        #expect(bench.asked().trimmed.contains("godwit-record-1"))
        #expect(bench.heard(2) == "")
        bench.qemu(#"{"return": {}, "id": "godwit-record-1"}"#)
        #expect(bench.heard(1) == "{\"return\": {}, \"id\": 1}\r\n")
        #expect(bench.heard(2) == "{\"return\":{}}\r\n")
        bench.client(1, #"{"execute": "query-name", "id": 7}"#)
        bench.client(2, #"{"id": 7, "execute": "query-uuid"}"#)
        bench.client(2, #"{"execute": "no-id"}"#)
        #expect(
            bench.asked()
                == "{\"execute\": \"query-name\", \"id\": \"godwit-record-2\"}\r\n{\"id\": \"godwit-record-3\", \"execute\": \"query-uuid\"}\r\n{\"execute\": \"no-id\", \"id\": \"godwit-record-4\"}\r\n"
        )
        bench.qemu(#"{"event": "STOP"}"#)
        bench.qemu(#"{"return": "b", "id": "godwit-record-3"}"#)
        bench.qemu(#"{"return": "a", "id": "godwit-record-2"}"#)
        bench.qemu(#"{"return": "c", "id": "godwit-record-4"}"#)
        #expect(bench.heard(1) == "{\"event\": \"STOP\"}\r\n{\"return\": \"a\", \"id\": 7}\r\n")
        #expect(bench.heard(2) == "{\"event\": \"STOP\"}\r\n{\"return\": \"b\", \"id\": 7}\r\n{\"return\":\"c\"}\r\n")
        // What one of them spoils does not reach QEMU.
        bench.client(2, "nonsense\n{\"execute\": }", end: "")
        #expect(bench.asked() == "")
        #expect(bench.heard(2).contains("JSON parse error"))
        // Half a command of one, a whole one of the other.
        bench.client(1, #"{"execute": "#, end: "")
        bench.client(2, #"{"execute": "stop"}"#)
        #expect(bench.asked() == "{\"execute\": \"stop\", \"id\": \"godwit-record-5\"}\r\n")
        bench.leave(2)
        bench.qemu(#"{"return": {}, "id": "godwit-record-5"}"#)
        #expect(bench.heard(1) == "")
        bench.come(3)
        bench.client(3, #"{"execute": "qmp_capabilities"}"#)
        bench.qemu(#"{"event": "RESUME"}"#)
        #expect(bench.heard(3).hasSuffix("{\"return\":{}}\r\n{\"event\": \"RESUME\"}\r\n"))
    }

    @Test func aRefusedNegotiationLeavesTheSessionClosed() {
        var bench = Bench(clients: 2)
        bench.qemu(Bench.greeting)
        bench.come(1)
        bench.come(2)
        bench.client(1, #"{"execute": "qmp_capabilities", "arguments": {"enable": ["wrong"]}}"#)
        bench.client(2, #"{"execute": "qmp_capabilities"}"#)
        bench.qemu(#"{"error": {"class": "GenericError", "desc": "no"}, "id": "godwit-record-1"}"#)
        #expect(bench.heard(1).contains("\"no\""))
        #expect(bench.asked().contains("godwit-record-2"))
        bench.qemu(#"{"return": {}, "id": "godwit-record-2"}"#)
        #expect(bench.heard(2).hasSuffix("{\"return\":{}}\r\n"))
        #expect(bench.records.filter { $0 == .monitor("connected") }.count == 1)
    }

    @Test func descriptorsGoAlong() {
        var bench = Bench()
        bench.open()
        bench.client(1, #"{"execute": "getfd", "#, end: "", descriptors: [7])
        #expect(bench.descriptorsToQEMU.isEmpty)
        bench.client(1, #""arguments": {"fdname": "x"}}"#)
        #expect(bench.descriptorsToQEMU == [[7]])
        #expect(
            bench.records == [
                .descriptors(1), .sent(Array(#"{"execute": "getfd", "arguments": {"fdname": "x"}}"#.utf8), client: 1),
            ])
        bench.client(1, "{", end: "", descriptors: [8, 9])
        bench.leave(1)
        #expect(bench.discarded == [8, 9])
    }

    @Test func whatIsBeyondAllBounds() {
        var bench = Bench(maximumBytes: 100)
        bench.open("[]")
        bench.client(1, "{\"execute\": \"" + String(repeating: "x", count: 200))
        #expect(bench.closed == [1])
        #expect(bench.asked() == "")
        // QEMU's own bytes pass all the same, if to nobody's record.
        bench.qemu("{\"event\": \"" + String(repeating: "y", count: 200))
        bench.qemu("\"}")
        #expect(bench.heard(1).hasSuffix("yyy\r\n\"}\r\n"))
        let marks = bench.records.compactMap { if case .mark(let text) = $0 { text } else { nil } }
        #expect(marks.contains { $0.contains("nothing after it can be recorded") })
    }

    @Test func theEndOfQEMU() {
        var bench = Bench()
        bench.open()
        bench.qemu("{\"event\": \"SHUT", end: "")
        bench.note(bench.proxy.qemuLeft())
        #expect(bench.closed == [1])
        #expect(bench.records.suffix(2) == [.noise(Array("{\"event\": \"SHUT".utf8)), .monitor("lost")])
    }
}

extension String {
    fileprivate var trimmed: String {
        var text = self[...]
        while text.last?.isWhitespace == true { text.removeLast() }
        while text.first?.isWhitespace == true { text.removeFirst() }
        return String(text)
    }
}

extension MonitorProxy {
    /// What is passed on at once and what follows, in their order.
    mutating func fromQEMU(_ bytes: UnsafeRawBufferPointer) -> [ProxyAction] {
        var passed: [ProxyAction] = []
        let rest = fromQEMU(bytes) { passed.append(.toClient($0, $1, $2)) }
        return passed + rest
    }
}
