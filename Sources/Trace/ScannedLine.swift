import Glibc
public import JSONC

/// A shape of lines: what all lines of it have in common.
public final class TraceShape: @unchecked Sendable {
    /// One of the wanted numbers, as a line of this shape has it.
    public struct Slot: Sendable, Hashable {
        /// The place of its path among the wanted ones.
        public var path: Int
        /// Whether a minus is in front of it, which the scanned number does not have.
        public var isNegative: Bool
        /// Whether it has a decimal point: the scanned number holds the bits of a `Double`.
        public var isFraction: Bool

        /// A number.
        public init(path: Int, isNegative: Bool = false, isFraction: Bool = false) {
            self.path = path
            self.isNegative = isNegative
            self.isFraction = isFraction
        }
    }

    /// The first record of this shape. The others differ in the time, in the message's id and, if it came from QEMU,
    /// in its numbers.
    public let record: TraceRecord
    /// Which numbers a line of this shape has, in their order.
    public let slots: [Slot]
    /// What the reader of the lines wants to remember with the shape. Only the thread that takes the blocks in their
    /// order touches it.
    public var attachment: AnyObject?

    init(record: TraceRecord, slots: [Slot]) {
        self.record = record
        self.slots = slots
    }
}

/// The id of a message in sixteen bytes, if it fits: two are equal if and only if the ids are.
public struct ScannedIdentifier: Hashable, Sendable {
    /// The first eight bytes of a string, or an integer.
    public var low: UInt64
    /// The other bytes of a string; the highest byte is its length or one of the marks.
    public var high: UInt64

    static let integerMark: UInt64 = 0x80 << 56
    static let longMark: UInt64 = 0xFE << 56
    static let noneMark: UInt64 = 0xFF << 56

    /// No id.
    public static let none = ScannedIdentifier(low: 0, high: noneMark)

    /// Whether there is none.
    public var isNone: Bool { high == Self.noneMark }

    /// Whether it is a string that does not fit.
    public var isLong: Bool { high == Self.longMark }

    /// An integer.
    public init(_ integer: Int64) {
        low = UInt64(bitPattern: integer)
        high = Self.integerMark
    }

    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// Up to fifteen bytes; there are eight readable ones behind them.
    @inline(__always)
    init(_ text: UnsafeRawPointer, count: Int) {
        let first = UInt64(littleEndian: text.loadUnaligned(as: UInt64.self))
        if count < 8 {
            low = first & ((1 &<< UInt64(truncatingIfNeeded: 8 &* count)) &- 1)
            high = UInt64(truncatingIfNeeded: count) &<< 56
        } else {
            let second = UInt64(littleEndian: text.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            low = first
            high =
                (second & ((1 &<< UInt64(truncatingIfNeeded: 8 &* (count &- 8))) &- 1))
                | UInt64(truncatingIfNeeded: count) &<< 56
        }
    }

    /// The id as a value; `nil` if there is none or it does not fit.
    public var value: JSONValue? {
        if isNone || isLong { return nil }
        if high == Self.integerMark { return .integer(Int64(bitPattern: low)) }
        var bytes: [UInt8] = []
        for place in 0..<min(Int(high >> 56), 15) {
            bytes.append(
                UInt8(truncatingIfNeeded: place < 8 ? low >> (8 * UInt64(place)) : high >> (8 * UInt64(place - 8))))
        }
        return .string(String(decoding: bytes, as: UTF8.self))
    }

    /// The id as it would be in a decoded record; `nil` if there is none or it does not fit.
    public init?(_ value: JSONValue?) {
        switch value {
        case nil: self = .none
        case .integer(let integer)?: self.init(integer)
        case .string(let text)? where text.utf8.count <= 15:
            self = withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { buffer in
                buffer.copyBytes(from: repeatElement(0, count: 32))
                buffer.copyBytes(from: text.utf8)
                guard let base = buffer.baseAddress else { return .none }
                return ScannedIdentifier(UnsafeRawPointer(base), count: text.utf8.count)
            }
        default: return nil
        }
    }
}

/// A line as it was scanned.
public struct ScannedLine {
    /// Since the start of the recording.
    public var microseconds: Int64 = 0
    /// The id of its message.
    public var identifier = ScannedIdentifier.none
    /// The place of its shape in the block; if negative, the complement is the place among the block's other lines.
    public var shape: Int32 = -1
    /// How many lines of the block are before it.
    public var line: Int32 = 0
    /// Where it begins in the block.
    public var start: Int32 = 0
    /// Its bytes, without the line feed.
    public var count: Int32 = 0
    /// Where its numbers begin among those of the block.
    public var number: Int32 = 0

    /// A line of nothing.
    public init() {}

    @inline(__always)
    mutating func setNoIdentifier() { identifier = .none }

    @inline(__always)
    mutating func setIdentifier(integer: Int64) { identifier = ScannedIdentifier(integer) }

    @inline(__always)
    mutating func setIdentifier(_ text: UnsafeRawPointer, _ count: Int, base: UnsafeRawPointer) {
        guard count <= 15 else {
            identifier = ScannedIdentifier(
                low: UInt64(truncatingIfNeeded: text - base) &<< 32 | UInt64(truncatingIfNeeded: count),
                high: ScannedIdentifier.longMark)
            return
        }
        identifier = ScannedIdentifier(text, count: count)
    }
}

/// Where a number is in its block. It is read when somebody asks for it: of most numbers only the last one counts.
struct ScannedNumber {
    private var start: UInt32
    private var digits: UInt8
    /// How many digits are behind its decimal point; 0 if it has none.
    fileprivate(set) var decimals: UInt8 = 0

    @inline(__always)
    init(at start: Int, digits: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.digits = UInt8(truncatingIfNeeded: digits)
    }

    /// The number, or with a decimal point the bits of a `Double`.
    @inline(__always)
    func value(_ base: UnsafeRawPointer) -> Int64 {
        let start = base + Int(self.start)
        let integer = LineTemplates.integer(start, Int(digits))
        guard decimals > 0 else { return integer }
        return LineTemplates.double(
            integer, LineTemplates.integer(start + Int(digits) + 1, Int(decimals)), Int(decimals), from: start)
    }
}

/// Numbers one behind the other.
struct NumberBuffer {
    private(set) var base: UnsafeMutablePointer<ScannedNumber>
    var count = 0
    private var capacity = 1024

    init() { base = .allocate(capacity: capacity) }

    func deallocate() { base.deallocate() }

    @inline(__always)
    mutating func append(_ number: ScannedNumber) {
        if count == capacity { grow() }
        (base + count).initialize(to: number)
        count &+= 1
    }

    /// The last number has a decimal point and so many digits behind it.
    @inline(__always)
    mutating func setFraction(digits: Int) {
        if count > 0 { base[count &- 1].decimals = UInt8(truncatingIfNeeded: digits) }
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<ScannedNumber>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: base, count: count)
        base.deallocate()
        base = larger
        capacity *= 2
    }
}
