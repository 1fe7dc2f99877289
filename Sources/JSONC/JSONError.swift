/// Why a JSON text was refused, or why a value is not what was asked for.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of failure. New codes may be added: always handle the unknown ones.
    public struct Code: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
        /// The code's stable name.
        public let rawValue: String

        /// A code by its stable name.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The code's stable name.
        public var description: String { rawValue }

        /// The text breaks the grammar of RFC 8259.
        public static let syntax = Code(rawValue: "syntax")
        /// The text ends before its value is complete.
        public static let truncated = Code(rawValue: "truncated")
        /// Arrays and objects are nested deeper than the limit.
        public static let depth = Code(rawValue: "depth")
        /// Something other than white space follows the value.
        public static let trailingBytes = Code(rawValue: "trailing-bytes")
        /// A string holds bytes that are no UTF-8 (overlong forms and encoded surrogates included).
        public static let invalidUTF8 = Code(rawValue: "invalid-utf8")
        /// A string escapes half of a surrogate pair.
        public static let loneSurrogate = Code(rawValue: "lone-surrogate")
        /// A string holds an unescaped control character.
        public static let controlCharacter = Code(rawValue: "control-character")
        /// A number is NaN or infinite. QEMU prints doubles with `%.17g` and so can emit `nan` and `inf`.
        public static let nonFinite = Code(rawValue: "non-finite")
        /// An integer fits neither a signed nor an unsigned 64-bit integer.
        public static let integerOutOfRange = Code(rawValue: "integer-out-of-range")
        /// An object names a member twice.
        public static let duplicateKey = Code(rawValue: "duplicate-key")
        /// A member's name holds U+0000.
        public static let nulInKey = Code(rawValue: "nul-in-key")
        /// The text is longer than the limit.
        public static let tooLarge = Code(rawValue: "too-large")
        /// A value has another type than the one asked for.
        public static let wrongType = Code(rawValue: "wrong-type")
        /// Memory ran out, or json-c refused a text that the scanner accepts.
        public static let `internal` = Code(rawValue: "internal")
    }

    /// What kind of failure it is.
    public var code: Code
    /// What is wrong, in words, without the place.
    public var message: String
    /// Where it is wrong: bytes from the start of the text, if there is such a place.
    public var offset: Int?

    /// Describes a failure.
    public init(_ code: Code, _ message: String, offset: Int? = nil) {
        self.code = code
        self.message = message
        self.offset = offset
    }

    /// The message and, if known, the place.
    public var description: String {
        guard let offset else { return message }
        return "\(message) at byte \(offset)"
    }
}

/// Bounds of what a parser accepts.
public struct JSONLimits: Sendable, Hashable {
    /// Levels of nested arrays and objects; QEMU's own parser allows 1024.
    public var maximumDepth = 1024
    /// Bytes of one text; QEMU's own parser allows 64 MiB.
    public var maximumBytes = 64 << 20

    /// QEMU's own bounds.
    public init() {}

    /// Other bounds than QEMU's.
    public init(maximumDepth: Int, maximumBytes: Int) {
        self.maximumDepth = maximumDepth
        self.maximumBytes = maximumBytes
    }
}
