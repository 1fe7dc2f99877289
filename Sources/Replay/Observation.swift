public import Migration
public import Phases

/// Something that a record showed and that a reader of the story wants to know.
public struct Observation: Hashable, Sendable {
    /// What it is.
    public enum What: Hashable, Sendable {
        /// Another attempt begins; its number, from 1.
        case attempt(Int)
        /// A greeting of QEMU.
        case greeting(QEMUVersion)
        /// The monitor connection changed.
        case monitor(MonitorState)
        /// The process ended.
        case process(ProcessEnd)
        /// A command left for QEMU. `opens`: it is the `migrate` or the `migrate-incoming` of its attempt.
        case sent(Command, opens: Bool)
        /// A query was answered that told nothing new.
        case poll(Command, MigrationSample?)
        /// QEMU said no.
        case refused(Command, String)
        /// QEMU's status word changed.
        case word(StatusWord, from: ObservationSource)
        /// An event other than a status word.
        case event(QEMUEvent)
        /// The run state that a query shows changed.
        case runState(RunState)
        /// QEMU's words about an error.
        case error(String)
        /// A phase was entered.
        case phase(PhaseMove, inferred: Bool)
        /// The published status changed.
        case status(PublishedStatus)
        /// A note for the reader.
        case note(String)
        /// Something that deserves a look.
        case anomaly(String)
    }

    /// The record's number.
    public var sequence: Int
    /// The record's time, since the start of the recording.
    public var time: Instant
    /// The QEMU it concerns; `nil` for both or none.
    public var side: Side?
    /// What it is.
    public var what: What
}

/// Something in a recording that deserves a look.
public struct Anomaly: Hashable, Sendable {
    /// The record's number.
    public var sequence: Int
    /// The QEMU it concerns; `nil` for both or none.
    public var side: Side?
    /// What, for a person.
    public var what: String
}
