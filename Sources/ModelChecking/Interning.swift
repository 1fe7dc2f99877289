internal import Synchronization

/// Values by number in storage that never moves, so that it is read without a lock while others append.
///
/// Whoever reads a number got it from whoever appended it, through a lock or the end of a level: what it stands for was written before.
private struct Chunks<Value>: @unchecked Sendable {
    private static var bits: Int { 12 }
    private static var most: Int { 1 << 16 }

    private let chunks: UnsafeMutablePointer<UnsafeMutablePointer<Value>?>

    init() {
        chunks = .allocate(capacity: Self.most)
        chunks.initialize(repeating: nil, count: Self.most)
    }

    subscript(index: Int) -> Value {
        guard let chunk = chunks[index >> Self.bits] else { preconditionFailure("number \(index) was never given") }
        return chunk[index & (1 << Self.bits - 1)]
    }

    func append(_ value: Value, at index: Int) {
        precondition(index >> Self.bits < Self.most, "too many different values")
        let chunk = chunks[index >> Self.bits] ?? .allocate(capacity: 1 << Self.bits)
        (chunk + (index & (1 << Self.bits - 1))).initialize(to: value)
        chunks[index >> Self.bits] = chunk
    }

    func free(count: Int) {
        for (position, first) in stride(from: 0, to: count, by: 1 << Self.bits).enumerated() {
            chunks[position]?.deinitialize(count: min(count - first, 1 << Self.bits))
            chunks[position]?.deallocate()
        }
        chunks.deallocate()
    }
}

/// Gives equal values the same number, so that a state is a handful of numbers and parts that many states share are kept once.
///
/// Number 0 is the value it was made with. Numbers are never taken back. Reading takes no lock.
final class Interner<Value: Hashable & Sendable>: Sendable {
    private let numbers: Mutex<[Value: UInt32]>
    private let values = Chunks<Value>()

    init(_ first: Value) {
        numbers = Mutex([first: 0])
        values.append(first, at: 0)
    }

    deinit { values.free(count: count) }

    var count: Int { numbers.withLock { $0.count } }

    func number(of value: Value) -> UInt32 {
        numbers.withLock { numbers in
            if let known = numbers[value] { return known }
            let number = UInt32(numbers.count)
            values.append(value, at: Int(number))
            numbers[value] = number
            return number
        }
    }

    subscript(_ number: UInt32) -> Value { values[Int(number)] }
}

/// Remembers what a pure function of two numbers gave. Looking up takes no lock.
///
/// An open-addressed table that only grows: a key is stored after its value, and a bigger table takes the place of a full one, which is kept for
/// those who still look into it. What is shared is written under the lock, but for the pointer, which is atomic.
final class Memo<Value: Sendable>: @unchecked Sendable {
    private struct Table: @unchecked Sendable {
        var keys: UnsafeMutablePointer<Atomic<UInt64>>
        var values: UnsafeMutablePointer<Value>
        var mask: Int

        init(capacity: Int) {
            keys = .allocate(capacity: capacity)
            for index in 0..<capacity { (keys + index).initialize(to: Atomic(0)) }
            values = .allocate(capacity: capacity)
            mask = capacity - 1
        }

        @inline(__always)
        func slot(_ key: UInt64) -> Int {
            let mixed = (key ^ key >> 32) &* 0x9E37_79B9_7F4A_7C15
            return Int(truncatingIfNeeded: mixed >> 20) & mask
        }

        @inline(__always)
        func find(_ key: UInt64) -> Value? {
            var slot = slot(key)
            while true {
                let stored = keys[slot].load(ordering: .acquiring)
                if stored == key { return values[slot] }
                if stored == 0 { return nil }
                slot = (slot + 1) & mask
            }
        }

        func insert(_ key: UInt64, _ value: Value) {
            var slot = slot(key)
            while keys[slot].load(ordering: .relaxed) != 0 { slot = (slot + 1) & mask }
            (values + slot).initialize(to: value)
            keys[slot].store(key, ordering: .releasing)
        }

        func each(_ body: (UInt64, Value) -> Void) {
            for slot in 0...mask {
                let key = keys[slot].load(ordering: .relaxed)
                if key != 0 { body(key, values[slot]) }
            }
        }

        func free() {
            for slot in 0...mask where keys[slot].load(ordering: .relaxed) != 0 {
                (values + slot).deinitialize(count: 1)
            }
            values.deallocate()
            keys.deallocate()
        }
    }

    private struct Tables: @unchecked Sendable {
        var all: [UnsafeMutablePointer<Table>]
        var count = 0
    }

    private let tables: Mutex<Tables>
    private let current: Atomic<UnsafeMutablePointer<Table>>

    init() {
        let first = Self.table(capacity: 1 << 10)
        tables = Mutex(Tables(all: [first]))
        current = Atomic(first)
    }

    deinit {
        tables.withLock { tables in
            for table in tables.all {
                table.pointee.free()
                table.deallocate()
            }
        }
    }

    private static func table(capacity: Int) -> UnsafeMutablePointer<Table> {
        let table = UnsafeMutablePointer<Table>.allocate(capacity: 1)
        table.initialize(to: Table(capacity: capacity))
        return table
    }

    @inline(__always)
    func value(_ first: UInt32, _ second: UInt32, _ compute: () -> Value) -> Value {
        // Zero is for what is empty.
        let key = (UInt64(first) << 32 | UInt64(second)) &+ 1
        if let known = current.load(ordering: .acquiring).pointee.find(key) { return known }
        // Computed without the lock: two threads may do the same work once, and find the same.
        let value = compute()
        insert(key, value)
        return value
    }

    private func insert(_ key: UInt64, _ value: Value) {
        tables.withLock { tables in
            guard var table = tables.all.last, table.pointee.find(key) == nil else { return }
            if tables.count * 2 > table.pointee.mask {
                let bigger = Self.table(capacity: (table.pointee.mask + 1) * 2)
                table.pointee.each { bigger.pointee.insert($0, $1) }
                tables.all.append(bigger)
                table = bigger
                current.store(bigger, ordering: .releasing)
            }
            table.pointee.insert(key, value)
            tables.count += 1
        }
    }

    var count: Int { tables.withLock { $0.count } }
}

/// Short lists of numbers, each a number itself; 0 is the empty one.
final class NumberLists: Sendable {
    private let lists = Interner<[UInt32]>([])
    private let appended = Memo<UInt32>()
    private let joined = Memo<UInt32>()
    private let popped = Memo<UInt32>()

    subscript(_ list: UInt32) -> [UInt32] { list == 0 ? [] : lists[list] }

    func count(_ list: UInt32) -> Int { list == 0 ? 0 : lists[list].count }

    func number(of list: [UInt32]) -> UInt32 { list.isEmpty ? 0 : lists.number(of: list) }

    func append(_ item: UInt32, to list: UInt32) -> UInt32 {
        appended.value(list, item) { lists.number(of: lists[list] + [item]) }
    }

    /// One list, then the other.
    func join(_ first: UInt32, _ second: UInt32) -> UInt32 {
        if first == 0 { return second }
        if second == 0 { return first }
        return joined.value(first, second) { lists.number(of: lists[first] + lists[second]) }
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
