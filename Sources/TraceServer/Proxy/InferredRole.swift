import Trace

/// Which end of a migration a QEMU is, where nobody said so: how it was started tells, or what it is told to do. It may be a source
/// after it was a destination.
struct InferredRole: Hashable, Sendable {
    /// What its command line says; nil: it is not known.
    let start: TraceSide?
    private(set) var side: TraceSide
    /// Whether its guest was let run.
    private var hasRun = false

    init(start: TraceSide? = nil) {
        self.start = start
        side = start ?? .source
    }

    /// A command is on its way.
    mutating func sent(_ name: String) {
        switch name {
        case "migrate" where hasRun: side = .source
        case "migrate-incoming" where start == nil && !hasRun: side = .destination
        default: break
        }
    }

    /// A command was carried out.
    mutating func succeeded(_ name: String) {
        if name == "cont" { hasRun = true }
    }
}
