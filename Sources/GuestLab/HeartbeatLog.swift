/// One "hb N" line of the guest.
public struct Heartbeat: Hashable, Sendable {
    /// N: 1 for the first after boot, then one more each time.
    public var number: Int
    /// Where the line begins, in bytes from the begin of the serial output.
    public var offset: Int

    /// A heartbeat.
    public init(number: Int, offset: Int) {
        self.number = number
        self.offset = offset
    }
}

/// What a guest wrote to its serial port.
public struct HeartbeatLog: Hashable, Sendable {
    /// The output as it is.
    public let bytes: [UInt8]
    /// The heartbeats of complete lines, in the order of the output.
    public private(set) var heartbeats: [Heartbeat] = []
    /// Pages of the dirty range that did not hold what the guest had written to them.
    public private(set) var badPages: [Int] = []
    /// Complete lines that are neither; the second half of a line that began on another serial port is one.
    public private(set) var strayLines: [String] = []
    /// Bytes after the last line end.
    public private(set) var unfinished: [UInt8] = []

    /// Reads serial output.
    public init(bytes: [UInt8]) {
        self.bytes = bytes
        var start = 0
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            take(bytes[start..<end], at: start)
            start = end + 1
        }
        unfinished = Array(bytes[start...])
    }

    /// Reads the file that a serial port goes to; a file that is not there is an empty one.
    public init(path: String) { self.init(bytes: readFile(path) ?? []) }

    private mutating func take(_ line: ArraySlice<UInt8>, at offset: Int) {
        if let number = Self.number(in: line, after: "hb ") {
            heartbeats.append(Heartbeat(number: number, offset: offset))
        } else if let page = Self.number(in: line, after: "bad ") {
            badPages.append(page)
        } else {
            strayLines.append(String(decoding: line, as: UTF8.self))
        }
    }

    private static func number(in line: ArraySlice<UInt8>, after prefix: String) -> Int? {
        guard line.starts(with: prefix.utf8) else { return nil }
        let digits = line.dropFirst(prefix.utf8.count)
        guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return Int(String(decoding: digits, as: UTF8.self))
    }

    /// Whether the output of a guest that moved is that of one guest that never noticed. The two logs are joined byte by byte, so
    /// a line that the switch cut in half counts as one, on the destination.
    public static func continuity(source: HeartbeatLog, destination: HeartbeatLog) -> HeartbeatContinuity {
        HeartbeatContinuity(source: source, destination: destination)
    }
}

/// What ``HeartbeatLog/continuity(source:destination:)`` found.
public struct HeartbeatContinuity: Hashable, Sendable, CustomStringConvertible {
    /// The number of the first heartbeat.
    public var first: Int?
    /// The last number that the source printed in full, nil if none.
    public var lastOnSource: Int?
    /// The first number whose line ended on the destination, nil if none.
    public var firstOnDestination: Int?
    /// The last number on the destination, nil if none.
    public var lastOnDestination: Int?
    /// Whether one line was begun by the source and ended by the destination.
    public var lineWasCut: Bool
    /// Numbers that nobody printed.
    public var missing: [ClosedRange<Int>] = []
    /// Numbers that came again after an equal or larger one: the guest ran twice, or it started anew.
    public var repeated: [Int] = []
    /// Pages that lost what the guest wrote to them, in either log.
    public var badPages: [Int]
    /// Lines that make no sense even when the logs are joined.
    public var strayLines: [String]

    init(source: HeartbeatLog, destination: HeartbeatLog) {
        let joined = HeartbeatLog(bytes: source.bytes + destination.bytes)
        let numbers = joined.heartbeats.map(\.number)
        first = numbers.first
        lastOnSource = source.heartbeats.last?.number
        let moved = numbers.dropFirst(source.heartbeats.count)
        firstOnDestination = moved.first
        lastOnDestination = moved.last
        lineWasCut = !source.unfinished.isEmpty && !destination.bytes.isEmpty
        badPages = joined.badPages
        strayLines = joined.strayLines
        var highest = (numbers.first ?? 1) - 1
        for number in numbers {
            if number <= highest {
                repeated.append(number)
                continue
            }
            if number > highest + 1 { missing.append(highest + 1...number - 1) }
            highest = number
        }
    }

    /// Nothing missing, repeated, lost or unreadable. Says nothing about where the guest is.
    public var isUnbroken: Bool { missing.isEmpty && repeated.isEmpty && badPages.isEmpty && strayLines.isEmpty }

    /// One line for a person: "heartbeats 1 to 41 on the source, 42 to 60 on the destination: none missing, none repeated".
    public var description: String {
        var parts: [String] = []
        if let first, let lastOnSource { parts.append("\(first) to \(lastOnSource) on the source") }
        if let firstOnDestination, let lastOnDestination {
            parts.append("\(firstOnDestination) to \(lastOnDestination) on the destination")
        }
        guard !parts.isEmpty else { return "no heartbeats" }
        var findings: [String] = []
        findings.append(missing.isEmpty ? "none missing" : "missing " + Self.list(missing.map(Self.text)))
        findings.append(repeated.isEmpty ? "none repeated" : "repeated " + Self.list(repeated.map(String.init)))
        if !badPages.isEmpty { findings.append("contents lost in \(badPages.count) pages") }
        if !strayLines.isEmpty { findings.append("\(strayLines.count) unreadable lines") }
        return "heartbeats " + parts.joined(separator: ", ") + ": " + findings.joined(separator: ", ")
    }

    private static func text(_ range: ClosedRange<Int>) -> String {
        range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
    }

    private static func list(_ items: [String]) -> String {
        items.prefix(5).joined(separator: ", ") + (items.count > 5 ? " and \(items.count - 5) more" : "")
    }
}
