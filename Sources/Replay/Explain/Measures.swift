public import JSONC
public import Migration

/// A moment and the record that shows it.
public struct Moment: Hashable, Sendable {
    /// When, since the start of the recording.
    public var time: Instant
    /// The record's number; 0 if none shows it.
    public var record: Int

    /// One object for a program.
    public var json: JSONValue { ["t": time.json, "record": .integer(Int64(record))] }
}

/// A part of the guest's pause.
public struct PausePart: Hashable, Sendable {
    /// What the guest waited for.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// Somebody stopped it, before the last pass began.
        case held
        /// The source's QEMU wrote the last pages and the device state, and the destination read them.
        case deviceState = "device-state"
        /// The source held before the switchover and nobody had sent `migrate-continue`.
        case awaitingContinue = "controller-continue"
        /// The source was done, the destination still loaded.
        case awaitingDestination = "destination"
        /// The destination had loaded, the source had not yet heard of it.
        case handshake
        /// Everything had arrived and nobody had sent `cont`.
        case awaitingRun = "controller-run"
        /// `cont` was sent, or QEMU starts the guest by itself, and it did not run yet.
        case resume = "guest-resume"
        /// The attempt had failed, the source stood still, and nobody had sent `cont` to it.
        case awaitingSourceRun = "controller-source-run"
        /// The attempt had failed or was being cancelled, and the source did not run the guest yet.
        case rollback
        /// The side that would tell was not recorded.
        case unseen = "not-recorded"

        /// For a person.
        public var title: String {
            switch self {
            case .held: "paused by a command, before the last pass"
            case .deviceState: "QEMU: last pages and device state, sent and loaded"
            case .awaitingContinue: "controller: until migrate-continue was sent"
            case .awaitingDestination: "waiting for the destination to load"
            case .handshake: "QEMU: until the source heard that it had arrived"
            case .awaitingRun: "controller: until cont was sent"
            case .resume: "guest resume: until the guest ran"
            case .awaitingSourceRun: "controller: until cont was sent to the source"
            case .rollback: "QEMU: giving up, until the source ran the guest again"
            case .unseen: "not recorded"
            }
        }
    }

    /// What it was.
    public var kind: Kind
    /// When it began.
    public var from: Moment
    /// When it ended.
    public var to: Moment

    /// How long, in microseconds.
    public var microseconds: Int64 { to.time.microseconds(since: from.time) }

    /// One object for a program.
    public var json: JSONValue {
        [
            "kind": .string(kind.rawValue), "from": from.json, "to": to.json, "microseconds": .integer(microseconds),
        ]
    }
}

/// A span in which the guest ran nowhere.
public struct GuestPause: Hashable, Sendable {
    /// When the source stopped it.
    public var from: Moment
    /// When it ran again; `nil` if it was not seen to.
    public var to: Moment?
    /// Where it ran again.
    public var side: Side?
    /// Whether both ends are told by events, not by queries, which come late.
    public var isExact: Bool
    /// What it consists of, without gaps, in order.
    public var parts: [PausePart]

    /// How long, in microseconds; `nil` if its end was not seen.
    public var microseconds: Int64? { to.map { $0.time.microseconds(since: from.time) } }

    /// The parts of a kind, together, in microseconds.
    public func microseconds(of kind: PausePart.Kind) -> Int64 {
        parts.filter { $0.kind == kind }.reduce(0) { $0 &+ $1.microseconds }
    }

    /// One object for a program.
    public var json: JSONValue {
        [
            "from": from.json, "to": to?.json ?? .null, "resumedOn": side.map { .string($0.rawValue) } ?? .null,
            "exact": .bool(isExact), "microseconds": microseconds.map { .integer($0) } ?? .null,
            "parts": .array(parts.map(\.json)),
        ]
    }
}

/// A stretch of an attempt under one published word.
public struct WordSpan: Hashable, Sendable {
    /// The word.
    public var word: PublishedWord
    /// From when.
    public var from: Moment
    /// To when.
    public var to: Moment

    /// How long, in microseconds.
    public var microseconds: Int64 { to.time.microseconds(since: from.time) }

    /// One object for a program.
    public var json: JSONValue {
        [
            "status": .string(word.rawValue), "from": from.json, "to": to.json, "microseconds": .integer(microseconds),
        ]
    }
}

/// One pass over the guest's memory. What no query showed is `nil`.
public struct Iteration: Hashable, Sendable {
    /// Its number, from 1.
    public var number: Int64
    /// When it began.
    public var from: Moment
    /// When it ended.
    public var to: Moment
    /// Whether `MIGRATION_PASS` told its beginning; a query tells it late.
    public var isExact: Bool
    /// Bytes sent in it.
    public var transferredBytes: Int64?
    /// What was left at the last look in it.
    public var remainingBytes: Int64?
    /// How fast memory was sent, by QEMU's count at the last look.
    public var bytesPerSecond: Double?
    /// How fast the guest dirtied memory, by QEMU's count at the last look.
    public var dirtyBytesPerSecond: Double?
    /// How far auto-converge held the guest back, in percent.
    public var throttlePercentage: Int64?
    /// The limit of the pause then in force, in milliseconds.
    public var downtimeLimitMilliseconds: Int64?

    /// How long, in microseconds.
    public var microseconds: Int64 { to.time.microseconds(since: from.time) }

    /// One object for a program.
    public var json: JSONValue {
        func number(_ value: Int64?) -> JSONValue { value.map { .integer($0) } ?? .null }
        return [
            "iteration": .integer(self.number), "from": from.json, "to": to.json,
            "microseconds": .integer(microseconds), "exact": .bool(isExact),
            "transferredBytes": number(transferredBytes), "remainingBytes": number(remainingBytes),
            "bytesPerSecond": bytesPerSecond.map { JSONValue($0.rounded()) } ?? .null,
            "dirtyBytesPerSecond": dirtyBytesPerSecond.map { JSONValue($0.rounded()) } ?? .null,
            "throttlePercentage": number(throttlePercentage),
            "downtimeLimitMilliseconds": number(downtimeLimitMilliseconds),
        ]
    }
}
