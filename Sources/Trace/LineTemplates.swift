import Glibc

/// The shapes of lines that were decoded by json-c before: a tree of their bytes in which digits may vary.
///
/// QEMU renders its messages always in the same way, so that a line mostly differs from one seen before only in its
/// time, its id and its numbers. Where everything else is the same, byte by byte, and the digits are as JSON wants
/// them, json-c would accept the line too, and what it means follows from what the other one meant. Any other line is
/// json-c's.
///
/// Literals are cut where lines part, so that the way from the root to a shape is the line itself.
final class LineTemplates {
    /// What an edge of the tree takes.
    enum Kind: UInt8 {
        case literal
        /// The digits of an integer or before a decimal point.
        case digits
        /// The digits behind a decimal point.
        case fraction
        /// A string of plain ASCII, without its quotes.
        case text
    }

    private struct Node {
        var kind: Kind
        /// The first byte of a literal, 0 for the others.
        var first: UInt8 = 0
        /// Which of the wanted numbers it is, `identifierRole`, or `noRole`.
        var role: Int8
        /// The bytes of a literal, in `labels`.
        var label: Int32
        var labelCount: Int32
        var firstChild: Int32 = -1
        var next: Int32 = -1
        var shape: Int32 = -1
    }

    static let noRole: Int8 = -1
    static let identifierRole: Int8 = -2
    /// More digits may not fit 64 bits.
    static let maximumDigits = 18
    static let maximumText = 64
    private static let maximumLabels = 8 << 20
    private static let maximumNodes = 1 << 17
    /// How many bytes behind the labels may be looked at.
    private static let labelSlack = 16

    private(set) var shapes: [TraceShape] = []
    private var nodes: UnsafeMutablePointer<Node>
    private var nodeCount = 0
    private var nodeCapacity = 256
    private var labels: UnsafeMutableRawPointer
    private var labelCount = 0
    private var labelCapacity = 64 << 10

    init() {
        nodes = .allocate(capacity: nodeCapacity)
        labels = .allocate(byteCount: labelCapacity, alignment: 8)
        _ = addNode(.literal, Self.noRole, label: 0, count: 0)
    }

    deinit {
        nodes.deallocate()
        labels.deallocate()
    }

    // MARK: Matching

    /// Finds the shape of the line that goes on at `start`, behind its time.
    ///
    /// There are ``LineLayouts/slack`` readable bytes behind `limit`, and a line feed before it; no literal goes on
    /// behind a line feed.
    ///
    /// - Returns: The shape's number, -1 if there is none; `scanned` and `numbers` are then of no use.
    func match(
        _ start: UnsafeRawPointer, base: UnsafeRawPointer, limit: UnsafeRawPointer, scanned: inout ScannedLine,
        numbers: inout NumberBuffer, end: inout UnsafeRawPointer
    ) -> Int32 {
        var place = start
        var node = 0
        scanned.setNoIdentifier()
        while true {
            let byte = place.load(as: UInt8.self)
            var child = nodes[node].firstChild
            search: while child >= 0 {
                let candidate = nodes + Int(child)
                if candidate.pointee.first == byte {
                    let count = Int(candidate.pointee.labelCount)
                    // A NUL is no literal's first byte.
                    if count > 0, Self.equal(place, labels + Int(candidate.pointee.label), count, limit) {
                        place += count
                        break search
                    }
                    // Digits that were taken for a literal, because they are too many, may have shorter siblings.
                } else if candidate.pointee.kind == .digits {
                    let start = place
                    if let value = Self.digits(&place) {
                        guard place - start == 1 || byte != UInt8(ascii: "0") else { return -1 }
                        let role = candidate.pointee.role
                        if role >= 0 {
                            numbers.append(ScannedNumber(at: start - base, digits: place - start))
                        } else if role == Self.identifierRole {
                            scanned.setIdentifier(integer: value)
                        }
                        break search
                    }
                    place = start
                } else if candidate.pointee.kind == .text {
                    let start = place
                    guard Self.text(&place) else { return -1 }
                    if candidate.pointee.role == Self.identifierRole {
                        scanned.setIdentifier(start, place - start, base: base)
                    }
                    break search
                } else if candidate.pointee.kind == .fraction {
                    let start = place
                    guard Self.digits(&place) != nil else { return -1 }
                    if candidate.pointee.role >= 0 { numbers.setFraction(digits: place - start) }
                    break search
                }
                child = candidate.pointee.next
            }
            guard child >= 0 else { return -1 }
            node = Int(child)
            let shape = nodes[node].shape
            if shape >= 0 {
                end = place
                return shape
            }
        }
    }

    /// `{"t":SECONDS`, with up to six decimals; a comma follows.
    @inline(__always)
    static func time(_ place: inout UnsafeRawPointer, _ microseconds: inout Int64) -> Bool {
        // {"t":
        guard place.loadUnaligned(as: UInt64.self) & 0xFF_FFFF_FFFF == 0x3A_2274_227B else { return false }
        place += 5
        let start = place
        guard let seconds = digits(&place), place - start <= 12 else { return false }
        guard place - start == 1 || start.load(as: UInt8.self) != UInt8(ascii: "0") else { return false }
        var decimals: Int64 = 0
        if place.load(as: UInt8.self) == UInt8(ascii: ".") {
            place += 1
            let point = place
            guard let value = digits(&place), place - point <= 6 else { return false }
            decimals = value &* scales[6 &- (place - point)]
        }
        microseconds = seconds &* 1_000_000 &+ decimals
        return place.load(as: UInt8.self) == UInt8(ascii: ",")
    }

    private static let scales: InlineArray<7, Int64> = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]

    /// One to eighteen digits.
    @inline(__always)
    private static func digits(_ place: inout UnsafeRawPointer) -> Int64? {
        var value: Int64 = 0
        var total = 0
        while true {
            let word = UInt64(littleEndian: place.loadUnaligned(as: UInt64.self)) ^ 0x3030_3030_3030_3030
            let others = (((word & 0x7F7F_7F7F_7F7F_7F7F) &+ 0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080
            guard others == 0 else {
                let count = others.trailingZeroBitCount &>> 3
                guard count > 0 else { return total > 0 ? value : nil }
                total &+= count
                guard total <= maximumDigits else { return nil }
                place += count
                let piece = eight(word &<< UInt64(truncatingIfNeeded: 64 &- 8 &* count))
                if total == count { return piece }
                for _ in 0..<count { value &*= 10 }
                return value &+ piece
            }
            total &+= 8
            guard total <= maximumDigits else { return nil }
            place += 8
            value = value &* 100_000_000 &+ eight(word)
        }
    }

    /// What one to eighteen digits are.
    @inline(__always)
    static func integer(_ start: UnsafeRawPointer, _ count: Int) -> Int64 {
        var place = start
        var value: Int64 = 0
        var left = count
        while left > 0 {
            let word = UInt64(littleEndian: place.loadUnaligned(as: UInt64.self)) ^ 0x3030_3030_3030_3030
            let piece = min(left, 8)
            value = value &* powers[piece] &+ eight(word &<< UInt64(truncatingIfNeeded: 64 &- 8 &* piece))
            place += piece
            left &-= piece
        }
        return value
    }

    /// The number that eight digits are, each a byte from 0 to 9, the first one lowest.
    @inline(__always)
    static func eight(_ word: UInt64) -> Int64 {
        let pairs = (word &* 2561) &>> 8
        let fours = ((pairs & 0x00FF_00FF_00FF_00FF) &* 6_553_601) &>> 16
        return Int64(bitPattern: ((fours & 0x0000_FFFF_0000_FFFF) &* 42_949_672_960_001) &>> 32)
    }

    @inline(__always)
    static func text(_ place: inout UnsafeRawPointer) -> Bool {
        for _ in 0...maximumText {
            let byte = place.load(as: UInt8.self)
            if byte == UInt8(ascii: "\"") { return true }
            guard byte >= 0x20, byte < 0x7F, byte != UInt8(ascii: "\\") else { return false }
            place += 1
        }
        return false
    }

    @inline(__always)
    private static func equal(
        _ left: UnsafeRawPointer, _ right: UnsafeRawPointer, _ count: Int, _ limit: UnsafeRawPointer
    ) -> Bool {
        guard count <= 64 else { return count <= limit - left && memcmp(left, right, count) == 0 }
        var offset = 0
        while offset &+ 8 <= count {
            guard
                left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    == right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            else { return false }
            offset &+= 8
        }
        guard offset < count else { return true }
        // Both have some slack behind them.
        let difference =
            UInt64(littleEndian: left.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            ^ UInt64(littleEndian: right.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        return difference &<< UInt64(truncatingIfNeeded: 64 &- 8 &* (count &- offset)) == 0
    }

    /// What strtod makes of `INTEGER.FRACTION`, as bits.
    @inline(__always)
    static func double(
        _ integer: Int64, _ fraction: Int64, _ digits: Int, from start: UnsafeRawPointer
    ) -> Int64 {
        if digits <= 15, integer < 1_000_000_000_000_000 {
            let (scaled, overflow) = integer.multipliedReportingOverflow(by: powers[digits])
            if !overflow, scaled < 1 &<< 53 &- fraction {
                // Both are exact, so the quotient is rounded once, as it should be.
                return Int64(bitPattern: (Double(scaled &+ fraction) / Double(powers[digits])).bitPattern)
            }
        }
        return Int64(bitPattern: strtod(start.assumingMemoryBound(to: CChar.self), nil).bitPattern)
    }

    private static let powers: InlineArray<16, Int64> = [
        1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000,
        100_000_000_000, 1_000_000_000_000, 10_000_000_000_000, 100_000_000_000_000, 1_000_000_000_000_000,
    ]

    // MARK: Learning

    /// Takes the shape of a line that json-c has accepted.
    func learn(_ template: LineTemplate, _ bytes: UnsafeRawBufferPointer, _ shape: TraceShape) {
        // When there are too many, all of them are forgotten: what is common is learnt again at once.
        if labelCount + bytes.count + 8 > Self.maximumLabels
            || nodeCount + 2 * template.parts.count + 2 > Self.maximumNodes
        {
            nodeCount = 0
            labelCount = 0
            shapes = []
            _ = addNode(.literal, Self.noRole, label: 0, count: 0)
        }
        var node = 0
        for part in template.parts {
            switch part {
            case .literal(let range): node = descend(from: node, UnsafeRawBufferPointer(rebasing: bytes[range]))
            case .digits(let role): node = descend(from: node, .digits, role)
            case .fraction(let role): node = descend(from: node, .fraction, role)
            case .text(let role): node = descend(from: node, .text, role)
            }
        }
        guard nodes[node].shape < 0, nodes[node].firstChild < 0 else { return }
        nodes[node].shape = Int32(shapes.count)
        shapes.append(shape)
    }

    private func descend(from parent: Int, _ kind: Kind, _ role: Int8) -> Int {
        var child = nodes[parent].firstChild
        while child >= 0 {
            if nodes[Int(child)].kind == kind { return Int(child) }
            child = nodes[Int(child)].next
        }
        return adopt(addNode(kind, role, label: 0, count: 0), by: parent)
    }

    private func descend(from start: Int, _ literal: UnsafeRawBufferPointer) -> Int {
        var parent = start
        var rest = literal[...]
        while let first = rest.first {
            var child = Int(nodes[parent].firstChild)
            while child >= 0 {
                if nodes[child].kind == .literal,
                    labels.load(fromByteOffset: Int(nodes[child].label), as: UInt8.self) == first
                {
                    break
                }
                child = Int(nodes[child].next)
            }
            guard child >= 0 else {
                return adopt(addNode(.literal, Self.noRole, label: addLabel(rest), count: rest.count), by: parent)
            }
            let label = UnsafeRawBufferPointer(
                start: labels + Int(nodes[child].label), count: Int(nodes[child].labelCount))
            var common = 1
            while common < label.count, common < rest.count, label[common] == rest[rest.startIndex + common] {
                common += 1
            }
            if common < label.count { split(child, at: common) }
            rest = rest.dropFirst(common)
            parent = child
        }
        return parent
    }

    /// Cuts a literal in two; what hung on it hangs on its second half.
    private func split(_ node: Int, at place: Int) {
        let label = Int(nodes[node].label)
        let count = Int(nodes[node].labelCount)
        let tail = addNode(.literal, Self.noRole, label: label + place, count: count - place)
        nodes[tail].firstChild = nodes[node].firstChild
        nodes[tail].shape = nodes[node].shape
        nodes[node].labelCount = Int32(place)
        nodes[node].firstChild = Int32(tail)
        nodes[node].shape = -1
    }

    private func adopt(_ child: Int, by parent: Int) -> Int {
        nodes[child].next = nodes[parent].firstChild
        nodes[parent].firstChild = Int32(child)
        return child
    }

    private func addNode(_ kind: Kind, _ role: Int8, label: Int, count: Int) -> Int {
        if nodeCount == nodeCapacity {
            let larger = UnsafeMutablePointer<Node>.allocate(capacity: nodeCapacity * 2)
            larger.moveInitialize(from: nodes, count: nodeCount)
            nodes.deallocate()
            nodes = larger
            nodeCapacity *= 2
        }
        let first = kind == .literal && count > 0 ? labels.load(fromByteOffset: label, as: UInt8.self) : 0
        (nodes + nodeCount).initialize(
            to: Node(kind: kind, first: first, role: role, label: Int32(label), labelCount: Int32(count)))
        nodeCount += 1
        return nodeCount - 1
    }

    private func addLabel(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int {
        if labelCount + bytes.count + Self.labelSlack > labelCapacity {
            var capacity = labelCapacity
            while labelCount + bytes.count + Self.labelSlack > capacity { capacity *= 2 }
            let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
            larger.copyMemory(from: labels, byteCount: labelCount)
            labels.deallocate()
            labels = larger
            labelCapacity = capacity
        }
        UnsafeMutableRawBufferPointer(start: labels + labelCount, count: bytes.count)
            .copyBytes(from: UnsafeRawBufferPointer(rebasing: bytes))
        labelCount += bytes.count
        return labelCount - bytes.count
    }
}
