import ArgumentParser
import Glibc
import Testing

@testable import Commands

/// The tables in the documentation are those of the program.
struct DocumentationTests {
    private static let root: String = {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/")
    }()

    private static func list(_ directory: String, _ ending: String) -> [String] {
        guard let handle = opendir(directory) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(ending) { names.append("\(directory)/\(name)") }
        }
        return names.sorted()
    }

    private static let documents: [String] =
        ["\(root)/README.md"]
        + list("\(root)/Sources", "").flatMap { list($0, ".docc") }.flatMap { list($0, ".md") }

    private static func text(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk.prefix(count)
        }
    }

    /// The blocks of a document: what `godwit table` is asked for, and what stands there.
    private static func blocks(_ path: String) throws -> [(arguments: [String], text: String)] {
        var blocks: [(arguments: [String], text: String)] = []
        var open: [String]?
        var lines: [Substring] = []
        for line in text(path).split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("<!-- table: "), line.hasSuffix(" -->") {
                #expect(open == nil, "\(path): a table within a table")
                open = line.dropFirst(12).dropLast(4).split(separator: " ").map(String.init)
                lines = []
            } else if line == "<!-- end -->" {
                let arguments = try #require(open, "\(path): the end of no table")
                blocks.append((arguments, lines.joined(separator: "\n")))
                open = nil
            } else {
                lines.append(line)
            }
        }
        #expect(open == nil, "\(path): a table without an end")
        return blocks
    }

    @Test func everyTableIsDocumented() throws {
        let names = try Self.documents.flatMap(Self.blocks).compactMap(\.arguments.first)
        #expect(Set(names) == Set(ProgramTable.Name.allCases.map(\.rawValue)))
    }

    @Test(arguments: documents)
    func documentationIsUpToDate(_ path: String) throws {
        for block in try Self.blocks(path) {
            let table = try TableCommand.parse(block.arguments + ["--format", "markdown"]).output()
            #expect(
                block.text == "\n\(table)\n",
                "\(path): the table \(block.arguments.joined(separator: " ")) is old; `make docs` writes it anew")
        }
    }
}
