import QMP
import Testing

/// What came out of a framer, as text.
private enum Piece: Hashable, CustomStringConvertible {
    case message(String)
    case garbage(String)
    case tooLarge

    var description: String {
        switch self {
        case .message(let text): "message \(text.debugDescription)"
        case .garbage(let text): "garbage \(text.debugDescription)"
        case .tooLarge: "tooLarge"
        }
    }
}

extension QMPFramer {
    fileprivate mutating func feed(_ bytes: [UInt8]) -> [Piece] {
        var pieces: [Piece] = []
        bytes.withUnsafeBytes { input in
            var offset = 0
            while let frame = self.next(in: input, from: &offset) {
                switch frame {
                case .message(let range): pieces.append(.message(String(decoding: input[range], as: UTF8.self)))
                case .carriedMessage: pieces.append(.message(String(decoding: self.takeCarried(), as: UTF8.self)))
                case .garbage(let range): pieces.append(.garbage(String(decoding: input[range], as: UTF8.self)))
                case .carriedGarbage: pieces.append(.garbage(String(decoding: self.takeCarried(), as: UTF8.self)))
                case .tooLarge: pieces.append(.tooLarge)
                }
            }
        }
        return pieces
    }

    fileprivate mutating func feed(_ text: String) -> [Piece] { self.feed(Array(text.utf8)) }
}

@Suite struct QMPFramerTests {
    private static let pretty = "{\r\n    \"return\": {\r\n        \"a\": [\r\n            1\r\n        ]\r\n    }\r\n}"

    @Test(arguments: [
        ("{\"a\": 1}\r\n", ["{\"a\": 1}"]),
        ("{\"a\": 1}\n{\"b\": 2}\n", ["{\"a\": 1}", "{\"b\": 2}"]),
        ("{\"a\": 1}{\"b\": 2}", ["{\"a\": 1}", "{\"b\": 2}"]),
        ("\r\n \t{}\r\n", ["{}"]),
        (pretty + "\r\n{}\r\n", [pretty, "{}"]),
        ("{\"a\": \"}{][\\\"}\"}\r\n", ["{\"a\": \"}{][\\\"}\"}"]),
        ("{\"a\\\\\": {\"b\": \"\\\\\"}}\r\n", ["{\"a\\\\\": {\"b\": \"\\\\\"}}"]),
        ("{\"a\": \"\\u00e9\"}\r\n", ["{\"a\": \"\\u00e9\"}"]),
        ("{\"é\": \"日本\"}\r\n", ["{\"é\": \"日本\"}"]),
    ])
    func messages(_ input: String, _ expected: [String]) {
        var framer = QMPFramer()
        #expect(framer.feed(input) == expected.map { .message($0) })
        #expect(framer.carriedCount == 0)
    }

    @Test func sameResultHoweverItIsSplit() {
        let input = Array("{\"a\": \"x\\\"}\"}\r\n\(Self.pretty)\r\n{}{\"b\": [[\"é\"]]}\r\n".utf8)
        var whole = QMPFramer()
        let expected = whole.feed(input)
        #expect(expected.count == 4)
        for size in 1...input.count {
            var framer = QMPFramer()
            var pieces: [Piece] = []
            var start = 0
            while start < input.count {
                let end = min(start + size, input.count)
                pieces += framer.feed(Array(input[start..<end]))
                start = end
            }
            #expect(pieces == expected, "in pieces of \(size)")
        }
    }

    @Test func garbageOutsideEndsAtTheLine() {
        var framer = QMPFramer()
        #expect(
            framer.feed("SSH-2.0 {x}\r\n{}\r\n]}\n{}")
                == [.garbage("SSH-2.0 {x}"), .message("{}"), .garbage("]}"), .message("{}")])
    }

    @Test func garbageIsNotHeldBack() {
        var framer = QMPFramer()
        #expect(framer.feed("RFB 003") == [.garbage("RFB 003")])
        #expect(framer.feed(".008\n{}") == [.garbage(".008"), .message("{}")])
    }

    @Test func tornStringIsGiventUpAtTheLineEnd() {
        var framer = QMPFramer()
        #expect(framer.feed("{\"event\": \"MIGR\n{}\n") == [.garbage("{\"event\": \"MIGR"), .message("{}")])
        #expect(framer.feed("{\"event\": \"M") == [])
        #expect(framer.feed("IG\\\n{}\n") == [.garbage("{\"event\": \"MIG\\"), .message("{}")])
    }

    @Test(arguments: [UInt8(0xFF), 0xFE])
    func resynchronisation(_ byte: UInt8) {
        var framer = QMPFramer()
        #expect(framer.feed([byte] + Array("{}".utf8)) == [.message("{}")])
        #expect(
            framer.feed(Array("{\"a\": [1, ".utf8) + [byte] + Array("{}".utf8)) == [
                .garbage("{\"a\": [1, "), .message("{}"),
            ])
        #expect(framer.feed(Array("{\"a\": \"b".utf8)) == [])
        #expect(framer.feed([byte, byte] + Array("{}".utf8)) == [.garbage("{\"a\": \"b"), .message("{}")])
        #expect(framer.feed(Array("junk".utf8) + [byte] + Array("{}".utf8)) == [.garbage("junk"), .message("{}")])
    }

    @Test func limitHoldsWithinOneRead() {
        var framer = QMPFramer(maximumBytes: 10)
        #expect(framer.feed("{\"a\": 123}") == [.message("{\"a\": 123}")])
        #expect(framer.feed("{\"a\": 1234}") == [.tooLarge])
        #expect(framer.feed("{}") == [])
        #expect(framer.limitError.code == .limit)
        #expect(framer.limitError.message.contains("10 bytes"))
    }

    @Test func limitHoldsOverManyReads() {
        var framer = QMPFramer(maximumBytes: 1000)
        var pieces = framer.feed("{\"a\": \"")
        for _ in 0..<100 where pieces.isEmpty { pieces = framer.feed("0123456789ABCDEF") }
        #expect(pieces == [.tooLarge])
        #expect(framer.carriedCount == 0)
    }

    @Test func limitCountsMessagesNotTheStream() {
        var framer = QMPFramer(maximumBytes: 16)
        for _ in 0..<1000 { #expect(framer.feed("{\"abc\": 1}\r\n") == [.message("{\"abc\": 1}")]) }
    }

    @Test func remainder() {
        var framer = QMPFramer()
        #expect(framer.takeRemainder() == nil)
        _ = framer.feed("{\"a")
        #expect(framer.takeRemainder() == Array("{\"a".utf8))
        #expect(framer.takeRemainder() == nil)
        #expect(framer.feed("{}") == [.message("{}")])
    }

    /// Byte by byte a quadratic framer would look at 5 * 10^11 bytes here.
    @Test func aMegabyteInSmallReads() {
        let message =
            Array("{\"return\": \"".utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20) + Array("\"}".utf8)
        for size in [1, 7, 4096] {
            var framer = QMPFramer()
            var found = 0
            message.withUnsafeBytes { bytes in
                var start = 0
                while start < bytes.count {
                    let end = min(start + size, bytes.count)
                    let read = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                    var offset = 0
                    while let frame = framer.next(in: read, from: &offset) {
                        #expect(frame == .carriedMessage)
                        #expect(framer.takeCarried() == message)
                        found += 1
                    }
                    start = end
                }
            }
            #expect(found == 1)
        }
    }

    @Test func carriedThatNobodyFetchesIsDropped() {
        var framer = QMPFramer()
        #expect(framer.feed("{\"a\":") == [])
        let rest = Array("1}{}".utf8)
        rest.withUnsafeBytes { bytes in
            var offset = 0
            #expect(framer.next(in: bytes, from: &offset) == .carriedMessage)
            #expect(framer.next(in: bytes, from: &offset) == .message(2..<4))
            #expect(framer.next(in: bytes, from: &offset) == nil)
        }
    }

    /// Whatever comes, in whatever pieces: no trap, and every byte is either handed out or between two messages.
    @Test(arguments: 0..<20)
    func noise(_ seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let alphabet = Array("{}[]\"\\\r\n ,:1a".utf8) + [0xFF, 0x00, 0x80]
        var framer = QMPFramer(maximumBytes: 200)
        for _ in 0..<200 {
            let bytes = (0..<random(40)).map { _ in alphabet[random(alphabet.count)] }
            for piece in framer.feed(bytes) {
                if case .message(let text) = piece { #expect(text.hasPrefix("{")) }
            }
            #expect(framer.carriedCount <= 200)
        }
    }
}
