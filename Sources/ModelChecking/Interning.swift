internal import Synchronization

/// Gives equal values the same number, so that a state is a handful of numbers and parts that many states share are kept once.
///
/// Number 0 is the value it was made with. Numbers are never taken back.
final class Interner<Value: Hashable & Sendable>: Sendable {
    private struct Table {
        var numbers: [Value: UInt32] = [:]
        var values: [Value] = []
    }

    private let table: Mutex<Table>

    init(_ first: Value) {
        table = Mutex(Table(numbers: [first: 0], values: [first]))
    }

    var count: Int { table.withLock { $0.values.count } }

    func number(of value: Value) -> UInt32 {
        table.withLock { table in
            if let known = table.numbers[value] { return known }
            let number = UInt32(table.values.count)
            table.numbers[value] = number
            table.values.append(value)
            return number
        }
    }

    subscript(_ number: UInt32) -> Value { table.withLock { $0.values[Int(number)] } }
}

/// Remembers what a pure function of two numbers gave.
final class Memo<Value: Sendable>: Sendable {
    private final class Shard: Sendable {
        let table = Mutex<[UInt64: Value]>([:])
    }

    private let shards = (0..<32).map { _ in Shard() }

    func value(_ first: UInt32, _ second: UInt32, _ compute: () -> Value) -> Value {
        let key = UInt64(first) << 32 | UInt64(second)
        let shard = shards[Int((first &* 0x9E37_79B1 ^ second) >> 3) & 31]
        if let known = shard.table.withLock({ $0[key] }) { return known }
        // Computed without the lock: two threads may do the same work once, and find the same.
        let value = compute()
        shard.table.withLock { $0[key] = value }
        return value
    }

    var count: Int { shards.reduce(0) { $0 + $1.table.withLock { $0.count } } }
}

/// Short lists of numbers, each a number itself; 0 is the empty one.
final class NumberLists: Sendable {
    private let lists = Interner<[UInt32]>([])
    private let appended = Memo<UInt32>()
    private let popped = Memo<UInt32>()

    subscript(_ list: UInt32) -> [UInt32] { list == 0 ? [] : lists[list] }

    func number(of list: [UInt32]) -> UInt32 { lists.number(of: list) }

    func append(_ item: UInt32, to list: UInt32) -> UInt32 {
        appended.value(list, item) { lists.number(of: lists[list] + [item]) }
    }

    /// The list without the item at a position.
    func remove(at position: Int, from list: UInt32) -> UInt32 {
        popped.value(list, UInt32(position)) {
            var items = lists[list]
            if items.indices.contains(position) { items.remove(at: position) }
            return lists.number(of: items)
        }
    }
}
