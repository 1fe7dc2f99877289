/// A step into a JSON document.
enum PathStep: Hashable {
    case member(String)
    case element(Int)
}

/// Finds where a member stands in a JSON text that is known to be well-formed.
struct DocumentPlaces {
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The line and the byte in it, both from 1, of a byte.
    func place(of offset: Int) -> (line: Int, column: Int) {
        let before = bytes.prefix(max(0, offset))
        let line = before.count { $0 == UInt8(ascii: "\n") } + 1
        let start = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        return (line, before.count - start + 1)
    }

    /// The first byte of the value at the end of a path, or of the last value on the way that is there.
    func offset(of path: [PathStep]) -> Int {
        var position = skip(0)
        for step in path {
            guard let next = enter(position, step) else { break }
            position = next
        }
        return position
    }

    private func byte(_ position: Int) -> UInt8 { position < bytes.count ? bytes[position] : 0 }

    private func skip(_ position: Int) -> Int {
        var position = position
        while [0x20, 0x0A, 0x0D, 0x09].contains(byte(position)) { position += 1 }
        return position
    }

    private func enter(_ position: Int, _ step: PathStep) -> Int? {
        var position = position
        switch (step, byte(position)) {
        case (.member(let wanted), UInt8(ascii: "{")):
            position = skip(position + 1)
            while byte(position) == UInt8(ascii: "\"") {
                let end = endOfString(position)
                let name = bytes[(position + 1)..<max(position + 1, end - 1)]
                // Past the colon.
                let value = skip(skip(end) + 1)
                // Names of policies need no escapes; one with them is found by its line at least.
                if name.elementsEqual(wanted.utf8) { return value }
                guard let next = next(value) else { return nil }
                position = next
            }
        case (.element(let wanted), UInt8(ascii: "[")):
            position = skip(position + 1)
            for _ in 0..<max(0, wanted) {
                guard let next = next(position) else { return nil }
                position = next
            }
            return position
        default: break
        }
        return nil
    }

    /// Where the next value or name begins behind a value; `nil` if there is none.
    private func next(_ position: Int) -> Int? {
        let end = skip(endOfValue(position))
        return byte(end) == UInt8(ascii: ",") ? skip(end + 1) : nil
    }

    private func endOfString(_ position: Int) -> Int {
        var position = position + 1
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: "\"") { return position + 1 }
            position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        return bytes.count
    }

    private func endOfValue(_ position: Int) -> Int {
        var position = position
        var depth = 0
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position = endOfString(position)
                if depth == 0 { return position }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return position }
                depth -= 1
                if depth == 0 { return position + 1 }
            case UInt8(ascii: ","): if depth == 0 { return position }
            default: break
            }
            position += 1
        }
        return position
    }
}
