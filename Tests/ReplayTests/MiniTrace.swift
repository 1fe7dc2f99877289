import JSONC
import Replay
import Testing
import Trace

/// A recording written by hand, a short line for each record.
///
/// `S> NAME`, `D> NAME {arguments}` are commands (with ids in their order), `S< ok`, `S< no TEXT`, `S< {value}` answer the oldest open one,
/// `S! WORD` is a `MIGRATION` event, `S* NAME` another event, `S- connected`, `S- gone`, `S- hello` are the monitor, the process and a greeting.
/// Anything else is a whole record without its time.
struct MiniTrace {
    private(set) var text: String
    private var time = 0
    private var lastID = 0
    private var open: [String: [Int]] = [:]

    init(recorder: String = "hand", _ lines: String...) {
        text = #"{"qmptrace":1,"recorder":"\#(recorder)"}"# + "\n"
        for line in lines { add(line) }
    }

    mutating func add(_ line: String) {
        time += 1000
        let seconds = "\(time / 1_000_000).\(String(1_000_000 + time % 1_000_000).dropFirst())"
        guard let side = ["S": "source", "D": "destination"][line.prefix(1)], line.count > 3 else {
            text += #"{"t":\#(seconds),\#(line.dropFirst())"# + "\n"
            return
        }
        let rest = String(line.dropFirst(3))
        let member: String
        switch line.dropFirst().first {
        case ">":
            lastID += 1
            open[side, default: []].append(lastID)
            let parts = rest.split(separator: " ", maxSplits: 1).map(String.init)
            let arguments = parts.count > 1 ? #","arguments":\#(parts[1])"# : ""
            member = #""send":{"execute":"\#(parts[0])","id":\#(lastID)\#(arguments)}"#
        case "<":
            let id = open[side]?.isEmpty ?? true ? 0 : open[side]?.removeFirst() ?? 0
            if rest.hasPrefix("no ") {
                member = #""recv":{"id":\#(id),"error":{"class":"GenericError","desc":"\#(rest.dropFirst(3))"}}"#
            } else {
                member = #""recv":{"return":\#(rest == "ok" ? "{}" : rest),"id":\#(id)}"#
            }
        case "!": member = #""recv":{"event":"MIGRATION","data":{"status":"\#(rest)"}}"#
        case "*": member = #""recv":{"event":"\#(rest)"}"#
        default:
            switch rest {
            case "gone": member = #""process":{"signalled":9}"#
            case "hello":
                member = #""recv":{"QMP":{"version":{"qemu":{"major":10,"minor":0,"micro":13}},"capabilities":[]}}"#
            default: member = #""monitor":"\#(rest)""#
            }
        }
        text += #"{"t":\#(seconds),"side":"\#(side)",\#(member)}"# + "\n"
    }

    func report() throws -> ReplayReport {
        try ReplayReport(reader: try TraceReader(bytes: Array(text.utf8), name: "mini"), name: "mini")
    }

    func story() throws -> String {
        var run = ReplayRun(reader: try TraceReader(bytes: Array(text.utf8), name: "mini"), name: "mini")
        var story = ""
        while let part = try run.next() {
            if !part.isEmpty { story += part + "\n" }
        }
        return story
    }
}

extension ReplayReport {
    /// The outcomes, for a short comparison.
    var outcomes: [String] { attempts.map(\.outcomeWord) }

    func hasAnomaly(_ text: String) -> Bool { anomalies.contains { $0.what.contains(text) } }
}
