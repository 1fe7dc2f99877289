internal import Glibc
import JSONC
import Migration
import MigrationQMP
import NIOCore
import NIOPosix
import Phases
import QMPTransport

/// The hook program of an attempt.
extension AttemptDriver {
    /// Runs it; its end comes back as an input.
    func runHook(_ point: HookPoint, then: (() -> Void)? = nil) {
        guard let hook = configuration.hook else { return hookEnded(point, "there is no program to run", then) }
        journal.record("hook", nil, ["run": .string(point.rawValue)], at: journal.now)
        guard let run = HookRun(hook, variables: variables(point)) else {
            return hookEnded(point, "\(hook.program): \(String(cString: strerror(errno)))", then)
        }
        hookRun = run
        run.failure(within: hook.milliseconds, on: eventLoop).assumeIsolated().whenComplete { [self] result in
            if hookRun === run { hookRun = nil }
            switch result {
            case .success(let failure): hookEnded(point, failure, then)
            case .failure(let error): hookEnded(point, "\(hook.program): \(error)", then)
            }
        }
    }

    /// How long a disk may take to make a file safe.
    private static let storeMilliseconds: Int64 = 600_000

    /// Makes the file safe that the guest was saved to, beside the event loop.
    func storeFile() {
        guard let file = configuration.file else { return hookEnded(.store, "there is no file", nil) }
        journal.record("hook", nil, ["run": .string(HookPoint.store.rawValue)], at: journal.now)
        let saved = SavedGuest(machine, configuration.options)
        var isEnded = false
        let end: (String?) -> Void = { [self] failure in
            guard !isEnded else { return }
            isEnded = true
            hookEnded(.store, failure, nil)
        }
        let bound = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Self.storeMilliseconds)) {
            file.giveUp()
            end("the disk did not take it within \(Self.storeMilliseconds / 60_000) min")
        }
        NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) { file.store(saved) }.assumeIsolated().whenComplete {
            bound.cancel()
            switch $0 {
            case .success(let failure): end(failure)
            case .failure(let error): end("\(error)")
            }
        }
    }

    private func hookEnded(_ point: HookPoint, _ failure: String?, _ then: (() -> Void)?) {
        guard point == .end || !isOver else { return }
        let time = journal.now
        var value: JSONObject = ["ended": .string(point.rawValue)]
        if let failure { value["failed"] = .string(failure) }
        let sequence = journal.record("hook", nil, .object(value), at: time)
        guard let then else { return enqueue(.hooked(point, failure: failure), sequence: sequence, at: time) }
        if let failure { told.append(.notice("the hook at the end failed: \(failure)", at: time)) }
        then()
    }

    /// What the program is told about the moment.
    private func variables(_ point: HookPoint) -> [String: String] {
        var side = Side.source.rawValue
        if point == .end {
            switch machine.result?.place {
            case .destination: side = Side.destination.rawValue
            case .source: break
            case .file, .nowhere, .unknown, nil: side = ""
            }
        }
        return [
            "GODWIT_ATTEMPT": configuration.options.attempt, "GODWIT_PHASE": point.rawValue, "GODWIT_SIDE": side,
            "GODWIT_STATUS": machine.status.word.rawValue, "GODWIT_SOURCE": configuration.sourceName,
            "GODWIT_DESTINATION": configuration.destinationName,
        ]
    }
}
