import JSONC
import Migration

/// A record's place: what it is called, which it was, and when.
struct Place: Hashable {
    /// What other records call it by.
    var record: Int
    /// Which it was, counted from 1.
    var order: Int
    var time: Instant

    var moment: Moment { Moment(time: time, record: record) }
}

/// Something with its place.
struct Placed<Value> {
    var place: Place
    var side: Side?
    var value: Value
}

/// What the explanations need of one attempt besides what the observer keeps. Bounded: a recording without end shall
/// not fill the memory.
struct AttemptLog {
    /// A step or a request that came to nothing, in the words of whoever recorded.
    struct StepError {
        var step: String
        var text: String
    }

    /// Somebody asked for something.
    struct Request {
        var what: String
        var origin: Origin
        var address: String?
    }

    /// A change of a migration parameter of the source.
    struct Parameter {
        var name: String
        var value: SettingValue
    }

    /// The last thing noted of the guest: it stands still, or it runs.
    struct Run {
        var isRunning: Bool
        var isEvent: Bool
    }

    static let bound = 200_000
    static let maximumSlow = 8

    var first: Place?
    var last: Place?
    var steps: [Observation] = []
    var omittedSteps = 0
    /// What another migration can be compared with.
    var evidence: [EvidenceStep] = []
    var samples: [Placed<MigrationSample>] = []
    var passes: [Placed<Int64>] = []
    var runs: [Placed<Run>] = []
    var parameters: [Placed<Parameter>] = []
    /// What was switched on, by side, when the side was told to begin.
    var capabilities: [Side: [String: Placed<Bool>]] = [:]
    var requests: [Placed<Request>] = []
    var stepErrors: [Placed<StepError>] = []
    var timeouts: [Placed<String>] = []
    var marks: [Placed<String>] = []
    /// The recorder's own last word about it.
    var result: Placed<JSONValue>?
    /// Words that an event told.
    var eventWords: [Side: Set<StatusWord>] = [:]
    var hasLostMonitor: Set<Side> = []
    var replies = 0
    /// The slowest answers, slowest first.
    var slow: [Placed<SlowReply>] = []
    /// Where the source was told to migrate, if a record shows it.
    var migrate: Place?

    /// An answer that let others wait.
    struct SlowReply {
        var command: Command
        var microseconds: Int64
        var sent: Int
    }

    mutating func append(_ step: Observation) {
        guard steps.count < Self.bound else {
            omittedSteps += 1
            return
        }
        steps.append(step)
    }

    mutating func noteReply(_ reply: SlowReply, _ place: Place, _ side: Side) {
        replies += 1
        guard reply.microseconds >= Oddities.slowReplyMicroseconds else { return }
        slow.append(Placed(place: place, side: side, value: reply))
        slow.sort { $0.value.microseconds > $1.value.microseconds }
        if slow.count > Self.maximumSlow { slow.removeLast() }
    }

    /// Whether a capability was on; `nil` if nothing tells.
    func capability(_ name: String, _ side: Side) -> Placed<Bool>? { capabilities[side]?[name] }

    /// The value of the source's parameter at a time, by the last record that tells it.
    func parameter(_ name: String, at order: Int = .max) -> Placed<Parameter>? {
        parameters.last { $0.value.name == name && $0.place.order <= order }
    }

    /// The last mark about a side up to a record, if it is not older than a second.
    func mark(_ side: Side, before place: Place) -> Placed<String>? {
        marks.last { mark in
            mark.side == side && mark.place.order <= place.order
                && place.time.microseconds(since: mark.place.time) <= 1_000_000
        }
    }
}

/// Keeps within its bound by leaving out what comes later.
extension Array {
    mutating func append(_ element: Element, upTo bound: Int) {
        if count < bound { append(element) }
    }
}
