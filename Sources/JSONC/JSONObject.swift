/// The members of a JSON object in the order of the text. Equality does not depend on the order.
///
/// Names are told apart by their bytes, as JSON does it, not by canonical equivalence, as `String` does it.
public struct JSONObject: Sendable, Hashable, Sequence, ExpressibleByDictionaryLiteral, CustomStringConvertible {
    private var members: [(key: String, value: JSONValue)] = []
    /// Where each name is, once a walk over all names would cost more.
    private var places: [Name: Int] = [:]

    private static let indexedFrom = 16

    /// No members.
    public init() {}

    /// Members in the order of the literal; of equal names the last value counts.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        for (key, value) in elements { self[key] = value }
    }

    /// The number of members.
    public var count: Int { members.count }

    /// Whether there are no members.
    public var isEmpty: Bool { members.isEmpty }

    /// The names in the order of the text.
    public var keys: [String] { members.map(\.key) }

    /// A member's value. Setting keeps the place of a known name and appends a new one; setting nil removes the member.
    public subscript(key: String) -> JSONValue? {
        get { place(of: key).map { members[$0].value } }
        set {
            switch (place(of: key), newValue) {
            case (let place?, let value?):
                members[place].value = value
            case (let place?, nil):
                members.remove(at: place)
                places = [:]
                indexIfLarge()
            case (nil, let value?):
                appendDistinct(key, value)
            case (nil, nil):
                break
            }
        }
    }

    /// Visits the members in order.
    public func makeIterator() -> IndexingIterator<[(key: String, value: JSONValue)]> { members.makeIterator() }

    /// Compares the members whatever their order.
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.key] == $0.value }
    }

    /// Hashes the members whatever their order.
    public func hash(into hasher: inout Hasher) {
        var sum = 0
        for (key, value) in members {
            var member = Hasher()
            member.combine(Name(key))
            member.combine(value)
            sum &+= member.finalize()
        }
        hasher.combine(count)
        hasher.combine(sum)
    }

    /// The compact JSON text.
    public var description: String { JSONValue.object(self).text() }

    mutating func reserveCapacity(_ capacity: Int) {
        members.reserveCapacity(capacity)
    }

    /// Appends a member whose name is known to be new.
    mutating func appendDistinct(_ key: String, _ value: JSONValue) {
        members.append((key, value))
        if !places.isEmpty {
            places[Name(key)] = members.count - 1
        } else {
            indexIfLarge()
        }
    }

    private mutating func indexIfLarge() {
        guard members.count >= Self.indexedFrom else { return }
        for (place, member) in members.enumerated() { places[Name(member.key)] = place }
    }

    private func place(of key: String) -> Int? {
        guard places.isEmpty else { return places[Name(key)] }
        let name = Name(key)
        return members.firstIndex { Name($0.key) == name }
    }

    private struct Name: Hashable {
        let string: String

        init(_ string: String) { self.string = string }

        static func == (left: Name, right: Name) -> Bool {
            left.string.utf8.count == right.string.utf8.count && left.string.utf8.elementsEqual(right.string.utf8)
        }

        func hash(into hasher: inout Hasher) {
            for byte in string.utf8 { hasher.combine(byte) }
        }
    }
}
