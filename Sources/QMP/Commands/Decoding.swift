internal import JSONC

extension JSONView {
    /// A member that the reply cannot do without.
    func required<T>(_ key: StaticString, of command: String, _ read: (JSONView) -> T?) throws(QMPError) -> T {
        guard let member = self[key] else {
            throw QMPError(.invalidReply, "\(command): the reply has no member \"\(key)\"")
        }
        guard let value = read(member) else {
            throw QMPError(.invalidReply, "\(command): the member \"\(key)\" of the reply has the wrong type")
        }
        return value
    }

    /// The elements of an array, each read by `read`.
    func elements<T>(of command: String, _ read: (JSONView) throws(QMPError) -> T) throws(QMPError) -> [T] {
        guard self.kind == .array else {
            throw QMPError(.invalidReply, "\(command): the reply is not an array")
        }
        var result: [T] = []
        result.reserveCapacity(self.count)
        try self.forEachElement { (element: JSONView) throws(QMPError) in
            result.append(try read(element))
        }
        return result
    }

    /// A whole number, also when it is written as a double (QEMU does both); nil if it does not fit.
    var wholeNumber: Int64? {
        if let number = self.int64 { return number }
        guard let number = self.double else { return nil }
        return Int64(exactly: number.rounded())
    }
}
