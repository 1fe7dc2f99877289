import JSONC
import Testing

@testable import Trace

/// Lines in blocks: the same ones as the reader of single lines has, wherever blocks part.
@Suite struct TraceScanTests {
    /// What can be told apart of a line.
    struct Seen: Equatable {
        var line: Int
        var offset: Int
        var text: [UInt8]
        var failure: String?
    }

    static func scan(
        _ text: String, blockBytes: Int, maximumLineBytes: Int, threads: Int
    ) throws -> (seen: [Seen], warnings: [TraceWarning]) {
        let scan = try TraceScan(
            bytes: Array(text.utf8), name: "x", maximumLineBytes: maximumLineBytes, blockBytes: blockBytes)
        var seen: [Seen] = []
        try scan.forEachBlock(threads: threads) { block, first in
            for line in block.lines {
                var failure: String?
                if line.shape < 0, case .failure(let error) = block.others[Int(~line.shape)] { failure = error.message }
                seen.append(
                    Seen(
                        line: first + Int(line.line), offset: block.offset + Int(line.start),
                        text: failure == nil ? Array(block.bytes(of: line)) : [], failure: failure))
            }
            return true
        }
        return (seen, scan.warnings)
    }

    static let lines: [String] = {
        var lines = [#"{"qmptrace":1,"title":"x"}"#]
        for number in 0..<200 {
            switch number % 11 {
            case 3: lines.append("# comment \(number)")
            case 5: lines.append("")
            case 6: lines.append("  \t")
            case 7:
                lines.append(
                    #"{"t":\#(number).000001,"side":"source","mark":"\#(String(repeating: "long ", count: number))"}"#)
            case 8: lines.append("rubbish")
            default:
                lines.append(
                    #"{"t":\#(number).25,"side":"destination","recv":{"return": {"n": \#(number * number)}, "id": "a\#(number)"}}"#
                )
            }
        }
        return lines
    }()

    @Test(arguments: [64, 65, 100, 1000, 100_000], [1, 3])
    func blocksPartAnywhere(blockBytes: Int, threads: Int) throws {
        for limit in [120, 700, 1 << 20] {
            for tail in ["", "\n", "\n{\"t\":9,\"ma", "\n \n  "] {
                let text = Self.lines.joined(separator: "\n") + tail
                var expected: [Seen] = []
                var offset = Self.lines[0].utf8.count + 1
                let last = tail.isEmpty ? Self.lines.count - 1 : Self.lines.count
                for (index, line) in Self.lines.enumerated().dropFirst() where index < last || line.utf8.count > limit {
                    let isRubbish = line == "rubbish"
                    if line.utf8.count > limit {
                        expected.append(
                            Seen(line: index + 1, offset: offset, text: [], failure: "the line exceeds the limit"))
                    } else if !line.hasPrefix("#"), line.contains(where: { $0 != " " && $0 != "\t" }) {
                        expected.append(
                            Seen(
                                line: index + 1, offset: offset, text: isRubbish ? [] : Array(line.utf8),
                                failure: isRubbish ? "unexpected 'r' where a value is expected" : nil))
                    }
                    offset += line.utf8.count + 1
                }
                let (seen, warnings) = try Self.scan(
                    text, blockBytes: blockBytes, maximumLineBytes: limit, threads: threads)
                #expect(seen == expected, "limit \(limit), tail \(tail.debugDescription)")
                var reader = try TraceReader(
                    bytes: Array(text.utf8), name: "x", lenient: true, maximumLineBytes: limit)
                while try reader.next() != nil {}
                #expect(warnings == reader.warnings.filter { $0.kind == .torn })
            }
        }
    }

    /// Blocks come back in any order and some have grown: the rest of a line can fill the next one to its last byte.
    @Test(arguments: 56...72)
    func aBlockThatIsFullAtOnceIsNotTheEnd(carried: Int) throws {
        let text = "short\n" + String(repeating: "x", count: carried + 100) + "\nlast\n"
        let source = BlockSource(ByteSource(bytes: Array(text.utf8)), file: "x", maximumLineBytes: 1000)
        let grown = TraceBlock(capacity: 6 + carried)
        let small = TraceBlock(capacity: 64)
        var bytes: [UInt8] = []
        #expect(source.fill(grown))
        bytes += grown.storage[grown.used]
        #expect(bytes == Array("short\n".utf8))
        while source.fill(small) {
            #expect(small.offset == bytes.count)
            bytes += small.storage[small.used]
            #expect(small.tornBytes == 0)
        }
        #expect(bytes == Array(text.utf8))
    }

    /// A reply with numbers and an id of any length, and what has to be read of it.
    struct Varied {
        var text: String
        var microseconds: Int64
        var identifier: String
        var whole: Int64
        var fraction: Double

        init(random: inout TraceMutationTests.Generator, steady: Bool) {
            func digits(_ count: Int) -> String {
                String(Int64.random(in: 1...9, using: &random))
                    + (1..<max(count, 1)).map { _ in String(Int.random(in: 0...9, using: &random)) }.joined()
            }
            func length(_ usual: Int, _ most: Int) -> Int { steady ? usual : Int.random(in: 1...most, using: &random) }
            let seconds = digits(length(4, 11))
            let decimals = digits(length(6, 6))
            microseconds = Int64(seconds + decimals.padding(6)) ?? -1
            whole = Int64(digits(length(5, 18))) ?? -1
            let part = "\(digits(length(3, 15))).\(digits(length(14, 18)))"
            fraction = Double(part) ?? .nan
            let letters = Array("abc-0123456789")
            identifier =
                steady
                ? "src-" + digits(3)
                : String(
                    (0..<Int.random(in: 0...64, using: &random)).map { _ in letters.randomElement(using: &random) ?? "x"
                    })
            text = """
                {"t":\(seconds).\(decimals),"side":"source","recv":{"return": {"n": \(digits(length(2, 18))), \
                "a": \(whole), "list": [0, \(digits(length(1, 9)))], "b": \(part)}, "id": "\(identifier)"}}
                """
        }
    }

    /// Lines that look as the ones before and lines in which everything has another length: what is read is the same.
    @Test(arguments: [64, 3000, 1 << 20])
    func whatVariesIsReadAtAnyLength(blockBytes: Int) throws {
        var random = TraceMutationTests.Generator(state: 11)
        let lines = (0..<3000).map { number in
            // At first nothing but digits changes, then everything now and then, then always.
            Varied(random: &random, steady: number < 300 || number < 1500 && number % 50 != 0)
        }
        let text = (["{\"qmptrace\":1}"] + lines.map(\.text)).joined(separator: "\n") + "\n"
        let scan = try TraceScan(bytes: Array(text.utf8), name: "x", blockBytes: blockBytes)
        var place = 0
        var shaped = 0
        try scan.forEachBlock(wanted: [["recv", "return", "a"], ["recv", "return", "b"]]) { block, _ in
            for line in block.lines {
                let expected = lines[place]
                place += 1
                guard line.shape >= 0 else { continue }
                shaped += 1
                let hint = "line \(place): \(expected.text)"
                #expect(line.microseconds == expected.microseconds, "\(hint)")
                #expect(block.number(0, of: line) == expected.whole, "\(hint)")
                #expect(block.number(1, of: line) == Int64(bitPattern: expected.fraction.bitPattern), "\(hint)")
                let identifier =
                    block.longIdentifier(of: line)
                    ?? line.identifier.value.flatMap { if case .string(let text) = $0 { text } else { nil } }
                #expect(identifier == expected.identifier, "\(hint)")
            }
            return true
        }
        #expect(place == lines.count)
        // Only the first one has nothing before it.
        #expect(shaped == lines.count - 1)
    }

    @Test func shapesAreForgottenWhenThereAreTooMany() throws {
        var text = "{\"qmptrace\":1}\n"
        for number in 0..<150_000 {
            text += "{\"t\":1.5,\"side\":\"source\",\"mark\":\"unlike \(number &* 2_654_435_761)\"}\n"
        }
        for number in 0..<1000 { text += "{\"t\":\(number),\"side\":\"source\",\"mark\":\"all alike\"}\n" }
        let scan = try TraceScan(bytes: Array(text.utf8), name: "x")
        var shaped = 0
        var lines = 0
        try scan.forEachBlock { block, _ in
            lines += block.lines.count
            for line in block.lines where line.shape >= 0 {
                shaped += 1
                if case .mark(let mark) = block.shapes[Int(line.shape)].record.member { #expect(mark == "all alike") }
            }
            return true
        }
        #expect(lines == 151_000)
        #expect(shaped == 999)
    }

    @Test func stopsWhenNoMoreIsWanted() throws {
        let text = Self.lines.joined(separator: "\n")
        let scan = try TraceScan(bytes: Array(text.utf8), name: "x", blockBytes: 64)
        var blocks = 0
        try scan.forEachBlock(threads: 3) { _, _ in
            blocks += 1
            return blocks < 5
        }
        #expect(blocks == 5)
    }
}

extension String {
    /// Decimals as six digits.
    fileprivate func padding(_ count: Int) -> String { self + String(repeating: "0", count: count - utf8.count) }
}
