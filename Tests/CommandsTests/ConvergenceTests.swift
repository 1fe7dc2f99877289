import Migration
import Testing

@testable import Commands

@Suite("The outlook of a migration")
struct ConvergenceTests {
    private func sample(
        remaining: Int64, megabits: Double, dirtyPages: Int64, iteration: Int64 = 3, expected: Int64? = nil
    ) -> MigrationSample {
        var sample = MigrationSample(status: .active)
        sample.totalBytes = 1 << 30
        sample.remainingBytes = remaining
        sample.megabitsPerSecond = megabits
        sample.dirtyPagesPerSecond = dirtyPages
        sample.pageBytes = 4096
        sample.iteration = iteration
        sample.expectedDowntimeMilliseconds = expected
        return sample
    }

    @Test("the first pass says nothing about how fast the guest writes")
    func firstPass() {
        let convergence = Convergence(
            sample(remaining: 1 << 29, megabits: 800, dirtyPages: 100_000, iteration: 1), downtimeLimitMilliseconds: 300
        )
        #expect(convergence == .unknown)
    }

    @Test("a guest that writes slower than it is sent arrives")
    func arrives() {
        // 100 MB/s sent, 40.96 MB/s written: 59.04 MB left take a second.
        let convergence = Convergence(
            sample(remaining: 59_040_000, megabits: 800, dirtyPages: 10_000), downtimeLimitMilliseconds: 300)
        #expect(convergence == .arrives(milliseconds: 1000))
    }

    @Test("a guest that writes faster than it is sent needs a longer stop or a faster wire")
    func stuck() {
        let convergence = Convergence(
            sample(remaining: 200_000_000, megabits: 800, dirtyPages: 30_000, expected: 1900),
            downtimeLimitMilliseconds: 300)
        #expect(
            convergence == .stuck(neededMilliseconds: 1900, neededBytesPerSecond: 1900 * 100_000_000 / 300))
        #expect(convergence.text == "will not converge at this dirty rate: needs a downtime of 1.9 s or 604 MiB/s")
    }

    @Test("what fits into the allowed stop arrives, however fast the guest writes")
    func fits() {
        let convergence = Convergence(
            sample(remaining: 10_000_000, megabits: 800, dirtyPages: 30_000, expected: 100),
            downtimeLimitMilliseconds: 300)
        #expect(convergence == .arrives(milliseconds: 100))
    }

    @Test("numbers without sense give no outlook and no trap", arguments: [0.0, -5, .nan, .infinity, 1e308])
    func absurd(megabits: Double) {
        let convergence = Convergence(
            sample(remaining: .max, megabits: megabits, dirtyPages: .max, expected: .max), downtimeLimitMilliseconds: 0)
        _ = convergence.text
        #expect(megabits > 0 || convergence == .unknown)
    }
}
