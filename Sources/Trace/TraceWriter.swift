import Glibc
public import JSONC

/// Builds the lines of a trace in memory; nothing is written to a file here.
public struct TraceWriter {
    /// Lines that were not taken yet.
    public private(set) var pending: [UInt8] = []
    /// The line number that the next record gets, which is also what other records call it by.
    public private(set) var nextLine: Int

    /// Starts a trace with its header.
    public init(header: TraceHeader) {
        self.nextLine = 1
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("qmptrace", header.version)
            if let recorded = header.recorded { writer.member("recorded", recorded) }
            if let recorder = header.recorder { writer.member("recorder", recorder) }
            if let role = header.role { writer.member("role", role.rawValue) }
            if let title = header.title { writer.member("title", title) }
            for (key, value) in header.other where !Self.headerKeys.contains(key) {
                writer.key(key)
                writer.value(value)
            }
        }
        pending.append(contentsOf: writer.bytes)
        endLine()
    }

    /// Continues a trace that has `lines` lines already.
    public init(continuingAfterLines lines: Int) {
        self.nextLine = max(lines, 0) + 1
    }

    private static let headerKeys: Set<String> = ["qmptrace", "recorded", "recorder", "role", "title"]
    private static let recordKeys: Set<String> = ["t", "side", "seq", "qemu", "conn", "attempt", "qmptrace"]

    /// Takes the pending lines out, for instance after they were written.
    public mutating func takePending() -> [UInt8] {
        defer { pending = [] }
        return pending
    }

    /// Forgets the first `count` pending bytes. The memory is kept for the next lines unless it is very large.
    public mutating func removePending(_ count: Int) {
        if count >= pending.count {
            pending.removeAll(keepingCapacity: pending.capacity <= 1 << 20)
        } else if count > 0 {
            pending.removeSubrange(0..<count)
        }
    }

    /// Appends a record whose value is JSON already, and returns its line number.
    ///
    /// The bytes are spliced in as they are; only line breaks, which JSON allows between tokens, become spaces. They
    /// are not checked: `appendMessage` does that. A `seq` is written if it is given
    /// and not the line number.
    @discardableResult
    public mutating func append(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        seq: Int? = nil, member: StaticString, rawJSON: some Collection<UInt8>
    ) -> Int {
        let line = rawJSON.withContiguousStorageIfAvailable { bytes in
            appendSpliced(
                microseconds, side, connection: connection, qemu: qemu, attempt: attempt, seq: seq, member: member,
                json: UnsafeRawBufferPointer(bytes)
            )
        }
        if let line { return line }
        return Array(rawJSON).withUnsafeBytes { bytes in
            appendSpliced(
                microseconds, side, connection: connection, qemu: qemu, attempt: attempt, seq: seq, member: member,
                json: bytes
            )
        }
    }

    private mutating func appendSpliced(
        _ microseconds: Int64, _ side: TraceSide?, connection: Int?, qemu: String?, attempt: String?, seq: Int?,
        member: StaticString, json: UnsafeRawBufferPointer
    ) -> Int {
        begin(microseconds, side, connection: connection, qemu: qemu, attempt: attempt)
        appendSequence(seq ?? 0)
        appendText(",\"")
        appendText(member)
        appendText("\":")
        var count = json.count
        while count > 0, json[count - 1] <= 0x20 { count -= 1 }
        if count == 0 { appendText("null") }
        let start = pending.count
        pending.append(contentsOf: json[..<count])
        replaceLineBreaks(from: start)
        appendText("}")
        return endLine()
    }

    /// Appends bytes from a QMP connection: under `member` verbatim if they are one JSON text, else as `raw`.
    @discardableResult
    public mutating func appendMessage(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        member: StaticString, bytes: UnsafeRawBufferPointer, checkedBy parser: inout JSONParser
    ) -> Int {
        guard (try? parser.parse(bytes)) != nil else {
            return append(
                microseconds: microseconds, side: side, connection: connection, qemu: qemu, attempt: attempt, raw: bytes
            )
        }
        return append(
            microseconds: microseconds, side: side, connection: connection, qemu: qemu, attempt: attempt,
            member: member, rawJSON: bytes
        )
    }

    /// Appends bytes from QEMU that were no message, and returns the record's line number.
    @discardableResult
    public mutating func append(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        raw bytes: some Collection<UInt8>
    ) -> Int {
        begin(microseconds, side, connection: connection, qemu: qemu, attempt: attempt)
        appendText(",\"raw\":\"")
        pending.append(contentsOf: Base64.encode(bytes).utf8)
        appendText("\"}")
        return endLine()
    }

    /// Appends a record and returns its line number. Its `seq` is written if it is not 0 and not the line number.
    @discardableResult
    public mutating func append(_ record: TraceRecord) -> Int {
        begin(
            record.microseconds, record.side, connection: record.connection, qemu: record.qemu, attempt: record.attempt
        )
        appendSequence(record.seq)
        let name = record.member.name
        appendMember(name, record.member.value)
        for (key, value) in record.other where key != name && !Self.recordKeys.contains(key) {
            appendMember(key, value)
        }
        appendText("}")
        return endLine()
    }

    private mutating func begin(
        _ microseconds: Int64, _ side: TraceSide?, connection: Int?, qemu: String?, attempt: String?
    ) {
        let time = UInt64(max(microseconds, 0))
        appendText("{\"t\":")
        appendDecimal(time / 1_000_000)
        appendText(".")
        // A leading one keeps the zeros; it is dropped again.
        let digits = pending.count
        appendDecimal(1_000_000 + time % 1_000_000)
        pending.remove(at: digits)
        switch side {
        case .source: appendText(",\"side\":\"source\"")
        case .destination: appendText(",\"side\":\"destination\"")
        case nil: break
        }
        if let qemu { appendMember("qemu", .string(qemu)) }
        if let connection, connection >= 0 {
            appendText(",\"conn\":")
            appendDecimal(UInt64(connection))
        }
        if let attempt { appendMember("attempt", .string(attempt)) }
    }

    private mutating func appendSequence(_ seq: Int) {
        guard seq > 0, seq != nextLine else { return }
        appendText(",\"seq\":")
        appendDecimal(UInt64(seq))
    }

    private mutating func appendMember(_ name: String, _ value: JSONValue) {
        var writer = JSONWriter()
        writer.key(name)
        writer.value(value)
        appendText(",")
        pending.append(contentsOf: writer.bytes)
    }

    @discardableResult
    private mutating func endLine() -> Int {
        pending.append(0x0A)
        defer { nextLine += 1 }
        return nextLine
    }

    private mutating func appendText(_ text: StaticString) {
        text.withUTF8Buffer { pending.append(contentsOf: $0) }
    }

    private mutating func appendDecimal(_ value: UInt64) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var first = digits.count
            var rest = value
            repeat {
                first -= 1
                digits[first] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            } while rest > 0
            pending.append(contentsOf: digits[first...])
        }
    }

    /// Valid JSON has line breaks between its tokens only, where a space does the same.
    private mutating func replaceLineBreaks(from start: Int) {
        pending.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            func replace(_ lineBreak: Int32) {
                var index = start
                while index < bytes.count, let found = memchr(base + index, lineBreak, bytes.count - index) {
                    index = found - base
                    bytes[index] = 0x20
                }
            }
            replace(0x0A)
            replace(0x0D)
        }
    }
}
