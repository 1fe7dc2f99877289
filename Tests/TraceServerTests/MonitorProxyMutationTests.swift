import JSONC
import Testing

@testable import TraceServer

/// Conversations that nobody would have: cut anywhere, damaged, with clients that come and go.
@Suite struct MonitorProxyMutationTests {
    private static let clientLines = [
        #"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 1}"#,
        #"{"execute":"qmp_capabilities"}"#,
        #"{"execute": "query-status", "id": "a"}"#, #"{"exec-oob": "yank", "id": {"x": [1, "}"]}}"#,
        #"{"execute": "qom-get", "arguments": {"path": "/", "property": "data"}}"#, "garbage", "\u{7f}", #"{"id": 1}"#,
    ]
    private static let qemuLines = [
        #"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#, #"{"return": {}, "id": 1}"#, #"{"return": {}}"#,
        #"{"return": {}, "id": "godwit-record-1"}"#,
        #"{"error": {"class": "X", "desc": "y"}, "id": "godwit-record-2"}"#,
        #"{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}"#, "noise", #"{"error": {}}"#,
    ]

    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }

    private static func bytes(_ lines: [String], _ random: inout Random) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            bytes += Array((lines.randomElement(using: &random) ?? "").utf8) + [0x0D, 0x0A]
        }
        switch Int.random(in: 0..<8, using: &random) {
        case 0: bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
        case 1: bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
        case 2: bytes.insert(0xFF, at: Int.random(in: 0...bytes.count, using: &random))
        default: break
        }
        return bytes
    }

    /// Whatever comes: nothing traps, only messages are recorded as messages, nobody is spoken to who is not there, and a client of several
    /// can put nothing but whole commands on QEMU's wire.
    @Test(arguments: 1...200) func anything(_ seed: Int) throws {
        var random = Random(state: UInt64(seed) &* 0x9E37_79B9_7F4A_7C15)
        let maximum = Int.random(in: 1...3, using: &random)
        var proxy = MonitorProxy(maximumClients: maximum, maximumBytes: 4096)
        var present: Set<Int> = []
        var last = 0
        var wire: [UInt8] = []
        for _ in 0..<60 {
            var actions: [ProxyAction]
            switch Int.random(in: 0..<10, using: &random) {
            case 0 where present.count < maximum:
                last += 1
                present.insert(last)
                actions = proxy.clientCame(last)
            case 1:
                guard let leaving = present.sorted().randomElement(using: &random) else { continue }
                actions = proxy.clientLeft(leaving)
                present.remove(leaving)
            case 2...5:
                let bytes = Self.bytes(Self.qemuLines, &random)
                actions = bytes.withUnsafeBytes { proxy.fromQEMU($0) }
            default:
                guard let speaking = present.sorted().randomElement(using: &random) else { continue }
                let bytes = Self.bytes(Self.clientLines, &random)
                actions = bytes.withUnsafeBytes { proxy.fromClient(speaking, $0, descriptors: [7]) }
            }
            for action in actions {
                switch action {
                case .toQEMU(let bytes, _): wire += bytes
                case .toClient(let number, _, _), .closeClient(let number): #expect(present.contains(number))
                case .record(.received(let bytes, _)), .record(.sent(let bytes, _)):
                    #expect(try JSONValue(parsing: bytes).object != nil)
                case .record, .discard: break
                }
            }
        }
        guard maximum > 1 else { return }
        for line in String(decoding: wire, as: UTF8.self).split(whereSeparator: \.isNewline) {
            #expect(try JSONValue(parsing: String(line)).object != nil, "\(line)")
        }
    }

    /// A single client's bytes come out as they went in, but for the beginning of a command that has no end.
    @Test(arguments: 1...200) func nothingIsChangedOnTheWay(_ seed: Int) {
        var random = Random(state: UInt64(seed) &* 0x2545_F491_4F6C_DD1D)
        var proxy = MonitorProxy(maximumBytes: 1 << 20)
        var (toQEMU, toClient): ([UInt8], [UInt8]) = ([], [])
        func note(_ actions: [ProxyAction]) {
            for action in actions {
                if case .toQEMU(let bytes, _) = action { toQEMU += bytes }
                if case .toClient(1, let bytes, _) = action { toClient += bytes }
            }
        }
        note(Array(Self.qemuLines[0].utf8).withUnsafeBytes { proxy.fromQEMU($0) })
        note(proxy.clientCame(1))
        note(Array(Self.clientLines[0].utf8).withUnsafeBytes { proxy.fromClient(1, $0) })
        note(Array(Self.qemuLines[1].utf8).withUnsafeBytes { proxy.fromQEMU($0) })
        (toQEMU, toClient) = ([], [])
        var (sent, said): ([UInt8], [UInt8]) = ([], [])
        for _ in 0..<60 {
            if Bool.random(using: &random) {
                let bytes = Self.bytes(Self.clientLines, &random)
                sent += bytes
                note(bytes.withUnsafeBytes { proxy.fromClient(1, $0) })
            } else {
                let bytes = Self.bytes(Self.qemuLines, &random)
                said += bytes
                note(bytes.withUnsafeBytes { proxy.fromQEMU($0) })
            }
            #expect(sent.starts(with: toQEMU))
            #expect(toClient == said)
        }
        // What still waits is one command that was not ended.
        #expect(sent.count - toQEMU.count < 1 << 12)
    }
}
