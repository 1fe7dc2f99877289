import Glibc
import Testing
import Trace

@testable import Replay

/// The file that a pipe is copied into.
struct SpoolTests {
    @Test func isReadAgainFromItsStartAndHasNoName() throws {
        var template = Array("/tmp/godwit-spool-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer { rmdir(directory) }
        do {
            let spool = try Spool(of: "a pipe", in: directory)
            let bytes = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try spool.fill(from: ByteSource(bytes: bytes))
            for _ in 0..<2 { #expect(try spool.open().head(1_000_000) == bytes) }
            #expect(fcntl(spool.descriptor, F_GETFD) & FD_CLOEXEC != 0)
            // Only an empty directory can be removed: whoever is killed now leaves nothing behind.
            #expect(rmdir(directory) == 0)
        }
        mkdir(directory, 0o700)
    }

    @Test func aPlaceThatTakesNoFileIsNamed() {
        for directory in ["/no/such/directory", "/dev/null"] {
            let error = #expect(throws: TraceError.self) { try Spool(of: "standard input", in: directory) }
            #expect(error?.file == "temporary copy of standard input in \(directory)")
        }
    }
}
