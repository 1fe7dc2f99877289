import Glibc
import JSONC
import Migration
import Testing

@testable import Replay
@testable import Trace

/// The index against what is in the trace.
struct IndexTests {
    /// A trace in a directory that goes away with it.
    private final class Place {
        let directory: String
        var path: String { "\(directory)/x.qmptrace" }

        init(_ bytes: [UInt8]) throws {
            var template = Array("/tmp/godwit-index-XXXXXX".utf8CString)
            directory = try #require(mkdtemp(&template).map { String(cString: $0) })
            write(bytes, to: path)
        }

        func write(_ bytes: [UInt8], to path: String) {
            guard let file = fopen(path, "w") else { return }
            fwrite(bytes, 1, bytes.count, file)
            fclose(file)
        }

        deinit {
            unlink(path)
            unlink(TraceIndex.path(of: path))
            rmdir(directory)
        }
    }

    @Test(arguments: Fixtures.names)
    func placesAreThoseOfTheRecords(_ name: String) throws {
        let place = try Place(Fixtures.bytes(Fixtures.trace(name)))
        let (index, warnings) = try TraceIndex.build(path: place.path, threads: 2)
        #expect(warnings.isEmpty)
        try index.write(to: TraceIndex.path(of: place.path))
        #expect(try TraceIndex(of: place.path) == index)
        let report = try ReplayReport(path: place.path)
        #expect(index.records == report.records)
        #expect(index.attempts.count == report.attempts.count)
        for (attempt, told) in zip(index.attempts, report.attempts) {
            #expect(attempt.status == told.status.word.rawValue)
        }
        // Every event of every name is where the index says.
        var seen: [String: [TraceIndex.Place]] = [:]
        var decoder = RecordDecoder(file: "x")
        try TraceIndex.lines(of: place.path, from: nil) { line, offset, bytes in
            if let record = try? decoder.record(bytes, line: line), case .recv(let message) = record.member,
                let event = message["event"]?.string
            {
                seen[event, default: []].append(
                    TraceIndex.Place(line: line, offset: offset, microseconds: record.microseconds))
            }
            return true
        }
        #expect(index.events.mapValues(\.places) == seen)
    }

    @Test func aMarkIsBeforeWhatIsLookedFor() throws {
        var text = "{\"qmptrace\":1}\n"
        for number in 0..<100_000 { text += "{\"t\":\(number).5,\"side\":\"source\",\"mark\":\"\(number)\"}\n" }
        let place = try Place(Array(text.utf8))
        let (index, _) = try TraceIndex.build(path: place.path)
        #expect(index.marks.count >= 4)
        for time in [0, 1, 50_000, 99_999] as [Int64] {
            var found: Int?
            var read = 0
            var decoder = RecordDecoder(file: "x")
            try TraceIndex.lines(of: place.path, from: index.mark(before: time * 1_000_000)) { line, _, bytes in
                read += 1
                guard let record = try? decoder.record(bytes, line: line), record.microseconds >= time * 1_000_000
                else {
                    return true
                }
                found = line
                return false
            }
            #expect(found == Int(time) + 2)
            #expect(read < 30_000, "a part of the trace only")
        }
    }

    @Test func staleAndDamagedOnesAreRefused() throws {
        let bytes = Fixtures.bytes(Fixtures.trace("7.2.22/cancel"))
        let place = try Place(bytes)
        #expect(try TraceIndex(of: place.path) == nil)
        let (index, _) = try TraceIndex.build(path: place.path)
        let path = TraceIndex.path(of: place.path)
        try index.write(to: path)
        let written = Fixtures.bytes(path)
        // Cut anywhere, changed anywhere: an error or what it was, never a trap.
        for length in 0..<written.count where length < 200 || length % 17 == 0 {
            #expect(throws: TraceError.self) {
                _ = try TraceIndex(bytes: Array(written.prefix(length)), path: path, now: index.stamp)
            }
        }
        var random = ScanTests.Random(state: 9)
        for _ in 0..<2000 {
            var changed = written
            changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0x20...0x7E, using: &random)
            if let read = try? TraceIndex(bytes: changed, path: path, now: index.stamp) {
                let places = read.marks + read.attempts.map(\.place) + read.events.values.flatMap(\.places)
                #expect(places.allSatisfy { $0.offset < index.stamp.size && $0.line > 0 })
            }
        }
        // The trace has grown.
        place.write(bytes + Array("{\"t\":99,\"mark\":\"more\"}\n".utf8), to: place.path)
        let error = #expect(throws: TraceError.self) { _ = try TraceIndex(of: place.path) }
        #expect(error?.message.contains("stale") ?? false)
        // The same size and another beginning, whatever the clock says.
        var other = index.stamp
        other.beginning = "0"
        #expect(throws: TraceError.self) { _ = try TraceIndex(bytes: written, path: path, now: other) }
    }

    @Test func compressedTracesHaveNone() throws {
        let place = try Place([0x1F, 0x8B, 8, 0])
        let error = #expect(throws: TraceError.self) { _ = try TraceIndex.build(path: place.path) }
        #expect(error?.message.contains("compressed") ?? false)
    }
}
