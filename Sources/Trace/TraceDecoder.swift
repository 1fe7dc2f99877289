import JSONC

/// Turns one parsed line into a header or a record.
enum TraceDecoder {
    /// What is wrong, and with which key.
    struct Problem: Error {
        var message: String
        var key: String?
    }

    static func header(_ view: JSONView) throws(Problem) -> TraceHeader {
        guard let version = view["qmptrace"] else {
            throw Problem(message: "not a trace: the first line has no \"qmptrace\"")
        }
        guard version.int64 == 1 else {
            throw Problem(
                message: "trace format version \(version.value()) is not supported, only version 1", key: "qmptrace"
            )
        }
        var header = TraceHeader()
        try view.forEachMember { (key: String, value: JSONView) throws(Problem) in
            switch key {
            case "qmptrace": break
            case "recorded": header.recorded = try string(value, key)
            case "recorder": header.recorder = try string(value, key)
            case "role": header.role = TraceRole(rawValue: try string(value, key))
            case "title": header.title = try string(value, key)
            default: header.other[key] = value.value()
            }
        }
        return header
    }

    static func record(_ view: JSONView, line: Int) throws(Problem) -> TraceRecord {
        guard view.kind == .object else { throw Problem(message: "a record is a JSON object") }
        var record = TraceRecord(microseconds: -1, seq: line, line: line, member: .mark(""))
        var known: String?
        var unknown: [(key: String, value: JSONValue)] = []
        try view.forEachMember { (key: String, value: JSONView) throws(Problem) in
            switch key {
            case "t":
                record.microseconds = try microseconds(value)
            case "side":
                guard let side = TraceSide(rawValue: try string(value, key)) else {
                    throw Problem(message: "\"side\" is neither \"source\" nor \"destination\"", key: key)
                }
                record.side = side
            case "seq": record.seq = try count(value, key)
            case "qemu": record.qemu = try string(value, key)
            case "conn": record.connection = try count(value, key)
            case "attempt": record.attempt = try string(value, key)
            case "qmptrace": throw Problem(message: "a second header", key: key)
            default:
                guard let member = try member(key, value) else {
                    unknown.append((key, value.value()))
                    return
                }
                if let known { throw Problem(message: "a record has both \"\(known)\" and \"\(key)\"", key: key) }
                known = key
                record.member = member
            }
        }
        guard record.microseconds >= 0 else { throw Problem(message: "a record has no time \"t\"") }
        if known == nil {
            guard !unknown.isEmpty else { throw Problem(message: "a record tells nothing") }
            let first = unknown.removeFirst()
            record.member = .unknown(first.key, first.value)
        }
        for (key, value) in unknown { record.other[key] = value }
        return record
    }

    private static func member(_ key: String, _ value: JSONView) throws(Problem) -> TraceMember? {
        switch key {
        case "recv": .recv(value.value())
        case "send": .send(value.value())
        case "raw": .raw(try base64(value))
        case "fds": .fds(try count(value, key))
        case "monitor": .monitor(try string(value, key))
        case "process": .process(try processEnd(value))
        case "request": .request(value.value())
        case "call": .call(value.value())
        case "answer": .answer(value.value())
        case "peer": .peer(try string(value, key))
        case "timeout": .timeout(try string(value, key))
        case "arm": .arm(value.value())
        case "disarm": .disarm(value.value())
        case "restarted": .restarted(value.value())
        case "survey": .survey(value.value())
        case "intent": .intent(value.value())
        case "saved": .saved(value.value())
        case "run": .run(try string(value, key))
        case "refused": .refused(try string(value, key))
        case "surrendered": .surrendered(try string(value, key))
        case "kill": .kill(value.value())
        case "lease": .lease(value.value())
        case "hook": .hook(value.value())
        case "policy": .policy(value.value())
        case "phase": .phase(value.value())
        case "status": .status(value.value())
        case "result": .result(value.value())
        case "mark": .mark(try string(value, key))
        default: nil
        }
    }

    /// Reads the digits rather than the double, which could not tell microseconds apart after some decades.
    private static func microseconds(_ value: JSONView) throws(Problem) -> Int64 {
        let problem = Problem(message: "\"t\" is no number of seconds since the start", key: "t")
        switch value.value() {
        case .integer(let seconds) where seconds >= 0 && seconds < .max / 1_000_000:
            return seconds * 1_000_000
        case .number(let number):
            if let exact = microseconds(decimal: number.text) { return exact }
            // With an exponent.
            guard number.double >= 0, number.double < 1e12 else { throw problem }
            return Int64((number.double * 1e6).rounded())
        default:
            throw problem
        }
    }

    /// Nil unless the text is `digits.digits` and in range. Digits behind the sixth are rounded.
    private static func microseconds(decimal text: String) -> Int64? {
        var result: Int64 = 0
        var decimals: Int?
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                let digit = Int64(byte - UInt8(ascii: "0"))
                if let places = decimals {
                    decimals = places + 1
                    if places == 6, digit >= 5 { result += 1 }
                    if places >= 6 { continue }
                }
                guard result < .max / 10_000_000 || (decimals != nil && result < .max / 20) else { return nil }
                result = result * 10 + digit
            case UInt8(ascii: ".") where decimals == nil:
                decimals = 0
            default:
                return nil
            }
        }
        for _ in (decimals ?? 0)..<max(6, decimals ?? 0) {
            guard result < .max / 20 else { return nil }
            result *= 10
        }
        return result
    }

    private static func string(_ value: JSONView, _ key: String) throws(Problem) -> String {
        guard let string = value.string else { throw Problem(message: "\"\(key)\" is no string", key: key) }
        return string
    }

    private static func count(_ value: JSONView, _ key: String) throws(Problem) -> Int {
        guard let number = value.int64, number >= 0 else {
            throw Problem(message: "\"\(key)\" is no count", key: key)
        }
        return Int(number)
    }

    private static func base64(_ value: JSONView) throws(Problem) -> [UInt8] {
        guard let bytes = Base64.decode(try string(value, "raw")) else {
            throw Problem(message: "\"raw\" is no base64", key: "raw")
        }
        return bytes
    }

    private static func processEnd(_ value: JSONView) throws(Problem) -> TraceProcessEnd {
        guard value.kind == .object else { throw Problem(message: "\"process\" is no object", key: "process") }
        if let code = value["exited"]?.int64 { return .exited(Int(code)) }
        if let signal = value["signalled"]?.int64 { return .signalled(Int(signal)) }
        return .unknown
    }
}
