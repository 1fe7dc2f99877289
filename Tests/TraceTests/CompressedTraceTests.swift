import CZlib
import CZstd
import Testing

@testable import Trace

/// Traces as gzip and zstd made them.
@Suite struct CompressedTraceTests {
    enum Form: CaseIterable {
        case gzip
        case zstd

        func compress(_ bytes: [UInt8]) -> [UInt8] {
            switch self {
            case .gzip:
                var stream = z_stream()
                var output = [UInt8](repeating: 0, count: bytes.count + 1000)
                var input = bytes
                deflateInit2_(
                    &stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                    Int32(MemoryLayout<z_stream>.size))
                let left = input.withUnsafeMutableBufferPointer { from in
                    output.withUnsafeMutableBufferPointer { to in
                        stream.next_in = from.baseAddress
                        stream.avail_in = UInt32(from.count)
                        stream.next_out = to.baseAddress
                        stream.avail_out = UInt32(to.count)
                        deflate(&stream, Z_FINISH)
                        return Int(stream.avail_out)
                    }
                }
                deflateEnd(&stream)
                return Array(output.dropLast(left))
            case .zstd:
                var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
                let count = ZSTD_compress(&output, output.count, bytes, bytes.count, 3)
                return Array(output.prefix(count))
            }
        }
    }

    static let text: [UInt8] = {
        var text = "{\"qmptrace\":1}\n"
        for number in 1...3000 { text += "{\"t\":\(number).5,\"side\":\"source\",\"mark\":\"m\(number % 7)\"}\n" }
        return Array(text.utf8)
    }()

    static func read(_ bytes: [UInt8]) throws -> (records: [TraceRecord], warnings: [TraceWarning]) {
        var reader = try TraceReader(bytes: bytes, name: "x")
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        return (records, reader.warnings)
    }

    static func scan(_ bytes: [UInt8]) throws -> (lines: Int, warnings: [TraceWarning]) {
        let scan = try TraceScan(bytes: bytes, name: "x", blockBytes: 1000)
        var lines = 0
        try scan.forEachBlock { block, _ in
            lines += block.lines.count
            return true
        }
        return (lines, scan.warnings)
    }

    @Test(arguments: Form.allCases)
    func isReadAsItIs(_ form: Form) throws {
        let plain = try Self.read(Self.text)
        #expect(plain.records.count == 3000)
        let whole = form.compress(Self.text)
        #expect(whole.count < Self.text.count / 4)
        #expect(try Self.read(whole).records == plain.records)
        #expect(try Self.scan(whole).lines == 3000)
        #expect(try Self.scan(whole).warnings.isEmpty)
        // Several members or frames are one stream; where they part has nothing to do with lines.
        let parts = stride(from: 0, to: Self.text.count, by: 10_007).flatMap { start in
            form.compress(Array(Self.text[start..<min(start + 10_007, Self.text.count)]))
        }
        #expect(try Self.read(parts).records == plain.records)
        #expect(try Self.scan(parts).lines == 3000)
    }

    @Test(arguments: Form.allCases)
    func whatWasWrittenBeforeTheEndIsThere(_ form: Form) throws {
        let whole = form.compress(Self.text)
        var most = 0
        for length in stride(from: 30, to: whole.count, by: 37) {
            let cut = Array(whole.prefix(length))
            do throws(TraceError) {
                var reader = try TraceReader(bytes: cut, name: "x")
                var records = 0
                while try reader.next() != nil { records += 1 }
                #expect(reader.warnings.contains { $0.description.contains("end early") })
                let scan = try? Self.scan(cut)
                #expect(scan?.lines == records)
                #expect(scan?.warnings == reader.warnings)
                most = max(most, records)
            } catch {
                // Not even the header came out.
                #expect(error.message.contains("not a trace"))
            }
        }
        #expect(most > 0 || form == .zstd, "gzip gives what it has as it goes")
    }

    @Test(arguments: Form.allCases)
    func damageIsAnError(_ form: Form) throws {
        let whole = form.compress(Self.text)
        var random = TraceMutationTests.Generator(state: 3)
        var errors = 0
        for _ in 0..<300 {
            var damaged = whole
            damaged[Int.random(in: 5..<damaged.count, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
            do throws(TraceError) {
                var reader = try TraceReader(bytes: damaged, name: "x", lenient: true)
                while try reader.next() != nil {}
            } catch {
                errors += 1
                #expect(error.line == 0 || error.message.contains("not a trace") || error.line == 1)
            }
        }
        #expect(errors > 100)
    }

    @Test(arguments: [[0x1F, 0x8B, 8, 0], [0x28, 0xB5, 0x2F, 0xFD, 0]] as [[UInt8]])
    func emptinessIsNoTrace(bytes: [UInt8]) {
        let error = #expect(throws: TraceError.self) { _ = try TraceReader(bytes: bytes, name: "x.gz") }
        #expect(error?.description.contains("not a trace") ?? false)
        #expect(throws: TraceError.self) { _ = try TraceScan(bytes: bytes, name: "x.gz") }
    }
}
