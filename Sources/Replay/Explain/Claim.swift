public import JSONC
public import Migration

/// Who an end is owed to.
public enum Party: String, Hashable, Sendable, CaseIterable {
    /// The QEMU that the guest left, or its host.
    case source
    /// The QEMU that the guest was to arrive at, or its host.
    case destination
    /// What lies between them.
    case network
    /// A person, or a program that was told what to do: addresses, options, a cancel.
    case `operator`
    /// A deadline or a convergence policy.
    case policy
    /// Whoever speaks QMP to both.
    case controller
    /// The guest itself.
    case guest
}

/// How sure something is.
public enum Certainty: String, Hashable, Sendable {
    /// The records show it.
    case proven
    /// It fits what the records show, and something else could fit too.
    case likely
    /// The records do not tell.
    case unknown
}

/// A sentence and the records that prove it.
public struct Claim: Hashable, Sendable {
    /// What is said, for a person, without a full stop.
    public var text: String
    /// The numbers of the records that show it, oldest first; none if it follows from what is missing.
    public var records: [Int]
    /// The QEMU it concerns; `nil` for both or none.
    public var side: Side?
    /// When, since the start of the recording.
    public var time: Instant?

    /// A claim. Numbers below 1 name no record and are left out.
    public init(_ text: String, records: [Int] = [], side: Side? = nil, time: Instant? = nil) {
        self.text = text
        self.records = records.filter { $0 > 0 }
        self.side = side
        self.time = time
    }

    /// One object for a program; times in seconds since the start of the recording.
    public var json: JSONValue {
        var object: JSONObject = ["text": .string(text), "records": .array(records.map { .integer(Int64($0)) })]
        if let side { object["side"] = .string(side.rawValue) }
        if let time { object["t"] = time.json }
        return .object(object)
    }
}

/// Whose doing an end was.
public struct FaultAttribution: Hashable, Sendable {
    /// Whose; `nil` if the records do not tell, or if nothing went wrong.
    public var party: Party?
    /// How sure that is.
    public var certainty: Certainty
    /// Why it is said, with the records.
    public var because: Claim
    /// Who else it could have been.
    public var alternatives: [Party]

    /// One object for a program.
    public var json: JSONValue {
        [
            "party": party.map { .string($0.rawValue) } ?? .null, "certainty": .string(certainty.rawValue),
            "because": because.json, "alternatives": .array(alternatives.map { .string($0.rawValue) }),
        ]
    }
}

/// Something that the record does not tell, and what would.
public struct Gap: Hashable, Sendable {
    /// What is not known.
    public var what: String
    /// What would tell it.
    public var remedy: String

    /// One object for a program.
    public var json: JSONValue { ["what": .string(what), "remedy": .string(remedy)] }
}

extension Instant {
    /// Seconds since the start of the recording.
    var json: JSONValue { JSONValue(Double(microseconds) / 1e6) }

    /// Microseconds from `earlier` to this point, never negative.
    func microseconds(since earlier: Instant) -> Int64 {
        let (difference, overflow) = microseconds.subtractingReportingOverflow(earlier.microseconds)
        return overflow ? 0 : max(difference, 0)
    }
}
