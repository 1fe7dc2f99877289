/// Which faults it is time for: counts what passes, and remembers what happens once only.
struct FaultDesk: Sendable {
    /// What goes wrong. May be changed at any time.
    var faults: [Fault]
    private var counts: [String: Int] = [:]
    /// Faults that happen once and did.
    private var spent: Set<Fault> = []

    init(_ faults: [Fault]) { self.faults = faults }

    /// A command arrived.
    mutating func take(_ command: FakeCommand) -> [Fault] {
        count(["c:" + command.name, "c:*"])
        return matching { point in
            guard case .command(let name, _) = point else { return nil }
            return name == command.name || name == "*" ? "c:" + name : nil
        }
    }

    /// A message is on its way to the client.
    mutating func take(_ message: FakeMessage) -> [Fault] {
        faults(at: message.kind) + faults(atRecord: message.record)
    }

    private mutating func count(_ keys: [String]) {
        for key in keys { counts[key, default: 0] += 1 }
    }

    private func matching(_ key: (FaultPoint) -> String?) -> [Fault] {
        faults.filter { fault in
            guard let point = fault.point, let key = key(point) else { return false }
            return point.number.map { $0 == counts[key] } ?? true
        }
    }

    private mutating func faults(at kind: FakeMessage.Kind) -> [Fault] {
        switch kind {
        case .greeting:
            count(["g"])
            return matching { if case .greeting = $0 { "g" } else { nil } }
        case .event(let name, let status):
            count(["e:" + name])
            if let status { count(["e:\(name):\(status)"]) }
            return matching { point in
                guard case .event(name, let wanted, _) = point else { return nil }
                guard let wanted else { return "e:" + name }
                return wanted == status ? "e:\(name):\(wanted)" : nil
            }
        case .reply(let name):
            count(["r:" + name])
            return matching { if case .reply(name, _) = $0 { "r:" + name } else { nil } }
        case .other:
            return []
        }
    }

    private mutating func faults(atRecord line: Int) -> [Fault] {
        guard line > 0 else { return [] }
        return faults.filter { fault in
            if case .fromRecord(let first)? = fault.point { return line >= first && spent.insert(fault).inserted }
            return fault.point == .record(line)
        }
    }
}
