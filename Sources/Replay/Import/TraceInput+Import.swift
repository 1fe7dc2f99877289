internal import Glibc
public import Trace

extension TraceInput {
    /// Opens a recording of any format that can be read, for whoever reads traces. `-` is standard input.
    ///
    /// What is no trace is made one on the way, in a file without a name, whose records are called by the lines they
    /// came from.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - lenient: Whether what cannot be understood in a foreign recording is skipped and counted.
    public static func open(path: String, lenient: Bool = false) throws(TraceError) -> TraceInput {
        let name = path == "-" ? "standard input" : path
        let source = try ByteSource.open(path: path)
        guard try isForeign(source, name: name) else { return TraceInput(source, name: name) }
        var status = stat()
        let isRegular = path != "-" && stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        let file = try ImportFile(source, name: name, path: path, isRegular: isRegular)
        guard file.format != .qmptrace else { return TraceInput(try file.open(), name: name) }
        let conversion = try Conversion([file], lenient: lenient)
        guard let guest = conversion.guests.first else {
            throw TraceError(file: name, message: "nobody is in it")
        }
        guard conversion.guests.count == 1 else {
            let names = conversion.guests.map { $0.name ?? "?" }
            throw TraceError(
                file: name,
                message: "\(names.count) domains are in it: \(names.prefix(20).joined(separator: ", "))"
                    + (names.count > 20 ? ", ..." : "") + ". godwit convert --domain NAME makes a trace of one")
        }
        let spool = try Spool(of: name)
        try conversion.write(guest, to: spool.descriptor, name: spool.name, options: .init(keepsLines: true))
        return TraceInput(try spool.open(), name: name, warnings: conversion.warnings)
    }

    /// Refuses a file that is no trace, for who has to know where in it the records are.
    static func requireTrace(at path: String) throws(TraceError) {
        guard try isForeign(try ByteSource.open(path: path), name: path) else { return }
        throw TraceError(
            file: path,
            message:
                "not a trace, and only a trace can have an index; `godwit convert` makes one of what others recorded")
    }

    /// Looks at the first line with something in it, and gives back what was read of it.
    private static func isForeign(_ source: ByteSource, name: String) throws(TraceError) -> Bool {
        // Of a pipe that somebody follows no more is waited for than it takes.
        var head: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 64 << 10)
        defer { source.takeBack(head) }
        while true {
            switch Shape(head) {
            case .trace: return false
            case .foreign: return true
            case .unknown: break
            }
            let count: Int
            do throws(ByteSource.ReadError) {
                count = try source.readBlock(&block)
            } catch {
                throw TraceError(file: name, error)
            }
            guard count > 0 else { return !head.allSatisfy { $0 <= 0x20 } }
            head.append(contentsOf: block[..<count])
        }
    }

    private enum Shape {
        case trace, foreign, unknown

        private static let limit = 64 << 10

        init(_ head: [UInt8]) {
            var rest = head[...]
            while true {
                rest = rest.drop { $0 <= 0x20 }
                guard rest.first == UInt8(ascii: "#") else { break }
                guard let end = rest.firstIndex(of: 0x0A) else {
                    self = head.count > Self.limit ? .foreign : .unknown
                    return
                }
                rest = rest[end...]
            }
            guard let first = rest.first else {
                self = head.count > Self.limit ? .foreign : .unknown
                return
            }
            let line = rest.prefix { $0 != 0x0A }
            if first == UInt8(ascii: "{"), line.prefix(Self.limit).end(of: "\"qmptrace\"") != nil {
                self = .trace
            } else if first != UInt8(ascii: "{") || line.endIndex < rest.endIndex || head.count > Self.limit {
                self = .foreign
            } else {
                self = .unknown
            }
        }
    }
}

extension TraceReader {
    /// Reads a recording of any format that can be read; `-` is standard input.
    public init(opening path: String, lenient: Bool = false) throws(TraceError) {
        try self.init(.open(path: path, lenient: lenient), lenient: lenient)
    }
}
