import Controller
import Migration
import MigrationQMP
import Phases

/// The last lines: where the guest is, what it took, and what a person must do.
struct ResultText {
    let result: AttemptResult
    let source: String
    let destination: String
    let keepsSource: Bool
    let mode: MigrationMode
    let journal: String?
    /// The last numbers that QEMU told.
    var job = JobStatistics()

    var lines: [String] {
        var lines = [headline]
        if result.word != .completed, let error = result.error, error != result.word.rawValue {
            lines.append("  why: \(error)")
        }
        if result.word != .completed, let progress { lines.append("  \(progress)") }
        if let times { lines.append("  \(times)") }
        if let wait = result.postcopyBlocktimeMilliseconds {
            lines.append("  all of the guest's processors waited \(wait) ms for pages in post-copy")
        }
        if result.word == .completed, keepsSource {
            lines.append(
                result.place == .file
                    ? "  its QEMU (\(source)) is kept in postmigrate: after a `cont` there what is in the file is of the past"
                    : "  the source's QEMU (\(source)) is kept in postmigrate: `cont` there would run the guest twice")
        }
        lines += result.problems.map { "  problem: \($0)" }
        if result.word == .undecided { lines += advice }
        return lines
    }

    private var headline: String {
        let state = result.isRunning.map { $0 ? "runs" : "is paused" } ?? "is"
        switch result.word {
        case .completed where result.place == .file: return "completed: the guest is in the file (\(destination))"
        case .failed where result.place == .file: return "failed: the guest is in the file (\(source))"
        case .cancelled where result.place == .file: return "cancelled: the guest is in the file (\(source))"
        case .completed: return "completed: the guest \(state) on the destination (\(destination))"
        case .failed: return "failed: the guest \(state) on the source (\(source))"
        case .cancelled: return "cancelled: the guest \(state) on the source (\(source))"
        case .undecided: return "undecided: it cannot be proven where the guest may run"
        case .lost: return "lost: the guest is gone"
        case .ended: return "ended: the guest shut itself down on the way"
        default: return result.word.rawValue
        }
    }

    /// How far it had come.
    private var progress: String? {
        guard let total = job[.memoryTotalBytes], let sent = job[.memoryProcessedBytes],
            let left = job[.memoryRemainingBytes]
        else { return nil }
        var text = "it had sent \(Quantity.bytes(sent)), \(Quantity.bytes(left)) of \(Quantity.bytes(total)) were left"
        if let iteration = job[.memoryIteration] { text += " in pass \(iteration)" }
        if let time = job[.timeElapsedMilliseconds] { text += " after \(Quantity.time(milliseconds: Double(time)))" }
        return text
    }

    private var times: String? {
        var parts: [String] = []
        if let total = result.statistics.totalMilliseconds {
            parts.append("total \(Quantity.time(milliseconds: Double(total)))")
        }
        if let downtime = result.statistics.downtimeMilliseconds {
            parts.append("downtime \(Quantity.time(milliseconds: Double(downtime))) by QEMU's count")
        }
        if result.word == .completed, let pause = result.pauseMicroseconds {
            var text = "the guest stood still for \(Quantity.time(milliseconds: Double(pause) / 1000))"
            if let gap = result.ownGapMicroseconds {
                text += ", \(Quantity.time(milliseconds: Double(gap) / 1000)) of it ours"
            }
            parts.append(text)
        }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    private var advice: [String] {
        let kept = journal.map { ["  the journal is kept: \($0)"] } ?? []
        switch mode {
        case .save:
            return [
                "  no file was written. Find out by hand whether the source's QEMU (\(source)) still exists, and what",
                "  `query-status` there says; a guest that stands still there goes on by `cont`.",
            ] + kept
        case .restore:
            return [
                "  the file is as it was. Find out by hand whether the destination's QEMU (\(destination)) still exists, and",
                "  whether it runs the guest, before the file is restored anywhere else.",
            ] + kept
        case .managed, .peerToPeer, .direct, .tunnelled: break
        }
        guard result.verdict != .wholeOnSource else {
            return [
                "  the guest runs nowhere, and was not seen to run elsewhere. What can be done by hand:",
                "    - `pmemsave` on the source (\(source)) saves its memory; its disks are as it left them.",
                "    - then `quit` there, and start the guest anew.",
            ] + kept
        }
        return [
            "  the source was not continued, and the destination was left as it is. Find out by hand:",
            "    - does the destination's QEMU (\(destination)) still exist, and what does `query-status` there say?",
            "    - if it runs the guest: `quit` the source (\(source)).",
            "    - if it never ran the guest: end it, see its process gone, then `cont` the source.",
            "    - never let both run.",
        ] + kept
    }
}
