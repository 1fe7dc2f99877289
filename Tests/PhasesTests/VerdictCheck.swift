import Migration
import Phases

/// What a verdict says it rests on, held against what there was when an attempt ended.
struct VerdictCheck {
    var verdict: Verdict
    /// What the rules of publication say of the same evidence.
    var rule: PublishedWord
    /// The step that was answered last, and how.
    var last: (step: Step, result: StepResult)?
    /// The pieces of evidence that the verdict names and that were there; `nil` where only reports are at hand.
    var found: [JointBasis]?

    init(
        _ verdict: Verdict, source: SideReport, destination: SideReport?, context: JointContext,
        last: (Step, StepResult)?
    ) {
        self.verdict = verdict
        rule = PublishedStatus(source: source, destination: destination, context: context).word
        self.last = last.map { (step: $0.0, result: $0.1) }
    }

    /// What does not fit.
    var problems: [String] {
        var problems: [String] = []
        let row = verdict.row
        if rule.isEnd, rule != verdict.word, !row.overrules.contains(rule) {
            problems.append("\(verdict): the rules say \(rule.rawValue), and nothing says why that does not count")
        }
        if let last, !row.answers.isEmpty, !row.answers.contains(where: { $0.fits(last.step, last.result) }) {
            problems.append("\(verdict): \(last.step.rawValue) was answered last, \(last.result)")
        }
        if let found, found.isEmpty, !row.because.isEmpty {
            problems.append("\(verdict): nothing of its evidence is there")
        }
        return problems
    }
}

extension JointBasis {
    /// Whether it is in the evidence of the sides.
    func isFound(_ source: Evidence, _ destination: Evidence) -> Bool {
        let evidence = side == .destination ? destination : source
        return switch basis {
        case .trigger(let kind): evidence.triggers[kind] != nil
        case .event(let kind): evidence.events.has(kind)
        }
    }
}
