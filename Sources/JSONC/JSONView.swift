import CJSONC
import Glibc

/// The type of a JSON value. Integers and other numbers are told apart by their text: `1.0` is a number.
public enum JSONKind: Sendable, Hashable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool
    /// A number without fraction and exponent; it fits `Int64` or `UInt64`.
    case integer
    /// Any other number.
    case number
    /// A string.
    case string
    /// An array.
    case array
    /// An object.
    case object
}

/// A borrowed JSON value: valid only inside the closure that handed it out. Reading it builds no Swift tree.
public struct JSONView {
    private let object: OpaquePointer?

    init(_ object: OpaquePointer?) { self.object = object }

    /// The value's type.
    public var kind: JSONKind {
        switch json_object_get_type(object) {
        case json_type_boolean: .bool
        case json_type_int: .integer
        case json_type_double: .number
        case json_type_string: .string
        case json_type_array: .array
        case json_type_object: .object
        default: .null
        }
    }

    // MARK: Members and elements

    /// A member of an object; nil if there is none of that name or this is no object.
    public subscript(_ key: StaticString) -> JSONView? {
        guard key.hasPointerRepresentation else { return member(key.description) }
        return member(key.utf8Start)
    }

    /// A member of an object; nil if there is none of that name or this is no object.
    public func member(_ key: String) -> JSONView? {
        // A C string would end at the NUL and find another member.
        guard !key.utf8.contains(0) else { return nil }
        return key.withCString { pointer in
            pointer.withMemoryRebound(to: UInt8.self, capacity: 1) { member($0) }
        }
    }

    private func member(_ key: UnsafePointer<UInt8>) -> JSONView? {
        guard json_object_is_type(object, json_type_object) != 0 else { return nil }
        var found: OpaquePointer?
        let pointer = UnsafeRawPointer(key).assumingMemoryBound(to: CChar.self)
        guard json_object_object_get_ex(object, pointer, &found) != 0 else { return nil }
        return JSONView(found)
    }

    /// The number of members or elements; 0 for other values.
    public var count: Int {
        switch json_object_get_type(object) {
        case json_type_array: json_object_array_length(object)
        case json_type_object: Int(json_object_object_length(object))
        default: 0
        }
    }

    /// An element of an array; nil if there is none at that place or this is no array.
    public func element(at index: Int) -> JSONView? {
        guard json_object_is_type(object, json_type_array) != 0, index >= 0, index < json_object_array_length(object)
        else { return nil }
        return JSONView(json_object_array_get_idx(object, index))
    }

    /// Visits the elements of an array in order; none if this is no array.
    public func forEachElement<E: Error>(_ body: (JSONView) throws(E) -> Void) throws(E) {
        guard json_object_is_type(object, json_type_array) != 0 else { return }
        for index in 0..<json_object_array_length(object) {
            try body(JSONView(json_object_array_get_idx(object, index)))
        }
    }

    /// Visits the members of an object in the order of the text; none if this is no object.
    public func forEachMember<E: Error>(_ body: (String, JSONView) throws(E) -> Void) throws(E) {
        try forEachEntry { (key: UnsafePointer<CChar>, value: JSONView) throws(E) in
            try body(String(cString: key), value)
        }
    }

    private func forEachEntry<E: Error>(_ body: (UnsafePointer<CChar>, JSONView) throws(E) -> Void) throws(E) {
        guard json_object_is_type(object, json_type_object) != 0, let table = json_object_get_object(object) else {
            return
        }
        var entry = table.pointee.head
        while let current = entry {
            entry = current.pointee.next
            guard let key = current.pointee.k else { continue }
            let value = current.pointee.v.map { OpaquePointer($0) }
            try body(key.assumingMemoryBound(to: CChar.self), JSONView(value))
        }
    }

    // MARK: Scalars

    /// Whether the value is `null`.
    public var isNull: Bool { json_object_get_type(object) == json_type_null }

    /// A boolean; nil for other types.
    public var bool: Bool? {
        json_object_is_type(object, json_type_boolean) == 0 ? nil : json_object_get_boolean(object) != 0
    }

    /// An integer; nil for other types (`1.0` included) and for integers above `Int64.max`.
    public var int64: Int64? {
        guard json_object_is_type(object, json_type_int) != 0 else { return nil }
        let value = json_object_get_int64(object)
        // json-c saturates.
        if value == .max, json_object_get_uint64(object) > UInt64(Int64.max) { return nil }
        return value
    }

    /// An integer; nil for other types (`1.0` included) and for negative integers.
    public var uint64: UInt64? {
        guard json_object_is_type(object, json_type_int) != 0, json_object_get_int64(object) >= 0 else { return nil }
        return json_object_get_uint64(object)
    }

    /// A number, integers included; nil for other types and for numbers beyond the range of `Double` such as `1e400`.
    public var double: Double? {
        switch json_object_get_type(object) {
        case json_type_int:
            return json_object_get_double(object)
        case json_type_double:
            let value = json_object_get_double(object)
            return value.isFinite ? value : nil
        default:
            return nil
        }
    }

    /// A copy of a string; nil for other types.
    public var string: String? {
        withStringBytes { String(decoding: $0, as: UTF8.self) }
    }

    /// Lends the UTF-8 of a string, which may contain NUL; nil for other types.
    public func withStringBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R? {
        guard json_object_is_type(object, json_type_string) != 0, let pointer = json_object_get_string(object) else {
            return nil
        }
        return body(UnsafeRawBufferPointer(start: pointer, count: Int(json_object_get_string_len(object))))
    }

    /// Whether this is exactly the given string, compared by bytes without a copy.
    public func equals(_ text: StaticString) -> Bool {
        withStringBytes { bytes in
            text.withUTF8Buffer { wanted in
                guard bytes.count == wanted.count else { return false }
                guard let left = bytes.baseAddress, let right = wanted.baseAddress else { return true }
                return memcmp(left, right, wanted.count) == 0
            }
        } ?? false
    }

    /// The source text of a number with fraction or exponent.
    private var numberText: String? {
        json_object_get_userdata(object).map { String(cString: $0.assumingMemoryBound(to: CChar.self)) }
    }

    // MARK: Copies

    /// A copy that outlives the document.
    public func value() -> JSONValue {
        switch kind {
        case .null:
            return .null
        case .bool:
            return .bool(bool ?? false)
        case .integer:
            if let value = int64 { return .integer(value) }
            return .unsigned(json_object_get_uint64(object))
        case .number:
            let double = json_object_get_double(object)
            return .number(JSONNumber(double: double, unchecked: numberText ?? String(double)))
        case .string:
            return .string(string ?? "")
        case .array:
            var elements: [JSONValue] = []
            elements.reserveCapacity(count)
            forEachElement { elements.append($0.value()) }
            return .array(elements)
        case .object:
            var members = JSONObject()
            members.reserveCapacity(count)
            forEachMember { members.appendDistinct($0, $1.value()) }
            return .object(members)
        }
    }

    /// The compact JSON text of the value. Numbers keep their source text.
    public func serialized() -> [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }

    func write(to writer: inout JSONWriter) {
        switch kind {
        case .null:
            writer.null()
        case .bool:
            writer.value(bool ?? false)
        case .integer:
            if let value = int64 { writer.value(value) } else { writer.value(json_object_get_uint64(object)) }
        case .number:
            writer.raw((numberText ?? String(json_object_get_double(object))).utf8)
        case .string:
            _ = withStringBytes { writer.string($0) }
        case .array:
            writer.array { (inner: inout JSONWriter) in forEachElement { $0.write(to: &inner) } }
        case .object:
            writer.object { (inner: inout JSONWriter) in
                forEachEntry { key, value in
                    inner.key(UnsafeRawBufferPointer(start: key, count: strlen(key)))
                    value.write(to: &inner)
                }
            }
        }
    }
}
