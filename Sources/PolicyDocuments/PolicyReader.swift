import JSONC
import Policy

/// A value in a policy document, with the way to it.
struct PolicyReader {
    let value: JSONValue
    let path: [PathStep]
    let file: String
    let places: DocumentPlaces

    func failure(_ message: String) -> PolicyDocumentError {
        let (line, column) = places.place(of: places.offset(of: path))
        var member = ""
        for step in path {
            switch step {
            case .member(let name): member += member.isEmpty ? name : ".\(name)"
            case .element(let index): member += "[\(index)]"
            }
        }
        return PolicyDocumentError(file: file, line: line, column: column, member: member, message: message)
    }

    private func inside(_ step: PathStep, _ value: JSONValue) -> PolicyReader {
        PolicyReader(value: value, path: path + [step], file: file, places: places)
    }

    // MARK: Objects

    /// The members of an object, which may be called nothing else.
    func members(
        _ allowed: Set<String>?, atMost count: Int = 100
    ) throws(PolicyDocumentError) -> [(key: String, value: PolicyReader)] {
        guard let object = value.object else { throw failure("an object is wanted here, not \(kind)") }
        guard object.count <= count else { throw failure("more than \(count) members") }
        var members: [(key: String, value: PolicyReader)] = []
        for (key, value) in object {
            let reader = inside(.member(key), value)
            if let allowed, !allowed.contains(key) {
                throw reader.failure("unknown; known here are \(allowed.sorted().joined(separator: ", "))")
            }
            members.append((key, reader))
        }
        return members
    }

    subscript(_ key: String) -> PolicyReader? { value[key].map { inside(.member(key), $0) } }

    /// A member that must be there.
    func required(_ key: String) throws(PolicyDocumentError) -> PolicyReader {
        guard let member = self[key] else { throw failure("the member `\(key)` is missing") }
        return member
    }

    /// The elements of a list.
    func elements(atMost count: Int) throws(PolicyDocumentError) -> [PolicyReader] {
        guard let array = value.array else { throw failure("a list is wanted here, not \(kind)") }
        guard array.count <= count else { throw failure("more than \(count) elements") }
        return array.enumerated().map { inside(.element($0.offset), $0.element) }
    }

    // MARK: Scalars

    func string() throws(PolicyDocumentError) -> String {
        guard let string = value.string else { throw failure("a string is wanted here, not \(kind)") }
        guard string.utf8.count <= 4000 else { throw failure("longer than 4000 bytes") }
        return string
    }

    func bool() throws(PolicyDocumentError) -> Bool {
        guard let bool = value.bool else { throw failure("true or false is wanted here, not \(kind)") }
        return bool
    }

    func positiveInteger() throws(PolicyDocumentError) -> Int {
        guard let number = value.int64.flatMap({ Int(exactly: $0) }), number > 0 else {
            throw failure("a positive integer is wanted here")
        }
        return number
    }

    /// A number or an expression.
    func expression(_ parser: ExpressionParser) throws(PolicyDocumentError) -> PolicyExpression {
        if let number = value.double { return PolicyExpression(number) }
        guard value.string != nil else { throw failure("a number or an expression is wanted here, not \(kind)") }
        do throws(ExpressionError) {
            return try parser.parse(value.string ?? "")
        } catch {
            throw failure("\(error)")
        }
    }

    /// An expression in which nothing changes.
    func constant(_ parser: ExpressionParser) throws(PolicyDocumentError) -> Double {
        guard let number = try expression(parser).constantValue else {
            throw failure("only numbers and constants can stand here")
        }
        return number
    }

    private var kind: String {
        switch value.kind {
        case .null: "null"
        case .bool: "a truth value"
        case .integer, .number: "a number"
        case .string: "a string"
        case .array: "a list"
        case .object: "an object"
        }
    }
}
