/// Appends compact JSON to a byte buffer without building a tree.
///
/// The caller keeps the order: inside an object members, inside an array values. Commas are the writer's business.
public struct JSONWriter {
    /// What was written so far.
    public private(set) var bytes: [UInt8] = []
    private var needsComma = false

    /// An empty buffer.
    public init() {}

    /// An empty buffer with room for `capacity` bytes.
    public init(reservingCapacity capacity: Int) {
        bytes.reserveCapacity(max(capacity, 0))
    }

    // MARK: Containers

    /// Writes an object; `body` writes its members.
    public mutating func object(_ body: (inout JSONWriter) -> Void) {
        open(UInt8(ascii: "{"))
        body(&self)
        close(UInt8(ascii: "}"))
    }

    /// Writes an array; `body` writes its elements.
    public mutating func array(_ body: (inout JSONWriter) -> Void) {
        open(UInt8(ascii: "["))
        body(&self)
        close(UInt8(ascii: "]"))
    }

    /// Writes a member that is an object; `body` writes its members.
    public mutating func object(_ key: StaticString, _ body: (inout JSONWriter) -> Void) {
        self.key(key)
        object(body)
    }

    /// Writes a member that is an array; `body` writes its elements.
    public mutating func array(_ key: StaticString, _ body: (inout JSONWriter) -> Void) {
        self.key(key)
        array(body)
    }

    // MARK: Members

    /// Writes a member that is a string.
    public mutating func member(_ key: StaticString, _ value: String) {
        self.key(key)
        self.value(value)
    }

    /// Writes a member that is an integer.
    public mutating func member(_ key: StaticString, _ value: Int) {
        self.key(key)
        self.value(value)
    }

    /// Writes a member that is an integer.
    public mutating func member(_ key: StaticString, _ value: Int64) {
        self.key(key)
        self.value(value)
    }

    /// Writes a member that is an integer.
    public mutating func member(_ key: StaticString, _ value: UInt64) {
        self.key(key)
        self.value(value)
    }

    /// Writes a member that is a number; `null` in place of NaN and infinity, which JSON does not have.
    public mutating func member(_ key: StaticString, _ value: Double) {
        self.key(key)
        self.value(value)
    }

    /// Writes a member that is a boolean.
    public mutating func member(_ key: StaticString, _ value: Bool) {
        self.key(key)
        self.value(value)
    }

    /// Writes a member of any type.
    public mutating func member(_ key: StaticString, _ value: JSONValue) {
        self.key(key)
        self.value(value)
    }

    /// Writes a member of any type.
    public mutating func member(_ key: StaticString, _ value: JSONView) {
        self.key(key)
        value.write(to: &self)
    }

    /// Writes a member whose value is JSON already; it is not checked.
    public mutating func rawMember(_ key: StaticString, _ json: some Collection<UInt8>) {
        self.key(key)
        raw(json)
    }

    /// Writes a member's name; its value must follow.
    public mutating func key(_ key: String) {
        var key = key
        key.withUTF8 { self.key(UnsafeRawBufferPointer($0)) }
    }

    /// Writes a member's name; its value must follow.
    public mutating func key(_ key: StaticString) {
        if key.hasPointerRepresentation {
            self.key(UnsafeRawBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount))
        } else {
            self.key(key.description)
        }
    }

    mutating func key(_ key: UnsafeRawBufferPointer) {
        separate()
        quote(key)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    // MARK: Values

    /// Writes a string.
    public mutating func value(_ value: String) {
        var value = value
        value.withUTF8 { string(UnsafeRawBufferPointer($0)) }
    }

    /// Writes an integer.
    public mutating func value(_ value: Int) { raw(String(value).utf8) }

    /// Writes an integer.
    public mutating func value(_ value: Int64) { raw(String(value).utf8) }

    /// Writes an integer.
    public mutating func value(_ value: UInt64) { raw(String(value).utf8) }

    /// Writes a number; `null` in place of NaN and infinity, which JSON does not have.
    public mutating func value(_ value: Double) {
        if value.isFinite { raw(String(value).utf8) } else { null() }
    }

    /// Writes a boolean.
    public mutating func value(_ value: Bool) { raw((value ? "true" : "false").utf8) }

    /// Writes `null`.
    public mutating func null() { raw("null".utf8) }

    /// Writes a value of any type.
    public mutating func value(_ value: JSONValue) {
        switch value {
        case .null: null()
        case .bool(let value): self.value(value)
        case .integer(let value): self.value(value)
        case .unsigned(let value): self.value(value)
        case .number(let value): raw(value.text.utf8)
        case .string(let value): self.value(value)
        case .array(let elements):
            open(UInt8(ascii: "["))
            for element in elements { self.value(element) }
            close(UInt8(ascii: "]"))
        case .object(let members):
            open(UInt8(ascii: "{"))
            for (key, value) in members {
                self.key(key)
                self.value(value)
            }
            close(UInt8(ascii: "}"))
        }
    }

    /// Writes a value of any type.
    public mutating func value(_ value: JSONView) { value.write(to: &self) }

    /// Writes a value that is JSON already; it is not checked.
    public mutating func raw(_ json: some Collection<UInt8>) {
        separate()
        bytes.append(contentsOf: json)
        needsComma = true
    }

    mutating func string(_ utf8: UnsafeRawBufferPointer) {
        separate()
        quote(utf8)
        needsComma = true
    }

    // MARK: Bytes

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        needsComma = true
    }

    private mutating func quote(_ utf8: UnsafeRawBufferPointer) {
        bytes.append(UInt8(ascii: "\""))
        var plain = 0
        for index in utf8.indices {
            let byte = utf8[index]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            bytes.append(contentsOf: utf8[plain..<index])
            plain = index + 1
            bytes.append(UInt8(ascii: "\\"))
            if byte < 0x20 {
                let digits: StaticString = "0123456789abcdef"
                bytes.append(contentsOf: "u00".utf8)
                bytes.append(digits.utf8Start[Int(byte >> 4)])
                bytes.append(digits.utf8Start[Int(byte & 15)])
            } else {
                bytes.append(byte)
            }
        }
        bytes.append(contentsOf: utf8[plain...])
        bytes.append(UInt8(ascii: "\""))
    }
}
