import Migration
import Phases
import Testing

@testable import Commands

@Suite("How it is told")
struct CommandOutcomeTests {
    @Test("the codes are a promise")
    func codes() {
        #expect(
            CommandOutcome.allCases.map(\.rawValue) == [
                0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 64, 65, 66, 70, 74, 75,
            ])
    }

    @Test(
        arguments: [
            (.completed, false, .completed), (.completed, true, .completedWithProblems), (.failed, false, .failed),
            (.cancelled, false, .cancelled), (.postcopyPaused, false, .postcopyPaused), (.undecided, true, .undecided),
            (.lost, false, .lost), (.ended, false, .ended), (.copying, false, .internal),
        ] as [(PublishedWord, Bool, CommandOutcome)])
    func endings(word: PublishedWord, hasProblems: Bool, status: CommandOutcome) {
        #expect(CommandOutcome(word, hasProblems: hasProblems) == status)
    }

    private func result(_ verdict: Verdict, running: Bool?) -> AttemptResult {
        AttemptResult(
            verdict: verdict, isRunning: running, error: "because", problems: ["a leftover"], cancel: .none,
            statistics: CookieStatistics(totalMilliseconds: 1234, downtimeMilliseconds: 5), ownGapMicroseconds: 250,
            pauseMicroseconds: 6000)
    }

    private func lines(_ result: AttemptResult, keepsSource: Bool = false) -> [String] {
        ResultText(
            result: result, source: "/s", destination: "/d", keepsSource: keepsSource, mode: .managed,
            journal: "/j.qmptrace"
        ).lines
    }

    @Test("the last lines say where the guest runs, how long it took and what of it was ours")
    func arrived() {
        #expect(
            lines(result(.arrived, running: true), keepsSource: true) == [
                "completed: the guest runs on the destination (/d)",
                "  total 1.2 s, downtime 5.00 ms by QEMU's count, the guest stood still for 6.00 ms, 0.25 ms of "
                    + "it ours",
                "  the source's QEMU (/s) is kept in postmigrate: `cont` there would run the guest twice",
                "  problem: a leftover",
            ])
    }

    @Test("a failure says why")
    func failed() {
        let lines = lines(result(.stayed, running: false))
        #expect(lines.first == "failed: the guest is paused on the source (/s)")
        #expect(lines.contains("  why: because"))
    }

    @Test("undecided says what to find out and where the journal is")
    func undecided() {
        let text = lines(result(.abandonUnproven, running: nil)).joined(separator: "\n")
        #expect(text.contains("never let both run"))
        #expect(text.contains("/j.qmptrace"))
    }

    @Test(
        arguments: [
            ("tcp:localhost:0", nil), ("tcp:[::1]:4444", nil), ("unix:/tmp/x", nil), ("unix:", "no path"),
            ("tcp::1", "no host"), ("tcp:host", "no port"), ("tcp:host:99999", "no port number at its end"),
            ("exec:cat", nil), ("exec:", "no command"), ("fd:name", nil), ("vsock:3:4444", nil),
            ("fd:3", "fd:NAME needs a name that does not begin with a digit"),
            ("fd:", "fd:NAME needs a name that does not begin with a digit"),
            ("vsock:3", "vsock:CID:PORT has two numbers"), ("vsock:3:x", "vsock:CID:PORT has two numbers"),
            ("file:/x", "a file cannot be written and loaded at the same time"),
            ("", "it begins with none of tcp:, unix:, vsock:, exec:, fd:"),
        ] as [(String, String?)])
    func addresses(uri: String, problem: String?) {
        #expect(MigrationURI.problem(uri) == problem)
    }

    @Test("a path too long for a socket gives way to the loopback interface")
    func longDirectory() {
        let directory = "/" + String(repeating: "d", count: 90)
        #expect(MigrationURI.beside("\(directory)/qmp", attempt: "0123456789abcdef") == "tcp:127.0.0.1:0")
        #expect(MigrationURI.beside("/run/q/qmp", attempt: "ab") == "unix:/run/q/godwit-ab.sock")
    }
}
