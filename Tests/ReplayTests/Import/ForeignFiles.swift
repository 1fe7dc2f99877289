import Glibc
import JSONC
import Trace

@testable import Replay

/// Recordings of other programs, and what becomes of them.
enum ForeignFiles {
    static let root = "\(Fixtures.root)/foreign"

    static func path(_ name: String) -> String { "\(root)/\(name)" }

    /// A file that is gone when this is.
    final class Temporary {
        let path: String

        init(_ bytes: [UInt8]) {
            var template = "/tmp/godwit-foreign-XXXXXX".utf8CString.map { $0 }
            let descriptor = mkstemp(&template)
            path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            close(descriptor)
        }

        convenience init(_ text: String) { self.init(Array(text.utf8)) }

        deinit { unlink(path) }
    }

    /// The only guest of some files as a trace.
    static func convert(
        _ paths: [String], domain: String? = nil, lenient: Bool = false, isRedacted: Bool = false,
        sides: [TraceSide?] = []
    ) throws -> (bytes: [UInt8], conversion: Conversion) {
        let files = try paths.enumerated().map { index, path in
            try ImportFile(path: path, side: index < sides.count ? sides[index] : nil)
        }
        let conversion = try Conversion(files, lenient: lenient)
        let guests = conversion.guests.filter { domain == nil || $0.name == domain }
        guard guests.count == 1, let guest = guests.first else {
            throw TraceError(file: paths.joined(separator: " "), message: "\(guests.count) guests")
        }
        return (try conversion.bytes(of: guest, options: .init(isRedacted: isRedacted)), conversion)
    }

    static func replay(_ paths: [String], domain: String? = nil) throws -> ReplayReport {
        let bytes = try convert(paths, domain: domain).bytes
        return try ReplayReport(reader: TraceReader(bytes: bytes, name: "converted"), name: "converted")
    }

    static func records(_ bytes: [UInt8]) throws -> [TraceRecord] {
        var reader = try TraceReader(bytes: bytes, name: "converted")
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }
}
