import Glibc
import JSONC
import Replay
import Trace

/// The recordings and what is expected of them, found from where this file is.
enum Fixtures {
    static let root: String = {
        var parts = #filePath.split(separator: "/")
        parts.removeLast(3)
        return "/" + parts.joined(separator: "/") + "/Fixtures"
    }()

    /// The expectations, as `VERSION/CASE`.
    static let names: [String] = list("\(root)/expected").flatMap { version in
        list("\(root)/expected/\(version)").filter { $0.hasSuffix(".json") }.map { "\(version)/\($0.dropLast(5))" }
    }

    static func list(_ directory: String) -> [String] {
        guard let handle = opendir(directory) else { return [] }
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

    static func bytes(_ path: String) -> [UInt8] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            guard count > 0 else { return bytes }
            bytes += chunk.prefix(count)
        }
    }

    static func trace(_ name: String) -> String { "\(root)/traces/\(name).qmptrace" }

    static func records(_ name: String) throws -> [TraceRecord] {
        var reader = try TraceReader(path: trace(name))
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    static func expectation(_ name: String) throws -> JSONValue {
        try JSONValue(parsing: bytes("\(root)/expected/\(name).json"))
    }
}
