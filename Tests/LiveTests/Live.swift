import Glibc
import GuestLab
import Testing

/// What the live tests need of the machine that they run on.
enum Live {
    static let missing = missingPrograms()

    /// For suites that start QEMU: skipped, with the reason, where it or binutils is not installed.
    static var available: ConditionTrait {
        .enabled(if: missing.isEmpty, "not in PATH: \(missing.joined(separator: ", "))")
    }
}

/// Runs blocking code on a thread of its own, so that it does not take one of the few that async code has.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        startThread { continuation.resume(with: Swift.Result { try body() }) }
    }
}

func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Work: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let work = Unmanaged.passRetained(Work(body)).toOpaque()
    let failure = pthread_create(
        &thread, nil,
        { work in
            guard let work else { return nil }
            Unmanaged<Work>.fromOpaque(work).takeRetainedValue().body()
            return nil
        }, work)
    precondition(failure == 0, "no thread to be had")
    pthread_detach(thread)
}
