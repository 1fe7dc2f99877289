import CJSONC

/// Parses JSON texts with one json-c tokener that is kept from text to text.
public struct JSONParser: ~Copyable {
    private let tokener: Tokener
    private let stack: UnsafeMutablePointer<Bool>
    private let limits: JSONLimits

    /// A parser with the given bounds; bounds beyond what json-c can hold are lowered.
    public init(limits: JSONLimits = .init()) {
        var limits = limits
        limits.maximumDepth = min(max(limits.maximumDepth, 1), 1 << 16)
        limits.maximumBytes = min(max(limits.maximumBytes, 0), Int(Int32.max) / 2)
        self.limits = limits
        self.stack = .allocate(capacity: limits.maximumDepth)
        self.stack.initialize(repeating: false, count: limits.maximumDepth)
        // One level for the scalar inside the deepest array; the scanner keeps the limit itself.
        self.tokener = Tokener(pointer: json_tokener_new_ex(Int32(limits.maximumDepth + 2)))
        if let tokener = self.tokener.pointer { json_tokener_set_flags(tokener, JSON_TOKENER_STRICT) }
    }

    deinit {
        stack.deallocate()
        if let tokener = tokener.pointer { json_tokener_free(tokener) }
    }

    /// Parses exactly one complete text; white space may surround it.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> JSONDocument {
        JSONDocument(owning: try parseRoot(bytes))
    }

    /// Parses one text; the caller owns the tree (nil is JSON's `null`).
    mutating func parseRoot(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> OpaquePointer? {
        guard let tokener = tokener.pointer else { throw JSONError(.internal, "no memory for a JSON parser") }
        guard bytes.count <= limits.maximumBytes else {
            throw JSONError(
                .tooLarge, "a JSON text of \(bytes.count) bytes exceeds the limit of \(limits.maximumBytes)")
        }
        guard let base = bytes.baseAddress, !bytes.isEmpty else {
            throw JSONError(.truncated, "the text is empty", offset: 0)
        }
        var scanner = JSONScanner(base.assumingMemoryBound(to: UInt8.self), count: bytes.count)
        try scanner.scanText(stack: stack, maximumDepth: limits.maximumDepth)

        var root = json_tokener_parse_ex(tokener, base.assumingMemoryBound(to: CChar.self), Int32(bytes.count))
        if json_tokener_get_error(tokener) == json_tokener_continue {
            // A number on the top level may go on for all json-c knows: white space ends it.
            root = json_tokener_parse_ex(tokener, " ", 1)
        }
        let failure = json_tokener_get_error(tokener)
        guard failure == json_tokener_success else {
            let offset = json_tokener_get_parse_end(tokener)
            json_tokener_reset(tokener)
            let reason = json_tokener_error_desc(failure).map { String(cString: $0) } ?? "unknown error"
            throw JSONError(.internal, "json-c: \(reason)", offset: offset)
        }
        // json-c lets the last of several equal keys win: the tree then has fewer members than the text.
        if scanner.members > 1, memberCount(of: root) != scanner.members {
            json_object_put(root)
            throw duplicateKey(in: UnsafeBufferPointer(start: scanner.bytes, count: scanner.end))
        }
        return root
    }
}

/// A tokener, or nil if there was no memory for one.
private struct Tokener {
    let pointer: UnsafeMutablePointer<json_tokener>?
}

private func memberCount(of object: OpaquePointer?) -> Int {
    switch json_object_get_type(object) {
    case json_type_object:
        guard let table = json_object_get_object(object) else { return 0 }
        var total = Int(table.pointee.count)
        var entry = table.pointee.head
        while let current = entry {
            if let value = current.pointee.v { total += memberCount(of: OpaquePointer(value)) }
            entry = current.pointee.next
        }
        return total
    case json_type_array:
        var total = 0
        for index in 0..<json_object_array_length(object) {
            if let value = json_object_array_get_idx(object, index) { total += memberCount(of: value) }
        }
        return total
    default:
        return 0
    }
}

/// Finds the second of two equal keys in a text that the scanner has accepted.
private func duplicateKey(in text: UnsafeBufferPointer<UInt8>) -> JSONError {
    guard let base = text.baseAddress else { return JSONError(.duplicateKey, "a member is named twice") }
    var scanner = JSONScanner(base, count: text.count)
    // One set of names per open object, one nil per open array.
    var levels: [Set<[UInt8]>?] = []
    while scanner.position < scanner.end {
        switch base[scanner.position] {
        case UInt8(ascii: "{"): levels.append([])
        case UInt8(ascii: "["): levels.append(nil)
        case UInt8(ascii: "}"), UInt8(ascii: "]"): _ = levels.popLast()
        case UInt8(ascii: "\""):
            let start = scanner.position
            guard (try? scanner.scanString()) != nil else { break }
            let literal = UnsafeRawBufferPointer(start: base + start, count: scanner.position - start)
            scanner.skipWhitespace()
            guard scanner.position < scanner.end, base[scanner.position] == UInt8(ascii: ":") else { continue }
            // The same name can be spelt with and without escapes.
            guard let name = try? JSONDocument(parsing: literal).withRoot({ $0.string }),
                let last = levels.indices.last, levels[last] != nil
            else { break }
            if levels[last]?.insert(Array(name.utf8)).inserted == false {
                return JSONError(.duplicateKey, "member '\(name)' is named twice", offset: start)
            }
        default: break
        }
        scanner.position += 1
    }
    return JSONError(.duplicateKey, "a member is named twice")
}

/// A parsed JSON text. It owns json-c's tree; what is in it is read through views.
public struct JSONDocument: ~Copyable {
    private let root: OpaquePointer?

    init(owning root: OpaquePointer?) { self.root = root }

    /// Parses exactly one complete text within QEMU's bounds.
    public init(parsing bytes: UnsafeRawBufferPointer) throws(JSONError) {
        var parser = JSONParser()
        self.init(owning: try parser.parseRoot(bytes))
    }

    /// Parses exactly one complete text within bounds, QEMU's unless others are given.
    public init(parsing bytes: [UInt8], limits: JSONLimits = .init()) throws(JSONError) {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(JSONError) in
                var parser = JSONParser(limits: limits)
                return try parser.parseRoot(bytes)
            }
        }
        self.init(owning: try result.get())
    }

    /// Parses exactly one complete text within QEMU's bounds.
    public init(parsing text: String) throws(JSONError) {
        self = try JSONDocument(parsing: Array(text.utf8))
    }

    deinit { _ = json_object_put(root) }

    /// Lends the root. The view and all views taken from it are valid only inside the closure.
    public borrowing func withRoot<R, E: Error>(_ body: (JSONView) throws(E) -> R) throws(E) -> R {
        try body(JSONView(root))
    }
}
