import Glibc
import JSONC

/// Where things are in a trace: kept beside it, so that a second look-up need not read it again.
///
/// The file is text, one JSON object on a line: a header with what the trace was like, then marks, attempts and
/// events. It is bounded, and nothing in it is believed unchecked: an offset that does not fit the trace makes the
/// whole index a damaged one.
public struct TraceIndex: Sendable, Hashable {
    /// A record's place.
    public struct Place: Sendable, Hashable {
        /// The line in the trace, from 1.
        public var line: Int
        /// The byte at which it begins.
        public var offset: Int
        /// The record's time.
        public var microseconds: Int64

        /// A place.
        public init(line: Int, offset: Int, microseconds: Int64) {
            self.line = line
            self.offset = offset
            self.microseconds = microseconds
        }
    }

    /// An attempt: where it begins, and the last status that was published in it.
    public struct Attempt: Sendable, Hashable {
        /// Its number, from 1.
        public var number: Int
        /// Its id, where the records tell one.
        public var identifier: String?
        /// Where it begins.
        public var place: Place
        /// The last published status.
        public var status: String

        /// An attempt.
        public init(number: Int, identifier: String?, place: Place, status: String) {
            self.number = number
            self.identifier = identifier
            self.place = place
            self.status = status
        }
    }

    /// The events of one name.
    public struct Events: Sendable, Hashable {
        /// How many there are.
        public var count: Int
        /// Where the first of them are.
        public var places: [Place]

        /// No events.
        public init(count: Int = 0, places: [Place] = []) {
            self.count = count
            self.places = places
        }
    }

    /// What a trace is known by.
    public struct Stamp: Sendable, Hashable {
        /// Its size in bytes.
        public var size: Int
        /// Nanoseconds since 1970.
        public var modified: Int
        /// A hash of its first bytes.
        public var beginning: String

        package init(size: Int, modified: Int, beginning: String) {
            self.size = size
            self.modified = modified
            self.beginning = beginning
        }
    }

    /// What the trace was like.
    public var stamp: Stamp
    /// How many records it has.
    public var records = 0
    /// A record about every megabyte, in order.
    public var marks: [Place] = []
    /// The attempts in their order.
    public var attempts: [Attempt] = []
    /// The events by name.
    public var events: [String: Events] = [:]

    /// Of one event so many places are kept.
    public static let maximumPlaces = 1000
    /// So many names of events are kept.
    public static let maximumNames = 1000
    /// So many attempts are kept.
    public static let maximumAttempts = 100_000
    private static let maximumMarks = 1 << 20
    private static let maximumBytes = 256 << 20

    /// An empty index.
    public init(stamp: Stamp) { self.stamp = stamp }

    /// The index's path.
    public static func path(of trace: String) -> String { trace + ".index" }

    /// What a trace is like now.
    public static func stamp(of path: String) throws(TraceError) -> Stamp {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw TraceError(file: path, number: errno) }
        defer { close(descriptor) }
        var status = Glibc.stat()
        guard fstat(descriptor, &status) == 0 else { throw TraceError(file: path, number: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw TraceError(file: path, message: "only a file can have an index", cause: .access)
        }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count >= 0 else { throw TraceError(file: path, number: errno) }
        if bytes.starts(with: [0x1F, 0x8B]) || bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
            throw TraceError(file: path, message: "a compressed trace cannot have an index: gunzip or unzstd it first")
        }
        // FNV-1a
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes.prefix(count) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return Stamp(
            size: Int(status.st_size),
            modified: Int(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int(status.st_mtim.tv_nsec),
            beginning: String(hash, radix: 16))
    }

    // MARK: Look-up

    /// From where to look for the first record at or after a time; `nil`: from the beginning.
    public func mark(before microseconds: Int64) -> Place? {
        // Times may be slightly out of order across sides, so that the mark before is taken by the lines' order.
        var found: Place?
        for mark in marks {
            guard mark.microseconds < microseconds else { break }
            found = mark
        }
        return found
    }

    /// The attempt of an id or a number.
    public func attempt(_ name: String) -> Attempt? {
        attempts.first { $0.identifier == name }
            ?? Int(name).flatMap { number in attempts.first { $0.number == number } }
    }

    /// Reads lines of the trace from a place on, until there are no more or `body` returns false.
    public static func lines(
        of path: String, from place: Place?, _ body: (_ line: Int, _ offset: Int, UnsafeRawBufferPointer) -> Bool
    ) throws(TraceError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw TraceError(file: path, number: errno) }
        var offset = place?.offset ?? 0
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            close(descriptor)
            throw TraceError(file: path, number: errno)
        }
        let source = LineSource(
            ByteSource(descriptor: descriptor, closes: true), maximumLineBytes: 64 << 20, chunk: 64 << 10)
        var number = place?.line ?? 1
        do throws(ByteSource.ReadError) {
            while case .complete(let range) = try source.next() {
                let isMoreWanted = source.buffer.withUnsafeBytes {
                    body(number, offset, UnsafeRawBufferPointer(rebasing: $0[range]))
                }
                guard isMoreWanted else { return }
                number += 1
                offset += range.count + 1
            }
        } catch {
            throw TraceError(file: path, error)
        }
    }

    // MARK: The file

    /// Writes the index beside its trace, at once or not at all.
    public func write(to path: String) throws(TraceError) {
        let temporary = "\(path).\(getpid())"
        guard let file = fopen(temporary, "wxe") else { throw TraceError(file: path, number: errno) }
        var isWritten = true
        for line in lines {
            let bytes = line.serialized() + [0x0A]
            isWritten = isWritten && fwrite(bytes, 1, bytes.count, file) == bytes.count
        }
        let code = errno
        guard fclose(file) == 0, isWritten, rename(temporary, path) == 0 else {
            unlink(temporary)
            throw TraceError(file: path, number: isWritten ? errno : code)
        }
    }

    private var lines: [JSONValue] {
        var lines: [JSONValue] = [
            [
                "qmpindex": 1, "size": .integer(Int64(stamp.size)), "modified": .integer(Int64(stamp.modified)),
                "beginning": .string(stamp.beginning), "records": .integer(Int64(records)),
                "lines": .integer(Int64(marks.count + attempts.count + events.count)),
            ]
        ]
        lines += marks.map { ["mark": $0.json] }
        lines += attempts.map { attempt in
            [
                "attempt": .integer(Int64(attempt.number)), "id": attempt.identifier.map { .string($0) } ?? .null,
                "place": attempt.place.json, "status": .string(attempt.status),
            ]
        }
        lines += events.sorted { $0.key < $1.key }.map { name, events in
            [
                "event": .string(name), "count": .integer(Int64(events.count)),
                "places": .array(events.places.map(\.json)),
            ]
        }
        return lines
    }

    /// Reads the index of a trace; `nil` if there is none. A stale or damaged one is an error.
    public init?(of trace: String) throws(TraceError) {
        let path = Self.path(of: trace)
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw TraceError(file: path, number: errno)
        }
        var status = Glibc.stat()
        guard fstat(descriptor, &status) == 0, status.st_size <= Self.maximumBytes else {
            close(descriptor)
            throw TraceError(file: path, message: "too large for an index")
        }
        try self.init(ByteSource(descriptor: descriptor, closes: true), path: path, now: try Self.stamp(of: trace))
    }

    /// Reads an index from memory.
    public init(bytes: [UInt8], path: String, now: Stamp) throws(TraceError) {
        try self.init(ByteSource(bytes: bytes), path: path, now: now)
    }

    private init(_ bytes: ByteSource, path: String, now: Stamp) throws(TraceError) {
        let source = LineSource(bytes, maximumLineBytes: 1 << 20)
        var index: TraceIndex?
        var number = 0
        var expected = 0
        func damaged(_ what: String) -> TraceError {
            TraceError(file: path, line: number, message: "the index is damaged: \(what)")
        }
        while true {
            let line: LineSource.Line
            do throws(ByteSource.ReadError) { line = try source.next() } catch {
                throw TraceError(file: path, error)
            }
            number += 1
            guard case .complete(let range) = line else {
                guard case .end = line else { throw damaged("a line is cut short or too long") }
                break
            }
            let value: JSONValue
            do throws(JSONError) { value = try JSONValue(parsing: Array(source.buffer[range])) } catch {
                throw damaged(error.message)
            }
            guard index != nil else {
                guard value["qmpindex"] == 1 else { throw TraceError(file: path, line: 1, message: "this is no index") }
                guard let size = value["size"]?.count, let modified = value["modified"]?.count,
                    let beginning = value["beginning"]?.string, let records = value["records"]?.count,
                    let lines = value["lines"]?.count
                else { throw damaged("its header") }
                guard Stamp(size: size, modified: modified, beginning: beginning) == now else {
                    throw TraceError(
                        file: path,
                        message: "the index is stale: the trace has changed; make it anew with 'godwit index'")
                }
                index = TraceIndex(stamp: now)
                index?.records = records
                expected = lines
                continue
            }
            guard index?.take(value) == true else { throw damaged("a line that is none of an index") }
            expected -= 1
        }
        guard let index, expected == 0 else { throw damaged("it is not complete") }
        self = index
    }

    private mutating func take(_ value: JSONValue) -> Bool {
        if let mark = value["mark"] {
            guard let place = place(mark), marks.count < Self.maximumMarks, place.offset > marks.last?.offset ?? -1
            else {
                return false
            }
            marks.append(place)
        } else if let number = value["attempt"]?.count {
            guard let place = value["place"].flatMap({ self.place($0) }), let status = value["status"]?.string,
                attempts.count < Self.maximumAttempts
            else { return false }
            attempts.append(Attempt(number: number, identifier: value["id"]?.string, place: place, status: status))
        } else if let name = value["event"]?.string {
            let listed = value["places"]?.array ?? []
            let places = listed.compactMap { place($0) }
            guard let count = value["count"]?.count, places.count == listed.count, places.count <= Self.maximumPlaces,
                count >= places.count, events.count < Self.maximumNames
            else { return false }
            events[name] = Events(count: count, places: places)
        } else {
            return false
        }
        return true
    }

    private func place(_ value: JSONValue) -> Place? {
        guard let parts = value.array, parts.count == 3, let line = parts[0].count, line > 0,
            let offset = parts[1].count,
            offset < stamp.size, let microseconds = parts[2].int64, microseconds >= 0
        else { return nil }
        return Place(line: line, offset: offset, microseconds: microseconds)
    }
}

extension TraceIndex.Place {
    fileprivate var json: JSONValue {
        [.integer(Int64(line)), .integer(Int64(offset)), .integer(microseconds)]
    }
}

extension JSONValue {
    fileprivate var count: Int? { int64.flatMap { $0 >= 0 ? Int($0) : nil } }
}
