import JSONC
import Migration
import Phases
import Replay
import Testing
import TraceServer

/// Modes that need what few machines have: KVM with a dirty ring, locked memory, VM sockets. The fake shows what is sent
/// and what becomes of QEMU's refusals; what a real QEMU makes of them is not shown.
@Suite struct OutOfReachTests {
    // MARK: A network device with a standby

    /// The guest is asked to let go of the device that cannot move, and memory follows when it has.
    @Test(arguments: FakeRelease.all) func theGuestReleasesADevice(release: FakeRelease) async throws {
        let attempt = FakeAttempt(
            name: "failover", sourceOptions: { $0.failoverDevice = "primary0" }, ends: [.completed])
        let outcome = try await attempt.run(release)
        #expect(outcome.result.word == .completed, "\(outcome.result)")
        let events = outcome.network.history.compactMap { entry -> String? in
            guard entry.fake == 0, case .event(let name, let status) = entry.note else { return nil }
            return status ?? name
        }
        let place = try #require(events.firstIndex(of: "wait-unplug"), "\(events)")
        #expect(events[..<place].contains("UNPLUG_PRIMARY"))
        #expect(events[place...].contains("active"))
        #expect(outcome.driven.divergence == nil, "\(outcome.driven.text)")
    }

    /// It does not: the wait has an end, and a cancel ends it before.
    @Test(arguments: [true, false]) func theGuestKeepsTheDevice(isCancelled: Bool) async throws {
        let attempt = FakeAttempt(
            name: "failover kept",
            sourceOptions: {
                $0.failoverDevice = "primary0"
                $0.releasesFailoverDevice = false
            }, wishes: { $0.timeoutMilliseconds = 1000 }, isStuck: true, cancelAt: isCancelled ? .starting : nil,
            ends: [.cancelled])
        let outcome = try await attempt.run(.v10)
        #expect(outcome.result.word == .cancelled, "\(outcome.result)")
        #expect(outcome.result.isRunning == true)
        #expect(!outcome.network.ranTwice)
        #expect(outcome.driven.divergence == nil, "\(outcome.driven.text)")
    }

    // MARK: What is sent

    /// The commands that a fake has executed, as `name arguments`.
    private func executed(_ outcome: FakeAttempt.Outcome, by fake: Int, _ name: String) -> [String] {
        outcome.network.history.compactMap { entry in
            guard entry.fake == fake, case .executed(let command) = entry.note, command.name == name else { return nil }
            return JSONValue.object(command.arguments).text()
        }
    }

    @Test(arguments: FakeRelease.all) func overVMSockets(release: FakeRelease) async throws {
        let attempt = FakeAttempt(name: "vsock", wishes: { $0.uri = "vsock:1:4444" }, ends: [.completed])
        let outcome = try await attempt.run(release)
        #expect(outcome.result.word == .completed, "\(outcome.result)")
        let sent = executed(outcome, by: 0, "migrate") + executed(outcome, by: 1, "migrate-incoming")
        #expect(sent.count == 2)
        // In either form that QEMU has for an address.
        #expect(sent.allSatisfy { $0.contains("vsock:1:4444") || $0.contains(#""cid":"1","port":"4444""#) }, "\(sent)")
    }

    @Test func withoutCopying() async throws {
        let attempt = FakeAttempt(
            name: "zero-copy", wishes: { $0.capabilities = ["multifd", "zero-copy-send"] }, ends: [.completed])
        let outcome = try await attempt.run(.v10)
        #expect(outcome.result.word == .completed, "\(outcome.result)")
        let settings = executed(outcome, by: 0, "migrate-set-capabilities")
        #expect(settings.contains { $0.contains(#"{"capability":"zero-copy-send","state":true}"#) }, "\(settings)")
        // It is the sender's affair.
        let theirs = executed(outcome, by: 1, "migrate-set-capabilities")
        #expect(!theirs.contains { $0.contains("zero-copy-send") }, "\(theirs)")
        #expect(theirs.contains { $0.contains(#"{"capability":"multifd","state":true}"#) }, "\(theirs)")
    }

    /// QEMU's words are the user's, and what was switched on is switched off again.
    @Test(arguments: [
        ("migrate", "Unable to lock memory, try raising the limit"),
        ("migrate-set-capabilities", "Zero copy only available for non-compressed non-TLS multifd migration"),
    ]) func withoutCopyingIsRefused(command: String, words: String) async throws {
        let attempt = FakeAttempt(
            name: "zero-copy refused",
            source: [.refuse(.command(command), errorClass: "GenericError", desc: words)],
            wishes: { $0.capabilities = ["multifd", "zero-copy-send"] }, ends: [.failed])
        let outcome = try await attempt.run(.v10)
        #expect(outcome.result.word == .failed, "\(outcome.result)")
        #expect(outcome.result.isRunning == true)
        #expect(outcome.result.error?.contains(words) == true, "\(outcome.result)")
        let settings = executed(outcome, by: 0, "migrate-set-capabilities")
        #expect(settings.last?.contains(#"{"capability":"zero-copy-send","state":false}"#) == true, "\(settings)")
    }

    @Test func limitedProcessors() async throws {
        let attempt = FakeAttempt(
            name: "dirty-limit",
            wishes: {
                $0.capabilities = ["dirty-limit"]
                $0.parameters = [Setting("vcpu-dirty-limit", .integer(50))]
            }, ends: [.completed])
        let outcome = try await attempt.run(.v10)
        #expect(outcome.result.word == .completed, "\(outcome.result)")
        let settings = executed(outcome, by: 0, "migrate-set-parameters")
        #expect(settings.first == #"{"vcpu-dirty-limit":50}"#, "\(settings)")
    }

    /// Without KVM and its dirty ring, and by a QEMU that does not know it.
    @Test func limitedProcessorsAreRefused() async throws {
        let words = "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set"
        let wishes: @Sendable (inout MigrateOptions) -> Void = { $0.capabilities = ["dirty-limit"] }
        let refused = FakeAttempt(
            name: "dirty-limit refused",
            source: [.refuse(.command("migrate-set-capabilities"), errorClass: "GenericError", desc: words)],
            wishes: wishes, ends: [.failed])
        let outcome = try await refused.run(.v10)
        #expect(outcome.result.word == .failed)
        #expect(outcome.result.error?.contains(words) == true, "\(outcome.result)")
        #expect(outcome.result.isRunning == true)
        let unknown = try await FakeAttempt(name: "dirty-limit unknown", wishes: wishes, ends: [.failed]).run(.v7)
        #expect(unknown.result.word == .failed)
        #expect(unknown.result.error?.contains("dirty-limit") == true, "\(unknown.result)")
        #expect(executed(unknown, by: 0, "migrate").isEmpty)
    }
}
