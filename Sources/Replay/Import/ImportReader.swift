import Trace

/// Reads the entries of one foreign file, in bounded memory.
final class ImportReader {
    /// What was left out so far.
    private(set) var warnings: [TraceWarning] = []
    private let source: LineSource
    private let importer: any LineImporter
    private let name: String
    private let lenient: Bool
    private var number = 0
    private var entries: [ImportedEntry] = []
    private var next = 0
    private var isOver = false

    init(_ file: ImportFile, lenient: Bool) throws(TraceError) {
        source = LineSource(try file.open(), maximumLineBytes: ImportLimits.messageBytes)
        importer = file.format.importer()
        name = file.name
        self.lenient = lenient
    }

    var channels: [ImportedChannel] { importer.channels }

    /// The next entry; nil at the end.
    func read() throws(TraceError) -> ImportedEntry? {
        while next == entries.count {
            guard !isOver else { return nil }
            entries.removeAll(keepingCapacity: true)
            next = 0
            let line = try nextLine()
            do throws(ImportProblem) {
                try take(line)
            } catch {
                try tell(error)
            }
        }
        defer { next += 1 }
        return entries[next]
    }

    private func nextLine() throws(TraceError) -> LineSource.Line {
        do throws(ByteSource.ReadError) {
            return try source.next()
        } catch {
            isOver = true
            throw TraceError(file: name, error)
        }
    }

    private func take(_ line: LineSource.Line) throws(ImportProblem) {
        switch line {
        case .complete(let range):
            number += 1
            try take(range)
        case .tooLong:
            number += 1
            throw ImportProblem(line: number, message: "the line exceeds the limit")
        case .torn(let range):
            number += 1
            isOver = true
            // A last line without its line feed is as often a matter of an editor as of a write that was cut short.
            var failure: ImportProblem?
            do throws(ImportProblem) { try take(range) } catch { failure = error }
            do throws(ImportProblem) {
                try importer.finish(into: &entries)
            } catch {
                failure = failure ?? error
            }
            if var failure {
                failure.isTorn = true
                throw failure
            }
        case .end:
            isOver = true
            try importer.finish(into: &entries)
            if source.isCutShort {
                throw ImportProblem(line: number, message: "the compressed data are cut short", isTorn: true)
            }
        }
    }

    private func take(_ range: Range<Int>) throws(ImportProblem) {
        var line = source.buffer[range]
        if number == 1, line.starts(with: [0xEF, 0xBB, 0xBF]) { line = line.dropFirst(3) }
        while line.last == 0x0D { line.removeLast() }
        try importer.take(line, number: number, into: &entries)
    }

    private func tell(_ problem: ImportProblem) throws(TraceError) {
        let error = TraceError(file: name, line: problem.line, column: problem.column, message: problem.message)
        guard problem.isTorn || lenient && problem.line > 0 else { throw error }
        guard problem.isTorn || warnings.count < TraceReader.maximumWarnings else { return }
        warnings.append(TraceWarning(kind: problem.isTorn ? .torn : .skipped, error: error))
    }
}
