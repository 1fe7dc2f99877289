import JSONC
import MigrationQMP
public import Trace

/// Foreign recordings on their way to a trace.
///
/// The files are read twice: once to see who is in them, once for each trace that is written.
public struct Conversion {
    /// Who is in them, in the order of the files.
    public let guests: [ImportedGuest]
    /// What was left out, each with its place.
    public let warnings: [TraceWarning]
    private let files: [ImportFile]
    private let surveys: [ImportSurvey]
    private let lenient: Bool

    /// Looks through the files. What is no trace counts here: traces are read by `TraceReader`.
    ///
    /// - Parameters:
    ///   - files: The files, in any order. Two that know times are put together by them.
    ///   - lenient: Whether what cannot be understood is skipped and counted.
    public init(_ files: [ImportFile], lenient: Bool) throws(TraceError) {
        self.files = files
        self.lenient = lenient
        var surveys: [ImportSurvey] = []
        for file in files {
            let survey = try ImportSurvey(file, lenient: lenient)
            if survey.connections.allSatisfy(\.isEmpty) {
                throw TraceError(file: file.name, message: Self.nothing(in: file.format))
            }
            surveys.append(survey)
        }
        self.surveys = surveys
        guests = ImportedGuest.guests(in: surveys)
        warnings = surveys.flatMap(\.warnings)
    }

    private static func nothing(in format: ImportFormat) -> String {
        switch format {
        case .libvirt:
            "a log of libvirt's without any QMP message; it logs them with log_filters=\"2:qemu.qemu_monitor\" and "
                + "a log_outputs of level 2"
        case .qemuTrace:
            "QEMU's tracing without any QMP message; it shows them with -trace handle_qmp_command "
                + "-trace monitor_qmp_respond"
        default: "no QMP message in it"
        }
    }

    /// How a trace is written.
    public struct Options: Sendable {
        /// Whether secrets are masked.
        public var isRedacted: Bool
        /// Whether records are called by the lines they came from.
        public var keepsLines: Bool

        /// Options.
        public init(isRedacted: Bool = false, keepsLines: Bool = false) {
            self.isRedacted = isRedacted
            self.keepsLines = keepsLines
        }
    }

    /// Writes the trace of one guest.
    ///
    /// - Parameters:
    ///   - descriptor: Where it goes.
    ///   - name: How that is called in errors.
    /// - Returns: How many records it has.
    @discardableResult
    public func write(
        _ guest: ImportedGuest, to descriptor: Int32, name: String, options: Options = Options()
    ) throws(TraceError) -> Int {
        try write(guest, options) { bytes throws(TraceError) in
            try bytes.withUnsafeBytes { buffer in
                Result { () throws(TraceError) in try DescriptorSink.write(buffer, to: descriptor, name: name) }
            }.get()
        }
    }

    /// The trace of one guest in memory.
    package func bytes(of guest: ImportedGuest, options: Options = Options()) throws(TraceError) -> [UInt8] {
        var all: [UInt8] = []
        _ = try write(guest, options) { bytes throws(TraceError) in all += bytes }
        return all
    }

    private func write(
        _ guest: ImportedGuest, _ options: Options, _ sink: ([UInt8]) throws(TraceError) -> Void
    ) throws(TraceError) -> Int {
        var writer = ConvertedTrace(header: header(of: guest), start: guest.first ?? 0, options: options)
        var streams: [Stream] = []
        for file in files.indices where guest.parts.contains(where: { $0.file == file }) {
            let parts = guest.parts.filter { $0.file == file }.map { ($0.index, $0) }
            var stream = Stream(
                reader: try ImportReader(files[file], lenient: lenient),
                parts: Dictionary(parts, uniquingKeysWith: { first, _ in first }))
            try stream.advance()
            streams.append(stream)
        }
        while let turn = Self.earliest(streams) {
            if let (entry, part) = streams[turn].entry {
                let isNews = !surveys[part.file].processesWithEvents.contains(part.connection.channel.process)
                writer.append(entry, part, at: streams[turn].time, tellsStatus: isNews)
                if writer.pending >= 256 << 10 { try sink(writer.take()) }
            }
            try streams[turn].advance()
        }
        try sink(writer.take())
        return writer.records
    }

    private func header(of guest: ImportedGuest) -> TraceHeader {
        let used = Set(guest.parts.map(\.file)).sorted().map { files[$0] }
        let names = used.map { String($0.name.split(separator: "/").last ?? "") }
        var formats: [ImportFormat] = []
        for file in used where !formats.contains(file.format) { formats.append(file.format) }
        return TraceHeader(
            recorded: guest.first.map(LogTime.text), recorder: formats.first?.recorder, role: .observer,
            title: (guest.name.map { "\($0), " } ?? "") + "from " + names.joined(separator: " and "),
            other: [
                "imported": [
                    "formats": .array(formats.map { .string($0.rawValue) }),
                    "files": .array(names.map { .string($0) }),
                ]
            ])
    }

    /// One file while traces are put together.
    private struct Stream {
        let reader: ImportReader
        /// By the connection's index.
        let parts: [Int: ImportedGuest.Part]
        var entry: (ImportedEntry, ImportedGuest.Part)?
        /// The latest time so far: what has none of its own happened not before.
        var time: Int64?

        mutating func advance() throws(TraceError) {
            entry = nil
            while let next = try reader.read() {
                guard let part = parts[next.channel] else { continue }
                if let own = next.microseconds { time = max(time ?? own, own) }
                entry = (next, part)
                return
            }
        }
    }

    /// The stream whose turn it is; of equal ones the first.
    private static func earliest(_ streams: [Stream]) -> Int? {
        streams.indices.filter { streams[$0].entry != nil }
            .min { (streams[$0].time ?? .min, $0) < (streams[$1].time ?? .min, $1) }
    }
}

/// The lines of a trace made of entries.
private struct ConvertedTrace {
    private var writer: TraceWriter
    private let start: Int64
    private let options: Conversion.Options
    private(set) var records = 0

    init(header: TraceHeader, start: Int64, options: Conversion.Options) {
        writer = TraceWriter(header: header)
        self.start = start
        self.options = options
    }

    var pending: Int { writer.pending.count }

    mutating func take() -> [UInt8] { writer.takePending() }

    mutating func append(_ entry: ImportedEntry, _ part: ImportedGuest.Part, at time: Int64?, tellsStatus: Bool) {
        let (elapsed, overflow) = (entry.microseconds ?? time ?? start).subtractingReportingOverflow(start)
        let microseconds = overflow ? 0 : max(elapsed, 0)
        let side = part.side(at: entry.line)
        let seq = options.keepsLines ? entry.line : nil
        switch entry.what {
        case .send(let bytes):
            let shown = options.isRedacted ? MessageMask.masked(command: bytes) ?? bytes : bytes
            writer.append(
                microseconds: microseconds, side: side, connection: part.number, qemu: part.qemu, seq: seq,
                member: "send", rawJSON: shown)
        case .recv(let bytes):
            let shown = options.isRedacted ? MessageMask.masked(message: bytes, isSecret: false) ?? bytes : bytes
            writer.append(
                microseconds: microseconds, side: side, connection: part.number, qemu: part.qemu, seq: seq,
                member: "recv", rawJSON: shown)
        case .descriptors(let count): append(.fds(count), microseconds, side, part, seq)
        case .monitor(let word): append(.monitor(word), microseconds, side, part, seq)
        case .process(let end): append(.process(end), microseconds, side, part, seq)
        case .mark(let text): append(.mark(text), microseconds, side, part, seq)
        case .statusWord(let word):
            // Where QEMU sent an event of it, that is the evidence.
            guard tellsStatus else { return }
            let event: JSONValue = ["event": "MIGRATION", "data": ["status": .string(word)]]
            append(.recv(event), microseconds, side, part, seq, ["inferred": "migrate_set_state"])
        }
        records += 1
    }

    private mutating func append(
        _ member: TraceMember, _ microseconds: Int64, _ side: TraceSide, _ part: ImportedGuest.Part, _ seq: Int?,
        _ other: JSONObject = [:]
    ) {
        writer.append(
            TraceRecord(
                microseconds: microseconds, side: side, seq: seq ?? 0, qemu: part.qemu, connection: part.number,
                member: member, other: other))
    }
}
