import Glibc
import JSONC
import Testing
import Trace

@Suite struct TraceFileTests {
    /// A directory that is removed with its files.
    final class Directory {
        let path: String

        init() throws {
            var template = Array("/tmp/godwit-trace-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw TraceError(file: "/tmp", message: "mkdtemp failed") }
            path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }

        deinit {
            for name in ["a", "pipe"] { unlink(path + "/" + name) }
            rmdir(path)
        }

        var file: String { path + "/a" }

        func write(_ bytes: [UInt8]) {
            let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            close(descriptor)
        }
    }

    static func marks(_ path: String) throws -> [String] {
        var reader = try TraceReader(path: path)
        var marks: [String] = []
        while let record = try reader.next() { marks.append("\(record.seq):\(record.member.value.string ?? "?")") }
        #expect(reader.warnings.isEmpty)
        return marks
    }

    static func mark(_ text: String) -> TraceRecord { TraceRecord(microseconds: 1, member: .mark(text)) }

    @Test func writesWhatIsRead() throws {
        let directory = try Directory()
        let file = try TraceFile(creating: directory.file, header: TraceHeader(title: "t"))
        file.append(Self.mark("one"))
        #expect(throws: TraceError.self) { try Self.marks(directory.file) }
        try file.flush()
        #expect(file.writer.pending.isEmpty)
        #expect(try Self.marks(directory.file) == ["2:one"])
        file.append(Self.mark("two"))
        try file.close()
        #expect(try Self.marks(directory.file) == ["2:one", "3:two"])
        file.append(Self.mark("three"))
        #expect(throws: TraceError.self) { try file.flush() }
        var status = stat()
        #expect(stat(directory.file, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test func replacesAFileOnlyWhenTold() throws {
        let directory = try Directory()
        let first = try TraceFile(creating: directory.file, header: TraceHeader())
        first.append(Self.mark("first"))
        try first.close()
        #expect(throws: TraceError.self) { _ = try TraceFile(creating: directory.file, header: TraceHeader()) }
        #expect(try Self.marks(directory.file) == ["2:first"])
        try TraceFile(creating: directory.file, header: TraceHeader(), replacing: true).close()
        #expect(try Self.marks(directory.file) == [])
    }

    @Test func continuesAJournalBehindItsLastCompleteLine() throws {
        let directory = try Directory()
        directory.write(Array("{\"qmptrace\":1}\n{\"t\":0,\"mark\":\"one\"}\n{\"t\":1,\"ma".utf8))
        let file = try TraceFile(continuing: directory.file)
        #expect(file.append(Self.mark("two")) == 3)
        try file.flush()
        #expect(try Self.marks(directory.file) == ["2:one", "3:two"])
        try file.close()
    }

    @Test func doesNotContinueWhatIsNoTrace() throws {
        let directory = try Directory()
        let text = Array("some notes\nwithout line feed".utf8)
        directory.write(text)
        #expect(throws: TraceError.self) { _ = try TraceFile(continuing: directory.file) }
        var status = stat()
        #expect(stat(directory.file, &status) == 0)
        #expect(Int(status.st_size) == text.count)
    }

    @Test func allowsOneWriterOnly() throws {
        let directory = try Directory()
        let first = try TraceFile(creating: directory.file, header: TraceHeader())
        try first.flush()
        #expect(throws: TraceError.self) { _ = try TraceFile(continuing: directory.file) }
        #expect(throws: TraceError.self) {
            _ = try TraceFile(creating: directory.file, header: TraceHeader(), replacing: true)
        }
        #expect(try Self.marks(directory.file) == [])
        try first.close()
        try TraceFile(continuing: directory.file).close()
    }

    @Test func keepsWhatCouldNotBeWritten() throws {
        let file = try TraceFile(creating: "/dev/full", header: TraceHeader(), replacing: true)
        let pending = file.writer.pending
        let error = #expect(throws: TraceError.self) { try file.flush() }
        #expect(error?.file == "/dev/full")
        #expect(file.writer.pending == pending)
    }

    @Test(arguments: ["/nonexistent/x", "/tmp"])
    func namesTheFileThatCannotBeOpened(path: String) {
        let error = #expect(throws: TraceError.self) { _ = try TraceReader(path: path) }
        #expect(error?.file == path)
        #expect(error?.line == 0)
        #expect(throws: TraceError.self) { _ = try TraceFile(creating: path, header: TraceHeader()) }
        #expect(throws: TraceError.self) { _ = try TraceFile(continuing: path) }
    }

    /// Lines that straddle the reader's chunks, through a file of some megabytes.
    @Test func readsLinesAcrossChunks() throws {
        let directory = try Directory()
        let file = try TraceFile(creating: directory.file, header: TraceHeader())
        let lengths = [0, 1, 255 << 10, 256 << 10, (256 << 10) + 1, 700 << 10, 3, 1 << 20]
        for length in lengths { file.append(Self.mark(String(repeating: "x", count: length))) }
        try file.close()
        var reader = try TraceReader(path: directory.file)
        var read: [Int] = []
        while let record = try reader.next() { read.append(record.member.value.string?.utf8.count ?? -1) }
        #expect(read == lengths)
    }

    @Test func readsAPipeThatArrivesInPieces() throws {
        let directory = try Directory()
        let pipe = directory.path + "/pipe"
        try #require(mkfifo(pipe, 0o600) == 0)
        // A reader of our own keeps the non-blocking open for writing from failing.
        let keeper = open(pipe, O_RDWR | O_NONBLOCK)
        defer { close(keeper) }
        let text = Array("{\"qmptrace\":1}\n{\"t\":0,\"mark\":\"one\"}\n{\"t\":1,\"mark\":\"two\"}\n".utf8)
        _ = text.withUnsafeBytes { Glibc.write(keeper, $0.baseAddress, 50) }
        var reader = try TraceReader(path: pipe)
        #expect(try reader.next()?.member == .mark("one"))
        _ = text.withUnsafeBytes { Glibc.write(keeper, $0.baseAddress.map { $0 + 50 }, text.count - 50) }
        #expect(try reader.next()?.member == .mark("two"))
    }
}
