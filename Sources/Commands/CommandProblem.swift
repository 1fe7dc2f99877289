import ArgumentParser
import PolicyDocuments
import Replay
import Trace

/// What stands in the way of a command.
protocol CommandProblem: Error, CustomStringConvertible {
    /// What the command ends with, if nothing weighs more.
    var outcome: CommandOutcome { get }
}

extension CommandProblem {
    /// As it is told, in a line or more without the last line feed.
    var note: String { "godwit: \(Console.safe(description))" }

    /// Tells it on standard error and returns what is thrown then.
    func told() -> ExitCode {
        Console.note(note)
        return outcome.exitCode
    }
}

extension TraceError: CommandProblem {
    /// A file that is not there is told from one that makes no sense.
    var outcome: CommandOutcome {
        switch cause {
        case .access: .noInput
        case .content: .data
        }
    }
}

extension DriveError: CommandProblem { var outcome: CommandOutcome { .data } }

extension ChangeError: CommandProblem { var outcome: CommandOutcome { .data } }

extension PolicyDocumentError: CommandProblem { var outcome: CommandOutcome { .data } }

/// A file or directory that cannot be read.
struct InputError: CommandProblem {
    /// The path and the reason.
    var description: String
    var outcome: CommandOutcome { .noInput }
}

/// What is wrong with several files: each is told and stops none of the others.
struct FileProblems {
    /// What the command ends with because of them. Of what is wrong in a file more can be said than of one that is not there.
    private(set) var outcome: CommandOutcome?

    /// Tells one.
    mutating func tell(_ problem: any CommandProblem) {
        Console.note(problem.note)
        add(problem.outcome)
    }

    /// Takes one that was told already.
    mutating func add(_ new: CommandOutcome) { outcome = outcome == .data ? .data : new }

    /// Throws what the command ends with, if anything was wrong.
    func end() throws { if let outcome { throw outcome.exitCode } }
}
