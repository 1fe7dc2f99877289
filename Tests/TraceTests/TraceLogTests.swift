import CZstd
import Glibc
import JSONC
import Testing

@testable import Trace

/// A directory that goes away with it.
private final class Place {
    let path: String

    init() throws {
        var template = Array("/tmp/tracelog-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit {
        for name in names { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    var names: [String] {
        guard let handle = opendir(path) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    func bytes(_ name: String) -> [UInt8] {
        guard let file = fopen("\(path)/\(name)", "r") else { return [] }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk.prefix(count) }
        return bytes
    }
}

/// What can be decompressed, whether or not the stream has an end.
private func decompressed(_ bytes: [UInt8]) -> [UInt8] {
    guard let context = ZSTD_createDCtx() else { return [] }
    defer { ZSTD_freeDCtx(context) }
    var result: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 1 << 17)
    bytes.withUnsafeBytes { input in
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        while true {
            let (written, isError) = room.withUnsafeMutableBytes { output in
                var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
                let code = ZSTD_decompressStream(context, &target, &source)
                return (target.pos, ZSTD_isError(code) != 0)
            }
            result += room[..<written]
            if isError || (written < room.count && source.pos >= input.count) { return }
        }
    }
    return result
}

private func records(_ bytes: [UInt8]) throws -> [TraceRecord] {
    var reader = try TraceReader(bytes: bytes, name: "test")
    var records: [TraceRecord] = []
    while let record = try reader.next() { records.append(record) }
    #expect(reader.warnings.isEmpty)
    return records
}

@Suite struct TraceLogTests {
    private static func mark(_ number: Int) -> TraceRecord {
        TraceRecord(microseconds: Int64(number), member: .mark("record \(number) \(String(repeating: "x", count: 50))"))
    }

    private static func append(_ numbers: Range<Int>, to log: TraceLog, flushingAt time: (Int) -> Int64) {
        for number in numbers {
            log.append(at: time(number)) { $0.append(mark(number)) }
            log.flush(at: time(number))
        }
    }

    @Test(arguments: TraceLogOptions.Compression.allCases)
    func goesOnInAnotherFile(_ compression: TraceLogOptions.Compression) throws {
        let place = try Place()
        var options = TraceLogOptions()
        options.compression = compression
        options.rotateBytes = compression == .none ? 2000 : 500
        let log = try TraceLog(
            creating: "\(place.path)/vm.qmptrace", header: TraceHeader(recorder: "test"), options: options)
        // Somebody else's file in the way is left alone.
        close(open("\(place.path)/vm.3.qmptrace", O_CREAT | O_WRONLY, 0o600))
        Self.append(1..<200, to: log) { Int64($0) * 250_000 }
        #expect(log.close(at: 200) == nil)
        let names = place.names.filter { $0 != "vm.3.qmptrace" }
        #expect(names.count > 3)
        #expect(names.contains("vm.2.qmptrace") && names.contains("vm.4.qmptrace"))
        #expect(place.bytes("vm.3.qmptrace").isEmpty)
        var all: [(part: Int64, records: [TraceRecord])] = []
        for name in names {
            let bytes = compression == .none ? place.bytes(name) : decompressed(place.bytes(name))
            let reader = try TraceReader(bytes: bytes, name: name)
            all.append((reader.header.other["part"]?.int64 ?? 1, try records(bytes)))
        }
        all.sort { $0.part < $1.part }
        #expect(all.flatMap(\.records).map(\.member) == (1..<200).map { Self.mark($0).member })
        #expect(log.notices.contains(.continued("\(place.path)/vm.2.qmptrace")))
    }

    /// Nothing is closed: the process might have been killed here.
    @Test func whatWasCompressedCanBeReadWithoutTheEnd() throws {
        let place = try Place()
        var options = TraceLogOptions()
        options.compression = .zstd
        let log = try TraceLog(creating: "\(place.path)/x", header: TraceHeader(), options: options)
        Self.append(1..<1000, to: log) { Int64($0) * 1000 }
        let written = try records(decompressed(place.bytes("x")))
        // All but the fifth of a second that is still being gathered.
        #expect((700..<1000).contains(written.count))
        let deadline = try #require(log.nextDeadline)
        log.flush(at: deadline)
        #expect(try records(decompressed(place.bytes("x"))).count == 999)
        #expect(log.nextDeadline == nil)
        #expect(place.bytes("x").count < 999 * 60 / 4)
        #expect(log.close(at: deadline) == nil)
    }

    @Test func anExistingFileIsLeftAlone() throws {
        let place = try Place()
        close(open("\(place.path)/x", O_CREAT | O_WRONLY, 0o600))
        #expect(throws: TraceError(file: "\(place.path)/x", message: "File exists", cause: .access)) {
            try TraceLog(creating: "\(place.path)/x", header: TraceHeader())
        }
    }

    /// The limit on the size of files stands for the full disk: what was written before stays, what comes then is kept
    /// for a while, then lost and counted, and all goes on when there is room.
    @Test(arguments: TraceLogOptions.Compression.allCases)
    func survivesAFullDisk(_ compression: TraceLogOptions.Compression) async throws {
        await #expect(processExitsWith: .success) { [raw = compression.rawValue as String] in
            let compression = try #require(TraceLogOptions.Compression(rawValue: raw))
            let place = try Place()
            signal(SIGXFSZ, SIG_IGN)
            var options = TraceLogOptions()
            options.compression = compression
            options.maximumPendingBytes = 4000
            let log = try TraceLog(creating: "\(place.path)/x", header: TraceHeader(), options: options)
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            let before = limit
            limit.rlim_cur = compression == .none ? 1003 : 301
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            let step: Int64 = 300_000
            Self.append(1..<500, to: log) { Int64($0) * step }
            try #require(log.notices.count == 1)
            guard case .failed(let error) = log.notices[0] else { throw TraceError(file: "", message: "not told") }
            #expect(error.message == "File too large")
            #expect(log.lostRecords > 0)
            #expect(log.nextDeadline != nil)
            var limited = limit
            limited.rlim_cur = before.rlim_cur
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limited)
            let lost = log.lostRecords
            Self.append(500..<510, to: log) { Int64($0) * step }
            #expect(log.notices.last == .recovered(lost: lost) || log.lostRecords > lost)
            #expect(log.close(at: 600 * step)?.message == "\(log.lostRecords) records are missing")
            let bytes = place.bytes("x")
            let found = try records(compression == .none ? bytes : decompressed(bytes))
            let gaps = found.filter {
                if case .mark(let text) = $0.member { text.contains("records are missing here") } else { false }
            }
            #expect(gaps.count == 1)
            #expect(found.count == 509 - log.lostRecords + 1)
            #expect(found.last?.member == Self.mark(509).member)
        }
    }

    @Test func namesOfLaterFiles() {
        #expect(TraceLog.path("/a/vm.qmptrace", part: 2) == "/a/vm.2.qmptrace")
        #expect(TraceLog.path("vm.qmptrace.zst", part: 10) == "vm.10.qmptrace.zst")
        #expect(TraceLog.path("/a.b/vm", part: 3) == "/a.b/vm.3")
    }
}
