import Glibc

/// A few threads that work on one thing, and the lock between them.
package final class ThreadCrew: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var body: () -> Void = {}

    package init() {
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        condition.initialize(to: pthread_cond_t())
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(condition)
        mutex.deallocate()
        condition.deallocate()
    }

    /// How many threads this machine carries out at once, within reason.
    package static var processors: Int { min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1), 16) }

    package func lock() { pthread_mutex_lock(mutex) }
    package func unlock() { pthread_mutex_unlock(mutex) }

    /// Waits for somebody's ``wake()``; the lock is free meanwhile. It may come back without a reason.
    package func wait() { pthread_cond_wait(condition, mutex) }

    /// Wakes all who wait.
    package func wake() { pthread_cond_broadcast(condition) }

    /// Runs `body` on so many threads, the caller's included, and returns when all are done. A thread that cannot be
    /// had is done without.
    package func run(threads: Int, _ body: () -> Void) {
        withoutActuallyEscaping(body) { body in
            self.body = body
            let others = (1..<min(max(threads, 1), 64)).compactMap { _ in start() }
            body()
            for thread in others { pthread_join(thread, nil) }
            self.body = {}
        }
    }

    private func start() -> pthread_t? {
        let context = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<ThreadCrew>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            return nil
        }
        return thread
    }
}
