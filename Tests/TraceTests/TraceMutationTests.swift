import JSONC
import Testing
import Trace

/// Seeded mutations of a small trace: records or an error, never a trap, and what is read can be written and read again.
@Suite struct TraceMutationTests {
    /// SplitMix64: the same on every run.
    struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    static let fragments: [[UInt8]] =
        [
            "\n", "\r\n", "{", "}", "\"", "\\", ":", ",", "#", "\"t\":", "\"t\":1e300", "-1", "1e400",
            "9223372036854775807",
            "18446744073709551615", "\"side\":", "\"raw\":\"====\"", "\"seq\":", "\"conn\":", "null", "\\u0000",
        ].map { Array($0.utf8) } + [[0], [0xFF], [0x1F, 0x8B], [0xC0, 0x80]]

    @Test(arguments: [false, true], 0..<4)
    func neverTraps(lenient: Bool, seed: Int) throws {
        var generator = Generator(state: UInt64(seed))
        let original = Array(TraceReaderTests.small.utf8)
        var (records, errors) = (0, 0)
        for round in 0..<500 {
            var text = original
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !text.isEmpty {
                let place = Int.random(in: 0..<text.count, using: &generator)
                switch Int.random(in: 0..<6, using: &generator) {
                case 0: text.remove(at: place)
                case 1: text[place] = UInt8.random(in: 0...255, using: &generator)
                case 2 where round % 8 == 0: text.removeLast(text.count - place)
                case 3:
                    let other = Int.random(in: 0..<text.count, using: &generator)
                    let range = min(place, other)..<max(place, other)
                    text.insert(contentsOf: text[range].prefix(40), at: place)
                default:
                    text.insert(contentsOf: Self.fragments.randomElement(using: &generator) ?? [], at: place)
                }
            }
            var reader: TraceReader
            do throws(TraceError) {
                reader = try TraceReader(bytes: text, name: "x", lenient: lenient, maximumLineBytes: 1000)
            } catch {
                errors += 1
                continue
            }
            var writer = TraceWriter(header: reader.header)
            var read: [TraceRecord] = []
            // An error is about one line: the reader goes on behind it, so the lines bound the rounds.
            for _ in 0...text.count {
                do throws(TraceError) {
                    guard let record = try reader.next() else { break }
                    read.append(record)
                    _ = reader.verbatimValue
                    writer.append(record)
                } catch {
                    #expect(!lenient)
                    #expect(error.line > 0)
                    errors += 1
                }
            }
            records += read.count
            #expect(try reader.next() == nil)
            var again = try TraceReader(bytes: writer.pending, name: "again")
            for record in read {
                let copy = try again.next()
                #expect(copy?.member == record.member)
                #expect(copy?.microseconds == record.microseconds)
                #expect(copy?.other == record.other)
            }
            #expect(try again.next() == nil)
        }
        #expect(records > 1000)
        #expect(errors > 10)
    }
}
