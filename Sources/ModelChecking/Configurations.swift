import Migration
import Phases

extension Configuration {
    /// How much is explored.
    enum Size: String, CaseIterable { case quick, deep }

    func with(_ change: (inout Configuration) -> Void) -> Configuration {
        var copy = self
        change(&copy)
        return copy
    }

    /// What `make test` explores: every kind of trouble once, and every generation of QEMU with the ones that it differs in.
    static let quick: [Configuration] = {
        var all: [Configuration] = []
        for (name, profile) in QEMUProfile.byName {
            // Without post-copy the generations in between differ in nothing that the oldest and the newest have not.
            let isWhole = name == QEMUProfile.byName.last?.name
            for (trouble, faults) in isWhole ? qemuTroubles : Array(qemuTroubles.prefix(2)) {
                all.append(
                    Configuration(
                        "QEMU \(name), \(trouble), cancel", faults.merging([.request: 1]) { first, _ in first }
                    )
                    .with {
                        $0.profile = profile
                        $0.requests = [.cancel]
                        $0.calledDirectly = [.source, .destination]
                    })
            }
        }
        for (name, profile) in QEMUProfile.byName {
            all.append(
                Configuration("QEMU \(name), post-copy", [.request: 1]).with {
                    $0.profile = profile
                    $0.options.postcopy = PostcopyWish()
                    $0.requests = [.postcopy]
                    $0.calledDirectly = [.source, .destination]
                })
        }
        for (name, profile) in [QEMUProfile.byName.first, QEMUProfile.byName.last].compactMap(\.self) {
            all.append(
                Configuration("QEMU \(name), post-copy, cancel", [.request: 2]).with {
                    $0.profile = profile
                    $0.options.postcopy = PostcopyWish()
                    $0.requests = [.postcopy, .cancel]
                    $0.calledDirectly = [.source, .destination]
                })
        }
        all.append(
            Configuration("QEMU 10.2, post-copy, a broken stream", [.request: 1, .breakStream: 1]).with {
                $0.options.postcopy = PostcopyWish()
                $0.requests = [.postcopy]
                $0.calledDirectly = [.source, .destination]
            })
        all.append(
            Configuration("protocol 2").with {
                $0.options.protocolVersion = .v2
                $0.calledDirectly = [.source, .destination]
            })
        for (trouble, faults) in networkTroubles {
            all.append(Configuration("network: \(trouble)", faults).with { $0.calledDirectly = [.source] })
        }
        for (what, faults) in crashes { all.append(crash(what, faults)) }
        // Whatever goes wrong once, in one exploration, with the destination on the network.
        var once: [FaultKind: Int] = [:]
        for (_, faults) in crashes + networkTroubles { once.merge(faults) { $1 } }
        all.append(Configuration("any one fault", once, together: 1).with { $0.calledDirectly = [.source] })
        return all + everything(walks: 500).suffix(2)
    }()

    /// A program that crashes at any moment, on hosts whose calls are never lost.
    private static func crash(_ what: String, _ faults: [FaultKind: Int], together: Int = 1) -> Configuration {
        Configuration("crash: \(what)", faults, together: together).with {
            $0.calledDirectly = [.source, .destination]
        }
    }

    /// What `make check-model` explores besides: every pair of faults, all faults of the network together, crashes with two requests and in
    /// post-copy, crashes with all troubles of a QEMU, and these for every generation. The product of everything at once is out of reach of an
    /// exploration, and walked through at random.
    static let deep: [Configuration] =
        quick.filter { $0.walks == 0 } + generations + pairs + crashesInContext + everything(walks: 5_000)

    /// Everything that can befall an attempt between hosts, all in one: a crash of each program, a message lost, doubled and late, links,
    /// monitors and streams that break, deadlines that run out early, two requests of any kind; then the same with troubles that kill.
    private static func everything(walks: Int) -> [Configuration] {
        let survivable: [FaultKind: Int] = [
            .crashSource: 1, .crashDestination: 1, .crashCoordinator: 1, .lose: 1, .duplicate: 1, .delay: 1,
            .breakLink: 1, .loseMonitor: 1,
            .breakStream: 1, .earlyTimeout: 1, .request: 2,
        ]
        let deadly: [FaultKind: Int] = [
            .killSource: 1, .killDestination: 1, .failLoading: 1, .shutDownGuest: 1, .refuseRun: 1,
        ]
        return QEMUProfile.byName.flatMap { name, profile in
            [("everything that can be survived", survivable), ("everything", survivable.merging(deadly) { $1 })].map {
                what, faults in
                Configuration("QEMU \(name), at random: \(what)", faults).with {
                    $0.profile = profile
                    $0.options.postcopy = PostcopyWish()
                    $0.requests = [.cancel, .pauseGuest, .postcopy, .pausePostcopy, .recover]
                    $0.walks = walks
                }
            }
        }
    }

    /// All troubles of a QEMU for the generations that the quick list tries fewer with.
    private static let generations: [Configuration] = QEMUProfile.byName.dropLast().flatMap { name, profile in
        qemuTroubles.dropFirst(2).map { trouble, faults in
            Configuration("QEMU \(name), \(trouble)", faults).with {
                $0.profile = profile
                $0.calledDirectly = [.source, .destination]
            }
        }
    }

    private static let pairs: [Configuration] = {
        var all: [Configuration] = []
        for (index, (first, faults)) in crashes.enumerated() {
            for (second, more) in crashes[(index + 1)...] {
                all.append(crash("\(first) and \(second)", faults.merging(more) { $1 }, together: 2))
            }
            for (trouble, more) in networkTroubles {
                all.append(
                    Configuration("network: \(trouble), crash: \(first)", faults.merging(more) { $1 }, together: 2)
                        .with { $0.calledDirectly = [.source] })
            }
        }
        var network: [FaultKind: Int] = [:]
        for (_, faults) in networkTroubles { network.merge(faults) { $1 } }
        all.append(Configuration("both sides on the network: lost, doubled and late", network))
        for (trouble, faults) in networkTroubles {
            all.append(
                Configuration("network: \(trouble), two requests", faults.merging([.request: 2]) { $1 }).with {
                    $0.calledDirectly = [.source]
                    $0.requests = [.cancel, .pauseGuest]
                })
        }
        for (trouble, faults) in networkTroubles {
            all.append(
                Configuration("both sides on the network: \(trouble)", faults.merging([.request: 1]) { $1 })
                    .with { $0.requests = [.cancel] })
        }
        return all
    }()

    private static let crashesInContext: [Configuration] = {
        var all: [Configuration] = []
        for (what, faults) in crashes {
            all.append(
                crash("\(what), two requests", faults.merging([.request: 2]) { $1 })
                    .with { $0.requests = [.cancel, .pauseGuest] })
            all.append(
                crash("\(what), post-copy", faults.merging([.request: 1]) { $1 }).with {
                    $0.options.postcopy = PostcopyWish()
                    $0.requests = [.postcopy]
                })
            for (trouble, more) in qemuTroubles.dropFirst() {
                all.append(crash("\(what), \(trouble)", faults.merging(more) { $1 }, together: 2))
            }
        }
        return all
    }()

    /// What must be found, because the protocol itself has it and not our code.
    struct Exception {
        var properties: Set<String>
        var isQuick: Bool
    }

    /// Protocol 2 ends the source as soon as Perform is done: when Finish fails after that, the guest is lost. That is why there is protocol 3.
    static let exceptions: [(Configuration, Exception)] = [
        (
            Configuration("protocol 2 loses the guest when Finish fails", [.killDestination: 1]).with {
                $0.options.protocolVersion = .v2
                $0.calledDirectly = [.source, .destination]
            },
            Exception(properties: [Property.kept], isQuick: true)
        )
    ]

    private static let qemuTroubles: [(String, [FaultKind: Int])] = [
        ("no trouble", [:]), ("a broken stream", [.breakStream: 1]), ("a load that fails", [.failLoading: 1]),
        ("a locked disk", [.refuseRun: 1]), ("a killed destination", [.killDestination: 1]),
        ("a killed source", [.killSource: 1]), ("a guest that shuts down", [.shutDownGuest: 1]),
    ]

    private static let networkTroubles: [(String, [FaultKind: Int])] = [
        ("a message lost", [.lose: 1]), ("a message doubled", [.duplicate: 1]), ("a message late", [.delay: 1]),
    ]

    private static let crashes: [(String, [FaultKind: Int])] = [
        ("the source's side", [.crashSource: 1]), ("the destination's side", [.crashDestination: 1]),
        ("the coordinator", [.crashCoordinator: 1]),
    ]

    /// Where a mutant is looked for: the smallest configuration that shows it.
    static func hunting(_ mutant: Mutant) -> Configuration {
        let (faults, requests): ([FaultKind: Int], [Request]) =
            switch mutant.name {
            case "silence-is-proof": ([.crashDestination: 1], [])
            case "not-running-now": ([.refuseRun: 1, .earlyTimeout: 1], [])
            case "abandon-is-forgotten", "source-ends-itself", "abandon-before-death", "answered-is-running":
                ([.refuseRun: 1], [])
            case "resume-after-failed": ([.breakStream: 1], [])
            case "late-cancel-continues", "phase-goes-back": ([.request: 1], [.cancel])
            case "lost-monitor-is-death": ([.loseMonitor: 1], [])
            case "finish-after-abandon": ([.refuseRun: 1, .duplicate: 1], [])
            case "forgets-tombstone": ([.crashDestination: 1, .breakLink: 1, .earlyTimeout: 1], [])
            case "forgets-run": ([.crashDestination: 1], [])
            default: ([:], [])
            }
        var configuration = Configuration("mutant \(mutant.name)", faults)
        configuration.requests = requests
        configuration.mutant = mutant
        configuration.profile = QEMUProfile(QEMUVersion(11, 1))
        let isOnNetwork = faults[.duplicate] != nil || faults[.delay] != nil
        switch mutant.name {
        case "abandon-is-forgotten": configuration.calledDirectly = [.source]
        case "forgets-tombstone":
            // The destination gives up by itself when its coordinator stays away, crashes before its QEMU is ended, and hears of Finish.
            configuration.calledDirectly = [.source]
            configuration.permits = { action in
                switch action.kind {
                case .breakLink(.destination): true
                case .timeout(.destination, .peer, _): true
                default: false
                }
            }
        case "late-cancel-continues": configuration.calledDirectly = [.destination]
        default: configuration.calledDirectly = isOnNetwork ? [.source] : [.source, .destination]
        }
        configuration.allowedEnds =
            faults[.breakStream] != nil ? [.completed, .failed] : faults.isEmpty ? [.completed] : nil
        return configuration
    }
}
