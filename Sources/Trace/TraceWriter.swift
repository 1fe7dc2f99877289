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
    /// The bytes are spliced in as they are; only line breaks, which JSON allows between tokens, become spaces. They are
    /// not checked: `appendMessage` does that.
    @discardableResult
    public mutating func append(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        member: StaticString, rawJSON: some Collection<UInt8>
    ) -> Int {
        begin(microseconds, side, connection: connection, qemu: qemu, attempt: attempt)
        pending.append(contentsOf: ",\"".utf8)
        member.withUTF8Buffer { pending.append(contentsOf: $0) }
        pending.append(contentsOf: "\":".utf8)
        let start = pending.count
        pending.append(contentsOf: rawJSON)
        while pending.count > start, let last = pending.last, last <= 0x20 { pending.removeLast() }
        if pending.count == start { pending.append(contentsOf: "null".utf8) }
        pending.withUnsafeMutableBytes { bytes in
            for index in start..<bytes.count where bytes[index] == 0x0A || bytes[index] == 0x0D { bytes[index] = 0x20 }
        }
        pending.append(UInt8(ascii: "}"))
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
            member: member,
            rawJSON: bytes
        )
    }

    /// Appends bytes from QEMU that were no message, and returns the record's line number.
    @discardableResult
    public mutating func append(
        microseconds: Int64, side: TraceSide?, connection: Int? = nil, qemu: String? = nil, attempt: String? = nil,
        raw bytes: some Collection<UInt8>
    ) -> Int {
        begin(microseconds, side, connection: connection, qemu: qemu, attempt: attempt)
        pending.append(contentsOf: ",\"raw\":\"".utf8)
        pending.append(contentsOf: Base64.encode(bytes).utf8)
        pending.append(contentsOf: "\"}".utf8)
        return endLine()
    }

    /// Appends a record and returns its line number. Its `seq` is written if it is not 0 and not the line number.
    @discardableResult
    public mutating func append(_ record: TraceRecord) -> Int {
        begin(
            record.microseconds, record.side, connection: record.connection, qemu: record.qemu, attempt: record.attempt
        )
        if record.seq > 0, record.seq != nextLine {
            pending.append(contentsOf: ",\"seq\":".utf8)
            appendDecimal(UInt64(record.seq))
        }
        let name = record.member.name
        appendMember(name, record.member.value)
        for (key, value) in record.other where key != name && !Self.recordKeys.contains(key) {
            appendMember(key, value)
        }
        pending.append(UInt8(ascii: "}"))
        return endLine()
    }

    private mutating func begin(
        _ microseconds: Int64, _ side: TraceSide?, connection: Int?, qemu: String?, attempt: String?
    ) {
        let time = UInt64(max(microseconds, 0))
        pending.append(contentsOf: "{\"t\":".utf8)
        appendDecimal(time / 1_000_000)
        pending.append(UInt8(ascii: "."))
        var unit: UInt64 = 100_000
        while unit > 0 {
            pending.append(UInt8(ascii: "0") + UInt8(time / unit % 10))
            unit /= 10
        }
        switch side {
        case .source: pending.append(contentsOf: ",\"side\":\"source\"".utf8)
        case .destination: pending.append(contentsOf: ",\"side\":\"destination\"".utf8)
        case nil: break
        }
        if let qemu { appendMember("qemu", .string(qemu)) }
        if let connection, connection >= 0 {
            pending.append(contentsOf: ",\"conn\":".utf8)
            appendDecimal(UInt64(connection))
        }
        if let attempt { appendMember("attempt", .string(attempt)) }
    }

    private mutating func appendMember(_ name: String, _ value: JSONValue) {
        var writer = JSONWriter()
        writer.key(name)
        writer.value(value)
        pending.append(UInt8(ascii: ","))
        pending.append(contentsOf: writer.bytes)
    }

    @discardableResult
    private mutating func endLine() -> Int {
        pending.append(0x0A)
        defer { nextLine += 1 }
        return nextLine
    }

    private mutating func appendDecimal(_ value: UInt64) {
        let start = pending.count
        var rest = value
        repeat {
            pending.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        } while rest > 0
        pending[start...].reverse()
    }
}
