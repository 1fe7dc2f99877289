public import ArgumentParser
public import Migration

/// The program's exit codes; scripts rely on them, so they change only with a major version.
public enum CommandOutcome: Int32, Sendable, CaseIterable {
    /// The guest is on the destination, in the intended run state.
    case completed = 0
    /// Two traces differ.
    case differs = 1
    /// Failed; the guest is on the source in its earlier run state.
    case failed = 10
    /// Cancelled; the guest is on the source in its earlier run state.
    case cancelled = 11
    /// The guest arrived, but cleaning up had problems.
    case completedWithProblems = 12
    /// Post-copy is paused; recovery is needed.
    case postcopyPaused = 13
    /// Undecided: the source is stopped, the destination may run.
    case undecided = 14
    /// The guest is lost.
    case lost = 15
    /// The guest shut itself down on the way.
    case ended = 16
    /// A driving replay went another way than its recording.
    case diverged = 17
    /// A running attempt does not do what it was asked.
    case refused = 18
    /// The command line is wrong.
    case usage = 64
    /// What is in a trace or document makes no sense, or what was asked for is not in it.
    case data = 65
    /// A file is not there or cannot be read.
    case noInput = 66
    /// A bug in Godwit.
    case `internal` = 70
    /// What should be written cannot be, or not all of it.
    case output = 74
    /// A monitor is busy or not there.
    case unavailable = 75

    /// What it means, in a few words.
    public var meaning: String {
        switch self {
        case .completed: "the guest is on the destination, in the intended run state"
        case .differs: "`diff`: the traces differ; `check`: something stands in the way"
        case .failed: "failed, the guest is on the source in its earlier run state"
        case .cancelled: "cancelled, the guest is on the source in its earlier run state"
        case .completedWithProblems: "arrived, but cleaning up had problems"
        case .postcopyPaused: "post-copy paused, recovery needed"
        case .undecided: "undecided: the source is stopped, the destination may run"
        case .lost: "the guest is lost"
        case .ended: "the guest shut itself down on the way"
        case .diverged: "a driving replay went another way than its recording"
        case .refused: "a running attempt does not do what it was asked"
        case .usage: "usage"
        case .data: "a trace or document makes no sense, or what was asked for is not in it"
        case .noInput: "a file is not there or cannot be read"
        case .internal: "internal error"
        case .output: "the output cannot be written, or not all of it"
        case .unavailable: "a monitor is busy or not there"
        }
    }

    /// The code of an end.
    public init(_ word: PublishedWord, hasProblems: Bool) {
        switch word {
        case .completed: self = hasProblems ? .completedWithProblems : .completed
        case .failed: self = .failed
        case .cancelled: self = .cancelled
        case .postcopyPaused: self = .postcopyPaused
        case .lost: self = .lost
        case .ended: self = .ended
        case .undecided: self = .undecided
        case .idle, .starting, .copying, .switchover, .postcopy, .recovering: self = .internal
        }
    }

    /// As ArgumentParser wants it.
    public var exitCode: ExitCode { ExitCode(rawValue) }
}
