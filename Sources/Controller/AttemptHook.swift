internal import Glibc
import JSONC
import Migration
import MigrationQMP
import NIOCore
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
            case .nowhere, .unknown, nil: side = ""
            }
        }
        return [
            "GODWIT_ATTEMPT": configuration.options.attempt, "GODWIT_PHASE": point.rawValue, "GODWIT_SIDE": side,
            "GODWIT_STATUS": machine.status.word.rawValue, "GODWIT_SOURCE": configuration.source.path,
            "GODWIT_DESTINATION": configuration.destination.path,
        ]
    }
}
