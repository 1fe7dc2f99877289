import Migration
import Phases

/// What an observer knows of one attempt.
struct ObservedAttempt {
    var source: Evidence
    var destination: Evidence
    var inference = PhaseInference()
    /// The phases that the recording itself tells, by side.
    var recorded: [Side: [Phase]] = [:]
    /// Of which sides the attempt has records.
    var seen = SideSet()
    /// The sides whose QEMU greeted within the attempt, with the record of the last greeting, counted from 1.
    var greetings: [Side: Int] = [:]
    /// The record of its `migrate`, counted from 1.
    var migrateOrder: Int?
    var totalMilliseconds: Int64?
    var downtimeMilliseconds: Int64?
    var context = JointContext()
    /// Whether the recorder itself could not tell how it ended.
    var isUndecided = false
    /// The last status that the recorder itself published.
    var recordedWord: PublishedWord?
    /// The last status, to notice when it changes.
    var lastStatus = PublishedStatus.idle
    var reported: Set<String> = []

    init() {
        source = Evidence(side: .source)
        destination = Evidence(side: .destination)
    }

    subscript(_ side: Side) -> Evidence {
        @inline(__always) _read {
            if side == .source { yield source } else { yield destination }
        }
        @inline(__always) _modify {
            if side == .source { yield &source } else { yield &destination }
        }
    }

    /// Looks at one side's evidence where it is; the subscript may copy it for that.
    @inline(__always)
    func read<Value>(_ side: Side, _ body: (borrowing Evidence) -> Value) -> Value {
        side == .source ? body(source) : body(destination)
    }

    /// Whether anything was begun, so that it is an attempt and not only the preparation of one.
    var isOpened: Bool {
        migrateOrder != nil || source.openedSequence != nil || destination.openedSequence != nil
    }

    var status: PublishedStatus {
        var status = PublishedStatus(
            source: seen.contains(.source) ? source.report : nil,
            destination: seen.contains(.destination) ? destination.report : nil, context: context)
        if isUndecided {
            status.word = .undecided
            status.stopping = .none
        }
        return status
    }

    /// Whether what begins now belongs to another attempt.
    ///
    /// A source that completed alone may have written a file; the destination that loads it later is still to come.
    var hasEnded: Bool {
        let status = self.status
        guard status.word.isEnd else { return false }
        return !(status.basis == .source && status.word == .completed)
    }

    /// Whether the source has nothing more to do in it.
    var hasSourceEnded: Bool {
        switch source.stage {
        case .ended, .completed, .gone: true
        default: hasEnded
        }
    }

    /// Whether a migration certainly goes on at the source.
    var isUnderWay: Bool {
        switch source.stage {
        case .idle, .starting, .ended, .completed, .gone: false
        default: true
        }
    }

    /// Whether the destination waits for a source and has not met one yet.
    var isListening: Bool {
        guard let row = destination.triggers[.listen], row.wasSent, destination.processEnd == nil else { return false }
        // Of several, one may have been accepted before another was refused.
        return (row.refusal == nil || row.count > 1) && destination.words.allSatisfy { $0.word == .setup }
    }

    /// QEMU's own words, the source's first: it is the source that decides.
    var error: String? {
        source.errorDescription ?? destination.errorDescription ?? source.triggers[.migrate]?.refusal
    }

    /// Whether the destination's connection is gone in a recording of somebody who may not watch its process: then it
    /// has most likely died.
    func isDestinationOutOfSight(_ isProcessWatched: Bool) -> Bool {
        !isProcessWatched && destination.monitor == .lost && seen.contains(.destination)
    }
}
