import Glibc

/// How lines of known shapes looked last, so that the next ones can be compared sixteen bytes at a time.
///
/// A line mostly differs from an earlier one of its shape in some digits, and not in how many digits there are. It is
/// compared with rows of bytes: the lowest byte that may stand at a place, and by how much it may be exceeded, which is
/// nothing where a literal is and nine where a digit is. Where the number of digits changes often, the rows part and
/// the digits are counted. Nothing fits here that the shape in ``LineTemplates`` would not take.
///
/// Which layout a line may have is guessed by what followed the last line before.
final class LineLayouts {
    /// What is done with something that varies.
    enum Action: UInt8 {
        case nothing
        case number
        case fraction
        case identifier
        case integerIdentifier
    }

    /// Something wanted whose place in its segment is known.
    struct Tap {
        var offset: Int32
        var count: Int32
        var action: Action
    }

    enum End: UInt8 {
        case line
        /// Digits whose number varies; without a leading zero.
        case digits
        /// The same behind a decimal point.
        case fraction
        case text
    }

    struct Segment {
        /// The bytes of its first row.
        var rows: Int
        var rowCount: Int
        var length: Int
        var firstTap: Int32
        var tapCount: Int32
        var end: End
        var action: Action
    }

    struct Layout {
        var shape: Int32
        /// Layouts of the same number have the same first segment.
        var head: Int32 = -1
        /// The bytes of the rows behind the first segment, or of the only one.
        var body = 0
        /// Where in these it was told from another line's layout last: the place to look at first.
        var telling = 0
        var hits = 0
        var segments: UnsafeMutablePointer<Segment>
        var taps: UnsafeMutablePointer<Tap>
        var rows: UnsafeMutableRawPointer
        var bytes: Int
    }

    /// What is known of the line's head.
    private struct Head {
        /// The one that fits, -1 if none was found yet.
        var fitting: Int32 = -1
        /// One that does not.
        var other: Int32 = -1
        /// What varies behind the one that fits.
        var start: UnsafeRawPointer
        var length = 0
    }

    /// What is remembered of the parts that vary, to find those whose length changes often.
    struct Form {
        var parts: [LineTemplate.Part] = []
        var lengths: [Int] = []
        var changes: [Int] = []
        var isVarying: [Bool] = []
        var text: [UInt8] = []
    }

    /// So many are looked at whatever was before.
    private static let maximumRecent = 24
    private static let followers = 4
    private static let maximumBytes = 4 << 20
    private static let maximumLayouts = 1 << 12
    /// In a line with more numbers than that none is expected to keep its length.
    static let maximumSteady = 64
    /// Only among the first rows is one looked at first: so many bytes can be read wherever a line begins.
    private static let tellingRows = 32
    static let row = 16

    /// How many bytes behind the last line feed may be looked at.
    static let slack = tellingRows * row + 64

    private var layouts: UnsafeMutablePointer<Layout>
    /// Four for each: the layouts of the lines that came after, the last one first.
    private var next: UnsafeMutablePointer<Int32>
    private var forms: [Form] = []
    private var layoutOfShape: [Int32: Int32] = [:]
    private var recent: UnsafeMutablePointer<Int32>
    /// Where a layout was found last by what is behind a head.
    private var alike: UnsafeMutablePointer<Int32>
    private static let alikeCount = 256
    private var recentCount = 0
    private var oldestRecent = 0
    private var last = 0
    private var count = 0
    private var bytes = 0
    private var headCount: Int32 = 0
    /// How many digits the seconds had last.
    private var secondsDigits = 1

    init() {
        layouts = .allocate(capacity: Self.maximumLayouts)
        next = .allocate(capacity: Self.maximumLayouts * Self.followers)
        recent = .allocate(capacity: Self.maximumRecent)
        alike = .allocate(capacity: Self.alikeCount)
        alike.initialize(repeating: -1, count: Self.alikeCount)
    }

    deinit {
        removeAll()
        layouts.deallocate()
        next.deallocate()
        recent.deallocate()
        alike.deallocate()
    }

    /// Forgets all of them.
    func removeAll() {
        for place in 0..<count { free(place) }
        count = 0
        bytes = 0
        last = 0
        recentCount = 0
        oldestRecent = 0
        forms = []
        layoutOfShape = [:]
    }

    private func free(_ place: Int) {
        layouts[place].segments.deallocate()
        layouts[place].taps.deallocate()
        layouts[place].rows.deallocate()
    }

    // MARK: Matching

    /// The time at the beginning of a line, as ``LineTemplates/time(_:_:)`` reads it.
    @inline(__always)
    func time(_ place: inout UnsafeRawPointer, _ microseconds: inout Int64) -> Bool {
        // The seconds have as many digits as before, and six decimals follow.
        let digits = secondsDigits
        let head = UInt64(littleEndian: place.loadUnaligned(as: UInt64.self)) & 0xFF_FFFF_FFFF
        let first = UInt64(littleEndian: place.loadUnaligned(fromByteOffset: 5, as: UInt64.self))
        let seconds = (first ^ 0x3030_3030_3030_3030) &<< UInt64(truncatingIfNeeded: 64 &- 8 &* digits)
        let tail =
            UInt64(littleEndian: place.loadUnaligned(fromByteOffset: 5 &+ digits, as: UInt64.self))
            ^ 0x2C30_3030_3030_302E
        let others = Self.noDigits(seconds) | Self.noDigits(tail) | (tail & 0xFF00_0000_0000_00FF)
        if head == 0x3A_2274_227B, others == 0, digits == 1 || first & 0xFF != 0x30 {
            microseconds = LineTemplates.eight(seconds) &* 1_000_000 &+ LineTemplates.eight(tail &<< 8)
            place += 5 &+ digits &+ 7
            return true
        }
        return anyTime(&place, &microseconds)
    }

    private func anyTime(_ place: inout UnsafeRawPointer, _ microseconds: inout Int64) -> Bool {
        guard LineTemplates.time(&place, &microseconds) else { return false }
        var (digits, bound) = (1, Int64(10_000_000))
        while digits < 8, microseconds >= bound {
            digits += 1
            bound *= 10
        }
        secondsDigits = digits
        return true
    }

    /// A high bit for each byte above nine.
    @inline(__always)
    private static func noDigits(_ word: UInt64) -> UInt64 {
        (((word & 0x7F7F_7F7F_7F7F_7F7F) &+ 0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080
    }

    /// Finds a layout for the line that goes on at `place`, behind its time.
    ///
    /// - Parameters:
    ///   - bounds: Where the readable bytes end.
    ///   - end: Becomes the place behind the line feed.
    /// - Returns: The number of the shape; -1 if there is none, `scanned` and `numbers` are then of no use.
    @inline(__always)
    func match(
        _ place: UnsafeRawPointer, base: UnsafeRawPointer, bounds: UnsafeRawPointer, scanned: inout ScannedLine,
        numbers: inout NumberBuffer, end: inout UnsafeRawPointer
    ) -> Int32 {
        guard count > 0 else { return -1 }
        let view = View(start: place, base: base, bounds: bounds)
        var head = Head(start: place)
        let followers = next + Self.followers &* last
        for number in 0..<Self.followers {
            let candidate = Int(followers[number])
            guard candidate >= 0 else { break }
            if fits(candidate, view, &head, &scanned, &numbers, &end) {
                if number > 0 { follow(candidate) }
                last = candidate
                return layouts[candidate].shape
            }
        }
        if head.fitting >= 0 {
            let candidate = Int(alike[Self.hash(head)])
            if candidate >= 0, candidate < count, fits(candidate, view, &head, &scanned, &numbers, &end) {
                follow(candidate)
                last = candidate
                return layouts[candidate].shape
            }
        }
        return matchRecent(view, &head, &scanned, &numbers, &end)
    }

    /// A place for lines that begin alike and then go on so: an event's name is there.
    @inline(__always)
    private static func hash(_ head: Head) -> Int {
        let place = head.start + head.length
        let first = place.loadUnaligned(fromByteOffset: 12, as: UInt64.self) &* 0x9E37_79B9_7F4A_7C15
        let second = place.loadUnaligned(fromByteOffset: 20, as: UInt64.self) &+ UInt64(bitPattern: Int64(head.fitting))
        return Int(truncatingIfNeeded: ((first ^ (first &>> 29) ^ second) &* 0xBF58_476D_1CE4_E5B9) &>> 56)
    }

    private func matchRecent(
        _ view: View, _ head: inout Head, _ scanned: inout ScannedLine, _ numbers: inout NumberBuffer,
        _ end: inout UnsafeRawPointer
    ) -> Int32 {
        for number in 0..<recentCount {
            let candidate = Int(recent[number])
            if fits(candidate, view, &head, &scanned, &numbers, &end) {
                if head.fitting >= 0, head.fitting == layouts[candidate].head {
                    alike[Self.hash(head)] = Int32(candidate)
                }
                follow(candidate)
                last = candidate
                return layouts[candidate].shape
            }
        }
        return -1
    }

    /// Puts a layout in front of those that come after the last one.
    private func follow(_ candidate: Int) {
        let followers = next + Self.followers &* last
        var moved = Int32(candidate)
        for number in 0..<Self.followers {
            let other = followers[number]
            followers[number] = moved
            if other == Int32(candidate) || other < 0 { return }
            moved = other
        }
    }

    private typealias Row = SIMD16<UInt8>

    /// What exceeds a row.
    @inline(__always)
    private static func excess(_ text: UnsafeRawPointer, _ row: UnsafeMutableRawPointer) -> SIMDMask<SIMD16<Int8>> {
        let low = row.load(as: Row.self)
        let range = row.load(fromByteOffset: 16, as: Row.self)
        return (text.loadUnaligned(as: Row.self) &- low) .> range
    }

    @inline(__always)
    private static func isZero(_ mask: SIMDMask<SIMD16<Int8>>) -> Bool {
        let words = unsafeBitCast(mask, to: SIMD2<UInt64>.self)
        return words[0] | words[1] == 0
    }

    /// A line and what may be read around it.
    private struct View {
        /// Behind the time.
        var start: UnsafeRawPointer
        var base: UnsafeRawPointer
        /// Where the readable bytes end.
        var bounds: UnsafeRawPointer
    }

    @inline(__always)
    private func fits(
        _ candidate: Int, _ view: View, _ head: inout Head, _ scanned: inout ScannedLine,
        _ numbers: inout NumberBuffer, _ end: inout UnsafeRawPointer
    ) -> Bool {
        let layout = layouts + candidate
        let segments = layout.pointee.segments
        let number = layout.pointee.head
        guard number != head.other else { return false }
        var place = view.start
        if segments.pointee.end != .line {
            if number != head.fitting {
                guard Self.fits(segments, layout, place, view.bounds) else {
                    head.other = number
                    return false
                }
                let start = place + segments.pointee.length
                let length = Self.length(segments.pointee.end, start)
                guard length >= 0 else {
                    head.other = number
                    return false
                }
                head.fitting = number
                head.start = start
                head.length = length
            }
            place = head.start + head.length
        }
        let telling = layout.pointee.telling
        guard Self.isZero(Self.excess(place + telling, layout.pointee.rows + (layout.pointee.body &+ 2 &* telling)))
        else { return false }
        return fitsWhole(layout, view, head, &scanned, &numbers, &end)
    }

    @inline(__always)
    private func fitsWhole(
        _ layout: UnsafeMutablePointer<Layout>, _ view: View, _ head: Head, _ scanned: inout ScannedLine,
        _ numbers: inout NumberBuffer, _ end: inout UnsafeRawPointer
    ) -> Bool {
        let count = numbers.count
        scanned.setNoIdentifier()
        var place = view.start
        var segment = layout.pointee.segments
        var isKnown = segment.pointee.end != .line
        while true {
            guard isKnown || Self.fits(segment, layout, place, view.bounds) else {
                if segment.pointee.rows == layout.pointee.body { tell(layout, segment, place) }
                break
            }
            for number in 0..<Int(segment.pointee.tapCount) {
                let tap = layout.pointee.taps[Int(segment.pointee.firstTap) &+ number]
                Self.act(tap.action, place + Int(tap.offset), Int(tap.count), view.base, &scanned, &numbers)
            }
            place += segment.pointee.length
            if segment.pointee.end == .line {
                end = place
                layout.pointee.hits &+= 1
                return true
            }
            let length = isKnown ? head.length : Self.length(segment.pointee.end, place)
            guard length >= 0 else { break }
            Self.act(segment.pointee.action, place, length, view.base, &scanned, &numbers)
            place += length
            segment += 1
            isKnown = false
        }
        numbers.count = count
        return false
    }

    /// Whether the bytes fit the rows of a segment.
    @inline(__always)
    private static func fits(
        _ segment: UnsafeMutablePointer<Segment>, _ layout: UnsafeMutablePointer<Layout>, _ place: UnsafeRawPointer,
        _ bounds: UnsafeRawPointer
    ) -> Bool {
        let count = segment.pointee.rowCount
        guard count &* row <= bounds - place else { return false }
        let rows = layout.pointee.rows + segment.pointee.rows
        var number = 0
        while number &+ 4 <= count {
            let text = place + number &* 16
            let low = rows + number &* 32
            let excess =
                (excess(text, low) .| excess(text + 16, low + 32))
                .| (Self.excess(text + 32, low + 64) .| Self.excess(text + 48, low + 96))
            guard isZero(excess) else { return false }
            number &+= 4
        }
        var rest = SIMDMask<SIMD16<Int8>>(repeating: false)
        while number < count {
            rest = rest .| excess(place + number &* 16, rows + number &* 32)
            number &+= 1
        }
        return isZero(rest)
    }

    /// Remembers the row that a line of another shape does not fit.
    private func tell(
        _ layout: UnsafeMutablePointer<Layout>, _ segment: UnsafeMutablePointer<Segment>, _ place: UnsafeRawPointer
    ) {
        let rows = layout.pointee.rows + layout.pointee.body
        for row in 0..<min(segment.pointee.rowCount, Self.tellingRows) {
            guard Self.isZero(Self.excess(place + row * Self.row, rows + 2 * row * Self.row)) else {
                layout.pointee.telling = row * Self.row
                return
            }
        }
    }

    @inline(__always)
    private static func act(
        _ action: Action, _ place: UnsafeRawPointer, _ length: Int, _ base: UnsafeRawPointer,
        _ scanned: inout ScannedLine, _ numbers: inout NumberBuffer
    ) {
        switch action {
        case .nothing: break
        case .number: numbers.append(ScannedNumber(at: place - base, digits: length))
        case .fraction: numbers.setFraction(digits: length)
        case .identifier: scanned.setIdentifier(place, length, base: base)
        case .integerIdentifier:
            scanned.setIdentifier(integer: ScannedNumber(at: place - base, digits: length).value(base))
        }
    }

    /// How long something that varies is; -1 if it is not what it should be.
    @inline(__always)
    private static func length(_ end: End, _ place: UnsafeRawPointer) -> Int {
        if end == .text { return textLength(place) }
        var length = 0
        while true {
            let word = UInt64(littleEndian: place.loadUnaligned(fromByteOffset: length, as: UInt64.self))
            let others = noDigits(word ^ 0x3030_3030_3030_3030)
            guard others == 0 else {
                length &+= others.trailingZeroBitCount &>> 3
                break
            }
            length &+= 8
            guard length <= LineTemplates.maximumDigits else { return -1 }
        }
        guard length > 0, length <= LineTemplates.maximumDigits else { return -1 }
        if end == .digits, length > 1, place.load(as: UInt8.self) == UInt8(ascii: "0") { return -1 }
        return length
    }

    /// How many plain ASCII characters are before a quotation mark, at most ``LineTemplates/maximumText``.
    @inline(__always)
    private static func textLength(_ start: UnsafeRawPointer) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var length = 0
        while length <= LineTemplates.maximumText {
            let word = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: length, as: UInt64.self))
            let quote = word ^ (ones &* 0x22)
            let backslash = word ^ (ones &* 0x5C)
            // A borrow or carry can only spoil what is behind the first byte that is none of them.
            let stops =
                (((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash) | ((word &- ones &* 0x20) & ~word)
                    | word | (word &+ ones)) & (ones &* 0x80)
            guard stops == 0 else {
                length &+= stops.trailingZeroBitCount &>> 3
                guard length <= LineTemplates.maximumText else { return -1 }
                return start.load(fromByteOffset: length, as: UInt8.self) == UInt8(ascii: "\"") ? length : -1
            }
            length &+= 8
        }
        return -1
    }

    // MARK: Learning

    /// Takes the layout of a line that was found to have this shape, or makes the shape's layout fit it.
    ///
    /// - Parameters:
    ///   - line: The whole line, line feed included.
    ///   - start: Where the time is over.
    ///   - cut: How the line is cut, if that is not known yet.
    func learn(
        _ line: UnsafeRawBufferPointer, from start: Int, shape: Int32, cut: () -> [LineTemplate.Part]?
    ) {
        let known = layoutOfShape[shape].map { Int($0) }
        var form: Form
        if let known {
            form = forms[known]
        } else {
            guard let parts = cut() else { return }
            form = Form(parts: parts)
        }
        var builder = Builder(line, start)
        guard var layout = builder.build(&form, hits: known.map { layouts[$0].hits } ?? 0) else { return }
        layout.shape = shape
        if let known, bytes + layout.bytes - layouts[known].bytes <= Self.maximumBytes {
            bytes += layout.bytes - layouts[known].bytes
            layout.hits = layouts[known].hits
            free(known)
            layouts[known] = layout
            forms[known] = form
            setHead(known)
            found(known)
            return
        }
        if bytes + layout.bytes > Self.maximumBytes || count == Self.maximumLayouts { removeAll() }
        adopt(layout, form)
    }

    /// The layout of a shape that was found by its shape only; returns false if it has none that fits.
    func find(
        _ shape: Int32, _ place: UnsafeRawPointer, base: UnsafeRawPointer, bounds: UnsafeRawPointer,
        numbers: inout NumberBuffer
    ) -> Bool {
        guard let known = layoutOfShape[shape].map({ Int($0) }) else { return false }
        let before = numbers.count
        defer { numbers.count = before }
        var (scanned, end, head) = (ScannedLine(), place, Head(start: place))
        guard fits(known, View(start: place, base: base, bounds: bounds), &head, &scanned, &numbers, &end) else {
            return false
        }
        if head.fitting >= 0 { alike[Self.hash(head)] = Int32(known) }
        found(known)
        return true
    }

    private func adopt(_ layout: Layout, _ form: Form) {
        (layouts + count).initialize(to: layout)
        forms.append(form)
        layoutOfShape[layout.shape] = Int32(count)
        for number in 0..<Self.followers { next[Self.followers * count + number] = -1 }
        bytes += layout.bytes
        count += 1
        setHead(count - 1)
        found(count - 1)
    }

    /// Finds the other layouts with the same first segment.
    private func setHead(_ place: Int) {
        let first = layouts[place].segments.pointee
        layouts[place].head = Int32(place)
        guard first.end != .line else { return }
        layouts[place].body = layouts[place].segments[1].rows
        for other in 0..<count where other != place {
            let second = layouts[other].segments.pointee
            if second.end == first.end, second.length == first.length,
                memcmp(layouts[other].rows, layouts[place].rows, first.rowCount * Self.row * 2) == 0
            {
                layouts[place].head = layouts[other].head
                return
            }
        }
        headCount += 1
        layouts[place].head = Int32(Self.maximumLayouts) + headCount
    }

    private func found(_ place: Int) {
        follow(place)
        last = place
        for number in 0..<recentCount where recent[number] == Int32(place) { return }
        if recentCount < Self.maximumRecent {
            recent[recentCount] = Int32(place)
            recentCount += 1
        } else {
            recent[oldestRecent] = Int32(place)
            oldestRecent = (oldestRecent + 1) % Self.maximumRecent
        }
    }
}
