/// Cuts a byte stream into QMP messages.
///
/// QEMU writes one object per line (CR LF), or over several lines with `pretty=on`, and reads objects without any
/// delimiter; a read may hold half a message or twenty. So a message is a balanced object, and line ends matter only
/// between messages. What is not a message is handed out as garbage: up to the line end when it starts outside an
/// object; an unfinished object when a raw line feed occurs inside one of its strings (JSON forbids that, so the line
/// was torn) or when a resynchronisation byte (0xFF, also 0xFE) follows. Every byte is looked at once, however small
/// the reads are.
///
/// The framer is driven by pulling, so that nothing runs while it is borrowed:
/// ```
/// var offset = 0
/// while let frame = framer.next(in: bytes, from: &offset) { ... }
/// ```
public struct QMPFramer: Sendable {
    /// What was found. Ranges count from the start of the input that was handed in.
    public enum Frame: Hashable, Sendable {
        /// One whole message, without its line end, lies in the input.
        case message(Range<Int>)
        /// One whole message that began in an earlier input: fetch it with `takeCarried()` before the next call.
        case carriedMessage
        /// Bytes of the input that belong to no message.
        case garbage(Range<Int>)
        /// Bytes that belong to no message and began in an earlier input: fetch them with `takeCarried()`.
        case carriedGarbage
        /// The message grew beyond the limit; nothing more comes out of this framer.
        case tooLarge
    }

    private enum State {
        case between
        case message
        case string
        case escape
        case garbage
        case failed
    }

    /// The largest message accepted, in bytes. QEMU's own parser stops at 64 MiB.
    public let maximumBytes: Int

    private var state = State.between
    private var depth = 0
    /// The head of the message that the last input ended in.
    private var carried: [UInt8] = []
    /// `carried` was announced and waits to be fetched.
    private var isCarriedComplete = false

    /// A framer that refuses messages of more than `maximumBytes`.
    public init(maximumBytes: Int = 64 << 20) {
        self.maximumBytes = Swift.max(1, maximumBytes)
    }

    /// The error that goes with `.tooLarge`.
    public var limitError: QMPError {
        QMPError(.limit, "a QMP message is larger than \(self.maximumBytes) bytes")
    }

    /// Bytes of an unfinished message that are held back.
    public var carriedCount: Int { self.isCarriedComplete ? 0 : self.carried.count }

    /// The next frame in `bytes` from `offset` on, which is moved behind it; nil when the input is used up.
    public mutating func next(in bytes: UnsafeRawBufferPointer, from offset: inout Int) -> Frame? {
        if self.isCarriedComplete { _ = self.takeCarried() }
        var index = Swift.max(0, offset)
        defer { offset = index }
        var start = index
        while index < bytes.count {
            switch self.state {
            case .between:
                switch bytes[index] {
                case Byte.openBrace:
                    start = index
                    self.depth = 1
                    self.state = .message
                    index += 1
                case Byte.space, Byte.tab, Byte.carriageReturn, Byte.lineFeed, Byte.resync, Byte.olderResync:
                    index += 1
                default:
                    start = index
                    self.state = .garbage
                }
            case .message:
                index = Self.skipStructure(bytes, from: index)
                guard index < bytes.count else { break }
                let byte = bytes[index]
                index += 1
                switch byte {
                case Byte.quote:
                    self.state = .string
                case Byte.openBrace, Byte.openBracket:
                    self.depth += 1
                case Byte.closeBrace, Byte.closeBracket:
                    self.depth -= 1
                    if self.depth == 0 {
                        self.state = .between
                        return self.finish(bytes, start..<index, message: true)
                    }
                default:
                    self.state = .between
                    return self.finish(bytes, start..<(index - 1), message: false)
                }
            case .string:
                index = Self.skipString(bytes, from: index)
                guard index < bytes.count else { break }
                let byte = bytes[index]
                index += 1
                switch byte {
                case Byte.quote:
                    self.state = .message
                case Byte.backslash:
                    self.state = .escape
                default:
                    self.state = .between
                    return self.finish(bytes, start..<(index - 1), message: false)
                }
            case .escape:
                let byte = bytes[index]
                index += 1
                if byte == Byte.lineFeed || byte == Byte.resync || byte == Byte.olderResync {
                    self.state = .between
                    return self.finish(bytes, start..<(index - 1), message: false)
                }
                self.state = .string
            case .garbage:
                while index < bytes.count, !Self.endsGarbage(bytes[index]) { index += 1 }
                if index < bytes.count { self.state = .between }
                var end = index
                if end > start, index < bytes.count, bytes[end - 1] == Byte.carriageReturn { end -= 1 }
                if end > start { return .garbage(start..<end) }
            case .failed:
                index = bytes.count
                return nil
            }
        }
        return self.carry(bytes, from: start)
    }

    /// The message or garbage that was just announced as carried.
    public mutating func takeCarried() -> [UInt8] {
        self.isCarriedComplete = false
        var taken: [UInt8] = []
        swap(&taken, &self.carried)
        return taken
    }

    /// The unfinished message when the stream has ended; nil if the stream ended between two messages.
    public mutating func takeRemainder() -> [UInt8]? {
        guard !self.isCarriedComplete, !self.carried.isEmpty else { return nil }
        self.state = .between
        self.depth = 0
        return self.takeCarried()
    }

    private mutating func finish(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, message: Bool) -> Frame? {
        self.depth = 0
        guard self.carried.count + range.count <= self.maximumBytes else { return self.fail() }
        if self.carried.isEmpty { return message ? .message(range) : .garbage(range) }
        self.carried.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[range]))
        self.isCarriedComplete = true
        return message ? .carriedMessage : .carriedGarbage
    }

    /// Keeps what belongs to an unfinished message, as the input is used up.
    private mutating func carry(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Frame? {
        switch self.state {
        case .between, .garbage, .failed:
            return nil
        case .message, .string, .escape:
            guard start < bytes.count else { return nil }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
            guard self.carried.count + rest.count <= self.maximumBytes else { return self.fail() }
            self.carried.append(contentsOf: rest)
            return nil
        }
    }

    private mutating func fail() -> Frame {
        self.state = .failed
        self.carried = []
        return .tooLarge
    }

    private static func skipStructure(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index < bytes.count {
            switch bytes[index] {
            case Byte.quote, Byte.openBrace, Byte.closeBrace, Byte.openBracket, Byte.closeBracket, Byte.resync,
                Byte.olderResync:
                return index
            default:
                index += 1
            }
        }
        return index
    }

    private static func skipString(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index < bytes.count {
            switch bytes[index] {
            case Byte.quote, Byte.backslash, Byte.lineFeed, Byte.resync, Byte.olderResync:
                return index
            default:
                index += 1
            }
        }
        return index
    }

    private static func endsGarbage(_ byte: UInt8) -> Bool {
        byte == Byte.lineFeed || byte == Byte.resync || byte == Byte.olderResync
    }

    private enum Byte {
        static let tab = UInt8(ascii: "\t")
        static let lineFeed = UInt8(ascii: "\n")
        static let carriageReturn = UInt8(ascii: "\r")
        static let space = UInt8(ascii: " ")
        static let quote = UInt8(ascii: "\"")
        static let backslash = UInt8(ascii: "\\")
        static let openBrace = UInt8(ascii: "{")
        static let closeBrace = UInt8(ascii: "}")
        static let openBracket = UInt8(ascii: "[")
        static let closeBracket = UInt8(ascii: "]")
        static let olderResync: UInt8 = 0xFE
        static let resync: UInt8 = 0xFF
    }
}
