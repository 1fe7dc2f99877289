internal import Glibc

/// Finding things in the bytes of a log line.
extension ArraySlice<UInt8> {
    /// Whether the slice begins with that text.
    func hasPrefix(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { starts(with: $0) }
    }

    /// The index behind the first place of a text.
    func end(of text: StaticString) -> Int? {
        text.withUTF8Buffer { wanted -> Int? in
            guard let first = wanted.first, wanted.count <= count else { return nil }
            let last = endIndex - wanted.count
            var index = startIndex
            while index <= last, let found = self[index...last].firstIndex(of: first) {
                if self[found...].starts(with: wanted) { return found + wanted.count }
                index = found + 1
            }
            return nil
        }
    }

    /// What stands between a text and the next byte of `ends`, or the end.
    func value(after text: StaticString, until ends: Set<UInt8> = [0x20, 0x2C, 0x29]) -> String? {
        guard let start = end(of: text) else { return nil }
        let value = self[start...].prefix { !ends.contains($0) }
        return value.isEmpty || value.count > 1000 ? nil : String(decoding: value, as: UTF8.self)
    }

    /// The decimal number at a place: at most 18 digits.
    func number(at start: Int) -> (value: Int64, end: Int)? {
        var index = start
        var value: Int64 = 0
        while index < endIndex, index - start < 18, self[index] >= 0x30, self[index] <= 0x39 {
            value = value * 10 + Int64(self[index] - 0x30)
            index += 1
        }
        return index > start ? (value, index) : nil
    }

    /// The beginning of it as text, for people.
    func excerpt(_ bytes: Int = ImportLimits.markBytes) -> String {
        let text = String(decoding: prefix(bytes), as: UTF8.self)
        return count > bytes ? text + "..." : text
    }

    /// Without white space at its end.
    var trimmedEnd: ArraySlice<UInt8> {
        var slice = self
        while let last = slice.last, last <= 0x20 { slice.removeLast() }
        return slice
    }
}

/// Times as logs write them.
enum LogTime {
    /// `YYYY-MM-DD`, a space or T, `HH:MM:SS`, a fraction, and `Z` or an offset from UTC or nothing.
    ///
    /// - Returns: Microseconds since 1970, UTC, and the index behind the time; nil if there is none.
    static func parse(_ line: ArraySlice<UInt8>, at start: Int) -> (microseconds: Int64, end: Int)? {
        func digits(_ offset: Int, _ count: Int) -> Int64? {
            guard start + offset + count <= line.endIndex else { return nil }
            var value: Int64 = 0
            for index in (start + offset)..<(start + offset + count) {
                guard (0x30...0x39).contains(line[index]) else { return nil }
                value = value * 10 + Int64(line[index] - 0x30)
            }
            return value
        }
        func byte(_ offset: Int) -> UInt8? { start + offset < line.endIndex ? line[start + offset] : nil }
        guard let year = digits(0, 4), byte(4) == 0x2D, let month = digits(5, 2), byte(7) == 0x2D,
            let day = digits(8, 2), byte(10) == 0x20 || byte(10) == 0x54, let hour = digits(11, 2),
            byte(13) == 0x3A, let minute = digits(14, 2), byte(16) == 0x3A, let second = digits(17, 2),
            year >= 1970, (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 62
        else { return nil }
        var offset = 19
        var fraction: Int64 = 0
        if byte(offset) == 0x2E || byte(offset) == 0x2C {
            var scale: Int64 = 100_000
            offset += 1
            while let digit = digits(offset, 1) {
                fraction += digit * scale
                scale /= 10
                offset += 1
            }
        }
        var zone: Int64 = 0
        if byte(offset) == UInt8(ascii: "Z") {
            offset += 1
        } else if let sign = byte(offset), sign == 0x2B || sign == 0x2D, let hours = digits(offset + 1, 2) {
            let colon = byte(offset + 3) == 0x3A ? 1 : 0
            guard let minutes = digits(offset + 3 + colon, 2) else { return nil }
            zone = (hours * 60 + minutes) * (sign == 0x2B ? 60 : -60)
            offset += 5 + colon
        }
        var parts = tm()
        parts.tm_year = Int32(year - 1900)
        parts.tm_mon = Int32(month - 1)
        parts.tm_mday = Int32(day)
        parts.tm_hour = Int32(hour)
        parts.tm_min = Int32(minute)
        parts.tm_sec = Int32(second)
        let seconds = Int64(timegm(&parts)) - zone
        return (seconds * 1_000_000 + fraction, start + offset)
    }

    /// RFC 3339 in UTC, seconds only.
    static func text(_ microseconds: Int64) -> String {
        var seconds = time_t(max(microseconds, 0) / 1_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 40)
        let count = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
