import Glibc

/// A piece of a trace, cut between lines, with its lines scanned.
public final class TraceBlock: @unchecked Sendable {
    /// A line that has no shape yet, or is none of a trace.
    public enum Other: Sendable {
        /// It was decoded in full.
        case record(TraceRecord)
        /// It cannot be understood, and why.
        case failure(TraceError)
    }

    /// The scanned lines. Comments and empty lines are not among them.
    public private(set) var lines: [ScannedLine] = []
    /// The shapes of the lines.
    public private(set) var shapes: [TraceShape] = []
    /// The other lines.
    public private(set) var others: [Other] = []
    /// How many lines it has, comments and empty lines included.
    public private(set) var lineCount = 0
    /// Where its first byte is in the trace.
    public internal(set) var offset = 0
    /// The bytes behind the last line feed of the trace, if this is its last block and they are more than white space.
    var tornBytes = 0
    /// What kept the rest of the trace from being read.
    var failure: TraceError?
    /// Whether the compressed bytes end in the middle of something.
    var isCutShort = false
    /// Whether the last line is cut: it exceeds the limit.
    var endsTooLong = false

    private(set) var storage: UnsafeMutableRawBufferPointer
    /// Where the lines are.
    var used = 0..<0
    private var numbers = NumberBuffer()
    private var shapeOfTemplate: [Int32] = []

    init(capacity: Int) {
        storage = .allocate(byteCount: capacity + LineLayouts.slack + 1, alignment: 16)
    }

    deinit {
        storage.deallocate()
        numbers.deallocate()
    }

    /// The room for bytes.
    var capacity: Int { storage.count - LineLayouts.slack - 1 }

    func grow(to capacity: Int, keeping range: Range<Int>) {
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: capacity + LineLayouts.slack + 1, alignment: 16)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[0..<range.upperBound]))
        storage.deallocate()
        storage = larger
    }

    /// A number of a line, by its place among the slots of the line's shape.
    public func number(_ place: Int, of line: ScannedLine) -> Int64 {
        guard let base = storage.baseAddress else { return 0 }
        return numbers.base[Int(line.number) &+ place].value(base)
    }

    /// The bytes of a line, without its line feed.
    public func bytes(of line: ScannedLine) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: storage[Int(line.start)..<Int(line.start + line.count)])
    }

    /// The id of a line if it is a string that does not fit.
    public func longIdentifier(of line: ScannedLine) -> String? {
        guard line.identifier.isLong else { return nil }
        let start = Int(line.identifier.low >> 32)
        return String(
            decoding: UnsafeRawBufferPointer(
                rebasing: storage[start..<(start + Int(line.identifier.low & 0xFFFF_FFFF))]),
            as: UTF8.self)
    }

    // MARK: Scanning

    /// Makes lines of the bytes.
    ///
    /// - Parameters:
    ///   - isExact: Every line is decoded in full, none by its shape.
    func scan(_ scanner: LineScanner, isExact: Bool = false) {
        lines.removeAll(keepingCapacity: true)
        shapes.removeAll(keepingCapacity: true)
        others.removeAll(keepingCapacity: true)
        lineCount = 0
        numbers.count = 0
        shapeOfTemplate.removeAll(keepingCapacity: true)
        guard let base = storage.baseAddress.map({ UnsafeRawPointer($0) }) else { return }
        // Local, so that the loop need not look whether somebody else has them.
        var lines = self.lines
        self.lines = []
        defer { self.lines = lines }
        var numbers = self.numbers
        defer { self.numbers = numbers }
        let templates = scanner.templates
        let layouts = scanner.layouts
        let bounds = base + storage.count
        let maximumLineBytes = scanner.maximumLineBytes
        var lineCount = 0
        defer { self.lineCount = lineCount }
        let limit = base + used.upperBound
        var place = base + used.lowerBound
        var scanned = ScannedLine()
        while place < limit {
            scanned.line = Int32(truncatingIfNeeded: lineCount)
            scanned.start = Int32(truncatingIfNeeded: place - base)
            scanned.number = Int32(truncatingIfNeeded: numbers.count)
            lineCount &+= 1
            var end = place
            if !isExact {
                var shape: Int32 = -1
                var start = place
                if layouts.time(&start, &scanned.microseconds) {
                    shape = layouts.match(
                        start, base: base, bounds: bounds, scanned: &scanned, numbers: &numbers, end: &end)
                    if shape < 0 {
                        shape = templates.match(
                            start, base: base, limit: limit, scanned: &scanned, numbers: &numbers, end: &end)
                        if shape >= 0, !layouts.find(shape, start, base: base, bounds: bounds, numbers: &numbers) {
                            scanner.learn(
                                layoutOf: UnsafeRawBufferPointer(start: place, count: end - place),
                                from: start - place, shape)
                        }
                    }
                }
                if shape >= 0, end - place <= maximumLineBytes {
                    scanned.shape = local(shape, templates)
                    scanned.count = Int32(truncatingIfNeeded: end - place - 1)
                    lines.append(scanned)
                    place = end
                    continue
                }
                numbers.count = Int(scanned.number)
            }
            // Whoever cut the block saw to it that it ends with a line feed.
            let feed = memchr(place, 0x0A, limit - place).map { UnsafeRawPointer($0) } ?? limit
            scanned.count = Int32(truncatingIfNeeded: feed - place)
            let isTooLong = endsTooLong && feed + 1 >= limit
            if let other = scanner.decode(
                UnsafeRawBufferPointer(start: place, count: feed - place), isTooLong: isTooLong)
            {
                scanned.shape = ~Int32(truncatingIfNeeded: others.count)
                others.append(other)
                lines.append(scanned)
                if case .record(let record) = other, !isExact, feed < limit {
                    if scanner.learn(UnsafeRawBufferPointer(start: place, count: feed + 1 - place), record) {
                        shapeOfTemplate.removeAll(keepingCapacity: true)
                    }
                }
            }
            place = feed + 1
        }
    }

    /// The place in this block of a shape.
    @inline(__always)
    private func local(_ shape: Int32, _ templates: LineTemplates) -> Int32 {
        let index = Int(shape)
        if index < shapeOfTemplate.count, shapeOfTemplate[index] >= 0 { return shapeOfTemplate[index] }
        while shapeOfTemplate.count <= index { shapeOfTemplate.append(-1) }
        shapeOfTemplate[index] = Int32(shapes.count)
        shapes.append(templates.shapes[index])
        return shapeOfTemplate[index]
    }
}

/// What one thread needs to scan lines.
final class LineScanner {
    let templates = LineTemplates()
    let layouts = LineLayouts()
    let maximumLineBytes: Int
    private let wanted: [[StaticString]]
    private let file: String
    private var decoder: LineDecoder

    init(file: String, wanted: [[StaticString]], maximumLineBytes: Int) {
        self.file = file
        self.wanted = wanted
        self.maximumLineBytes = maximumLineBytes
        decoder = LineDecoder(file: file)
    }

    /// Decodes a line in full; `nil` for a comment or an empty line. Its number is -1 until somebody knows it.
    func decode(_ line: UnsafeRawBufferPointer, isTooLong: Bool) -> TraceBlock.Other? {
        guard line.count <= maximumLineBytes, !isTooLong else {
            return .failure(TraceError(file: file, line: -1, message: "the line exceeds the limit"))
        }
        guard LineDecoder.holdsText(line) else { return nil }
        do throws(TraceError) { return .record(try decoder.record(line, line: -1)) } catch { return .failure(error) }
    }

    /// Learns the shape of a record's line, line feed included. Tells whether what was known before is forgotten.
    func learn(_ line: UnsafeRawBufferPointer, _ record: TraceRecord) -> Bool {
        // Its number is its own.
        guard record.seq < 0, line.count <= LineTemplate.maximumBytes, let base = line.baseAddress else { return false }
        var place = base
        var time: Int64 = 0
        guard line.count > 32, LineTemplates.time(&place, &time), time == record.microseconds,
            let template = LineTemplate(line, from: place - base, wanted: wanted)
        else { return false }
        let before = templates.shapes.count
        templates.learn(template, line, TraceShape(record: record, slots: template.slots))
        guard templates.shapes.count <= before else { return false }
        layouts.removeAll()
        return true
    }

    /// Learns how the lines of a shape look now, of one that was found to have it.
    func learn(layoutOf line: UnsafeRawBufferPointer, from start: Int, _ shape: Int32) {
        guard line.count <= LineTemplate.maximumBytes else { return }
        layouts.learn(line, from: start, shape: shape) {
            guard let template = LineTemplate(line, from: start, wanted: wanted),
                template.slots == templates.shapes[Int(shape)].slots
            else { return nil }
            return template.parts
        }
    }
}
