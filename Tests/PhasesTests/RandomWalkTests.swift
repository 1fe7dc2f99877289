import Migration
import Phases
import Testing

/// Attempts with faults, bad manners and orders drawn from a seed. What must always hold is checked after every input.
@Suite struct RandomWalkTests {
    /// A script, options and faults from a seed: the same ones every time.
    private static func draw(_ seed: UInt64) -> (Script, MigrateOptions, [(at: Int, fault: Fault)]) {
        var random = SeededRandom(seed: seed)
        var script = FaultSweepTests.Manner.allCases.randomElement(using: &random)?.script ?? Script()
        script.passes = Int.random(in: 1...4, using: &random)
        if random.chance(30) { script.tellsUnanswered.toggle() }
        if random.chance(20) { script.hasYank.toggle() }
        if random.chance(20) { script.isGuestPaused.toggle() }
        if random.chance(30) { script.isSourceFirst.toggle() }
        if random.chance(20) { script.isProcessWatched.toggle() }
        if random.chance(10) { script.neverSurveyed = random.chance(50) ? .source : .destination }
        if random.chance(10) { script.surveyFailure = random.chance(50) ? .source : .destination }
        for number in 1...25 {
            if random.chance(4) { script.droppedEvents.insert(number) }
            if random.chance(4) { script.doubledEvents.insert(number) }
            if random.chance(4) { script.delayedEvents.insert(number) }
        }
        let names = [
            "query-status", "query-migrate", "migrate-continue", "migrate_cancel", "yank", "cont", "quit", "query-yank",
            "migrate-set-capabilities", "migrate", "stop",
        ]
        for name in names where random.chance(4) {
            let target = Script.Target(side: random.chance(50) ? .source : .destination, name: name)
            if random.chance(50) {
                script.refusals[target] = Int.random(in: 1...3, using: &random)
            } else {
                script.mutes.insert(target)
            }
        }
        let wantsPause = random.chance(20)
        let keepsSource = random.chance(20)
        let timeout = random.chance(40) ? Int.random(in: 1...10_000, using: &random) : nil
        let action: TimeoutAction = random.chance(50) ? .cancel : .pauseGuest
        let isPostcopy = random.chance(40)
        if isPostcopy {
            script.postcopy.hasDeviceWord = random.chance(50)
            script.postcopy.recoveries = Int.random(in: 0...3, using: &random)
            script.postcopy.breaks = Int.random(in: 0...1, using: &random)
            script.postcopy.turns = Int.random(in: 0...20, using: &random)
            if random.chance(20) { script.postcopy.unaware = random.chance(50) ? .source : .destination }
            if random.chance(20) { script.postcopy.refusedConnections = 1 }
            if random.chance(10) { script.postcopy.hungHandshakes = 1 }
        }
        let isPeerToPeer = random.chance(20)
        let options = ScriptedDriver.options {
            if isPostcopy { $0.postcopy = PostcopyWish() }
            if isPeerToPeer { $0.mode = .peerToPeer }
            $0.isPausedIntended = wantsPause
            $0.keepsSource = keepsSource
            $0.timeoutMilliseconds = timeout
            $0.timeoutAction = action
        }
        var faults: [(at: Int, fault: Fault)] = []
        if isPostcopy { faults.append((Int.random(in: 20...60, using: &random), .request(.postcopy))) }
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let all = isPostcopy ? PostcopyTests.faults : FaultSweepTests.faults
            let fault = all.randomElement(using: &random) ?? .breakStream
            faults.append((Int.random(in: 1...90, using: &random), fault))
        }
        return (script, options, faults)
    }

    @Test(arguments: 0..<8) func seededAttempts(part: Int) throws {
        let count = isThorough ? 40_000 : 200
        var words: [PublishedWord: Int] = [:]
        for seed in UInt64(part * count)..<UInt64((part + 1) * count) {
            let (script, options, faults) = Self.draw(seed)
            let driver = attempt(script, options: options, faults: faults, seed: seed)
            try #require(driver.violations.isEmpty, "seed \(seed), \(script), \(faults): \(story(driver))")
            if let word = driver.result?.word { words[word, default: 0] += 1 }
        }
        // A walk that ends the same way everywhere would prove little.
        #expect(words.count >= 4, "\(words)")
    }
}
