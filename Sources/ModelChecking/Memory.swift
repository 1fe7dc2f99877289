internal import Glibc

/// What this process uses.
enum Memory {
    /// The most that was resident at once, in bytes.
    static var peakBytes: Int {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        return usage.ru_maxrss * 1024
    }
}
